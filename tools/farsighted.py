"""The far-sighted oracle's settings, and the page about it.

``python -m tools.farsighted tune`` looks for the settings of every registered task on tuning episodes and writes the
teacher's record. ``python -m tools.farsighted page`` renews the tables and the figure of ``docs/far-sighted.md``.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from teach_gym.benchmark.score import Paired, teaching_score
from teach_gym.core import foresight
from teach_gym.core.build import make_task
from teach_gym.core.foresight import Settings, digest
from teach_gym.core.spec import TaskSpec
from teach_gym.core.state import Task
from teach_gym.files import write_text
from teach_gym.registration import TASKS
from teach_gym.teachers import make_teacher, teach_episodes
from tools import farsighted_page

RECORD = Path(foresight.__file__).with_name(foresight.RECORD)
FIRST_SEED = 2_000_000
"""Tuning seeds start here, far from evaluation seeds."""
COARSE, FINE, FINALISTS = 100, 400, 10
"""Every setting teaches the first tuning episodes, the best of them the next ones, which decide."""
GRID = [
    Settings(damping, *shares)
    for damping, shares in itertools.product(
        (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
        ((0.0, 0.0), (0.25, 0.0), (0.5, 0.0), (1.0, 0.0), (0.0, 1.0), (0.5, 0.5), (1.0, 0.5), (1.0, 1.0)),
    )
]


def scores(task: Task, grid: Sequence[Settings], seeds: Sequence[int]) -> np.ndarray:
    """Teaching score of each setting: 0 is plain SGD, 1 the greedy oracle."""
    passive, greedy = (teach_episodes(task, make_teacher(name), seeds)[1] for name in ("passive", "greedy"))
    found = []
    for chosen in grid:
        final = teach_episodes(task, make_teacher("lqr", **chosen._asdict()), seeds)[1]
        found.append(float(teaching_score(Paired(passive, greedy, final))))
    return np.array(found)


def tuned(task: Task, grid: Sequence[Settings] = GRID, coarse: int = COARSE, fine: int = FINE) -> dict[str, Any]:
    """The best settings of a task on tuning episodes, with their score on the episodes that decided.

    Args:
        task: the task.
        grid: the settings tried.
        coarse: number of the first tuning episodes.
        fine: number of those that decide.
    """
    first = scores(task, grid, range(FIRST_SEED, FIRST_SEED + coarse))
    finalists = [grid[i] for i in np.argsort(-first, kind="stable")[:FINALISTS]]
    second = scores(task, finalists, range(FIRST_SEED + coarse, FIRST_SEED + coarse + fine))
    best = int(second.argmax())
    return {
        "digest": digest(task.spec),
        "settings": finalists[best]._asdict(),
        "score": round(float(second[best]), 3),
        "coarse": [round(float(value), 3) for value in first],
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
