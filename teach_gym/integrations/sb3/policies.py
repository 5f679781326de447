"""Trained policies as teachers: those of Stable-Baselines3, objects with the same ``predict``, and torch modules."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecNormalize
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy

from teach_gym.core.backend import Array
from teach_gym.core.layout import Block, bounds, layout, observe
from teach_gym.core.randomness import Streams
from teach_gym.core.spec import TaskSpec
from teach_gym.core.state import Task, TeachState
from teach_gym.envs.base import action_space
from teach_gym.envs.checks import check_actions
from teach_gym.teachers.agent import sampled_actions
from teach_gym.teachers.base import Choice, Teacher, draws
from teach_gym.teachers.perceptron import Normalization

Floats = npt.NDArray[np.float32]


def _normalization_of(policy: Any, normalize: VecNormalize | Normalization | None) -> Normalization | None:
    """The statistics given, or those of the environment that a model was trained on."""
    if normalize is None and isinstance(policy, BaseAlgorithm):
        normalize = policy.get_vec_normalize_env()
    return Normalization.of(normalize) if isinstance(normalize, VecNormalize) else normalize


class PolicyTeacher(Teacher):
    """A memoryless policy that sees only the observation, as a teacher of the benchmark.

    Args:
        policy: an SB3 model or policy; any object with SB3's ``predict(observation, deterministic=...)``; or a
            ``torch.nn.Module`` that maps observations (B, O) to logits of the actions (B, A), or to continuous
            actions, B times the Box shape.
        deterministic: take the most probable action; otherwise actions are sampled from the runs' random streams
            (``draws``), so that they are reproducible and no run depends on its neighbours. Modules and the policies of
            A2C, PPO and SAC are sampled in batches; other objects are called run by run with torch's and numpy's global
            generators seeded. Policies without randomness (DQN, TD3, modules giving continuous actions) act the
            same in either mode.
        normalize: a ``VecNormalize`` or ``Normalization`` whose statistics, as they are now, are applied to
            observations. None takes those of the model's own environment, if it has any.
        name: the name in reports.
        spec: the task it was trained on, if its observations are of another kind than those of the tasks it will
            teach (None: they are of the same kind).

    Raises:
        TypeError: the policy has no ``predict`` and is no module.
    """

    def __init__(
        self,
        policy: Any,
        *,
        deterministic: bool = True,
        normalize: VecNormalize | Normalization | None = None,
        name: str = "policy",
        spec: TaskSpec | None = None,
    ) -> None:
        if not hasattr(policy, "predict") and not isinstance(policy, torch.nn.Module):
            raise TypeError(f"a policy must have predict() or be a torch.nn.Module, got {type(policy).__name__}")
        self.name = name
        self.deterministic = deterministic
        self.normalization = _normalization_of(policy, normalize)
        self.policy = policy.policy if isinstance(policy, BaseAlgorithm) else policy
        self.spec = spec
        self._seen: tuple[Task, list[Block], gym.Space[Any]] | None = None

    def check(self, task: Task) -> None:
        """Raise a ``ValueError`` if the policy's observations or actions are not the task's."""
        seen = gym.spaces.Box(*bounds(layout(task, self.spec)), dtype=np.float32)
        wanted: dict[str, Any] = {"observation": seen, "action": action_space(task)}
        for kind, space in wanted.items():
            found = getattr(self.policy, f"{kind}_space", None)
            if found is not None and not _fits(found, space, bounds=kind == "action"):
                raise ValueError(f"the policy's {kind} space is {_in_words(found)}, the task's is {_in_words(space)}")
        size = wanted["observation"].shape[0]
        if self.normalization is not None and len(self.normalization.mean) != size:
            raise ValueError(f"the normalisation has {len(self.normalization.mean)} entries, observations have {size}")
        if not hasattr(self.policy, "predict"):
            n = int(np.prod(wanted["action"].shape)) if task.spec.continuous else task.n_actions
            try:
                shape = tuple(self._forward(np.zeros((2, size), dtype=np.float32)).shape)
            except RuntimeError as error:
                raise ValueError(
                    f"the module does not accept the task's {_in_words(wanted['observation'])}: {error}"
                ) from error
            if shape[0] != 2 or np.prod(shape) != 2 * n:
                raise ValueError(f"the module returns {shape} for 2 observations, the task takes {wanted['action']}")

    def __call__(self, task: Task, state: TeachState) -> Choice:
        """The policy's actions: (B,) int64, or (B, *Box shape) of the task's dtype.

        Raises:
            ValueError: the policy's actions are not the task's.
        """
        if self._seen is None or self._seen[0] is not task:
            self._seen = task, layout(task, self.spec), action_space(task)
        observation = observe(task, state, self._seen[1])
        if self.normalization is not None:
            observation = self.normalization(observation)
        n = len(observation)
        rng = None if self.deterministic else draws(state)
        if hasattr(self.policy, "predict"):
            action = self._policy_actions(observation, rng)
        else:
            action = self._module_actions(task, observation, rng)
        action = np.asarray(action).reshape(n, *(self._seen[2].shape or ()))
        return check_actions(task, action, n, self._seen[2])

    def _forward(self, observation: Floats) -> Any:
        """The module's outputs, computed in evaluation mode: a tensor on the CPU."""
        device = next((p.device for p in self.policy.parameters()), torch.device("cpu"))
        training = self.policy.training
        self.policy.eval()
        try:
            with torch.no_grad():
                return self.policy(torch.as_tensor(observation, device=device)).cpu()
        finally:
            self.policy.train(training)

    def _module_actions(self, task: Task, observation: Floats, rng: Streams | None) -> Array:
        output = self._forward(observation)
        if task.spec.continuous:
            return output.numpy()
        return output.argmax(-1).numpy() if rng is None else sampled_actions(output.numpy(), rng)

    def _policy_actions(self, observation: Floats, rng: Streams | None) -> Array:
        if rng is None or isinstance(self.policy, DQNPolicy | TD3Policy):
            return self.policy.predict(observation, deterministic=True)[0]
        gaussian = getattr(self.policy, "actor", self.policy)
        if not isinstance(self.policy, ActorCriticPolicy | SACPolicy) or getattr(gaussian, "use_sde", False):
            return self._one_by_one(observation, rng)
        self.policy.set_training_mode(False)
        with torch.no_grad():
            tensor, _ = self.policy.obs_to_tensor(observation)
            if isinstance(self.policy, SACPolicy):
                mean, log_std, _ = self.policy.actor.get_action_dist_params(tensor)
                return self.policy.unscale_action(np.tanh(self._normal(mean, log_std.exp(), rng)))
            found = self.policy.get_distribution(tensor).distribution
        if isinstance(found, torch.distributions.Categorical):
            return sampled_actions(found.logits.cpu().numpy(), rng)
        low, high = self.policy.action_space.low, self.policy.action_space.high
        return np.clip(self._normal(found.mean, found.stddev, rng), low, high)

    def _normal(self, mean: Any, deviation: Any, rng: Streams) -> Array:
        """Gaussian draws from the streams: (B, n) -> (B, *Box shape)."""
        drawn = mean.cpu().numpy() + deviation.cpu().numpy() * rng.normal(mean.shape[1])
        return drawn.reshape(-1, *self.policy.action_space.shape)

    def _one_by_one(self, observation: Floats, rng: Streams) -> Array:
        """Stochastic actions of a policy whose distribution is unknown, each seeded from its run's stream."""
        before, actions = np.random.get_state(), []
        with torch.random.fork_rng(devices=[]):
            try:
                for row, word in zip(observation, rng.bits(1)[:, 0].tolist(), strict=True):
                    torch.manual_seed(word)
                    np.random.seed(word >> 32)
                    actions.append(self.policy.predict(row[None], deterministic=False)[0])
            finally:
                np.random.set_state(before)
        return np.concatenate(actions)


def _in_words(space: Any) -> str:
    """A space in words, without the bounds of every entry."""
    if not isinstance(space, gym.spaces.Box):
        return str(space)
    return f"Box{space.shape} in [{space.low.min()}, {space.high.max()}]"


def _fits(found: Any, wanted: Any, *, bounds: bool) -> bool:
    """Whether a policy's space is the task's: its kind, shape and, if asked, its bounds."""
    if isinstance(wanted, gym.spaces.Discrete) or not isinstance(found, gym.spaces.Box):
        return bool(found == wanted)
    if found.shape != wanted.shape or not bounds:
        return bool(found.shape == wanted.shape)
    return bool(np.allclose(found.low, wanted.low) and np.allclose(found.high, wanted.high))


# --------------------------------------------------------------------------------------------------------------- files
