"""Operations on states of many runs: selecting, replacing and checking runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from teach_gym.core.backend import Array, namespace
from teach_gym.core.state import TeachState

DIVERGED = 1e15
"""Distance to the target above which a learner has diverged, and its episode ends."""

S = TypeVar("S", bound=tuple[Any, ...])
T = TypeVar("T")


def each(change: Callable[..., Array], *states: S) -> S:
    """Apply a function to the given states field by field and return the state of the results; None stays None.

    Args:
        change: called with one array of each state.
        *states: states that have the same fields, or parts of states.
    """

    def changed(*found: Any) -> Any:
        if found[0] is None:
            return None
        return each(change, *found) if isinstance(found[0], tuple) else change(*found)

    first = states[0]
    return type(first)(*(changed(*found) for found in zip(*states, strict=True)))


def needed(part: T | None) -> T:
    """An optional part of a state, checked to be present.

    Raises:
        ValueError: the part is None, so the state belongs to another task.
    """
    if part is None:
        raise ValueError("the state lacks a part that the task needs: it belongs to another task")
    return part


def take(state: TeachState, rows: Array) -> TeachState:
    """Select runs by indices or a mask."""
    return each(lambda a: a[rows], state)


def put(state: TeachState, rows: Array, other: TeachState) -> TeachState:
    """A copy of ``state`` with the runs at ``rows`` replaced by those of ``other``, in order."""

    def merged(a: Array, b: Array) -> Array:
        a = namespace(a).asarray(a, copy=True)
        a[rows] = b
        return a

    return each(merged, state, other)


def diverged(state: TeachState) -> Array:
    """Whether each learner has diverged: its distance to the target exceeds ``DIVERGED`` or is no number, (B,) bool."""
    return ~(state.distance <= DIVERGED)
