"""LAST 5.2, generalized iterative teaching: mini-batches of m rows, teaching every v steps, other learners."""

from __future__ import annotations

import itertools
from typing import Any

from teach_gym.papers.claims import Claim, Comparison
from teach_gym.papers.engine import Experiment
from teach_gym.papers.figures import panels_figure
from teach_gym.papers.greedy import method, panel_units, run_unit
from teach_gym.papers.tasks import SMALL_LOGISTIC, paper_task

SIZES = (1, 4, 16)
INTERVALS = (1, 2, 5, 20)
LEARNERS: dict[str, dict[str, Any]] = {
    "momentum": {"momentum": 0.9, "learning_rate": 0.005},
    "weight decay": {"weight_decay": 0.01},
    "perceptron": {
        "learner": "mlp_logistic",
        "target": "trained",
        "target_options": {"steps": 500, "learning_rate": 0.05},
        "init": "perturbed",
        "init_scale": 0.02,
    },
}
_SOFT = "last:constraint=soft"
_BATCH, _EVERY = "mini-batch size m", "teacher every v steps"


def settings(seeds: int, budget: int, digits: dict[str, Any] | None = None) -> dict[str, Any]:
    """Settings: MNIST 3 against 5 and its variations; ``digits`` changes the task."""
    task = paper_task("LabelMNIST", **{"budget": budget, **(digits or {})})
    sizes = {}
    for m in SIZES:
        sizes[f"SGD m={m}"] = method("passive", batch_size=m)
        sizes[f"LAST m={m}"] = method(_SOFT, batch_size=m)
    pair = {"SGD": method("passive"), "LAST": method(_SOFT)}
    intervals = {"SGD": method("passive"), **{f"LAST v={v}": method(_SOFT, every=v) for v in INTERVALS}}
    panels = {_BATCH: {"task": task, "methods": sizes}, _EVERY: {"task": task, "methods": intervals}}
    learners = {name: {"task": {**task, **changes}, "methods": pair} for name, changes in LEARNERS.items()}
    return {"seeds": seeds, "panels": {**panels, **learners}}


def _pairs(panel: str, *pairs: tuple[str, str]) -> tuple[Comparison, ...]:
    return tuple(Comparison(a, "below", b, panel=panel, at=(0.25, 1.0), scale="log") for a, b in pairs)


GIT = Experiment(
    name="last-git",
    title="Generalized iterative teaching GIT(m, v): mini-batches, rare teaching, momentum, weight decay, a perceptron",
    source="LAST, section 5.2 (no figure)",
    notes="The paper formulates GIT without an experiment; the claims are what it suggests. MNIST 3/5 as "
    "in Figure 8, soft labels, greedy in one step (the teacher does not look v steps "
    "ahead); between two interactions the learner sees true labels. The three other learners have their own targets "
    "or starts, and a panel each.",
    scales={
        "smoke": settings(2, 4, SMALL_LOGISTIC),
        "laptop": settings(20, 300),
        "paper": settings(50, 600),
    },
    units=panel_units,
    run=run_unit,
    claims=(
        Claim(
            "LAST beats SGD for every mini-batch size m.",
            _pairs(_BATCH, *((f"LAST m={m}", f"SGD m={m}") for m in SIZES)),
        ),
        Claim(
            "Larger mini-batches, with more labels to choose, bring LAST nearer in the same number of iterations.",
            _pairs(_BATCH, ("LAST m=4", "LAST m=1"), ("LAST m=16", "LAST m=4")),
        ),
        Claim(
            "A teacher that acts only every v steps still beats SGD.",
            _pairs(_EVERY, *((f"LAST v={v}", "SGD") for v in INTERVALS)),
        ),
        Claim(
            "The more often the teacher acts, the faster the learner converges.",
            _pairs(_EVERY, *((f"LAST v={a}", f"LAST v={b}") for a, b in itertools.pairwise(INTERVALS))),
        ),
        Claim(
            "LAST beats SGD for learners with momentum, weight decay and a hidden layer.",
            tuple(comparison for name in LEARNERS for comparison in _pairs(name, ("LAST", "SGD"))),
        ),
    ),
    draw=panels_figure("distance", "train_loss", "test_accuracy"),
)
