"""LAST Figures 7, 8 and 10: greedy label synthesis for linear regression, logistic regression and a perceptron."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from teach_gym.papers.claims import Claim, Comparison
from teach_gym.papers.engine import Experiment, Record
from teach_gym.papers.figures import curve_figure
from teach_gym.papers.greedy import method, panel_units, run_unit, same_methods
from teach_gym.papers.tasks import SMALL_DIGITS, SMALL_LOGISTIC, paper_task

CLASSIFICATION = {
    "SGD": method("passive"),
    "IMT": method("imt"),
    "LAST one-hot": method("last:constraint=one_hot"),
    "LAST soft": method("last:constraint=soft"),
    "LAST free": method("last:constraint=none"),
    "mixed": method("mixed:constraint=none"),
    "mixed, 3 rounds": method("mixed:constraint=none,rounds=3"),
}
REGRESSION = {
    "SGD": method("passive"),
    "IMT": method("imt"),
    **{f"LAST r={r:g}": method(f"last:constraint=magnitude_prediction,radius={r}") for r in (0.5, 1.0, 2.0)},
    "LAST free": method("last:constraint=none"),
    "mixed": method("mixed:constraint=none"),
}


STEPS = {"": 1.0, ", small steps": 0.2}
"""Panels run at a learning rate we chose and at a fifth of it: LAST gives none, and much depends on it."""


def both_rates(tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Tasks by panel, at each learning rate of ``STEPS``."""
    return {
        panel + suffix: {**task, "learning_rate": factor * task["learning_rate"]}
        for suffix, factor in STEPS.items()
        for panel, task in tasks.items()
    }


def fig7_settings(seeds: int, budget: int) -> dict[str, Any]:
    """Settings of Figure 7."""
    return same_methods(seeds, both_rates({"regression": paper_task("LabelRegression", budget=budget)}), REGRESSION)


def fig8_settings(seeds: int, budget: int, digits: dict[str, Any] | None = None) -> dict[str, Any]:
    """Settings of Figure 8; ``digits`` changes the task of the third panel."""
    names = {"half moons": "LabelMoons", "Gaussian clusters": "LabelGaussian", "MNIST 3/5": "LabelMNIST"}
    tasks = {panel: paper_task(name, budget=budget, target_options={}) for panel, name in names.items()}
    tasks["MNIST 3/5"].update(digits or {})
    return same_methods(seeds, both_rates(tasks), CLASSIFICATION)


def perceptron_task(budget: int, digits: dict[str, Any] | None = None) -> dict[str, Any]:
    """A two-layer perceptron (one sigmoid output) on MNIST 3/5; ``digits`` changes the task."""
    return paper_task("LabelMNISTMLP", **{"budget": budget, **(digits or {})})


def fig10_settings(seeds: int, budget: int, digits: dict[str, Any] | None = None) -> dict[str, Any]:
    """Settings of Figure 10."""
    return same_methods(seeds, both_rates({"MNIST 3/5": perceptron_task(budget, digits)}), CLASSIFICATION)


Pairs = Sequence[tuple[str, str]]


def claims(
    statement: str, panels: Sequence[str], pairs: Pairs, at: Sequence[float], relation: str = "below"
) -> tuple[Claim, ...]:
    """A claim for each learning rate: the distances of pairs of methods, on the logarithmic scale, on all panels."""
    return tuple(
        Claim(
            f"{statement} [{'a fifth of the learning rate' if suffix else 'our learning rate'}]",
            tuple(
                Comparison(first, relation, second, panel=panel + suffix, at=tuple(at), scale="log")
                for panel in panels
                for first, second in pairs
            ),
        )
        for suffix in STEPS
    )


def draw_both_rates(*metrics: str, logarithmic: Mapping[str, bool] | None = None) -> Callable[[Record], dict[str, Any]]:
    """A drawing with one figure for each learning rate, for ``Experiment.draw``."""

    def draw(record: Record) -> dict[str, Any]:
        figures = {}
        for suffix, factor in STEPS.items():
            chosen = [p for p in record.settings["panels"] if p.endswith(", small steps") == (factor < 1.0)]
            name = "curves" + suffix.replace(", ", "-").replace(" ", "-")
            figures[name] = curve_figure(record.curves, dict.fromkeys(chosen, metrics), logarithmic=logarithmic)
        return figures

    return draw


_RATES = " Run at that learning rate and at a fifth of it, since the paper gives none and the outcome depends on it."

FIG7 = Experiment(
    name="last-fig7",
    title="Linear regression: SGD, IMT, LAST with and without magnitude constraint, mixed teaching",
    source="LAST, Figure 7",
    notes="The paper does not give its settings; ours are those of teach_gym.papers.tasks (d = 5, 500 rows, noise 0.1, "
    "learning rate 0.02, w0 ~ N(0, I), w* the least-squares solution)." + _RATES + " IMT's steps shrink with the "
    "error, those of LAST are at most r times the learning rate times ||x|| long: far from the target IMT is ahead of "
    "r = 2; near it the order is reversed.",
    scales={"smoke": fig7_settings(2, 6), "laptop": fig7_settings(20, 300), "paper": fig7_settings(50, 600)},
    units=panel_units,
    run=run_unit,
    claims=(
        *claims(
            "More flexible labels converge faster (r = 0.5 < 1 < 2 < no constraint).",
            ("regression",),
            (("LAST r=1", "LAST r=0.5"), ("LAST r=2", "LAST r=1"), ("LAST free", "LAST r=2")),
            (0.1, 0.25),
        ),
        *claims("LAST with r = 2 outperforms IMT.", ("regression",), (("LAST r=2", "IMT"),), (0.1, 0.25, 1.0)),
        *claims(
            "Mixed teaching converges faster than IMT and LAST alone.",
            ("regression",),
            (("mixed", "IMT"), ("mixed", "LAST free")),
            (0.02, 0.1),
        ),
    ),
    draw=draw_both_rates("train_loss", "distance", logarithmic={"train_loss": True}),
)

_FIG8 = ("half moons", "Gaussian clusters", "MNIST 3/5")
_VARIANTS = ("LAST one-hot", "LAST soft", "LAST free")
_BEAT_SGD = tuple((name, "SGD") for name in _VARIANTS)

FIG8 = Experiment(
    name="last-fig8",
    title="Logistic regression: SGD, IMT, LAST with one-hot, soft and free labels, mixed teaching",
    source="LAST, Figure 8",
    notes="The paper does not give its settings; ours are those of teach_gym.papers.tasks (MNIST with "
    "24 projected features) with labels from the continuous sets instead of the grid, and w* the minimiser of the "
    "training loss (SGD has the same goal)." + _RATES + " Mixed teaching "
    "chooses the row by its true label; near the target that is the same uninformative row again and again, and no "
    "label for it helps, so it can stall where LAST on random rows continues; the curve 'mixed, 3 rounds' "
    "chooses the row again for the label found, twice (no claim is tested on it).",
    scales={
        "smoke": fig8_settings(2, 6, SMALL_LOGISTIC),
        "laptop": fig8_settings(20, 300),
        "paper": fig8_settings(50, 600),
    },
    units=panel_units,
    run=run_unit,
    claims=(
        *claims("All variants of LAST significantly outperform SGD.", _FIG8, _BEAT_SGD, (0.25, 1.0)),
        *claims(
            "Mixed teaching consistently achieves the best performance.",
            _FIG8,
            tuple(("mixed", name) for name in ("SGD", "IMT", *_VARIANTS)),
            (0.02, 0.1, 0.25),
        ),
        *claims(
            "Without constraints, LAST is not worse than IMT (at most twice as far).",
            _FIG8,
            (("LAST free", "IMT"),),
            (0.1, 0.25),
            "not_worse",
        ),
    ),
    draw=draw_both_rates("distance", "train_loss"),
)

FIG10 = Experiment(
    name="last-fig10",
    title="Two-layer perceptron on MNIST 3/5, beta = 1: SGD, IMT, LAST, mixed teaching",
    source="LAST, Figure 10",
    notes="The paper does not give its settings: 24 projected features, 16 hidden ReLU units, one sigmoid output, w* "
    "from 500 steps of full gradient descent, learners from the start of that training plus N(0, 0.02^2), learning "
    "rate 0.05." + _RATES,
    scales={
        "smoke": fig10_settings(2, 4, SMALL_DIGITS),
        "laptop": fig10_settings(20, 600),
        "paper": fig10_settings(50, 1000),
    },
    units=panel_units,
    run=run_unit,
    claims=(
        *claims("All variants of LAST converge significantly better than SGD.", ("MNIST 3/5",), _BEAT_SGD, (0.25, 1.0)),
        *claims(
            "Without constraints, LAST and mixed teaching converge far better than IMT.",
            ("MNIST 3/5",),
            (("LAST free", "IMT"), ("mixed", "IMT")),
            (0.25, 1.0),
        ),
    ),
    draw=draw_both_rates("distance", "train_loss", "test_accuracy"),
)
