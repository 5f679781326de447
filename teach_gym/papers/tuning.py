"""Methods compared at the learning rate that is best for each of them on held-out images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np

from teach_gym.markdown import markdown_table
from teach_gym.papers.claims import paired_interval
from teach_gym.papers.curves import Curves, Row, rows_of
from teach_gym.papers.dht_performative import difference, final, mean_and_spread
from teach_gym.papers.engine import Record, Unit
from teach_gym.papers.figures import LABELS, bare, wrapped_figure
from teach_gym.papers.performative_panels import ACCURACY

CHOSEN = "chosen_rate"
"""The metric that holds the rate chosen for a method."""
_COLUMNS = 4


def best_of(scores: Mapping[float, float]) -> float:
    """The learning rate with the highest score; one at which the training diverged (nan) is excluded."""
    return max(scores, key=lambda rate: -np.inf if np.isnan(scores[rate]) else scores[rate])


def tuned(rates: Sequence[float], score: Callable[[float], float], further: int = 0) -> float:
    """The rate with the highest score; while that is the largest or the smallest tried, the next one is tried, too.

    Args:
        rates: learning rates to try, ascending.
        score: the score at a rate; nan if a training diverged.
        further: how many rates may be tried beyond these; they continue the ratio of the two outermost ones.
    """
    tried = list(rates)
    scores = {rate: score(rate) for rate in tried}
    while (best := best_of(scores)) in (tried[0], tried[-1]) and len(tried) < len(rates) + further:
        edge, inner = (tried[0], tried[1]) if best == tried[0] else (tried[-1], tried[-2])
        rate = float(f"{edge * edge / inner:.2g}")
        tried = sorted([*tried, rate])
        scores[rate] = score(rate)
    return best


def at_best_rate(unit: Unit, score: Callable[[float], float], train: Callable[[float], list[Row]]) -> list[Row]:
    """The rows of trainings at the best rate, and the rate.

    Args:
        unit: the unit of work; ``rates`` and ``further`` of its settings are those of ``tuned``.
        score: the mean accuracy on held-out images at a rate; nan if a training diverged.
        train: makes the rows at a rate.
    """
    best = tuned(unit.settings["rates"], score, unit.settings["further"])
    chosen = rows_of(unit.label, unit.method, CHOSEN, unit.seeds, (0,), [[best]] * len(unit.seeds))
    return [*train(best), *chosen]


def table(curves: Curves, reference: str) -> str:
    """A Markdown table of the chosen rates and the test accuracies, with the difference from a reference method."""
    rows = []
    for panel in curves.panels():
        compared = final(curves, panel, reference)
        for method in curves.methods(panel, ACCURACY):
            values = final(curves, panel, method)
            rate, *_ = final(curves, panel, method, CHOSEN)
            less = "-" if method == reference else difference(values - compared)
            rows.append((panel, method, f"{rate:g}", mean_and_spread(values), less))
    accuracy, gain = "test accuracy (mean ± s.d.)", f"minus {reference} (95 % interval)"
    return markdown_table(("panel", "method", "chosen rate", accuracy, gain), rows, "llrl")


def draw(record: Record) -> dict[str, Any]:
    """The test accuracies of all methods, a panel for each learner: every seed, the mean and its 95 % interval."""
    curves = record.curves
    panels = curves.panels()
    figure, grid = wrapped_figure(len(panels), _COLUMNS, (3.4, 2.6))
    names = [*dict.fromkeys(name for panel in panels for name in curves.methods(panel, ACCURACY))][::-1]
    for i, (axes, panel) in enumerate(zip(grid, panels, strict=True)):
        for name in curves.methods(panel, ACCURACY):
            row, values = names.index(name), final(curves, panel, name)
            axes.plot(values, np.full(len(values), row), "o", color="#c9d6df", markersize=4)
            mean, low, high = paired_interval(values)
            axes.errorbar(mean, row, xerr=[[mean - low], [high - mean]], fmt="o", color="#0072b2", capsize=3)
        axes.set_yticks(range(len(names)), names if i % _COLUMNS == 0 else [""] * len(names))
        axes.set_ylim(-0.4, len(names) - 0.6)
        axes.set_title(fill(panel, 36), loc="left", fontsize=10)
        axes.set_xlabel(LABELS[ACCURACY])
        bare(axes)
    return {"accuracies": figure}
