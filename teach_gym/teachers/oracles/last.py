"""The teacher of greedy label synthesis (LAST Algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass, field

from teach_gym.core.state import Example, Task, TeachState
from teach_gym.errors import positive
from teach_gym.teachers.base import Teacher
from teach_gym.teachers.oracles.labels import check_constraint, greedy_labels, make_constraint


@dataclass
class GreedyLAST(Teacher):
    """Greedy label synthesis for the offered example, in closed form (LAST Algorithm 1).

    Args:
        constraint: what labels are allowed, see ``teach_gym.teachers.oracles.labels.Constraint``.
        radius: the radius of the magnitude constraints and of the cone.
        beta: weight of the first layer of a learner with a hidden layer (LAST Eq. 4).

    Raises:
        ValueError: unknown constraint, or a radius or beta out of range.
    """

    constraint: str = "none"
    radius: float = 1.0
    beta: float = 1.0
    name: str = field(default="last", init=False)

    def __post_init__(self) -> None:
        self._allowed = make_constraint(self.constraint, self.radius)
        positive("beta", self.beta)

    def check(self, task: Task) -> None:
        """Raise a ``ValueError`` where the constraint does not fit the learner."""
        check_constraint(task, self._allowed)

    def __call__(self, task: Task, state: TeachState) -> Example:
        """The first offered source with its greedy label."""
        x = state.x[:, 0]
        return Example(x, greedy_labels(task, state, x, state.y[:, 0], self._allowed, self.beta))

    def gradient_evaluations(self, task: Task) -> int:
        """One prediction per row of the mini-batch."""
        return task.spec.batch_size
