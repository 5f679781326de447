"""Sets of cells of a grid in words: as few rectangles as describe them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Span = tuple[int, int]
"""First and last index, both included."""

MOST = 3
"""Rectangles that are named; what is left is counted."""


def rectangles(mask: Mask) -> list[tuple[Span, Span]]:
    """Rectangles of true cells that cover all of them, each the largest part of what the earlier ones left.

    Args:
        mask: (n, m).
    """
    spans = [list(itertools.combinations_with_replacement(range(n), 2)) for n in mask.shape]
    inside = [
        (rows, columns)
        for rows, columns in itertools.product(*spans)
        if mask[rows[0] : rows[1] + 1, columns[0] : columns[1] + 1].all()
    ]
    found, left = [], mask.copy()
    while left.any():
        new, *_ = sorted(inside, key=lambda r: (-_part(left, r).sum(), -_part(mask, r).size))
        _part(left, new)[:] = False
        found.append(new)
    return found


def _part(mask: Mask, rectangle: tuple[Span, Span]) -> Mask:
    (top, bottom), (first, last) = rectangle
    return mask[top : bottom + 1, first : last + 1]


def in_words(mask: Mask, labels: Sequence[str], values: Sequence[Sequence[Any]]) -> str:
    """The true cells of a grid, in words that follow a verb: "everywhere", "nowhere", "where ...".

    Args:
        mask: (n, m).
        labels: what the two axes are.
        values: the values of the axes, ascending.
    """
    if mask.all():
        return "everywhere"
    if not mask.any():
        return "nowhere"
    found, left = rectangles(mask), mask.copy()
    said = []
    for rectangle in found[:MOST]:
        _part(left, rectangle)[:] = False
        said.append("where " + " and ".join(filter(None, map(_range, rectangle, labels, values))))
    if left.any():
        said.append(f"in {int(left.sum())} other {'cell' if left.sum() == 1 else 'cells'}")
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])}, or {said[-1]}"


def _range(span: Span, label: str, values: Sequence[Any]) -> str:
    """A range of an axis in words, empty if it is the whole axis."""
    first, last = (_number(values[i]) for i in span)
    if span == (0, len(values) - 1):
        return ""
    if span[0] == span[1]:
        return f"the {label} is {first}"
    if span[0] == 0:
        return f"the {label} is at most {last}"
    return f"the {label} is at least {first}" if span[1] == len(values) - 1 else f"the {label} is {first} to {last}"


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
