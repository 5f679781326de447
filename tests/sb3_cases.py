"""Models, environments and helpers of the tests with Stable-Baselines3."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from conftest import variant

pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")

import torch
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.vec_env import DummyVecEnv

from teach_gym.core.randomness import Streams
from teach_gym.core.state import Task, TeachState
from teach_gym.core.task import reset
from teach_gym.envs.base import TeachEnv
from teach_gym.envs.vector import TeachVectorEnv
from teach_gym.integrations.sb3.vec_env import TeachVecEnv
from teach_gym.teachers import Teacher, follow

torch.set_num_threads(1)  # small networks: more threads only get in the way

STAGGERED: dict[str, Any] = {"tolerance": 2.0, "learning_rate": 1.0, "budget": 7}
"""With these, episodes end at different steps, by the tolerance or by the budget."""
FLAVOURS = [("label-grid", False), ("label-grid", True), ("label-mix-uniform", True), ("perturb-ball", True)]
flavours = pytest.mark.parametrize(
    ("which", "continuous"), [*FLAVOURS, ("select", False), ("momentum", False)], ids=str
)
OFF = {"learning_starts": 20, "batch_size": 16, "buffer_size": 500, "policy_kwargs": {"net_arch": [16, 16]}}
ON = {"n_steps": 8, "policy_kwargs": {"net_arch": [16, 16]}}
ALGORITHMS: dict[str, tuple[Any, bool, dict[str, Any]]] = {
    "PPO": (PPO, False, {**ON, "batch_size": 16, "n_epochs": 2}),
    "PPO-box": (PPO, True, {**ON, "batch_size": 16, "n_epochs": 2}),
    "A2C": (A2C, False, ON),
    "DQN": (DQN, False, OFF),
    "SAC": (SAC, True, OFF),
    "TD3": (TD3, True, OFF),
}
every_algorithm = pytest.mark.parametrize("name", ALGORITHMS)


def native(n: int = 4, which: str = "label-grid", **changes: Any) -> TeachVecEnv:
    return TeachVecEnv(TeachVectorEnv(n, autoreset_mode="same_step", **variant(which, **changes)))


def dummy(n: int = 4, which: str = "label-grid", **changes: Any) -> DummyVecEnv:
    return DummyVecEnv([lambda: TeachEnv(**variant(which, **changes))] * n)


def model_of(name: str, env: Any, **changes: Any) -> Any:
    algorithm, _, options = ALGORITHMS[name]
    options = copy.deepcopy({**options, **changes})  # SB3 adds to policy_kwargs
    return algorithm("MlpPolicy", env, seed=0, device="cpu", **options)


def trained(name: str, env: Any = None, steps: int = 96, **changes: Any) -> Any:
    env = native(continuous=ALGORITHMS[name][1], **changes) if env is None else env
    return model_of(name, env).learn(steps)


def rollout(task: Task, teacher: Teacher, rng: Streams) -> tuple[list[np.ndarray], TeachState]:
    """The choices of a teacher that teaches for the whole budget, and the last state."""
    state = reset(task, rng)
    teacher.check(task)
    choices = []
    for _ in range(task.spec.budget):
        choices.append(teacher(task, state))
        state = follow(task, state, Fixed(choices[-1])).state
    return choices, state


class Fixed(Teacher):
    def __init__(self, choice: Any) -> None:
        self.choice = choice

    def __call__(self, task: Task, state: TeachState) -> Any:
        return self.choice
