"""Checks of what users give environments: actions, seeds, options of ``reset``, render modes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from teach_gym.core.backend import Array
from teach_gym.core.state import Task
from teach_gym.errors import closest, number, shown

RENDER_MODES = ("rgb_array", "ansi")
INTEGERS = frozenset({int, *(np.dtype(code).type for code in "bBhHiIlLqQ")})
"""The types of single integers; bools and time spans, which derive from some of them, are none."""
_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def check_actions(task: Task, action: Any, n: int, space: gym.Space[Any]) -> Array:
    """Check a batch of actions and return it as an array of the right type.

    Raises:
        ValueError: wrong shape, an index out of range, or a number that is not finite.
        TypeError: not integers where integers are needed.
    """
    if not task.spec.continuous:
        return check_indices(action, n, task.n_actions)
    given, wanted = _as_array(action), (n, *(space.shape or ()))
    if given.dtype.kind not in "fiu":
        raise TypeError(f"actions must be real numbers, got {shown(action)} of dtype {given.dtype}")
    if given.shape != wanted:
        raise ValueError(f"actions must have shape {wanted}, got {given.shape}")
    with np.errstate(over="ignore"):
        found = given.astype(task.spec.dtype, copy=False)
    if not np.isfinite(found).all():
        raise ValueError(f"actions must be finite numbers, got {shown(action)}")
    return found


def check_indices(action: Any, n: int, n_actions: int) -> Array:
    """Check a batch of n discrete actions and return it as an array of integers.

    Raises:
        ValueError: wrong shape, or an index out of range.
        TypeError: not integers.
    """
    found = _as_array(action)
    if found.shape != (n,):
        raise ValueError(f"actions must have shape ({n},), got {found.shape}")
    if found.dtype.kind not in "iu":
        raise TypeError(f"actions must be integers in [0, {n_actions}), got {shown(action)} of dtype {found.dtype}")
    unsigned = found.view(_UNSIGNED[found.dtype.itemsize])  # negative numbers become large ones
    wrong = unsigned >= n_actions
    if np.count_nonzero(wrong):
        raise ValueError(f"actions must lie in [0, {n_actions}), got {shown(found[wrong])}")
    return found


def _as_array(action: Any) -> Array:
    """An action as an array of its own type.

    Raises:
        TypeError: nothing that an array can hold, or a list in which bools stand for numbers.
    """
    if isinstance(action, np.ndarray):
        return action
    try:
        found = np.asarray(action)
    except Exception as error:  # whatever the action's own conversion raises
        raise TypeError(f"actions must be numbers of one shape, got {shown(action)}") from error
    if isinstance(action, list | tuple) and _holds_bool(action):
        raise TypeError(f"actions must be numbers, not True or False, got {shown(action)}")
    return found


def _holds_bool(items: Any) -> bool:
    """Whether nested lists hold a bool, which numpy would take for a number."""
    if isinstance(items, list | tuple):
        return any(map(_holds_bool, items))
    return isinstance(items, bool | np.bool_)


def batch_of_one(action: Any, space: gym.Space[Any]) -> Array:
    """The action of one environment as a batch, (1, *shape); it may be a single action or a batch of one.

    Raises:
        ValueError: wrong shape.
    """
    given, shape = _as_array(action), space.shape or ()
    if given.shape not in (shape, (1, *shape)):
        raise ValueError(f"an action must have shape {shape}, or {(1, *shape)} as a batch of one, got {given.shape}")
    return given.reshape((1, *shape))


def check_render_mode(render_mode: str | None) -> None:
    """Raise a ``ValueError`` for an unknown render mode."""
    if render_mode is not None and not (isinstance(render_mode, str) and render_mode in RENDER_MODES):
        near = closest(render_mode, RENDER_MODES)
        raise ValueError(
            f"render_mode must be None or one of {', '.join(RENDER_MODES)}, got {shown(render_mode)}{near}"
        )


def check_options(options: Any) -> None:
    """Check the options of ``reset``: there are none.

    Raises:
        TypeError: no dictionary.
        ValueError: a dictionary that is not empty.
    """
    if options is not None and not isinstance(options, Mapping):
        raise TypeError(f"reset options must be a dictionary or None, got {shown(options)}")
    if options:
        raise ValueError(f"unknown reset options {shown(list(options))}; pass the task's arguments to gym.make")


def checked_seed(seed: Any) -> int | None:
    """A seed of ``reset`` as a plain integer, or None.

    Raises:
        TypeError: no integer.
        ValueError: a negative one.
    """
    if seed is None:
        return None
    number("seed", seed, integer=True)
    if seed < 0:
        raise ValueError(f"seed must be >= 0, got {shown(seed)}")
    return int(seed)
