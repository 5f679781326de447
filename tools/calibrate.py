"""Room for teaching: how much of the initial distance plain SGD and the oracles remove on each registered task."""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from teach_gym.benchmark.suite import FIRST_SEED
from teach_gym.core.build import make_task
from teach_gym.core.state import Task
from teach_gym.files import write_text
from teach_gym.registration import TASKS
from teach_gym.teachers import make_teacher, teach_episodes

TEACHERS = ("random", "passive", "greedy")
MARGIN = 0.5
"""Largest allowed half-width of a 95 % interval, in points (per cent of the initial distance)."""
FEWEST = 200
_NUMBERS = 10_000_000
"""Maximum number of candidate learners' parameters in memory at a time."""


def batch_size(task: Task) -> int:
    """Number of episodes taught at once: as many as memory allows for the greedy oracle."""
    return int(np.clip(_NUMBERS // (task.n_actions * task.size), 10, 2000))


def removed(task: Task, teacher_name: str) -> npt.NDArray[np.float64]:
    """Percentage of the initial distance a teacher removes, for as many episodes as its interval needs: (n,).

    Episodes use consecutive evaluation seeds starting at the first, so the episodes of two teachers are paired.
    """
    teacher, values = make_teacher(teacher_name), np.empty(0)
    n = batch_size(task)
    for first in itertools.count(FIRST_SEED, n):
        initial, final = teach_episodes(task, teacher, range(first, first + n))
        values = np.concatenate([values, 100.0 * (1.0 - final / initial)])
        if len(values) >= FEWEST and _margin(values) <= MARGIN:
            break
    return values


def _margin(values: npt.NDArray[np.float64]) -> float:
    """Half the width of the 95 % interval of a mean."""
    return float(NormalDist().inv_cdf(0.975) * values.std(ddof=1) / np.sqrt(len(values)))


def calibrate(name: str) -> dict[str, dict[str, Any]]:
    """For each teacher: the mean of ``removed``, half its 95 % interval, the standard deviation and the episodes."""
    task, found = make_task(name), {}
    for teacher in (*TEACHERS, "anticipating") if task.update.momentum else TEACHERS:
        values = removed(task, teacher)
        numbers = {"mean": values.mean(), "margin": _margin(values), "std": values.std(ddof=1)}
        found[teacher] = {key: round(float(x), 2) for key, x in numbers.items()} | {"episodes": len(values)}
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the table of the registered tasks as JSON; the entries of tasks not chosen are kept."""
    parser = argparse.ArgumentParser(prog="python -m tools.calibrate", description=main.__doc__)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS), metavar="TASK")
    parser.add_argument("--out", type=Path, default=Path("docs/results/calibration.json"))
    given = parser.parse_args(arguments)
    table = json.loads(given.out.read_text(encoding="utf-8")) if given.out.is_file() else {}
    for name in given.tasks:
        table[name] = calibrate(name)
        print(name, {t: f"{v['mean']:.1f} ± {v['margin']:.1f}" for t, v in table[name].items()}, flush=True)
        ordered = {known: table[known] for known in TASKS if known in table}
        write_text(given.out, json.dumps(ordered, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
