"""The vector environment: equal to single ones, its spaces and arrays, and how it is made."""

from __future__ import annotations

import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from conftest import VARIANTS, variant
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from vector_cases import FLAVOURS, modes, pair, staggered

from teach_gym.core.media import CONTINUOUS_MEDIA
from teach_gym.envs.base import TeachEnv
from teach_gym.envs.label import LabelVectorEnv
from teach_gym.envs.vector import TeachVectorEnv
from teach_gym.errors import TooLargeError
from teach_gym.registration import TASKS, env_id, task_kwargs

# -------------------------------------------------------------------------------------------- equal to single ones


@pytest.mark.parametrize(("which", "continuous"), FLAVOURS, ids=str)
def test_sub_env_i_is_the_single_env_seeded_seed_plus_i(which: str, continuous: bool) -> None:
    """Several episodes with random actions, float64 internals equal to 1e-12."""
    kwargs, n, seed = staggered(which, continuous=continuous), 3, 40
    vector = TeachVectorEnv(num_envs=n, **kwargs)
    singles = [TeachEnv(**kwargs) for _ in range(n)]
    vector.action_space.seed(0)
    observations, info = vector.reset(seed=seed)
    over = [False] * n
    for i, env in enumerate(singles):
        observation, single_info = env.reset(seed=seed + i)
        np.testing.assert_allclose(observations[i], observation, rtol=1e-6)
        assert info["distance"][i] == pytest.approx(single_info["distance"], abs=1e-12)
    for _ in range(25):
        actions = vector.action_space.sample()
        observations, rewards, terminated, truncated, info = vector.step(actions)
        assert not truncated.any()
        for i, env in enumerate(singles):
            if over[i]:
                env.reset()
                assert rewards[i] == 0.0 and not terminated[i]
                assert np.isnan(info["label"][i]).all() and np.isnan(info["features"][i]).all()
                over[i] = False
            else:
                _, reward, over[i], _, single_info = env.step(actions[i])
                assert terminated[i] == over[i]
                assert rewards[i] == pytest.approx(reward, abs=1e-9)
                for key in ("label", "features"):
                    np.testing.assert_allclose(
                        np.broadcast_to(info[key], (n, *single_info[key].shape))[i], single_info[key], atol=1e-12
                    )
            assert info["distance"][i] == pytest.approx(env.state.distance[0], abs=1e-12)
            for name in ("w", "difference", "x", "y", "t", "schedule"):
                mine, theirs = getattr(vector.state, name)[i], getattr(env.state, name)[0]
                np.testing.assert_allclose(mine, theirs, atol=1e-12, err_msg=name)


def test_sub_envs_of_every_id_are_single_envs_within_the_stated_tolerance(name: str) -> None:
    """A whole episode, in both flavours; the tolerances are those that the environments' pages promise."""
    for continuous in {False, TASKS[name]["medium"] in CONTINUOUS_MEDIA}:
        vector = gym.make_vec(env_id(name), num_envs=2, autoreset_mode="disabled", continuous=continuous)
        env = gym.make(env_id(name), continuous=continuous)
        learners, gains = (1e-12, 1e-9) if env.unwrapped.task.spec.dtype == "float64" else (1e-5, 1e-4)
        vector.action_space.seed(0)
        vector.reset(seed=10)
        env.reset(seed=11)
        over = False
        while not over:
            actions = vector.action_space.sample()
            observations, rewards, terminated, _, _ = vector.step(actions)
            observation, reward, over, _, _ = env.step(actions[1])
            np.testing.assert_allclose(observations[1], observation, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(vector.unwrapped.state.w[1], env.unwrapped.state.w[0], rtol=0, atol=learners)
            assert abs(float(rewards[1]) - reward) < gains and terminated[1] == over
            if terminated[0] and not over:
                vector.reset(options={"reset_mask": np.array([True, False])})


def test_a_sub_env_does_not_depend_on_how_many_there_are() -> None:
    kwargs = staggered()
    few, many = (TeachVectorEnv(num_envs=n, **kwargs) for n in (2, 33))
    rng = np.random.default_rng(0)
    few.reset(seed=1)
    many.reset(seed=1)
    for _ in range(100):  # more episodes than keys drawn at once
        actions = rng.integers(5, size=33)
        a, b = few.step(actions[:2]), many.step(actions)
        np.testing.assert_allclose(a[0], b[0][:2], rtol=1e-6, atol=1e-7)
        np.testing.assert_array_equal(a[2], b[2][:2])


def test_many_episodes_equal_those_of_a_single_env() -> None:
    """Beyond the block of episode keys drawn at once."""
    kwargs = variant("select", budget=1)
    vector, env = TeachVectorEnv(num_envs=2, **kwargs), TeachEnv(**kwargs)
    observations, _ = vector.reset(seed=3)
    single, _ = env.reset(seed=4)
    for _ in range(150):
        np.testing.assert_array_equal(observations[1], single)
        vector.step(np.zeros(2, dtype=int))
        observations, *_ = vector.step(np.zeros(2, dtype=int))
        single, _ = env.reset()


# ------------------------------------------------------------------------------------------------- spaces, arrays


def test_the_vector_class_of_every_id_has_gymnasiums_among_its_direct_bases(name: str) -> None:
    """Libraries such as skrl tell environments apart by their direct bases."""
    assert VectorEnv in type(gym.make_vec(env_id(name), num_envs=2).unwrapped).__bases__


def test_rewards_have_one_type_in_all_steps() -> None:
    for dtype in ("float32", "float64"):
        env = TeachVectorEnv(num_envs=2, **variant("label-grid", dtype=dtype, budget=2))
        env.reset(seed=0)
        assert [env.step(np.zeros(2, dtype=int))[1].dtype for _ in range(4)] == [np.dtype(dtype)] * 4


@modes
def test_mode_is_in_attribute_and_metadata(mode: str) -> None:
    for given in (mode, AutoresetMode[mode.upper()]):
        env = TeachVectorEnv(num_envs=2, autoreset_mode=given, **variant("label-grid"))
        assert env.autoreset_mode is env.metadata["autoreset_mode"] is AutoresetMode[mode.upper()]
    assert TeachVectorEnv.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert TeachVectorEnv(num_envs=2, **variant("label-grid")).autoreset_mode is AutoresetMode.NEXT_STEP


@pytest.mark.parametrize(("which", "continuous"), FLAVOURS, ids=str)
def test_spaces_and_types(which: str, continuous: bool) -> None:
    env = TeachVectorEnv(num_envs=4, **variant(which, continuous=continuous))
    single = TeachEnv(**variant(which, continuous=continuous))
    assert env.single_action_space == single.action_space
    assert env.single_observation_space == single.observation_space
    observations, info = env.reset(seed=0)
    assert env.observation_space.contains(observations) and info["distance"].shape == (4,)
    env.action_space.seed(0)
    observations, rewards, terminated, _, info = env.step(env.action_space.sample())
    assert env.observation_space.contains(observations)
    assert rewards.dtype == np.float64 and rewards.shape == terminated.shape == (4,)
    assert np.broadcast_to(info["features"], (4, env.task.spec.batch_size, env.task.d)).shape == info["features"].shape
    assert info["label"].shape == (4, env.task.spec.batch_size, env.task.k)
    assert all(info[f"_{key}"].all() for key in ("distance", "label", "features"))


@modes
def test_arrays_are_fresh_every_call(mode: str) -> None:
    """Writing into anything the env returned changes nothing later."""
    spoiled, clean = pair(mode)[0], pair(mode)[0]
    kept: list[list[Any]] = [[], []]
    for out, env, spoil in zip(kept, (spoiled, clean), (True, False), strict=True):
        env.action_space.seed(3)
        result: tuple[Any, ...] = env.reset(seed=0)
        for _ in range(20):
            if spoil:
                infos = [result[-1], result[-1].get("final_info", {})]
                arrays = [*result[:-1], *(v for info in infos for v in info.values())]
                for array in arrays:
                    if isinstance(array, np.ndarray) and array.flags.writeable and array.dtype != object:
                        array[...] = 1
            result = env.step(env.action_space.sample())
            out.append([np.array(a) for a in result[:4]] + [result[4]["distance"].copy()])
            if mode == "disabled" and result[2].any():
                env.reset(options={"reset_mask": result[2].copy()})
    for a, b in zip(*kept, strict=True):
        for p, q in zip(a, b, strict=True):
            np.testing.assert_array_equal(p, q)


@modes
def test_a_pickled_vector_env_goes_on_identically(mode: str) -> None:
    env = pair(mode, tolerance=0.0)[0]
    env.reset(seed=0)
    actions = np.array([0, 1, 2, 3, 4])
    env.step(actions)
    twin = pickle.loads(pickle.dumps(env))
    for _ in range(12 if mode != "disabled" else 5):
        a, b = env.step(actions), twin.step(actions)
        for p, q in zip(a[:4], b[:4], strict=True):
            np.testing.assert_array_equal(p, q)


BAD_ACTIONS: list[tuple[Any, type[Exception], str]] = [
    (np.array([0, 5, 1]), ValueError, r"\[0, 5\).*\[5\]"),
    (np.array([-1, 0, 1]), ValueError, r"\[0, 5\).*\[-1\]"),
    (np.array([0, 1]), ValueError, r"\(3,\).*\(2,\)"),
    (np.zeros((3, 1), dtype=int), ValueError, r"\(3,\).*\(3, 1\)"),
    (np.zeros(3), TypeError, "integers.*float64"),
    (np.zeros(3, dtype=bool), TypeError, "integers.*bool"),
    (1, ValueError, r"\(3,\)"),
    (None, ValueError, r"\(3,\)"),
]


@pytest.mark.parametrize(("actions", "kind", "message"), BAD_ACTIONS, ids=str)
def test_bad_actions_are_refused_and_change_nothing(actions: Any, kind: type[Exception], message: str) -> None:
    env, clean = (TeachVectorEnv(num_envs=3, **variant("label-grid")) for _ in range(2))
    with pytest.raises(RuntimeError, match=r"reset\(\)"):
        env.step(np.zeros(3, dtype=int))
    env.reset(seed=0)
    clean.reset(seed=0)
    with pytest.raises(kind, match=message):
        env.step(actions)
    good = np.array([1, 2, 3])
    np.testing.assert_array_equal(env.step(good)[0], clean.step(good.tolist())[0])
    np.testing.assert_array_equal(env.step(good.astype(np.uint8))[0], clean.step(good.astype(np.int32))[0])


@pytest.mark.parametrize(
    ("kwargs", "kind", "message"),
    [
        ({"num_envs": 0}, ValueError, "num_envs.*0"),
        ({"num_envs": 2.0}, TypeError, r"num_envs.*2\.0"),
        ({"num_envs": 2, "autoreset_mode": "never"}, ValueError, "autoreset_mode.*'never'.*next_step"),
        ({"num_envs": 2, "autoreset_mode": None}, ValueError, "autoreset_mode.*None.*same_step"),
        ({"num_envs": 2, "render_mode": "human"}, ValueError, "render_mode.*'human'"),
        ({"num_envs": 2, "medium": "lable"}, ValueError, "did you mean 'label'"),
    ],
    ids=str,
)
def test_bad_arguments(kwargs: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        TeachVectorEnv(**kwargs)


@pytest.mark.parametrize("which", VARIANTS)
def test_float32_vector_envs_follow_the_exact_ones(which: str) -> None:
    fast, exact = (TeachVectorEnv(num_envs=3, **variant(which, dtype=d, tolerance=0.0)) for d in ("float32", "float64"))
    fast.action_space.seed(0)
    fast.reset(seed=0)
    exact.reset(seed=0)
    for _ in range(10):
        actions = fast.action_space.sample()
        a, b = fast.step(actions), exact.step(actions)
        np.testing.assert_allclose(a[0], b[0], rtol=1e-3, atol=1e-3)
        assert fast.state.w.dtype == np.float32 and a[0].dtype == np.float32


# ------------------------------------------------------------------------------------------------------- make_vec


@pytest.mark.parametrize("mode", ["vector_entry_point", "sync", None])
def test_make_vec(mode: str | None) -> None:
    env = gym.make_vec("teach_gym/LabelMoons-v0", num_envs=3, vectorization_mode=mode, budget=4)
    assert env.num_envs == 3
    assert isinstance(env.unwrapped, SyncVectorEnv if mode == "sync" else LabelVectorEnv)
    observations, _ = env.reset(seed=0)
    reference, _ = TeachVectorEnv(num_envs=3, **{**task_kwargs("LabelMoons"), "budget": 4}).reset(seed=0)
    np.testing.assert_allclose(observations, reference, rtol=1e-6)
    env.step(env.action_space.sample())
    env.close()


@pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
def test_async_envs_in_other_processes(context: str) -> None:
    """The spelling `teach_gym:teach_gym/...` imports the package in the process that makes the env."""
    name = "teach_gym:teach_gym/LabelMoons-v0"
    env = gym.make_vec(name, num_envs=2, vectorization_mode="async", vector_kwargs={"context": context}, budget=3)
    try:
        native = gym.make_vec(name, num_envs=2, vectorization_mode="vector_entry_point", budget=3)
        np.testing.assert_allclose(env.reset(seed=4)[0], native.reset(seed=4)[0], rtol=1e-6)
        for _ in range(5):
            actions = np.array([1, 3])
            a, b = env.step(actions), native.step(actions)
            np.testing.assert_allclose(a[0], b[0], rtol=1e-5, atol=1e-6)
            np.testing.assert_array_equal(a[2], b[2])
    finally:
        env.close()


def test_too_many_sub_environments_are_refused_with_the_memory_they_would_need() -> None:
    with pytest.raises(TooLargeError, match=r"1,000,000,000 learners .*iB of memory; at most 16 GiB"):
        TeachVectorEnv(num_envs=10**9, pool_options={"n": 50})
    assert TeachVectorEnv(num_envs=np.uint8(200), pool_options={"n": 50}, budget=2).reset(seed=0)[0].shape[0] == 200


@pytest.mark.parametrize(
    ("seed", "kind", "message"),
    [
        (-1, ValueError, "seed must be >= 0, got -1"),
        (True, TypeError, "seed must be an integer, got True"),
        (1.0, TypeError, "seed must be an integer, got 1.0"),
        ("3", TypeError, "seed must be an integer, got '3'"),
        ([1, -2, 3], ValueError, "seed must be >= 0, got -2"),
        ([1, 2], ValueError, "must have 3 entries, got 2"),
    ],
    ids=str,
)
def test_bad_seeds_are_refused_by_both_environments(seed: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        TeachVectorEnv(num_envs=3, pool_options={"n": 50}).reset(seed=seed)
    if not isinstance(seed, list):
        with pytest.raises(kind, match=message):
            TeachEnv(pool_options={"n": 50}).reset(seed=seed)
