"""The recorded step as a loop over runs: Python source that numba compiles.

The runs are kept in tiles of ``LANES`` runs. A tile is a block of memory with a row of ``LANES`` numbers for each
parameter, source feature and so on; a second block, the scratch, has rows for what one step needs only. All rows have
fixed distances, so the compiler knows that no two overlap and computes several runs at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from teach_gym.compiled.symbols import Symbol, assignment, written
from teach_gym.core.state import Task
from teach_gym.envs.fuse import Record

LANES = 64
"""Number of runs in a tile."""
CARRIED = ("w", "velocity", "difference", "distance", "initial_distance", "x", "y", "soft")
"""What a tile keeps of a run between steps, where the step uses it. The number of steps is kept apart, as integers."""
_CHANGED = ("w", "velocity", "difference", "distance")
_RESULTS = ("observation", "reward", "terminated", "distance", "y", "x")
"""What a step returns; x and y are those of the teaching example."""


@dataclass(frozen=True)
class Loop:
    """A teaching step of many runs.

    Attributes:
        source: the Python source of its function ``step``.
        rows: the rows of a tile that hold each part of a run, by the names ``CARRIED``.
        tile: number of rows of a tile.
        scratch: number of rows of the scratch.
        shapes: the shape of each part and of each result of one run; those of the teaching example are
            ``example_x`` and ``example_y``.
    """

    source: str
    rows: dict[str, slice]
    tile: int
    scratch: int
    shapes: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class _Place:
    """A row of the tile or of the scratch."""

    block: str
    row: int


def write(task: Task, step: Record) -> Loop:
    """Write the loop of a recorded step.

    Its function ``step`` takes, as contiguous arrays with the batch axis last: the actions (B,), or the values (V, B)
    of the continuous flavour; the tiles, the scratch (both flat) and room for ``LANES`` indices; the schedule
    (H M m, B); the task's table of rows (d + K, N), the candidates' values (V, A) and the target (P,); the numbers of
    steps taken (a multiple of ``LANES``,) int32; and the arrays for its results: observation (O, B), reward (B,),
    terminated (B,), distance (B,), y (m, K, B) and x (m, d, B). It changes tiles, numbers of steps and results, and
    returns the number of runs whose observation may have an entry that is no finite float32.
    """
    return _Writer(task, step).loop()


class _Writer:
    def __init__(self, task: Task, step: Record) -> None:
        self.task, self.step = task, step
        self.operations = step.operations()
        used = {o.name for s in self.operations.values() for o in s.operands if isinstance(o, Symbol)}
        self.places: dict[str, _Place] = {}
        self.rows: dict[str, slice] = {}
        self.sizes = {"tile": 0, "scratch": 0}
        for name in CARRIED:
            symbols = self._entries(step.inputs[name])
            if symbols and (name != "difference" or any(s.name in used for s in symbols)):
                self.rows[name] = slice(self.sizes["tile"], self.sizes["tile"] + len(symbols))
                self._reserve("tile", symbols)
        for name in ("value", "next_x", "next_y", "next_soft", "t"):
            self._reserve("scratch", self._entries(step.inputs[name]))
        self.loaded = used

    @staticmethod
    def _entries(array: Any) -> list[Any]:
        return [] if array is None else np.ravel(array).tolist()

    def _reserve(self, block: str, symbols: Iterable[Symbol]) -> None:
        for symbol in symbols:
            self.places[symbol.name] = _Place(block, self.sizes[block])
            self.sizes[block] += 1

    def loop(self) -> Loop:
        """Assemble the source."""
        arithmetic, results = self._arithmetic()
        text = [
            "def step(",
            "    actions, tiles, scratch, index, schedule, table, candidates, target, t,",
            "    observation, reward, terminated, distance, y, x",
            "):",
            "    runs, flaws = reward.shape[0], 0",
            *(f"    {s.name} = target[{i}]" for i, s in enumerate(self._entries(self.step.inputs["target"]))),
            f"    for tile_number in range((runs + {LANES - 1}) // {LANES}):",
            f"        first = tile_number * {LANES}",
            f"        last = min(first + {LANES}, runs)",
            f"        size = tile_number * {self.sizes['tile'] * LANES}",
            f"        tile, steps = tiles[size : size + {self.sizes['tile'] * LANES}], t[first : first + {LANES}]",
            "        n = last - first",
            *_indented(2, self._offers()),
            *_indented(2, self._values()),
            f"        for j in range({LANES}):",
            *_indented(3, arithmetic),
            *_indented(2, results),
            *_indented(2, self._onwards()),
            "    return flaws",
            "",
        ]
        shapes = {name: self.step.inputs[name].shape[1:] for name in self.rows} | {
            "observation": self.step.shapes["observation"],
            **{f"example_{name}": self.step.shapes[name] for name in ("x", "y")},
        }
        return Loop("\n".join(text), self.rows, self.sizes["tile"], self.sizes["scratch"], shapes)

    def _offers(self) -> list[str]:
        """The rows of the table that the next step offers."""
        task, m = self.task, self.task.spec.batch_size
        offered, last = task.medium.n_sources * m, task.spec.budget - 1
        parts = [("next_x", 0, task.d), ("next_y", task.d, task.k), ("next_soft", task.d + task.k, task.k)]
        text = []
        for q in range(offered):
            text += [
                "for j in range(n):",
                f"    at = min(steps[j] + 1, {last})",
                f"    index[j] = schedule[at * {offered} + {q}, first + j]",
            ]
            for name, column, width in parts:
                symbols = self._entries(self.step.inputs[name])[q * width : (q + 1) * width]
                if symbols:
                    row = self.places[symbols[0].name].row
                    text += [
                        f"for c in range({width}):",
                        f"    column = table[{column} + c]",
                        f"    lane = scratch[({row} + c) * {LANES} : ({row + 1} + c) * {LANES}]",
                        "    for j in range(n):",
                        "        lane[j] = column[index[j]]",
                    ]
        return text

    def _values(self) -> list[str]:
        """The medium's values, and the numbers of steps taken as floating-point numbers."""
        symbols, text = self._entries(self.step.inputs["value"]), []
        if symbols:
            row = self.places[symbols[0].name].row
            chosen = "given[first + j]" if self.task.spec.continuous else "given[actions[first + j]]"
            text += [
                f"for c in range({len(symbols)}):",
                f"    given, lane = {'actions' if self.task.spec.continuous else 'candidates'}[c], "
                f"scratch[({row} + c) * {LANES} : ({row + 1} + c) * {LANES}]",
                "    for j in range(n):",
                f"        lane[j] = {chosen}",
            ]
        row = self.places["t_0"].row
        return [
            *text,
            f"lane = scratch[{row * LANES} : {(row + 1) * LANES}]",
            f"for j in range({LANES}):",
            "    lane[j] = steps[j]",
        ]

    def _arithmetic(self) -> tuple[list[str], list[str]]:
        """The step of one run, and the loops that copy its results to the caller's arrays."""
        places, stored = dict(self.places), []
        for name in _CHANGED:  # the new values take the places of the old ones, which were loaded before
            for old, new in zip(
                self._entries(self.step.inputs[name]), self._entries(self.step.outputs[name]), strict=True
            ):
                places.pop(old.name, None)
                if old.name in self.places:
                    stored.append((self.places[old.name], new))
                    if isinstance(new, Symbol) and new.name not in places:
                        places[new.name] = self.places[old.name]
        results: list[str] = []
        for name in _RESULTS:
            found: list[Any] = []
            for entry in self._entries(self.step.outputs[name]):
                if isinstance(entry, Symbol) and entry.name not in places:
                    places[entry.name] = _Place("scratch", self.sizes["scratch"])
                    self.sizes["scratch"] += 1
                    stored.append((places[entry.name], entry))
                found.append(places[entry.name] if isinstance(entry, Symbol) else entry)
            results += self._copied(name, found)
        flaws = _Place("scratch", self.sizes["scratch"])
        self.sizes["scratch"] += 1
        results += ["for j in range(n):", f"    flaws += {_cell(flaws)} != 0"]
        needed = self.loaded | {e.name for _, e in stored if isinstance(e, Symbol)}
        loads = [f"{name} = {_cell(place)}" for name, place in self.places.items() if name in needed]
        lines = [assignment(s) for s in self.operations.values()]
        lines += [f"{_cell(place)} = {written(entry)}" for place, entry in stored]
        sums, total = squares(self.task, self.step)
        return [*loads, *lines, *sums, f"{_cell(flaws)} = not {total} <= large"], results

    def _copied(self, name: str, entries: list[Any]) -> list[str]:
        """Loops that copy the entries of a result from their places; consecutive ones share a loop."""
        text: list[str] = []
        shape = self.step.shapes[name]
        start = 0
        while start < len(entries):
            end, first = start + 1, entries[start]
            if isinstance(first, _Place):
                while end < len(entries) and entries[end] == _Place(first.block, first.row + end - start):
                    end += 1
            cell = {0: name, 1: f"{name}[{start} + c]"}.get(len(shape), "")
            if len(shape) == 2:
                cell = f"{name}[({start} + c) // {shape[1]}, ({start} + c) % {shape[1]}]"
            text.append(f"for c in range({end - start}):")
            text.append(f"    out = {cell}[first:last]")
            if isinstance(first, _Place):
                text.append(f"    lane = {first.block}[({first.row} + c) * {LANES} : ({first.row + 1} + c) * {LANES}]")
            number = "lane[j]" if isinstance(first, _Place) else repr(float(first))
            text.append("    for j in range(n):")
            text.append(f"        out[j] = {number}{' != 0' if name == 'terminated' else ''}")
            start = end
        return text

    def _onwards(self) -> list[str]:
        """The next step's sources become the current ones."""
        text = [f"for j in range({LANES}):", "    steps[j] += 1"]
        for name in ("x", "y", "soft"):
            if name in self.rows:
                row, size = self.rows[name].start, self.rows[name].stop - self.rows[name].start
                source = self.places[f"next_{name}_0"].row
                text += [
                    f"for j in range({size * LANES}):",
                    f"    tile[{row * LANES} + j] = scratch[{source * LANES} + j]",
                ]
        return text


def squares(task: Task, step: Record) -> tuple[list[str], str]:
    """Lines that sum the squares of an observation's entries, but for data, which are small; and the sum's name.

    It is at most ``large`` if all entries are finite numbers of float32.
    """
    small = ("next_x", "next_y", "next_soft") if np.abs(task.rows).max() < 1e30 else ()
    data = {s.name for n in small if step.inputs[n] is not None for s in np.ravel(step.inputs[n]).tolist()}
    entries = [e.name for e in np.ravel(step.outputs["observation"]).tolist() if isinstance(e, Symbol)]
    sums = [f"{name} * {name}" for name in dict.fromkeys(entries) if name not in data] or ["real(0)", "real(0)"]
    text, turn = [], 0
    while turn == 0 or len(sums) > 1:  # a tree, whose sums do not wait for each other
        pairs = [sums[i : i + 2] for i in range(0, len(sums), 2)]
        sums = []
        for pair in pairs:
            text.append(f"square{turn} = {' + '.join(pair)}")
            sums.append(f"square{turn}")
            turn += 1
    return text, sums[0]


def _cell(place: _Place) -> str:
    return f"{place.block}[{place.row * LANES} + j]"


def _indented(levels: int, lines: Iterable[str]) -> list[str]:
    return [" " * (4 * levels) + line for line in lines]
