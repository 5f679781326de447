"""The recorded step of a single run as machine code (see ``teach_gym.compiled.native``), and the block it works on.

The block holds everything a step needs: the run's numbers, the medium's values, the rows of the whole episode, and room
for the results. A call then takes two integers, the number of steps and the place of the chosen value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from teach_gym.compiled import native
from teach_gym.compiled.symbols import Symbol
from teach_gym.core.state import Task
from teach_gym.envs.fuse import Record

KEPT = ("w", "velocity", "difference", "distance", "initial_distance", "target")
"""What the block keeps of a run between steps."""
_CHANGED = ("w", "velocity", "difference", "distance")
_SOURCES = ("x", "y", "soft")
_PICKLED = ("width", "_places", "_size", "_entries", "_operations", "_source", "_all")
_NUMBERS = ("distance", "reward", "terminated")


class Memory:
    """A block of memory and the function that takes a step on it.

    Args:
        task: the task.
        step: its recorded step.

    Pickles hold no code: it is made again at the next step.
    """

    def __init__(self, task: Task, step: Record) -> None:
        self.width = task.rows.shape[1] * task.medium.n_sources * task.spec.batch_size
        self._places: dict[str, tuple[int, tuple[int, ...]]] = {}
        self._size = 0
        for name in KEPT:
            if step.inputs[name] is not None:
                self._reserve(name, step.inputs[name].shape[1:])
        self._reserve("value", (1 if task.spec.continuous else task.n_actions, step.inputs["value"].size))
        self._reserve("rows", (task.spec.budget, self.width))
        self._reserve("numbers", (len(_NUMBERS),))
        for name in ("x", "y"):
            self._reserve(f"example_{name}", step.shapes[name])
        entries = step.shapes["observation"][0]
        self._reserve("observation", (-(-entries // 2),))
        self._entries, self._operations = entries, len(step.operations())
        self._source = self._write(task, step)
        self._all = np.zeros(self._size)
        self._arrange()
        self.parts["target"][:] = task.target
        if not task.spec.continuous:
            self.parts["value"][:] = task.medium.candidates.reshape(task.n_actions, -1)

    def _reserve(self, name: str, shape: tuple[int, ...]) -> None:
        self._places[name] = (self._size, shape)
        self._size += int(np.prod(shape, dtype=np.int64))

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k in _PICKLED}

    def __setstate__(self, fields: dict[str, Any]) -> None:
        self.__dict__.update(fields)
        self._arrange()

    def _arrange(self) -> None:
        """The views of the block's parts."""
        self.parts = {n: self._all[a : a + int(np.prod(s))].reshape(s) for n, (a, s) in self._places.items()}
        self.observation = self.parts["observation"].view(np.float32)[: self._entries]
        self.numbers, self.x, self.y = (self.parts[name] for name in ("numbers", "example_x", "example_y"))
        self._values, self._address = self.parts["value"].shape[1], self._all.ctypes.data
        self._call: Callable[[int, int, int], None] | None = None

    def take(self, t: int, action: int) -> None:
        """Take the step t with the value of an action.

        Raises:
            RuntimeError: LLVM refuses the code.
        """
        if self._call is None:
            self._call = native.compiled(self._source, self._operations)
        self._call(self._address, t, action * self._values)

    def _write(self, task: Task, step: Record) -> str:
        """The source of the step."""
        begin = {name: place for name, (place, _) in self._places.items()}
        writer = native.Writer(begin["value"], begin["rows"], self.width, task.spec.budget)
        operations = step.operations()
        results = [e for name, a in step.outputs.items() if name != "observation" for e in _entries(a)]
        observed = _entries(step.outputs["observation"])
        used = {o.name for s in operations.values() for o in s.operands if isinstance(o, Symbol)}
        used |= {e.name for e in results if isinstance(e, Symbol)}
        places: dict[str, int | str] = {}
        for name in KEPT:
            places |= {s.name: begin[name] + i for i, s in enumerate(_entries(step.inputs[name]))}
        places |= {s.name: f"value + {i}" for i, s in enumerate(_entries(step.inputs["value"]))}
        columns = (0, task.d, task.d + task.k)
        for row, prefix in (("now", ""), ("then", "next_")):
            for name, column in zip(_SOURCES, columns, strict=True):
                symbols = _entries(step.inputs[prefix + name])
                width = task.d if name == "x" else task.k
                for i, s in enumerate(symbols):
                    places[s.name] = f"{row} + {i // width * task.rows.shape[1] + column + i % width}"
        used |= writer.single(observed, places)
        for name, place in places.items():
            if name in used:
                writer.load(name, place)
        writer.steps("t_0")
        for symbol in operations.values():
            writer.record(symbol)
        for name in _CHANGED:
            if name in begin:
                for i, entry in enumerate(_entries(step.outputs[name])):
                    writer.store(begin[name] + i, entry)
        for i, name in enumerate(_NUMBERS):
            writer.store(begin["numbers"] + i, _entries(step.outputs[name])[0])
        for name in ("x", "y"):
            for i, entry in enumerate(_entries(step.outputs[name])):
                writer.store(begin[f"example_{name}"] + i, entry)
        writer.store_single(begin["observation"], observed, places)
        return writer.source()


def _entries(array: Any) -> list[Any]:
    return [] if array is None else np.ravel(array).tolist()
