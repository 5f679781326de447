"""The teacher of label synthesis, one step deep (LAST Algorithm 1) or over a horizon."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from teach_gym.core.backend import Array
from teach_gym.core.farsighted import check_linear, farsight, rate_matters
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.errors import positive, shown
from teach_gym.teachers.base import Teacher, check_settled
from teach_gym.teachers.oracles.labels import check_constraint, greedy_labels, make_constraint
from teach_gym.teachers.oracles.lqr import foreseen_pull


@dataclass
class GreedyLAST(Teacher):
    """Label synthesis for the offered example, in closed form (LAST Algorithm 1, which is greedy).

    With a horizon, the label is the best one for the distance after that many steps if the labels of the later steps
    are free (``teach_gym.core.farsighted``). Without a constraint no teacher of these examples can be better; with a
    constraint, and for ``margin_logistic``, whose residuals are bounded on one side, it is a heuristic.

    Args:
        constraint: what labels are allowed, see ``teach_gym.teachers.oracles.labels.Constraint``.
        radius: the radius of the magnitude constraints and of the cone.
        beta: weight of the first layer of a learner with a hidden layer (LAST Eq. 4).
        horizon: number of steps that the teacher looks ahead, this one included (1, the default: greedy), or
            ``budget`` for all that remain.
        clairvoyant: whether the teacher knows the examples to come; otherwise they are random.

    Raises:
        ValueError: unknown constraint, or a radius, beta or horizon out of range.
        TypeError: a horizon that is neither an integer nor ``budget``.
    """

    constraint: str = "none"
    radius: float = 1.0
    beta: float = 1.0
    horizon: int | Literal["budget"] = 1
    clairvoyant: bool = False
    name: str = field(default="last", init=False)

    def __post_init__(self) -> None:
        self._allowed = make_constraint(self.constraint, self.radius)
        positive("beta", self.beta)
        if isinstance(self.horizon, str) and self.horizon != "budget":
            raise ValueError(f"horizon must be an integer >= 1 or 'budget', got {shown(self.horizon)}")
        if self.horizon != "budget":
            positive("horizon", self.horizon, integer=True)

    def check(self, task: Task) -> None:
        """Raise a ``ValueError`` where the constraint does not fit the learner, or a horizon the task."""
        check_constraint(task, self._allowed)
        if self.horizon != 1:
            check_linear(task, f"teacher {self.name!r} with a horizon")
            if rate_matters(task):
                check_settled(task, f"{self.name} with a horizon", "learning_rate", "pool_seed")

    def __call__(self, task: Task, state: TeachState) -> Example:
        """The first offered source with its label."""
        x, pull = state.x[:, 0], None
        if self.horizon != 1:
            far, left = farsight(task), self._left(task, state)
            pull = foreseen_pull(far, state, x, left) if self.clairvoyant else far.pull(state, x, left)
        return Example(x, greedy_labels(task, state, x, state.y[:, 0], self._allowed, self.beta, pull))

    def _left(self, task: Task, state: TeachState) -> Array:
        """Steps to go after this one: (B,)."""
        left = np.maximum(task.spec.budget - state.t - 1, 0)
        return left if self.horizon == "budget" else np.minimum(left, self.horizon - 1)

    def gradient_evaluations(self, task: Task) -> int:
        """One prediction per row of the mini-batch."""
        return task.spec.batch_size
