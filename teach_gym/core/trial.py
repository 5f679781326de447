"""Trying actions on copies of the learner: their hold-out losses after each action, directly and after rehearsal.

The hold-out loss after one step favours immediate gains, including those that later examples would bring anyway.
Rehearsal looks further ahead: the copies continue to learn from unchanged pool rows, so the remaining effect of an
action is what it adds to plain learning.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from teach_gym.core.backend import Array
from teach_gym.core.state import Task, TeachState
from teach_gym.core.task import teach

REHEARSAL_ROWS = 100
"""Pool rows, the first of the train split, that rehearsal steps average over."""
REHEARSAL_STEPS = 3
REHEARSAL_SHARE = 0.3
"""Share of the remaining budget that the rehearsal steps together represent."""
REHEARSAL_REACH = 30
"""Maximum number of teaching steps that they represent."""
_BLOCK = 64
"""Copies evaluated at once: temporary arrays larger than the processor's cache cost more than the arithmetic."""


def copies(task: Task, state: TeachState) -> Array:
    """Copies of the learners, each taught the example of an action: (A, B, P) float32."""
    w, _ = teach(task, state, task.medium.candidates[:, None])
    return w.astype(np.float32)


def losses(task: Task, w: Array) -> Array:
    """Mean hold-out loss of learners (..., P): (...) float32."""
    holdout = _single(task.holdout.x, task.holdout.y)
    return _by_blocks(w, lambda part, _: task.learner.loss(part, *holdout))


def rehearsed(task: Task, state: TeachState, w: Array) -> Array:
    """Mean hold-out loss of copies (A, B, P) after rehearsal: (A, B) float32.

    Each copy takes three steps along the mean gradient over the pool's first rows. Their total length is that of plain
    learning for 30 % of the remaining budget, at most 30 steps (chosen on tuning seeds, see ``docs/black-box.md``).
    """
    holdout = _single(task.holdout.x, task.holdout.y)
    pool = _single(task.x[:REHEARSAL_ROWS], task.y[:REHEARSAL_ROWS])
    left = np.maximum(task.spec.budget - state.t - 1, 0)
    reach = np.minimum(REHEARSAL_SHARE * left, REHEARSAL_REACH) / REHEARSAL_STEPS
    rate = reach * (task.update.learning_rate if state.rate is None else state.rate)
    rates = np.broadcast_to(rate.astype(np.float32), w.shape[:-1]).ravel()

    def after(part: Array, rows: slice) -> Array:
        for _ in range(REHEARSAL_STEPS):
            part = part - rates[rows, None] * task.learner.gradient(part, *pool)
        return task.learner.loss(part, *holdout)

    return _by_blocks(w, after)


def _single(x: Array, y: Array) -> tuple[Array, Array]:
    return np.asfortranarray(x, dtype=np.float32), np.asfortranarray(y, dtype=np.float32)


def _by_blocks(w: Array, value: Callable[[Array, slice], Array]) -> Array:
    """A value for each learner (..., P), computed block by block: (...)."""
    flat = w.reshape(-1, w.shape[-1])
    blocks = [slice(start, start + _BLOCK) for start in range(0, len(flat), _BLOCK)]
    return np.concatenate([value(flat[rows], rows) for rows in blocks]).reshape(w.shape[:-1])
