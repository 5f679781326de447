"""A teacher that acts every few steps only (LAST 5.2, generalized iterative teaching)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from teach_gym.core.state import Example, Task, TeachState
from teach_gym.errors import positive
from teach_gym.teachers.base import Teacher, example_of
from teach_gym.teachers.oracles.baselines import Passive


@dataclass
class EverySteps(Teacher):
    """Another teacher at steps 0, v, 2v, ...; in between the learner sees the ground truth of the offered examples.

    Args:
        teacher: who teaches at those steps.
        every: v, the number of steps between two interactions (LAST Eq. 7: GIT(m, v)).

    Raises:
        ValueError: ``every`` is not positive.
    """

    teacher: Teacher
    every: int
    name: str = field(default="every_steps", init=False)

    def __post_init__(self) -> None:
        positive("every", self.every, integer=True)

    def check(self, task: Task) -> None:
        """Raise a ``ValueError`` if the teacher cannot teach that task."""
        self.teacher.check(task)

    def __call__(self, task: Task, state: TeachState) -> Example:
        """The teacher's example for the runs whose turn it is, the ground truth for the others."""
        passive = Passive()
        idle = example_of(task, state, passive(task, state))
        turn = state.t % self.every == 0
        if not turn.any():
            return idle
        taught = example_of(task, state, self.teacher(task, state))
        return Example(*(np.where(turn[:, None, None], a, b) for a, b in zip(taught, idle, strict=True)))

    def gradient_evaluations(self, task: Task) -> int:
        """The teacher's evaluations, averaged over steps and rounded up."""
        return -(-self.teacher.gradient_evaluations(task) // self.every)
