"""DHT Figure 3: greedy data hallucination with and without labels on half-moons and MNIST 3/5."""

from __future__ import annotations

from typing import Any

from teach_gym.papers.claims import Claim, Comparison
from teach_gym.papers.dht_protocol import (
    HALF_MOONS,
    MNIST,
    protocol_cohorts,
    protocol_table,
    protocol_task,
    spectral_distance,
)
from teach_gym.papers.engine import Experiment, Result, Unit
from teach_gym.papers.figures import panels_figure
from teach_gym.papers.greedy import FIGURE_METRICS, method, panel_units, run_unit
from teach_gym.papers.tasks import SMALL_DIGITS

_LABELS = "constraint=cone,label_radius=2.0"
METHODS = {
    "SGD": method("passive"),
    "SGD+label": method("last:constraint=cone,radius=2.0"),
    "IMT": method("imt"),
    "IMT+label": method("mixed:constraint=cone,radius=2.0"),
    "DHT": method("dht:box='global',label_source=uniform"),
    "DHT+label": method(f"dht:box='global',label_source=uniform,labels=True,{_LABELS}"),
    "DHT (per dimension)": method("dht:box=per_dimension,label_source=uniform"),
    "DHT+label (per dimension)": method(f"dht:box=per_dimension,label_source=uniform,labels=True,{_LABELS}"),
}


def settings(seeds: int, budget: int, digits: dict[str, Any], passes: int = 29) -> dict[str, Any]:
    """Settings of Figure 3: two-output softmax learners on un-normalised soft labels."""
    pools = {"half moons": HALF_MOONS, "MNIST 3/5": digits}
    panels = {
        panel: {"task": protocol_task(pool, budget=budget), "methods": METHODS, "passes": passes}
        for panel, pool in pools.items()
    }
    return {"seeds": seeds, "panels": panels}


def run(unit: Unit) -> Result:
    """Run a unit of work by the protocol and also record the spectral distance."""
    metrics = {**FIGURE_METRICS, "spectral_distance": spectral_distance}
    return run_unit(unit, metrics=metrics, make_cohorts=protocol_cohorts)


def _nearer(first: str, *others: str) -> tuple[Comparison, ...]:
    return tuple(
        Comparison(first, "below", other, metric="spectral_distance", panel=panel, at=(0.5, 1.0))
        for panel in ("half moons", "MNIST 3/5")
        for other in others
    )


FIG3 = Experiment(
    name="dht-fig3",
    title="Greedy DHT with and without label synthesis against SGD and IMT",
    source="DHT, Figure 3",
    notes="The protocol is that of the authors' released settings: two-output softmax without bias, x in one interval "
    "for all features; the paper's text says each dimension within its own range, plotted as '(per dimension)'. "
    "DHT draws its label uniformly; features are exact minimisers of each step, where the authors run Adam. The figure "
    "shows the squared spectral norm of the difference of the weights, each divided by its Frobenius norm; the squared "
    "Frobenius norm of the difference is in curves.csv.",
    scales={
        "smoke": settings(2, 4, SMALL_DIGITS, passes=2),
        "laptop": settings(10, 299, MNIST),
        "paper": settings(30, 299, MNIST),
    },
    units=panel_units,
    run=run,
    claims=(
        Claim(
            "Without labels, greedy DHT converges fastest (one interval for all features, the released settings).",
            _nearer("DHT", "SGD", "IMT"),
        ),
        Claim(
            "With labels, greedy DHT converges fastest (one interval for all features, the released settings).",
            _nearer("DHT+label", "SGD+label", "IMT+label", "DHT"),
        ),
        Claim(
            "Without labels, greedy DHT converges fastest (each dimension in its own range, the paper's text).",
            _nearer("DHT (per dimension)", "SGD", "IMT"),
        ),
        Claim(
            "With labels, greedy DHT converges fastest (each dimension in its own range, the paper's text).",
            _nearer("DHT+label (per dimension)", "SGD+label", "IMT+label", "DHT (per dimension)"),
        ),
    ),
    draw=panels_figure("spectral_distance", "test_accuracy", logarithmic={"spectral_distance": False}),
    table=protocol_table("spectral_distance"),
)
