"""A policy for Stable-Baselines3 that scores actions one by one, and environments of several tasks for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from teach_gym.integrations.sb3.vec_env import Floats, Indices
from teach_gym.teachers.perceptron import one_by_one


class EachActionPolicy(ActorCriticPolicy):  # type: ignore[misc]
    """An actor that applies one perceptron to each action: to what all actions share and to the action's own numbers.

    ``net_arch=dict(pi=[...], vf=[...])`` are the hidden layers of that perceptron and of the critic, a perceptron over
    the whole observation. The actor fits any number of actions (``Network``, form ``each``).

    Args:
        *args: those of SB3's ``ActorCriticPolicy``; the actions are discrete.
        shared: number of entries that an observation begins with and that are the same for all actions.
        **kwargs: those of SB3's policy.

    Raises:
        ValueError: observations that do not end with as many numbers for each action.
    """

    def __init__(self, *args: Any, shared: int, **kwargs: Any) -> None:
        self.shared = shared
        super().__init__(*args, **kwargs)

    def _build_mlp_extractor(self) -> None:
        n, entries = int(self.action_space.n), self.features_dim - self.shared
        if entries <= 0 or entries % n:
            raise ValueError(
                f"{self.features_dim} entries are not {self.shared} shared ones and as many for {n} actions"
            )
        arch = self.net_arch if isinstance(self.net_arch, dict) else {"pi": self.net_arch, "vf": self.net_arch}
        self.mlp_extractor = _Extractor(self.shared, entries // n, n, self.features_dim, arch, self.activation_fn)

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        self.action_net = nn.Identity()  # the actor's last layer is that of the perceptron
        last: Any = self.mlp_extractor.scorer[-1]
        with torch.no_grad():
            last.weight *= 0.01
        options = self.optimizer_kwargs
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **options)


class _Extractor(nn.Module):
    """The scores of the actions, and the critic's last hidden layer."""

    def __init__(self, shared: int, own: int, n: int, size: int, arch: dict[str, list[int]], activation: Any) -> None:
        super().__init__()
        self.shared, self.inputs = shared, shared + own
        self.latent_dim_pi, self.latent_dim_vf = n, [size, *arch["vf"]][-1]
        self.scorer = nn.Sequential(*_hidden(self.inputs, arch["pi"], activation))
        self.scorer.append(nn.Linear([self.inputs, *arch["pi"]][-1], 1))
        self.critic = nn.Sequential(*_hidden(size, arch["vf"], activation))

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.scorer(one_by_one(features, self.shared, self.inputs))
        return scores[..., 0]

    def forward_critic(self, features: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.critic(features)
        return found


def _hidden(size: int, widths: Sequence[int], activation: Any) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(size, width), activation()]
        size = width
    return layers


class SeveralTasks(VecEnv):  # type: ignore[misc]
    """Several vector environments of equal spaces as one: an agent is trained on all of their tasks at once.

    Args:
        envs: the environments; sub-environments are numbered through in their order.

    Raises:
        ValueError: no environment, or spaces that differ.
    """

    def __init__(self, envs: Sequence[VecEnv]) -> None:
        if not envs:
            raise ValueError("SeveralTasks needs at least one environment")
        first = envs[0]
        for env in envs:
            if (env.observation_space, env.action_space) != (first.observation_space, first.action_space):
                raise ValueError(
                    f"all tasks must have the same spaces, got {first.observation_space} and {first.action_space}, "
                    f"{env.observation_space} and {env.action_space}"
                )
        self.envs = list(envs)
        self._edges = np.cumsum([0, *(env.num_envs for env in envs)])
        super().__init__(int(self._edges[-1]), first.observation_space, first.action_space)

    def seed(self, seed: int | None = None) -> list[int | None]:
        """Seed sub-environment i with seed + i."""
        self._seeds = [None if seed is None else seed + i for i in range(self.num_envs)]
        for env, start in zip(self.envs, self._edges, strict=False):
            env.seed(None if seed is None else seed + int(start))
        return self._seeds

    def reset(self) -> Floats:
        """Start an episode everywhere: (B, O)."""
        observations = [env.reset() for env in self.envs]
        self.reset_infos = [info for env in self.envs for info in env.reset_infos]
        return np.concatenate(observations)

    def step_async(self, actions: Any) -> None:
        """Store the actions (B, ...) for ``step_wait``."""
        for env, own in zip(self.envs, np.split(np.asarray(actions), self._edges[1:-1]), strict=True):
            env.step_async(own)

    def step_wait(self) -> tuple[Floats, Floats, npt.NDArray[np.bool_], list[dict[str, Any]]]:
        """Take the step: observations (B, O), rewards (B,), dones (B,) and B info dictionaries."""
        observations, rewards, dones, infos = zip(*(env.step_wait() for env in self.envs), strict=True)
        self.reset_infos = [info for env in self.envs for info in env.reset_infos]
        joined = [info for part in infos for info in part]
        return np.concatenate(observations), np.concatenate(rewards), np.concatenate(dones), joined

    def close(self) -> None:
        """Close all environments."""
        for env in self.envs:
            env.close()

    def _apply(self, name: str, indices: Indices, *args: Any, **kwargs: Any) -> list[Any]:
        """Results of a method of the environments for the chosen sub-environments, in their order."""
        found = []
        for i in self._get_indices(indices):
            which = int(np.searchsorted(self._edges, i, side="right")) - 1
            found += getattr(self.envs[which], name)(*args, indices=[i - int(self._edges[which])], **kwargs)
        return found

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """An attribute of the chosen sub-environments."""
        return self._apply("get_attr", indices, attr_name)

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Set an attribute of the chosen sub-environments."""
        for i in self._get_indices(indices):
            which = int(np.searchsorted(self._edges, i, side="right")) - 1
            self.envs[which].set_attr(attr_name, value, [i - int(self._edges[which])])

    def env_method(self, method_name: str, *args: Any, indices: Indices = None, **kwargs: Any) -> list[Any]:
        """Call a method of the chosen sub-environments."""
        return self._apply("env_method", indices, method_name, *args, **kwargs)

    def env_is_wrapped(self, wrapper_class: Any, indices: Indices = None) -> list[bool]:
        """Whether the chosen sub-environments are wrapped."""
        return self._apply("env_is_wrapped", indices, wrapper_class)
