"""What teachers are scored by on a task: the distance to the target, or without w* the loss on the hold-out rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from teach_gym.core.spec import BLACK_BOX

PASSIVE = "passive"
REFERENCE = "greedy"
"""The teachers whose teaching score is 0 and 1; every task of a suite has both."""


class Measure(NamedTuple):
    """What D of the teaching score is on a task.

    Attributes:
        metric: a key of ``teach_gym.core.metrics.METRICS``; smaller is better.
        words: what it is.
        references: the teachers that may mark 1: the one with the smallest mean D does.
        beside: metrics that are reported beside it.
        rivals: further teachers that aim at this measure; suites offer them on such tasks.
    """

    metric: str
    words: str
    references: tuple[str, ...]
    beside: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()


OMNISCIENT = Measure("distance", "distance to the target", (REFERENCE,))
WITHOUT_TARGET = Measure(
    "holdout_loss",
    "loss on the hold-out rows",
    (REFERENCE, "holdout_greedy"),
    ("test_accuracy", "distance"),
    ("holdout_rehearsal",),
)


def measure_of(observation: str) -> Measure:
    """What teachers are scored by on a task with this observation; black-box ones by what they are rewarded for."""
    return WITHOUT_TARGET if observation in BLACK_BOX else OMNISCIENT


def best_reference(ends: Mapping[str, npt.NDArray[np.float64]], measure: Measure) -> str:
    """The reference with the smallest mean D among those of the measure that there are.

    Args:
        ends: teacher -> D of its runs, (S,).
        measure: the task's.
    """
    return min((name for name in measure.references if name in ends), key=lambda name: float(ends[name].mean()))
