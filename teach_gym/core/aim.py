"""The continuous action that the costs of the discrete ones point to."""

from __future__ import annotations

import numpy as np

from teach_gym.core.backend import Array
from teach_gym.core.costtogo import Floats
from teach_gym.core.medium import LabelMix, Medium, Mixup, Perturb
from teach_gym.core.state import Task, TeachState


def best_action(task: Task, state: TeachState, costs: Floats) -> Floats:
    """The continuous action of least cost, as far as the costs of the discrete actions tell: (B, *Box shape).

    It is the best discrete action. Where that lies on a line with two others, evenly spaced, as in a grid of labels or
    of Mixup coefficients, it is the lowest point of the parabola through the costs of the three, not beyond them. For
    the label of one row that is exact, as the cost is quadratic in it.

    Args:
        task: a task whose medium has a continuous flavour.
        state: B runs.
        costs: (A, B) of the discrete actions.
    """
    low, high = task.medium.box
    actions = _as_actions(task.medium, task.medium.candidates[:, None].astype(np.float64), state.x)
    actions = np.broadcast_to(actions, (*costs.shape, *low.shape)).reshape(*costs.shape, -1)
    runs = np.arange(costs.shape[1])
    centre, even = _centres(actions[:, 0])
    best = costs.argmin(0)
    middle, inside = centre[best], even[best]
    before, after = np.maximum(middle - 1, 0), np.minimum(middle + 1, len(costs) - 1)
    first, second, third = (costs[index, runs] for index in (before, middle, after))
    bend = first - 2.0 * second + third
    shift = np.clip(0.5 * (first - third) / np.where(bend > 0.0, bend, 1.0), -1.0, 1.0)
    step = np.where(inside & (bend > 0.0), shift, 0.0)[:, None] * (actions[after, runs] - actions[middle, runs])
    start = np.where((inside & (bend > 0.0))[:, None], actions[middle, runs], actions[best, runs])
    return np.clip((start + step).reshape(-1, *low.shape), low, high)


def _as_actions(medium: Medium, value: Array, x: Array) -> Array:
    """Continuous actions for values (..., *value shape) of the discrete ones; x (B, M, m, d) are the sources."""
    if isinstance(medium, LabelMix | Mixup):
        return value[..., 0]
    if isinstance(medium, Perturb):
        moved = value[..., 1:]
        return moved / medium.radius if medium.region == "ball" else value[..., :1] * x[:, 0] + moved
    return value


def _centres(actions: Array) -> tuple[Array, Array]:
    """For each of A actions (A, n) the middle of three evenly spaced ones that include it, and whether there are."""
    n = len(actions)
    gaps = np.diff(actions, axis=0)
    even = np.zeros(n, dtype=np.bool_)
    even[1:-1] = np.isclose(gaps[1:], gaps[:-1], atol=1e-9).all(1)
    centre, found = np.arange(n), even.copy()
    for shift in (1, -1):  # an end of a line takes its neighbour's parabola
        neighbour = np.clip(np.arange(n) + shift, 0, n - 1)
        take = ~found & even[neighbour]
        centre[take], found = neighbour[take], found | take
    return centre, found
