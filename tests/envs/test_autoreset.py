"""Autoreset, seeds, masks, limits of steps and infos of the vector environment, against Gymnasium's SyncVectorEnv."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from conftest import variant
from gymnasium.vector import AutoresetMode
from vector_cases import modes, pair, same_info, same_step, staggered

from teach_gym.envs.vector import TeachVectorEnv
from teach_gym.registration import env_id

ID = env_id("LabelMoons")


@modes
@pytest.mark.parametrize("which", ["label-grid", "momentum", "mixup-batch", "label-mix-prediction"])
@pytest.mark.parametrize("tolerance", [2.0, 0.0], ids=["staggered ends", "common ends"])
def test_autoreset_is_gymnasiums(mode: str, which: str, tolerance: float) -> None:
    n = 5
    mine, theirs = pair(mode, n, which, tolerance=tolerance)
    a, b = mine.reset(seed=7), theirs.reset(seed=7)
    np.testing.assert_allclose(a[0], b[0], rtol=1e-6)
    same_info(a[1], b[1], n)
    mine.action_space.seed(1)
    ends = []
    for _ in range(40):
        actions = mine.action_space.sample()
        step, expected = mine.step(actions), theirs.step(actions)
        same_step(step, expected, n)
        ends.append(int(step[2].sum()))
        if mode == "disabled" and step[2].any():
            options = [{"reset_mask": step[2].copy()} for _ in range(2)]
            a, b = mine.reset(options=options[0]), theirs.reset(options=options[1])
            np.testing.assert_allclose(a[0], b[0], rtol=1e-6)
            same_info(a[1], b[1], n)
    assert sum(ends) > n
    assert (0 < min(e for e in ends if e) < n) == (tolerance > 0)


def test_same_step_gives_the_last_observation_and_info() -> None:
    mine, _ = pair("same_step", n=1, tolerance=0.0, budget=2)
    mine.reset(seed=0)
    mine.step(np.array([1]))
    before = mine.state.w.copy()
    observations, _, terminated, _, info = mine.step(np.array([1]))
    assert terminated[0] and info["_final_obs"][0] and observations[0, -1] == 1.0
    final = info["final_obs"][0]
    assert final[-1] == 0.0 and final.dtype == np.float32
    gradient = (before - final[: before.shape[1]]) / mine.task.spec.learning_rate
    example = [info["final_info"][key] for key in ("features", "label")]
    np.testing.assert_allclose(mine.task.learner.gradient(before, *example), gradient, rtol=1e-4, atol=1e-5)


def test_disabled_mode_refuses_to_step_an_ended_episode() -> None:
    mine, _ = pair("disabled", n=2, tolerance=0.0, budget=1)
    mine.reset(seed=0)
    mine.step(np.zeros(2, dtype=int))
    with pytest.raises(RuntimeError, match=r"\[0 1\].*reset_mask"):
        mine.step(np.zeros(2, dtype=int))
    mine.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(RuntimeError, match=r"\[1\]"):
        mine.step(np.zeros(2, dtype=int))
    mine.reset()
    mine.step(np.zeros(2, dtype=int))


@modes
@pytest.mark.parametrize("seed", [None, 99, [5, None, 7]], ids=str)
def test_reset_mask_is_gymnasiums_with_and_without_seeds(mode: str, seed: Any) -> None:
    n = 3
    mine, theirs = pair(mode, n, tolerance=0.0)
    mine.reset(seed=1)
    theirs.reset(seed=1)
    rng = np.random.default_rng(0)
    for _ in range(2):
        actions = rng.integers(5, size=n)
        same_step(mine.step(actions), theirs.step(actions), n)
    mask = np.array([True, False, True])
    seeds = [5, 6, 7] if isinstance(seed, list) else seed
    a = mine.reset(seed=seeds, options={"reset_mask": mask})
    b = theirs.reset(seed=seeds, options={"reset_mask": mask})
    np.testing.assert_allclose(a[0], b[0], rtol=1e-6)
    same_info(a[1], b[1], n)
    for _ in range(12 if mode != "disabled" else 4):
        actions = rng.integers(5, size=n)
        same_step(mine.step(actions), theirs.step(actions), n)


@modes
def test_lists_of_seeds(mode: str) -> None:
    mine, theirs = pair(mode, 3)
    a, b = (e.reset(seed=[11, 3, 12])[0] for e in (mine, theirs))
    np.testing.assert_allclose(a, b, rtol=1e-6)
    first = mine.reset(seed=[4, 4, 4])[0]
    np.testing.assert_array_equal(first[0], first[2])
    partly = [mine.reset(seed=[4, None, None])[0] for _ in range(2)]
    np.testing.assert_array_equal(partly[0][0], partly[1][0])
    assert not np.array_equal(partly[0][1], partly[1][1])
    with pytest.raises(ValueError, match=r"3 entries.*2"):
        mine.reset(seed=[1, 2])


def test_reset_without_seed_goes_on_and_a_seed_starts_over() -> None:
    mine, _ = pair("next_step", 3)
    first = mine.reset(seed=5)[0]
    second = mine.reset()[0]
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(mine.reset(seed=5)[0], first)
    np.testing.assert_array_equal(mine.reset()[0], second)


@pytest.mark.parametrize(
    "mask",
    [np.zeros(3, dtype=bool), np.ones(2, dtype=bool), np.array([1, 0, 1]), [0.5, 1, 1]],
    ids=str,
)
def test_bad_masks(mask: Any) -> None:
    mine, _ = pair("next_step", 3)
    with pytest.raises(RuntimeError, match="reset"):
        mine.reset(options={"reset_mask": np.ones(3, dtype=bool)})
    mine.reset(seed=0)
    with pytest.raises(ValueError, match=r"reset_mask.*\(3,\)"):
        mine.reset(options={"reset_mask": mask})
    with pytest.raises(ValueError, match="speed"):
        mine.reset(options={"speed": 1})


@modes
@pytest.mark.parametrize("limit", [1, 3, 7, 1_000_000])
def test_a_limit_of_steps_is_gymnasiums_time_limit(mode: str, limit: int) -> None:
    """Staggered ends by the tolerance, truncations, and both at once at the budget of 7."""
    n, kwargs = 4, staggered(max_episode_steps=limit)
    mine = gym.make_vec(ID, n, autoreset_mode=mode, **kwargs)
    vector_kwargs = {"autoreset_mode": AutoresetMode[mode.upper()]}
    theirs = gym.make_vec(ID, n, "sync", vector_kwargs=vector_kwargs, **kwargs)
    mine.reset(seed=7)
    theirs.reset(seed=7)
    rng = np.random.default_rng(0)
    cut = 0
    for _ in range(25):
        actions = rng.integers(5, size=n)
        step, expected = mine.step(actions), theirs.step(actions)
        same_step(step, expected, n)
        over = step[2] | step[3]
        cut += int(step[3].sum())
        if mode == "disabled" and over.any():
            a, b = (e.reset(options={"reset_mask": over.copy()}) for e in (mine, theirs))
            np.testing.assert_allclose(a[0], b[0], rtol=1e-6)
            same_info(a[1], b[1], n)
    assert (cut > 0) == (limit <= 7)


@pytest.mark.parametrize(("limit", "kind"), [(0, ValueError), (-1, ValueError), (2.5, TypeError), ("x", TypeError)])
def test_bad_limits_of_steps(limit: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=f"max_episode_steps.*{limit}"):
        TeachVectorEnv(num_envs=2, max_episode_steps=limit, **variant("label-grid"))


def test_infos_at_reset_and_step_have_the_same_entries(name: str) -> None:
    """Arrays of the task's dtype with the batch first; nan where no example was shown yet."""
    env = gym.make_vec(env_id(name), num_envs=3, budget=1)
    task = env.unwrapped.task
    _, first = env.reset(seed=0)
    _, _, _, _, second = env.step(np.zeros(3, dtype=int))
    _, _, _, _, third = env.step(np.zeros(3, dtype=int))  # all start again
    assert list(first) == list(second) == list(third)
    assert ("distance" in first) == task.tells_distance
    shapes = {
        "label": (3, task.spec.batch_size, task.k),
        "features": (3, task.spec.batch_size, task.d),
        "distance": (3,),
    }
    for info, shown in ((first, False), (second, True), (third, False)):
        for key in filter(shapes.__contains__, info):
            assert info[key].shape == shapes[key] and info[key].dtype == task.spec.dtype and info[f"_{key}"].all()
            assert np.isfinite(info[key]).all() == (shown or key == "distance")
