"""What a teaching example was made from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from teach_gym.core.backend import Array
from teach_gym.core.medium import Mixup, Perturb
from teach_gym.core.state import Example, Task, TeachState


class Origin(NamedTuple):
    """Where a teaching example came from.

    Attributes:
        rows: train rows it was made from; empty if unknown.
        moved: whether its features need not be those of a row; always so for Mixup.
        share: the Mixup coefficient, the share of the first row; None for other examples.
    """

    rows: tuple[int, ...]
    moved: bool
    share: float | None = None


def origin(task: Task, state: TeachState, example: Example, i: int = 0) -> Origin:
    """The train rows that row i of the example shown last was made from (state after the step, B = 1)."""
    step = min(max(int(state.t[0]) - 1, 0), state.schedule.shape[1] - 1)
    offered = state.schedule[0, step, :, i]
    x = example.x[0, i]
    share = _share(x, *task.x[offered]) if isinstance(task.medium, Mixup) else None
    if share is not None:
        return Origin(tuple(int(r) for r in offered), True, share)
    for rows in (offered, np.arange(len(task.x))):
        gap = np.abs(task.x[rows] - x).max(axis=1)
        best = int(gap.argmin())
        if gap[best] <= 1e-6:
            return Origin((int(rows[best]),), False)
    if isinstance(task.medium, Mixup | Perturb):
        return Origin(tuple(int(r) for r in offered), True)
    return Origin((), False)


def _share(x: Array, first: Array, second: Array) -> float | None:
    """The c of x = c first + (1 - c) second, features (d,); None if there is none."""
    across = np.asarray(first - second, dtype=np.float64)
    length = float(across @ across)
    share = float((x - second) @ across) / length if length > 0.0 else 1.0
    gap = np.abs(second + share * across - x).max()
    return round(share, 6) if gap <= 1e-5 and -1e-6 <= share <= 1.0 + 1e-6 else None
