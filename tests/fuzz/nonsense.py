"""Strategies of values that users give by mistake: every type, every dtype, every extreme."""

from __future__ import annotations

import contextlib
import copy
import datetime
import decimal
import fractions
import json
import math
import sys
from collections.abc import Iterator
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

HUGE = st.sampled_from([2**31, 2**32, 2**63, 2**64, 10**12, 10**20, 10**300, 10**400, -(10**300)]) | st.builds(
    pow, st.just(10), st.just(5000)
)
INTEGERS = st.integers(-3, 12) | st.integers() | HUGE
FLOATS = st.floats() | st.sampled_from([0.0, -0.0, 0.5, 1.0, math.nan, math.inf, -math.inf, 1e-320, 1e300, 1e39])
TEXTS = st.text(max_size=12) | st.sampled_from(
    ["", "1", "0.5", "nan", "None", "True", "[]", "a\0b", "\n", "$\\frac$", "../x", "/dev/null", "x" * 5_000, "\ud800"]
)
DTYPES = st.one_of(
    nps.integer_dtypes(),
    nps.unsigned_integer_dtypes(),
    nps.floating_dtypes(sizes=(16, 32, 64)),
    nps.complex_number_dtypes(),
    nps.boolean_dtypes(),
    nps.unicode_string_dtypes(max_len=4),
    nps.byte_string_dtypes(max_len=4),
    nps.datetime64_dtypes(),
    nps.timedelta64_dtypes(),
    st.sampled_from([np.dtype(np.longdouble), np.dtype([("a", "i4"), ("b", "f8")])]),
)


@st.composite
def arrays(draw: st.DrawFn, shapes: st.SearchStrategy[tuple[int, ...]] | None = None) -> np.ndarray[Any, Any]:
    """Arrays of any dtype, also of objects, of small shapes."""
    shape = draw(shapes if shapes is not None else nps.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    if draw(st.booleans()) and draw(st.booleans()):
        found = np.empty(shape, dtype=object)
        found[...] = draw(SCALARS)
        return found
    return draw(nps.arrays(draw(DTYPES), shape))


@st.composite
def numpy_scalars(draw: st.DrawFn) -> Any:
    """Numpy's own scalars."""
    return draw(nps.arrays(draw(DTYPES), ()))[()]


def _endless() -> list[Any]:
    found: list[Any] = [1]
    found.append(found)
    return found


ODD = st.sampled_from(
    [
        object(),
        int,
        len,
        Ellipsis,
        b"1",
        bytearray(b"1"),
        1j,
        fractions.Fraction(1, 3),
        decimal.Decimal("0.5"),
        decimal.Decimal("NaN"),
        datetime.date(2020, 1, 1),
        Path("x"),
        range(3),
        {1, 2},
        frozenset(),
        {},
        {"a": 1},
        {1: 2},
        (),
        [],
        [[]],
        [None],
        [[1], [2, 3]],
        [math.nan],
        np.ma.masked,
        np.array([1, 2])[::-1],
    ]
)
SCALARS = st.one_of(st.none(), st.booleans(), INTEGERS, FLOATS, TEXTS, st.binary(max_size=4), numpy_scalars())
VALUES = st.one_of(SCALARS, ODD, arrays(), st.builds(_endless), st.lists(SCALARS, max_size=4))
"""Anything."""
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), INTEGERS, FLOATS, TEXTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
"""Anything that can be written in JSON, as Python writes it (with NaN)."""


def is_integer(value: Any) -> bool:
    """An integer and no bool."""
    return isinstance(value, Integral) and not isinstance(value, bool | np.bool_ | np.timedelta64)


def is_number(value: Any) -> bool:
    """A finite real number and no bool."""
    if not isinstance(value, Real) or isinstance(value, bool | np.bool_ | np.timedelta64):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def paths(document: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all values in a JSON document."""
    inner: Any = ()
    if isinstance(document, dict):
        inner = document.items()
    elif isinstance(document, list):
        inner = enumerate(document[:3])
    return [here, *(path for key, value in inner for path in paths(value, (*here, key)))]


@st.composite
def edited(draw: st.DrawFn, document: Any) -> Any:
    """A JSON document with one to three values replaced or removed."""
    found = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths(found)))
        if not path:
            if draw(st.integers(0, 20)) == 0:
                return draw(JSON)
            continue
        parent = found
        for key in path[:-1]:
            parent = parent[key]
        if draw(st.integers(0, 3)) == 0:
            del parent[path[-1]]
        else:
            parent[path[-1]] = draw(JSON)
    return found


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes with some flipped, cut off, doubled or replaced."""
    found = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        if not found:
            break
        at = draw(st.integers(0, len(found) - 1))
        kind = draw(st.sampled_from(["flip", "cut", "insert", "zeros"]))
        if kind == "flip":
            found[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del found[at:]
        elif kind == "insert":
            found[at:at] = draw(st.binary(max_size=12))
        else:
            found[at:] = bytes(len(found) - at)
    return bytes(found)


@contextlib.contextmanager
def all_digits() -> Iterator[None]:
    """Let Python write integers of any length."""
    limit = getattr(sys, "get_int_max_str_digits", int)()
    set_limit = getattr(sys, "set_int_max_str_digits", lambda digits: None)
    set_limit(0)
    try:
        yield
    finally:
        set_limit(limit)


def as_json(document: Any) -> str:
    """The document as JSON; lone surrogates are escaped."""
    with all_digits():
        return json.dumps(document)
