"""Metrics: functions of (task, state) that the benchmark calls outside of steps. All return (B,)."""

from __future__ import annotations

from collections.abc import Callable

from teach_gym.core.backend import Array, dot, namespace, norm
from teach_gym.core.state import Task, TeachState
from teach_gym.data.pool import Split

Metric = Callable[[Task, TeachState], Array]
"""(task, state) -> (B,)."""


def distance(task: Task, state: TeachState) -> Array:
    """||w - w*||: (B,)."""
    return state.distance


def normalized_distance(task: Task, state: TeachState) -> Array:
    """Squared distance between the directions, || w/||w|| - w*/||w*|| ||^2, as plotted in the DHT figures: (B,)."""
    inner = dot(state.w, state.target)
    return 2.0 - 2.0 * inner / (norm(state.w) * norm(state.target) + 1e-30)


def train_loss(task: Task, state: TeachState) -> Array:
    """The learner's mean loss on the train rows: (B,)."""
    return task.learner.loss(state.w, task.x, task.y)


def holdout_loss(task: Task, state: TeachState) -> Array:
    """The learner's mean loss on the hold-out rows that black-box tasks use: (B,)."""
    return task.learner.loss(state.w, task.holdout.x, task.holdout.y)


def holdout_accuracy(task: Task, state: TeachState) -> Array:
    """Share of hold-out rows classified correctly (regression: minus the mean squared error): (B,)."""
    return _accuracy(task, state, task.pool.holdout)


def test_accuracy(task: Task, state: TeachState) -> Array:
    """Share of test rows classified correctly (regression: minus the mean squared error): (B,)."""
    return _accuracy(task, state, task.pool.test)


def _accuracy(task: Task, state: TeachState, split: Split) -> Array:
    xp = namespace(state.w)
    return task.learner.accuracy(state.w, xp.asarray(split.x, dtype=state.w.dtype), xp.asarray(split.labels))


test_accuracy.__test__ = False  # type: ignore[attr-defined]  # pytest: this is a metric, not a test

METRICS: dict[str, Metric] = {
    f.__name__: f for f in (distance, normalized_distance, train_loss, holdout_loss, holdout_accuracy, test_accuracy)
}
