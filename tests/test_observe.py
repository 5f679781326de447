"""Observations: blocks in the order of the design, filled with what they say, for single and batched states."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import VARIANTS, streams, variant

from teach_gym.build import make_task
from teach_gym.observe import OBSERVATIONS, bounds, layout, observe
from teach_gym.task import Task, TeachState, reset, step

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
    task = make_task(**variant("label-grid", observation=name))
    blocks, state = layout(task), reset(task, streams(3))
    assert observe(task, state, blocks).shape == (3, sum(b.size for b in blocks))
    assert [b.start for b in blocks] == np.cumsum([0, *(b.size for b in blocks[:-1])]).tolist()
