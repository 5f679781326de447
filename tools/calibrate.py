"""Room for teaching: how much of the initial distance plain SGD and the oracles remove in each registered task."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from teach_gym.core.build import make_task
from teach_gym.core.state import Task
from teach_gym.files import write_text
from teach_gym.registration import TASKS
from teach_gym.teachers import make_teacher, teach_episodes

SEEDS = tuple(range(20))
TEACHERS = ("random", "passive", "greedy")


def removed(task: Task, teacher_name: str, seeds: tuple[int, ...] = SEEDS) -> npt.NDArray[np.float64]:
    """Per cent of the initial distance a teacher removes by the end of the episode, for each seed: (n,)."""
    teacher = make_teacher(teacher_name)
    teacher.check(task)
    initial, final = teach_episodes(task, teacher, seeds)
    return np.asarray(100.0 * (1.0 - final / initial), dtype=np.float64)


def calibrate(names: tuple[str, ...]) -> dict[str, dict[str, object]]:
    """Mean and standard deviation of ``removed`` for each task and teacher."""
    table: dict[str, dict[str, object]] = {}
    for name in names:
        task = make_task(name)
        table[name] = {"seeds": len(SEEDS)}
        for teacher in (*TEACHERS, "anticipating") if task.update.momentum else TEACHERS:
            values = removed(task, teacher)
            table[name][teacher] = {"mean": round(float(values.mean()), 1), "std": round(float(values.std(ddof=1)), 1)}
    return table


def main() -> None:
    """Write the table of all registered tasks as JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/results/calibration.json"))
    out = parser.parse_args().out
    write_text(out, json.dumps(calibrate(tuple(TASKS)), indent=1) + "\n")
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
