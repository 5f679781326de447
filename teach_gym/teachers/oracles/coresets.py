"""Data selection by gradients: GradMatch and CRAIG as teachers that choose among the offered examples.

Both know the learner and the train rows but not w*. They choose the example that stands best for the whole pool: they
are what users of data-selection libraries compare with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from teach_gym.core.backend import Array, dot
from teach_gym.core.learner import MLPLearner
from teach_gym.core.medium import Select
from teach_gym.core.state import Task, TeachState
from teach_gym.errors import shown
from teach_gym.teachers.base import Teacher

_ENTRIES = 4_000_000
"""Most distances that are held at once."""


def _check(task: Task, name: str) -> None:
    if not isinstance(task.medium, Select):
        raise ValueError(f"teacher {name!r} needs the medium 'select', the task's is {task.spec.medium!r}")
    if task.variants is not None:
        raise ValueError(f"teacher {name!r} needs one pool; the task draws pool_seed at reset")


def _offered(task: Task, state: TeachState) -> Array:
    """Gradients of the offered mini-batches: (B, M, P)."""
    return task.learner.gradient(state.w[:, None], state.x, state.y)


@dataclass
class GradMatch(Teacher):
    """The offered example whose gradient, scaled best, is nearest to the gradient of the whole pool.

    The first step of orthogonal matching pursuit in Killamsetty et al., "GRAD-MATCH: Gradient Matching based Data
    Subset Selection", ICML 2021, with non-negative weights. Works for every learner.
    """

    name: str = field(default="gradmatch", init=False)

    def check(self, task: Task) -> None:
        """Raise a ``ValueError`` for a medium other than ``select``, or pools drawn at reset."""
        _check(task, self.name)

    def __call__(self, task: Task, state: TeachState) -> Array:
        """Indices of the chosen sources: (B,)."""
        whole = task.learner.gradient(state.w, task.x, task.y)[:, None]
        offered = _offered(task, state)
        length = np.sqrt(dot(offered, offered))
        return (dot(whole, offered) / np.maximum(length, 1e-30)).argmax(-1)

    def gradient_evaluations(self, task: Task) -> int:
        """One per train row and offered row."""
        return len(task.x) + task.medium.n_sources * task.spec.batch_size


@dataclass
class CRAIG(Teacher):
    """The offered example whose gradient has the smallest total distance to the gradients of all train rows.

    The first element of the greedy facility location in Mirzasoleiman et al., "Coresets for Data-efficient Training of
    Machine Learning Models", ICML 2020. For linear learners, whose gradients x r^T need not be formed to be compared.
    """

    name: str = field(default="craig", init=False)

    def check(self, task: Task) -> None:
        """Raise a ``ValueError`` for a medium other than ``select``, pools drawn at reset, or hidden layers."""
        _check(task, self.name)
        if isinstance(task.learner, MLPLearner):
            raise ValueError(f"teacher {self.name!r} needs a linear learner, got {shown(task.spec.learner)}")

    def __call__(self, task: Task, state: TeachState) -> Array:
        """Indices of the chosen sources: (B,)."""
        n = max(_ENTRIES // (len(task.x) * task.medium.n_sources * task.k), 1)
        offered = _offered(task, state)
        parts: list[Any] = [
            self._totals(task, state.w[i : i + n], offered[i : i + n]).argmin(-1) for i in range(0, len(offered), n)
        ]
        return np.concatenate(parts)

    @staticmethod
    def _totals(task: Task, w: Array, offered: Array) -> Array:
        """Sums over the train rows of ||g_j - g||, for w (B, P) and the offered gradients g (B, M, P): (B, M)."""
        residual = task.learner.output.residual(task.learner.logits(w, task.x), task.y)
        inner = dot(task.learner.logits(offered, task.x), residual[:, None])  # <g, x r^T> = r . (g x)
        lengths = (task.squared_norms * dot(residual, residual))[:, None] + dot(offered, offered)[..., None]
        return np.sqrt(np.maximum(lengths - 2.0 * inner, 0.0)).sum(-1)

    def gradient_evaluations(self, task: Task) -> int:
        """One per train row and offered row."""
        return len(task.x) + task.medium.n_sources * task.spec.batch_size
