"""The native vector environment: many teaching runs stepped by the same functions as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from teach_gym.core.backend import Array
from teach_gym.core.batch import put, take
from teach_gym.core.build import make_task
from teach_gym.core.layout import layout, observe
from teach_gym.core.randomness import Streams
from teach_gym.core.state import Example, TeachState
from teach_gym.core.task import reset, step
from teach_gym.envs.autoreset import AutoresetVectorEnv, Bools, Floats, Ints, Keys
from teach_gym.envs.base import (
    TeachEnv,
    action_space,
    check_actions,
    check_render_mode,
    observation_space,
    shown_name,
    told,
    unshown,
)
from teach_gym.render.film import SIZE, Film, checked_size


class TeachVectorEnv(AutoresetVectorEnv, VectorEnv[Floats, Any, Any]):
    """Many teaching runs stepped by the same functions as one; sub-environment i is seeded with seed + i.

    Args:
        num_envs: number B of sub-environments.
        render_mode: ``rgb_array``, ``ansi`` or None; ``render`` returns a tuple with one frame per sub-environment.
        render_size: width and height of the images.
        autoreset_mode: ``next_step``, ``same_step`` or ``disabled``.
        max_episode_steps: truncate episodes after this many steps (None: never).
        **spec: the task, see ``teach_gym.core.spec.TaskSpec``.
    """

    metadata: dict[str, Any] = {**TeachEnv.metadata, "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

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
        self.render_mode = render_mode
        self.task = make_task(**spec)
        self.layout = layout(self.task)
        spaces = action_space(self.task), observation_space(self.task)
        super().__init__(num_envs, *spaces, autoreset_mode, max_episode_steps)
        self._reward_type = self.task.spec.dtype
        self.state: TeachState | None = None
        self._example = unshown(self.task, (num_envs,))
        self._films = [Film() for _ in range(num_envs if render_mode is not None else 0)]

    def _start(self, rows: Ints, keys: Keys) -> None:
        fresh, nothing = reset(self.task, Streams(keys)), unshown(self.task, (len(rows),))
        if len(rows) == self.num_envs:
            self.state, self._example = fresh, nothing
        else:
            assert self.state is not None
            self.state = put(self.state, rows, fresh)
            self._example = Example(*(_replaced(a, rows, b) for a, b in zip(self._example, nothing, strict=True)))
        if self.render_mode is not None:
            for i in rows:
                self._films[i] = Film.of(self.task, self.state, i, name=shown_name(self.spec))

    def _checked(self, actions: Any) -> Array:
        return check_actions(self.task, actions, self.num_envs, self.single_action_space)

    def _advance(self, actions: Array) -> tuple[Array, Bools]:
        assert self.state is not None
        self.state, reward, terminated, self._example = step(self.task, self.state, actions)
        if self.render_mode is not None:
            for i, film in enumerate(self._films):
                film.add(self.task, self.state, self._example, i)
        return reward, terminated

    def _observe(self) -> Floats:
        assert self.state is not None
        return observe(self.task, self.state, self.layout)

    def _info(self) -> dict[str, Array]:
        assert self.state is not None
        return told(self.task, self.state.distance.copy(), *self._example)

    def _elapsed(self) -> Ints:
        assert self.state is not None
        elapsed: Ints = self.state.t
        return elapsed

    def _frame(self, i: int) -> Any:
        from teach_gym.render.frame import render

        assert self.state is not None and self.render_mode is not None
        return render(self.task, take(self.state, np.array([i])), self._films[i], self.render_mode, self.render_size)


def _replaced(array: Array, rows: Ints, values: Array) -> Array:
    """A copy of an array with the values of some rows replaced."""
    array = array.copy(order="K")
    array[rows] = values
    return array
