"""The base of the vector environments: seeds, masks, Gymnasium's autoreset modes, step limits and infos."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.utils.seeding import np_random
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from teach_gym.core.backend import Array
from teach_gym.core.randomness import draw_keys
from teach_gym.envs.checks import check_options, checked_seed
from teach_gym.errors import is_number, lookup_name, positive, shown

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
Step = tuple[Floats, Array, Bools, Bools, dict[str, Any]]

AUTORESET_MODES = {
    "next_step": AutoresetMode.NEXT_STEP,
    "same_step": AutoresetMode.SAME_STEP,
    "disabled": AutoresetMode.DISABLED,
}
_KEY_BLOCK = 64
"""Number of episode keys drawn from a sub-environment's generator at once (the keys are those of single draws)."""


def lookup_autoreset_mode(mode: str | AutoresetMode) -> AutoresetMode:
    """The autoreset mode with the given name, or the mode itself.

    Raises:
        ValueError: unknown name.
    """
    return lookup_name(
        "autoreset_mode", mode.name.lower() if isinstance(mode, AutoresetMode) else mode, AUTORESET_MODES
    )


class AutoresetVectorEnv(VectorEnv[Floats, Any, Any]):
    """A batch of runs as Gymnasium's vector environment; sub-environment i is seeded with seed + i.

    A derived class holds the runs and implements how they start, step and are drawn; the rest of Gymnasium's contract
    is implemented here. Derived classes also list ``VectorEnv`` as a base: some libraries check direct bases only.

    Args:
        num_envs: number B of sub-environments.
        action_space: the action space of one sub-environment.
        observation_space: the observation space of one sub-environment.
        autoreset_mode: ``next_step``, ``same_step`` or ``disabled``.
        max_episode_steps: truncate episodes after this many steps, as Gymnasium's ``TimeLimit`` does (None: never).

    Raises:
        ValueError: an unknown mode, or a number out of range.
        TypeError: a number that is not an integer.
    """

    def __init__(
        self,
        num_envs: int,
        action_space: gym.Space[Any],
        observation_space: gym.Space[Any],
        autoreset_mode: str | AutoresetMode,
        max_episode_steps: int | None,
    ) -> None:
        positive("num_envs", num_envs, integer=True)
        if max_episode_steps is not None:
            positive("max_episode_steps", max_episode_steps, integer=True)
        self.num_envs, self.max_episode_steps = int(num_envs), max_episode_steps
        self.autoreset_mode = lookup_autoreset_mode(autoreset_mode)
        self.metadata = {**type(self).metadata, "autoreset_mode": self.autoreset_mode}
        self.single_action_space, self.single_observation_space = action_space, observation_space
        self.action_space = batch_space(action_space, num_envs)
        self.observation_space = batch_space(observation_space, num_envs)
        self._reward_type: Any = np.float64
        self._everyone = np.ones(num_envs, dtype=np.bool_)
        self._over = np.zeros(num_envs, dtype=np.bool_)
        self._generators: list[np.random.Generator] = []
        self._keys = np.empty((num_envs, _KEY_BLOCK), dtype=np.uint64)
        self._used = np.full(num_envs, _KEY_BLOCK)

    # ------------------------------------------------------------------------------------- what a derived class adds

    task: Any
    """The task as it was built: a ``teach_gym.core.state.Task``, or the spec of a network's training."""

    @property
    @abstractmethod
    def horizon(self) -> int:
        """Steps after which every episode is over, if it did not end earlier."""

    @abstractmethod
    def _start(self, rows: Ints, keys: Keys) -> None:
        """Start episodes in the sub-environments ``rows``, each determined by its key."""

    @abstractmethod
    def _checked(self, actions: Any) -> Array:
        """Return the actions (B, ...) as an array, or raise an error that says what is wrong with them."""

    @abstractmethod
    def _advance(self, actions: Array) -> tuple[Array, Bools]:
        """Step every run, including those that are over; returns rewards and terminations in fresh arrays (B,)."""

    @abstractmethod
    def _observe(self) -> Floats:
        """The observations (B, O), a fresh array."""

    def _last(self, rows: Ints) -> Floats:
        """The observations of the sub-environments ``rows``, a fresh array."""
        return self._observe()[rows]

    @abstractmethod
    def _info(self) -> dict[str, Array]:
        """The entries of ``info`` for all sub-environments, (B, ...) each; nan where nothing was shown yet."""

    @abstractmethod
    def _elapsed(self) -> Ints:
        """Steps taken in the episodes: (B,)."""

    @abstractmethod
    def _frame(self, i: int) -> Any:
        """The picture of one sub-environment."""

    # ---------------------------------------------------------------------------------------------- Gymnasium's side

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        """Start an episode in every sub-environment, or in those of ``options["reset_mask"]``.

        Args:
            seed: sub-environment i is seeded with seed + i (or with the i-th entry of a list); None continues with
                the existing generators.
            options: ``reset_mask``, (B,) bool, as in Gymnasium's vector environments.

        Raises:
            TypeError: a seed that is no integer, or options that are no dictionary.
            ValueError: a negative seed, a list of seeds of the wrong length, an invalid mask, or an unknown option.
            RuntimeError: a mask is given before the first reset.
        """
        chosen = self._everyone
        if isinstance(options, Mapping):
            mask, options = options.get("reset_mask"), {k: v for k, v in options.items() if k != "reset_mask"}
            chosen = self._everyone if mask is None else self._mask(mask)
        check_options(options)
        seeds = self._seeds(seed)
        super().reset(seed=seeds[0] if is_number(seed) else None)
        self._seed(seeds, chosen)
        self._begin(chosen)
        info: dict[str, Any] = {}
        self._add(info, chosen, self._info())
        return self._observe(), info

    def step(self, actions: Any) -> Step:
        """One step of every sub-environment, with the autoreset of the chosen mode.

        Raises:
            ValueError: an action outside the action space.
            TypeError: actions that are not integers where integers are needed.
            RuntimeError: before the first reset, or (mode ``disabled``) a sub-environment's episode is over.
        """
        if not self._generators:
            raise RuntimeError("call reset() before step()")
        actions, starting = self._checked(actions), self._over
        n_starting = np.count_nonzero(starting)
        if n_starting and self.autoreset_mode is AutoresetMode.DISABLED:
            raise RuntimeError(f"sub-environments {np.flatnonzero(starting)} are over: reset them with reset_mask")
        if n_starting == self.num_envs:
            rewards = np.zeros(self.num_envs, dtype=self._reward_type)
            terminated = np.zeros(self.num_envs, dtype=np.bool_)
        else:
            rewards, terminated = self._advance(actions)
        if n_starting:  # mode next_step: this step only starts their episodes
            self._begin(starting)
            rewards[starting], terminated[starting] = 0.0, False
        truncated = self._truncated()
        self._over = terminated.copy() if self.max_episode_steps is None else terminated | truncated
        info: dict[str, Any] = {}
        if self.autoreset_mode is AutoresetMode.SAME_STEP and np.count_nonzero(self._over):
            self._finish(info)
        self._add(info, self._everyone, self._info())
        return self._observe(), rewards, terminated, truncated, info

    def render(self) -> tuple[Any, ...] | None:
        """A frame of every sub-environment.

        Raises:
            RuntimeError: before the first reset.
        """
        if self.render_mode is None:
            gym.logger.warn("render() was called without a render_mode; pass one to make_vec()")
            return None
        if not self._generators:
            raise RuntimeError("call reset() before render()")
        return tuple(self._frame(i) for i in range(self.num_envs))

    # ------------------------------------------------------------------------------------------------------- its parts

    def _mask(self, mask: Any) -> Bools:
        """The mask of the sub-environments to reset, checked.

        Raises:
            ValueError: an invalid mask.
            RuntimeError: there was no reset yet.
        """
        found = mask if isinstance(mask, np.ndarray) else np.array(None)
        if isinstance(mask, list | tuple) and all(isinstance(item, bool | np.bool_) for item in mask):
            found = np.array(mask, dtype=np.bool_)
        if found.shape != (self.num_envs,) or found.dtype != np.bool_ or not found.any():
            raise ValueError(f"reset_mask must be ({self.num_envs},) bool with a True entry, got {shown(mask)}")
        if not self._generators:
            raise RuntimeError("call reset() without a mask first")
        return found

    def _seeds(self, seed: Any) -> list[int | None]:
        """The seed of each sub-environment."""
        if seed is None:
            return [None] * self.num_envs
        listed = seed.ndim > 0 if isinstance(seed, np.ndarray) else isinstance(seed, Sequence)
        if not listed or isinstance(seed, str | bytes):
            first = checked_seed(seed)
            assert first is not None
            return [first + i for i in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ValueError(f"a list of seeds must have {self.num_envs} entries, got {len(seed)}")
        return [checked_seed(own) for own in seed]

    def _seed(self, seeds: list[int | None], chosen: Bools) -> None:
        """Give the chosen sub-environments the generators of their seeds; without one they keep theirs."""
        if self._generators and all(own is None for own in seeds):
            return
        if not self._generators:
            self._generators = [np_random(own)[0] for own in seeds]
            return
        for i in np.flatnonzero(chosen):
            self._generators[i] = np_random(seeds[i])[0]
        self._used[chosen] = _KEY_BLOCK

    def _begin(self, chosen: Bools) -> None:
        """Start episodes in the chosen sub-environments, each with the next key of its generator."""
        rows = np.flatnonzero(chosen)
        for i in rows[self._used[rows] == _KEY_BLOCK]:
            self._keys[i] = draw_keys(self._generators[i], _KEY_BLOCK)
            self._used[i] = 0
        keys = self._keys[rows, self._used[rows]]
        self._used[rows] += 1
        self._start(rows, keys)
        self._over = self._over & ~chosen

    def _truncated(self) -> Bools:
        if self.max_episode_steps is None:
            return np.zeros(self.num_envs, dtype=np.bool_)
        truncated: Bools = self._elapsed() >= self.max_episode_steps
        return truncated

    def _finish(self, info: dict[str, Any]) -> None:
        """Mode ``same_step``: keep the last observation and info of ended episodes, then start new ones."""
        ended = self._over
        rows = np.flatnonzero(ended)
        last = np.full(self.num_envs, None, dtype=object)
        for i, observation in zip(rows, self._last(rows), strict=True):
            last[i] = observation.copy()
        final_info: dict[str, Any] = {}
        self._add(final_info, ended, {key: value.copy() for key, value in self._info().items()})
        self._add(info, ended, {"final_obs": last, "final_info": final_info})
        self._begin(ended)

    def _add(self, info: dict[str, Any], mask: Bools, entries: dict[str, Any]) -> None:
        """Add entries, with Gymnasium's masks of the sub-environments they apply to."""
        for key, value in entries.items():
            info[key], info[f"_{key}"] = value, mask.copy()
