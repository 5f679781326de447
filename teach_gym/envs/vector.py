"""The native vector environment: many teaching runs stepped by the same functions as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from teach_gym.core.backend import Array
from teach_gym.core.batch import take
from teach_gym.core.build import make_task
from teach_gym.core.layout import layout
from teach_gym.core.state import Task, TeachState
from teach_gym.envs.autoreset import AutoresetVectorEnv, Bools, Floats, Ints, Keys
from teach_gym.envs.base import (
    TeachEnv,
    action_space,
    observation_space,
    shown_name,
    told,
)
from teach_gym.envs.checks import check_actions, check_render_mode
from teach_gym.envs.runs import Runs, make_runs
from teach_gym.errors import VECTOR_MEMORY, affordable, positive, shown
from teach_gym.render.film import SIZE, Film, checked_size


class TeachVectorEnv(AutoresetVectorEnv, VectorEnv[Floats, Any, Any]):
    """Many teaching runs stepped by the same functions as one; sub-environment i is seeded with seed + i.

    Args:
        num_envs: number B of sub-environments.
        render_mode: ``rgb_array``, ``ansi`` or None; ``render`` returns a tuple with one frame per sub-environment.
        render_size: width and height of the images.
        autoreset_mode: ``next_step``, ``same_step`` or ``disabled``.
        max_episode_steps: truncate episodes after this many steps (None: never).
        compiled: whether the step is compiled, which takes seconds at the first step, or a fraction of one once the
            machine code is on disk. None: where numba is installed (extra ``fast``), there are 64 sub-environments or
            more, no frames are drawn, and the task allows it; of steps that measure losses on hold-out rows, only these
            measurements are compiled. The results agree with those of array calls to 1e-12 in
            float64 tasks and 1e-5 in float32 tasks. The environment variable ``TEACH_GYM_COMPILED=0`` makes None mean
            False.
        **spec: the task, see ``teach_gym.core.spec.TaskSpec``.

    Raises:
        TooLargeError: more sub-environments than fit in memory.
    """

    metadata: dict[str, Any] = {**TeachEnv.metadata, "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int = 1,
        render_mode: str | None = None,
        autoreset_mode: str | AutoresetMode = "next_step",
        max_episode_steps: int | None = None,
        render_size: Sequence[int] = SIZE,
        compiled: bool | None = None,
        **spec: Any,
    ) -> None:
        check_render_mode(render_mode)
        if compiled is not None and not isinstance(compiled, bool):
            raise TypeError(f"compiled must be None, True or False, got {shown(compiled)}")
        self.render_size = checked_size(render_size)
        self.render_mode = render_mode
        self.task: Task = make_task(**spec)
        self.layout = layout(self.task)
        spaces = action_space(self.task), observation_space(self.task)
        _check_memory(self.task, num_envs)
        super().__init__(num_envs, *spaces, autoreset_mode, max_episode_steps)
        self._reward_type = self.task.spec.dtype
        self._compiled = False if compiled is None and render_mode is not None else compiled
        self._runs: Runs | None = None
        self._films = [Film() for _ in range(num_envs if render_mode is not None else 0)]

    @property
    def state(self) -> TeachState | None:
        """The teaching state of the B runs, which teachers are called with; None before the first reset."""
        return None if self._runs is None else self._runs.state

    @property
    def horizon(self) -> int:
        """The task's budget."""
        return self.task.spec.budget

    def _start(self, rows: Ints, keys: Keys) -> None:
        if self._runs is None:
            self._runs = make_runs(self.task, self.layout, self.num_envs, self._compiled)
        self._runs.start(rows, keys)
        if self.render_mode is not None:
            state = self._runs.state
            for i in rows:
                self._films[i] = Film.of(self.task, state, i, name=shown_name(self.spec))

    def _checked(self, actions: Any) -> Array:
        return check_actions(self.task, actions, self.num_envs, self.single_action_space)

    def _advance(self, actions: Array) -> tuple[Array, Bools]:
        assert self._runs is not None
        reward, terminated = self._runs.step(actions)
        if self.render_mode is not None:
            state, example = self._runs.state, self._runs.example
            for i, film in enumerate(self._films):
                film.add(self.task, state, example, i)
        return reward, terminated

    def _observe(self) -> Floats:
        assert self._runs is not None
        return self._runs.observe()

    def _last(self, rows: Ints) -> Floats:
        assert self._runs is not None
        return self._runs.last(rows)

    def _info(self) -> dict[str, Array]:
        assert self._runs is not None
        return told(self.task, self._runs.distance, *self._runs.example)

    def _elapsed(self) -> Ints:
        assert self._runs is not None
        return self._runs.elapsed

    def _frame(self, i: int) -> Any:
        from teach_gym.render.frame import render

        assert self._runs is not None and self.render_mode is not None
        state = take(self._runs.state, np.array([i]))
        return render(self.task, state, self._films[i], self.render_mode, self.render_size)


def _check_memory(task: Task, num_envs: int) -> None:
    """Check what the schedules and the learners of the sub-environments will need.

    Raises:
        TypeError: a number of sub-environments that is no integer.
        ValueError: one that is not positive.
        TooLargeError: more memory than is allowed.
    """
    positive("num_envs", num_envs, integer=True)
    rows = task.spec.budget * task.medium.n_sources * task.spec.batch_size
    needed = int(num_envs) * (4 * rows + 64 * task.size)
    affordable(f"{num_envs:,} learners with their schedules", needed, VECTOR_MEMORY)
