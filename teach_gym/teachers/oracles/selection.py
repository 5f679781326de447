"""Teachers that scan the whole pool: greedy iterative machine teaching and mixed teaching."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from teach_gym.core.backend import Array, dot, gather
from teach_gym.core.learner import MLPLearner
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.core.task import learn
from teach_gym.errors import within
from teach_gym.teachers.base import Teacher, better_of, check_settled
from teach_gym.teachers.oracles.labels import check_constraint, greedy_labels, make_constraint
from teach_gym.teachers.oracles.scores import all_scores


def selection_scores(task: Task, state: TeachState, direction: Array, step: Array, y: Array) -> Array:
    """T1 - (2 / step) T2 of LAST Eq. 1 for every row: what orders rows by the distance after the step.

    Args:
        task: the task.
        state: B runs.
        direction: (B, P), base - w*.
        step: (B,) step sizes of one row.
        y: (N, K) or (B, N, K) labels of the pool's rows.

    Returns:
        (B, N).
    """
    learner = task.learner
    if isinstance(learner, MLPLearner):
        parts = learner.parts(state.w, task.x, direction)
        residual = learner.output.residual(parts.logits, y)
        pull = (parts.gram @ residual[..., None])[..., 0]
        return dot(residual, pull) - (2.0 / step)[:, None] * dot(parts.alignment, residual)
    n = len(state.w)  # a linear learner's alignment is the logits of the direction: one product for both
    both = learner.logits(np.concatenate([state.w, (2.0 / step)[:, None] * direction]), task.x)
    return all_scores(learner.output, both[:n], both[n:], task.squared_norms, y)


def select_rows(task: Task, state: TeachState, y: Array) -> Array:
    """The m pool rows of the greedy mini-batch, chosen one after the other: (B, m) (m = 1: exact)."""
    m = task.spec.batch_size
    base, step = task.update.affine(state.w, state.velocity, state.rate)
    direction = base - state.target
    rows = selection_scores(task, state, direction, step / m, y).argmin(-1)[:, None]
    for _ in range(m - 1):
        last = rows[:, -1:]
        w, _ = learn(task, state, Example(gather(task.x, last), _labels(y, last)))
        direction = direction + (w - base) / m
        best = selection_scores(task, state, direction, step / m, y).argmin(-1)[:, None]
        rows = np.concatenate([rows, best], axis=1)
    return rows


def _labels(y: Array, rows: Array) -> Array:
    """Labels of rows (B, m) from a table (N, K) or one per run (B, N, K): (B, m, K)."""
    if y.ndim == 2:
        return gather(y, rows)
    return np.take_along_axis(y, rows[..., None], axis=1)


@dataclass
class IMT(Teacher):
    """Greedy iterative machine teaching: the row of the whole pool that brings the learner nearest (IMT 2017).

    One matrix product scores the pool. Mini-batches are chosen greedily, one row after the other.
    """

    name: str = field(default="imt", init=False)

    def check(self, task: Task) -> None:
        """Raise a ``ValueError`` for a task whose pool is drawn at reset."""
        check_settled(task, self.name, "pool_seed")

    def __call__(self, task: Task, state: TeachState) -> Example:
        """The best rows of the pool with their true labels."""
        rows = select_rows(task, state, task.y)
        return Example(gather(task.x, rows), gather(task.y, rows))

    def gradient_evaluations(self, task: Task) -> int:
        """One per row of the pool, for every row of the mini-batch."""
        return len(task.x) * task.spec.batch_size


@dataclass
class MixedTeaching(Teacher):
    """Mixed teaching (LAST 3.5): the best row of the pool by its true label, then the greedy label for it.

    Args:
        constraint: what labels are allowed, see ``teach_gym.teachers.oracles.labels.Constraint``.
        radius: the radius of the magnitude constraints and of the cone.
        rounds: alternations; with more than one, the row is chosen again for the label found, as long as that helps.

    Raises:
        ValueError: unknown constraint, or a radius or number of rounds out of range.
    """

    constraint: str = "none"
    radius: float = 1.0
    rounds: int = 1
    name: str = field(default="mixed", init=False)

    def __post_init__(self) -> None:
        self._allowed = make_constraint(self.constraint, self.radius)
        within("rounds", self.rounds, "[1, 1000]", integer=True)

    def check(self, task: Task) -> None:
        """Raise a ``ValueError`` where the constraint does not fit, or rounds > 1 meets a mini-batch."""
        check_settled(task, self.name, "pool_seed")
        check_constraint(task, self._allowed)
        if self.rounds > 1 and task.spec.batch_size > 1:
            raise ValueError(f"rounds={self.rounds} needs batch_size=1, got {task.spec.batch_size}")

    def __call__(self, task: Task, state: TeachState) -> Example:
        """The chosen rows with their greedy labels."""
        best = self._relabel(task, state, select_rows(task, state, task.y))
        for _ in range(self.rounds - 1):
            table = np.broadcast_to(best.y, (len(state.t), len(task.x), task.k))
            best = better_of(task, state, self._relabel(task, state, select_rows(task, state, table)), best)
        return best

    def _relabel(self, task: Task, state: TeachState, rows: Array) -> Example:
        x = gather(task.x, rows)
        return Example(x, greedy_labels(task, state, x, gather(task.y, rows), self._allowed))

    def gradient_evaluations(self, task: Task) -> int:
        """One per row of the pool in every round, and one per row of the mini-batch."""
        return (len(task.x) + 1) * task.spec.batch_size * self.rounds
