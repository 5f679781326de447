"""The leaderboard's entries of the teachers that come with the package: the oracles and the pretrained agents.

``python -m tools.leaderboard`` (``make leaderboard``) writes those that are missing, or whose replay differs from what
they hold, and removes those of teachers that are gone. Entries of others are left alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from teach_gym.benchmark.evaluation import Evaluation
from teach_gym.benchmark.leaderboard import SEEDS, entry_name, make_entry, read_entry
from teach_gym.benchmark.suite import cached_task, task_spec
from teach_gym.files import write_text
from teach_gym.pretrained import index
from teach_gym.registration import TASKS
from teach_gym.teachers import make_teacher

FOLDER = Path("leaderboard")
ORACLES = (
    "greedy",
    "anticipating",
    "last:constraint=soft",
    "last",
    "imt",
    "mixed:constraint=soft",
    "dht",
    "lqr",
    "holdout_greedy",
)
"""The oracles with entries, on every task they fit. Those that look ahead by trying take hours on 200 seeds."""
WITHOUT_TARGET = ("greedy", "holdout_greedy", "holdout_rehearsal")
"""The oracles with entries on black-box tasks: ``greedy``, which sees w*, as the reference, and those that do not."""


def wanted(task: str) -> Iterator[str]:
    """The teachers that are to have an entry on a task."""
    built = cached_task(task_spec(task)[1])
    oracles, groups = (WITHOUT_TARGET, ()) if built.black_box else (ORACLES, ("universal/",))
    for text in (*oracles, *(name for name in index() if name.endswith(f"/{task}-v0") or name.startswith(groups))):
        try:
            make_teacher(text).check(built)
        except ValueError:
            continue
        yield text


def renew(folder: Path, tasks: Sequence[str]) -> list[Path]:
    """Write the entries of some tasks that are missing or differ, and return their files."""
    changed = []
    for task in tasks:
        evaluation, kept = Evaluation(cached_task(task_spec(task)[1]), SEEDS), set()
        for text in wanted(task):
            name = f"{task}-{entry_name(text)}"
            path = folder / f"{name}.json"
            kept.add(path)
            entry, score = make_entry(text, task, name, evaluation)
            found = read_entry(path) if path.is_file() else {}
            if {**found, "versions": None} != {**json.loads(json.dumps(entry)), "versions": None}:
                write_text(path, json.dumps(entry, indent=1) + "\n")
                changed.append(path)
            print(f"{name}: {score.score:.3f} [{score.low:.3f}, {score.high:.3f}]", flush=True)
        for path in set(folder.glob(f"{task}-*.json")) - kept:
            if "builtin" in read_entry(path)["teacher"]:
                path.unlink()
    return changed


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the entries of the package's teachers that are missing or differ."""
    parser = argparse.ArgumentParser(prog="python -m tools.leaderboard", description=main.__doc__)
    parser.add_argument("tasks", nargs="*", default=list(TASKS), help="tasks (default: all)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"folder of entries ({FOLDER})")
    given = parser.parse_args(arguments)
    changed = renew(given.folder, given.tasks)
    print(f"{len(changed)} entries written under {given.folder}; now run: python -m tools.site")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
