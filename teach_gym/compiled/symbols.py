"""Arrays of symbols: numpy's functions record their entrywise operations on a tape, as lines of Python."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

TEMPLATES: dict[np.ufunc, str] = {
    np.tanh: "tanh({})",
    np.sqrt: "sqrt({})",
    np.log: "log({})",
    np.log1p: "log1p({})",
    np.abs: "abs({})",
    np.exp: "exp({})",
    np.power: "power({}, {})",
    np.minimum: "min({}, {})",
    np.fmin: "min({1}, {0})",  # the second operand where the first is NaN
    np.maximum: "max({}, {})",
    np.less: "{} < {}",
    np.less_equal: "{} <= {}",
    np.invert: "not {}",
    np.greater: "{} > {}",
    np.greater_equal: "{} >= {}",
    np.bitwise_or: "{} or {}",
}
"""Array function -> Python expression for one entry. Arithmetic uses the operators of ``Symbol``."""

ARITHMETIC = (np.add, np.subtract, np.multiply, np.true_divide, np.negative)
"""Array functions that only call those operators."""


class UntraceableError(TypeError):
    """The step branches on values, uses a function that symbols lack, or is too long to compile."""


class Tape:
    """The operations of a step in execution order; equal ones are recorded once.

    Args:
        limit: maximum number of operations.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.operations: dict[str, Symbol] = {}

    def record(self, template: str, *operands: Any) -> Symbol:
        """The symbol of an operation.

        Args:
            template: its Python expression, with a field for each operand.
            *operands: symbols and numbers.

        Raises:
            UntraceableError: the tape is full.
        """
        text = template.format(*(o.name if isinstance(o, Symbol) else repr(float(o)) for o in operands))
        known = self.operations.get(text)
        if known is None:
            if len(self.operations) == self.limit:
                raise UntraceableError(f"the step has more than {self.limit} operations")
            known = self.operations[text] = Symbol(self, f"v{len(self.operations)}", template, operands)
        return known

    def inputs(self, name: str, shape: tuple[int, ...]) -> Symbols:
        """An array of fresh symbols ``name_0``, ``name_1``, ... in C order, with a batch axis of one: (1, *shape)."""
        flat = np.empty(math.prod(shape), dtype=object)
        flat[:] = [Symbol(self, f"{name}_{i}") for i in range(len(flat))]
        return flat.reshape((1, *shape)).view(Symbols)


def written(operand: Any) -> str:
    """An operand in the source of a loop: a symbol's name, or a number in the loop's precision ``real``."""
    return operand.name if isinstance(operand, Symbol) else f"real({float(operand)!r})"


def assignment(symbol: Symbol) -> str:
    """The line of a loop's source that computes a symbol."""
    return f"{symbol.name} = {symbol.template.format(*map(written, symbol.operands))}"


class Symbol:
    """A number that a program computes: an input, or an operation on other symbols and on numbers."""

    __slots__ = ("name", "operands", "tape", "template")

    def __init__(self, tape: Tape, name: str, template: str = "", operands: tuple[Any, ...] = ()) -> None:
        self.tape, self.name, self.template, self.operands = tape, name, template, operands

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
        """Refuse the methods that numpy's entrywise functions call on objects of unknown type, such as ``rint``."""
        if isinstance(getattr(np, name, None), np.ufunc):
            return self._refuse
        raise AttributeError(f"a symbol has no {name!r}")

    __bool__ = __int__ = __float__ = __index__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = _refuse


def _is(other: Any, number: int) -> bool:
    return not isinstance(other, Symbol) and other == number


class Symbols(np.ndarray[Any, np.dtype[np.object_]]):
    """An array of symbols and numbers; numpy's functions on it record their operations."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: Any, *inputs: Any, **options: Any) -> Any:
        """Carry out an array function entry by entry.

        Raises:
            UntraceableError: neither arithmetic nor in ``TEMPLATES``.
        """
        if ufunc is np.matmul and method == "__call__" and not options:
            return _matmul(*inputs)
        if "out" in options:
            options["out"] = _plain(options["out"])
        entrywise = ufunc if ufunc in ARITHMETIC else _entrywise(ufunc)
        return _symbols(getattr(entrywise, method)(*_plain(inputs), **options))

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        """Keep the type through functions that build arrays, such as ``concatenate`` and ``einsum``."""
        return _symbols(super().__array_function__(function, types, arguments, options))


def _matmul(a: Any, b: Any) -> Any:
    """Matrix product of (..., m, n) and (..., n, k), by products and sums.

    Numpy's own product of objects frees an entry of its result too early when an operation raises an exception, as one
    does at the end of the tape.
    """
    if min(np.ndim(a), np.ndim(b)) < 2:
        raise UntraceableError("symbols have no products of vectors")
    return np.sum(a[..., :, :, None] * b[..., None, :, :], axis=-2)


def _plain(arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(a.view(np.ndarray) if isinstance(a, Symbols) else a for a in arrays)


def _symbols(result: Any) -> Any:
    return result.view(Symbols) if isinstance(result, np.ndarray) and result.dtype == object else result


def _entrywise(ufunc: np.ufunc) -> np.ufunc:
    """The array function that records an operation for each entry, or computes it if no symbol is involved."""
    template = TEMPLATES.get(ufunc)
    if template is None:
        raise UntraceableError(f"symbols have no {ufunc.__name__}")

    def entry(*operands: Any) -> Any:
        tapes = [o.tape for o in operands if isinstance(o, Symbol)]
        return tapes[0].record(template, *operands) if tapes else ufunc(*operands)

    found: np.ufunc = np.frompyfunc(entry, ufunc.nin, 1, identity=None)
    return found


def _log(x: float) -> float:
    """The logarithm, with numpy's values where it is not finite."""
    if x > 0.0:
        return math.log(x)
    return -math.inf if x == 0.0 else math.nan


def _power(base: float, exponent: float) -> float:
    """A power, with numpy's value on overflow."""
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return math.inf


SCOPE: dict[str, Any] = {
    "tanh": math.tanh,
    "sqrt": math.sqrt,
    "log": _log,
    "log1p": math.log1p,
    "exp": math.exp,
    "power": _power,
    "inf": math.inf,
    "nan": math.nan,
}
"""The names that compiled programs use."""
