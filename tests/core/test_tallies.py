"""Measurements on hold-out rows by the compiled loop against those by array calls."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest
from conftest import VARIANTS, names, streams, variant
from kernels import interpreted

from teach_gym.compiled import compiler
from teach_gym.core import queries, tallies
from teach_gym.core.build import make_task
from teach_gym.core.holdout import measure, tally
from teach_gym.core.state import Task
from teach_gym.core.task import reset, step
from teach_gym.envs.vector import TeachVectorEnv
from teach_gym.registration import task_kwargs

BLACK_BOX = names(observation=["black_box"])


def small(**kwargs: Any) -> Task:
    """A task with few hold-out rows."""
    return make_task(**{"reward": "holdout_progress", "holdout_rows": 12, **kwargs})


def compare(task: Task, n: int) -> None:
    """The same measurements of learners that were taught a little, of the same types, within the tolerance promised."""
    fast = dataclasses.replace(task, tally=tallies.CompiledTally(task))
    state = reset(task, streams(n))
    for _ in range(3):
        state = step(task, state, np.zeros(n, dtype=np.int64)).state
    single = task.spec.dtype == "float32"
    for mine, theirs in zip(measure(fast, state.w), measure(task, state.w), strict=True):
        assert mine.dtype == theirs.dtype and mine.shape == theirs.shape
        np.testing.assert_allclose(mine, theirs, rtol=1e-5 if single else 1e-12, atol=1e-6 if single else 1e-13)


@pytest.fixture
def no_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "compiled", interpreted)
    monkeypatch.setattr(tallies, "LANES", 4)


@pytest.mark.usefixtures("no_numba")
@pytest.mark.parametrize("which", VARIANTS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_loop_measures_as_arrays_do(which: str, dtype: str) -> None:
    compare(small(**variant(which, dtype=dtype)), 6)


@pytest.mark.usefixtures("no_numba")
@pytest.mark.parametrize("which", BLACK_BOX)
def test_the_loop_measures_registered_tasks(which: str) -> None:
    compare(make_task(**{**task_kwargs(which), "holdout_rows": 12}), 3)


@pytest.mark.usefixtures("no_numba")
def test_learners_that_know_nothing_or_too_much() -> None:
    task = small(**variant("label-grid-one-hot"))
    fast = dataclasses.replace(task, tally=tallies.CompiledTally(task))
    w = np.zeros((3, task.size))
    w[1], w[2] = np.inf, np.nan
    with np.errstate(all="ignore"):
        for mine, theirs in zip(measure(fast, w), measure(task, w), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-12)
    copy = pickle.loads(pickle.dumps(fast))
    np.testing.assert_array_equal(measure(copy, w[:1]).loss, measure(fast, w[:1]).loss)


def test_blocks_measure_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    task = small(**variant("mixup"))
    w = reset(task, streams(40)).w
    together = tally(task, w)
    monkeypatch.setattr("teach_gym.core.holdout._BLOCK", 64)
    for mine, theirs in zip(together, tally(task, w), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-13)


def test_predictions_are_computed_once_for_a_state(monkeypatch: pytest.MonkeyPatch) -> None:
    task = small(**variant("mixup"))
    state = reset(task, streams(5))
    first = queries.probabilities(task, state)
    assert queries.probabilities(task, state) is first
    after = step(task, state, np.zeros(5, dtype=np.int64)).state
    found = queries.probabilities(task, after)
    np.testing.assert_array_equal(found, queries.probabilities(task, after._replace(w=after.w.copy())))
    assert not np.allclose(found, first)


def test_wide_environments_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "compiled", interpreted)
    monkeypatch.setenv(compiler.SETTING, "1")
    kwargs = variant("label-grid", reward="holdout_progress", holdout_rows=4)
    for n, compiled, expected in ((64, None, True), (2, None, False), (64, False, False)):
        env = TeachVectorEnv(num_envs=n, compiled=compiled, **kwargs)
        env.reset(seed=0)
        assert (env._runs.task.tally is not None) is expected  # type: ignore[union-attr]
        assert env.task.tally is None


@pytest.mark.slow
@pytest.mark.parametrize("which", BLACK_BOX)
def test_machine_code_measures_registered_tasks(which: str) -> None:
    pytest.importorskip("numba")
    compare(make_task(**task_kwargs(which)), 70)


@pytest.mark.slow
@pytest.mark.parametrize("which", BLACK_BOX)
def test_wide_environments_are_the_narrow_ones(which: str) -> None:
    pytest.importorskip("numba")
    task = task_kwargs(which)
    fast, plain = (TeachVectorEnv(num_envs=64, compiled=c, **task) for c in (None, False))
    rng, single = np.random.default_rng(0), task.get("dtype") == "float32"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(compiler.SETTING, "1")
        for env in (fast, plain):
            env.reset(seed=3)
    for _ in range(40):
        actions = rng.integers(fast.single_action_space.n, size=64)  # type: ignore[attr-defined]
        a, b = fast.step(actions), plain.step(actions)
        np.testing.assert_allclose(a[1], b[1], rtol=0, atol=1e-4 if single else 1e-9)
        wide = 1e-3 if single else 1e-6
        np.testing.assert_allclose(a[0], b[0], rtol=wide, atol=wide)
