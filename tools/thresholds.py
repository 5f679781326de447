"""The reward thresholds of the registered tasks: the mean return of the greedy oracle, written to the package."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from teach_gym.core.build import make_task
from teach_gym.core.state import Task
from teach_gym.core.task import arrived
from teach_gym.files import write_text
from teach_gym.registration import TASKS, THRESHOLDS_FILE
from teach_gym.teachers import lesson, make_teacher

SEEDS = tuple(range(100))


def returns(task: Task, teacher: str, seeds: Sequence[int]) -> npt.NDArray[np.float64]:
    """Sum of a teacher's rewards until the episode's end, for each seed: (n,)."""
    first, transitions = lesson(task, make_teacher(teacher), seeds)
    total, over = np.zeros(len(seeds)), arrived(task, first)
    for transition in transitions:
        total += np.where(over, 0.0, transition.reward)
        over = over | transition.terminated
    return total


def measured(names: Sequence[str]) -> dict[str, float]:
    """The mean return of the greedy oracle on each task, rounded down to one decimal."""
    return {name: math.floor(10.0 * returns(make_task(name), "greedy", SEEDS).mean()) / 10.0 for name in names}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the thresholds of all registered tasks and write them to the package."""
    argparse.ArgumentParser(prog="python -m tools.thresholds", description=main.__doc__).parse_args(arguments)
    write_text(THRESHOLDS_FILE, json.dumps(measured(tuple(TASKS)), indent=1) + "\n")
    print(f"wrote {THRESHOLDS_FILE}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
