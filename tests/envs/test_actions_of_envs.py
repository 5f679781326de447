"""What the single environment takes as an action, and what it refuses."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from conftest import continuous_variants, variant

from teach_gym.envs.base import TeachEnv
from teach_gym.registration import env_id
from teach_gym.teachers import make_teacher

BAD_ACTIONS: list[tuple[bool, Any, type[Exception], str]] = [
    (False, 5, ValueError, r"\[0, 5\).*5"),
    (False, -1, ValueError, r"\[0, 5\).*-1"),
    (False, 10**20, (ValueError, TypeError), "actions"),
    (False, 1.0, TypeError, "integers.*float"),
    (False, True, TypeError, "integers.*dtype bool"),
    (False, [True], TypeError, "not True or False"),
    (False, np.timedelta64(1), TypeError, "integers"),
    (False, [[1], [2, 3]], TypeError, "numbers of one shape"),
    (False, "1", TypeError, "integers"),
    (False, None, TypeError, "integers"),
    (False, np.array([[1]]), ValueError, r"shape \(\), or \(1,\) as a batch of one, got \(1, 1\)"),
    (False, [0, 1], ValueError, r"got \(2,\)"),
    (False, np.array([5]), ValueError, r"\[0, 5\).*5"),
    (False, np.array([1.0]), TypeError, "integers.*float"),
    (True, np.nan, ValueError, r"got \(\)"),
    (True, np.array([[[np.nan]]]), ValueError, "finite.*nan"),
    (True, np.array([[np.nan]]), ValueError, "finite.*nan"),
    (True, np.array([[np.inf]]), ValueError, "finite.*inf"),
    (True, np.zeros((2, 1)), ValueError, r"shape \(1, 1\), or \(1, 1, 1\) as a batch of one, got \(2, 1\)"),
    (True, np.zeros((2, 1, 1)), ValueError, r"got \(2, 1, 1\)"),
    (True, 0.5, ValueError, "shape"),
    (True, "a", (ValueError, TypeError), "a"),
    (True, [["0.5"]], TypeError, "real numbers.*'0.5'"),
    (True, [[True]], TypeError, "not True or False"),
    (True, np.ones((1, 1), dtype=complex), TypeError, "real numbers.*complex"),
    (True, [[10**400]], TypeError, "real numbers"),
    (True, np.full((1, 1), 0.5, dtype=object), TypeError, "real numbers.*object"),
]


@pytest.mark.parametrize(("continuous", "action", "kind", "message"), BAD_ACTIONS, ids=str)
def test_bad_actions_are_refused_and_change_nothing(
    continuous: bool, action: Any, kind: type[Exception], message: str
) -> None:
    env, clean = (TeachEnv(**variant("label-grid", continuous=continuous)) for _ in range(2))
    env.reset(seed=0)
    clean.reset(seed=0)
    with pytest.raises(kind, match=message):
        env.step(action)
    good = np.array([[0.3]], dtype=np.float32) if continuous else 1
    np.testing.assert_array_equal(env.step(good)[0], clean.step(good)[0])


@pytest.mark.parametrize("kind", [int, np.int64, np.int32, np.uint8, np.array], ids=lambda k: k.__name__)
def test_any_integer_is_an_action(kind: Any) -> None:
    env, clean = (TeachEnv(**variant("label-grid")) for _ in range(2))
    env.reset(seed=0)
    clean.reset(seed=0)
    np.testing.assert_array_equal(env.step(kind(3))[0], clean.step(3)[0])


def test_the_action_of_a_teacher_is_an_action(name: str) -> None:
    """A teacher acts on batches; its batch of one fits the single environment."""
    env, clean = (gym.make(env_id(name), budget=4) for _ in range(2))
    for teacher in (make_teacher("greedy"), make_teacher("passive")):
        env.reset(seed=1)
        clean.reset(seed=1)
        action = teacher(env.unwrapped.task, env.unwrapped.state)
        assert action.shape == (1,)
        np.testing.assert_array_equal(env.step(action)[0], clean.step(int(action[0]))[0])


@pytest.mark.parametrize("which", continuous_variants())
def test_a_batch_of_one_is_an_action_of_the_continuous_flavour(which: str) -> None:
    env, clean = (TeachEnv(**variant(which, continuous=True)) for _ in range(2))
    env.reset(seed=1)
    clean.reset(seed=1)
    actions = [env.action_space.sample()[None], make_teacher("passive")(env.task, env.state)]
    for action in actions:
        assert action.shape == (1, *env.action_space.shape)
        np.testing.assert_array_equal(env.step(action)[0], clean.step(action[0])[0])


def test_continuous_actions_outside_the_box_are_projected() -> None:
    env, clean = (TeachEnv(**variant("label-grid", continuous=True)) for _ in range(2))
    env.reset(seed=0)
    clean.reset(seed=0)
    np.testing.assert_array_equal(env.step(np.array([[7.0]]))[0], clean.step(np.array([[1.0]]))[0])
