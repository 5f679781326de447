"""What querying the learner reveals without any information about w*: the parts of black-box observations.

Every function takes a task and a state and returns (B, n) numbers. They are averages over the rows of a mini-batch, so
n depends on the number of sources and of actions, not on the data.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from teach_gym.core.backend import Array, dot, namespace
from teach_gym.core.batch import needed
from teach_gym.core.holdout import class_probabilities
from teach_gym.core.state import Task, TeachState
from teach_gym.core.task import compose

LEAST = 1e-4
"""Probabilities and shares of the first hold-out loss far below this look the same to an agent."""


def given(task: Task, state: TeachState) -> Array:
    """The offered labels as entries for each class: (B, M, m, C)."""
    return class_probabilities(task.learner.output, state.y)


class _Latest:
    """Remembers what a function of the learner found for the last state, which several parts of an observation ask for.

    It holds no state in memory, and no results of torch, which would keep the graphs of gradients.
    """

    def __init__(self, function: Callable[[Task, TeachState], Array]) -> None:
        self.function = function
        self._known: tuple[tuple[weakref.ref[Any], ...], Array] | None = None

    def __call__(self, task: Task, state: TeachState) -> Array:
        """The function's value."""
        asked = (task, state.w, state.x)
        if not isinstance(state.w, np.ndarray):
            return self.function(task, state)
        known = self._known
        if known is None or any(ref() is not part for ref, part in zip(known[0], asked, strict=True)):
            self._known = known = (tuple(map(weakref.ref, asked)), self.function(task, state))
        return known[1]


@_Latest
def probabilities(task: Task, state: TeachState) -> Array:
    """The learner's prediction of each class on the offered rows: (B, M, m, C), not to be changed."""
    return class_probabilities(task.learner.output, task.learner.predict(state.w[:, None], state.x))


def residual(task: Task, state: TeachState) -> Array:
    """Regression: the given label minus the prediction, (B, M)."""
    return (given(task, state) - probabilities(task, state)).sum(-1).mean(-1)


def agreement(task: Task, state: TeachState) -> Array:
    """The learner's probability of the given label: (B, M)."""
    return dot(probabilities(task, state), given(task, state)).mean(-1)


def margin(task: Task, state: TeachState) -> Array:
    """Log odds of the given label against the most probable other label: (B, M)."""
    p, y = probabilities(task, state), given(task, state)
    xp = namespace(p)
    return xp.log((dot(p, y) + LEAST) / (xp.max(p * (1.0 - y), axis=-1) + LEAST)).mean(-1)


def confidence(task: Task, state: TeachState) -> Array:
    """The learner's highest probability: (B, M)."""
    return namespace(state.w).max(probabilities(task, state), axis=-1).mean(-1)


def loss(task: Task, state: TeachState) -> Array:
    """The learner's loss on the teaching example of each action: (B, A)."""
    example = compose(task, state, task.medium.candidates[:, None])
    return task.learner.loss(state.w, example.x, example.y).T


def reference(task: Task, state: TeachState) -> Array:
    """Probability that the soft label, which the medium mixes with, gives to the given label: (B, M)."""
    soft = class_probabilities(task.learner.output, needed(state.soft))
    return dot(soft, given(task, state)).mean(-1)


def size(task: Task, state: TeachState) -> Array:
    """Squared norm of the offered features divided by its mean over the pool: (B, M)."""
    found: Array = task.learner.squared_norms(state.x).mean(-1) / task.squared_norms.mean()
    return found


def likeness(task: Task, state: TeachState) -> Array:
    """Cosine of each further source's features with the first's, then the overlap of their labels: (B, 2 (M - 1))."""
    x, y, xp = state.x, given(task, state), namespace(state.x)
    length = xp.sqrt(dot(x, x)) + 1e-30
    cosine, same = dot(x, x[:, :1]) / (length * length[:, :1]), dot(y, y[:, :1])
    return xp.concat([cosine[:, 1:].mean(-1), same[:, 1:].mean(-1)], axis=-1)


def _of_classes(weights: Array, *stats: Array) -> Array:
    """Statistics of classes (B, C), each averaged with the weights (B, M, m, C) of classes: (B, n M)."""
    return namespace(weights).concat([dot(weights, stat[:, None, None]).mean(-1) for stat in stats], axis=-1)


def given_class(task: Task, state: TeachState) -> Array:
    """For the given label's class on the hold-out rows: loss minus mean loss, recall and excess: (B, 3 M)."""
    now = needed(state.memory).now
    return _of_classes(given(task, state), now.class_loss - now.loss[:, None], now.recall, now.excess)


def predicted_class(task: Task, state: TeachState) -> Array:
    """For the predicted class on the hold-out rows: precision and excess: (B, 2 M)."""
    now, p = needed(state.memory).now, probabilities(task, state)
    xp = namespace(p)
    return _of_classes(xp.astype(p == xp.max(p, axis=-1, keepdims=True), p.dtype), now.precision, now.excess)


def standing(task: Task, state: TeachState) -> Array:
    """Hold-out accuracy, hold-out loss, and the log of the loss as a share of the first and of the best: (B, 4)."""
    past, xp = needed(state.memory), namespace(state.w)
    now = past.now.loss
    shares = [xp.log(now / past.initial + LEAST), xp.log((now + LEAST) / (past.best + LEAST))]
    return xp.stack([past.now.accuracy, now, *shares], axis=-1)


def gains(task: Task, state: TeachState) -> Array:
    """Share of the hold-out loss removed by the last step, its running mean, budget share since the best: (B, 3)."""
    past = needed(state.memory)
    return namespace(state.w).stack([past.gain, past.mean_gain, past.stale / task.spec.budget], axis=-1)


def losses_shown(task: Task, state: TeachState) -> Array:
    """Mean loss on the examples shown, over all steps so far and over the last ones: (B, 2)."""
    past = needed(state.memory)
    return namespace(state.w).stack([past.mean_loss, past.recent_loss], axis=-1)
