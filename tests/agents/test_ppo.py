"""agents/ppo.py: what an update is made of, all autoreset modes, and resuming."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

SCRIPT = Path(__file__).parents[2] / "agents" / "ppo.py"
MODES = ("next_step", "same_step", "disabled")


@pytest.fixture(scope="module")
def ppo() -> Any:
    found = importlib.util.spec_from_file_location("ppo", SCRIPT)
    assert found is not None and found.loader is not None
    sys.modules["ppo"] = module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    yield module
    del sys.modules["ppo"]


def small(ppo: Any, task: str = "LabelMoons:budget=5", **changes: Any) -> Any:
    given = {"num_envs": 6, "num_steps": 12, "steps": 288, "batch_size": 40, "hidden": 8, "save_every": 2, **changes}
    return ppo.Args(task=task, **given)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("task", ["LabelMoons:budget=5", "LabelMoons:budget=9,max_episode_steps=5"])
def test_returns_are_those_of_each_episode_alone(ppo: Any, mode: str, task: str) -> None:
    """With lambda = 1, a return is the discounted sum of an episode's rewards and, where the episode was cut off by the
    step limit or the end of the rollout, the value of its last observation."""
    args = small(ppo, task, autoreset=mode, gae_lambda=1.0)
    training = ppo.Training(args)
    training.begin()
    log: list[tuple[Any, ...]] = []
    act = training.act

    def watched(action: Any) -> Any:
        seen = training.policy.normalized(training.observation).clone()
        found = act(action)
        log.append((seen, *found[1:4], training.policy.normalized(found[4])))
        return found

    training.act = watched
    training.policy.watch = lambda observation: None  # the statistics stay, so that values can be computed again
    with torch.no_grad():
        xs, _, _, _, returns = training.rollout()
        expected, rows = [[] for _ in range(args.num_steps)], [[] for _ in range(args.num_steps)]
        for i in range(args.num_envs):
            t = 0
            while t < args.num_steps:
                first = t
                while t < args.num_steps - 1 and not (log[t][2][i] or log[t][3][i]):
                    t += 1
                terminated = log[t][2][i]
                value = 0.0 if terminated else float(training.policy.critic(log[t][4][i]))
                for s in range(t, first - 1, -1):
                    value = float(log[s][1][i]) + args.gamma * value
                    expected[s].append((i, value))
                    rows[s].append((i, log[s][0][i]))
                over = log[t][2][i] or log[t][3][i]
                t += 1 + (over and mode == "next_step")
        wanted = [value for step in expected for _, value in sorted(step)]
        seen = [row for step in rows for _, row in sorted(step, key=lambda pair: pair[0])]
    np.testing.assert_allclose(torch.stack(seen), xs, atol=1e-6)
    np.testing.assert_allclose(returns, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("task", ["LabelMoons:budget=5", "MixupMoons:budget=5,continuous=True"])
def test_a_resumed_training_has_the_same_result(ppo: Any, task: str, tmp_path: Path) -> None:
    whole = ppo.train(small(ppo, task))
    file = tmp_path / "ppo.ckpt"
    training = ppo.Training(small(ppo, task))
    training.begin()
    training.learn()
    training.learn()
    training.save(file)
    resumed = ppo.train(small(ppo, task, checkpoint=str(file)))
    assert resumed.update == whole.update == 4
    for name, value in whole.policy.state_dict().items():
        assert torch.equal(value, resumed.policy.state_dict()[name]), name
    with pytest.raises(ValueError, match="other settings"):
        ppo.train(small(ppo, task, gamma=0.5, checkpoint=str(file)))


def test_statistics_are_those_of_all_rows(ppo: Any) -> None:
    rows = torch.randn(90, 3) * 4 + 7
    policy = ppo.Training(small(ppo)).policy
    policy.mean, policy.var = torch.zeros(3).double(), torch.ones(3).double()
    for part in rows.split(30):
        policy.watch(part)
    np.testing.assert_allclose(policy.mean, rows.double().mean(0), rtol=1e-5)
    np.testing.assert_allclose(policy.var, rows.double().var(0, correction=0), rtol=1e-4)


def test_actions_are_drawn_with_the_policys_probabilities(ppo: Any) -> None:
    policy = ppo.Training(small(ppo)).policy
    torch.manual_seed(0)
    x = torch.randn(1, 8) * 3
    with torch.no_grad():
        policy.actor[-1].weight *= 300
        actions, logps = policy.sample(x.expand(20_000, -1))
        wanted = policy.actor(x).softmax(-1)[0]
    np.testing.assert_allclose(torch.bincount(actions, minlength=len(wanted)) / 20_000, wanted, atol=0.015)
    np.testing.assert_allclose(logps.exp(), wanted[actions], rtol=1e-4)


def test_training_teaches(ppo: Any) -> None:
    """Rewards rise, and the exported network is the policy."""
    args = small(ppo, "LabelMoons:observation=lookahead", num_envs=32, num_steps=20, steps=25_000, batch_size=640)
    args.hidden, args.save_every = 32, 1000
    training = ppo.Training(args)
    training.begin()
    earned = []
    while training.update < training.updates:
        training.learn()
        earned.append(training.earned)
    assert np.mean(earned[-6:]) > np.mean(earned[:3]) + 0.1
    seen = training.observation
    with torch.no_grad():
        scores = training.policy.actor(training.policy.normalized(seen))
    np.testing.assert_allclose(training.policy.network()(seen.numpy()), scores, rtol=1e-3, atol=1e-4)
