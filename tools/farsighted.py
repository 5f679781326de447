"""The far-sighted oracle's settings, and the page about it.

``python -m tools.farsighted tune`` looks for the settings of every registered task on tuning episodes and writes the
teacher's record. ``python -m tools.farsighted page`` renews the tables and the figure of ``docs/far-sighted.md``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from teach_gym.benchmark.farsighted import COARSE, FINE, FIRST_SEED, GRID, search
from teach_gym.core import foresight
from teach_gym.core.build import make_task
from teach_gym.core.foresight import digest
from teach_gym.core.spec import TaskSpec
from teach_gym.core.state import Task
from teach_gym.files import write_text
from teach_gym.registration import TASKS
from tools import farsighted_page

RECORD = Path(foresight.__file__).with_name(foresight.RECORD)


def tuned(task: Task) -> dict[str, Any]:
    """The record's entry of a task."""
    found = search(task)
    return {
        "digest": digest(task.spec),
        "settings": found.settings._asdict(),
        "score": round(found.score, 3),
        "coarse": [round(float(value), 3) for value in found.coarse],
    }


def tune(names: Sequence[str], out: Path) -> None:
    """Tune tasks and write the record: their settings, and for each medium those with the best mean coarse score.

    Tasks that the record at ``out`` holds already are left as they are.
    """
    grid = [list(chosen) for chosen in GRID]
    old = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {}
    known = old["tasks"] if old.get("grid") == grid else {}
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        spec = TaskSpec(**TASKS[name])
        if spec.observation.startswith("black_box") or spec.learner.startswith("mlp"):
            continue
        if known.get(name, {}).get("digest") == digest(spec):
            found[name] = known[name]
            continue
        found[name] = tuned(make_task(name))
        print(name, found[name]["settings"], found[name]["score"], flush=True)
    media = {}
    for medium in sorted({TASKS[name]["medium"] for name in found}):
        table = [entry["coarse"] for name, entry in found.items() if TASKS[name]["medium"] == medium]
        media[medium] = {"settings": GRID[int(np.mean(table, axis=0).argmax())]._asdict()}
    record = {"seeds": [FIRST_SEED, FIRST_SEED + COARSE + FINE], "media": media, "tasks": found, "grid": grid}
    write_text(out, farsighted_page.compact(record))


def main(arguments: Sequence[str] | None = None) -> int:
    """Tune the far-sighted oracle or renew its page."""
    parser = argparse.ArgumentParser(prog="python -m tools.farsighted", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    tuning = commands.add_parser("tune", help="look for the settings of all registered tasks")
    tuning.add_argument("--out", type=Path, default=RECORD)
    paging = commands.add_parser("page", help="measure what the page's record lacks, and write its tables and figure")
    paging.add_argument("--docs", type=Path, default=farsighted_page.DOCS)
    paging.add_argument("--again", action="store_true", help="measure everything, whatever the record holds")
    options = parser.parse_args(arguments)
    if options.command == "tune":
        tune(tuple(TASKS), options.out)
    else:
        record = options.docs / farsighted_page.RECORD
        farsighted_page.write(options.docs, farsighted_page.measured(record, again=options.again))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
