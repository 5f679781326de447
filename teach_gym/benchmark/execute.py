"""Carrying out one run of a benchmark: its curves, its row of results."""

from __future__ import annotations

import json
import math
import platform
import time
import traceback
from typing import NamedTuple

import numpy as np

from teach_gym.benchmark.store import Row
from teach_gym.benchmark.suite import FORMAT, Run, cached_task, file_digest, parse_teacher
from teach_gym.core.metrics import METRICS
from teach_gym.core.randomness import Streams
from teach_gym.core.state import Task, TeachState, finite
from teach_gym.core.task import advance, arrived, reset
from teach_gym.teachers import Teacher, example_of, make_teacher
from teach_gym.versions import versions


class Failure(NamedTuple):
    """A run that raised an exception, in words (exceptions need not survive the way between processes)."""

    message: str
    trace: str


Outcome = tuple[Run, Row | Failure]
EVERY_STEP = ("distance", "normalized_distance")
EVALUATIONS = 50
"""The other metrics are taken at about this many iterations of a run, the first and the last among them."""


def evaluation_iterations(budget: int) -> list[int]:
    """Iterations at which the costlier metrics are taken: all of 0..H, or about ``EVALUATIONS`` of them."""
    points = np.linspace(0, budget, min(budget, EVALUATIONS) + 1)
    return [int(t) for t in np.unique(np.round(points))]


class _Curves:
    """The metrics of one run as it goes on."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.iterations = evaluation_iterations(task.spec.budget)
        self.values: dict[str, list[float | None]] = {name: [] for name in METRICS}

    def add(self, state: TeachState, t: int) -> None:
        """Take the metrics due at iteration t."""
        with np.errstate(over="ignore", invalid="ignore"):
            for name in METRICS if t in self.iterations else EVERY_STEP:
                value = float(METRICS[name](self.task, state)[0])
                self.values[name].append(value if math.isfinite(value) else None)

    def fill(self) -> None:
        """Repeat the last value up to the budget: a learner that arrived stays where it is."""
        for name, curve in self.values.items():
            n = self.task.spec.budget + 1 if name in EVERY_STEP else len(self.iterations)
            curve += [curve[-1]] * (n - len(curve))


def execute(run: Run) -> Row:
    """Carry out one run and return its row of results.

    The learner and the examples offered depend on the seed alone, never on how runs are grouped. A run whose
    learner leaves the finite numbers ends there with ``finished`` false and ``error`` set.

    Raises:
        ValueError: the teacher does not fit the task, or its file was changed since the run was planned.
    """
    from threadpoolctl import threadpool_limits

    began = time.perf_counter()
    task = cached_task(run.spec)
    teacher = _teacher(run)
    teacher.check(task)
    with threadpool_limits(limits=1):
        curves, outcome, timing = _roll(task, teacher, run.seed)
    return {
        "format": FORMAT,
        "id": run.id,
        "task": run.task,
        "spec": json.loads(run.spec),
        "teacher": run.teacher,
        "seed": run.seed,
        **outcome,
        "iterations": curves.iterations,
        "curves": curves.values,
        "gradient_evaluations": int(teacher.gradient_evaluations(task)),
        "versions": versions(),
        "platform": platform.platform(),
        "timing": {
            **timing,
            "wall_seconds": time.perf_counter() - began,
            "ended_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        },
    }


def _teacher(run: Run) -> Teacher:
    name, options = parse_teacher(run.teacher)
    teacher = make_teacher(name, **options)
    if file_digest(options) != run.digest:
        raise ValueError(f"the file of teacher {run.teacher!r} was changed after the benchmark was started")
    return teacher


def _roll(task: Task, teacher: Teacher, seed: int) -> tuple[_Curves, Row, Row]:
    """Teach one learner for the whole budget: its curves, how it ended, and seconds per step."""
    state = reset(task, Streams.from_seeds([seed]))
    curves = _Curves(task)
    curves.add(state, 0)
    teaching = learning = 0.0
    steps, error, over = 0, None, bool(arrived(task, state)[0])
    while not over:
        with np.errstate(over="ignore", invalid="ignore"):
            first = time.perf_counter()
            choice = teacher(task, state)
            middle = time.perf_counter()
            transition = advance(task, state, example_of(task, state, choice))
            last = time.perf_counter()
        teaching, learning, steps = teaching + middle - first, learning + last - middle, steps + 1
        state = transition.state
        if not finite(task, state):
            error = f"the learner diverged at step {steps}: its parameters are no longer finite numbers"
            break
        curves.add(state, steps)
        over = bool(transition.terminated[0])
    if error is None:
        curves.fill()
    outcome = {"finished": error is None, "error": error, "steps": steps}
    per_step = {"teacher_seconds_per_step": teaching, "learner_seconds_per_step": learning}
    return curves, outcome, {key: seconds / max(steps, 1) for key, seconds in per_step.items()}


def attempt(run: Run) -> Row | Failure:
    """Carry out one run; an exception becomes a ``Failure``."""
    try:
        return execute(run)
    except Exception as error:
        return Failure(f"{type(error).__name__}: {error}", traceback.format_exc())
