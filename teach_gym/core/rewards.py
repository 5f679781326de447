"""Rewards: how much closer the learner came, as functions of the states before and after a step."""

from __future__ import annotations

import numpy as np

from teach_gym.core.backend import Array, namespace
from teach_gym.core.batch import DIVERGED, needed
from teach_gym.core.foresight import foresight
from teach_gym.core.holdout import accuracy
from teach_gym.core.state import RewardFunction, Task, TeachState

FARTHEST = 10.0
"""Distances and losses above this multiple of the initial one count as that in the percentages of it."""


def _at_most(values: Array, most: Array | float) -> Array:
    """Values, not above a bound; it also stands for NaN."""
    xp = namespace(values)
    return xp.fmin(values, xp.full_like(values, most) if isinstance(most, float) else most)


def progress(task: Task, before: TeachState, after: TeachState) -> Array:
    """Percentage of the initial distance removed by this step, 100 (d_t - d_{t+1}) / d_0: (B,).

    An episode's return is the percentage of the distance removed, at most 100. Distances above 10 d_0 count as 10 d_0,
    so that a learner that starts near the target, or diverges, earns no less than -1000.
    """
    most = FARTHEST * before.initial_distance
    return (_at_most(before.distance, most) - _at_most(after.distance, most)) * (100.0 / before.initial_distance)


def distance(task: Task, before: TeachState, after: TeachState) -> Array:
    """Minus the distance after the step, -||w - w*|| (LAST 3.3): (B,)."""
    return -_at_most(after.distance, DIVERGED)


def decrease(task: Task, before: TeachState, after: TeachState) -> Array:
    """The decrease of the distance, d_t - d_{t+1}: (B,)."""
    return before.distance - _at_most(after.distance, DIVERGED)


def log_progress(task: Task, before: TeachState, after: TeachState) -> Array:
    """10 times the decrease of the logarithm of the distance, 10 log((d_t + c) / (d_{t+1} + c)), c = d_0 / 50: (B,).

    Removing a given share of the remaining distance earns about the same near the target as far from it, so agents
    learn precision, which ``progress`` hardly rewards. Below c the reward is nearly linear, which keeps chance near
    the target from dominating the return.
    """
    floor = 0.02 * before.initial_distance
    return 10.0 * namespace(before.distance).log(
        (before.distance + floor) / (_at_most(after.distance, DIVERGED) + floor)
    )


def farsighted_progress(task: Task, before: TeachState, after: TeachState) -> Array:
    """10 times the decrease of the logarithm of the distance to be expected at the end of the budget: (B,).

    10 log((V_t + c) / (V_{t+1} + c)) with c = d_0 / 50 and V^2 the cost-to-go of the far-sighted oracle
    (``teach_gym.core.foresight``). At the end of an episode V is the distance, so a return depends on the initial state
    and the final distance alone, while each step is paid at once for what it will be worth at the end.

    Raises:
        ValueError: a learner with a hidden layer.
    """
    floor = 0.02 * before.initial_distance
    return 10.0 * np.log((_expected(task, before) + floor) / (_expected(task, after) + floor))


def _expected(task: Task, state: TeachState) -> Array:
    """The distance to be expected at the end of the budget; for episodes that have ended, their distance: (B,)."""
    ahead = np.sqrt(foresight(task).cost(state))
    return np.where(state.distance < task.spec.tolerance, state.distance, ahead)


def holdout_progress(task: Task, before: TeachState, after: TeachState) -> Array:
    """Percentage of the initial hold-out loss removed by this step, 100 (l_t - l_{t+1}) / l_0: (B,).

    The dense black-box counterpart of ``progress``; an episode's return is the percentage of the loss removed.
    """
    old, new = needed(before.memory), needed(after.memory)
    most = FARTHEST * old.initial
    return (_at_most(old.now.loss, most) - _at_most(new.now.loss, most)) * (100.0 / old.initial)


def holdout_log_progress(task: Task, before: TeachState, after: TeachState) -> Array:
    """10 times the decrease of the logarithm of the hold-out loss, 10 log((l_t + c) / (l_{t+1} + c)): (B,).

    The black-box counterpart of ``log_progress``, with c = l_0 / 50.
    """
    old, new = needed(before.memory), needed(after.memory)
    floor = 0.02 * old.initial
    now, then = _at_most(old.now.loss, DIVERGED), _at_most(new.now.loss, DIVERGED)
    return 10.0 * namespace(after.w).log((now + floor) / (then + floor))


def holdout_accuracy(task: Task, before: TeachState, after: TeachState) -> Array:
    """The hold-out accuracy after the last step of the budget, zero earlier (LAST 4, reward (i); DHT 4.1): (B,)."""
    last = after.t >= task.spec.budget
    if not last.any():
        return namespace(after.w).zeros_like(after.distance)
    return namespace(after.w).where(last, accuracy(task, after), 0.0)


def steps_to_accuracy(task: Task, before: TeachState, after: TeachState) -> Array:
    """Minus one per step; the episode ends when the hold-out accuracy reaches zeta (LAST 4, reward (ii)): (B,)."""
    return -namespace(after.w).ones_like(after.distance)


HOLDOUT_REWARDS: dict[str, RewardFunction] = {
    f.__name__: f for f in (holdout_progress, holdout_log_progress, holdout_accuracy, steps_to_accuracy)
}
"""The rewards that do not depend on w*."""

REWARDS: dict[str, RewardFunction] = {
    f.__name__: f for f in (progress, log_progress, farsighted_progress, distance, decrease)
} | HOLDOUT_REWARDS
