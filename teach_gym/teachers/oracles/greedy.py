"""Greedy teachers over any discrete medium: all candidates of a batch of runs scored by one broadcast."""

from __future__ import annotations

from dataclasses import dataclass, field

from teach_gym.core.backend import Array, norm
from teach_gym.core.state import Task, TeachState
from teach_gym.core.task import coast, compose, teach
from teach_gym.errors import positive
from teach_gym.teachers.base import Choice, Teacher


class Scored(Teacher):
    """Base of the teachers that score every discrete action and take the lowest score, in either flavour of a task."""

    def __call__(self, task: Task, state: TeachState) -> Choice:
        """The action of the lowest score, (B,); for the continuous flavour the teaching example of that action."""
        best = self.scores(task, state).argmin(0)
        return compose(task, state, task.medium.decode(best)) if task.spec.continuous else best

    def scores(self, task: Task, state: TeachState) -> Array:
        """Score of every action: (A, B), lower is better."""
        w, velocity = teach(task, state, task.medium.candidates[:, None])
        return self.score(task, state, w, velocity)

    def score(self, task: Task, state: TeachState, w: Array, velocity: Array | None) -> Array:
        """Score of the learners (A, B, P) that the actions lead to: (A, B)."""
        return norm(w - state.target)

    def gradient_evaluations(self, task: Task) -> int:
        """One per row, for every action."""
        return task.n_actions * task.spec.batch_size


@dataclass
class Greedy(Scored):
    """The greedy oracle of the medium: the action after which the learner is nearest to the target (LAST Eq. 1)."""

    name: str = field(default="greedy", init=False)


@dataclass
class Adversarial(Scored):
    """The action after which the learner is farthest from the target."""

    name: str = field(default="adversarial", init=False)

    def score(self, task: Task, state: TeachState, w: Array, velocity: Array | None) -> Array:
        """Minus the distance after the step: (A, B)."""
        return -norm(w - state.target)


@dataclass
class Anticipating(Scored):
    """Greedy on the place where the learner's momentum will carry it (equal to greedy without momentum).

    The teacher scores the learners that the actions lead to by where they ``coast``.

    Args:
        horizon: number of steps n to look ahead (None: to the end of the budget).

    Raises:
        ValueError: a horizon that is not positive.
    """

    horizon: int | None = None
    name: str = field(default="anticipating", init=False)

    def __post_init__(self) -> None:
        if self.horizon is not None:
            positive("horizon", self.horizon, integer=True)

    def score(self, task: Task, state: TeachState, w: Array, velocity: Array | None) -> Array:
        """Distance of the coasting learner: (A, B)."""
        if velocity is None:
            return norm(w - state.target)
        return norm(coast(task, state, w, velocity, self.horizon) - state.target)
