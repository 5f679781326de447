"""Plain SGD's best learning rate for each task, which registered tasks use so that the baseline is fair.

``python -m tools.tune_sgd`` measures all omniscient tasks and writes the table that the ``tuned_sgd`` teacher reads.
Rates form a geometric grid around the task's own, extended until the best rate is inside. Tasks that differ only in
what the teacher may do share a learner task and are measured once.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from teach_gym.benchmark.suite import FIRST_SEED, cached_task, task_spec
from teach_gym.core.batch import take
from teach_gym.core.randomness import Streams
from teach_gym.core.spec import TaskSpec
from teach_gym.core.state import Task
from teach_gym.core.task import reset
from teach_gym.files import write_text
from teach_gym.registration import TASKS
from teach_gym.teachers import make_teacher
from teach_gym.teachers.base import check_settled, final_distances, transitions
from teach_gym.teachers.oracles.tuned import RATES, learner_task

FACTOR = 1.5
SEEDS = 200
"""Tuning seeds are 0 to 199; the benchmark's evaluation seeds begin at 1000."""

FIRST, LAST = -6, 6
"""Exponents of the initial grid, which is widened by as many if the best rate is at an end."""

Floats = npt.NDArray[np.float64]


def final_by_rate(task: Task, rates: Sequence[float], seeds: Sequence[int]) -> Floats:
    """Final distances of plain SGD at each learning rate and seed, all in one batch: (R, S)."""
    teacher, n = make_teacher("passive"), len(seeds)
    state = take(reset(task, Streams.from_seeds(seeds)), np.tile(np.arange(n), len(rates)))
    first = state._replace(rate=np.repeat(rates, n).astype(task.spec.dtype))
    final = final_distances(task, first, transitions(task, teacher, first))
    return np.asarray(final, dtype=np.float64).reshape(len(rates), n)


def tune(spec: TaskSpec, n: int) -> dict[str, Any]:
    """The grid of rates with the final distances of plain SGD, and the best rate.

    Returns:
        ``learner_task``; ``seeds``; ``rates``; ``mean`` and ``std`` of the final distance at each, None where a
        learner diverged; and ``best``, the rate with the lowest mean.

    Raises:
        ValueError: a task whose rate or pool is drawn at reset, or the best rate is at the end of a wide grid.
    """
    task = cached_task(spec.to_json())
    check_settled(task, "passive", "learning_rate", "pool_seed")
    low, high = FIRST, LAST
    while high - low <= 6 * (LAST - FIRST):
        rates = [float(f"{spec.learning_rate * FACTOR**k:.6g}") for k in range(low, high + 1)]
        final = final_by_rate(task, rates, range(n))
        best = int(final.mean(1).argmin())
        if 0 < best < len(rates) - 1:
            return {
                "learner_task": learner_task(json.loads(spec.to_json())),
                "seeds": n,
                "rates": rates,
                "mean": [_number(row.mean()) for row in final],
                "std": [_number(np.std(row, ddof=1)) if np.isfinite(row).all() else None for row in final],
                "best": rates[best],
            }
        low, high = (low + FIRST, high) if best == 0 else (low, high + LAST)
    raise ValueError(f"no best learning rate inside the grid {rates[0]:g} to {rates[-1]:g}")


def _number(value: np.floating[Any]) -> float | None:
    return float(f"{value:.5g}") if np.isfinite(value) else None


def table(names: Sequence[str], n: int) -> list[dict[str, Any]]:
    """The entries of tasks given as text, one per learner task on n seeds; each is printed when it is ready."""
    entries: list[dict[str, Any]] = []
    for text in names:
        name, json_spec = task_spec(text)
        spec, wanted = TaskSpec.from_json(json_spec), learner_task(json.loads(json_spec))
        known = next((entry for entry in entries if entry["learner_task"] == wanted), None)
        if known is None:
            known = {"tasks": [], **tune(spec, n)}
            entries.append(known)
        known["tasks"].append(name)
        now = "" if spec.learning_rate == known["best"] else f" (the task has {spec.learning_rate:g})"
        print(f"{name}: {known['best']:g}{now}", flush=True)
    return entries


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.tune_sgd", description=main.__doc__)
    omniscient = [name for name, kwargs in TASKS.items() if kwargs.get("observation", "omniscient") != "black_box"]
    parser.add_argument("--tasks", nargs="+", default=omniscient, help="names or name:field=value,... (all omniscient)")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"number of tuning seeds, at most {FIRST_SEED}")
    parser.add_argument("--out", type=Path, default=RATES, help=f"the file to write ({RATES.name} in the package)")
    given = parser.parse_args(arguments)
    if not 2 <= given.seeds <= FIRST_SEED:
        parser.error(f"--seeds must be 2 to {FIRST_SEED}, where the evaluation seeds begin; got {given.seeds}")
    entries = table(given.tasks, given.seeds)
    write_text(given.out, "[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n")
    print(f"wrote {given.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
