"""The continuous action that discrete costs point to: against a fine grid of actions and against the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import continuous_variants, streams, variant

from teach_gym.core.aim import best_action
from teach_gym.core.build import make_task
from teach_gym.core.foresight import foresight
from teach_gym.core.layout import layout, observe
from teach_gym.core.task import compose, decode, reset, step
from teach_gym.teachers import make_teacher

LINEAR = [which for which in continuous_variants() if which != "mlp"]


@pytest.mark.parametrize("which", LINEAR)
def test_the_action_costs_no_more_than_the_best_discrete_one(which: str) -> None:
    """Up to what a parabola misses of a cost that is none: Mixup moves features and labels, margins bend the loss."""
    task = make_task(**variant(which, continuous=True, observation="farsighted"))
    far, state = foresight(task), reset(task, streams(50))
    costs = far.outcomes(state, relative=True)
    action = best_action(task, state, costs)
    low, high = task.medium.box
    assert action.shape == (50, *low.shape) and (action >= low).all() and (action <= high).all()
    cost = far.after(state, compose(task, state, decode(task, action)), relative=True)
    allowed = (0.05 if "mixup" in which or "margin" in which else 1e-6) * (costs.max(0) - costs.min(0))
    inside = ((action > low) & (action < high)).reshape(50, -1).all(1)
    free = inside | ("perturb-box" not in which)  # an action at the edge of the box may have been clipped to it
    assert (cost <= costs.min(0) + allowed)[free].all() and free.any()
    block = next(b for b in layout(task) if b.name == "aim")
    seen = observe(task, state, layout(task))[:, block.start : block.start + block.size]
    np.testing.assert_allclose(seen, action.reshape(50, -1), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("which", ["label-grid", "label-mix-uniform", "label-mix-prediction"])
def test_the_label_of_one_row_is_exact(which: str) -> None:
    task = make_task(**variant(which, continuous=True, observation="farsighted"))
    far, state = foresight(task), reset(task, streams(20))
    for _ in range(3):
        action = best_action(task, state, far.outcomes(state, relative=True))
        low, high = (float(bound.min()) for bound in task.medium.box)
        grid = np.linspace(low, high, 2001)
        tried = np.broadcast_to(grid.reshape(-1, *(1,) * action.ndim), (2001, *action.shape))
        best = grid[far.after(state, compose(task, state, decode(task, tried)), relative=True).argmin(0)]
        np.testing.assert_allclose(action.reshape(20), best, atol=(high - low) / 1900)
        state = step(task, state, action).state
    oracle = make_teacher("lqr")(task, state)
    np.testing.assert_allclose(best_action(task, state, far.outcomes(state, relative=True)), oracle, atol=1e-3)
