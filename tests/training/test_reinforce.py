"""REINFORCE: its gradient, its episodes, its settings, and what it learns."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from process_cases import without

from teach_gym.benchmark.evaluation import Evaluation
from teach_gym.registration import env_id
from teach_gym.teachers import make_teacher
from teach_gym.teachers.agent import Agent
from teach_gym.training.policy import Policy, mlp, roll_out
from teach_gym.training.reinforce import (
    PolicyGradient,
    Reinforce,
    policy_loss,
    reinforce_settings,
    returns,
    start,
)


def vector_env(n: int, name: str = "LabelMoons", **changes: Any) -> Any:
    return gym.make_vec(env_id(name), n, gym.VectorizeMode.VECTOR_ENTRY_POINT, **changes).unwrapped


# ------------------------------------------------------------------------------------------------------- the gradient


def test_returns_by_hand() -> None:
    rewards = torch.tensor([[1.0, 0.0], [2.0, 0.0], [4.0, 8.0]])
    assert returns(rewards, 0.5, "to-go").tolist() == [[3.0, 2.0], [4.0, 4.0], [4.0, 8.0]]
    assert returns(rewards, 0.5, "episode").tolist() == [[3.0, 2.0]] * 3


@pytest.mark.parametrize(("credit", "weights"), [("episode", (2.5, 2.5)), ("to-go", (2.5, 3.0))])
def test_gradient_by_hand(credit: str, weights: tuple[float, float]) -> None:
    """Two steps, two actions with P(first) = 0.8 then 0.3; first, then second action; rewards 1, 3; gamma 0.5.

    d log pi(a) / d logit_b = [a = b] - pi(b).
    """
    logits = torch.tensor([[0.8, 0.2], [0.3, 0.7]]).log().requires_grad_()
    rewards = torch.tensor([[1.0], [3.0]])
    log_probs = torch.log_softmax(logits, -1)[[0, 1], [0, 1]][:, None]
    policy_loss(log_probs, returns(rewards, 0.5, credit), torch.ones(2, 1)).backward()
    assert logits.grad is not None
    by_hand = [[-weights[0] * 0.2, weights[0] * 0.2], [weights[1] * 0.3, -weights[1] * 0.3]]
    torch.testing.assert_close(logits.grad, torch.tensor(by_hand))


def test_steps_after_the_end_do_not_count() -> None:
    log_probs = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]])
    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    assert float(policy_loss(log_probs, torch.full((2, 2), 10.0), mask)) == 10 * (1 + 2 + 3) / 2


@pytest.mark.parametrize(("credit", "gamma"), [("episode", 0.9), ("episode", 1.0), ("to-go", 1.0)])
def test_expected_gradient_is_that_of_the_expected_return(credit: str, gamma: float) -> None:
    """Every sequence of actions of a short episode, weighed by its probability, against finite differences."""
    horizon, n_actions = 3, vector_env(1).task.n_actions
    sequences = np.array(list(itertools.product(range(n_actions), repeat=horizon)))
    env = vector_env(len(sequences), budget=horizon, reward="distance")
    observation, _ = env.reset(seed=[7] * len(sequences))
    seen, earned = [], []
    for t in range(horizon):
        seen.append(torch.tensor(observation, dtype=torch.float64))
        observation, reward, *_ = env.step(sequences[:, t])
        earned.append(torch.tensor(reward))
    observations, rewards, actions = torch.stack(seen), torch.stack(earned), torch.tensor(sequences.T)
    torch.manual_seed(0)
    net = mlp(observations.shape[-1], (3,), n_actions).double()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(3.0)

    def log_probs() -> torch.Tensor:
        return torch.log_softmax(net(observations), -1).gather(-1, actions[..., None])[..., 0]

    def objective() -> float:
        with torch.no_grad():
            return float((log_probs().sum(0).exp() * returns(rewards, gamma, "episode")[0]).sum())

    probability = log_probs().detach().sum(0).exp()
    torch.testing.assert_close(probability.sum(), torch.tensor(1.0, dtype=torch.float64))
    weights = returns(rewards, gamma, credit) * probability * len(sequences)  # the mean over episodes: E_pi
    policy_loss(log_probs(), weights, torch.ones_like(weights)).backward()
    for p in net.parameters():
        assert p.grad is not None
        flat, step = p.data.view(-1), 1e-5
        for i in range(len(flat)):
            values = []
            for sign in (1, -2):
                flat[i] += sign * step
                values.append(objective())
            flat[i] += step
            assert -float(p.grad.view(-1)[i]) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5, abs=1e-8)


# -------------------------------------------------------------------------------------------------------- the episodes


def batch_of(env: Any, terminal: bool = False) -> Any:
    torch.manual_seed(0)
    policy = Policy(env.single_observation_space.shape[0], env.task.n_actions, (8,))
    return roll_out(env, policy, np.random.SeedSequence([3, 1]), terminal, "cpu")


def test_episodes_that_end_early_are_masked() -> None:
    env = vector_env(64, budget=40, tolerance=0.6)
    batch = batch_of(env)
    lengths = batch.mask.sum(0)
    assert lengths.min() < lengths.max()
    steps = torch.arange(len(batch.mask))[:, None]
    assert torch.equal(batch.mask, (steps < lengths).float())
    assert (batch.rewards[batch.mask == 0] == 0).all()
    removed = batch.rewards.sum(0)  # per cent of the initial distance, so one step before the end it is not over
    size = env.task.size
    first = batch.observations[0, :, size : 2 * size].norm(dim=1)
    ended = lengths < 40
    assert ended.any() and (first * (1 - removed / 100) < 0.6 + 1e-5)[ended].all()


def test_the_terminal_reward_is_the_sum_of_progress() -> None:
    options = {"budget": 30, "tolerance": 0.6}
    dense, end = batch_of(vector_env(32, **options)), batch_of(vector_env(32, **options), terminal=True)
    torch.testing.assert_close(end.rewards.sum(0), dense.rewards.sum(0))
    assert torch.equal((end.rewards != 0).sum(0), torch.ones(32, dtype=torch.int64))
    assert torch.equal(end.rewards.abs().argmax(0), end.mask.sum(0).long() - 1)


def test_running_statistics_are_those_of_all_rows() -> None:
    rows = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * 4 + 2
    policy = Policy(3, 2, (4,))
    for part in rows.split(20):
        policy.see(part)
    torch.testing.assert_close(policy.mean, rows.double().mean(0))
    torch.testing.assert_close(policy.var, rows.double().var(0, correction=0))
    torch.testing.assert_close(policy.scale(rows).mean(0), torch.zeros(3), atol=1e-6, rtol=0)


# ----------------------------------------------------------------------------------------------------------- training


def trained(task: str, updates: int, seed: int = 0, **settings: Any) -> PolicyGradient:
    training = start(task, Reinforce(updates=updates, **settings), seed)
    for _ in range(updates):
        scalars = training.learn()
        assert (
            set(scalars) == {"return", "entropy", "value_loss", "grad_norm"} and np.isfinite([*scalars.values()]).all()
        )
    return training


def test_it_learns_what_a_random_policy_cannot_do() -> None:
    training = trained("LabelMoons:budget=20,learning_rate=2.0", 200, n_envs=64, sizes=(32,))
    evaluation = Evaluation(training.task, 100)
    assert evaluation(make_teacher("random"))["score_high"] < 0.3
    assert evaluation(Agent(policy=training.network(), spec=training.task.spec))["score_low"] > 0.7


@pytest.mark.parametrize(
    ("task", "changes"),
    [
        ("LabelMoons:reward=distance", {"credit": "episode", "baseline": "none", "normalize_weights": False}),
        ("LabelMoons", {"credit": "episode", "baseline": "none", "terminal": True, "gamma": 1.0}),
        ("LabelMoons", {"baseline": "mean", "entropy": 0.01, "normalize_observations": False, "anneal": False}),
        ("MixedMoons:budget=5,tolerance=0.8", {}),
        ("BlackBoxLabelMoons:budget=5", {}),
        ("BlackBoxMixupDigits10:budget=3,reward=holdout_accuracy", {"terminal": True}),
    ],
)
def test_every_setting_trains(task: str, changes: dict[str, Any]) -> None:
    training = trained(task, 3, n_envs=8, sizes=(8,), **changes)
    assert all(bool(torch.isfinite(p).all()) for p in training.policy.parameters())
    assert training.step == training.total == 3 * 8 * training.task.spec.budget


def test_a_seed_decides_everything() -> None:
    torch.manual_seed(1)
    first = trained("LabelMoons:budget=5", 2, seed=3, n_envs=4, sizes=(4,)).network()
    torch.manual_seed(2)
    again, other = (trained("LabelMoons:budget=5", 2, seed=s, n_envs=4, sizes=(4,)).network() for s in (3, 4))
    for (weight, _), (same, _), (different, _) in zip(first.layers, again.layers, other.layers, strict=True):
        assert np.array_equal(weight, same) and not np.allclose(weight, different)


def test_the_network_is_the_policy() -> None:
    training = trained("LabelMoons:budget=5", 2, n_envs=8, sizes=(4, 6))
    seen = np.random.default_rng(0).normal(size=(7, 8)).astype(np.float32) * 3
    with torch.no_grad():
        logits = training.policy(torch.tensor(seen)).numpy()
    np.testing.assert_allclose(training.network()(seen), logits, rtol=1e-5, atol=1e-6)


def test_restored_it_continues_as_if_nothing_had_happened() -> None:
    whole = trained("LabelMoons:budget=5", 4, n_envs=8, sizes=(4,))
    half = start("LabelMoons:budget=5", whole.settings, 0)
    half.learn()
    half.learn()
    resumed = start("LabelMoons:budget=5", whole.settings, 0)
    assert resumed.restore(*half.state()) == ""
    while resumed.step < resumed.total:
        resumed.learn()
    for name, value in whole.policy.state_dict().items():
        assert torch.equal(resumed.policy.state_dict()[name], value), name


# ----------------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"gamma": float("nan")}, ValueError, r"gamma must lie in \[0, 1\], got nan"),
        ({"gamma": -1}, ValueError, r"gamma must lie in \[0, 1\], got -1"),
        ({"entropy": float("inf")}, ValueError, r"entropy must lie in \[0, inf\), got inf"),
        ({"learning_rate": 0}, ValueError, r"learning_rate must lie in \(0, inf\), got 0"),
        ({"n_envs": 0}, ValueError, r"n_envs must lie in \[1, 2147483647\], got 0"),
        ({"n_envs": 2.5}, TypeError, "n_envs must be an integer, got 2.5"),
        ({"n_timesteps": 0}, ValueError, "n_timesteps must lie in"),
        ({"sizes": [8, -1]}, ValueError, r"sizes must lie in \[1, 16384\], got -1"),
        ({"sizes": 8}, TypeError, "sizes must be a list of numbers of units, got 8"),
        ({"anneal": "x"}, TypeError, "anneal must be True or False, got 'x'"),
        ({"baseline": "mena"}, ValueError, "did you mean 'mean'"),
        ({"gama": 0.9}, ValueError, "unknown hyper-parameter of reinforce 'gama'.*did you mean 'gamma'"),
    ],
)
def test_bad_hyperparameters(changes: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        reinforce_settings(changes, 60)


def test_teaching_steps_are_rounded_up_to_whole_updates() -> None:
    for steps, updates in ((1, 1), (600, 1), (601, 2), (6000, 10)):
        assert reinforce_settings({"n_envs": 10, "n_timesteps": steps}, 60).updates == updates


def test_it_does_not_load_stable_baselines3() -> None:
    code = (
        without("stable_baselines3") + "from teach_gym.training.reinforce import Reinforce, start\n"
        "start('LabelMoons:budget=3', Reinforce(n_envs=2, updates=1), 0).learn()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_torch_the_extra_is_named() -> None:
    code = without("torch") + "import teach_gym.training.reinforce"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: training with reinforce needs torch: pip install 'teach_gym[torch]'" in done.stderr
