"""Straight-line programs for the teaching step, traced by running its code on symbols.

A teaching step on a small learner takes a few dozen multiplications; for a single run, numpy's call overhead costs
ten times as much. Therefore ``compose``, ``conclude``, ``over`` and the observation are run once on arrays of symbols,
and the recorded operations are compiled to plain Python on floats (double precision, whatever the task's dtype).
No formula is written twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from teach_gym.compiled.symbols import SCOPE, Symbol, Tape, UntraceableError
from teach_gym.core.layout import Block
from teach_gym.core.state import Sources, Task, TeachState
from teach_gym.core.task import compose, conclude, over

LIMIT = 700
"""Maximum number of operations of a program; longer ones are faster as array calls (see ``tools/speed.py``)."""


@dataclass(frozen=True)
class Program:
    """A compiled teaching step of one run.

    ``function`` takes w, target, velocity, difference, x, y, soft, distance, initial_distance, t, value and the
    next x, y, soft of a run, each a sequence of floats in C order (empty for None), and returns those of
    ``OUTPUTS``; distance, reward and terminated are plain numbers.

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


OUTPUTS = ("w", "velocity", "difference", "distance", "reward", "terminated", "x", "y", "observation")


@dataclass(frozen=True)
class Record:
    """The recorded step of one run.

    Attributes:
        tape: its operations.
        inputs: arrays of symbols (1, ...) by name, or None where the task has none.
        outputs: arrays of symbols and numbers (1, ...) by the names ``OUTPUTS``, or None.
    """

    tape: Tape
    inputs: dict[str, Any]
    outputs: dict[str, Any]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each output of one run."""
        return {name: tuple(a.shape[1:]) for name, a in self.outputs.items() if a is not None}

    def operations(self) -> dict[str, Symbol]:
        """The operations that the outputs need, by their text, in the order of execution."""
        entries = (e for a in self.outputs.values() if a is not None for e in np.ravel(a).tolist())
        needed = _needed(e for e in entries if isinstance(e, Symbol))
        return {text: s for text, s in self.tape.operations.items() if s.name in needed}


def record(task: Task, blocks: list[Block], limit: int) -> Record | None:
    """Record a task's step; the arguments are those of ``trace``, which says when there is no record."""
    if 2 * task.size > limit or task.remembers or task.spec.drawn:  # an update takes two for each parameter
        return None
    tape = Tape(limit)
    inputs, state, value, upcoming = _inputs(task, tape)
    try:
        example = compose(task, state, value)
        after, reward = conclude(task, state, example, state.t + 1, upcoming)
        observation = np.concatenate([np.ravel(b.values(task, after)[0]) for b in blocks])
        values = (after.w, after.velocity, after.difference, after.distance, reward, over(task, after), *example)
    except UntraceableError:
        return None
    return Record(tape, inputs, dict(zip(OUTPUTS, (*values, observation[None]), strict=True)))


def trace(task: Task, blocks: list[Block], limit: int = LIMIT) -> Program | None:
    """Trace a task's step and compile it for a single run.

    Args:
        task: the task.
        blocks: the layout of its observation.
        limit: maximum number of operations; tracing stops there.

    Returns:
        The program, or None if the step takes more operations (as with losses on hold-out rows), depends on values
        other than through arithmetic and the functions of ``TEMPLATES``, or depends on fields drawn at reset.
    """
    step = record(task, blocks, limit)
    if step is None:
        return None
    source, operations = _write(step)
    scope = dict(SCOPE)
    exec(compile(source, "<teaching step>", "exec"), scope)
    return Program(source, operations, scope["step"], step.shapes)


def _inputs(task: Task, tape: Tape) -> tuple[dict[str, Any], TeachState, Any, Sources]:
    """The program's inputs by name (None where the task has none), and the state, value and next sources they form."""
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
    inputs: dict[str, Any] = {
        name: None if shape is None else tape.inputs(name, shape) for name, shape in shapes.items()
    }
    upcoming = Sources(*(inputs[f"next_{name}"] for name in Sources._fields))
    state = {name: inputs[name] for name in shapes if name in TeachState._fields}
    return inputs, TeachState(schedule=np.empty(0), **state), inputs["value"], upcoming


def value_shape(task: Task) -> tuple[int, ...]:
    """Shape of the medium's value for one run."""
    if not task.spec.continuous:
        return tuple(task.medium.candidates.shape[1:])
    low = task.medium.low
    assert low is not None
    return tuple(task.medium.project(low[None].astype(task.spec.dtype)).shape[1:])


def _write(step: Record) -> tuple[str, int]:
    """Source of the program, without operations that no output needs, and the number of operations kept."""
    operations = step.operations()
    unpack = [f"    {', '.join(s.name for s in np.ravel(a))}, = {n}" for n, a in step.inputs.items() if a is not None]
    lines = [f"    {s.name} = {text}" for text, s in operations.items()]
    returned = []
    for a in step.outputs.values():
        listed = [] if a is None else np.ravel(a).tolist()
        names = [e.name if isinstance(e, Symbol) else repr(float(e)) for e in listed]
        scalar = listed and a.ndim == 1
        returned.append(names[0] if scalar else f"({', '.join(names)}{',' if names else ''})")
    head = f"def step({', '.join(step.inputs)}):"
    return "\n".join([head, *unpack, *lines, f"    return {', '.join(returned)}", ""]), len(lines)


def _needed(outputs: Iterable[Symbol]) -> set[str]:
    """Names of the given symbols and of all symbols they depend on."""
    found: set[str] = set()
    waiting = list(outputs)
    while waiting:
        symbol = waiting.pop()
        if symbol.name not in found:
            found.add(symbol.name)
            waiting += (o for o in symbol.operands if isinstance(o, Symbol))
    return found
