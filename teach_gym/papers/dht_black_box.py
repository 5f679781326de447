"""DHT Figure 8: parameterised black-box teaching against IMT, which knows w*."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from teach_gym.papers.black_box import REACHED, SHARE, TUNED, black_box, each, run
from teach_gym.papers.claims import Claim
from teach_gym.papers.dht_protocol import HALF_MOONS, protocol_task
from teach_gym.papers.dht_unrolled import LEARNED_MNIST
from teach_gym.papers.engine import Experiment
from teach_gym.papers.figures import panels_figure
from teach_gym.papers.greedy import method, panel_units
from teach_gym.papers.tasks import SMALL_DIGITS

_UNSEEN = {"observation": "black_box", "reward": "holdout_progress"}
_BOX = {"medium": "perturb", "medium_options": {"region": "box", "box": "global"}}
FIG8_PANELS = ("half moons", "MNIST 3/5")
FIG8_METHODS = {
    "SGD": method("passive"),
    "SGD, tuned step": TUNED,
    "IMT": method("imt"),
    "black-box DHT": black_box(architecture={"space": "free"}),
    "black-box DHT, box": black_box(),
}


def fig8_panel(
    pool: dict[str, Any], budget: int, passes: int, iterations: int, hidden: Sequence[int] | None
) -> dict[str, Any]:
    """A panel of Figure 8; ``hidden`` None is the paper's network."""
    return {
        "task": protocol_task(pool, "logistic", budget, **_BOX, **_UNSEEN),
        "methods": FIG8_METHODS,
        "passes": passes,
        "training": {"iterations": iterations, "steps": 40, "learners": 8, "max_grad_norm": 1.0},
        "network": {} if hidden is None else {"hidden": list(hidden), "batch_norm": False},
    }


def _fig8_claims() -> tuple[Claim, ...]:
    any_x, box = "black-box DHT", "black-box DHT, box"
    said = (
        ("Black-box DHT reaches a given accuracy in fewer iterations than IMT.", "any x", any_x, "IMT"),
        (
            "Black-box DHT reaches a given accuracy in fewer iterations than IMT.",
            "x in the data's interval",
            box,
            "IMT",
        ),
        ("Black-box DHT reaches a given accuracy in fewer iterations than SGD.", "any x", any_x, "SGD"),
        ("It needs fewer iterations than SGD with a tuned step (not in the paper).", "any x", any_x, "SGD, tuned step"),
    )
    found = []
    for panel in FIG8_PANELS:
        for statement, where, first, other in said:
            compared = each((panel,), first, other, relation="below", metric=REACHED)
            found.append(Claim(f"{statement} [{panel}; {where}]", compared))
        ends = each((panel,), any_x, "IMT", relation="above", metric="test_accuracy")
        found.append(Claim(f"Its accuracy at the end is above that of IMT. [{panel}; any x]", ends))
    return tuple(found)


FIG8 = Experiment(
    name="dht-fig8",
    title="Parameterized teaching without w* against IMT, which knows it",
    source="DHT, Figure 8 and appendix C.8, C.9",
    notes="The protocol of the other DHT figures (one-output sigmoid learner without bias, step size 0.001). The "
    "policy sees w, x and the label; its objective is the loss on 200 hold-out rows after 40 unrolled steps, and it is "
    "trained on learners other than those it teaches. 'box' keeps x in one interval for all features, the other gives "
    "any x (the paper's full teaching space). Accuracies are those of the test rows, which no teacher sees. The bar "
    f"is {SHARE:.0%} of the test accuracy of w*, which only serves to set that bar and to guide IMT; a run that never "
    "reaches it counts as budget + 1. A teacher of features also sets the length of a step, so SGD with the step size "
    "of lowest hold-out loss is shown too. The laptop scale has networks of 64-64 units on MNIST; "
    "it trains for the paper's 1,000 iterations, as 300 are too few.",
    scales={
        "smoke": {
            "seeds": 2,
            "panels": {
                FIG8_PANELS[0]: fig8_panel(
                    {**HALF_MOONS, "pool_options": {**HALF_MOONS["pool_options"], "n": 50}}, 4, 2, 2, None
                ),
                FIG8_PANELS[1]: fig8_panel(SMALL_DIGITS, 4, 2, 2, (8,)),
            },
        },
        "laptop": {
            "seeds": 10,
            "panels": {
                FIG8_PANELS[0]: fig8_panel(HALF_MOONS, 299, 29, 1000, None),
                FIG8_PANELS[1]: fig8_panel(LEARNED_MNIST, 299, 29, 1000, (64, 64)),
            },
        },
        "paper": {
            "seeds": 20,
            "panels": {
                FIG8_PANELS[0]: fig8_panel(HALF_MOONS, 299, 29, 1000, None),
                FIG8_PANELS[1]: fig8_panel(LEARNED_MNIST, 299, 29, 1000, None),
            },
        },
    },
    units=panel_units,
    run=run,
    claims=_fig8_claims(),
    draw=panels_figure("test_accuracy", "normalized_distance", "holdout_loss"),
)
