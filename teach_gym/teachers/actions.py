"""The actions that come nearest to a wanted teaching example, for teachers that make examples of their own."""

from __future__ import annotations

import numpy as np

from teach_gym.core.backend import Array, dot
from teach_gym.core.medium import LabelGrid, LabelMix, LabelOffset, Perturb
from teach_gym.core.projections import onto_ball
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.core.task import compose


def nearest_action(task: Task, state: TeachState, example: Example) -> Array:
    """The actions of the task's flavour whose teaching examples are nearest to the wanted ones.

    Args:
        task: a ``label`` or ``perturb`` task.
        state: B runs.
        example: the wanted x (B, m, d), y (B, m, K).

    Returns:
        (B,) indices, or (B, *Box shape) inside the bounds.
    """
    if not task.spec.continuous:
        made = compose(task, state, task.medium.candidates[:, None])
        far = ((made.y - example.y) ** 2).sum((-1, -2)) + ((made.x - example.x) ** 2).sum((-1, -2))
        return np.broadcast_to(far, (task.n_actions, len(state.w))).argmin(0)
    low, high = task.medium.low, task.medium.high
    assert low is not None and high is not None
    dtype = task.spec.dtype
    return np.clip(_nearest_value(task, state, example), low.astype(dtype), high.astype(dtype))


def _nearest_value(task: Task, state: TeachState, example: Example) -> Array:
    """The continuous action for an example, not yet inside the bounds."""
    medium, truth = task.medium, state.y[:, 0]
    if isinstance(medium, LabelGrid):
        return medium.project(example.y)
    if isinstance(medium, Perturb):
        return example.x if medium.region == "box" else onto_ball((example.x - state.x[:, 0]) / medium.radius, 1.0)
    if isinstance(medium, LabelMix):
        other = compose(task, state, np.zeros((1, 1), dtype=truth.dtype)).y
        way = truth - other
        return dot(example.y - other, way) / np.maximum(dot(way, way), 1e-12)
    assert isinstance(medium, LabelOffset)
    gate = np.full_like(truth[..., :1], 1.0 if medium.reference is None else 0.0)
    centre = compose(task, state, np.concatenate([gate, np.zeros_like(truth)], axis=-1)).y
    return medium.project(np.concatenate([gate, example.y - centre], axis=-1))
