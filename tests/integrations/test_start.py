"""Trainings that begin as an oracle: the same choices, for every algorithm and activation."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")

import torch
from conftest import streams, variant
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from teach_gym.calls import format_call
from teach_gym.core.aim import best_action
from teach_gym.core.build import make_task
from teach_gym.core.foresight import foresight
from teach_gym.core.layout import layout, observe
from teach_gym.core.state import Task
from teach_gym.core.task import reset, step
from teach_gym.envs.vector import TeachVectorEnv
from teach_gym.integrations.perceptrons import network_of_modules
from teach_gym.integrations.sb3.export import network_of
from teach_gym.integrations.sb3.hyperparams import CALLBACK, sb3_hyperparams
from teach_gym.integrations.sb3.trainer import Sb3Trainer, make_model
from teach_gym.integrations.start import Shown, begin_at_oracle, oracle_observations, price, shown
from teach_gym.registration import TASKS
from teach_gym.sb3 import OracleStart, make_vec_env
from teach_gym.teachers import make_teacher
from teach_gym.teachers.agent import Agent
from teach_gym.teachers.perceptron import Network
from teach_gym.training.reinforce import PolicyGradient, Reinforce

SEEN = {"observation": "farsighted", "reward": "farsighted_progress"}
CHOICES: dict[str, Any] = {"n_timesteps": 512, "n_envs": 16, "policy": "MlpPolicy", "normalize": True}


def chosen(algo: str, **changes: Any) -> Any:
    return sb3_hyperparams(algo, {**CHOICES, "callback": CALLBACK, **changes})


def agrees(task: Task, network: Network, oracle: str = "lqr") -> bool:
    """Whether a network chooses what the oracle chooses, on 300 fresh states."""
    state = reset(task, streams(300, seed=900))
    return bool((Agent(policy=network, spec=task.spec)(task, state) == make_teacher(oracle)(task, state)).all())


@pytest.mark.parametrize("kind", [torch.nn.Tanh, torch.nn.ReLU])
@pytest.mark.parametrize("hidden", [(), (9,), (12, 7)])
def test_the_best_action_has_the_highest_score(kind: type[torch.nn.Module], hidden: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    sizes, layers = (20, *hidden, 5), list[torch.nn.Module]()
    for n, m in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(n, m), kind()]
    net = torch.nn.Sequential(*layers[:-1])
    begin_at_oracle(list(net), Shown(slice(6, 11), 0.0, -8.0), unit=0.5)
    x = torch.randn(400, 20)
    x[:, 6:11] = torch.rand(400, 5) * 4
    x[torch.arange(400), 6 + torch.randint(5, (400,))] = 0.0  # the best action has no shortfall
    np.testing.assert_array_equal(net(x).argmax(1), x[:, 6:11].argmin(1))
    scores = network_of_modules([net], "scores")(x.numpy())
    assert np.abs(scores.max(1)).max() < 1e-5
    net(x).logsumexp(1).mean().backward()
    assert all(p.grad is not None for p in net.parameters()) and net[0].weight.grad[:5].abs().sum() > 0


@pytest.mark.parametrize("algo", ["ppo", "a2c", "dqn"])
@pytest.mark.parametrize("name", ["LabelMoons", "SelectMomentum"])
def test_models_choose_as_the_oracle_until_they_are_trained(algo: str, name: str) -> None:
    text, task = format_call(name, SEEN), make_task(name, **SEEN)
    assert not agrees(task, network_of(make_model(text, chosen(algo, callback=None), seed=1)))
    model = make_model(text, chosen(algo), seed=1)
    assert agrees(task, network_of(model))
    if algo == "dqn":
        for ours, target in zip(model.q_net.parameters(), model.q_net_target.parameters(), strict=True):
            assert torch.equal(ours, target)


@pytest.mark.parametrize("name", ["LabelMoons", "LabelRegression", "MixupMoons", "PerturbMoons", "LabelDigits10"])
@pytest.mark.parametrize(("kind", "error"), [(torch.nn.ReLU, 1e-4), (torch.nn.Tanh, 0.03)])
def test_continuous_models_take_the_action_that_is_aimed_at(name: str, kind: Any, error: float) -> None:
    seen = {**SEEN, "continuous": True}
    task, kwargs = make_task(name, **seen), {"net_arch": [32, 32], "activation_fn": kind}
    network = network_of(make_model(format_call(name, seen), chosen("ppo", policy_kwargs=kwargs), seed=1))
    state = reset(task, streams(300, seed=900))
    aim = best_action(task, state, foresight(task).outcomes(state, relative=True))
    np.testing.assert_allclose(Agent(policy=network, spec=task.spec)(task, state), aim, atol=error * np.abs(aim).max())


@pytest.mark.parametrize(("name", "oracle"), [("LabelDigitsMLP", "greedy"), ("SelectMomentum", "anticipating")])
def test_with_what_one_step_leads_to_they_begin_as_the_greedy_oracle(name: str, oracle: str) -> None:
    seen = {"observation": "lookahead"}
    model = make_model(format_call(name, seen), chosen("ppo", n_envs=2), seed=1)
    assert agrees(make_task(name, **seen), network_of(model), oracle)


def test_the_aim_of_one_step_is_the_label_that_ends_nearest_to_the_target() -> None:
    """The learner has a hidden layer; its step is still linear in the label."""
    seen = {"observation": "lookahead", "continuous": True}
    task = make_task("LabelDigitsMLP", **seen)
    state = reset(task, streams(50, seed=900))
    kwargs = {"net_arch": [8], "activation_fn": torch.nn.ReLU}
    model = make_model(format_call("LabelDigitsMLP", seen), chosen("ppo", n_envs=2, policy_kwargs=kwargs), seed=1)
    actions = Agent(policy=network_of(model), spec=task.spec)(task, state)
    labels = np.linspace(0.0, 1.0, 201)
    ends = np.stack([step(task, state, np.full_like(actions, label)).state.distance for label in labels])
    np.testing.assert_allclose(actions.ravel(), labels[ends.argmin(0)], atol=0.003)


def test_reinforce_chooses_as_the_oracle_until_it_is_trained() -> None:
    env = TeachVectorEnv(num_envs=8, **{**variant("label-grid"), **SEEN})
    training = PolicyGradient(env, Reinforce(n_envs=8, updates=3, begin="oracle"), seed=2)
    assert agrees(env.task, training.policy.network())
    before = [p.clone() for p in training.policy.logits.parameters()]
    training.learn()
    after = training.policy.logits.parameters()
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize("algo", ["ppo", "dqn", "reinforce"])
def test_without_the_target_they_begin_as_the_oracle_that_rehearses(algo: str) -> None:
    seen = {"observation": "black_box_trial", "reward": "holdout_log_progress"}
    task = make_task("BlackBoxLabelMoons", **seen)
    if algo == "reinforce":
        env = TeachVectorEnv(num_envs=8, **{**TASKS["BlackBoxLabelMoons"], **seen})
        network = PolicyGradient(env, Reinforce(n_envs=8, begin="oracle"), seed=2).policy.network()
    else:
        network = network_of(make_model(format_call("BlackBoxLabelMoons", seen), chosen(algo), seed=1))
    assert agrees(task, network, "holdout_rehearsal") and not agrees(task, network, "holdout_greedy")


def test_the_callback_sets_a_new_model_once() -> None:
    """As RL-Zoo uses it: with a model made elsewhere, when its training starts, and not when it is continued."""
    env = VecNormalize(make_vec_env("LabelMoons", 8, 0, **SEEN))
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=64, learning_rate=1e-12, seed=0)
    model.learn(64, callback=OracleStart())
    task = make_task("LabelMoons", **SEEN)
    assert agrees(task, network_of(model))
    with torch.no_grad():
        model.policy.action_net.weight.mul_(-1.0)
    model.learn(64, callback=OracleStart(), reset_num_timesteps=False)
    assert not agrees(task, network_of(model))


def test_statistics_stay_those_of_the_oracles_lessons() -> None:
    text, hyperparams = format_call("LabelMoons", SEEN), chosen("ppo", n_steps=8, batch_size=128)
    trainer = Sb3Trainer(text, hyperparams, seed=3)
    env = trainer.model.get_vec_normalize_env()
    task, mean = make_task("LabelMoons", **SEEN), env.obs_rms.mean.copy()
    seen, entries = oracle_observations(task, 3), shown(task).entries
    others = [i for i in range(len(mean)) if not entries.start <= i < entries.stop]
    np.testing.assert_allclose(mean[others], seen.mean(0, dtype=float)[others], rtol=1e-6)
    assert not mean[entries].any() and (seen[:, entries].min(1) == 0).all()
    trainer.model.learn(128)
    np.testing.assert_allclose(env.obs_rms.mean, mean, atol=1e-4)


def test_normalised_rewards_give_q_values_their_scale() -> None:
    """A wrong action costs about what the start's Q-values say, at the median and in the rewards that DQN sees."""
    task = make_task("LabelMNIST", **SEEN)
    model = make_model(format_call("LabelMNIST", SEEN), chosen("dqn"), seed=0)
    env: Any = model.get_vec_normalize_env()
    state, n = reset(task, streams(400, seed=900)), task.n_actions
    rewards = np.stack([step(task, state, np.full(400, action)).reward for action in range(n)], 1)
    q = model.q_net(torch.from_numpy(env.normalize_obs(observe(task, state, layout(task))))).detach().numpy()
    cost, gap = (x.max(1, keepdims=True) - x for x in (env.normalize_reward(rewards), q))
    assert np.median(cost[gap > 0] / gap[gap > 0]) == pytest.approx(1.0, rel=0.5)
    assert price(task, 0) < 0.1, "far from 1: the constant matters"


@pytest.mark.parametrize(
    ("algo", "task", "changes", "words"),
    [
        ("ppo", "LabelMoons", {}, "'farsighted', 'lookahead' or 'black_box_trial'; the task has 'omniscient'"),
        ("ppo", "LabelMoons:continuous=True", {}, "observation='farsighted' or 'lookahead'; the task has 'omniscient'"),
        ("sac", format_call("LabelMoons", {**SEEN, "continuous": True}), {}, "not squashed, got SAC"),
        ("ppo", format_call("LabelMoons", SEEN), {"policy_kwargs": {"activation_fn": torch.nn.ELU}}, "got .* ELU"),
        ("ppo", format_call("LabelMoons", SEEN), {"normalize": False}, "VecNormalize"),
        (
            "dqn",
            format_call("LabelMoons", {**SEEN, "reward": "steps_to_accuracy"}),
            {},
            "pays no more for the oracle's",
        ),
        ("ppo", format_call("LabelMoons", SEEN), {"policy_kwargs": {"net_arch": [64, 4]}}, "at least 5 units"),
    ],
)
def test_what_cannot_begin_at_the_oracle_is_refused(algo: str, task: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_model(task, chosen(algo, **changes), seed=0)


def test_settings_of_the_start_are_checked() -> None:
    with pytest.raises(ValueError, match=f"callback must be '{CALLBACK}' or left out, got 'mine.Callback'"):
        chosen("ppo", callback="mine.Callback")
    with pytest.raises(ValueError, match="unknown begin 'ocle'"):
        Reinforce(begin="ocle")
    with pytest.raises(ValueError, match="normalize_observations=True"):
        Reinforce(begin="oracle", normalize_observations=False)
