"""Straight-line programs of the teaching step, made by running its own code on symbols.

A teaching step on a small learner is a few dozen multiplications; for a single run numpy's call overhead costs
ten times as much. So ``compose``, ``conclude``, ``over`` and the observation are run once on arrays of symbols, and
the operations they carry out are compiled to plain Python on floats (double precision, whatever the task's dtype).
The formulas stay where they are written, once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from teach_gym.core.backend import Array
from teach_gym.core.observe import Block
from teach_gym.core.state import Sources, Task, TeachState
from teach_gym.core.task import compose, conclude, over

LIMIT = 700
"""Most operations of a program: with more of them array calls are faster (``tools/speed.py`` measures both)."""

TEMPLATES: dict[np.ufunc, str] = {
    np.tanh: "tanh({})",
    np.sqrt: "sqrt({})",
    np.log: "log({})",
    np.exp: "exp({})",
    np.power: "power({}, {})",
    np.minimum: "min({}, {})",
    np.maximum: "max({}, {})",
    np.less: "{} < {}",
    np.greater: "{} > {}",
    np.greater_equal: "{} >= {}",
    np.bitwise_or: "{} or {}",
}
"""What array functions are in Python, entry by entry. Arithmetic goes by the operators of ``Symbol``."""

ARITHMETIC = (np.add, np.subtract, np.multiply, np.true_divide, np.negative, np.matmul)
"""Array functions that call nothing but those operators."""


class UntraceableError(TypeError):
    """The step branches on values, uses a function that symbols lack, or is too long; numpy runs it as it is."""


class Tape:
    """The operations of a step in the order in which they were carried out, equal ones recorded once.

    Args:
        limit: most operations.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.operations: dict[str, Symbol] = {}

    def record(self, template: str, *operands: Any) -> Symbol:
        """The symbol of an operation.

        Args:
            template: its Python, with a field for each operand.
            *operands: symbols and numbers.

        Raises:
            UntraceableError: the tape is full.
        """
        text = template.format(*(o.name if isinstance(o, Symbol) else repr(float(o)) for o in operands))
        known = self.operations.get(text)
        if known is None:
            if len(self.operations) == self.limit:
                raise UntraceableError(f"the step has more than {self.limit} operations")
            known = Symbol(self, f"v{len(self.operations)}", tuple(o for o in operands if isinstance(o, Symbol)))
            self.operations[text] = known
        return known

    def inputs(self, name: str, shape: tuple[int, ...]) -> Symbols:
        """An array of fresh symbols ``name_0``, ``name_1``, ... in C order, with a batch axis of one: (1, *shape)."""
        flat = np.empty(math.prod(shape), dtype=object)
        flat[:] = [Symbol(self, f"{name}_{i}") for i in range(len(flat))]
        return flat.reshape((1, *shape)).view(Symbols)


class Symbol:
    """A number that a program computes: an input, or an operation on other symbols."""

    __slots__ = ("name", "operands", "tape")

    def __init__(self, tape: Tape, name: str, operands: tuple[Symbol, ...] = ()) -> None:
        self.tape, self.name, self.operands = tape, name, operands

    def __add__(self, other: Any) -> Symbol:
        return self if _is(other, 0) else self.tape.record("{} + {}", self, other)

    def __radd__(self, other: Any) -> Symbol:
        return self if _is(other, 0) else self.tape.record("{} + {}", other, self)

    def __sub__(self, other: Any) -> Symbol:
        return self if _is(other, 0) else self.tape.record("{} - {}", self, other)

    def __rsub__(self, other: Any) -> Symbol:
        return self.tape.record("{} - {}", other, self)

    def __mul__(self, other: Any) -> Symbol:
        return self if _is(other, 1) else self.tape.record("{} * {}", self, other)

    def __rmul__(self, other: Any) -> Symbol:
        return self if _is(other, 1) else self.tape.record("{} * {}", other, self)

    def __truediv__(self, other: Any) -> Symbol:
        return self if _is(other, 1) else self.tape.record("{} / {}", self, other)

    def __rtruediv__(self, other: Any) -> Symbol:
        return self.tape.record("{} / {}", other, self)

    def __neg__(self) -> Symbol:
        return self.tape.record("-{}", self)

    def _refuse(self, *others: Any) -> NoReturn:
        raise UntraceableError("the step needs the value of a number")

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        """Refuse what numpy calls for its entrywise functions where the array's type is lost, such as ``rint``."""
        if isinstance(getattr(np, name, None), np.ufunc):
            return self._refuse
        raise AttributeError(f"a symbol has no {name!r}")

    __bool__ = __int__ = __float__ = __index__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = _refuse


def _is(other: Any, number: int) -> bool:
    return not isinstance(other, Symbol) and other == number


class Symbols(np.ndarray[Any, np.dtype[np.object_]]):
    """An array of symbols and numbers, on which numpy's functions record what they do."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: Any, *inputs: Any, **options: Any) -> Any:
        """Carry out an array function entry by entry.

        Raises:
            UntraceableError: neither arithmetic nor in ``TEMPLATES``.
        """
        if "out" in options:
            options["out"] = _plain(options["out"])
        entrywise = ufunc if ufunc in ARITHMETIC else _entrywise(ufunc)
        return _symbols(getattr(entrywise, method)(*_plain(inputs), **options))

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        """Keep the type through functions that build arrays, such as ``concatenate`` and ``einsum``."""
        return _symbols(super().__array_function__(function, types, arguments, options))


def _plain(arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(a.view(np.ndarray) if isinstance(a, Symbols) else a for a in arrays)


def _symbols(result: Any) -> Any:
    return result.view(Symbols) if isinstance(result, np.ndarray) and result.dtype == object else result


def _entrywise(ufunc: np.ufunc) -> np.ufunc:
    """The array function that records an operation for each entry, or computes it where no symbol is involved."""
    template = TEMPLATES.get(ufunc)
    if template is None:
        raise UntraceableError(f"symbols have no {ufunc.__name__}")

    def entry(*operands: Any) -> Any:
        tapes = [o.tape for o in operands if isinstance(o, Symbol)]
        return tapes[0].record(template, *operands) if tapes else ufunc(*operands)

    found: np.ufunc = np.frompyfunc(entry, ufunc.nin, 1, identity=None)
    return found


def _log(x: float) -> float:
    """The logarithm with numpy's values where it is not finite."""
    if x > 0.0:
        return math.log(x)
    return -math.inf if x == 0.0 else math.nan


def _power(base: float, exponent: float) -> float:
    """A power with numpy's value where it overflows."""
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return math.inf


SCOPE: dict[str, Any] = {
    "tanh": math.tanh,
    "sqrt": math.sqrt,
    "log": _log,
    "exp": math.exp,
    "power": _power,
    "inf": math.inf,
    "nan": math.nan,
}
"""The names that programs use."""


@dataclass(frozen=True)
class Program:
    """A compiled teaching step of one run.

    ``function`` takes w, target, velocity, difference, x, y, soft, distance, initial_distance, t, value and the
    coming x, y, soft of a run, each a sequence of floats in C order (empty for None), and gives those of
    ``OUTPUTS``; distance, reward and terminated come as plain numbers.

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


def trace(task: Task, blocks: list[Block], limit: int = LIMIT) -> Program | None:
    """Trace a task's step.

    Args:
        task: the task.
        blocks: the layout of its observation.
        limit: most operations; tracing stops there.

    Returns:
        The program, or None where the step takes more operations (as one that measures losses on hold-out rows does),
        depends on values otherwise than by the functions of ``TEMPLATES``, or on what is drawn at reset.
    """
    if 2 * task.size > limit or task.holdout is not None or task.spec.drawn:  # an update takes two for each parameter
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
    outputs: dict[str, Any] = dict(zip(OUTPUTS, (*values, observation[None]), strict=True))
    source, operations = _write(tape, inputs, outputs)
    scope = dict(SCOPE)
    exec(compile(source, "<teaching step>", "exec"), scope)
    shapes = {name: tuple(a.shape[1:]) for name, a in outputs.items() if a is not None}
    return Program(source, operations, scope["step"], shapes)


def _inputs(task: Task, tape: Tape) -> tuple[dict[str, Any], TeachState, Any, Sources]:
    """The program's inputs by name (None where the task has none), and the state, value and coming sources of them."""
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


def _write(tape: Tape, inputs: dict[str, Array], outputs: dict[str, Array]) -> tuple[str, int]:
    """Source of the program without the operations that no output needs, and the number of the others."""
    entries = {name: [] if a is None else np.ravel(a).tolist() for name, a in outputs.items()}
    needed = _needed(e for listed in entries.values() for e in listed if isinstance(e, Symbol))
    unpack = [f"    {', '.join(s.name for s in np.ravel(a))}, = {n}" for n, a in inputs.items() if a is not None]
    lines = [f"    {s.name} = {text}" for text, s in tape.operations.items() if s.name in needed]
    returned = []
    for name, listed in entries.items():
        names = [e.name if isinstance(e, Symbol) else repr(float(e)) for e in listed]
        scalar = listed and outputs[name].ndim == 1
        returned.append(names[0] if scalar else f"({', '.join(names)}{',' if names else ''})")
    head = f"def step({', '.join(inputs)}):"
    return "\n".join([head, *unpack, *lines, f"    return {', '.join(returned)}", ""]), len(lines)


def _needed(outputs: Iterable[Symbol]) -> set[str]:
    """Names of the symbols that the given ones are made of, their own included."""
    found: set[str] = set()
    waiting = list(outputs)
    while waiting:
        symbol = waiting.pop()
        if symbol.name not in found:
            found.add(symbol.name)
            waiting += symbol.operands
    return found
