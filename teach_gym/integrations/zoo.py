"""The YAML files of RL Baselines3 Zoo, read without running code.

A file maps ids of environments, and ``default``, to the arguments of an algorithm and those of RL-Zoo itself:
``n_envs``, ``n_timesteps``, ``normalize``, ``env_kwargs``, ``noise_type``, ``noise_std`` and ``callback``. RL-Zoo
evaluates texts such as ``dict(net_arch=[64, 64], activation_fn=nn.ReLU)`` as Python; here they may hold literals,
``dict(...)`` and the names of known activations, and nothing else.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from teach_gym.errors import lookup_name, shown
from teach_gym.registration import env_id
from teach_gym.teachers.perceptron import ACTIVATIONS

try:
    import yaml
except ImportError as error:
    raise ImportError("hyper-parameter files need PyYAML: pip install 'teach_gym[agents]'") from error

_SAFE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Builds plain values only; the one in C, where PyYAML has it, is ten times as fast."""
_MODULES = ("nn", "th.nn", "torch.nn")


def read_hyperparams(path: str | Path, task: str) -> dict[str, Any]:
    """The entry of a task in a YAML file, or the one named ``default``.

    Args:
        path: the file.
        task: the task's short name.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not YAML of this format, or it has neither entry.
    """
    try:
        found = yaml.load(Path(path).read_text(encoding="utf-8"), _SAFE)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: bytes that are no text, huge integers
        raise ValueError(f"{path} is not a YAML file: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} must map environments to hyper-parameters, got {type(found).__name__}")
    name = next((key for key in (env_id(task), "default") if key in found), None)
    if name is None:
        raise ValueError(f"{path} has no entry {env_id(task)!r} and no 'default'; it has {', '.join(map(str, found))}")
    entry = found[name]
    if not isinstance(entry, dict) or not all(isinstance(key, str) for key in entry):
        raise ValueError(f"the entry {name!r} of {path} must map names to values, got {shown(entry)}")
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
            raise ValueError(f"a hyper-parameter must be written name=value, got {shown(text)}")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            try:
                found[name] = yaml.safe_load(value)
            except yaml.YAMLError:
                found[name] = value
    return found


def mapping(name: str, value: Any) -> dict[str, Any]:
    """A dictionary, which may be written as text.

    Raises:
        TypeError: neither.
        ValueError: a text that is not ``dict(name=value, ...)``.
    """
    found = parse_dict(value) if isinstance(value, str) else value
    if not isinstance(found, dict):
        raise TypeError(f"{name} must be a mapping or text dict(name=value, ...), got {shown(value)}")
    return dict(found)


def parse_dict(text: str) -> dict[str, Any]:
    """Read ``dict(name=value, ...)`` or ``{"name": value}`` without evaluating code.

    Raises:
        ValueError: it is something else, or holds more than literals, ``dict(...)`` and ``nn.<activation>``.
    """
    try:
        found = _node_value(ast.parse(text.strip(), mode="eval").body)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"cannot read {shown(text)} as dict(name=value, ...) of plain values: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"cannot read {shown(text)} as dict(name=value, ...): it is a {type(found).__name__}")
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
            from torch import nn

            lookup_name("activation", name, ACTIVATIONS)
            return getattr(nn, name)
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        allowed = "allowed: literals, dict(...) and nn.<activation>"
        raise ValueError(f"{shown(ast.unparse(node))} is not allowed; {allowed}") from error
