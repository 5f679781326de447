"""Methods compared at the learning rate that is best for each of them on held-out images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from teach_gym.papers.claims import paired_interval
from teach_gym.papers.curves import Curves, Row, rows_of
from teach_gym.papers.dht_performative import final, mean_and_spread
from teach_gym.papers.engine import Unit
from teach_gym.papers.performative_panels import ACCURACY

CHOSEN = "chosen_rate"
"""The metric that holds the rate chosen for a method."""


def best_of(scores: Mapping[float, float]) -> float:
    """The learning rate with the highest score; one at which the training diverged (nan) is excluded."""
    return max(scores, key=lambda rate: -np.inf if np.isnan(scores[rate]) else scores[rate])


def at_best_rate(
    unit: Unit, rates: Sequence[float], score: Callable[[float], float], train: Callable[[float], list[Row]]
) -> list[Row]:
    """The rows of trainings at the best rate, and the rate.

    Args:
        unit: the unit of work.
        rates: the learning rates to try.
        score: the mean accuracy on held-out images at a rate; nan if a training diverged.
        train: makes the rows at a rate.
    """
    best = best_of({rate: score(rate) for rate in rates})
    chosen = rows_of(unit.label, unit.method, CHOSEN, unit.seeds, (0,), [[best]] * len(unit.seeds))
    return [*train(best), *chosen]


def table(curves: Curves, reference: str) -> str:
    """A Markdown table of the chosen rates and the test accuracies, with the difference from a reference method."""
    lines = [
        f"| learner | method | chosen rate | test accuracy (mean ± s.d.) | minus {reference} (95 % interval) |",
        "| --- | --- | ---: | --- | --- |",
    ]
    for panel in curves.panels():
        compared = final(curves, panel, reference)
        for method in curves.methods(panel, ACCURACY):
            values = final(curves, panel, method)
            rate, *_ = final(curves, panel, method, CHOSEN)
            gap = paired_interval(values - compared)
            less = "-" if method == reference else f"{gap.value:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]"
            lines.append(f"| {panel} | {method} | {rate:g} | {mean_and_spread(values)} | {less} |")
    return "\n".join(lines)
