"""Many runs kept in tiles and stepped in place by a compiled loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from teach_gym.compiled import compiler
from teach_gym.core.backend import Array
from teach_gym.core.drawing import CompiledStreams
from teach_gym.core.layout import Block, bounded, observe
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.core.task import decode, reset
from teach_gym.envs.loops import CARRIED, LANES, Loop
from teach_gym.envs.recycled import Recycled

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

_AT_ONCE = 4096
"""Number of runs that are reset in one call: the arrays it makes then stay in the processor's cache."""


class CompiledRuns:
    """Runs kept in tiles and stepped in place by a compiled loop (see ``loops``).

    Pickles hold no code: the loop is compiled again when a pickle is loaded.
    """

    def __init__(self, task: Task, blocks: list[Block], n: int, loop: Loop) -> None:
        self.task, self.blocks, self.n, self._loop = task, blocks, n, loop
        self._function = compiler.compiled(loop.source, task.spec.dtype)
        dtype, tiles = np.dtype(task.spec.dtype), -(-n // LANES)
        self._dtype = dtype
        self._tiles = np.zeros((tiles, loop.tile, LANES), dtype=dtype)
        self._scratch, self._index = np.zeros(loop.scratch * LANES, dtype=dtype), np.zeros(LANES, dtype=np.int64)
        self._t = np.zeros(tiles * LANES, dtype=np.int32)
        self._table = np.ascontiguousarray(task.rows.T)
        self._candidates = np.ascontiguousarray(task.medium.candidates.reshape(task.n_actions, -1).T)
        self._target = np.ascontiguousarray(task.target)
        results: list[tuple[Any, tuple[int, ...]]] = [
            (np.float32, (*loop.shapes["observation"], n)),
            (dtype, (n,)),
            (np.bool_, (n,)),
            (dtype, (n,)),
        ]
        results += [(dtype, (*loop.shapes[name], n)) for name in ("example_y", "example_x")]
        self._results = Recycled(results)
        offered = task.spec.budget * task.medium.n_sources * task.spec.batch_size
        self._schedule, self._key = np.empty((offered, n), dtype=np.int32), np.empty(n, dtype=np.int64)
        self._observation, _, _, self._distance, self._y, self._x = self._results.take()
        self._given = self._shared = False

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_function"}

    def __setstate__(self, fields: dict[str, Any]) -> None:
        self.__dict__.update(fields)
        self._function = compiler.compiled(self._loop.source, self.task.spec.dtype)

    @property
    def state(self) -> TeachState:
        """Their state, copied from the tiles."""
        task = self.task
        found: dict[str, Any] = dict.fromkeys(CARRIED)
        flat = self._tiles.transpose(1, 0, 2)
        for name, rows in self._loop.rows.items():
            values = flat[rows].reshape(rows.stop - rows.start, -1)[:, : self.n]
            found[name] = _batch_first(values.copy().reshape(*self._loop.shapes[name], self.n))
        target = np.repeat(self._target[:, None], self.n, axis=1).T
        if found["difference"] is None:
            found["difference"] = target - found["w"]
        self._shared = True
        shape = (task.spec.budget, task.medium.n_sources, task.spec.batch_size, self.n)
        schedule = _batch_first(self._schedule.reshape(shape))
        t = self.elapsed.astype(np.int64)
        return TeachState(target=target, schedule=schedule, t=t, key=self._key, **found)

    @property
    def elapsed(self) -> Array:
        """Steps taken in the episodes."""
        return self._t[: self.n]

    @property
    def distance(self) -> Array:
        """Distances to the target."""
        return self._distance

    @property
    def example(self) -> Example:
        """The teaching examples shown last."""
        return Example(self._x.transpose(2, 0, 1), self._y.transpose(2, 0, 1))

    def start(self, rows: Ints, keys: Keys) -> None:
        """Start episodes; what callers hold is copied first."""
        everyone = len(rows) == self.n
        if self._shared:  # an array that nobody else holds is filled anew: fresh memory costs more than its values
            self._schedule = np.empty_like(self._schedule) if everyone else self._schedule.copy()
            self._key = self._key.copy()
        if everyone:
            self._observation, _, _, self._distance, self._y, self._x = self._results.take()
        elif self._given:
            held = (self._observation, self._distance, self._y, self._x)
            self._observation, self._distance, self._y, self._x = (a.copy() for a in held)
        self._given = self._shared = False
        for start in range(0, len(rows), _AT_ONCE):
            self._start(rows[start : start + _AT_ONCE], keys[start : start + _AT_ONCE])
        self._t[rows] = 0
        self._x[..., rows] = self._y[..., rows] = np.nan

    def _start(self, rows: Ints, keys: Keys) -> None:
        fresh = reset(self.task, CompiledStreams(keys))
        at: Any = slice(rows[0], rows[-1] + 1) if rows[-1] - rows[0] == len(rows) - 1 else rows
        self._schedule[:, at] = _batch_last(fresh.schedule)
        assert fresh.key is not None
        self._key[at] = fresh.key
        for name, places in self._loop.rows.items():
            self._put(places, rows, _batch_last(getattr(fresh, name)))
        self._observation[:, at] = observe(self.task, fresh, self.blocks).T
        self._distance[at] = fresh.distance

    def _put(self, at: slice, rows: Ints, values: Array) -> None:
        """Write values (n, R) to some rows of the tiles for some runs."""
        tiles = self._tiles.transpose(1, 0, 2)[at]
        first, whole = rows[0] // LANES, len(rows) // LANES
        if rows[0] % LANES == 0 and rows[-1] - rows[0] == len(rows) - 1:  # whole tiles, then the rest of one
            tiles[:, first : first + whole] = values[:, : whole * LANES].reshape(len(values), -1, LANES)
            rows, values = rows[whole * LANES :], values[:, whole * LANES :]
        tiles[:, rows // LANES, rows % LANES] = values

    def step(self, actions: Array) -> tuple[Array, Bools]:
        """Step every run."""
        given: Array
        if self.task.spec.continuous:
            with np.errstate(over="ignore", invalid="ignore"):  # actions far outside the constraint set
                given = np.ascontiguousarray(_batch_last(decode(self.task, actions)), dtype=self._dtype)
        else:
            given = np.ascontiguousarray(actions, dtype=np.int64)
        results = self._results.take()
        self._observation, reward, terminated, self._distance, self._y, self._x = results
        flaws = self._function(
            given,
            self._tiles.reshape(-1),
            self._scratch,
            self._index,
            self._schedule,
            self._table,
            self._candidates,
            self._target,
            self._t,
            *results,
        )
        if flaws:
            bounded(self._observation)
        self._given = False
        return reward, terminated

    def observe(self) -> Floats:
        """The observations."""
        self._given = True
        observation: Floats = self._observation.T
        return observation

    def last(self, rows: Ints) -> Floats:
        """The observations of some runs."""
        observation: Floats = self._observation[:, rows].T
        return observation


def _batch_first(array: Array) -> Array:
    """A view with the last axis first: (..., B) -> (B, ...)."""
    return array.transpose(array.ndim - 1, *range(array.ndim - 1))


def _batch_last(array: Array) -> Array:
    """The numbers of each run as a column: (B, ...) -> (n, B)."""
    return array.transpose(*range(1, array.ndim), 0).reshape(-1, len(array))
