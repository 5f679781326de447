"""The contract of the single environment, for every registered id and every flavour of every medium."""

from __future__ import annotations

import copy
import itertools
import pickle
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from conftest import VARIANTS, continuous_variants, streams, variant
from gymnasium.utils.env_checker import check_env

from teach_gym.core.layout import layout, observe
from teach_gym.core.task import reset, step
from teach_gym.envs.base import TeachEnv
from teach_gym.registration import env_id

every = pytest.mark.parametrize("which", VARIANTS)
FLAVOURS = [(which, False) for which in VARIANTS] + [(which, True) for which in continuous_variants()]
flavours = pytest.mark.parametrize(("which", "continuous"), FLAVOURS, ids=str)


def check_both(env: gym.Env[Any, Any]) -> None:
    from stable_baselines3.common.env_checker import check_env as check_sb3

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both warn of unbounded spaces
        check_env(env.unwrapped, skip_render_check=True)
        check_sb3(env.unwrapped, warn=True, skip_render_check=True)


def test_env_checkers_accept_every_id(name: str) -> None:
    check_both(gym.make(env_id(name)))


def test_env_checkers_accept_every_continuous_id(continuous_name: str) -> None:
    check_both(gym.make(env_id(continuous_name), continuous=True))


def play(env: gym.Env[Any, Any], seed: int, steps: int = 100) -> list[tuple[Any, ...]]:
    """An episode with random actions that depend on the seed only."""
    env.action_space.seed(seed)
    observation, info = env.reset(seed=seed)
    trajectory: list[tuple[Any, ...]] = [(None, observation, 0.0, False, info)]
    for _ in range(steps):
        action = env.action_space.sample()
        observation, reward, terminated, truncated, info = env.step(action)
        assert truncated is False
        trajectory.append((action, observation, reward, terminated, info))
        if terminated:
            break
    return trajectory


def same(a: list[tuple[Any, ...]], b: list[tuple[Any, ...]]) -> bool:
    """Whether two trajectories are equal to the bit."""
    return len(a) == len(b) and all(
        np.array_equal(p[1], q[1]) and p[2] == q[2] and p[3] == q[3] and p[4].get("distance") == q[4].get("distance")
        for p, q in zip(a, b, strict=True)
    )


def test_spaces_types_and_flags_of_every_id(name: str) -> None:
    env = gym.make(env_id(name), budget=3)
    assert isinstance(env.action_space, gym.spaces.Discrete) and env.action_space.n == env.unwrapped.task.n_actions
    assert isinstance(env.observation_space, gym.spaces.Box) and env.observation_space.dtype == np.float32
    assert env.metadata["render_modes"] == ["rgb_array", "ansi"]
    for _, observation, reward, terminated, info in play(env, 1):
        assert env.observation_space.contains(observation)
        assert type(reward) is float and type(terminated) is bool
        kind = np.dtype(env.unwrapped.task.spec.dtype).type
        assert type(info.get("distance")) is (kind if env.unwrapped.task.tells_distance else type(None))
        assert {np.asarray(v).dtype for k, v in info.items() if k != "diverged"} == {np.dtype(kind)}


@flavours
def test_spaces_types_and_flags_of_every_flavour(which: str, continuous: bool) -> None:
    env = TeachEnv(**variant(which, continuous=continuous))
    task = env.task
    if continuous:
        assert isinstance(env.action_space, gym.spaces.Box) and np.isfinite(env.action_space.low).all()
        assert np.isfinite(env.action_space.high).all() and env.action_space.dtype == np.float32
        assert env.action_space.shape[0] == task.spec.batch_size
    trajectory = play(env, 1)
    for _, observation, reward, terminated, info in trajectory:
        assert env.observation_space.contains(observation)
        assert type(reward) is float and type(terminated) is bool and type(info["distance"]) is np.float64
    assert len(trajectory) == task.spec.budget + 1 or trajectory[-1][4]["distance"] < task.spec.tolerance
    for _, _, _, _, info in trajectory:
        assert list(info) == ["label", "features", "diverged", "distance"]
        assert info["features"].shape == (task.spec.batch_size, task.d)
        assert info["label"].shape == (task.spec.batch_size, task.k)
    shown = [np.isfinite(info["features"]).all() and np.isfinite(info["label"]).all() for *_, info in trajectory]
    assert shown == [False] + [True] * (len(trajectory) - 1)
    assert np.isnan(trajectory[0][4]["features"]).all() and np.isnan(trajectory[0][4]["label"]).all()


@flavours
def test_the_env_is_the_task_stepped(which: str, continuous: bool) -> None:
    """What the env returns (from a compiled program, perhaps) against the functions of the task on arrays."""
    env = TeachEnv(**variant(which, continuous=continuous))
    task, blocks = env.task, layout(env.task)
    trajectory = play(env, 3)
    state = reset(task, streams(1, seed=3))
    np.testing.assert_allclose(trajectory[0][1], observe(task, state, blocks)[0], rtol=1e-6, atol=1e-7)
    for action, observation, reward, terminated, info in trajectory[1:]:
        transition = step(task, state, np.asarray(action)[None].astype(float if continuous else int))
        state = transition.state
        np.testing.assert_allclose(observation, observe(task, state, blocks)[0], rtol=1e-5, atol=1e-6)
        assert info["distance"] == pytest.approx(float(state.distance[0]), abs=1e-12)
        assert reward == pytest.approx(float(transition.reward[0]), abs=1e-9)
        assert terminated == bool(transition.terminated[0])
        np.testing.assert_allclose(info["features"], transition.example.x[0], atol=1e-12)
        np.testing.assert_allclose(info["label"], np.broadcast_to(transition.example.y, (1, *info["label"].shape))[0])
    for name, mine, expected in zip(state._fields, env.state, state, strict=True):
        assert (mine is None) == (expected is None), name
        if mine is not None:
            np.testing.assert_allclose(mine, expected, atol=1e-12, err_msg=name)


@flavours
def test_anyone_can_replay_a_trajectory_from_observations_and_infos(which: str, continuous: bool) -> None:
    """w' = w - learning_rate * gradient on the example shown, from the float32 observation alone."""
    env = TeachEnv(**variant(which, continuous=continuous))
    task = env.task
    if task.spec.momentum or task.spec.weight_decay:
        pytest.skip("not the default update rule")
    trajectory = play(env, 2)
    for (_, before, *_), (_, after, _, _, info) in itertools.pairwise(trajectory):
        w = before[: task.size].astype(float)
        gradient = task.learner.gradient(w[None], info["features"][None], info["label"][None])[0]
        np.testing.assert_allclose(after[: task.size], w - task.spec.learning_rate * gradient, rtol=1e-5, atol=2e-6)
        np.testing.assert_allclose(after[task.size : 2 * task.size], task.target - after[: task.size], atol=1e-5)


def test_passive_actions_show_the_offered_example_with_its_label(name: str) -> None:
    env = gym.make(env_id(name), budget=4).unwrapped
    env.reset(seed=0)
    for _ in range(4):
        before = env.state
        *_, info = env.step(int(env.task.medium.passive(before.y)[0]))
        for key, offered in (("features", before.x), ("label", before.y)):
            np.testing.assert_allclose(info[key], offered[0, 0], rtol=1e-6, atol=1e-7)


@flavours
def test_reward_telescopes_and_distance_is_the_norm(which: str, continuous: bool) -> None:
    env = TeachEnv(**variant(which, continuous=continuous))
    trajectory = play(env, 4)
    d = [info["distance"] for *_, info in trajectory]
    gaps = [observation[env.task.size : 2 * env.task.size] for _, observation, *_ in trajectory]
    np.testing.assert_allclose(d, [np.linalg.norm(g.astype(float)) for g in gaps], rtol=1e-6)
    rewards = [reward for _, _, reward, _, _ in trajectory[1:]]
    assert sum(rewards) == pytest.approx(100 * (d[0] - d[-1]) / d[0], abs=1e-8)


def test_terminated_exactly_at_the_budget_or_the_tolerance() -> None:
    early = 0
    for seed in range(30):
        env = TeachEnv(**variant("label-grid", tolerance=2.0, learning_rate=1.0))
        trajectory = play(env, seed)
        ends = [terminated for *_, terminated, _ in trajectory]
        assert ends[-1] and not any(ends[:-1])
        last = trajectory[-1][4]["distance"]
        assert last < 2.0 or len(trajectory) == env.task.spec.budget + 1
        assert all(info["distance"] >= 2.0 for *_, info in trajectory[1:-1])
        early += len(trajectory) <= env.task.spec.budget
    assert 0 < early < 30


def test_step_outside_an_episode_is_refused() -> None:
    env = TeachEnv(**variant("label-grid", budget=2))
    with pytest.raises(RuntimeError, match=r"reset\(\)"):
        env.step(0)
    with pytest.raises(RuntimeError, match=r"reset\(\)"):
        env.state.w  # noqa: B018
    play(env, 0)
    with pytest.raises(RuntimeError, match="over"):
        env.step(0)
    env.reset()
    env.step(0)


@flavours
def test_the_seed_decides_the_trajectory(which: str, continuous: bool) -> None:
    env, other = (TeachEnv(**variant(which, continuous=continuous)) for _ in range(2))
    first = play(env, 5)
    assert same(first, play(env, 5)) and same(first, play(other, 5))
    assert not same(first, play(env, 6))


def test_episodes_of_one_env_differ_and_a_reset_without_seed_goes_on() -> None:
    env, other = (TeachEnv(**variant("select")) for _ in range(2))
    starts = []
    for e in (env, other):
        e.reset(seed=1)
        starts.append([e.reset()[0] for _ in range(3)])
    assert not np.array_equal(starts[0][0], starts[0][1])
    np.testing.assert_array_equal(starts[0], starts[1])


def test_actions_do_not_influence_the_next_episode() -> None:
    env = TeachEnv(**variant("select"))
    nexts = []
    for action in (0, 3):
        env.reset(seed=1)
        env.step(action)
        nexts.append(env.reset()[0])
    np.testing.assert_array_equal(*nexts)


@flavours
@pytest.mark.parametrize("how", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))], ids=["deepcopy", "pickle"])
def test_a_copy_in_mid_episode_goes_on_identically(which: str, continuous: bool, how: Any) -> None:
    env = TeachEnv(**variant(which, continuous=continuous))
    env.action_space.seed(0)
    env.reset(seed=9)
    env.step(env.action_space.sample())
    twin = how(env)
    observations: list[list[np.ndarray]] = [[], []]
    for out, e in zip(observations, (env, twin), strict=True):
        e.action_space.seed(1)
        for _ in range(3):
            out.append(e.step(e.action_space.sample())[0])
        out.append(e.reset()[0])
    np.testing.assert_array_equal(*observations)


def test_a_fresh_env_and_a_wrapped_env_can_be_pickled(name: str) -> None:
    env = pickle.loads(pickle.dumps(gym.make(env_id(name))))
    assert same(play(env, 0, steps=2), play(gym.make(env_id(name)), 0, steps=2))


@flavours
def test_arrays_are_fresh_every_call(which: str, continuous: bool) -> None:
    """Writing into anything an env returned changes nothing later."""
    env, clean = (TeachEnv(**variant(which, continuous=continuous)) for _ in range(2))
    for e, spoil in ((env, True), (clean, False)):
        e.action_space.seed(0)
        e.recorded = [e.reset(seed=0)]
        for _ in range(4):
            copied = copy.deepcopy(e.recorded[-1])
            e.kept = [*getattr(e, "kept", []), copied[0]]
            if spoil:
                result = e.recorded[-1]
                for array in (result[0], *(v for v in result[-1].values() if isinstance(v, np.ndarray))):
                    if array.flags.writeable:
                        array[...] = 1e6
            e.recorded.append(e.step(e.action_space.sample()))
    np.testing.assert_array_equal(env.kept, clean.kept)
    np.testing.assert_array_equal(env.recorded[-1][0], clean.recorded[-1][0])


def test_bad_arguments_of_the_env() -> None:
    with pytest.raises(ValueError, match=r"render_mode.*rgb_array.*'human'"):
        TeachEnv(render_mode="human")
    env = TeachEnv(**variant("label-grid"))
    with pytest.raises(ValueError, match="speed"):
        env.reset(options={"speed": 3})
    env.reset(options={})
    with pytest.raises(TypeError, match="colour"):
        gym.make("teach_gym/LabelMoons-v0", colour=1)


@every
def test_float32_envs_run(which: str) -> None:
    env, exact = (TeachEnv(**variant(which, dtype=dtype)) for dtype in ("float32", "float64"))
    for a, b in zip(play(env, 7), play(exact, 7), strict=True):
        np.testing.assert_allclose(a[1], b[1], rtol=1e-3, atol=1e-3)
        assert type(a[2]) is float and type(a[3]) is bool
        assert {np.asarray(v).dtype for k, v in a[4].items() if k != "diverged"} == {np.dtype("float32")}


def test_a_learner_that_starts_at_the_target_does_not_break_the_env() -> None:
    env = TeachEnv(target="given", target_options={"w": [0.0, 0.0]}, init="zeros")
    _, info = env.reset(seed=0)
    assert info["distance"] == 0.0
    _, reward, *_ = env.step(0)
    assert not np.isposinf(reward)


def test_a_diverging_learner_raises_nothing() -> None:
    env = TeachEnv(**variant("label-offset-truth", learning_rate=1e200, budget=20))
    trajectory = play(env, 0)
    assert trajectory[-1][3] and trajectory[-1][4]["diverged"] and len(trajectory) < 21
