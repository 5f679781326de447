"""A greedy teacher without w*: the action after which the learner's hold-out loss is lowest."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

from teach_gym.core.backend import Array
from teach_gym.core.build import encode_labels
from teach_gym.core.holdout import make_holdout
from teach_gym.core.state import Task, TeachState
from teach_gym.teachers.oracles.greedy import Scored


@functools.lru_cache(maxsize=16)
def holdout_table(task: Task) -> tuple[Array, Array]:
    """The hold-out rows that stand in for w*: x (n, d) and y (n, K) as the learner takes them.

    They are those of black-box tasks (the first ``holdout_rows`` of the split), whatever the task's observation.
    """
    if task.holdout is not None:
        return task.holdout.x, task.holdout.y
    split, spec = task.pool.holdout, task.spec
    y = encode_labels(task.learner, split, task.pool.n_classes)
    found = make_holdout(split, y, spec.holdout_rows, 0, spec.dtype)
    return found.x, found.y


def holdout_loss(task: Task, w: Array) -> Array:
    """Mean loss of numpy learners on the task's hold-out rows: (..., P) -> (...)."""
    x, y = holdout_table(task)
    return task.learner.loss(w, x, y)


@dataclass
class HoldoutGreedy(Scored):
    """The black-box greedy oracle: it tries every action and takes that of the lowest hold-out loss after the step.

    It sees the learner, the offered examples and the hold-out rows, and nothing of w*: LAST Eq. 1 with the distance
    to w* replaced by the surrogate of LAST 4. It is one step of BLAST (LAST Eq. 6, v = 1) solved by enumeration.
    """

    name: str = field(default="holdout_greedy", init=False)

    def check(self, task: Task) -> None:
        """Raise a ``ValueError`` for a task whose pool is drawn at reset: each run would need its own hold-out rows."""
        if "pool_seed" in task.spec.drawn:
            raise ValueError(f"teacher {self.name!r} needs one pool; the task draws pool_seed={task.spec.pool_seed!r}")

    def score(self, task: Task, state: TeachState, w: Array, velocity: Array | None) -> Array:
        """Hold-out loss of the learners after the step: (A, B, P) -> (A, B)."""
        flat = w.reshape(-1, w.shape[-1])
        return holdout_loss(task, flat).reshape(w.shape[:-1])

    def gradient_evaluations(self, task: Task) -> int:
        """Per action one for every row of the mini-batch and every hold-out row."""
        return task.n_actions * (task.spec.batch_size + len(holdout_table(task)[0]))
