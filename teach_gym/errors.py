"""Checks of values given by users: the message names the value and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


class DataNotFoundError(FileNotFoundError):
    """A data set is missing from the data folder; the message names the command that fetches it."""


class DamagedDataError(ValueError):
    """A data file exists but its content is invalid."""


class TooLargeError(ValueError):
    """A request needs more memory than is allowed; the message gives both amounts."""


DATA_MEMORY = 4 * 1024**3
"""Maximum number of bytes for the data of a task."""
RUN_MEMORY = 1024**3
"""Maximum number of bytes for one teaching run."""
VECTOR_MEMORY = 16 * 1024**3
"""Maximum number of bytes for the runs of a vector environment."""


def affordable(what: str, needed: int, most: int) -> None:
    """Check how much memory something will need before it is allocated.

    Args:
        what: what needs the memory, for the message.
        needed: bytes needed.
        most: bytes allowed.

    Raises:
        TooLargeError: more is needed than allowed.
    """
    if needed > most:
        raise TooLargeError(f"{what} would need {_in_words(needed)} of memory; at most {_in_words(most)} are allowed")


def _in_words(size: int) -> str:
    """A number of bytes in a suitable unit, such as 3.6 TiB."""
    unit = min((size.bit_length() - 1) // 10, 6)
    return f"{size / 1024**unit:.3g} {('bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB')[unit]}"


def shown(value: Any) -> str:
    """A value in one line of at most some hundred characters, for messages."""
    try:
        text = " ".join(repr(value).split())
    except (ValueError, RecursionError):  # Python refuses to write integers of thousands of digits
        return f"an integer of {value.bit_length():,} bits" if isinstance(value, int) else f"a {type(value).__name__}"
    return cut(text, 200)


def quoted(path: Any) -> str:
    """A path in quotes, for messages; one that no system accepts is cut short."""
    return repr(cut(str(path), 1_000))


def cut(text: str, most: int) -> str:
    """A text, or if it has more than so many characters its beginning and its length."""
    return text if len(text) <= most else f"{text[: 3 * most // 4]}... ({len(text):,} characters)"


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What differs between two nested tables, of the one and of the other, for messages; None stands for no entry."""
    ours: dict[str, Any] = {}
    theirs: dict[str, Any] = {}
    for name in sorted({*one, *other}):
        left, right = one.get(name), other.get(name)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            left, right = differing(left, right)
        if left != right:
            ours[name], theirs[name] = left, right
    return ours, theirs


def lookup_name(kind: str, name: Any, table: Mapping[str, T]) -> T:
    """Return ``table[name]``.

    Raises:
        ValueError: unknown name; the message lists the known ones and the closest.
    """
    if isinstance(name, str) and name in table:
        return table[name]
    raise ValueError(f"unknown {kind} {shown(name)}; allowed: {', '.join(sorted(table))}{closest(name, table)}")


def closest(name: Any, names: Iterable[str]) -> str:
    """The end of a message, suggesting the known name closest to an unknown one; empty if none is close."""
    close = difflib.get_close_matches(name, list(names), n=1) if isinstance(name, str) else []
    return f"; did you mean {close[0]!r}?" if close else ""


def check_known(what: str, given: Iterable[str], allowed: Collection[str]) -> None:
    """Check that all options given are known.

    Raises:
        TypeError: an unknown option; the message lists the known ones and the closest.
    """
    unknown = sorted(name if isinstance(name, str) else shown(name) for name in given if name not in allowed)
    if unknown:
        names, listed = ", ".join(sorted(allowed)) or "none", " ".join(", ".join(unknown).split())[:200]
        raise TypeError(f"{what} has no option {listed}; allowed: {names}{closest(unknown[0], allowed)}")


def is_number(value: Any, *, integer: bool = False) -> bool:
    """Whether a value is a number (an integer, if required); bools and numpy's time spans are none."""
    return isinstance(value, Integral if integer else Real) and not isinstance(value, bool | np.bool_ | np.timedelta64)


def number(what: str, value: Any, *, integer: bool = False) -> None:
    """Check that a value is a number (an integer, if required) and not a bool.

    Raises:
        TypeError: it is not.
    """
    if not is_number(value, integer=integer):
        raise TypeError(f"{what} must be {'an integer' if integer else 'a number'}, got {shown(value)}")


def positive(what: str, value: Any, *, integer: bool = False) -> None:
    """Check that a number is finite and positive (and an integer below 2**31, if required).

    Raises:
        TypeError: not a number (not an integer).
        ValueError: not positive or not finite, or too large an integer.
    """
    number(what, value, integer=integer)
    if integer and value >= 2**31:
        raise ValueError(f"{what} must be < 2**31, got {shown(value)}")
    if not 0 < value < float("inf"):
        raise ValueError(f"{what} must be > 0 and finite, got {shown(value)}")


def within(what: str, value: Any, interval: str, *, integer: bool = False) -> None:
    """Check that a number lies in an interval.

    Args:
        what: the name of the value, for messages.
        value: the value.
        interval: in mathematical notation: ``[0, 1]``, ``(0, 1]`` or ``[1, inf)``; nan lies in none.
        integer: whether it must be an integer.

    Raises:
        TypeError: not a number (not an integer).
        ValueError: outside the interval.
    """
    number(what, value, integer=integer)
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = value >= low if interval[0] == "[" else value > low
    below = value <= high if interval[-1] == "]" else value < high
    if not (above and below):
        raise ValueError(f"{what} must lie in {interval}, got {shown(value)}")
