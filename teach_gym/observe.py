"""Observations: what an agent sees, laid out once for the space, the array and the documentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from teach_gym.backend import Array
from teach_gym.task import Task, TeachState


class Block(NamedTuple):
    """A run of entries of the observation vector.

    Attributes:
        name: the block's name.
        start: its first entry.
        size: number of entries.
        low: lower bound of each entry.
        high: upper bound of each entry.
        meaning: what it holds.
        values: (task, state) -> (B, ...) array of B * size entries.
    """

    name: str
    start: int
    size: int
    low: float
    high: float
    meaning: str
    values: Callable[[Task, TeachState], Array]


def _w(task: Task, state: TeachState) -> Array:
    return state.w


def _difference(task: Task, state: TeachState) -> Array:
    return state.difference


def _features(task: Task, state: TeachState) -> Array:
    return state.x


def _label(task: Task, state: TeachState) -> Array:
    return state.y


def _velocity(task: Task, state: TeachState) -> Array:
    return state.velocity


def _budget(task: Task, state: TeachState) -> Array:
    return (task.spec.budget - state.t) / task.spec.budget


Entry = tuple[str, int, float, float, str, Callable[[Task, TeachState], Array]]
"""A block without its place: name, size, low, high, meaning, values."""


def omniscient(task: Task) -> list[Entry]:
    """The teacher sees learner, target and sample: the state features h(s) of LAST 4."""
    rows, size, inf = task.medium.n_sources * task.spec.batch_size, task.size, float("inf")
    low = -inf if task.learner.output.label_low is None else task.learner.output.label_low
    high = inf if task.learner.output.label_high is None else task.learner.output.label_high
    entries: list[Entry] = [
        ("w", size, -inf, inf, "learner parameters w", _w),
        ("difference", size, -inf, inf, "target minus learner, w* - w", _difference),
        ("features", rows * task.d, -inf, inf, "features x of the offered examples", _features),
        ("label", rows * task.k, low, high, "ground-truth labels y of the offered examples", _label),
    ]
    if task.update.momentum:
        entries.append(("velocity", size, -inf, inf, "the learner's momentum buffer", _velocity))
    return [*entries, ("budget", 1, 0.0, 1.0, "share of the teaching budget that remains", _budget)]


OBSERVATIONS: dict[str, Callable[[Task], list[Entry]]] = {"omniscient": omniscient}


def layout(task: Task) -> list[Block]:
    """The blocks of the task's observation, in order."""
    blocks: list[Block] = []
    for name, size, low, high, meaning, values in OBSERVATIONS[task.spec.observation](task):
        start = blocks[-1].start + blocks[-1].size if blocks else 0
        blocks.append(Block(name, start, size, low, high, meaning, values))
    return blocks


def bounds(blocks: list[Block]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Lower and upper bounds of the observation vector, (O,) each."""
    low = np.concatenate([np.full(b.size, b.low, dtype=np.float32) for b in blocks])
    high = np.concatenate([np.full(b.size, b.high, dtype=np.float32) for b in blocks])
    return low, high


def observe(task: Task, state: TeachState, blocks: list[Block]) -> npt.NDArray[np.float32]:
    """The observation (B, O) float32, a fresh array with the batch axis fastest in memory."""
    rows = []
    for block in blocks:
        values = block.values(task, state)
        if values.ndim == 2:
            rows.append(values.T)
        elif values.ndim == 1:
            rows.append(values[None])
        else:
            rows.append(values.transpose(*range(1, values.ndim), 0).reshape(block.size, -1))
    return np.concatenate(rows, dtype=np.float32, casting="same_kind").T
