"""Mixup teaching of image learners as environments (DHT 4.1): API glue over ``teach_gym.neural.mixup``, no maths.

This module needs torch; it is loaded when such an environment is made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv

from teach_gym.core.backend import Array
from teach_gym.core.randomness import draw_keys
from teach_gym.envs.autoreset import AutoresetVectorEnv, Bools, Floats, Ints, Keys
from teach_gym.envs.base import shown_name
from teach_gym.envs.checks import (
    RENDER_MODES,
    batch_of_one,
    check_indices,
    check_options,
    check_render_mode,
    checked_seed,
)
from teach_gym.neural.mixup import Trainings
from teach_gym.neural.mixup_spec import MixupSpec, load_images
from teach_gym.render.film import SIZE, checked_size
from teach_gym.render.training import PAIRS, Reel, draw_training


def observation_space() -> Box:
    """Share of the training completed, mean training loss, best validation loss."""
    return Box(np.zeros(3, np.float32), np.array([1.0, np.inf, 1.0], np.float32), dtype=np.float32)


def action_space(spec: MixupSpec) -> Box | Discrete:
    """The coefficients of a training: one of a fixed set, or any number in [0, 1]."""
    return Box(0.0, 1.0, (), np.float32) if spec.continuous else Discrete(len(spec.coefficients))


def coefficients(spec: MixupSpec, actions: Any, n: int) -> npt.NDArray[np.float32]:
    """The mixup coefficients of actions: (n,).

    Raises:
        ValueError: wrong shape, or a value out of range.
        TypeError: not integers where integers are needed.
    """
    if not spec.continuous:
        choices = np.asarray(spec.coefficients, dtype=np.float32)
        chosen: npt.NDArray[np.float32] = choices[check_indices(actions, n, len(choices))]
        return chosen
    values = np.asarray(actions, dtype=np.float32)
    if values.shape != (n,):
        raise ValueError(f"actions must have shape ({n},), got {values.shape}")
    if not ((values >= 0.0) & (values <= 1.0)).all():
        raise ValueError(f"actions must lie in [0, 1], got {values}")
    return values


def told(trainings: Trainings) -> dict[str, Array]:
    """The entries of ``info`` for all trainings, (S,) each, the same at reset and step."""
    loss = np.where(trainings.t > 0, trainings.loss, np.nan)
    return {"training_loss": loss, "validation_accuracy": trainings.accuracy.copy()}


def _reel(trainings: Trainings, i: int, name: str) -> Reel:
    """The history of a training that has just started."""
    spec = trainings.spec
    reel = Reel(trainings.horizon, task=name, learner=f"network {spec.network}")
    reel.add(math.nan, float(trainings.validation_loss[i]), float(trainings.accuracy[i]))
    return reel


def _filmed(reel: Reel, trainings: Trainings, i: int, coefficient: float) -> None:
    """Add the step that a training has just taken; steps after its end are left out."""
    if trainings.t[i] > trainings.horizon:
        return
    reel.add(float(trainings.loss[i]), float(trainings.validation_loss[i]), float(trainings.accuracy[i]))
    reel.coefficient, reel.images = coefficient, trainings.taught(i, PAIRS)


def _drawn(reel: Reel | None, trainings: Trainings, i: int, size: tuple[int, int]) -> Any:
    """A picture of training i if it is filmed, else a line of text.

    Raises:
        RuntimeError: it has not been started.
    """
    return trainings.line(i) if reel is None else draw_training(reel, size)


def _seed(key: np.uint64) -> int:
    """The seed of an episode, in the range that torch accepts."""
    return int(key) >> 1


class NeuralMixupEnv(gym.Env[Floats, Any]):
    """Mixup teaching of an image learner: a coefficient for each mini-batch of one training.

    ## Description
    A CNN is trained with Adam. At each step two mini-batches are drawn; the learner is shown c x1 + (1 - c) x2 with the
    label c y1 + (1 - c) y2 (DHT Eq. 7), and the teacher chooses c. The learner is a black box: neither a target nor
    test images are involved, and the teacher only sees losses on the mini-batches shown and on validation images.

    ## Action space
    Discrete: the given ``coefficients``. Continuous: any coefficient in [0, 1].

    ## Observation space
    Three numbers: the share of the training completed, the mean loss on the examples shown so far, and the best
    validation loss relative to the first. Validation images are evaluated every ``look_every`` steps and at the end.

    ## Rewards
    ``holdout_accuracy`` (default): the validation accuracy after the last step, zero earlier. ``holdout_progress``: the
    percentage of the first validation loss removed since the last evaluation. ``holdout_log_progress``: 10 times the
    decrease of its logarithm. ``steps_to_accuracy``: minus one per step.

    ## Starting state
    A network with random weights, and the mini-batches of the whole training.

    ## Episode end
    Terminated after ``epochs`` passes over the training images; with ``steps_to_accuracy`` also when an evaluation
    finds a validation accuracy of at least ``zeta``. Truncated only by ``max_episode_steps``.

    ## Info
    The same entries at reset and at every step: ``training_loss``, that of the mini-batch just shown (nan at reset),
    and ``validation_accuracy`` at the last evaluation. Oracles cannot teach here, since there is no ``state``;
    ``trainings`` holds the network and its losses.

    ## Vector environment
    ``gym.make_vec`` makes one that trains all learners as one stack. With the same actions, sub-environment i of a
    vector environment seeded with s has the networks and mini-batches of a single environment seeded with s + i.
    Rewards agree up to rounding in float32, which long trainings amplify.

    ## Arguments
    Any field of ``teach_gym.neural.mixup.MixupSpec`` can be passed to ``gym.make``, such as ``pool="cifar10"`` for the
    lossless images in torchvision's layout, ``epochs`` or ``device="cuda"``. ``pool="patterns"`` makes synthetic ones.

    Args:
        render_mode: ``rgb_array`` (pictures of the last mini-batch and the losses so far), ``ansi`` (one line of text)
            or None.
        render_size: width and height of the images.
        **spec: the training.
    """

    metadata: dict[str, Any] = {"render_modes": list(RENDER_MODES), "render_fps": 10}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None, render_size: Sequence[int] = SIZE, **spec: Any) -> None:
        check_render_mode(render_mode)
        self.render_size = checked_size(render_size)
        self.render_mode, self.task = render_mode, MixupSpec(**spec)
        self.trainings = Trainings(self.task, load_images(self.task)[0], 1)
        self.action_space = action_space(self.task)
        self.observation_space: gym.Space[Any] = observation_space()
        self._playing = False
        self._reel: Reel | None = None

    @property
    def state(self) -> NoReturn:
        """Not available: a network's weights are not a ``TeachState``. Use ``trainings``.

        Raises:
            AttributeError: always.
        """
        raise AttributeError("a network has no TeachState, which oracles need; use `trainings` for its training")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Start a training with a new network and new mini-batches.

        Args:
            seed: seeds the environment's generator, as Gymnasium's.
            options: there are none; a non-empty dictionary is an error.
        """
        check_options(options)
        super().reset(seed=checked_seed(seed))
        self.trainings.start([0], [_seed(draw_keys(self.np_random, 1)[0])])
        self._playing = True
        if self.render_mode == "rgb_array":
            self._reel = _reel(self.trainings, 0, shown_name(self.spec))
        return self.trainings.observation()[0], self._info()

    def step(self, action: Any) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """Train the learner on one mixed mini-batch.

        Raises:
            ValueError: an action outside the action space.
            TypeError: an action that is not an integer where one is required.
            RuntimeError: the episode is over or was not started.
            FloatingPointError: the training diverged.
        """
        if not self._playing:
            raise RuntimeError("call reset() before step(): the episode is over or was not started")
        chosen = coefficients(self.task, batch_of_one(action, self.action_space), 1)
        reward, over = self.trainings.teach(chosen)
        self._playing = not over[0]
        if self._reel is not None:
            _filmed(self._reel, self.trainings, 0, float(chosen[0]))
        return self.trainings.observation()[0], float(reward[0]), bool(over[0]), False, self._info()

    def _info(self) -> dict[str, Any]:
        return {key: values[0] for key, values in told(self.trainings).items()}

    def render(self) -> Any:
        """Render a frame: an RGB array (rows, columns, 3) or one line of text.

        Raises:
            RuntimeError: before the first reset.
        """
        if self.render_mode is None:
            gym.logger.warn("render() was called without a render_mode; pass render_mode='rgb_array' to make()")
            return None
        return _drawn(self._reel, self.trainings, 0, self.render_size)


class NeuralMixupVectorEnv(AutoresetVectorEnv, VectorEnv[Floats, Any, Any]):
    """The vector environment of ``NeuralMixupEnv``: the learners are trained as one stack.

    With the same seed, sub-environment i has the networks, mini-batches and rewards of a single environment seeded
    seed + i, up to rounding in float32, which long trainings amplify.

    Args:
        num_envs: number B of sub-environments.
        render_mode: ``rgb_array``, ``ansi`` or None; ``render`` returns a tuple with one frame per sub-environment.
        render_size: width and height of the images.
        autoreset_mode: ``next_step``, ``same_step`` or ``disabled``.
        max_episode_steps: truncate episodes after this many steps (None: never).
        **spec: the training, see ``NeuralMixupEnv``.
    """

    metadata: dict[str, Any] = {**NeuralMixupEnv.metadata, "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int = 1,
        render_mode: str | None = None,
        autoreset_mode: str | AutoresetMode = "next_step",
        max_episode_steps: int | None = None,
        render_size: Sequence[int] = SIZE,
        **spec: Any,
    ) -> None:
        check_render_mode(render_mode)
        self.render_size = checked_size(render_size)
        self.render_mode, self.task = render_mode, MixupSpec(**spec)
        spaces = action_space(self.task), observation_space()
        super().__init__(num_envs, *spaces, autoreset_mode, max_episode_steps)
        self.trainings = Trainings(self.task, load_images(self.task)[0], num_envs)
        self._reels: dict[int, Reel] = {}

    @property
    def horizon(self) -> int:
        """Steps of a training."""
        return self.trainings.horizon

    def _start(self, rows: Ints, keys: Keys) -> None:
        self.trainings.start(rows.tolist(), [_seed(key) for key in keys])
        if self.render_mode == "rgb_array":
            self._reels |= {i: _reel(self.trainings, i, shown_name(self.spec)) for i in rows.tolist()}

    def _checked(self, actions: Any) -> Array:
        return coefficients(self.task, actions, self.num_envs)

    def _advance(self, actions: Array) -> tuple[Array, Bools]:
        with np.errstate(over="ignore", invalid="ignore"):  # learners that diverge
            earned = self.trainings.teach(actions)
        for i, reel in self._reels.items():
            _filmed(reel, self.trainings, i, float(actions[i]))
        return earned

    def _observe(self) -> Floats:
        return self.trainings.observation()

    def _info(self) -> dict[str, Array]:
        return told(self.trainings)

    def _elapsed(self) -> Ints:
        return self.trainings.t

    def _frame(self, i: int) -> Any:
        return _drawn(self._reels.get(i), self.trainings, i, self.render_size)
