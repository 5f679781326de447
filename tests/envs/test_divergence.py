"""Learners that diverge, and learners that start next to the target."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from teach_gym.core.batch import DIVERGED
from teach_gym.core.rewards import FARTHEST, REWARDS
from teach_gym.envs.base import TeachEnv
from teach_gym.envs.vector import TeachVectorEnv

WILD: dict[str, Any] = {
    **{"learner": "least_squares", "pool": "linear_regression", "pool_options": {"n": 60}},
    **{"learning_rate": 1e6, "budget": 40},
}
BLACK: dict[str, Any] = {"observation": "black_box"}
CASES: list[dict[str, Any]] = [
    *({"reward": reward} for reward in REWARDS if reward not in ("steps_to_accuracy", "holdout_accuracy")),
    *({"reward": reward, **BLACK} for reward in ("holdout_progress", "holdout_log_progress")),
    *({"observation": observation} for observation in ("lookahead", "farsighted")),
    {"dtype": "float32"},
    {"momentum": 0.9},
    {"learning_rate": 1e300},
    {"medium": "select"},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_diverged_learner_ends_its_episode_and_everything_stays_finite(case: dict[str, Any]) -> None:
    env, many = TeachEnv(**{**WILD, **case}), TeachVectorEnv(num_envs=2, autoreset_mode="disabled", **{**WILD, **case})
    env.reset(seed=3)
    many.reset(seed=3)
    terminated, rewards, steps = False, [], 0
    while not terminated:
        observation, reward, terminated, truncated, info = env.step(0)
        assert np.isfinite(observation).all() and np.isfinite(reward) and not truncated
        assert observation in env.observation_space
        assert info["diverged"] == terminated, "and its episode ends"
        if "distance" in info:
            assert info["diverged"] == (not info["distance"] <= DIVERGED)
        seen, earned, over, _, infos = many.step(np.array([0, 0]))
        assert np.isfinite(seen).all() and np.isfinite(earned).all()
        assert over[0] == terminated == infos["diverged"][0]
        rewards.append(reward)
        steps += 1
        if over.any():
            break
    assert terminated and 1 <= steps < 20


@pytest.mark.parametrize("vector", [False, True])
def test_a_start_next_to_the_target_earns_bounded_rewards(vector: bool) -> None:
    """And the return is still the share of the distance removed, with distances counted up to ten times the first."""
    near: dict[str, Any] = {"init": "perturbed", "init_scale": 1e-6, "target": "trained", "tolerance": 0.0}
    near |= {"target_options": {"steps": 1, "learning_rate": 1e-6}, "pool_options": {"n": 60}, "budget": 12}
    env = TeachVectorEnv(num_envs=1, **near) if vector else TeachEnv(**near)
    _, info = env.reset(seed=0)
    first, rewards = float(np.squeeze(info["distance"])), []
    for t in range(12):
        _, reward, _, _, info = env.step(np.array([t % 5]) if vector else t % 5)
        rewards.append(float(np.squeeze(reward)))
    last = float(np.squeeze(info["distance"]))
    assert last > 100 * first, "else this tests nothing"
    assert max(np.abs(rewards)) <= 100 * FARTHEST
    assert sum(rewards) == pytest.approx(100 * (1 - min(last / first, FARTHEST)), rel=1e-9)


def test_progress_is_the_share_of_the_distance_where_learners_stay_near(rng: np.random.Generator) -> None:
    env = TeachEnv(pool_options={"n": 60}, budget=10)
    _, info = env.reset(seed=1)
    first = before = info["distance"]
    for _ in range(10):
        _, reward, _, _, info = env.step(int(rng.integers(5)))
        assert info["distance"] < FARTHEST * first
        assert reward == pytest.approx(100 * (before - info["distance"]) / first, rel=1e-12)
        before = info["distance"]


@pytest.mark.parametrize(
    "case", [{}, {"dtype": "float32"}, {"reward": "log_progress"}, {"learning_rate": 1e300}], ids=str
)
def test_compiled_runs_diverge_alike(case: dict[str, Any]) -> None:
    pytest.importorskip("numba")
    arrays, loop = (
        TeachVectorEnv(num_envs=3, autoreset_mode="disabled", compiled=compiled, **{**WILD, **case})
        for compiled in (False, True)
    )
    arrays.reset(seed=3)
    loop.reset(seed=3)
    for _ in range(20):
        expected, found = (env.step(np.zeros(3, dtype=np.int64)) for env in (arrays, loop))
        assert np.isfinite(found[0]).all() and np.isfinite(found[1]).all()
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-4)
        np.testing.assert_array_equal(found[2], expected[2])
        np.testing.assert_array_equal(found[4]["diverged"], found[2])
        if found[2].any():
            return
    pytest.fail("no learner diverged")
