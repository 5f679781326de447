"""Heat maps of where claims hold, drawn by matplotlib, which is loaded on first use (extra ``plots``)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from teach_gym.papers.claims import FAILS, HOLDS, NOT_JUDGED
from teach_gym.papers.figures import wrapped_figure
from teach_gym.papers.grids import Cell, Map

_MARKS = {HOLDS: "+", FAILS: "−"}  # noqa: RUF001  # a minus sign as wide as the plus
_COLUMNS = 3


def map_figure(chosen: Map, outcomes: Mapping[str, Mapping[tuple[Any, Any], Cell]]) -> Any:
    """A heat map of the effect for each claim: blue where it supports the claim, red where it is against it.

    Each cell holds the effect with its 95 % interval below it, and a plus where the claim holds, a minus where not.
    Of a claim about all cases it holds the share of those in which it is true, rounded down, which has no interval.
    Where values are infinite, such as the time until a target that is never reached, the claim is judged by counts of
    runs, and the cell has no effect.

    Args:
        chosen: the map.
        outcomes: statement -> values of the axes -> what the claim came to there.
    """
    rows, columns = (axis.values for axis in chosen.axes)
    size = (1.2 + 1.0 * len(columns), 1.1 + 0.55 * len(rows))
    figure, grid = wrapped_figure(len(outcomes), _COLUMNS, size)
    for axes, (statement, found) in zip(grid, outcomes.items(), strict=True):
        effects = np.array([[_value(found.get((r, c))) for c in columns] for r in rows])
        known = effects[np.isfinite(effects)]
        scale = max(float(np.abs(known).max()), 1e-9) if known.size else 1.0
        axes.imshow(effects, cmap="RdBu", vmin=-scale, vmax=scale, aspect="auto", origin="lower")
        for (i, r), (j, c) in ((a, b) for a in enumerate(rows) for b in enumerate(columns)):
            if (r, c) in found:
                _write(axes, j, i, found[r, c], scale)
        for place, values, label in ((axes.xaxis, columns, 1), (axes.yaxis, rows, 0)):
            place.set_ticks(range(len(values)), [f"{v:g}" if isinstance(v, float) else str(v) for v in values])
            place.set_label_text(chosen.axes[label].label, fontsize=8)
        axes.tick_params(labelsize=7)
        axes.set_title(_wrapped(statement, 12 * len(columns) + 14), fontsize=8, loc="left")
    figure.suptitle(f"{chosen.name}: + the claim holds, − it does not; effect with 95 % interval", fontsize=9)  # noqa: RUF001
    return figure


def _value(cell: Cell | None) -> float:
    return cell.effect.value if cell is not None and np.isfinite(cell.effect.value) else np.nan


def _write(axes: Any, x: int, y: int, cell: Cell, scale: float) -> None:
    color = "white" if abs(np.nan_to_num(_value(cell))) > 0.6 * scale else "black"
    axes.text(x, y, _text(cell), ha="center", va="center", fontsize=6, color=color)


def _text(cell: Cell) -> str:
    if cell.verdict == NOT_JUDGED:
        return NOT_JUDGED
    mark, told = _MARKS.get(cell.verdict, ""), [_short(number) for number in cell.effect]
    if not np.isfinite(cell.effect.value):
        return f"{mark}\nby counts"
    if cell.share:
        return f"{mark} {math.floor(1000 * cell.effect.value + 1e-9) / 10:g}%\nof cases"
    return f"{mark} {told[0]}\n[{told[1]}, {told[2]}]"


def _short(value: float) -> str:
    """Two digits, or all before the decimal point."""
    return f"{value:.0f}" if abs(value) >= 10.0 else f"{value:.2g}"


def _wrapped(text: str, width: int) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width))
