"""Checks of values given by users: the message names the value and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from numbers import Integral, Real
from typing import Any, TypeVar

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


def lookup_name(kind: str, name: Any, table: Mapping[str, T]) -> T:
    """Return ``table[name]``.

    Raises:
        ValueError: unknown name; the message lists the known ones and the closest.
    """
    if isinstance(name, str) and name in table:
        return table[name]
    raise ValueError(f"unknown {kind} {name!r}; allowed: {', '.join(sorted(table))}{closest(name, table)}")


def closest(name: Any, names: Iterable[str]) -> str:
    """The end of a message, suggesting the known name closest to an unknown one; empty if none is close."""
    close = difflib.get_close_matches(str(name), list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def check_known(what: str, given: Iterable[str], allowed: Collection[str]) -> None:
    """Check that all options given are known.

    Raises:
        TypeError: an unknown option; the message lists the known ones and the closest.
    """
    unknown = sorted(str(name) for name in given if name not in allowed)
    if unknown:
        names = ", ".join(sorted(allowed)) or "none"
        raise TypeError(f"{what} has no option {', '.join(unknown)}; allowed: {names}{closest(unknown[0], allowed)}")


def number(what: str, value: Any, *, integer: bool = False) -> None:
    """Check that a value is a number (an integer, if required) and not a bool.

    Raises:
        TypeError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, Integral if integer else Real):
        raise TypeError(f"{what} must be {'an integer' if integer else 'a number'}, got {value!r}")


def positive(what: str, value: Any, *, integer: bool = False) -> None:
    """Check that a number is finite and positive (and an integer, if required).

    Raises:
        TypeError: not a number (not an integer).
        ValueError: not positive or not finite.
    """
    number(what, value, integer=integer)
    if not 0 < float(value) < float("inf"):
        raise ValueError(f"{what} must be > 0 and finite, got {value!r}")


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
        raise ValueError(f"{what} must lie in {interval}, got {value!r}")
