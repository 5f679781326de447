"""Policies of Stable-Baselines3 in files that hold numbers and JSON only.

SB3's own ``.zip`` files are read by unpickling, which runs whatever code they contain; nothing here does.
"""

from __future__ import annotations

import inspect
import io
import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from teach_gym.build import build
from teach_gym.envs.base import action_space, observation_space
from teach_gym.errors import lookup_name
from teach_gym.files import writing
from teach_gym.spec import TaskSpec
from teach_gym.task import Task

try:
    import torch
    from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
    from stable_baselines3.common.torch_layers import FlattenExtractor
    from stable_baselines3.common.vec_env import VecNormalize
    from stable_baselines3.dqn.policies import DQNPolicy
    from stable_baselines3.sac.policies import SACPolicy
    from stable_baselines3.td3.policies import TD3Policy
except ImportError as error:
    raise ImportError(
        "teach_gym.integrations.policy_files needs SB3 and torch: pip install 'teach_gym[agents]'"
    ) from error

from teach_gym.integrations.policies import Normalization, PolicyTeacher

POLICIES = {policy.__name__: policy for policy in (ActorCriticPolicy, DQNPolicy, SACPolicy, TD3Policy)}
"""The policies a file may hold: the ``MlpPolicy`` of A2C and PPO, of DQN, of SAC, and of TD3 and DDPG."""
ACTIVATIONS = {
    name: getattr(torch.nn, name) for name in ("Tanh", "ReLU", "LeakyReLU", "ELU", "SELU", "GELU", "SiLU", "Sigmoid")
}
"""The activations a saved policy may use."""
FORMAT = 1
_DERIVED = (
    "lr_schedule",
    "optimizer_class",
    "optimizer_kwargs",
    "features_extractor_class",
    "action_space",
    "observation_space",
)
"""Constructor arguments of a policy that follow from the task or matter only to training."""


def save_policy(
    model: Any, path: str | Path, task_spec: TaskSpec, normalize: VecNormalize | Normalization | None = None
) -> None:
    """Write a policy of A2C, PPO, DQN, SAC, TD3 or DDPG to a file without pickled objects, whole or not at all.

    The file is a zip archive of ``policy.json`` (the policy's arguments, the task, the normalisation statistics) and
    ``policy.pth`` (the weights, as torch writes a plain dictionary of tensors).

    Args:
        model: an SB3 model or policy with the default features extractor.
        path: the file to write.
        task_spec: the task it was trained on.
        normalize: the statistics to apply to observations (None: those of the model's own environment, if any).

    Raises:
        TypeError: a policy of another kind, or with parts that JSON cannot describe.
        ValueError: the policy's spaces are not those of the task.
    """
    teacher = PolicyTeacher(model, normalize=normalize)
    policy = teacher.policy
    kind = type(policy).__name__
    if type(policy) is not POLICIES.get(kind):
        raise TypeError(f"cannot save a policy of type {kind}; allowed: {', '.join(POLICIES)}")
    teacher.check(build(task_spec))
    options = policy._get_constructor_parameters()
    extractor = options.get("features_extractor_class"), options.pop("features_extractor_kwargs", None) or {}
    if extractor != (FlattenExtractor, {}):
        raise TypeError(f"cannot save a policy with the features extractor {extractor}; use the default one")
    activation = options["activation_fn"].__name__
    if ACTIVATIONS.get(activation) is not options["activation_fn"]:
        raise TypeError(f"cannot save the activation {activation}; allowed: {', '.join(ACTIVATIONS)}")
    options = {key: value for key, value in options.items() if key not in _DERIVED and value is not None}
    options["activation_fn"] = activation
    card = {"format": FORMAT, "policy": kind, "options": options, "task": asdict(task_spec)}
    card["normalization"] = None if teacher.normalization is None else asdict(teacher.normalization)
    weights = io.BytesIO()
    torch.save({name: tensor.detach().cpu() for name, tensor in policy.state_dict().items()}, weights)
    members = {"policy.json": json.dumps(card, indent=1).encode(), "policy.pth": weights.getvalue()}
    with writing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # no time stamp: the same policy, the same file


def load_policy_teacher(path: str | Path, *, deterministic: bool = True, name: str | None = None) -> PolicyTeacher:
    """Read a file of ``save_policy`` as a teacher on the CPU; nothing in the file is ever run.

    Args:
        path: the file.
        deterministic: as in ``PolicyTeacher``.
        name: the name in reports (None: the file's).

    Raises:
        FileNotFoundError: no such file, or the task's data is not there (``DataNotFoundError``).
        ValueError: not a file of ``save_policy``, or a damaged one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            card, weights = json.loads(archive.read("policy.json")), archive.read("policy.pth")
        if card["format"] != FORMAT:
            raise ValueError(f"format {card['format']!r}, this version reads {FORMAT}")
        spec, statistics = TaskSpec(**card["task"]), card["normalization"]
        normalization = None if statistics is None else Normalization(**statistics)
        task = build(spec)
        policy = _rebuild(card, task)
        policy.load_state_dict(torch.load(io.BytesIO(weights), map_location="cpu", weights_only=True))
        if not all(bool(torch.isfinite(tensor).all()) for tensor in policy.state_dict().values()):
            raise ValueError("weights that are not finite numbers")
        policy.set_training_mode(False)
        title = name or Path(path).stem
        teacher = PolicyTeacher(policy, deterministic=deterministic, normalize=normalization, name=title)
        teacher.check(task)
    except OSError:
        raise
    except Exception as error:  # readers of damaged files raise anything
        hint = "files of SB3's own save() hold pickled code: load them with SB3 if you trust them"
        raise ValueError(f"{path} is not a policy written by save_policy ({error}); {hint}") from error
    teacher.spec = spec
    return teacher


def _rebuild(card: dict[str, Any], task: Task) -> BasePolicy:
    """A policy with fresh weights from a file's description; only known classes are made."""
    policy = lookup_name("policy", card["policy"], POLICIES)
    options = dict(card["options"])
    options["activation_fn"] = lookup_name("activation", options["activation_fn"], ACTIVATIONS)
    known = set(inspect.signature(policy).parameters) - set(_DERIVED)
    if not set(options) <= known:
        raise ValueError(f"unknown options {sorted(set(options) - known)}")
    return policy(observation_space(task), action_space(task), lambda _: 0.0, **options)
