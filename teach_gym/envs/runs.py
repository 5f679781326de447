"""The runs of a vector environment: stepped by array calls, or by a compiled loop over runs."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np
import numpy.typing as npt

from teach_gym.compiled import compiler
from teach_gym.core.backend import Array
from teach_gym.core.batch import put
from teach_gym.core.layout import Block, observe
from teach_gym.core.randomness import Streams
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.core.tallies import compiled_tally
from teach_gym.core.task import reset, step
from teach_gym.envs.base import unshown
from teach_gym.envs.fuse import record
from teach_gym.envs.loops import Loop, write
from teach_gym.envs.tiles import CompiledRuns

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

LEAST_WIDTH = 64
"""Fewer runs than this are not worth compiling a loop for."""
LOOP_LIMIT = 300
"""Maximum number of operations of a compiled loop. One of 205 (``LabelMNIST``) takes half the time of array calls, one
of 525 (``LabelDigits``) more time than they, and twice as long to compile."""
LONGEST_LOOP = 3000
"""The same where a loop is insisted on. Compiling one of 5,000 takes half an hour."""


class Runs(Protocol):
    """B teaching runs."""

    @property
    def state(self) -> TeachState:
        """Their state, which later steps do not change."""

    @property
    def elapsed(self) -> Array:
        """Steps taken in the episodes: (B,) integers."""

    @property
    def distance(self) -> Array:
        """Distances to the target: (B,), an array that the caller may keep."""

    @property
    def example(self) -> Example:
        """The teaching examples shown last, nan where none was: arrays that the caller may keep."""

    def start(self, rows: Ints, keys: Keys) -> None:
        """Start episodes in the runs ``rows``, each determined by its key; the first call starts all runs."""

    def step(self, actions: Array) -> tuple[Array, Bools]:
        """Step every run by valid actions: rewards (B,) and terminations (B,), fresh arrays."""

    def observe(self) -> Floats:
        """The observations (B, O), an array that the caller may keep."""

    def last(self, rows: Ints) -> Floats:
        """The observations of the runs ``rows``, a fresh array."""


def make_runs(task: Task, blocks: list[Block], n: int, compiled: bool | None) -> Runs:
    """The runs of a vector environment.

    Args:
        task: the task.
        blocks: the layout of its observation.
        n: number B of runs.
        compiled: whether to step them by a compiled loop (None: if numba is installed, there are at least
            ``LEAST_WIDTH`` runs, and the task's step can be recorded with ``LOOP_LIMIT`` operations; where it measures
            losses on hold-out rows, these measurements are compiled).

    Raises:
        ImportError: ``compiled`` is True and numba is not installed.
        ValueError: ``compiled`` is True and the task's step cannot be recorded, or only with more than
            ``LONGEST_LOOP`` operations.
    """
    if compiled is False or (compiled is None and (n < LEAST_WIDTH or not compiler.installed())):
        return ArrayRuns(task, blocks, n)
    if task.remembers and compiled is None:
        task = dataclasses.replace(task, tally=compiled_tally(task))
    loop = _loop(task, blocks, LOOP_LIMIT if compiled is None else LONGEST_LOOP)
    if loop is not None:
        return CompiledRuns(task, blocks, n, loop)
    if compiled:
        raise ValueError(
            "compiled=True is impossible for this task: its step measures losses on hold-out rows, depends on fields "
            f"drawn at reset, uses functions that cannot be recorded or takes more than {LONGEST_LOOP:,} operations; "
            "use compiled=None or False"
        )
    return ArrayRuns(task, blocks, n)


def _loop(task: Task, blocks: list[Block], limit: int) -> Loop | None:
    if task.spec.budget >= 2**24:  # the numbers of steps are computed with in the task's floating type
        return None
    found = record(task, blocks, limit)
    return None if found is None else write(task, found)


class ArrayRuns:
    """Runs stepped by ``teach_gym.core.task.step``."""

    def __init__(self, task: Task, blocks: list[Block], n: int) -> None:
        self.task, self.blocks, self.n = task, blocks, n
        self._state: TeachState | None = None
        self.example = unshown(task, (n,))

    @property
    def state(self) -> TeachState:
        """Their state."""
        assert self._state is not None
        return self._state

    @property
    def elapsed(self) -> Array:
        """Steps taken in the episodes."""
        return self.state.t

    @property
    def distance(self) -> Array:
        """Distances to the target, a copy."""
        return self.state.distance.copy()

    def start(self, rows: Ints, keys: Keys) -> None:
        """Start episodes."""
        fresh, nothing = reset(self.task, Streams(keys)), unshown(self.task, (len(rows),))
        if len(rows) == self.n:
            self._state, self.example = fresh, nothing
        else:
            self._state = put(self.state, rows, fresh)
            self.example = Example(*(_replaced(a, rows, b) for a, b in zip(self.example, nothing, strict=True)))

    def step(self, actions: Array) -> tuple[Array, Bools]:
        """Step every run."""
        with np.errstate(over="ignore", invalid="ignore"):  # learners that diverge
            self._state, reward, terminated, self.example = step(self.task, self.state, actions)
        return reward, terminated

    def observe(self) -> Floats:
        """The observations."""
        return observe(self.task, self.state, self.blocks)

    def last(self, rows: Ints) -> Floats:
        """The observations of some runs."""
        return self.observe()[rows]


def _replaced(array: Array, rows: Ints, values: Array) -> Array:
    """A copy of an array with the values of some rows replaced."""
    array = array.copy(order="K")
    array[rows] = values
    return array
