"""Rewards and metrics by their definitions, the telescoping sum, and both backends."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import VARIANTS, streams, variant
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error

from teach_gym.core.backend import to_torch
from teach_gym.core.build import make_task
from teach_gym.core.metrics import METRICS
from teach_gym.core.rewards import REWARDS
from teach_gym.core.state import Task, TeachState
from teach_gym.core.task import reset, step

every = pytest.mark.parametrize("which", VARIANTS)


def episode(which: str, n: int = 3, **changes: object) -> tuple[Task, list[TeachState], np.ndarray]:
    """The states of an episode with random actions, and its rewards (H, B)."""
    task, rng = make_task(**variant(which, tolerance=0.0, **changes)), np.random.default_rng(1)
    states, rewards = [reset(task, streams(n))], []
    for _ in range(task.spec.budget):
        transition = step(task, states[-1], rng.integers(task.n_actions, size=n))
        states.append(transition.state)
        rewards.append(transition.reward)
    return task, states, np.stack(rewards)


def distances(task: Task, states: list[TeachState]) -> np.ndarray:
    return np.stack([np.sqrt(((s.w - task.target) ** 2).sum(1)) for s in states])


@every
def test_progress_telescopes_to_the_per_cent_of_the_distance_removed(which: str) -> None:
    task, states, rewards = episode(which)
    d = distances(task, states)
    np.testing.assert_allclose(rewards, 100 * (d[:-1] - d[1:]) / d[0], atol=1e-9)
    np.testing.assert_allclose(rewards.sum(0), 100 * (d[0] - d[-1]) / d[0], atol=1e-9)
    assert (rewards.sum(0) <= 100).all()


@every
def test_distance_and_decrease_rewards(which: str) -> None:
    task, states, rewards = episode(which, reward="distance")
    d = distances(task, states)
    np.testing.assert_allclose(rewards, -d[1:], atol=1e-12)
    _, _, rewards = episode(which, reward="decrease")
    np.testing.assert_allclose(rewards, d[:-1] - d[1:], atol=1e-12)


@pytest.mark.parametrize("name", REWARDS)
def test_every_reward_is_one_number_per_run(name: str) -> None:
    _, _, rewards = episode("label-grid", reward=name)
    assert (
        rewards.shape == (8, 3)
        and np.isfinite(rewards).all()
        and (np.ptp(rewards) > 0) == (name != "steps_to_accuracy")
    )


@every
def test_normalized_distance_is_that_of_the_directions(which: str) -> None:
    task, states, _ = episode(which)
    found = METRICS["normalized_distance"](task, states[-1])
    for b in range(3):
        w = states[-1].w[b]
        gap = w / np.linalg.norm(w) - task.target / np.linalg.norm(task.target)
        np.testing.assert_allclose(found[b], gap @ gap, atol=1e-10)
    np.testing.assert_allclose(METRICS["distance"](task, states[-1]), distances(task, states)[-1], atol=1e-12)


def test_normalized_distance_of_a_zero_learner_is_a_number() -> None:
    task = make_task(**variant("label-grid", init="zeros"))
    assert np.isfinite(METRICS["normalized_distance"](task, reset(task, streams(2)))).all()


@pytest.mark.parametrize("which", ["label-grid", "label-grid-margin", "label-mix-uniform", "mlp", "select"])
def test_accuracy_and_loss_are_scikit_learns(which: str) -> None:
    task, states, _ = episode(which)
    for name, split in (("test_accuracy", task.pool.test), ("holdout_accuracy", task.pool.holdout)):
        found = METRICS[name](task, states[-1])
        for b in range(3):
            logits = task.learner.logits(states[-1].w[b], split.x)
            decided = logits.argmax(-1) if task.k > 1 else (logits[:, 0] > 0).astype(int)
            assert found[b] == pytest.approx(accuracy_score(split.labels, decided))
    if task.learner.output.linear:
        loss = METRICS["train_loss"](task, states[-1])
        for b in range(3):
            p = task.learner.predict(states[-1].w[b], task.x)
            p = p if task.k > 1 else np.column_stack([1 - p, p])
            assert loss[b] == pytest.approx(log_loss(task.pool.train.labels, p), rel=1e-6)


def test_accuracy_of_the_target_is_high_and_of_its_negative_low() -> None:
    for which in ("label-grid", "label-grid-margin"):
        task = make_task(**variant(which))
        state = reset(task, streams(1))
        good, bad = (METRICS["test_accuracy"](task, state._replace(w=sign * task.target[None])) for sign in (1, -1))
        assert good > 0.7 > 0.3 > bad


def test_regression_accuracy_is_minus_the_mean_squared_error() -> None:
    task, states, _ = episode("label-offset-prediction")
    found = METRICS["test_accuracy"](task, states[-1])
    for b in range(3):
        assert found[b] == pytest.approx(-mean_squared_error(task.pool.test.labels, task.pool.test.x @ states[-1].w[b]))


@every
@pytest.mark.parametrize("name", METRICS)
def test_metrics_are_the_same_in_torch_and_pass_gradients(name: str, which: str) -> None:
    task, states, _ = episode(which)
    expected = METRICS[name](task, states[-1])
    assert expected.shape == (3,)
    there, state = to_torch((task, states[-1]))
    found = METRICS[name](there, state)
    assert isinstance(found, torch.Tensor)
    np.testing.assert_allclose(found, expected, atol=1e-10)
    if name in ("normalized_distance", "train_loss"):
        w = state.w.clone().requires_grad_()
        (slope,) = torch.autograd.grad(METRICS[name](there, state._replace(w=w)).sum(), w)
        assert torch.isfinite(slope).all() and slope.abs().sum() > 0


@every
def test_log_progress_telescopes_to_the_logarithm_of_what_is_left(which: str) -> None:
    task, states, rewards = episode(which, reward="log_progress")
    d = distances(task, states)
    shares = d / d[0] + 0.02
    np.testing.assert_allclose(rewards.sum(0), 10 * np.log(shares[0] / shares[-1]), atol=1e-9)
    np.testing.assert_allclose(rewards, 10 * np.log(shares[:-1] / shares[1:]), atol=1e-9)
