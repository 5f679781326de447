"""The layout of an observation, which defines the space, the array and the documentation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from teach_gym.core.backend import Array
from teach_gym.core.observe import OBSERVATIONS
from teach_gym.core.spec import TaskSpec
from teach_gym.core.state import Task, TeachState


class Block(NamedTuple):
    """Consecutive entries of the observation vector.

    Attributes:
        name: the block's name.
        start: its first entry.
        size: number of entries.
        low: lower bound of each entry.
        high: upper bound of each entry.
        meaning: a description of the entries.
        values: (task, state) -> (B, ...) array of B * size entries.
    """

    name: str
    start: int
    size: int
    low: float
    high: float
    meaning: str
    values: Callable[[Task, TeachState], Array]


def layout(task: Task, trained: TaskSpec | None = None) -> list[Block]:
    """The blocks of the task's observation, in order.

    Args:
        task: the task.
        trained: the task that an agent was trained on. The layout is then the one the agent expects: that task's kind
            of observation, with the learning rate in it if it was drawn there.
    """
    if trained is not None:
        used = {name: getattr(trained, name) for name in ("observation", "learning_rate")}
        task = dataclasses.replace(task, spec=dataclasses.replace(task.spec, **used))
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
    """The observation (B, O) float32, a fresh array with the batch axis fastest in memory; see ``bounded``."""
    rows = []
    for block in blocks:
        values = block.values(task, state)
        if values.ndim == 2:
            rows.append(values.T)
        elif values.ndim == 1:
            rows.append(values[None])
        else:
            rows.append(values.transpose(*range(1, values.ndim), 0).reshape(block.size, -1))
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.concatenate(rows, dtype=np.float32, casting="same_kind").T
        return found if np.isfinite(found.sum()) else bounded(found)


def bounded(observation: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """An observation in finite numbers: float32's largest ones for infinities, 0 for NaN. In place."""
    return np.nan_to_num(observation, copy=False)
