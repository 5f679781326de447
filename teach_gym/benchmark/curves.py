"""What the report's charts show, as plain JSON values; the page's script draws them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from teach_gym.benchmark.measure import PASSIVE, REFERENCE
from teach_gym.benchmark.rows import Row
from teach_gym.benchmark.score import Estimate
from teach_gym.benchmark.summary import Summary, display, with_interval

BAND = (10.0, 90.0)
"""Percentiles over the seeds that a curve's band spans."""

_POINTS = 120
_COLORS = ("#2b7bc0", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#a8705a", "#9467bd")
_DASHES = ((), (6, 3), (2, 3), (8, 3, 2, 3))
_SPECIAL = {PASSIVE: "#8a8a8a", REFERENCE: "ink"}

PANELS = {
    "distance": "Distance ‖w - w*‖",
    "normalized_distance": "Normalized distance ‖w/‖w‖ - w*/‖w*‖‖²",
    "holdout_loss": "Hold-out loss",
    "holdout_accuracy": "Hold-out accuracy",
}
"""The metrics drawn against the iteration, with their titles."""

SQUARED_ERROR = "Hold-out mean squared error"


class Style(NamedTuple):
    """How a teacher is drawn.

    Attributes:
        label: its name in the report.
        colour: a CSS colour, or ``ink`` for the colour of the text.
        dash: lengths of dashes and gaps; empty for a solid line.
    """

    label: str
    colour: str
    dash: tuple[int, ...]


def styles(names: Iterable[str]) -> dict[str, Style]:
    """A style per teacher, the same in all charts of a report; ``passive`` is grey, the reference as dark as text."""
    unique = list(dict.fromkeys(names))
    found = {name: Style(display(name), _SPECIAL[name], ()) for name in unique if name in _SPECIAL}
    for index, name in enumerate(sorted(set(unique) - set(_SPECIAL))):
        dash = _DASHES[index // len(_COLORS) % len(_DASHES)]
        found[name] = Style(display(name), _COLORS[index % len(_COLORS)], dash)
    return {name: found[name] for name in unique}


def panels(teachers: dict[str, list[Row]]) -> list[dict[str, Any]]:
    """The charts of one task: for each metric a title and each teacher's mean curve with its band."""
    regression = next(iter(teachers.values()))[0]["regression"]
    found = []
    for metric, title in PANELS.items():
        squared_error = regression and metric == "holdout_accuracy"
        lines = [_line(name, rows, metric, -1.0 if squared_error else 1.0) for name, rows in teachers.items()]
        found.append({"title": SQUARED_ERROR if squared_error else title, "lines": lines})
    return found


def _line(teacher: str, rows: Sequence[Row], metric: str, sign: float) -> dict[str, Any]:
    """Mean and band of a metric over the finished runs at up to ``_POINTS`` iterations."""
    curves = sign * np.array([row["curves"][metric] for row in rows if row["finished"]], dtype=np.float64)
    if not len(curves):
        return {"teacher": teacher, "at": [], "values": [], "low": [], "high": []}
    n = curves.shape[1]
    where = np.arange(n) if n == rows[0]["spec"]["budget"] + 1 else np.array(rows[0]["iterations"])
    kept = np.unique(np.linspace(0, n - 1, min(n, _POINTS)).round().astype(int))
    low, high = np.percentile(curves[:, kept], BAND, axis=0)
    columns = {"values": curves[:, kept].mean(0), "low": low, "high": high}
    numbers = {name: [_short(value) for value in column] for name, column in columns.items()}
    return {"teacher": teacher, "at": where[kept].tolist(), **numbers}


def bars(estimates: Iterable[tuple[str, str, Estimate]]) -> list[dict[str, Any]]:
    """Rows of a bar chart from (teacher, label, estimate): a value that is not finite has no bar."""
    return [
        {
            "teacher": teacher,
            "label": label,
            "value": _short(estimate.value),
            "low": _short(estimate.low),
            "high": _short(estimate.high),
            "text": with_interval(*estimate),
        }
        for teacher, label, estimate in estimates
    ]


def aggregate_bars(summary: Summary) -> list[dict[str, Any]]:
    """The interquartile mean of the task scores per teacher, with the number of its tasks in brackets."""
    return bars(
        (name, f"{display(name)} ({len(summary.coverage[name])})", estimate)
        for name, estimate in summary.aggregate.items()
    )


def _short(value: float) -> float | None:
    return float(f"{value:.4g}") if np.isfinite(value) else None
