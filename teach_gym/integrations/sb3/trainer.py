"""Resumable trainings with Stable-Baselines3's A2C, PPO, DQN, SAC and TD3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from teach_gym.calls import parse_call
from teach_gym.errors import DATA_MEMORY, affordable
from teach_gym.integrations.sb3.export import network_of
from teach_gym.integrations.sb3.hyperparams import ALGORITHMS, Hyperparams
from teach_gym.integrations.sb3.log import sb3_logger
from teach_gym.integrations.sb3.start import start_at_oracle
from teach_gym.integrations.sb3.state import model_state, reseed, restart, restore_model
from teach_gym.integrations.sb3.vec_env import make_vec_env
from teach_gym.records.runlog import RunLog
from teach_gym.teachers.perceptron import Network

ROWS = 100
"""Approximate number of rows of SB3's own values logged in a training."""


def make_model(task: str, hyperparams: Hyperparams, seed: int, device: str = "cpu") -> BaseAlgorithm:
    """An untrained model with its environment: native, monitored and, if requested, normalised.

    Args:
        task: the task as text, such as ``LabelMoons:budget=40``.
        hyperparams: the algorithm and its hyper-parameters; their ``env_kwargs`` are not used.
        seed: determines all randomness.
        device: the device of the networks.

    Raises:
        ValueError: hyper-parameters that the algorithm does not take, or a task that cannot be built.
        TooLargeError: environments or a buffer that do not fit in memory.
    """
    short, changes = parse_call(task, "task")
    env: Any = VecMonitor(make_vec_env(short, hyperparams.n_envs, seed, **changes))
    if hyperparams.normalize is not None:
        env = VecNormalize(env, **hyperparams.normalize)
    options = dict(hyperparams.arguments)
    _check_memory(options, env)
    if hyperparams.noise is not None:
        options["action_noise"] = hyperparams.action_noise(env.action_space.shape)
    try:
        model = ALGORITHMS[hyperparams.algo](env=env, seed=seed, device=device, **options)
    except (AssertionError, TypeError, ValueError) as error:
        raise ValueError(f"{hyperparams.algo} does not take these hyper-parameters: {error}") from error
    if hyperparams.at_oracle:
        start_at_oracle(model)
    return model


def _check_memory(options: dict[str, Any], env: Any) -> None:
    """Check what the buffer of observations will need.

    Raises:
        TooLargeError: more than is allowed.
    """
    entries = 2 * env.observation_space.shape[0] + int(np.prod(env.action_space.shape)) + 4
    steps = max(options.get("buffer_size", 0), options.get("n_steps", 0) * env.num_envs)
    affordable(f"a buffer of {steps:,} steps", 4 * entries * steps, DATA_MEMORY)


class Sb3Trainer:
    """A training of an SB3 model; see ``teach_gym.training.program.Trainer``.

    New episodes start after each evaluation, so the learned parameters, the counters and the statistics of a checkpoint
    are enough to resume exactly.

    Args:
        task: the task as text.
        hyperparams: the algorithm and its hyper-parameters.
        seed: determines all randomness.
        device: the device of the networks.
    """

    def __init__(self, task: str, hyperparams: Hyperparams, seed: int, device: str = "cpu") -> None:
        self.model = make_model(task, hyperparams, seed, device)
        self.seed, self.total = seed, hyperparams.n_timesteps
        assert self.model.env is not None
        self.task: Any = self.model.env.get_attr("task")[0]

    @property
    def step(self) -> int:
        """Teaching steps taken, all environments together."""
        return int(self.model.num_timesteps)

    def run(self, log: RunLog, every: int, pause: Callable[[], None], advance: Callable[[int], object]) -> None:
        """Train to the end."""
        restart(self.model, self.seed, self.step)
        self.model.set_logger(sb3_logger(log))
        milestones = _Milestones(self, every, pause, advance)
        self.model.learn(self.total - self.step, milestones, log_interval=None, reset_num_timesteps=False)
        self.model.dump_logs()

    def network(self) -> Network:
        """The deterministic policy."""
        return network_of(self.model)

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Everything that determines how the training continues: tensors and plain numbers."""
        return model_state(self.model)

    def restore(self, tensors: dict[str, Any], numbers: dict[str, Any]) -> str:
        """Continue from a ``state``."""
        return "" if restore_model(self.model, tensors, numbers) else "with an empty replay buffer"


class _Milestones(BaseCallback):  # type: ignore[misc]
    """Logs SB3's values, pauses the training, and starts new episodes after each pause.

    The steps at which values are logged do not depend on where the training was resumed. Before each pause all values
    are logged, so that none is pending at a checkpoint.
    """

    def __init__(
        self, trainer: Sb3Trainer, every: int, pause: Callable[[], None], advance: Callable[[int], object]
    ) -> None:
        super().__init__()
        self.trainer, self.every, self.pause, self.advance = trainer, every, pause, advance
        self.log_every, self.last, self.begins = max(1, trainer.total // ROWS), trainer.step, True

    def _on_step(self) -> bool:
        self.advance(self.training_env.num_envs)
        return True

    def _on_rollout_start(self) -> None:
        step, last = self.trainer.step, self.last
        due = step // self.every > last // self.every
        if due or step // self.log_every > last // self.log_every:
            self.model.dump_logs()
            self.last = step
        if due:
            self.pause()
            restart(self.model, self.trainer.seed, step)
        elif self.begins:  # SB3 has drawn exploration noise since the restart
            reseed(self.model, self.trainer.seed, step)
        self.begins = False
