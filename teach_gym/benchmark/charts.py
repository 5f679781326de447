"""The report's charts: inline SVG drawn by matplotlib, which is loaded on first use (extra ``plots``)."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from teach_gym.benchmark.measure import PASSIVE, REFERENCE
from teach_gym.benchmark.score import Estimate
from teach_gym.benchmark.summary import display, with_interval

if TYPE_CHECKING:
    from teach_gym.benchmark.rows import Row
    from teach_gym.benchmark.summary import Entry, Summary

BAND = (10.0, 90.0)
"""Percentiles over the seeds that a curve's band spans."""

_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", "#6a3d9a")
_DASHES = ("", "6 2", "2 2", "6 2 2 2")
_SPECIAL = {PASSIVE: "#8a8a8a", REFERENCE: "#111111"}


class Style(NamedTuple):
    """How a teacher is drawn: a color, and an SVG dash pattern."""

    color: str
    dash: str


class Key(NamedTuple):
    """One item of a legend."""

    label: str
    color: str
    dash: str


class Chart(NamedTuple):
    """A drawing and its text alternative."""

    title: str
    svg: str


def plain(text: str) -> str:
    """A name as matplotlib is to show it: what stands between dollar signs is no formula."""
    return text.replace("$", r"\$")


def styles(summary: Summary) -> dict[str, Style]:
    """A color and dash per teacher, the same in all charts of a report; grey is passive, black the oracle."""
    names = list(dict.fromkeys(entry.teacher for entry in summary.entries))
    others = sorted(name for name in names if name not in _SPECIAL)
    found = {name: Style(_SPECIAL[name], "") for name in names if name in _SPECIAL}
    for index, name in enumerate(others):
        found[name] = Style(_COLORS[index % len(_COLORS)], _DASHES[index // len(_COLORS) % len(_DASHES)])
    return found


def legend(teachers: Iterable[str], summary: Summary) -> list[Key]:
    """The legend of the given teachers."""
    chosen = styles(summary)
    return [Key(display(name), *chosen[name]) for name in teachers]


def load_matplotlib() -> Any:
    """Import matplotlib.

    Raises:
        ImportError: it is not installed; the message names the extra.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError("charts need matplotlib: pip install 'teach_gym[plots]'") from error
    return matplotlib


def draw(name: str, size: tuple[float, float], paint: Callable[[Any], None]) -> str:
    """An SVG element to put into a page.

    Args:
        name: prefix of its ids, unique within the page.
        size: width and height in inches.
        paint: draws on the axes it is given.

    Raises:
        ImportError: matplotlib is not installed.
    """
    matplotlib = load_matplotlib()
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    look = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "axes.edgecolor": "#777777",
        "axes.grid": True,
        "grid.color": "#e6e6e6",
        "grid.linewidth": 0.7,
    }
    with matplotlib.rc_context(look):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.set_axisbelow(True)
        paint(axes)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return _inline(text.getvalue(), name)


def _inline(svg: str, name: str) -> str:
    """Make a drawing fit for a page: no prolog or metadata, ids of its own, width set by the page."""
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg).replace("url(#", f"url(#{name}-")
    svg = re.sub(r'\bd="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path.group()), svg)
    head, _, body = svg.partition(">")
    box = re.search(r'viewBox="[^"]*"', head)
    return f'<svg {box.group() if box else ""} aria-hidden="true">{body}'


def _band(rows: Sequence[Row], metric: str) -> tuple[npt.NDArray[np.float64], ...]:
    """Iterations, mean, and the two percentiles of a metric over the finished runs, thinned to 200 points."""
    curves = np.array([row["curves"][metric] for row in rows if row["finished"]], dtype=np.float64)
    if not len(curves):
        return (np.empty(0),) * 4
    n = curves.shape[1]
    where = np.arange(n) if n == rows[0]["spec"]["budget"] + 1 else np.array(rows[0]["iterations"])
    kept = np.unique(np.linspace(0, n - 1, min(n, 200)).round().astype(int))
    curves = curves[:, kept]
    return where[kept], curves.mean(0), *np.percentile(curves, BAND, axis=0)


PANELS = {
    "distance": "Distance ‖w - w*‖",
    "normalized_distance": "Normalized distance ‖w/‖w‖ - w*/‖w*‖‖²",
    "holdout_loss": "Hold-out loss",
    "holdout_accuracy": "Hold-out accuracy",
}
"""The metrics drawn against the iteration, with their titles."""


def curve_charts(name: str, task: str, teachers: Mapping[str, list[Row]], summary: Summary) -> list[Chart]:
    """Mean curves with bands, one chart per metric of ``PANELS``."""
    chosen = styles(summary)
    regression = next(iter(teachers.values()))[0]["regression"]
    charts = []
    for metric, title in PANELS.items():
        squared_error = regression and metric == "holdout_accuracy"
        sign = -1.0 if squared_error else 1.0
        title = "Hold-out mean squared error" if squared_error else title

        def paint(axes: Any, metric: str = metric, title: str = title, sign: float = sign) -> None:
            for teacher, rows in teachers.items():
                color, dash = chosen[teacher]
                t, mean, low, high = _band(rows, metric)
                line = (0, [float(part) / 1.3 for part in dash.split()]) if dash else "-"
                axes.plot(t, sign * mean, color=color, linestyle=line, linewidth=1.5)
                axes.fill_between(t, sign * low, sign * high, color=color, alpha=0.13, linewidth=0)
            if metric != "holdout_accuracy" or sign < 0:
                axes.set_yscale("log")
            axes.margins(x=0)
            axes.set_title(title, loc="left")
            axes.set_xlabel("iteration")

        charts.append(Chart(f"{task}: {title} against iteration", draw(f"{name}-{metric}", (5.2, 3.2), paint)))
    return charts


def _bars(axes: Any, names: Sequence[str], values: Sequence[Estimate], title: str) -> None:
    """Horizontal bars with intervals, first one on top; values beyond the axis end in an arrow's text."""
    finite = [v for v, _, _ in values if np.isfinite(v)]
    left = max(min([0.0, *finite]), -1.0) - 0.1
    right = min(max([1.0, *finite]), 2.5) + 0.1
    for place, (teacher, (value, low, high)) in enumerate(zip(names, values, strict=True)):
        color = _SPECIAL.get(teacher, "#0072b2")
        shown = float(np.clip(value, left, right)) if np.isfinite(value) else 0.0
        axes.barh(place, shown, color=color, height=0.62, alpha=0.85)
        if np.isfinite(low) and shown == value:
            axes.plot([low, high], [place, place], color="#333333", linewidth=1.3)
        axes.annotate(
            with_interval(value, low, high),
            (1.0, place),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    for mark in (0.0, 1.0):
        axes.axvline(mark, color="#555555", linewidth=0.8, linestyle=(0, (2, 2)))
    axes.set_xlim(left, right)
    axes.set_yticks(range(len(names)), [plain(display(teacher)) for teacher in names])
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.set_title(title, loc="left")


def score_chart(name: str, task: str, entries: Sequence[Entry]) -> Chart:
    """The teaching scores of one task with their intervals."""
    values = [Estimate(entry.score, entry.score_low, entry.score_high) for entry in entries]
    names = [entry.teacher for entry in entries]
    height = 0.8 + 0.24 * len(names)
    svg = draw(f"{name}-score", (5.2, height), lambda axes: _bars(axes, names, values, "Teaching score"))
    return Chart(f"{task}: teaching scores", svg)


def aggregate_chart(summary: Summary) -> Chart:
    """The interquartile mean of the task scores per teacher, with its interval."""
    names = list(summary.aggregate)
    values = [summary.aggregate[name] for name in names]

    def paint(axes: Any) -> None:
        _bars(axes, names, values, "Interquartile mean of the task scores")
        axes.set_yticks(range(len(names)), [plain(f"{display(n)} ({len(summary.coverage[n])})") for n in names])

    return Chart("Teaching scores over all tasks", draw("all", (6.6, 0.8 + 0.27 * len(names)), paint))
