"""Hyper-parameters in the YAML format of RL Baselines3 Zoo, read without running code.

A file maps ids of environments, and ``default``, to the arguments of an algorithm of Stable-Baselines3 and those of
RL-Zoo itself: ``n_envs``, ``n_timesteps``, ``normalize``, ``env_kwargs``, ``noise_type`` and ``noise_std``. A step size
``lin_0.001`` falls linearly to zero. RL-Zoo evaluates texts such as ``dict(net_arch=[64, 64], activation_fn=nn.ReLU)``
as Python; here they may hold literals, ``dict(...)`` and the names of known activations, and nothing else.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from teach_gym.errors import lookup_name, number, positive
from teach_gym.registration import env_id
from teach_gym.teachers.perceptron import ACTIVATIONS

try:
    import torch
    import yaml
    from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
    from stable_baselines3.common.noise import ActionNoise, NormalActionNoise, OrnsteinUhlenbeckActionNoise
except ImportError as error:
    raise ImportError("teach_gym.integrations.zoo needs SB3 and PyYAML: pip install 'teach_gym[agents]'") from error

ALGORITHMS = {"a2c": A2C, "dqn": DQN, "ppo": PPO, "sac": SAC, "td3": TD3}
"""The algorithms by the names that RL-Zoo gives them."""
SCHEDULES = ("learning_rate", "clip_range", "clip_range_vf")
NOISES = {"normal": NormalActionNoise, "ornstein-uhlenbeck": OrnsteinUhlenbeckActionNoise}
_OWN = ("n_envs", "n_timesteps", "normalize", "env_kwargs", "noise_type", "noise_std")
_OURS = ("self", "env", "seed", "device", "verbose", "tensorboard_log", "action_noise", "_init_setup_model")
_MAPPINGS = ("policy_kwargs", "replay_buffer_kwargs")
_MODULES = ("nn", "th.nn", "torch.nn")


class Settings(NamedTuple):
    """Hyper-parameters as an algorithm takes them.

    Attributes:
        n_envs: number of environments.
        n_timesteps: training steps, all environments together.
        normalize: arguments of ``VecNormalize`` (None: not used).
        env_kwargs: changes of the task.
        noise: class and standard deviation of the action noise (None: none).
        arguments: arguments of the algorithm.
    """

    n_envs: int
    n_timesteps: int
    normalize: dict[str, Any] | None
    env_kwargs: dict[str, Any]
    noise: tuple[type[ActionNoise], float] | None
    arguments: dict[str, Any]

    def action_noise(self, shape: tuple[int, ...]) -> ActionNoise | None:
        """The action noise for actions of a shape."""
        if self.noise is None:
            return None
        kind, std = self.noise
        return kind(np.zeros(shape), np.full(shape, std))


def read_hyperparams(path: str | Path, task: str) -> dict[str, Any]:
    """The entry of a task in a YAML file, or the one named ``default``.

    Args:
        path: the file.
        task: the task's short name.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a YAML file of this format, or it has neither entry.
    """
    try:
        found = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a YAML file: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} must map environments to hyper-parameters, got {type(found).__name__}")
    name = next((key for key in (env_id(task), "default") if key in found), None)
    if name is None:
        raise ValueError(f"{path} has no entry {env_id(task)!r} and no 'default'; it has {', '.join(map(str, found))}")
    entry = found[name]
    if not isinstance(entry, dict) or not all(isinstance(key, str) for key in entry):
        raise ValueError(f"the entry {name!r} of {path} must map names to values, got {entry!r}")
    return dict(entry)


def parse_overrides(texts: Iterable[str]) -> dict[str, Any]:
    """Hyper-parameters written ``name=value``, the value as in Python or YAML: ``gamma=0.8``, ``normalize=false``.

    Raises:
        ValueError: not of that form.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise ValueError(f"a hyper-parameter must be written name=value, got {text!r}")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            try:
                found[name] = yaml.safe_load(value)
            except yaml.YAMLError:
                found[name] = value
    return found


def settings(algo: str, values: Mapping[str, Any]) -> Settings:
    """Hyper-parameters as the algorithm takes them.

    Args:
        algo: a name in ``ALGORITHMS``.
        values: an entry of ``read_hyperparams``, with changes.

    Raises:
        ValueError: unknown algorithm or hyper-parameter, one missing, or a value out of range.
        TypeError: a value of the wrong type.
    """
    algorithm = lookup_name("algorithm", algo, ALGORITHMS)
    parameters = inspect.signature(algorithm).parameters
    known = dict.fromkeys((*_OWN, *(name for name in parameters if name not in _OURS)))
    for name in values:
        lookup_name(f"hyper-parameter of {algo}", name, known)
    for name in ("n_timesteps", "policy"):
        if name not in values:
            raise ValueError(f"the hyper-parameters of {algo} lack {name!r}; they have {', '.join(values)}")
    if values["policy"] != "MlpPolicy":
        raise ValueError(f"policy must be 'MlpPolicy' (observations are vectors), got {values['policy']!r}")
    for name in ("n_envs", "n_timesteps"):
        positive(name, values.get(name, 1))
    arguments = {
        name: _argument(name, value, parameters[name].default) for name, value in values.items() if name not in _OWN
    }
    return Settings(
        int(values.get("n_envs", 1)),
        int(values["n_timesteps"]),
        _normalize(values),
        _mapping("env_kwargs", values.get("env_kwargs", {})),
        _noise(values),
        arguments,
    )


def parse_dict(text: str) -> dict[str, Any]:
    """Read ``dict(name=value, ...)`` or ``{"name": value}`` without evaluating code.

    Raises:
        ValueError: it is something else, or holds more than literals, ``dict(...)`` and ``nn.<activation>``.
    """
    try:
        found = _node_value(ast.parse(text.strip(), mode="eval").body)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"cannot read {text!r} as dict(name=value, ...) of plain values: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"cannot read {text!r} as dict(name=value, ...): it is a {type(found).__name__}")
    return found


def _node_value(node: ast.expr) -> Any:
    """The value of an expression made of literals, ``dict(...)`` and activations."""
    match node:
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords):
            if any(keyword.arg is None for keyword in keywords):
                raise ValueError("** is not allowed")
            return {str(keyword.arg): _node_value(keyword.value) for keyword in keywords}
        case ast.Dict(keys=keys, values=values) if all(key is not None for key in keys):
            return {ast.literal_eval(key): _node_value(value) for key, value in zip(keys, values, strict=True) if key}
        case ast.List(elts=elements):
            return [_node_value(element) for element in elements]
        case ast.Attribute(value=module, attr=name) if ast.unparse(module) in _MODULES:
            lookup_name("activation", name, ACTIVATIONS)
            return getattr(torch.nn, name)
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        allowed = "allowed: literals, dict(...) and nn.<activation>"
        raise ValueError(f"{ast.unparse(node)!r} is not allowed; {allowed}") from error


def _mapping(name: str, value: Any) -> dict[str, Any]:
    """A dictionary, also if it is written as text."""
    found = parse_dict(value) if isinstance(value, str) else value
    if not isinstance(found, dict):
        raise TypeError(f"{name} must be a mapping or text dict(name=value, ...), got {value!r}")
    return dict(found)


def _argument(name: str, value: Any, default: Any) -> Any:
    """One argument of an algorithm: texts that stand for something else are read, numbers are checked."""
    if name in SCHEDULES:
        return _schedule(name, value)
    if name in _MAPPINGS:
        return _mapping(name, value)
    if name == "train_freq" and isinstance(value, list):
        return tuple(value)
    if isinstance(default, int | float) and not isinstance(default, bool):
        number(name, value, integer=isinstance(default, int) and name != "max_grad_norm")
    return value


def _schedule(name: str, value: Any) -> Any:
    """A constant, or ``lin_<number>``: falls linearly to zero with what remains of the training."""
    if not isinstance(value, str):
        number(name, value)
        return value
    start, underscore, text = value.partition("_")
    try:
        initial = float(text)
    except ValueError:
        start = ""
    if not (underscore and start == "lin"):
        raise ValueError(f"{name} must be a number (in YAML 0.001 or 1.0e-3) or lin_<number>, got {value!r}")
    positive(name, initial)
    return lambda remaining: remaining * initial


def _normalize(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """Arguments of ``VecNormalize``, whose discount is the algorithm's, as in RL-Zoo."""
    wanted = values.get("normalize", False)
    if not wanted:
        return None
    options = {} if wanted is True else _mapping("normalize", wanted)
    return {**options, "gamma": values["gamma"]} if "gamma" in values else options


def _noise(values: Mapping[str, Any]) -> tuple[type[ActionNoise], float] | None:
    kind = values.get("noise_type")
    if kind is None:
        return None
    positive("noise_std", values.get("noise_std"))
    return lookup_name("noise_type", kind, NOISES), float(values["noise_std"])
