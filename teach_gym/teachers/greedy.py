"""Greedy teachers over any discrete medium: all candidates of a batch of runs scored by one broadcast."""

from __future__ import annotations

from dataclasses import dataclass, field

from teach_gym.backend import Array, norm
from teach_gym.task import Task, TeachState, teach
from teach_gym.teachers.base import Choice, Teacher


class _Scored(Teacher):
    """Base of the teachers that score every action and take the lowest score."""

    def check(self, task: Task) -> None:
        """Raise a ``ValueError`` for the continuous flavour, which has no list of actions."""
        if task.spec.continuous:
            raise ValueError(
                f"teacher {self.name!r} tries every discrete action; the task has continuous=True. "
                "Use last, imt or dht, or the discrete flavour"
            )

    def __call__(self, task: Task, state: TeachState) -> Choice:
        """The action of the lowest score: (B,)."""
        return self.scores(task, state).argmin(0)

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
class Greedy(_Scored):
    """The greedy oracle of the medium: the action after which the learner is nearest to the target (LAST Eq. 1)."""

    name: str = field(default="greedy", init=False)


@dataclass
class Adversarial(_Scored):
    """The action after which the learner is farthest from the target."""

    name: str = field(default="adversarial", init=False)

    def score(self, task: Task, state: TeachState, w: Array, velocity: Array | None) -> Array:
        """Minus the distance after the step: (A, B)."""
        return -norm(w - state.target)


@dataclass
class Anticipating(_Scored):
    """Greedy on the place where the learner's momentum will carry it (equal to greedy without momentum).

    Left alone for n more steps, a learner with velocity v coasts by -learning_rate * c * v with
    c = momentum + ... + momentum^n (Nesterov: one power more). The teacher scores w' - learning_rate * c * v'.

    Args:
        horizon: number of steps n to look ahead (None: to the end of the budget).

    Raises:
        ValueError: a horizon that is not positive.
    """

    horizon: int | None = None
    name: str = field(default="anticipating", init=False)

    def __post_init__(self) -> None:
        if self.horizon is not None and self.horizon < 1:
            raise ValueError(f"horizon must be at least 1 or None, got {self.horizon!r}")

    def score(self, task: Task, state: TeachState, w: Array, velocity: Array | None) -> Array:
        """Distance of the coasting learner: (A, B)."""
        if velocity is None:
            return norm(w - state.target)
        mu = task.update.momentum
        left = task.spec.budget - state.t - 1
        steps = left if self.horizon is None else left.clip(max=self.horizon)
        coast = mu * (1.0 - mu**steps) / (1.0 - mu) * (mu if task.update.nesterov else 1.0)
        return norm(w - task.update.learning_rate * coast[:, None] * velocity - state.target)
