"""One benchmark episode: a teacher teaches one learner for the whole budget, and its metrics are taken."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from teach_gym.core.batch import DIVERGED, diverged
from teach_gym.core.metrics import METRICS
from teach_gym.core.state import Task, TeachState
from teach_gym.teachers.base import Clock, Teacher, lesson

EVERY_STEP = ("distance", "normalized_distance")
EVALUATIONS = 50
"""The other metrics are taken at about this many iterations of a run, the first and the last among them."""


class Episode(NamedTuple):
    """What an episode leaves.

    Attributes:
        steps: teaching steps taken.
        error: why it ended early (None: it did not).
        iterations: iterations at which the costlier metrics were taken.
        curves: metric -> its values, None where they are not finite numbers.
        teacher_seconds: seconds the teacher took.
        learner_seconds: seconds the rest of the steps took.
    """

    steps: int
    error: str | None
    iterations: list[int]
    curves: dict[str, list[float | None]]
    teacher_seconds: float
    learner_seconds: float


def evaluation_iterations(budget: int) -> list[int]:
    """Iterations at which the costlier metrics are taken: all of 0..H, or about ``EVALUATIONS`` of them."""
    points = np.linspace(0, budget, min(budget, EVALUATIONS) + 1)
    return [int(t) for t in np.unique(np.round(points))]


class _Curves:
    """The metrics of one run, taken while it is taught."""

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


def run_episode(task: Task, teacher: Teacher, seed: int) -> Episode:
    """Teach one learner. The learner and the examples offered depend on the seed alone.

    An episode whose learner diverges ends there.

    Raises:
        ValueError: the teacher does not fit the task.
    """
    clock, curves = Clock(), _Curves(task)
    first, transitions = lesson(task, teacher, [seed], clock=clock)
    curves.add(first, 0)
    steps, error = 0, None
    for steps, transition in enumerate(transitions, start=1):
        if diverged(transition.state)[0]:
            error = f"the learner diverged at step {steps}: its distance to the target exceeds {DIVERGED:g}"
            break
        curves.add(transition.state, steps)
    if error is None:
        curves.fill()
    return Episode(steps, error, curves.iterations, curves.values, clock.teacher, clock.learner)
