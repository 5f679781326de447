"""The native vector environment as SB3's ``VecEnv``: equal to SB3's own over single environments."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import variant

pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")

import gymnasium as gym
import torch
from process_cases import without
from sb3_cases import (
    ALGORITHMS,
    STAGGERED,
    dummy,
    every_algorithm,
    flavours,
    native,
    rollout,
    trained,
)
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

from teach_gym.core.randomness import Streams
from teach_gym.envs.vector import TeachVectorEnv
from teach_gym.integrations.sb3.vec_env import TeachVecEnv
from teach_gym.registration import env_id
from teach_gym.sb3 import PolicyTeacher, make_vec_env
from teach_gym.teachers import Teacher, make_teacher

# ------------------------------------------------------------------------------------------------ the bridge's VecEnv


@flavours
def test_equals_dummy_vec_env_of_single_envs(which: str, continuous: bool) -> None:
    """Observations, rewards, dones, infos and terminal observations over several staggered episodes."""
    kwargs = {**STAGGERED, "continuous": continuous}
    ours, theirs = native(3, which, **kwargs), dummy(3, which, **kwargs)
    assert ours.observation_space == theirs.observation_space and ours.action_space == theirs.action_space
    assert ours.seed(5) == theirs.seed(5) == [5, 6, 7]
    np.testing.assert_allclose(ours.reset(), theirs.reset(), rtol=1e-6)
    ours.action_space.seed(0)
    ends = []
    for _ in range(40):
        actions = np.array([ours.action_space.sample() for _ in range(3)])
        (o, r, d, infos), (o2, r2, d2, infos2) = ours.step(actions), theirs.step(actions)
        assert o.dtype == r.dtype == np.float32 and o.dtype == o2.dtype and r.dtype == r2.dtype and d.dtype == d2.dtype
        np.testing.assert_allclose(o, o2, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(r, r2, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(d, d2)
        for i, (info, info2) in enumerate(zip(infos, infos2, strict=True)):
            assert info["distance"] == pytest.approx(info2["distance"], rel=1e-9)
            assert info["TimeLimit.truncated"] is False and info2["TimeLimit.truncated"] is False
            assert ("terminal_observation" in info) == ("terminal_observation" in info2) == d[i]
            if d[i]:
                np.testing.assert_allclose(
                    info["terminal_observation"], info2["terminal_observation"], rtol=1e-5, atol=1e-6
                )
            assert ours.reset_infos[i]["distance"] == pytest.approx(theirs.reset_infos[i]["distance"], rel=1e-9)
        ends.append(tuple(d))
    assert len(set(ends)) > 3, "the episodes were not staggered"


def test_a_limit_of_steps_truncates_as_in_a_dummy_vec_env() -> None:
    ours = make_vec_env("LabelMoons", 2, max_episode_steps=3, budget=3 * 2)
    theirs = DummyVecEnv([lambda: gym.make(env_id("LabelMoons"), max_episode_steps=3, budget=3 * 2)] * 2)
    for env in (ours, theirs):
        env.seed(5)
        env.reset()
    for t in range(7):
        (_, _, done, infos), (_, _, done2, infos2) = (env.step(np.array([1, 2])) for env in (ours, theirs))
        np.testing.assert_array_equal(done, done2)
        cut = [info["TimeLimit.truncated"] for info in infos]
        assert cut == [info["TimeLimit.truncated"] for info in infos2] == [t % 3 == 2] * 2
        assert {type(value) for value in cut} == {bool}


def test_arrays_and_infos_are_never_reused() -> None:
    env = native(4, **STAGGERED)
    first = env.reset()
    kept, copies, infos = [first], [first.copy()], []
    for _ in range(10):
        o, r, d, info = env.step(np.zeros(4, dtype=np.int64))
        arrays = [o, r, d, *(i["terminal_observation"] for i in info if "terminal_observation" in i)]
        assert not any(np.shares_memory(a, b) for a in arrays for b in kept)
        kept += arrays
        copies += [a.copy() for a in arrays]
        infos += info
        for array in (o, r, d):
            assert array.flags.writeable  # ours to write: SB3 adds bootstrapped values to the rewards
    assert all(np.array_equal(a, b) for a, b in zip(kept, copies, strict=True))
    assert len({id(i) for i in infos}) == len(infos)


def test_seeds_are_used_once_and_reset_goes_on() -> None:
    env, single = native(2), dummy(2)
    for e in (env, single):
        e.seed(3)
    for _ in range(3):
        np.testing.assert_allclose(env.reset(), single.reset(), rtol=1e-6)
    env.set_options({"speed": 1})
    with pytest.raises(ValueError, match="speed"):
        env.reset()


@pytest.mark.parametrize(
    "id", ["LabelMoons", "LabelMoons-v0", "teach_gym/LabelMoons-v0", "teach_gym:teach_gym/LabelMoons-v0"]
)
def test_make_by_every_spelling(id: str) -> None:
    env = make_vec_env(id, 2, seed=1, budget=5, continuous=True)
    assert env.num_envs == 2 and isinstance(env.action_space, gym.spaces.Box)
    assert env.get_attr("task")[0].spec.budget == 5 and env.get_attr("spec")[0].id == "teach_gym/LabelMoons-v0"
    first = gym.make("teach_gym/LabelMoons-v0", budget=5, continuous=True).reset(seed=2)[0]
    np.testing.assert_allclose(env.reset()[1], first, rtol=1e-6)


def test_make_refuses() -> None:
    with pytest.raises(ValueError, match="did you mean 'LabelMoons'"):
        make_vec_env("LabelMoon", 2)
    with pytest.raises(TypeError, match="budgett"):
        make_vec_env("LabelMoons", 2, budgett=3)
    with pytest.raises(ValueError, match="next_step"):
        TeachVecEnv(TeachVectorEnv(2, **variant("label-grid")))
    with pytest.raises(TypeError, match="TeachVectorEnv"):
        TeachVecEnv(gym.make_vec("CartPole-v1", 2))  # type: ignore[arg-type]


@pytest.mark.parametrize("package", ["stable_baselines3", "torch"])
def test_a_missing_package_is_named_with_its_extra(package: str) -> None:
    code = without(package) + "from teach_gym.sb3 import make_vec_env"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    message = "ImportError: teach_gym.sb3 needs Stable-Baselines3 and torch: pip install 'teach_gym[agents]'"
    assert message in done.stderr


def test_attributes_and_methods_of_sub_environments() -> None:
    env = native(3)
    env.reset()
    assert env.env_is_wrapped(Monitor) == [False] * 3 and env.env_is_wrapped(Monitor, 1) == [False]
    assert env.get_attr("render_mode", [0, 2]) == [None, None]
    assert env.get_attr("action_space", 0) == [env.action_space]
    states = env.get_attr("state", [2])
    np.testing.assert_array_equal(states[0].w, env.env.state.w[[2]])  # type: ignore[union-attr]
    env.set_attr("tag", "a")
    env.set_attr("tag", "b", indices=1)
    assert env.get_attr("tag") == ["a", "b", "a"] and env.env_method("get_wrapper_attr", "tag", indices=1) == ["b"]
    assert env.has_attr("tag") and not env.has_attr("missing")
    assert env.env_method("has_wrapper_attr", "missing", indices=[0]) == [False]
    for call in (
        lambda: env.set_attr("task", None),
        lambda: env.get_attr("missing"),
        lambda: env.env_method("fly"),
    ):
        with pytest.raises(AttributeError):
            call()
    with pytest.raises(ValueError, match="actions must lie in"):
        env.step(np.array([0, 99, 0]))
    assert env.unwrapped is env
    env.close()


def test_images() -> None:
    env = make_vec_env("LabelMoons", 2, seed=0, render_mode="rgb_array")
    env.reset()
    images = env.get_images()
    assert len(images) == 2 and images[0] is not None and images[0].dtype == np.uint8
    shown = env.render()
    assert shown is not None and shown.shape[:2] == (2 * images[0].shape[0], images[0].shape[1])
    assert env.env_method("render", indices=1)[0].shape == images[0].shape
    plain = native(2)
    with pytest.warns(UserWarning, match="rgb_array"):
        assert plain.get_images() == [None, None]


# ------------------------------------------------------------------------------------------------------- SB3 on top


@every_algorithm
def test_learns_saves_and_loads(name: str, tmp_path: Path) -> None:
    """A few hundred steps through VecMonitor; the saved model predicts the same."""
    env = VecMonitor(native(continuous=ALGORITHMS[name][1]), info_keywords=("distance",))
    model = trained(name, env, 320)
    assert model.num_timesteps >= 320
    episodes = list(model.ep_info_buffer)
    assert episodes and all(e["l"] == 8 and 0 < e["distance"] < 100 for e in episodes)
    model.save(tmp_path / "model.zip")
    again = type(model).load(tmp_path / "model.zip", env=native(continuous=ALGORITHMS[name][1]))
    observation = env.reset()
    expected = model.predict(observation, deterministic=True)[0]
    np.testing.assert_array_equal(again.predict(observation, deterministic=True)[0], expected)
    again.learn(32)


def test_ppo_learns_the_same_as_on_dummy_vec_env() -> None:
    ours, theirs = trained("PPO", native(), 128), trained("PPO", dummy(), 128)
    for a, b in zip(ours.policy.parameters(), theirs.policy.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_evaluate_policy_equals_that_on_dummy_vec_env() -> None:
    model = trained("PPO", **STAGGERED)
    found = []
    for env in (native(3, **STAGGERED), dummy(3, **STAGGERED)):
        env.seed(10)
        found.append(evaluate_policy(model, env, 10, return_episode_rewards=True, warn=False))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-4)
    assert found[0][1] == found[1][1]


def test_vec_normalize_equals_that_over_dummy_vec_env(tmp_path: Path) -> None:
    ours, theirs = VecNormalize(native(3, **STAGGERED)), VecNormalize(dummy(3, **STAGGERED))
    for env in (ours, theirs):
        env.seed(2)
    np.testing.assert_allclose(ours.reset(), theirs.reset(), rtol=1e-5, atol=1e-5)
    rng = np.random.default_rng(0)
    for _ in range(20):
        actions = rng.integers(0, ours.action_space.n, 3)
        (o, r, _, i), (o2, r2, _, i2) = ours.step(actions), theirs.step(actions)
        np.testing.assert_allclose(o, o2, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(r, r2, rtol=1e-4, atol=1e-4)
        for a, b in zip(i, i2, strict=True):
            if "terminal_observation" in a:
                np.testing.assert_allclose(a["terminal_observation"], b["terminal_observation"], rtol=1e-4, atol=1e-4)
    ours.save(str(tmp_path / "statistics.pkl"))
    again = VecNormalize.load(str(tmp_path / "statistics.pkl"), native(3))
    np.testing.assert_array_equal(again.obs_rms.mean, ours.obs_rms.mean)


def _frames_per_second(env: Any) -> Any:
    """A call that trains for three rollouts and gives the frames per second."""
    options = {"n_steps": 64, "batch_size": 4096, "n_epochs": 4, "policy_kwargs": {"net_arch": [64, 64]}}
    model = PPO("MlpPolicy", env, seed=0, device="cpu", **options)
    model.learn(1)

    def call() -> float:
        frames, start = 3 * 64 * 64, time.perf_counter()
        model.learn(frames)
        return frames / (time.perf_counter() - start)

    return call


@pytest.mark.slow
def test_ppo_is_at_least_half_as_fast_again_as_on_dummy_vec_env() -> None:
    """Frames per second of learn() with 64 environments: median ratio over rounds in which both take turns."""
    native_rate = _frames_per_second(VecMonitor(make_vec_env("LabelMoons", 64, seed=0)))
    dummy_rate = _frames_per_second(VecMonitor(DummyVecEnv([lambda: gym.make("teach_gym/LabelMoons-v0")] * 64)))
    rounds = [(native_rate(), dummy_rate()) for _ in range(9)]
    fast, slow = (statistics.median(r[i] for r in rounds) for i in (0, 1))
    ratio = statistics.median(ours / theirs for ours, theirs in rounds)
    print(f"native {fast:,.0f} frames/s, DummyVecEnv {slow:,.0f} frames/s, ratio {ratio:.2f}")
    assert ratio >= 1.5


@pytest.mark.slow
def test_ppo_learns_to_teach() -> None:
    """A minute of PPO removes most of what lies between passive and greedy teaching."""
    env = make_vec_env("LabelMoons", 256, seed=0)
    options = {"n_steps": 60, "batch_size": 1920, "n_epochs": 10, "learning_rate": 1e-3}
    model = PPO("MlpPolicy", env, seed=0, device="cpu", **options).learn(500_000)
    task, seeds = env.env.task, 1000 + np.arange(200)

    def final(teacher: Teacher) -> float:
        return float(rollout(task, teacher, Streams.from_seeds(seeds))[1].distance.mean())

    passive, greedy, agent = (final(t) for t in (make_teacher("passive"), make_teacher("greedy"), PolicyTeacher(model)))
    assert (passive - agent) / (passive - greedy) > 0.9
