"""Observations: blocks in the order of the design, filled with what they say, for single and batched states."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import VARIANTS, streams, variant

from teach_gym.core.build import make_task
from teach_gym.core.layout import bounds, layout, observe
from teach_gym.core.observe import OBSERVATIONS
from teach_gym.core.state import Task, TeachState
from teach_gym.core.task import reset, step

every = pytest.mark.parametrize("which", VARIANTS)


def moved(which: str, n: int = 4) -> tuple[Task, TeachState]:
    """A state after two random steps."""
    task, rng = make_task(**variant(which)), np.random.default_rng(5)
    state = reset(task, streams(n))
    for _ in range(2):
        state = step(task, state, rng.integers(task.n_actions, size=n)).state
    return task, state


@every
def test_observation_is_the_blocks_of_the_design_in_order(which: str) -> None:
    task, state = moved(which)
    expected = {
        "w": state.w,
        "difference": task.target - state.w,
        "features": state.x.reshape(4, -1),
        "label": state.y.reshape(4, -1),
        "velocity": state.velocity,
        "budget": np.full((4, 1), (task.spec.budget - 2) / task.spec.budget),
    }
    if task.spec.momentum == 0:
        del expected["velocity"]
    blocks = layout(task)
    assert [b.name for b in blocks] == list(expected)
    found = observe(task, state, blocks)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.concatenate(list(expected.values()), axis=1), rtol=1e-6)
    for block in blocks:
        part = found[:, block.start : block.start + block.size]
        np.testing.assert_allclose(part, expected[block.name], rtol=1e-6, err_msg=block.name)
        assert (part >= block.low).all() and (part <= block.high).all() and block.meaning


@every
def test_bounds_have_one_entry_per_number(which: str) -> None:
    task, state = moved(which)
    blocks = layout(task)
    low, high = bounds(blocks)
    assert low.shape == high.shape == observe(task, state, blocks).shape[1:] and low.dtype == np.float32
    assert (low[-1], high[-1]) == (0.0, 1.0)
    label = next(b for b in blocks if b.name == "label")
    expected = {"least_squares": (-np.inf, np.inf), "margin_logistic": (-1, 1)}.get(task.learner.name, (0, 1))
    assert (label.low, label.high) == expected


def test_remaining_budget_runs_from_one_to_zero() -> None:
    task = make_task(**variant("label-grid", tolerance=0.0))
    state, seen = reset(task, streams(2)), []
    for _ in range(task.spec.budget):
        seen.append(observe(task, state, layout(task))[0, -1])
        state = step(task, state, np.zeros(2, dtype=int)).state
    seen.append(observe(task, state, layout(task))[0, -1])
    np.testing.assert_allclose(seen, np.linspace(1, 0, task.spec.budget + 1), atol=1e-7)


@every
def test_the_schedule_never_enters_the_observation(which: str) -> None:
    task, state = moved(which)
    other = state._replace(schedule=np.zeros_like(state.schedule))
    np.testing.assert_array_equal(observe(task, state, layout(task)), observe(task, other, layout(task)))


@every
def test_observation_is_a_fresh_array_and_each_run_has_its_own_row(which: str) -> None:
    task, state = moved(which)
    blocks = layout(task)
    first, second = observe(task, state, blocks), observe(task, state, blocks)
    assert not any(np.shares_memory(first, a) for a in (second, *state) if a is not None)
    turned = TeachState(*(None if a is None else a[::-1] for a in state))
    np.testing.assert_array_equal(observe(task, turned, blocks), first[::-1])


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_every_observation_in_the_table_can_be_laid_out(name: str) -> None:
    task = make_task(**variant("label-grid", observation=name, debug=True))
    blocks, state = layout(task), reset(task, streams(3))
    assert observe(task, state, blocks).shape == (3, sum(b.size for b in blocks))
    assert [b.start for b in blocks] == np.cumsum([0, *(b.size for b in blocks[:-1])]).tolist()


@pytest.mark.parametrize("which", VARIANTS)
def test_lookahead_is_what_trying_every_action_gives(which: str) -> None:
    """The outlook against one real step by each action; with momentum also against coasting step by step."""
    task = make_task(**variant(which, observation="lookahead"))
    state = reset(task, streams(4))
    state = step(task, state, np.zeros(4, dtype=int)).state
    blocks = {b.name: b for b in layout(task)}
    found = observe(task, state, layout(task))
    after = [step(task, state, np.full(4, a)).state for a in range(task.n_actions)]
    expected = [np.stack([np.linalg.norm(s.w - s.target, axis=1) for s in after])]
    if task.update.momentum:
        expected.append(np.stack([_coasted(task, s) for s in after]))
    n = 1 + task.n_actions
    part = found[:, blocks["outlook"].start : blocks["outlook"].start + blocks["outlook"].size].astype(np.float64)
    assert part.shape[1] == n * len(expected)
    for i, distances in enumerate(expected):
        gain, shortfall = part[:, i * n], part[:, i * n + 1 : (i + 1) * n]
        best = distances.min(0)
        np.testing.assert_allclose(gain, 1 - best / state.distance, rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(shortfall.argmin(1), distances.argmin(0))
        np.testing.assert_allclose(shortfall.T, (distances - best) / (distances.mean(0) - best), rtol=1e-3, atol=1e-4)
    gap = found[:, blocks["gap"].start : blocks["gap"].start + blocks["gap"].size]
    logits = [task.learner.logits(w[:, None], state.x).reshape(4, -1) for w in (state.w, state.target)]
    np.testing.assert_allclose(gap, logits[1] - logits[0], rtol=1e-5, atol=1e-6)


def _coasted(task: Task, state: TeachState) -> np.ndarray:
    """The distance after moving on by momentum alone to the end of the budget."""
    mu, rate = task.update.momentum, task.update.learning_rate
    w, velocity = state.w.copy(), state.velocity.copy()
    for _ in range(int(state.t[0]), task.spec.budget):
        velocity = mu * velocity
        w = w - rate * (mu * velocity if task.update.nesterov else velocity)
    return np.linalg.norm(w - state.target, axis=1)
