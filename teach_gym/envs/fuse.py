"""Straight-line programs of the teaching step, made by running its own code on symbols.

A teaching step on a small learner is a few dozen multiplications; for a single run numpy's call overhead costs
ten times as much. So ``compose``, ``conclude`` and the observation are run once on arrays of symbols, and the
expressions that come out are compiled to plain Python on floats (double precision, whatever the task's dtype).
The formulas stay where they are written, once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from teach_gym.core.backend import Array
from teach_gym.core.observe import Block
from teach_gym.core.state import Sources, Task, TeachState
from teach_gym.core.task import compose, conclude

LIMIT = 800
"""Most entries of learner and sources for which a program is worth its compilation."""


class UntraceableError(TypeError):
    """The step branches on values or uses an operation that symbols lack; numpy runs it as it is."""


class Symbol:
    """An expression: an operation on other symbols and numbers."""

    __slots__ = ("args", "op")

    def __init__(self, op: str, *args: Any) -> None:
        self.op, self.args = op, args

    def __add__(self, other: Any) -> Symbol:
        return self if _is(other, 0) else Symbol("+", self, other)

    def __radd__(self, other: Any) -> Symbol:
        return self if _is(other, 0) else Symbol("+", other, self)

    def __sub__(self, other: Any) -> Symbol:
        return self if _is(other, 0) else Symbol("-", self, other)

    def __rsub__(self, other: Any) -> Symbol:
        return Symbol("-", other, self)

    def __mul__(self, other: Any) -> Symbol:
        return self if _is(other, 1) else Symbol("*", self, other)

    def __rmul__(self, other: Any) -> Symbol:
        return self if _is(other, 1) else Symbol("*", other, self)

    def __truediv__(self, other: Any) -> Symbol:
        return self if _is(other, 1) else Symbol("/", self, other)

    def __rtruediv__(self, other: Any) -> Symbol:
        return Symbol("/", other, self)

    def __neg__(self) -> Symbol:
        return Symbol("*", -1.0, self)

    def tanh(self) -> Symbol:
        """What ``numpy.tanh`` calls on an array of objects."""
        return Symbol("tanh", self)

    def sqrt(self) -> Symbol:
        """What ``numpy.sqrt`` calls on an array of objects."""
        return Symbol("sqrt", self)

    def __bool__(self) -> bool:
        raise UntraceableError("the step branches on a value")


def _is(other: Any, number: int) -> bool:
    return not isinstance(other, Symbol) and other == number


@dataclass(frozen=True)
class Program:
    """A compiled teaching step of one run.

    ``function`` takes w, target, velocity, difference, x, y, soft, distance, initial_distance, t, value and the
    coming x, y, soft of a run, each a sequence of floats in C order (empty for None), and gives those of
    ``OUTPUTS``; distance and reward come as plain floats.

    Attributes:
        source: the Python source.
        operations: number of operations.
        function: the compiled function.
        shapes: the shape of each output of one run.
    """

    source: str
    operations: int
    function: Callable[..., Any]
    shapes: dict[str, tuple[int, ...]]


OUTPUTS = ("w", "velocity", "difference", "distance", "reward", "x", "y", "observation")


def trace(task: Task, blocks: list[Block]) -> Program | None:
    """Trace a task's step; None where it is too large, branches on values or measures losses on hold-out rows."""
    entries = task.medium.n_sources * task.spec.batch_size * (task.d + task.k)
    if task.size + entries > LIMIT or task.holdout is not None or task.spec.drawn:
        return None
    inputs, state, value, upcoming = _symbols(task)
    try:
        example = compose(task, state, value)
        after, reward = conclude(task, state, example, state.t + 1, upcoming)
        observation = np.concatenate([np.ravel(b.values(task, after)[0]) for b in blocks])
    except (UntraceableError, TypeError, AttributeError):
        return None
    results = dict(
        zip(
            OUTPUTS,
            (after.w, after.velocity, after.difference, after.distance, reward, *example, observation[None]),
            strict=True,
        )
    )
    source, operations = _write(inputs, results)
    scope: dict[str, Any] = {"tanh": math.tanh, "sqrt": math.sqrt}
    exec(compile(source, "<teaching step>", "exec"), scope)
    shapes = {name: tuple(a.shape[1:]) for name, a in results.items() if a is not None}
    return Program(source, operations, scope["step"], shapes)


def _symbols(task: Task) -> tuple[dict[str, list[Symbol]], TeachState, Array, Sources]:
    """The program's inputs by name, and the state, value and coming sources made of them."""
    m_sources, m = task.medium.n_sources, task.spec.batch_size
    x, y = (m_sources, m, task.d), (m_sources, m, task.k)
    soft = None if task.soft is None else y
    shapes: dict[str, tuple[int, ...] | None] = {
        "w": (task.size,),
        "target": (task.size,),
        "velocity": (task.size,) if task.update.momentum else None,
        "difference": (task.size,),
        "x": x,
        "y": y,
        "soft": soft,
        "distance": (),
        "initial_distance": (),
        "t": (),
        "value": value_shape(task),
        "next_x": x,
        "next_y": y,
        "next_soft": soft,
    }
    inputs: dict[str, list[Symbol]] = {}
    arrays: dict[str, Any] = {}
    for name, shape in shapes.items():
        inputs[name] = [] if shape is None else [Symbol(f"{name}_{i}") for i in range(math.prod(shape))]
        arrays[name] = None
        if shape is not None:
            flat = np.empty(len(inputs[name]), dtype=object)
            flat[:] = inputs[name]
            arrays[name] = flat.reshape((1, *shape))
    value = arrays.pop("value")
    upcoming = Sources(*(arrays.pop(f"next_{name}") for name in Sources._fields))
    return inputs, TeachState(schedule=None, **arrays), value, upcoming


def value_shape(task: Task) -> tuple[int, ...]:
    """Shape of the medium's value for one run."""
    if not task.spec.continuous:
        return tuple(task.medium.candidates.shape[1:])
    low = task.medium.low
    assert low is not None
    return tuple(task.medium.project(low[None].astype(task.spec.dtype)).shape[1:])


def _write(inputs: dict[str, list[Symbol]], results: dict[str, Array | None]) -> tuple[str, int]:
    """Source of the program, each shared expression written once, and its number of operations."""
    names: dict[tuple[str, ...], str] = {}
    lines: list[str] = []

    def name(expression: Any) -> str:
        if not isinstance(expression, Symbol):
            return repr(float(expression))
        if not expression.args:
            return expression.op
        key = (expression.op, *(name(a) for a in expression.args))
        if key not in names:
            op, *args = key
            names[key] = f"v{len(names)}"
            text = f"{op}({args[0]})" if len(args) == 1 else f"{args[0]} {op} {args[1]}"
            lines.append(f"    {names[key]} = {text}")
        return names[key]

    returned = []
    for array in results.values():
        entries = [] if array is None else [name(e) for e in np.ravel(np.asarray(array, dtype=object))]
        scalar = array is not None and array.ndim == 1
        returned.append(entries[0] if scalar else f"({', '.join(entries)}{',' if entries else ''})")
    unpack = [f"    {', '.join(s.op for s in symbols)}, = {n}" for n, symbols in inputs.items() if symbols]
    head = f"def step({', '.join(inputs)}):"
    return "\n".join([head, *unpack, *lines, f"    return {', '.join(returned)}", ""]), len(names)
