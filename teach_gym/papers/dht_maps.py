"""The maps of DHT's figures; the paper gives the learning rate 0.001, its released code the noise."""

from __future__ import annotations

from teach_gym.papers.dht_protocol import RATE
from teach_gym.papers.dht_unrolled import FORMULA, LOSSES, PANELS, WEIGHTS, variant
from teach_gym.papers.grids import Axis, Map

_RATES = Axis("learning rate", "task.learning_rate", (0.0001, 0.001, 0.01, 0.1), paper=RATE)
_NOISE = Axis("noise", "task.pool_options.noise", (0.05, 0.2, 0.4), paper=0.2)

FIG3 = (Map("half moons", "half moons", (_RATES, _NOISE)),)
"""Not on MNIST, where every seed has a pool of its own and a step of the exact solver takes tens of milliseconds."""
_KINDS = {f"the {loss.removesuffix(' loss')}": loss for loss in LOSSES}
_LOSS = Axis("auxiliary loss", "", tuple(_KINDS), paper=next(iter(_KINDS)))
_WEIGHT = Axis("weight", "", WEIGHTS)

FIG4 = tuple(
    Map(
        panel.replace("/", "-"),
        panel,
        (_LOSS, _WEIGHT),
        methods={(kind, weight): variant(loss, weight) for kind, loss in _KINDS.items() for weight in WEIGHTS},
        stands_for=FORMULA,
    )
    for panel in PANELS
)
"""The weight of the auxiliary loss, and whose losses these are, which the experiment itself varies."""
