"""What one step of each action leads to, as the greedy oracle sees it."""

from __future__ import annotations

import numpy as np

from teach_gym.core.aim import best_action
from teach_gym.core.backend import Array, norm
from teach_gym.core.state import Task, TeachState
from teach_gym.core.task import coast, teach
from teach_gym.core.views import LEAST_SHARE


def ends(task: Task, state: TeachState) -> list[Array]:
    """The distances (A, B) after a step with each action; with momentum also where it would carry the learner."""
    w, velocity = teach(task, state, task.medium.candidates[:, None])
    ends = [w] if velocity is None else [w, coast(task, state, w, velocity)]
    return [norm(end - state.target) for end in ends]


def outlook(task: Task, state: TeachState) -> Array:
    """What one step of each action leads to: (B, 1 + A), with momentum (B, 2 + 2 A). See ``compared``."""
    now, initial = state.distance, state.initial_distance
    return np.concatenate([compared(now, initial, after) for after in ends(task, state)]).T


def near_aim(task: Task, state: TeachState) -> Array:
    """The continuous action to which the outlook points: (B, *Box shape)."""
    return best_action(task, state, ends(task, state)[-1] ** 2)


def compared(now: Array, initial: Array, after: Array) -> Array:
    """The gain of the best action, then each action's shortfall.

    Args:
        now: (B,) current distance or loss.
        initial: (B,) its value at reset.
        after: (A, B) its value after a step with each action.

    Returns:
        (1 + A, B).
    """
    best = after.min(0)
    gain = (now - best) / (now + LEAST_SHARE * initial)
    unit = after.mean(0) - best + 1e-9 * initial
    return np.concatenate([gain[None], (after - best) / unit])
