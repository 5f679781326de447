"""The reward thresholds: complete, the greedy oracle's, and the returns that environments give."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from conftest import genuine

from teach_gym.core.build import make_task
from teach_gym.registration import TASKS, env_id, reward_thresholds
from teach_gym.teachers import make_teacher
from tools import thresholds


def test_every_task_has_a_threshold() -> None:
    assert set(reward_thresholds()) == set(TASKS), "run python -m tools.thresholds"


@pytest.mark.parametrize("name", genuine(TASKS))
def test_the_threshold_is_what_the_greedy_oracle_earns(name: str) -> None:
    values = thresholds.returns(make_task(name), "greedy", range(20))
    spec = gym.spec(env_id(name))
    assert spec.reward_threshold == reward_thresholds()[name]
    assert abs(values.mean() - spec.reward_threshold) < 0.1 + 4.0 * values.std(ddof=1) / np.sqrt(20)
    assert thresholds.returns(make_task(name), "passive", range(20)).mean() < spec.reward_threshold


@pytest.mark.parametrize("tolerance", [1e-3, 0.3])
def test_returns_are_those_of_the_environment(tolerance: float) -> None:
    """Seed by seed, with episodes that end at different steps by the tolerance."""
    env, teacher = gym.make(env_id("MixedMoons"), tolerance=tolerance), make_teacher("greedy")
    expected, lengths = [], set()
    for seed in range(5):
        env.reset(seed=seed)
        total, over, steps = 0.0, False, 0
        while not over:
            _, reward, over, _, _ = env.step(teacher(env.unwrapped.task, env.unwrapped.state))
            total, steps = total + float(reward), steps + 1
        expected.append(total)
        lengths.add(steps)
    np.testing.assert_allclose(thresholds.returns(env.unwrapped.task, "greedy", range(5)), expected, rtol=1e-9)
    assert (len(lengths) > 1) == (tolerance == 0.3)


def test_measured_thresholds_are_means_rounded_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thresholds, "returns", lambda task, teacher, seeds: np.array([1.0, 1.1, 1.18]))
    assert thresholds.measured(["LabelMoons"]) == {"LabelMoons": 1.0}
