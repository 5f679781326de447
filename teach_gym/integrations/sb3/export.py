"""Trained policies as files of the benchmark's agents (``teach_gym.teachers.agent``).

Reading SB3's own ``.zip`` files unpickles them, which runs any code they contain; these files hold numbers and JSON.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecNormalize
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy

from teach_gym.core.spec import TaskSpec
from teach_gym.core.state import Task
from teach_gym.integrations.perceptrons import network_of_modules
from teach_gym.integrations.sb3.each import EachActionPolicy
from teach_gym.integrations.sb3.policies import PolicyTeacher
from teach_gym.teachers.agent import save_agent
from teach_gym.teachers.perceptron import Network, Normalization


def save_policy(
    model: Any,
    path: str | Path,
    spec: TaskSpec | None = None,
    normalize: VecNormalize | Normalization | None = None,
    **card: Any,
) -> None:
    """Write the deterministic policy of A2C, PPO, DQN, SAC, TD3 or DDPG, or a perceptron, to a file.

    ``Agent(path=...)`` reads it back; ``teach-gym bench --teachers agent:PATH`` adds it to a report.

    Args:
        model: an SB3 model or its ``MlpPolicy``; or a ``torch.nn.Sequential`` of linear layers and one kind of
            activation that gives logits of the actions.
        path: the file to write, usually ``*.safetensors``; it is written whole or not at all.
        spec: the task it was trained on (None: that of the model's own environment).
        normalize: the statistics to apply to observations (None: those of the model's own environment, if any).
        **card: further plain JSON values to keep with it, such as the settings and the score.

    Raises:
        TypeError: a policy of another kind or with other layers, or a card that JSON cannot hold;
            no task given by a model that has no environment of this package.
        ValueError: the policy does not fit the task, or weights that are not finite.
    """
    network = network_of(model, normalize)
    save_agent(path, network, _own_spec(model) if spec is None else spec, **card)


def _own_spec(model: Any) -> TaskSpec:
    """The task of a model's environment."""
    env = model.get_env() if hasattr(model, "get_env") else None
    try:
        task = None if env is None else env.get_attr("task")[0]
    except AttributeError:  # another package's environment
        task = None
    if not isinstance(task, Task):
        raise TypeError(f"spec is needed: a {type(model).__name__} without an environment of teach_gym tells no task")
    return task.spec


def network_of(model: Any, normalize: VecNormalize | Normalization | None = None) -> Network:
    """The deterministic policy, for ``teach_gym.teachers.agent.Agent``; see ``save_policy``."""
    if not isinstance(model, torch.nn.Sequential):
        teacher = PolicyTeacher(model, normalize=normalize)
        shared = getattr(teacher.policy, "shared", 0)
        return network_of_modules(*actor_of(teacher.policy), teacher.normalization, shared)
    if isinstance(normalize, VecNormalize):
        normalize = Normalization.of(normalize)
    return network_of_modules([model], "scores", normalize)


def actor_of(policy: Any) -> tuple[list[Any], str]:
    """The layers from observation to action of an SB3 policy, in order, and the form of their output."""
    kind = type(policy).__name__
    extractor = getattr(policy, "features_extractor_class", None)
    if extractor is not None and extractor.__name__ != "FlattenExtractor":
        raise TypeError(f"cannot save a policy with the features extractor {extractor.__name__}; use the default one")
    if type(policy) is ActorCriticPolicy:
        if getattr(policy, "use_sde", False) and policy.squash_output:
            raise TypeError("cannot save a policy with squash_output=True")
        discrete = hasattr(policy.action_space, "n")
        return [policy.mlp_extractor.policy_net, policy.action_net], "scores" if discrete else "box"
    if type(policy) is EachActionPolicy:
        return [policy.mlp_extractor.scorer], "each"
    if type(policy) is DQNPolicy:
        return [policy.q_net.q_net], "scores"
    if type(policy) is SACPolicy:
        return [policy.actor.latent_pi, policy.actor.mu], "squashed"
    if type(policy) is TD3Policy:
        return [policy.actor.mu[:-1]], "squashed"  # the last layer is tanh
    allowed = "the MlpPolicy of A2C, PPO, DQN, SAC, TD3 and DDPG"
    raise TypeError(f"cannot save a policy of type {kind}; allowed: {allowed}")
