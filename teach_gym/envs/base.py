"""The Gymnasium API over the functions of ``teach_gym.core.task``: no maths here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Discrete

from teach_gym.core.backend import Array
from teach_gym.core.batch import DIVERGED
from teach_gym.core.build import make_task
from teach_gym.core.layout import bounds, layout
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.envs.checks import (
    INTEGERS,
    RENDER_MODES,
    batch_of_one,
    check_actions,
    check_options,
    check_render_mode,
    checked_seed,
)
from teach_gym.envs.episodes import Episodes
from teach_gym.envs.stepper import make_stepper
from teach_gym.render.film import SIZE, Film, checked_size

KEYS = "1234567890abcdefghijklmnopqrstuvwxyz"
"""The keys of the first actions, for a person who plays."""


def action_space(task: Task, continuous: bool | None = None) -> Box | Discrete:
    """The space of one environment's actions.

    Args:
        task: the task.
        continuous: whether to return the space of the continuous flavour (None: the task's own).

    Raises:
        ValueError: the medium has no continuous flavour.
    """
    if not (task.spec.continuous if continuous is None else continuous):
        return Discrete(task.n_actions)
    low, high = task.medium.low, task.medium.high
    if low is None or high is None:
        raise ValueError(f"medium {task.medium.name!r} has no continuous flavour; use continuous=False")
    return Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)


def observation_space(task: Task) -> Box:
    """The space of one environment's observations."""
    return Box(*bounds(layout(task)), dtype=np.float32)


def unshown(task: Task, batch: tuple[int, ...]) -> Example:
    """The placeholder example in ``info`` at reset, filled with nan: (*batch, m, d) and (*batch, m, K)."""
    sizes, dtype = (task.d, task.k), task.spec.dtype
    return Example(*(np.full((*batch, task.spec.batch_size, size), np.nan, dtype=dtype) for size in sizes))


def told(task: Task, distance: Any, x: Array, y: Array) -> dict[str, Any]:
    """The entries of ``info``, the same at reset and step; without the distance for tasks that hide it."""
    info = {"label": y, "features": x, "diverged": ~(distance <= DIVERGED)}
    if task.tells_distance:
        info["distance"] = distance
    return info


def shown_name(spec: EnvSpec | None) -> str:
    """The name that pictures show: the environment's, without namespace and version; empty if it has none."""
    return "" if spec is None else spec.name


class TeachEnv(gym.Env[npt.NDArray[np.float32], Any]):
    """One teaching run as a Gymnasium environment; the environments of the media derive from it.

    The sections below apply to all of them (their own docstrings add description, action space and observation space):

    ## Rewards
    The default is ``progress``: the percentage of the initial distance to the target removed by the step. ``distance``
    gives LAST's -||w - w*||, ``decrease`` the raw decrease of the distance, ``log_progress`` 10 times the decrease of
    its logarithm, and ``farsighted_progress``, for linear learners, 10 times the decrease of the logarithm of the
    distance to be expected at the end of the budget (``teach_gym.core.foresight``). The other rewards do not use the
    target (LAST, section 4): ``holdout_progress`` is the percentage of the initial loss on hold-out rows removed by the
    step, ``holdout_log_progress`` 10 times the decrease of that loss's logarithm, ``holdout_accuracy`` the accuracy on
    these rows after the last step and zero earlier, and
    ``steps_to_accuracy`` minus one per step until that accuracy reaches ``zeta``.

    ## Starting state
    A learner drawn at random (``init``, ``init_scale``) and the pool rows of the whole episode.

    ## Episode end
    Terminated when the distance falls below ``tolerance`` or the budget is spent, or when the learner diverges: its
    distance exceeds 1e15 or is no number. The last observation of such an episode shows the largest numbers of float32
    in place of infinite ones, and 0 in place of NaN; ``info["diverged"]`` is True. A black-box task
    (observation ``black_box`` or ``black_box_trial``) never ends by the distance; with ``steps_to_accuracy`` the
    episode ends at the accuracy ``zeta``. Truncated only by the step limit of ``gym.make``, which exceeds any budget
    unless you pass a smaller ``max_episode_steps``.

    ## Info
    The same entries at reset and at every step, in the task's dtype: ``label`` (m, K) and ``features`` (m, d) of the
    teaching example the learner was just shown (filled with nan at reset), whether the learner ``diverged``, and the
    ``distance`` ||w - w*||. In the
    vector environment they have a leading batch axis. A black-box task omits the distance, and its pictures show the
    loss on hold-out rows instead of the distance and the target; ``debug=True`` shows both.

    ## Vector environment
    ``gym.make_vec`` makes one that steps all runs in one call. With the same actions, sub-environment i of a vector
    environment seeded with s follows the trajectory of a single environment seeded with s + i, up to rounding. In a
    float64 task learners agree to 1e-12 and rewards to 1e-9; in a float32 task, whose single runs may compute in double
    precision, learners agree to 1e-5 and rewards to 1e-4 (on the scale where 100 is the whole distance or loss).

    ## Arguments
    Any field of ``teach_gym.core.spec.TaskSpec`` can be passed to ``gym.make``.

    Args:
        render_mode: ``rgb_array``, ``ansi`` or None.
        render_size: width and height of the images.
        **spec: the task, see ``teach_gym.core.spec.TaskSpec``.
    """

    metadata: dict[str, Any] = {"render_modes": list(RENDER_MODES), "render_fps": 10}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None, render_size: Sequence[int] = SIZE, **spec: Any) -> None:
        check_render_mode(render_mode)
        self.render_size = checked_size(render_size)
        self.render_mode = render_mode
        self.task = make_task(**spec)
        self.layout = layout(self.task)
        self.action_space = action_space(self.task)
        self.observation_space: gym.Space[Any] = observation_space(self.task)
        self._stepper, self._episodes = make_stepper(self.task, self.layout), Episodes(self.task, self.layout)
        self._playing = False
        self._n_actions = None if self.task.spec.continuous else self.task.n_actions
        self._film = Film()

    @property
    def state(self) -> TeachState:
        """The teaching state (a batch of one run) that teachers are called with.

        Raises:
            RuntimeError: before the first reset.
        """
        return self._stepper.state

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """Start an episode: draws the learner and the rows of the whole episode.

        Args:
            seed: seeds the environment's generator, as Gymnasium's.
            options: there are none; a non-empty dictionary is an error.

        Raises:
            TypeError: a seed that is no integer, or options that are no dictionary.
            ValueError: a negative seed, or unknown options.
        """
        check_options(options)
        super().reset(seed=checked_seed(seed))
        first, observation = self._episodes.start(self.np_random, seed is not None)
        self._stepper.start(first)
        self._playing = True
        if self.render_mode is not None:
            self._film = Film.of(self.task, self.state, name=shown_name(self.spec))
        return observation, told(self.task, first.distance[0], *unshown(self.task, ()))

    def step(self, action: Any) -> tuple[npt.NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Show the learner the example that the action produces.

        Args:
            action: an action of the action space, or a batch of one, as returned by a teacher.

        Raises:
            ValueError: an action outside the action space.
            TypeError: an action that is not an integer where one is required.
            RuntimeError: the episode is over or was not started.
        """
        if not self._playing:
            raise RuntimeError("call reset() before step(): the episode is over or was not started")
        if self._n_actions is None or type(action) not in INTEGERS or not 0 <= action < self._n_actions:
            action = check_actions(self.task, batch_of_one(action, self.action_space), 1, self.action_space)[0]
        observation, reward, terminated, distance, x, y = self._stepper.step(action)
        self._playing = not terminated
        if self.render_mode is not None:
            self._film.add(self.task, self.state, Example(x[None], y[None]))
        return observation, reward, terminated, False, told(self.task, distance, x, y)

    def get_keys_to_action(self) -> dict[str, int]:
        """Keys for ``gymnasium.utils.play.play(env, wait_on_player=True)``: 1 to 9, 0 and a to z, action by action.

        Raises:
            ValueError: an environment of the continuous flavour.
        """
        if self._n_actions is None:
            raise ValueError("keys choose discrete actions, and this environment's are continuous")
        return dict(zip(KEYS, range(self._n_actions), strict=False))

    def render(self) -> Any:
        """Render a frame: an RGB array (rows, columns, 3) or one line of text.

        Raises:
            RuntimeError: before the first reset.
        """
        if self.render_mode is None:
            gym.logger.warn("render() was called without a render_mode; pass render_mode='rgb_array' to make()")
            return None
        from teach_gym.render.frame import render

        return render(self.task, self.state, self._film, self.render_mode, self.render_size)
