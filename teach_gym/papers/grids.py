"""Grids over two settings of an experiment's panel, and what a claim comes to in their cells."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from teach_gym.benchmark.score import Estimate


@dataclass(frozen=True)
class Axis:
    """A setting that a map varies.

    Attributes:
        label: what it is, in words.
        field: where it is in a panel's settings, with dots: ``task.learning_rate``; unused where cells are methods.
        values: its values, ascending.
        paper: the paper's value (None: it does not tell).
    """

    label: str
    field: str
    values: tuple[Any, ...]
    paper: Any = None


@dataclass(frozen=True)
class Map:
    """A grid over two settings of a panel.

    Attributes:
        name: its name.
        panel: the panel of the experiment that it starts from; the claims are those on this panel.
        axes: the two settings.
        changes: further settings that all cells change, by field.
        methods: where the experiment itself varies the two settings, the methods of each cell, by the axes' values and
            by the method that each replaces in the claims.
        threshold: the axis, by its label, whose values the claims compare with instead of their own numbers.
        together: cells that share a task are taught as one batch; not where teachers are trained for each cell.
    """

    name: str
    panel: str
    axes: tuple[Axis, Axis]
    changes: tuple[tuple[str, Any], ...] = ()
    methods: Mapping[tuple[Any, Any], Mapping[str, str]] = field(default_factory=dict)
    threshold: str = ""
    together: bool = True


class Cell(NamedTuple):
    """What a claim came to in one cell.

    Attributes:
        verdict: on the claim.
        effect: the difference that supports the claim least, positive where it supports it: of logarithms where the
            comparison is on that scale, the share of cases for claims about all of them. It is nan where the claim is
            not judged.
        share: whether the effect is such a share, which has no interval.
    """

    verdict: str
    effect: Estimate
    share: bool = False


class Summary(NamedTuple):
    """What a claim came to on a map.

    Attributes:
        statement: the claim.
        holds: number of cells where it holds.
        fails: number of cells where it does not hold.
        cells: number of cells.
        region: where, in words.
    """

    statement: str
    holds: int
    fails: int
    cells: int
    region: str


def cell_name(chosen: Map, values: Sequence[Any]) -> str:
    """The panel's name of a cell."""
    return " | ".join([chosen.name, *(f"{axis.label} {v}" for axis, v in zip(chosen.axes, values, strict=True))])


def cells(chosen: Map) -> list[tuple[Any, Any]]:
    """The pairs of values, row by row of the first axis."""
    return list(itertools.product(*(axis.values for axis in chosen.axes)))
