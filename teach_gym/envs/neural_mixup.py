"""Mixup teaching of image learners as environments (DHT 4.1): glue over ``teach_gym.neural.mixup``, no maths here.

This module needs torch; it is loaded when such an environment is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box, Discrete
from gymnasium.utils.seeding import np_random
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from teach_gym.envs.base import INTEGERS, check_options
from teach_gym.envs.vector import lookup_autoreset_mode
from teach_gym.errors import positive
from teach_gym.neural.mixup import Trainings
from teach_gym.neural.mixup_spec import MixupSpec, load_images

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
_SEEDS = 2**62


def observation_space() -> Box:
    """Share of the training that is over, mean training loss, best validation loss."""
    return Box(np.zeros(3, np.float32), np.array([1.0, np.inf, 1.0], np.float32), dtype=np.float32)


def action_space(spec: MixupSpec) -> Box | Discrete:
    """The coefficients of a training: one of a few, or any."""
    return Box(0.0, 1.0, (), np.float32) if spec.continuous else Discrete(len(spec.coefficients))


def coefficients(spec: MixupSpec, actions: Any, n: int) -> npt.NDArray[np.float32]:
    """The mixup coefficients of actions: (n,).

    Raises:
        ValueError: wrong shape, or a value out of range.
        TypeError: not integers where integers are needed.
    """
    given = np.asarray(actions)
    if given.shape != (n,):
        raise ValueError(f"actions must have shape ({n},), got {given.shape}")
    if spec.continuous:
        values: npt.NDArray[np.float32] = given.astype(np.float32)
        if not ((values >= 0.0) & (values <= 1.0)).all():
            raise ValueError(f"actions must lie in [0, 1], got {given}")
        return values
    choices = np.asarray(spec.coefficients, dtype=np.float32)
    if given.dtype.kind not in "iu":
        raise TypeError(f"actions must be integers in [0, {len(choices)}), got dtype {given.dtype}")
    if not ((given >= 0) & (given < len(choices))).all():
        raise ValueError(f"actions must lie in [0, {len(choices)}), got {given}")
    found: npt.NDArray[np.float32] = choices[given]
    return found


class NeuralMixupEnv(gym.Env[Floats, Any]):
    """Mixup teaching of an image learner: a coefficient for each mini-batch of one training.

    ## Description
    A CNN is trained by Adam. At each step two mini-batches are drawn; the learner is shown c x1 + (1 - c) x2 with the
    label c y1 + (1 - c) y2 (DHT Eq. 7), and the teacher chooses c. It is a black box: neither a target nor test
    images are involved, and what the teacher sees was measured on the mini-batches shown and on validation images.

    ## Action space
    Discrete: the coefficients {0, .5, 1}. Continuous: any coefficient in [0, 1].

    ## Observation space
    Three numbers: the share of the training that is over, the mean loss on the examples shown so far, and the best
    validation loss relative to the first. Validation images are looked at every ``look_every`` steps and at the end.

    ## Rewards
    ``holdout_accuracy`` (default): the validation accuracy after the last step, zero before. ``holdout_progress``: the
    per cent of the first validation loss removed since the last look. ``steps_to_accuracy``: minus one a step.

    ## Starting state
    A network with random weights, and the mini-batches of the whole training.

    ## Episode end
    Terminated after ``epochs`` passes over the training images; with ``steps_to_accuracy`` also when a look finds the
    validation accuracy ``zeta``. Never truncated by itself. ``info`` of a step holds ``training_loss``, that of the
    mini-batch shown; at the end also ``validation_accuracy``.

    ## Arguments
    Any field of ``teach_gym.neural.mixup.MixupSpec`` can be given to ``gym.make``, such as ``pool="cifar10"`` for the
    lossless images in torchvision's layout, ``epochs`` or ``device="cuda"``. Made-up images: ``pool="patterns"``.

    Args:
        render_mode: ``ansi`` (one line of text) or None.
        **spec: the training.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None, **spec: Any) -> None:
        _check_render_mode(render_mode)
        self.render_mode, self.task = render_mode, MixupSpec(**spec)
        self.trainings = Trainings(self.task, load_images(self.task)[0], 1)
        self.action_space = action_space(self.task)
        self.observation_space: gym.Space[Any] = observation_space()
        self._playing = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Start a training with a new network and new mini-batches.

        Args:
            seed: seeds the environment's generator, as Gymnasium's.
            options: none are known; a non-empty dictionary is refused.
        """
        super().reset(seed=seed)
        check_options(options)
        self.trainings.start([0], [_episode_seed(self.np_random)])
        self._playing = True
        return self.trainings.observation()[0], {}

    def step(self, action: Any) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """Train the learner on one mixed mini-batch.

        Raises:
            ValueError: an action outside the action space.
            TypeError: an action that is not an integer where one is needed.
            RuntimeError: the episode is over or was not started.
            FloatingPointError: the training diverged.
        """
        if not self._playing:
            raise RuntimeError("call reset() before step(): the episode is over or was not started")
        chosen = coefficients(self.task, np.asarray(action)[None], 1)
        reward, over = self.trainings.teach(chosen)
        self._playing = not over[0]
        info = {"training_loss": float(self.trainings.loss[0])}
        if over[0]:
            info["validation_accuracy"] = float(self.trainings.accuracy[0])
        return self.trainings.observation()[0], float(reward[0]), bool(over[0]), False, info

    def render(self) -> Any:
        """One line of text.

        Raises:
            RuntimeError: before the first reset.
        """
        if self.render_mode is None:
            gym.logger.warn("render() was called without a render_mode; pass render_mode='ansi' to make()")
            return None
        return self.trainings.line(0)


class NeuralMixupVectorEnv(VectorEnv[Floats, Any, Any]):
    """The vector environment of ``NeuralMixupEnv``: the learners are trained as one stack.

    With the same seed, sub-environment i has the networks, mini-batches and rewards of a single environment seeded
    seed + i, up to rounding in float32, which long trainings amplify.

    Args:
        num_envs: number B of sub-environments.
        render_mode: ``ansi`` (``render`` gives a tuple with a line each) or None.
        autoreset_mode: ``next_step``, ``same_step`` or ``disabled``.
        **spec: the training, see ``NeuralMixupEnv``.
    """

    metadata: dict[str, Any] = {**NeuralMixupEnv.metadata, "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int = 1,
        render_mode: str | None = None,
        autoreset_mode: str | AutoresetMode = "next_step",
        **spec: Any,
    ) -> None:
        _check_render_mode(render_mode)
        positive("num_envs", num_envs, integer=True)
        self.autoreset_mode = lookup_autoreset_mode(autoreset_mode)
        self.metadata = {**type(self).metadata, "autoreset_mode": self.autoreset_mode}
        self.num_envs, self.render_mode, self.task = num_envs, render_mode, MixupSpec(**spec)
        self.trainings = Trainings(self.task, load_images(self.task)[0], num_envs)
        self.single_action_space, self.single_observation_space = action_space(self.task), observation_space()
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._generators: list[np.random.Generator] = []
        self._over = np.zeros(num_envs, dtype=np.bool_)
        self._started = False

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        """Start a training in every sub-environment, or in those of ``options["reset_mask"]``.

        Args:
            seed: sub-environment i is seeded with seed + i (or with the i-th entry of a list); None goes on
                with the generators there are.
            options: ``reset_mask``, (B,) bool, as in Gymnasium's vector environments.

        Raises:
            ValueError: a list of seeds or a mask that does not fit, or an unknown option.
            RuntimeError: a mask before the first reset.
        """
        options = dict(options or {})
        mask = options.pop("reset_mask", None)
        check_options(options)
        super().reset(seed=int(seed) if isinstance(seed, INTEGERS) else None)
        chosen = np.ones(self.num_envs, dtype=np.bool_) if mask is None else np.asarray(mask)
        if chosen.shape != (self.num_envs,) or chosen.dtype != np.bool_ or not chosen.any():
            raise ValueError(f"reset_mask must be ({self.num_envs},) bool with a True entry, got {mask!r}")
        if mask is not None and not self._started:
            raise RuntimeError("call reset() without a mask first")
        if seed is not None or not self._generators:
            seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, INTEGERS) else seed
            seeds = [None] * self.num_envs if seeds is None else list(seeds)
            if len(seeds) != self.num_envs:
                raise ValueError(f"a list of seeds must have {self.num_envs} entries, got {len(seeds)}")
            fresh = [np_random(own)[0] for own in seeds]
            old = self._generators or fresh
            self._generators = [new if c else kept for new, kept, c in zip(fresh, old, chosen, strict=True)]
        self._start(chosen)
        self._started = True
        return self.trainings.observation(), {}

    def step(self, actions: Any) -> tuple[Floats, npt.NDArray[np.float64], Bools, Bools, dict[str, Any]]:
        """One step of every sub-environment, with the autoreset of the chosen mode.

        Raises:
            ValueError: an action outside the action space.
            TypeError: actions that are not integers where integers are needed.
            RuntimeError: before the first reset, or (mode ``disabled``) a sub-environment's episode is over.
            FloatingPointError: a training diverged.
        """
        if not self._started:
            raise RuntimeError("call reset() before step()")
        chosen = coefficients(self.task, actions, self.num_envs)
        starting = self._over.copy()
        if starting.any() and self.autoreset_mode is AutoresetMode.DISABLED:
            raise RuntimeError(f"sub-environments {np.flatnonzero(starting)} are over: reset them by reset_mask")
        reward, over = np.zeros(self.num_envs), np.zeros(self.num_envs, dtype=np.bool_)
        if not starting.all():
            reward, over = self.trainings.teach(chosen)
        if starting.any():  # mode next_step: this step only starts their episodes
            self._start(starting)
            reward[starting], over[starting] = 0.0, False
        info: dict[str, Any] = {}
        self._tell(info, over, ~starting)
        self._over = over.copy()
        if self.autoreset_mode is AutoresetMode.SAME_STEP and over.any():
            self._restart(info, over)
        return self.trainings.observation(), reward, over, np.zeros_like(over), info

    def render(self) -> tuple[str, ...] | None:
        """A line of text for every sub-environment.

        Raises:
            RuntimeError: before the first reset.
        """
        if self.render_mode is None:
            gym.logger.warn("render() was called without a render_mode; pass render_mode='ansi' to make_vec()")
            return None
        return tuple(self.trainings.line(i) for i in range(self.num_envs))

    def _start(self, chosen: Bools) -> None:
        """New episodes for the chosen sub-environments, each from its generator."""
        rows = np.flatnonzero(chosen).tolist()
        self.trainings.start(rows, [_episode_seed(self._generators[i]) for i in rows])
        self._over = self._over & ~chosen

    def _tell(self, info: dict[str, Any], over: Bools, stepped: Bools) -> None:
        """Add what the step showed, with Gymnasium's masks."""
        info["training_loss"], info["_training_loss"] = self.trainings.loss.copy(), stepped.copy()
        if over.any():
            info["validation_accuracy"] = np.where(over, self.trainings.accuracy, 0.0)
            info["_validation_accuracy"] = over.copy()

    def _restart(self, info: dict[str, Any], over: Bools) -> None:
        """Mode ``same_step``: keep what the ended episodes showed last, then start new ones."""
        last, seen = np.full(self.num_envs, None, dtype=object), self.trainings.observation()
        for i in np.flatnonzero(over):
            last[i] = seen[i].copy()
        final = {key: value for key, value in info.items() if not key.startswith("_")}
        info["final_obs"], info["_final_obs"] = last, over.copy()
        info["final_info"] = final | {f"_{key}": over.copy() for key in final}
        info["_final_info"] = over.copy()
        self._start(over)


def _episode_seed(rng: np.random.Generator) -> int:
    return int(rng.integers(_SEEDS))


def _check_render_mode(render_mode: str | None) -> None:
    if render_mode not in (None, "ansi"):
        raise ValueError(f"render_mode must be None or ansi, got {render_mode!r}")
