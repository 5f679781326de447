"""A policy that scores actions one by one, and several tasks in one vector environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")

import torch
from conftest import streams
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecMonitor

from teach_gym.core.build import make_task
from teach_gym.core.layout import layout, observe
from teach_gym.core.spec import TaskSpec
from teach_gym.core.task import reset
from teach_gym.core.views import VIEWS
from teach_gym.integrations.sb3.each import EachActionPolicy, SeveralTasks
from teach_gym.integrations.sb3.export import save_policy
from teach_gym.sb3 import make_vec_env
from teach_gym.teachers.agent import Agent
from teach_gym.teachers.perceptron import Network

SHARED = 2 + 2 * len(VIEWS)
SEEN: dict[str, Any] = {"observation": "universal", "reward": "farsighted_progress"}


def several(seed: int | None = 0) -> SeveralTasks:
    return SeveralTasks(
        [
            make_vec_env("LabelMoons", 3, seed, budget=4, **SEEN),
            make_vec_env("LabelMomentum", 2, seed, budget=6, **SEEN),
        ]
    )


def trained(env: Any, steps: int = 40) -> PPO:
    kwargs = {"shared": SHARED, "net_arch": {"pi": [8, 8], "vf": [8]}}
    model = PPO(EachActionPolicy, env, n_steps=8, batch_size=20, policy_kwargs=kwargs, seed=0, device="cpu")
    return model.learn(steps)


def test_several_tasks_equal_each_alone() -> None:
    env = several(None)
    env.seed(5)
    alone = [make_vec_env("LabelMoons", 3, 5, budget=4, **SEEN), make_vec_env("LabelMomentum", 2, 8, budget=6, **SEEN)]
    observation = env.reset()
    np.testing.assert_array_equal(observation, np.concatenate([part.reset() for part in alone]))
    rng = np.random.default_rng(0)
    for _ in range(9):
        actions = rng.integers(5, size=5)
        found = env.step(actions)
        parts = [alone[0].step(actions[:3]), alone[1].step(actions[3:])]
        for i in range(3):
            np.testing.assert_array_equal(found[i], np.concatenate([part[i] for part in parts]))
        assert [info["distance"] for info in found[3]] == [i["distance"] for part in parts for i in part[3]]
    assert [task.spec.budget for task in env.get_attr("task")] == [4, 4, 4, 6, 6]
    assert env.get_attr("task", [3])[0].spec.momentum > 0
    env.set_attr("mark", 7, [1, 4])
    assert env.get_attr("mark", [4, 1]) == [7, 7]
    assert env.env_is_wrapped(VecMonitor) == [False] * 5
    env.close()


def test_several_tasks_need_equal_spaces() -> None:
    with pytest.raises(ValueError, match="same spaces"):
        SeveralTasks([make_vec_env("LabelMoons", 2, **SEEN), make_vec_env("SelectMoons", 2, **SEEN)])
    with pytest.raises(ValueError, match="at least one"):
        SeveralTasks([])


def test_scores_go_with_the_actions_and_the_file_has_the_same_policy(tmp_path: Path) -> None:
    """Permuting the actions' entries permutes the scores; numpy's network and the saved one decide as torch's does."""
    model = trained(several())
    task = make_task("LabelMoons", **SEEN)
    seen = observe(task, reset(task, streams(50)), layout(task))
    logits = model.policy.get_distribution(torch.tensor(seen)).distribution.logits.detach().numpy()
    order = np.array([3, 0, 4, 1, 2])
    own = seen[:, SHARED:].reshape(50, -1, 5)[:, :, order].reshape(50, -1)
    turned = np.concatenate([seen[:, :SHARED], own], axis=1)
    moved = model.policy.get_distribution(torch.tensor(turned)).distribution.logits.detach().numpy()
    np.testing.assert_allclose(moved, logits[:, order], atol=1e-5)
    assert np.ptp(logits, axis=1).max() > 0

    save_policy(model, tmp_path / "policy.safetensors", TaskSpec(medium="label", **SEEN))
    agent = Agent(path=tmp_path / "policy.safetensors")
    np.testing.assert_array_equal(agent.network(seen).argmax(1), logits.argmax(1))
    scores = agent.network(seen)
    np.testing.assert_allclose(
        scores - scores.mean(1, keepdims=True), logits - logits.mean(1, keepdims=True), atol=1e-5
    )
    for name in ("LabelDigits10", "LabelRegression", "SelectMoons"):  # ten, six and eight actions
        other = make_task(name)
        agent.check(other)
        action = agent(other, reset(other, streams(4)))
        assert action.shape == (4,) and action.max() < other.n_actions  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="any discrete actions"):
        agent.check(make_task("LabelMoons", continuous=True))


def test_the_policy_needs_as_many_entries_for_each_action() -> None:
    with pytest.raises(ValueError, match="are not 3 shared ones"):
        PPO(EachActionPolicy, several(), policy_kwargs={"shared": 3})


@pytest.mark.parametrize(("outputs", "shared"), [(2, 1), (1, 3), (1, -1)])
def test_a_network_for_each_action_has_one_output_and_inputs_of_its_own(outputs: int, shared: int) -> None:
    layers = [(np.zeros((outputs, 3), np.float32), np.zeros(outputs, np.float32))]
    with pytest.raises(ValueError, match="one output and fewer shared entries"):
        Network(layers, "Tanh", "each", shared=shared)
