"""The policy-gradient agent: its gradient, its learning, and going on after a crash."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from teach_gym.benchmark.evaluation import Evaluation
from teach_gym.records.runlog import restore
from teach_gym.registration import env_id
from teach_gym.teachers import make_teacher

FILE = Path(__file__).parents[2] / "agents" / "reinforce.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reinforce", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reinforce"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


agent = load()
SMALL = {
    "task": "LabelMoons:budget=6",
    "num_envs": 8,
    "sizes": (8,),
    "eval_episodes": 5,
    "eval_every": 7,
    "checkpoint_every": 4,
    "updates": 12,
    "progress": False,
}


def vector_env(n: int, name: str = "LabelMoons", **changes: Any) -> Any:
    return gym.make_vec(env_id(name), n, gym.VectorizeMode.VECTOR_ENTRY_POINT, **changes).unwrapped


def parameters(folder: Path) -> dict[str, torch.Tensor]:
    found = restore(folder)
    assert found is not None
    return found.tensors["policy"]


def assert_same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name


# ------------------------------------------------------------------------------------------------------- the gradient


def test_returns_by_hand() -> None:
    rewards = torch.tensor([[1.0, 0.0], [2.0, 0.0], [4.0, 8.0]])
    assert agent.returns(rewards, 0.5, "to-go").tolist() == [[3.0, 2.0], [4.0, 4.0], [4.0, 8.0]]
    assert agent.returns(rewards, 0.5, "episode").tolist() == [[3.0, 2.0]] * 3


@pytest.mark.parametrize(("credit", "weights"), [("episode", (2.5, 2.5)), ("to-go", (2.5, 3.0))])
def test_gradient_by_hand(credit: str, weights: tuple[float, float]) -> None:
    """Two steps, two actions with P(first) = 0.8 then 0.3; first, then second action; rewards 1, 3; gamma 0.5.

    d log pi(a) / d logit_b = [a = b] - pi(b).
    """
    logits = torch.tensor([[0.8, 0.2], [0.3, 0.7]]).log().requires_grad_()
    rewards = torch.tensor([[1.0], [3.0]])
    log_probs = torch.log_softmax(logits, -1)[[0, 1], [0, 1]][:, None]
    agent.policy_loss(log_probs, agent.returns(rewards, 0.5, credit), torch.ones(2, 1)).backward()
    assert logits.grad is not None
    by_hand = [[-weights[0] * 0.2, weights[0] * 0.2], [weights[1] * 0.3, -weights[1] * 0.3]]
    torch.testing.assert_close(logits.grad, torch.tensor(by_hand))


def test_steps_after_the_end_do_not_count() -> None:
    log_probs = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]])
    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    assert float(agent.policy_loss(log_probs, torch.full((2, 2), 10.0), mask)) == 10 * (1 + 2 + 3) / 2


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
    net = agent.mlp(observations.shape[-1], (3,), n_actions).double()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(3.0)

    def log_probs() -> torch.Tensor:
        return torch.log_softmax(net(observations), -1).gather(-1, actions[..., None])[..., 0]

    def objective() -> float:
        with torch.no_grad():
            return float((log_probs().sum(0).exp() * agent.returns(rewards, gamma, "episode")[0]).sum())

    probability = log_probs().detach().sum(0).exp()
    torch.testing.assert_close(probability.sum(), torch.tensor(1.0, dtype=torch.float64))
    weights = agent.returns(rewards, gamma, credit) * probability * len(sequences)  # the mean over episodes: E_pi
    agent.policy_loss(log_probs(), weights, torch.ones_like(weights)).backward()
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
    policy = agent.Policy(env.single_observation_space.shape[0], env.task.n_actions, (8,))
    return agent.roll_out(env, policy, np.random.SeedSequence([3, 1]), terminal, "cpu")


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
    policy = agent.Policy(3, 2, (4,))
    for part in rows.split(20):
        policy.see(part)
    torch.testing.assert_close(policy.mean, rows.double().mean(0))
    torch.testing.assert_close(policy.var, rows.double().var(0, correction=0))
    torch.testing.assert_close(policy.scale(rows).mean(0), torch.zeros(3), atol=1e-6, rtol=0)


# ----------------------------------------------------------------------------------------------------------- training


def test_it_learns_what_a_random_policy_cannot_do(tmp_path: Path) -> None:
    args = agent.Args(
        task="LabelMoons:budget=20,learning_rate=2.0",
        updates=200,
        num_envs=64,
        sizes=(32,),
        eval_every=200,
        eval_episodes=100,
        progress=False,
    )
    random = Evaluation(vector_env(1, budget=20, learning_rate=2.0).task, 100)(make_teacher("random"))
    result = agent.train(dataclasses.replace(args, out=tmp_path / "run"))
    assert random["score_high"] < 0.3
    assert result["score_low"] > 0.7


@pytest.mark.parametrize(
    "changes",
    [
        {"credit": "episode", "baseline": "none", "normalize_weights": False, "task": "LabelMoons:reward=distance"},
        {"credit": "episode", "baseline": "none", "terminal": True, "gamma": 1.0},
        {"baseline": "mean", "entropy": 0.01, "normalize_observations": False, "anneal": False},
        {"task": "teach_gym/SelectMomentum-v0:budget=5"},
        {"task": "MixedMoons:budget=5,tolerance=0.8"},
        {"task": "BlackBoxLabelMoons:budget=5"},
        {"task": "BlackBoxMixupDigits10:budget=3,reward=holdout_accuracy", "terminal": True},
    ],
)
def test_every_setting_trains(changes: dict[str, Any], tmp_path: Path) -> None:
    result = agent.train(agent.Args(**{**SMALL, **changes, "updates": 3, "out": tmp_path / "run"}))
    assert np.isfinite(result["distance_agent"])
    assert all(bool(torch.isfinite(p).all()) for p in parameters(tmp_path / "run").values())
    header, *rows = (tmp_path / "run" / "progress.csv").read_text().splitlines()
    assert {"step", "return", "entropy", "grad_norm", "score", "score_low", "score_high"} <= set(header.split(","))
    assert [row.split(",")[0] for row in rows] == ["1", "2", "3"]


def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    changes = {**SMALL, "updates": 100, "num_envs": 16}
    agent.train(agent.Args(**changes, out=tmp_path / "whole"))
    command = [sys.executable, str(FILE), "--out", str(tmp_path / "killed"), "--no-progress"]
    for name, value in changes.items():
        if name != "progress":
            command += [f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, tuple) else (value,))]
    progress = tmp_path / "killed" / "progress.csv"
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not progress.exists() or progress.read_bytes().count(b"\n") < 12:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.communicate()
    assert not (tmp_path / "killed" / "score.json").exists()
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "resuming after update" in done.stderr
    assert progress.read_bytes() == (tmp_path / "whole" / "progress.csv").read_bytes()
    assert_same(parameters(tmp_path / "killed"), parameters(tmp_path / "whole"))


def test_a_damaged_checkpoint_costs_some_updates_only(tmp_path: Path) -> None:
    args = agent.Args(**SMALL, out=tmp_path)
    agent.train(args)
    wanted, rows = parameters(tmp_path), (tmp_path / "progress.csv").read_bytes()
    newest = max((tmp_path / "checkpoints").glob("*.pt"))
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="damaged checkpoint"):
        agent.train(dataclasses.replace(args, resume=True))
    assert_same(parameters(tmp_path), wanted)
    assert (tmp_path / "progress.csv").read_bytes() == rows


def test_users_errors_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    agent.train(agent.Args(**{**SMALL, "updates": 1, "out": tmp_path}))
    capsys.readouterr()
    for options, message in [
        (["--task", "LabelMoons:budget=7", "--resume"], "another task: there {'budget': 6}, here {'budget': 7}"),
        (["--task", "LabelMoons:budget=6", "--resume", "--seed", "5"], "'seed': 0"),
        (["--task", "LabelMoons:budget=6"], "holds a run already"),
        (["--task", "LabelMoon"], "did you mean 'LabelMoons'"),
        (["--task", "LabelMoons:continuous=True"], "discrete actions"),
    ]:
        monkeypatch.setattr(sys, "argv", ["reinforce.py", "--out", str(tmp_path), "--eval-episodes", "5", *options])
        assert agent.main() == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    for bad in ({"gamma": 1.5}, {"updates": 0}, {"seed": -1}, {"learning_rate": float("nan")}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            agent.Args(**bad)
