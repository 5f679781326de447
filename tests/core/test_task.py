"""Tasks: the spec, reset, teaching in numpy and torch, batching, and every bad argument."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from conftest import continuous_variants, streams, variant
from task_cases import B, actions, close, every, random_steps, started

from teach_gym.core import task as module
from teach_gym.core.backend import to_torch
from teach_gym.core.batch import take
from teach_gym.core.build import make_task
from teach_gym.core.metrics import METRICS
from teach_gym.core.state import Task
from teach_gym.core.task import reset, step, teach


@every
def test_tasks_and_states_survive_pickle_and_deepcopy(which: str, rng: np.random.Generator) -> None:
    task, state = started(which)
    action = actions(task, rng)
    expected = step(task, state, action).state
    for other in (pickle.loads(pickle.dumps((task, state))), copy.deepcopy((task, state))):
        close(step(*other, action).state, expected, atol=0.0)
        for metric in METRICS.values():
            np.testing.assert_array_equal(metric(*other), metric(task, state))


# ------------------------------------------------------------------------------------------------------ reset, step


@every
def test_reset_gives_the_shapes_of_the_design(which: str) -> None:
    task, state = started(which)
    m, h = task.spec.batch_size, task.spec.budget
    sources = task.medium.n_sources
    assert state.w.shape == state.target.shape == state.difference.shape == (B, task.size)
    assert state.schedule.shape == (B, h, sources, m) and state.schedule.dtype == np.int32
    assert state.x.shape == (B, sources, m, task.d) and state.y.shape == (B, sources, m, task.k)
    assert state.t.tolist() == [0] * B
    np.testing.assert_allclose(state.difference, task.target - state.w, atol=1e-15)
    np.testing.assert_allclose(state.distance, np.linalg.norm(state.w - task.target, axis=1))
    np.testing.assert_array_equal(state.initial_distance, state.distance)
    assert (state.velocity is None) == (task.spec.momentum == 0)


@every
def test_the_schedule_decides_what_is_offered(which: str, rng: np.random.Generator) -> None:
    task, state = started(which)
    for t in range(task.spec.budget):
        for b in range(B):
            np.testing.assert_array_equal(state.x[b], task.x[state.schedule[b, t]])
            np.testing.assert_array_equal(state.y[b], task.y[state.schedule[b, t]])
        state = step(task, state, actions(task, rng)).state
    np.testing.assert_array_equal(state.x, task.x[state.schedule[:, -1]])


def test_the_schedule_draws_rows_uniformly_with_replacement() -> None:
    task = make_task(**variant("select", budget=50))
    rows = reset(task, streams(40)).schedule
    assert rows.min() == 0 and rows.max() == len(task.x) - 1
    assert scipy.stats.chisquare(np.bincount(rows.ravel())).pvalue > 1e-4
    assert len({tuple(r) for r in rows.reshape(40, -1)}) == 40


@pytest.mark.parametrize("which", ["select", "mlp", "label-mix-target"])
def test_reset_of_a_run_does_not_depend_on_its_batch(which: str) -> None:
    task, state = started(which)
    for i in range(B):
        close(reset(task, streams(1, seed=i)), take(state, np.array([i])), atol=1e-14)


def test_init_kinds() -> None:
    def draw(**kwargs: Any) -> tuple[Task, np.ndarray]:
        task = make_task(**variant("label-mix-uniform", **kwargs))
        return task, reset(task, streams(2000)).w

    _, w = draw(init="normal", init_scale=0.3)
    assert scipy.stats.kstest(w.ravel() / 0.3, "norm").pvalue > 1e-4
    task, w = draw(init="uniform", init_scale=0.5)
    assert scipy.stats.kstest(w.ravel() * 2 * np.sqrt(task.d), "uniform", args=(-1, 2)).pvalue > 1e-4
    _, w = draw(init="zeros")
    assert not w.any()
    task, w = draw(init="perturbed", init_scale=0.1)
    assert scipy.stats.kstest(((w - task.start) / 0.1).ravel(), "norm").pvalue > 1e-4


@every
def test_step_is_the_update_on_the_composed_example(which: str, rng: np.random.Generator) -> None:
    """w' = w - lr g (momentum and weight decay by hand), g by autograd of the learner's loss."""
    task, state = started(which)
    state = random_steps(task, state, 2, rng)
    after, _, terminated, example = step(task, state, actions(task, rng))
    w = torch.tensor(state.w, requires_grad=True)
    loss = task.learner.loss(w, torch.tensor(example.x), torch.tensor(example.y)).sum()
    gradient = torch.autograd.grad(loss, w)[0].numpy() + task.spec.weight_decay * state.w
    if state.velocity is not None:
        velocity = task.spec.momentum * state.velocity + gradient
        np.testing.assert_allclose(after.velocity, velocity, atol=1e-12)
        gradient = gradient + task.spec.momentum * velocity
    np.testing.assert_allclose(after.w, state.w - task.spec.learning_rate * gradient, atol=1e-12)
    np.testing.assert_allclose(after.difference, task.target - after.w, atol=1e-12)
    np.testing.assert_allclose(after.distance, np.linalg.norm(after.w - task.target, axis=1), atol=1e-12)
    np.testing.assert_array_equal(after.t, 3)
    assert terminated.dtype == np.bool_ and terminated.shape == (B,)


@every
def test_a_step_leaves_the_state_it_started_from_alone(which: str, rng: np.random.Generator) -> None:
    task, state = started(which)
    before = copy.deepcopy(state)
    step(task, state, actions(task, rng))
    teach(task, state, task.medium.candidates[:, None])
    close(state, before, atol=0.0)


@every
def test_scoring_all_candidates_at_once_equals_one_by_one(which: str, rng: np.random.Generator) -> None:
    task, state = started(which)
    state = random_steps(task, state, 1, rng)
    candidates = task.medium.candidates
    w, velocity = teach(task, state, candidates[:, None])
    assert w.shape == (task.n_actions, B, task.size)
    for a in range(task.n_actions):
        for b in range(B):
            one = teach(task, take(state, np.array([b])), candidates[a][None])
            np.testing.assert_allclose(w[a, b], one[0][0], atol=1e-12)
            if velocity is not None:
                np.testing.assert_allclose(np.broadcast_to(velocity, w.shape)[a, b], one[1][0], atol=1e-12)


@every
def test_runs_of_a_batch_are_independent(which: str, rng: np.random.Generator) -> None:
    task, state = started(which)
    action = actions(task, rng)
    together = step(task, state, action)
    for i in range(B):
        rows = np.array([i])
        alone = step(task, take(state, rows), action[rows])
        close(alone.state, take(together.state, rows), atol=1e-12)
        np.testing.assert_allclose(alone.reward, together.reward[rows], atol=1e-10)


def test_runs_at_different_steps_are_offered_their_own_rows(rng: np.random.Generator) -> None:
    task, state = started("select")
    state = state._replace(t=np.array([0, 3, 7, 2, 99]))
    offered = module.sources(task, state.schedule, state.t)
    for b, t in enumerate([0, 3, 7, 2, 7]):
        np.testing.assert_array_equal(offered[0][b], task.x[state.schedule[b, t]])


def test_terminated_at_the_tolerance_or_the_budget(rng: np.random.Generator) -> None:
    task, state = started("label-grid", n=50, tolerance=1.5, init_scale=2.0, learning_rate=1.0)
    ended = []
    for t in range(1, task.spec.budget + 1):
        state, _, terminated, _ = step(task, state, actions(task, rng, 50))
        expected = (np.linalg.norm(state.w - task.target, axis=1) < 1.5) | (t == task.spec.budget)
        np.testing.assert_array_equal(terminated, expected)
        ended.append(int(terminated.sum()))
    assert 0 < ended[2] < 50 and ended[-1] == 50


# ------------------------------------------------------------------------------------------------ torch


@every
def test_a_torch_task_teaches_as_the_numpy_one(which: str, rng: np.random.Generator) -> None:
    task, state = started(which)
    there, mine = to_torch((task, state))
    for _ in range(task.spec.budget):
        action = actions(task, rng)
        expected, found = step(task, state, action), step(there, mine, torch.tensor(action))
        state, mine = expected.state, found.state
        close(mine, state, atol=1e-10)
        np.testing.assert_allclose(found.reward, expected.reward, atol=1e-8)
        assert found.terminated.tolist() == expected.terminated.tolist()
    assert isinstance(mine.w, torch.Tensor) and mine.w.dtype == torch.float64


@pytest.mark.parametrize("which", continuous_variants())
def test_a_continuous_torch_task_teaches_as_the_numpy_one(which: str, rng: np.random.Generator) -> None:
    task, state = started(which, continuous=True)
    there, mine = to_torch((task, state))
    for _ in range(3):
        action = 1.5 * actions(task, rng)
        state, mine = step(task, state, action).state, step(there, mine, torch.tensor(action)).state
    close(mine, state, atol=1e-10)


@every
def test_teaching_is_differentiable_in_the_value(which: str, rng: np.random.Generator) -> None:
    """The derivative of the distance after the step with respect to the value, against central differences."""
    task, state = started(which)
    there, mine = to_torch((task, state))
    value = task.medium.candidates[rng.integers(task.n_actions, size=B)].astype(float)
    tensor = torch.tensor(value, requires_grad=True)
    loss = ((teach(there, mine, tensor)[0] - mine.target) ** 2).sum()
    (slope,) = torch.autograd.grad(loss, tensor)

    def distance(v: np.ndarray) -> float:
        return float(((teach(task, state, v)[0] - state.target) ** 2).sum())

    direction = rng.standard_normal(value.shape)
    e = 1e-6
    numeric = (distance(value + e * direction) - distance(value - e * direction)) / (2 * e)
    np.testing.assert_allclose((slope.numpy() * direction).sum(), numeric, rtol=1e-5, atol=1e-6)


@every
def test_teaching_runs_on_another_device_than_the_cpu(which: str) -> None:
    task, state = started(which)
    there, mine = to_torch((task, state), device="meta")
    w, _ = teach(there, mine, there.medium.candidates[:, None])
    assert w.device.type == "meta" and w.shape == (task.n_actions, B, task.size)


@every
def test_float32_tasks_compute_in_float32(which: str, rng: np.random.Generator) -> None:
    task, state = started(which, dtype="float32")
    exact, twin = started(which)
    close(state, twin, atol=2e-6)
    for _ in range(3):
        action = actions(exact, rng)
        transition, twin = step(task, state, action), step(exact, twin, action).state
        state = transition.state
        arrays = [a for a in (*state, *transition.example, transition.reward) if a is not None]
        floating = [a for a in arrays if a.dtype.kind == "f"]
        assert {a.dtype for a in floating} == {np.dtype("float32")}
    close(state, twin, atol=1e-4)


def test_two_classes_with_squared_loss_are_one_hot() -> None:
    task = make_task(**variant("label-mix-uniform", learner="least_squares", medium="select"))
    assert task.k == 2 and set(map(tuple, task.y)) == {(0.0, 1.0), (1.0, 0.0)}


def test_label_encodings_follow_the_learner() -> None:
    labels = make_task(**variant("label-grid")).pool.train.labels
    assert make_task(**variant("label-grid")).y[:, 0].tolist() == labels.tolist()
    assert make_task(**variant("label-grid-margin")).y[:, 0].tolist() == (2 * labels - 1).tolist()
    assert make_task(**variant("label-mix-uniform")).y.argmax(1).tolist() == labels.tolist()
    real = make_task(**variant("label-offset-truth"))
    np.testing.assert_array_equal(real.y[:, 0], real.pool.train.labels)


def test_the_key_follows_from_the_stream_and_stays() -> None:
    task, state = started("label-grid")
    assert state.key.dtype == np.int64 and np.unique(state.key).size == B
    after = step(task, state, np.zeros(B, dtype=int)).state
    np.testing.assert_array_equal(after.key, state.key)
    np.testing.assert_array_equal(reset(task, streams(1, 3)).key[0], reset(task, streams(B)).key[3])
