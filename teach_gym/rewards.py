"""Rewards: how much closer the learner came, as functions of a step's two states."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from teach_gym.backend import Array

if TYPE_CHECKING:
    from teach_gym.task import Task, TeachState

RewardFunction = Callable[["Task", "TeachState", "TeachState"], Array]


def progress(task: Task, before: TeachState, after: TeachState) -> Array:
    """Per cent of the initial distance removed by this step, 100 (d_t - d_{t+1}) / d_0: (B,).

    An episode's return is the per cent of the distance removed, at most 100.
    """
    return (before.distance - after.distance) * (100.0 / before.initial_distance)


def distance(task: Task, before: TeachState, after: TeachState) -> Array:
    """Minus the distance after the step, -||w - w*|| (LAST 3.3): (B,)."""
    return -after.distance


def decrease(task: Task, before: TeachState, after: TeachState) -> Array:
    """The decrease of the distance, d_t - d_{t+1}: (B,)."""
    return before.distance - after.distance


REWARDS: dict[str, RewardFunction] = {f.__name__: f for f in (progress, distance, decrease)}
