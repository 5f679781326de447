"""What actions lead to under several assumptions about later control, in numbers that fit every task.

The far-sighted oracle's settings (``teach_gym.core.farsighted``) say how much of the gain of free labels, of the drift
and of the curvature a teacher counts on. Which are best depends on the task. Here the costs of all actions are given
for each of ``VIEWS``. The first counts on nothing: it is greedy, or with momentum anticipating.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from teach_gym.core.backend import Array
from teach_gym.core.costtogo import Floats
from teach_gym.core.farsighted import Farsight, farsight
from teach_gym.core.foresight import Settings
from teach_gym.core.state import Task, TeachState

VIEWS = (
    Settings(0.0, 0.0, 0.0),
    Settings(0.2, 0.0, 0.0),
    Settings(0.6, 0.0, 0.0),
    Settings(1.0, 0.0, 0.0),
    Settings(0.1, 1.0, 1.0),
    Settings(0.4, 0.0, 1.0),
    Settings(0.7, 1.0, 1.0),
)
"""The assumptions under which actions are judged."""
LEAST_SHARE = 1e-4
"""Shares of the initial distance far below this look the same to an agent."""
MOST = 10.0
"""Bound of a shortfall, in units of the mean of a step."""


@functools.lru_cache(maxsize=32)
def farsights(task: Task) -> tuple[Farsight, ...]:
    """The costs-to-go of a task under each of ``VIEWS``."""
    return tuple(farsight.__wrapped__(task, *view) for view in VIEWS)


class Judged(NamedTuple):
    """What the actions lead to at the end of the budget.

    Attributes:
        expected: (B,) log of the distance to be expected if this step teaches nothing, as a share of the initial one.
        gain: (B,) what the best action gains of it.
        shortfalls: (A, B) how much farther each action ends than the best, in units of their mean.
    """

    expected: Floats
    gain: Floats
    shortfalls: Floats


def judged(far: Farsight, state: TeachState) -> Judged:
    """What the actions lead to according to a cost-to-go."""
    seen = far.prospects(state)
    alone, after = (np.sqrt(np.maximum(costs, 0.0)) for costs in (seen.alone, seen.relative))
    expected = np.sqrt(np.exp(seen.log_scale) * alone**2 + seen.untaught)
    best = after.min(0)
    gain = (alone - best) / (alone + best + 1e-300)
    shortfalls = (after - best) / (after.mean(0) - best + 1e-9 * alone + 1e-300)
    return Judged(np.log(expected / state.initial_distance + LEAST_SHARE), gain, shortfalls)


def viewed(task: Task, state: TeachState) -> Array:
    """What each of J views expects and gains, then the shortfalls of each of A actions: (B, 2 J + J A).

    What is expected is the log of the distance at the end as a share of the present one.
    """
    found = [judged(far, state) for far in farsights(task)]
    now = np.log(state.distance / state.initial_distance + LEAST_SHARE)
    shared = [part for view in found for part in (view.expected - now, view.gain)]
    own = [shortfall for view in found for shortfall in np.minimum(view.shortfalls, MOST)]
    return np.stack([*shared, *own], axis=1)
