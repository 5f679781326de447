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
        size: number of entries.
        low: lower bound of each entry.
        high: upper bound of each entry.
        meaning: what it holds.
        values: (task, state) -> (B, ..., ) array of B * size entries.
    """

    name: str
    size: int
    low: float
    high: float
    meaning: str
    values: Callable[[Task, TeachState], Array]


def omniscient(task: Task) -> list[Block]:
    """The teacher sees learner, target and sample: the state features h(s) of LAST 4."""
    sources = task.medium.n_sources * task.spec.batch_size
    low = task.learner.output.label_low
    high = task.learner.output.label_high
    inf = float("inf")
    blocks = [
        Block("w", task.size, -inf, inf, "learner parameters w", lambda task, s: s.w),
        Block("difference", task.size, -inf, inf, "target minus learner, w* - w", lambda task, s: s.target - s.w),
        Block("features", sources * task.d, -inf, inf, "features x of the offered examples", lambda task, s: s.x),
        Block(
            "label",
            sources * task.k,
            -inf if low is None else low,
            inf if high is None else high,
            "ground-truth labels y of the offered examples",
            lambda task, s: s.y,
        ),
    ]
    if task.update.momentum:
        blocks.append(Block("velocity", task.size, -inf, inf, "momentum buffer", lambda task, s: s.velocity))
    return [*blocks, _budget()]


def _budget() -> Block:
    return Block(
        "budget",
        1,
        0.0,
        1.0,
        "share of the teaching budget that remains",
        lambda task, s: (task.spec.budget - s.t) / task.spec.budget,
    )


OBSERVATIONS: dict[str, Callable[[Task], list[Block]]] = {"omniscient": omniscient}


def layout(task: Task) -> list[Block]:
    """The blocks of the task's observation, in order."""
    return OBSERVATIONS[task.spec.observation](task)


def bounds(blocks: list[Block]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Lower and upper bounds of the observation vector, (O,) each."""
    low = np.concatenate([np.full(b.size, b.low, dtype=np.float32) for b in blocks])
    high = np.concatenate([np.full(b.size, b.high, dtype=np.float32) for b in blocks])
    return low, high


def observe(task: Task, state: TeachState, blocks: list[Block]) -> npt.NDArray[np.float32]:
    """The observation (B, O) float32, a fresh array with the batch axis fastest in memory."""
    n = len(state.t)
    rows = np.empty((sum(b.size for b in blocks), n), dtype=np.float32)
    start = 0
    for block in blocks:
        values = block.values(task, state)
        part = rows[start : start + block.size]
        if values.ndim <= 2:
            part[...] = values.T
        else:
            part.reshape(*values.shape[1:], n)[...] = np.moveaxis(values, 0, -1)
        start += block.size
    return rows.T
