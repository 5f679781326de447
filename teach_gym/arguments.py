"""Users' arguments, checked against the signature of the function or the fields of the class that takes them.

An annotation says what is allowed: ``bool``, ``int``, ``float``, ``str``, ``Literal[...]``, ``Sequence[...]``, unions
of these, and ``Annotated`` with a ``Within`` for a range. Values come back as plain JSON values: numpy's numbers as
Python's, tuples and arrays as lists.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import numpy as np

from teach_gym.errors import check_known, closest, is_number, lookup_name, shown

R = TypeVar("R")


@dataclass(frozen=True)
class Within:
    """A range of numbers.

    Attributes:
        low: lower end.
        high: upper end.
        open_low: whether the lower end itself is not allowed.
        open_high: whether the upper end itself is not allowed.
    """

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        return above and (value < self.high if self.open_high else value <= self.high)

    def __str__(self) -> str:
        if self.high == math.inf:
            return "" if self.low == -math.inf else f"{'>' if self.open_low else '>='} {self.low:g}"
        left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
        power = int(self.high + 1).bit_length() - 1
        if power > 20 and self.high + 1 == 2**power:
            return f"in {left}{self.low:g}, 2**{power})"
        return f"in {left}{self.low:.12g}, {self.high:.12g}{right}"


Count = Annotated[int, Within(1, 2**31 - 1)]
"""A positive number of things."""
Seed = Annotated[int, Within(0, 2**32 - 1)]
"""A seed that every library takes."""
Positive = Annotated[float, Within(0.0, open_low=True)]
NonNegative = Annotated[float, Within(0.0)]


def chosen(
    kind: str, name: Any, table: Mapping[str, Callable[..., R]], options: Mapping[str, Any]
) -> functools.partial[R]:
    """The function that a table has under a name, with checked options.

    Args:
        kind: what the table holds, for messages.
        name: a key of the table.
        table: functions whose keyword-only parameters are the options.
        options: values of some of these.

    Raises:
        ValueError: unknown name, or an option's value that is not allowed.
        TypeError: unknown or missing option, or one of the wrong type.
    """
    maker = lookup_name(kind, name, table)
    return functools.partial(maker, **checked_options(f"{kind} {shown(name)}", maker, options))


def checked_options(what: str, maker: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options checked against the keyword-only parameters of a function, as plain values; see ``chosen``."""
    allowed, required, others = _parameters(maker)
    for name in options:
        if name in others:
            raise TypeError(f"{what} has no option {shown(name)}: it is set by the task's own arguments")
    check_known(what, options, allowed)
    found = {name: conform(f"{what}: {name}", value, allowed[name]) for name, value in options.items()}
    missing = [name for name in required if name not in found]
    if missing:
        raise TypeError(f"{what} needs the option {missing[0]!r}")
    return found


def checked_fields(instance: Any) -> None:
    """Check the fields of a dataclass against their annotations and make their values plain.

    For ``__post_init__``; the class may be frozen.

    Raises:
        TypeError: a value of the wrong type.
        ValueError: a value that is not allowed.
    """
    owner: type = type(instance)
    for name, hint in _hints(owner).items():
        try:
            object.__setattr__(instance, name, conform(name, getattr(instance, name), hint))
        except RecursionError as error:
            raise ValueError(f"{name} must not be nested so deeply") from error


def checked_values(what: str, owner: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values for some fields of a dataclass, checked against their annotations; those annotated ``Any`` as they are.

    Args:
        what: what is made of them, for messages.
        owner: the class.
        values: by the fields' names.

    Raises:
        ValueError: a value that is not allowed.
        TypeError: an unknown field, or a value of the wrong type.
    """
    hints = _hints(owner)
    check_known(what, values, hints)
    return {
        name: value if hints[name] is Any else conform(f"{what}: {name}", value, hints[name])
        for name, value in values.items()
    }


def conform(what: str, value: Any, hint: Any) -> Any:
    """A user's value as a plain value of the annotated type.

    Args:
        what: its name, for messages.
        value: the value.
        hint: the annotation.

    Raises:
        TypeError: it is of the wrong type.
        ValueError: it is out of range or none of the allowed values.
    """
    base, within = _split(hint)
    if base is Any:
        return plain(what, value)
    if typing.get_origin(base) in (typing.Union, types.UnionType):
        member = _member(what, value, hint)
        if typing.get_origin(_split(member)[0]) is Literal:
            return _one_of(what, value, typing.get_args(member), hint)
        return conform(what, value, member)
    if typing.get_origin(base) is Literal:
        return _one_of(what, value, typing.get_args(base), hint)
    if typing.get_origin(base) is Sequence:
        if not _is_sequence(value):
            raise TypeError(_message(what, value, hint))
        return [conform(f"{what}[{i}]", item, typing.get_args(base)[0]) for i, item in enumerate(value)]
    if typing.get_origin(base) is Mapping:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise TypeError(_message(what, value, hint))
        return {key: plain(f"{what}[{key!r}]", item) for key, item in value.items()}
    if not _is_a(value, base):
        raise TypeError(_message(what, value, hint))
    try:
        found = base(value) if base in _WORDS else value
    except OverflowError as error:
        raise ValueError(_message(what, value, hint)) from error
    if (base is float and not math.isfinite(found)) or (within is not None and found not in within):
        raise ValueError(_message(what, value, hint))
    return found


def plain(what: str, value: Any) -> Any:
    """A value as JSON has it: numpy's numbers become Python's, tuples and arrays become lists.

    Raises:
        TypeError: a value that JSON does not have.
        ValueError: a number that is not finite.
    """
    if value is None or isinstance(value, str):
        return str(value) if value is not None else None
    for kind in (bool, int, float):
        if _is_a(value, kind):
            return conform(what, value, kind)
    if isinstance(value, Mapping):
        return conform(what, value, Mapping[str, Any])
    if _is_sequence(value):
        return [plain(f"{what}[{i}]", item) for i, item in enumerate(value)]
    raise TypeError(f"{what} must be made of plain JSON values, got {shown(value)}")


def _is_a(value: Any, kind: type) -> bool:
    """Whether a value counts as a bool, int, float or str; numbers of numpy count, bools are no numbers."""
    truth = isinstance(value, bool | np.bool_)
    if kind is bool:
        return truth
    if kind in (int, float):
        return is_number(value, integer=kind is int)
    return isinstance(value, kind)


def _is_sequence(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _split(hint: Any) -> tuple[Any, Within | None]:
    """An annotation without its range, and the range."""
    if typing.get_origin(hint) is not Annotated:
        return hint, None
    base, *rest = typing.get_args(hint)
    return base, next((part for part in rest if isinstance(part, Within)), None)


def _member(what: str, value: Any, hint: Any) -> Any:
    """The member of a union that a value is to be compared with."""
    members = typing.get_args(hint)
    for member in members:
        base, _ = _split(member)
        origin = typing.get_origin(base)
        if base is type(None) and value is None:
            return Any
        if (origin is Literal and isinstance(value, str)) or (origin is Sequence and _is_sequence(value)):
            return member
        if isinstance(base, type) and base is not type(None) and origin is None and _is_a(value, base):
            return member
    raise TypeError(_message(what, value, hint))


def _one_of(what: str, value: Any, allowed: Sequence[Any], hint: Any) -> Any:
    if isinstance(value, str) and value in allowed:
        return str(value)
    if not isinstance(value, str):
        raise TypeError(_message(what, value, hint))
    raise ValueError(_message(what, value, hint) + closest(value, allowed))


def _message(what: str, value: Any, hint: Any) -> str:
    return f"{what} must be {_described(hint)}, got {shown(value)}"


_WORDS = {bool: "True or False", int: "an integer", float: "a finite number", str: "a text", type(None): "None"}


def _described(hint: Any) -> str:
    """An annotation in words."""
    base, within = _split(hint)
    origin, parts = typing.get_origin(base), typing.get_args(base)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_described(part) for part in parts)
    if origin is Literal:
        return f"one of {', '.join(map(str, parts))}"
    if origin is Sequence:
        return f"a list (each entry {_described(parts[0])})"
    if origin is Mapping:
        return "a mapping of names to values"
    return f"{_WORDS.get(base) or f'a {base.__name__}'} {within or ''}".rstrip()


@functools.cache
def _hints(owner: type) -> dict[str, Any]:
    """The annotations of a dataclass's fields."""
    hints = typing.get_type_hints(owner, include_extras=True)
    return {part.name: hints[part.name] for part in dataclasses.fields(owner) if part.init}


@functools.cache
def _parameters(maker: Callable[..., Any]) -> tuple[dict[str, Any], list[str], list[str]]:
    """Annotations of a function's keyword-only parameters, those without default, and its other parameters."""
    function = maker.func if isinstance(maker, functools.partial) else maker
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError:  # annotations that are there for a type checker only
        hints = {}
    parts = inspect.signature(maker).parameters.values()
    options = [part for part in parts if part.kind is part.KEYWORD_ONLY]
    required = [part.name for part in options if part.default is part.empty]
    others = [part.name for part in parts if part.kind is not part.KEYWORD_ONLY]
    return {part.name: hints.get(part.name, Any) for part in options}, required, others
