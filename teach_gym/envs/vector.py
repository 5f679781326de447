"""The native vector environment: many teaching runs stepped by the same functions as one."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.utils.seeding import np_random
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from teach_gym.core.backend import Array
from teach_gym.core.build import make_task
from teach_gym.core.observe import layout, observe
from teach_gym.core.randomness import Streams, draw_keys
from teach_gym.core.state import Example, TeachState, Transition, put, take
from teach_gym.core.task import reset, step
from teach_gym.envs.base import (
    INTEGERS,
    TeachEnv,
    action_space,
    check_actions,
    check_options,
    check_render_mode,
    observation_space,
)
from teach_gym.errors import lookup_name, positive
from teach_gym.render.film import Film

AUTORESET_MODES = {
    "next_step": AutoresetMode.NEXT_STEP,
    "same_step": AutoresetMode.SAME_STEP,
    "disabled": AutoresetMode.DISABLED,
}
_KEY_BLOCK = 64
"""Episode keys drawn from a sub-environment's generator at once (the same keys as one by one)."""


def lookup_autoreset_mode(mode: str | AutoresetMode) -> AutoresetMode:
    """The autoreset mode of a name, or the mode itself.

    Raises:
        ValueError: unknown name.
    """
    return lookup_name(
        "autoreset_mode", mode.name.lower() if isinstance(mode, AutoresetMode) else mode, AUTORESET_MODES
    )


class TeachVectorEnv(VectorEnv[npt.NDArray[np.float32], Any, Any]):
    """Many teaching runs stepped by the same functions as one; sub-environment i is seeded with seed + i.

    Args:
        num_envs: number B of sub-environments.
        render_mode: ``rgb_array``, ``ansi`` or None; ``render`` gives a tuple with a frame each.
        autoreset_mode: ``next_step``, ``same_step`` or ``disabled``.
        **spec: the task, see ``teach_gym.core.spec.TaskSpec``.
    """

    metadata: dict[str, Any] = {**TeachEnv.metadata, "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int = 1,
        render_mode: str | None = None,
        autoreset_mode: str | AutoresetMode = "next_step",
        **spec: Any,
    ) -> None:
        check_render_mode(render_mode)
        positive("num_envs", num_envs, integer=True)
        self.autoreset_mode = lookup_autoreset_mode(autoreset_mode)
        self.metadata = {**type(self).metadata, "autoreset_mode": self.autoreset_mode}
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.task = make_task(**spec)
        self.layout = layout(self.task)
        self.single_action_space = action_space(self.task)
        self.single_observation_space = observation_space(self.task)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.state: TeachState | None = None
        self._everyone = np.ones(num_envs, dtype=np.bool_)
        self._nobody = np.zeros(num_envs, dtype=np.bool_)
        self._over = self._nobody.copy()
        self._generators: list[np.random.Generator] = []
        self._keys = np.empty((num_envs, _KEY_BLOCK), dtype=np.uint64)
        self._used = np.full(num_envs, _KEY_BLOCK)
        self._films: list[Film] = []

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """Start an episode in every sub-environment, or in those of ``options["reset_mask"]``.

        Args:
            seed: sub-environment i is seeded with seed + i (or with the i-th entry of a list); None goes on
                with the generators there are.
            options: ``reset_mask``, (B,) bool, as in Gymnasium's vector environments.

        Raises:
            ValueError: a list of seeds or a mask that does not fit, or an unknown option.
        """
        options = dict(options or {})
        mask = options.pop("reset_mask", None)
        check_options(options)
        super().reset(seed=int(seed) if isinstance(seed, INTEGERS) else None)
        if mask is not None:
            mask = np.asarray(mask)
            if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
                raise ValueError(f"reset_mask must be ({self.num_envs},) bool with a True entry, got {mask!r}")
            if self.state is None:
                raise RuntimeError("call reset() without a mask first")
        self._seed(seed, mask)
        if mask is None:
            self.state = self._start(np.arange(self.num_envs))
            self._over[:] = False
            self._films = [Film() for _ in range(self.num_envs)] if self.render_mode is not None else []
        else:
            self._restart(mask)
        self._record(self._everyone if mask is None else mask, None)
        assert self.state is not None
        info: dict[str, Any] = {}
        self._add(info, mask, **self._distance())
        return observe(self.task, self.state, self.layout), info

    def step(
        self, actions: Any
    ) -> tuple[npt.NDArray[np.float32], Array, npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]]:
        """One step of every sub-environment, with the autoreset of the chosen mode.

        Raises:
            ValueError: an action outside the action space.
            RuntimeError: before the first reset, or (mode ``disabled``) a sub-environment's episode is over.
        """
        if self.state is None:
            raise RuntimeError("call reset() before step()")
        actions = check_actions(self.task, actions, self.num_envs, self.single_action_space)
        starting, n_starting = self._over, np.count_nonzero(self._over)
        if n_starting and self.autoreset_mode is not AutoresetMode.NEXT_STEP:
            raise RuntimeError(f"sub-environments {np.flatnonzero(starting)} are over: reset them by reset_mask")
        if n_starting == self.num_envs:
            return self._step_of_resets()
        transition = step(self.task, self.state, actions)
        self.state, reward, terminated = transition.state, transition.reward, transition.terminated
        shown = None
        if n_starting:
            self._restart(starting)
            reward[starting], terminated[starting] = 0.0, False
            shown = ~starting
        self._over = terminated.copy()
        if self.render_mode is not None:
            self._record(starting, transition)
        x, y = transition.example
        info: dict[str, Any] = {}
        if self.autoreset_mode is AutoresetMode.SAME_STEP and np.count_nonzero(terminated):
            self._finish(info, terminated, {"label": y, "features": x})
            shown = ~terminated
            self._over = self._nobody.copy()
        shown = self._everyone if shown is None else shown
        if self.task.tells_distance:
            info["distance"], info["_distance"] = self.state.distance.copy(), self._everyone.copy()
        info["label"], info["_label"] = y, shown.copy()
        info["features"], info["_features"] = x, shown.copy()
        return observe(self.task, self.state, self.layout), reward, terminated, self._nobody.copy(), info

    def render(self) -> tuple[Any, ...] | None:
        """A frame of every sub-environment (see ``TeachEnv.render``)."""
        if self.render_mode is None:
            gym.logger.warn("render() was called without a render_mode; pass render_mode='rgb_array' to make_vec()")
            return None
        if self.state is None:
            raise RuntimeError("call reset() before render()")
        from teach_gym.render.frame import render

        return tuple(
            render(self.task, take(self.state, np.array([i])), film, self.render_mode)
            for i, film in enumerate(self._films)
        )

    def _seed(self, seed: int | list[int | None] | None, mask: npt.NDArray[np.bool_] | None) -> None:
        """Give the sub-environments of the mask (None: all) their generators."""
        if seed is None and self._generators:
            return
        seeds: list[int | None]
        if seed is None:
            seeds = [None] * self.num_envs
        elif isinstance(seed, INTEGERS):
            seeds = [int(seed) + i for i in range(self.num_envs)]
        else:
            seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise ValueError(f"a list of seeds must have {self.num_envs} entries, got {len(seeds)}")
        if mask is None:
            self._generators = [np_random(s)[0] for s in seeds]
            self._used[:] = _KEY_BLOCK
            return
        for i in np.flatnonzero(mask):
            self._generators[i] = np_random(seeds[i])[0]
            self._used[i] = _KEY_BLOCK

    def _start(self, rows: npt.NDArray[np.int64]) -> TeachState:
        """Fresh episodes for the sub-environments ``rows``, each from its generator's next key."""
        for i in rows[self._used[rows] == _KEY_BLOCK]:
            self._keys[i] = draw_keys(self._generators[i], _KEY_BLOCK)
            self._used[i] = 0
        keys = self._keys[rows, self._used[rows]]
        self._used[rows] += 1
        return reset(self.task, Streams(keys))

    def _restart(self, mask: npt.NDArray[np.bool_]) -> None:
        """Start new episodes where ``mask`` is set and keep the others."""
        assert self.state is not None
        rows = np.flatnonzero(mask)
        fresh = self._start(rows)
        self.state = fresh if len(rows) == self.num_envs else put(self.state, rows, fresh)
        self._over = self._over & ~mask

    def _step_of_resets(
        self,
    ) -> tuple[npt.NDArray[np.float32], Array, npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]]:
        """The step after all episodes ended together (mode ``next_step``): nothing is taught."""
        self._restart(self._everyone)
        self._record(self._everyone, None)
        assert self.state is not None
        info: dict[str, Any] = {}
        self._add(info, None, **self._distance())
        reward = np.zeros(self.num_envs, dtype=self.state.w.dtype)
        observation = observe(self.task, self.state, self.layout)
        return observation, reward, self._nobody.copy(), self._nobody.copy(), info

    def _finish(self, info: dict[str, Any], ended: npt.NDArray[np.bool_], example: dict[str, Array]) -> None:
        """Mode ``same_step``: keep what the ended episodes showed last, then start new ones."""
        assert self.state is not None
        final = observe(self.task, self.state, self.layout)
        last = np.full(self.num_envs, None, dtype=object)
        for i in np.flatnonzero(ended):
            last[i] = final[i].copy()
        final_info: dict[str, Any] = {}
        self._add(final_info, ended, **self._distance(), **example)
        self._add(info, ended, final_obs=last, final_info=final_info)
        self._restart(ended)
        self._record(ended, None)

    def _distance(self) -> dict[str, Array]:
        """The entry ``distance`` of an info, unless the task hides it."""
        assert self.state is not None
        return {"distance": self.state.distance.copy()} if self.task.tells_distance else {}

    def _add(self, info: dict[str, Any], mask: npt.NDArray[np.bool_] | None, **entries: Any) -> None:
        """Add entries and Gymnasium's masks of the sub-environments they hold for (None: all)."""
        for key, value in entries.items():
            info[key] = value
            info[f"_{key}"] = (self._everyone if mask is None else mask).copy()

    def _record(self, started: npt.NDArray[np.bool_], transition: Transition | None) -> None:
        """Keep what ``render`` draws: new films where episodes started, a frame elsewhere."""
        if self.render_mode is None:
            return
        assert self.state is not None
        for i in range(self.num_envs):
            if started[i]:
                self._films[i] = Film([float(self.state.distance[i])])
            elif transition is not None:
                x, y = transition.example
                self._films[i].distances.append(float(transition.state.distance[i]))
                self._films[i].example = Example(x[i : i + 1], y[i : i + 1])
