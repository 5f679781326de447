"""Trainings with Stable-Baselines3 that begin as an oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from teach_gym.core.state import Task
from teach_gym.integrations.sb3.export import actor_of
from teach_gym.integrations.start import (
    ADVANTAGE,
    LESSONS,
    SHARPNESS,
    begin_at_oracle,
    linear_and_between,
    price,
    shown,
    statistics,
)


class OracleStart(BaseCallback):  # type: ignore[misc]
    """Makes a new model of A2C, PPO or DQN begin as an oracle.

    That is ``lqr`` with ``observation="farsighted"``, ``greedy`` with ``"lookahead"`` (with momentum, ``anticipating``)
    and ``holdout_rehearsal`` with ``"black_box_trial"``. The weights are those of ``teach_gym.integrations.start``; the
    statistics of ``VecNormalize`` are those of the oracle's lessons, and stay nearly as they are. With discrete actions
    and ``norm_reward=True``, rewards are divided by a constant that gives the Q-values of the start the right scale:
    what a wrong action costs differs between tasks by a factor of 200. RL-Zoo takes it as
    ``callback: teach_gym.sb3.OracleStart``.

    Raises:
        ValueError: when a training starts: a task with another observation, an algorithm with squashed actions (SAC,
            TD3), no ``VecNormalize``, or a network with too few units or another activation; with
            ``norm_reward=True`` a reward that does not pay for the oracle's choices.
    """

    def _on_training_start(self) -> None:
        if self.model.num_timesteps == 0:
            start_at_oracle(self.model)

    def _on_step(self) -> bool:
        return True


def start_at_oracle(model: BaseAlgorithm) -> None:
    """Set a model's policy and the statistics of its ``VecNormalize``; see ``OracleStart``."""
    env: Any = model.get_vec_normalize_env()
    if env is None or not env.norm_obs:
        raise ValueError("a start at the oracle needs VecNormalize with norm_obs=True")
    task: Task = env.get_attr("task")[0]
    layers, form = actor_of(model.policy)
    if form == "squashed":
        raise ValueError(f"a start at the oracle needs actions that are not squashed, got {type(model).__name__}")
    choice = shown(task, ADVANTAGE if hasattr(model, "q_net") else SHARPNESS)
    env.obs_rms.mean, env.obs_rms.var = statistics(task, model.seed or 0)
    env.obs_rms.count = LESSONS
    if env.norm_reward and not task.spec.continuous:
        env.ret_rms.var, env.ret_rms.count = (price(task, model.seed or 0) / ADVANTAGE) ** 2, LESSONS
    unit = float(np.sqrt(env.obs_rms.var[choice.entries.start] + env.epsilon))
    begin_at_oracle(linear_and_between(*layers), choice, unit)
    if hasattr(model, "q_net_target"):
        model.q_net_target.load_state_dict(model.q_net.state_dict())
