"""Stable-Baselines3: the native vector environment as a ``VecEnv`` that steps many teaching runs in one call."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env import VecEnv

from teach_gym.core.batch import take
from teach_gym.envs.autoreset import AutoresetVectorEnv
from teach_gym.envs.checks import check_options, checked_seed
from teach_gym.errors import shown
from teach_gym.registration import env_id, short_name

Floats = npt.NDArray[np.float32]
Indices = int | Sequence[int] | None

_SPACES = {"action_space": "single_action_space", "observation_space": "single_observation_space"}


class TeachVecEnv(VecEnv):  # type: ignore[misc]
    """The native vector environment with SB3's interface.

    Each step returns arrays of its own: observations (B, O) float32 with the batch axis fastest in memory, rewards
    (B,) float32, dones (B,) bool. Sub-environments restart within the step that ends their episode.

    The info of a sub-environment holds ``distance`` (unless the task is a black box or the learner a network) and
    ``TimeLimit.truncated`` (True only where ``max_episode_steps`` ends an episode: the budget is part of the task
    and the observation), at an episode's end also ``terminal_observation``, (O,) float32; the teaching examples are
    omitted. Each step makes a dictionary of its own for every sub-environment. SB3 would allow the running ones to
    share one: its algorithms and buffers only read infos, ``VecNormalize`` writes to those of ended episodes,
    ``VecMonitor`` copies these, ``HerReplayBuffer`` keeps references. But then none could have its own distance,
    and a wrapper that adds an entry to each info would write them all to one place. The dictionaries cost a few per
    cent of training time at 1,024 sub-environments and less at fewer.

    Args:
        env: the environment, made with ``autoreset_mode="same_step"``.

    Raises:
        TypeError: not one of the package's native vector environments.
        ValueError: another autoreset mode.
    """

    def __init__(self, env: AutoresetVectorEnv) -> None:
        if not isinstance(env, AutoresetVectorEnv):
            raise TypeError(f"TeachVecEnv takes a TeachVectorEnv or NeuralMixupVectorEnv, got {shown(env)}")
        if env.autoreset_mode is not gym.vector.AutoresetMode.SAME_STEP:
            raise ValueError(f"SB3 needs autoreset_mode='same_step', got {shown(env.autoreset_mode.name.lower())}")
        self.env = env
        self._attributes: list[dict[str, Any]] = [{} for _ in range(env.num_envs)]
        self._actions: Any = None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> Floats:
        """Start an episode everywhere, with the seeds given to ``seed``, which are used once: (B, O).

        Raises:
            ValueError: options were set; the tasks know none.
        """
        for options in self._options:
            check_options(options)
        seeds = None if None in self._seeds else list(self._seeds)
        observation, info = self.env.reset(seed=seeds)
        self.reset_infos = self._infos(info)
        self._reset_seeds()
        self._reset_options()
        return observation

    def step_async(self, actions: Any) -> None:
        """Store the actions, (B,) integers or (B, *Box shape), for ``step_wait``."""
        self._actions = actions

    def step_wait(self) -> tuple[Floats, Floats, npt.NDArray[np.bool_], list[dict[str, Any]]]:
        """Take the step: observations (B, O), rewards (B,), dones (B,) and B info dictionaries.

        Raises:
            ValueError: an action outside the action space.
            RuntimeError: before the first reset.
        """
        observation, reward, terminated, truncated, info = self.env.step(self._actions)
        infos, done = self._infos(info, **{"TimeLimit.truncated": False}), terminated | truncated
        for i in np.flatnonzero(truncated & ~terminated).tolist():
            infos[i]["TimeLimit.truncated"] = True
        for i in np.flatnonzero(done).tolist():
            if "distance" in info:
                self.reset_infos[i] = {"distance": infos[i]["distance"]}
                infos[i]["distance"] = float(info["final_info"]["distance"][i])
            infos[i]["terminal_observation"] = info["final_obs"][i]
        return observation, reward.astype(np.float32), done, infos

    def _infos(self, info: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
        """A dictionary of its own for every sub-environment, with the distance unless the task hides it."""
        if "distance" not in info:
            return [dict(more) for _ in range(self.num_envs)]
        return [{"distance": distance, **more} for distance in info["distance"].tolist()]

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """An attribute of the chosen sub-environments; ``state`` is that of each (a batch of one run), if it has any.

        Raises:
            AttributeError: there is none with that name.
        """
        chosen = list(self._get_indices(indices))
        if attr_name == "state" and (state := getattr(self.env, "state", None)) is not None:
            return [take(state, np.array([i])) for i in chosen]
        own = [self._attributes[i] for i in chosen]
        if all(attr_name in attributes for attributes in own):
            return [attributes[attr_name] for attributes in own]
        return [getattr(self.env, _SPACES.get(attr_name, attr_name))] * len(chosen)

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Store a new attribute for the chosen sub-environments, for ``get_attr``.

        Raises:
            AttributeError: the environment's own attributes (the task, the spaces) cannot be changed.
        """
        if hasattr(self.env, attr_name):
            raise AttributeError(
                f"{shown(attr_name)} belongs to the environment and cannot be set; make a new environment"
            )
        for i in self._get_indices(indices):
            self._attributes[i][attr_name] = value

    def env_method(self, method_name: str, *args: Any, indices: Indices = None, **kwargs: Any) -> list[Any]:
        """Call ``render``, ``has_wrapper_attr`` or ``get_wrapper_attr`` of the chosen sub-environments.

        Raises:
            AttributeError: any other method; sub-environments are not objects and step together.
        """
        chosen = list(self._get_indices(indices))
        if method_name == "render":
            frames = self.env.render(*args, **kwargs) or (None,) * self.num_envs
            return [frames[i] for i in chosen]
        if method_name == "get_wrapper_attr":
            return self.get_attr(args[0] if args else kwargs["name"], chosen)
        if method_name == "has_wrapper_attr":
            return [self.has_attr(*args, **kwargs)] * len(chosen)
        allowed = "render, has_wrapper_attr, get_wrapper_attr"
        raise AttributeError(f"sub-environments have no method {shown(method_name)} here; allowed: {allowed}")

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Indices = None
    ) -> list[bool]:
        """Sub-environments have no wrappers: False for each of the chosen."""
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[npt.NDArray[np.uint8] | None]:
        """An RGB array of every sub-environment (None where the render mode is not ``rgb_array``)."""
        if self.render_mode != "rgb_array":
            warnings.warn(f"images need render_mode='rgb_array', not {self.render_mode!r}", stacklevel=2)
            return [None] * self.num_envs
        return self.env_method("render")


def make_vec_env(id: str, num_envs: int, seed: int | None = None, **kwargs: Any) -> TeachVecEnv:
    """Make a registered task's environment for SB3.

    Args:
        id: the task's name or id: ``LabelMoons``, ``LabelMoons-v0``, ``teach_gym/LabelMoons-v0`` or
            ``teach_gym:teach_gym/LabelMoons-v0``.
        num_envs: number B of sub-environments.
        seed: sub-environment i is seeded with seed + i at the first reset (an SB3 model made with a seed of its own
            sets that instead).
        **kwargs: ``render_mode``, and fields of ``teach_gym.TaskSpec`` that replace the task's (where the learner is a
            network, of ``teach_gym.neural.mixup_spec.MixupSpec``).

    Raises:
        ValueError: unknown id or a value out of range.
        TypeError: a field that a task does not have, or a seed that is no integer.
    """
    seed = checked_seed(seed)
    mode = gym.VectorizeMode.VECTOR_ENTRY_POINT
    env = gym.make_vec(env_id(short_name(id)), num_envs, mode, autoreset_mode="same_step", **kwargs)
    assert isinstance(env, AutoresetVectorEnv)
    found = TeachVecEnv(env)
    if seed is not None:
        found.seed(seed)
    return found
