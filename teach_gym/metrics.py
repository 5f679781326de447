"""Metrics: functions of (task, state), called by the benchmark and not paid for in a step. All give (B,)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from teach_gym.backend import Array, dot
from teach_gym.learners import MARGIN, SIGMOID
from teach_gym.pools import Split
from teach_gym.task import Task, TeachState, encode_labels


def distance(task: Task, state: TeachState) -> Array:
    """||w - w*||: (B,)."""
    return state.distance


def normalized_distance(task: Task, state: TeachState) -> Array:
    """Squared distance of the directions, || w/||w|| - w*/||w*|| ||^2, what the DHT figures plot: (B,)."""
    inner = dot(state.w, state.target)
    lengths = np.sqrt(dot(state.w, state.w) * dot(state.target, state.target))
    return 2.0 - 2.0 * inner / np.maximum(lengths, np.finfo(np.float64).tiny)


def train_loss(task: Task, state: TeachState) -> Array:
    """The learner's mean loss on the train rows: (B,)."""
    return task.learner.loss(state.w, task.x, task.y)


def holdout_accuracy(task: Task, state: TeachState) -> Array:
    """Share of hold-out rows classified rightly (regression: minus the mean squared error): (B,)."""
    return _accuracy(task, state, task.pool.holdout)


def test_accuracy(task: Task, state: TeachState) -> Array:
    """Share of test rows classified rightly (regression: minus the mean squared error): (B,)."""
    return _accuracy(task, state, task.pool.test)


def _accuracy(task: Task, state: TeachState, split: Split) -> Array:
    prediction = task.learner.predict(state.w, split.x.astype(task.x.dtype, copy=False))
    if task.pool.n_classes == 0:
        gap = prediction - encode_labels(task.learner, split, 0)
        return -(gap**2).mean(axis=(-1, -2))
    if task.learner.output in (SIGMOID, MARGIN):
        middle = 0.5 if task.learner.output is SIGMOID else 0.0
        decided = (prediction[..., 0] > middle).astype(np.int64)
    else:
        decided = prediction.argmax(-1)
    return (decided == split.labels).mean(-1)


test_accuracy.__test__ = False  # type: ignore[attr-defined]  # pytest: this is a metric, not a test

METRICS: dict[str, Callable[[Task, TeachState], Array]] = {
    f.__name__: f for f in (distance, normalized_distance, train_loss, holdout_accuracy, test_accuracy)
}
