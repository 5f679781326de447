"""The experiments' figures, drawn by matplotlib, which is loaded on first use (extra ``plots``)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from teach_gym.benchmark.charts import load_matplotlib, plain
from teach_gym.benchmark.curves import BAND
from teach_gym.papers.curves import Curves
from teach_gym.papers.engine import Record

LABELS = {
    "distance": "‖w - w*‖",
    "normalized_distance": "‖w/‖w‖ - w*/‖w*‖‖²",
    "spectral_distance": "squared spectral norm of w/‖w‖ - w*/‖w*‖",
    "train_loss": "training loss",
    "test_accuracy": "test accuracy",
    "seconds": "seconds",
}
LOGARITHMIC = ("distance", "normalized_distance", "spectral_distance")
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", "#6a3d9a", "#111111")
_SGD = "#8a8a8a"
_FLOOR = 1e-9


def new_figure(columns: int, rows: int, size: tuple[float, float] = (4.2, 3.1)) -> tuple[Any, Any]:
    """A figure with a grid of axes: (figure, axes (rows, columns)); ``size`` is that of one of them, in inches.

    Raises:
        ImportError: matplotlib is not installed.
    """
    load_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def wrapped_figure(n: int, across: int, size: tuple[float, float]) -> tuple[Any, list[Any]]:
    """A figure of n axes in rows of at most ``across``: (figure, axes); see ``new_figure``."""
    across = min(n, across)
    figure, grid = new_figure(across, -(-n // across), size)
    for spare in grid.ravel()[n:]:
        spare.set_visible(False)
    return figure, list(grid.ravel()[:n])


def colors(methods: Sequence[str]) -> dict[str, str]:
    """A colour per method; those of plain SGD are grey."""
    rest = [name for name in methods if name.split()[0] != "SGD" or "+" in name]
    return {name: _COLORS[rest.index(name) % len(_COLORS)] if name in rest else _SGD for name in methods}


def bare(axes: Any) -> None:
    """Axes with a light grid, without a frame at the top and on the right."""
    axes.grid(color="#e6e6e6", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)


def draw_curves(
    axes: Any, curves: Curves, panel: str, metric: str, *, logarithmic: bool | None = None, against: str = "iteration"
) -> None:
    """Mean curves over seeds with a band from the 10th to the 90th percentile, against iterations or seconds."""
    methods = curves.methods(panel, metric)
    chosen = colors(methods)
    log = metric in LOGARITHMIC if logarithmic is None else logarithmic
    greys = 0
    for name in methods:
        curve = curves.get(panel, name, metric)
        values = np.maximum(curve.values, _FLOOR) if log else curve.values
        values = np.where(np.isfinite(values), values, np.nan)
        t = curve.iterations if against == "iteration" else curves.get(panel, name, "seconds").values.mean(0)
        dash = "-"
        if chosen[name] == _SGD:
            dash, greys = ("-", "--", ":")[greys % 3], greys + 1
        axes.plot(t, values.mean(0), color=chosen[name], linestyle=dash, linewidth=1.6, label=plain(name))
        axes.fill_between(t, *np.percentile(values, BAND, axis=0), color=chosen[name], alpha=0.08, linewidth=0)
    if log:
        axes.set_yscale("log")
    axes.margins(x=0)
    bare(axes)
    axes.set_xlabel("iteration" if against == "iteration" else "seconds")
    axes.set_ylabel(LABELS.get(metric, metric.replace("_", " ")))


def curve_figure(
    curves: Curves,
    panels: Mapping[str, Sequence[str]],
    *,
    logarithmic: Mapping[str, bool] | None = None,
) -> Any:
    """A grid of axes: a column for each panel, a row for each of its metrics, a legend below each column.

    Args:
        curves: the curves.
        panels: the metrics of each panel.
        logarithmic: metrics that differ from the usual scale.
    """
    rows = max(len(metrics) for metrics in panels.values())
    figure, grid = new_figure(len(panels), rows)
    for column, (panel, metrics) in enumerate(panels.items()):
        for row in range(rows):
            axes = grid[row, column]
            if row >= len(metrics):
                axes.set_visible(False)
                continue
            draw_curves(axes, curves, panel, metrics[row], logarithmic=(logarithmic or {}).get(metrics[row]))
            if row == 0:
                axes.set_title(plain(panel), loc="left", fontsize=10)
        last = grid[len(metrics) - 1, column]
        last.legend(fontsize=7, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2), frameon=False)
    return figure


def panels_figure(
    *metrics: str, logarithmic: Mapping[str, bool] | None = None, without: Collection[str] = ()
) -> Callable[[Record], dict[str, Any]]:
    """A function that draws all panels of an experiment with the given metrics, for ``Experiment.draw``.

    Args:
        *metrics: the metrics, a row each.
        logarithmic: metrics that differ from the usual scale.
        without: methods that are left out, such as those of a map.
    """

    def draw(record: Record) -> dict[str, Any]:
        curves = record.curves.without(without)
        return {"curves": curve_figure(curves, {name: metrics for name in curves.panels()}, logarithmic=logarithmic)}

    return draw
