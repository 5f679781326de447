"""Trained policies as teachers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import streams, variant

pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")

import gymnasium as gym
import torch
from sb3_cases import (
    ALGORITHMS,
    every_algorithm,
    model_of,
    native,
    rollout,
    trained,
)
from stable_baselines3.common.vec_env import VecNormalize

from teach_gym.core.batch import take
from teach_gym.core.build import make_task
from teach_gym.core.randomness import Streams
from teach_gym.core.state import Task, TeachState
from teach_gym.core.task import reset
from teach_gym.envs.base import TeachEnv
from teach_gym.sb3 import PolicyTeacher
from teach_gym.teachers.perceptron import Normalization


@every_algorithm
@pytest.mark.parametrize("normalized", [False, True])
def test_teacher_equals_predict_on_single_envs(name: str, normalized: bool) -> None:
    """Batched choices and the learners they lead to, against model.predict stepping one environment at a time."""
    continuous = ALGORITHMS[name][1]
    env = native(continuous=continuous)
    model = trained(name, VecNormalize(env, clip_obs=1.5) if normalized else env)
    teacher = PolicyTeacher(model)
    assert (teacher.normalization is not None) == normalized
    single, n = TeachEnv(**variant("label-grid", continuous=continuous)), 3
    actions, finals, keys = [], [], []
    for i in range(n):
        observation, _ = single.reset(seed=i)
        keys.append(_key_of(i))
        taken, over = [], False
        while not over:
            seen = model.get_vec_normalize_env().normalize_obs(observation) if normalized else observation
            action, _ = model.predict(seen, deterministic=True)
            observation, _, over, _, info = single.step(action)
            taken.append(action)
        actions.append(taken)
        finals.append(info["distance"])
    choices, state = rollout(single.task, teacher, Streams(keys))
    assert choices[0].shape == (n, *single.action_space.shape)  # type: ignore[misc]
    np.testing.assert_allclose(np.stack(choices), np.swapaxes(np.array(actions), 0, 1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(state.distance, finals, rtol=1e-4)


def _key_of(seed: int) -> np.uint64:
    """The key that an environment seeded so draws for its first episode."""
    return gym.utils.seeding.np_random(seed)[0].integers(2**64, size=1, dtype=np.uint64)[0]


def test_normalization_is_that_of_vec_normalize() -> None:
    env = VecNormalize(native(), clip_obs=0.8, epsilon=1e-3)
    env.reset()
    for _ in range(9):
        env.step(np.arange(4))
    observation = np.random.default_rng(0).normal(size=(50, env.observation_space.shape[0])).astype(np.float32)
    found = Normalization.of(env)
    assert found is not None
    np.testing.assert_array_equal(found(observation), env.normalize_obs(observation))
    assert Normalization.of(VecNormalize(native(), norm_obs=False)) is None
    before = found(observation)
    env.step(np.arange(4))
    np.testing.assert_array_equal(found(observation), before)  # a copy
    for wrong in (([0.0], [1.0, 2.0], 1.0, 1.0), ([0.0], [-1.0], 1.0, 1.0), ([np.nan], [1.0], 1.0, 1.0)):
        with pytest.raises(ValueError, match="means and variances"):
            Normalization(*wrong)
    with pytest.raises(ValueError, match="clip"):
        Normalization([0.0], [1.0], 0.0, 1.0)


class _Predict:
    """SB3's predict, and nothing else."""

    def __init__(self, policy: Any) -> None:
        self._inner = policy

    def predict(self, observation: Any, deterministic: bool = False) -> Any:
        return self._inner.predict(observation, deterministic=deterministic)


@pytest.mark.parametrize("name", [*ALGORITHMS, "object", "module"])
def test_sampled_choices_repeat_and_do_not_depend_on_neighbours(name: str) -> None:
    model = model_of(
        name if name in ALGORITHMS else "PPO", native(continuous=name in ALGORITHMS and ALGORITHMS[name][1])
    )
    task = model.get_env().get_attr("task")[0]
    policy: Any = {"object": _Predict(model), "module": torch.nn.Linear(model.observation_space.shape[0], 5)}.get(
        name, model
    )
    teacher = PolicyTeacher(policy, deterministic=False)
    first, state = rollout(task, teacher, streams(6))
    torch.manual_seed(99)
    np.random.seed(99)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[union-attr]
    again, _ = rollout(task, teacher, streams(6))
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.stack(first), np.stack(again))
    alone, last = rollout(task, teacher, streams(1, 4))
    np.testing.assert_allclose(np.stack(alone)[:, 0], np.stack(first)[:, 4], rtol=1e-5)
    np.testing.assert_allclose(last.w[0], state.w[4], rtol=1e-5)
    other, _ = rollout(task, teacher, streams(6, 50))
    assert not np.array_equal(np.stack(first), np.stack(other))


@pytest.mark.parametrize("name", ["PPO", "PPO-box", "SAC", "module"])
def test_sampled_choices_have_the_policys_distribution(name: str) -> None:
    """Against SB3's (or torch's) own sampling of the same observation, many times."""
    env = native(continuous=name in ALGORITHMS and ALGORITHMS[name][1])
    model, task, n = model_of("PPO" if name == "module" else name, env), env.env.task, 4000
    if name == "SAC":
        with torch.no_grad():
            model.policy.actor.log_std.bias.fill_(-0.7)
    one = reset(task, streams(1))
    state = take(one, np.zeros(n, dtype=int))._replace(key=streams(n).bits(1)[:, 0].view(np.int64))
    module = torch.nn.Linear(env.observation_space.shape[0], task.n_actions)
    teacher = PolicyTeacher(module if name == "module" else model, deterministic=False)
    found = teacher(task, state)
    torch.manual_seed(0)
    observation = np.repeat(_observation(task, one), n, axis=0)
    if name == "module":
        expected = torch.distributions.Categorical(logits=module(torch.as_tensor(observation))).sample().numpy()
    else:
        expected = model.predict(observation, deterministic=False)[0]
    if not task.spec.continuous:
        shares = [np.bincount(a, minlength=task.n_actions) / n for a in (found, expected)]
        np.testing.assert_allclose(*shares, atol=0.05)
    else:
        quantiles = np.linspace(0.05, 0.95, 10)
        np.testing.assert_allclose(np.quantile(found, quantiles), np.quantile(expected, quantiles), atol=0.06)
        assert np.std(expected) > 0.1


def _observation(task: Task, state: TeachState) -> np.ndarray:
    from teach_gym.core.layout import layout, observe

    return observe(task, state, layout(task))


def test_module_teachers() -> None:
    """Logits and continuous actions of a module, in evaluation mode, which is put back."""
    for continuous in (False, True):
        task = make_task(**variant("label-grid", continuous=continuous))
        size = _observation(task, reset(task, streams(1))).shape[1]
        inner = torch.nn.Linear(size, 1 if continuous else task.n_actions)
        module = torch.nn.Sequential(torch.nn.Dropout(0.5), inner).train()
        state = reset(task, streams(5))
        teacher = PolicyTeacher(module)
        teacher.check(task)
        found = teacher(task, state)
        expected = inner(torch.as_tensor(_observation(task, state))).detach()
        if continuous:
            np.testing.assert_allclose(found, expected.numpy().reshape(5, 1, 1))
            assert found.dtype == np.float64
        else:
            np.testing.assert_array_equal(found, expected.argmax(1))
        assert module.training


def test_teachers_of_other_tasks_are_refused() -> None:
    task, box = make_task(**variant("label-grid")), make_task(**variant("label-grid", continuous=True))
    with pytest.raises(ValueError, match=r"action space is Discrete\(5\), the task's is Box\(1, 1\)"):
        PolicyTeacher(model_of("PPO", native())).check(box)
    with pytest.raises(ValueError, match=r"observation space is Box\(34,\) .*, the task's is Box\(10,\)"):
        PolicyTeacher(model_of("PPO", native(which="momentum"))).check(make_task(**variant("label-grid")))
    with pytest.raises(ValueError, match=r"\(2, 3\).*Discrete\(5\)"):
        PolicyTeacher(torch.nn.Linear(_observation(task, reset(task, streams(1))).shape[1], 3)).check(task)
    with pytest.raises(ValueError, match="does not accept the task's Box"):
        PolicyTeacher(torch.nn.Linear(50, 5)).check(task)
    with pytest.raises(ValueError, match="normalisation has 1 entries"):
        PolicyTeacher(model_of("PPO", native()), normalize=Normalization([0.0], [1.0], 1.0, 1e-8)).check(task)
    with pytest.raises(TypeError, match="predict"):
        PolicyTeacher(object())

    class Wild:
        def predict(self, observation: Any, deterministic: bool = True) -> Any:
            return np.full(len(observation), 77), None

    with pytest.raises(ValueError, match="77"):
        PolicyTeacher(Wild())(task, reset(task, streams(2)))
