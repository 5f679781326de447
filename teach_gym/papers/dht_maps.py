"""The maps of DHT's figures; the paper gives the learning rate 0.001, its released code the noise."""

from __future__ import annotations

from itertools import product

from teach_gym.papers.dht_black_box import FIG8_PANELS
from teach_gym.papers.dht_generative import DIGITS, MOONS, SWEEP, at_weight
from teach_gym.papers.dht_privacy import SWEEP as ASKED
from teach_gym.papers.dht_privacy import TRIED_EPSILONS, TRIED_STRENGTHS, WIDE, asking
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
        methods={
            (kind, weight): {FORMULA: variant(loss, weight)} for kind, loss in _KINDS.items() for weight in WEIGHTS
        },
    )
    for panel in PANELS
)
"""The weight of the auxiliary loss, and whose losses these are, which the experiment itself varies."""


def _weights(panel: str) -> Map:
    """The map over the weights of the GAN's and the VAE's divergence, which the experiment itself varies."""
    gan, vae = (Axis(f"weight of the {label}'s divergence", "", weights) for label, weights in SWEEP[panel].items())
    pairs = product(gan.values, vae.values)
    names = {
        pair: {label: at_weight(panel, label, w) for label, w in zip(SWEEP[panel], pair, strict=True)} for pair in pairs
    }
    return Map(panel.replace("/", "-"), panel, (gan, vae), methods=names)


FIG5 = tuple(map(_weights, (MOONS, DIGITS)))
FIG6, FIG7 = ((chosen,) for chosen in FIG5)

_EPSILON = Axis("threshold epsilon", "", TRIED_EPSILONS)
FIG9_10 = (
    Map(
        DIGITS.replace("/", "-"),
        DIGITS,
        (_EPSILON, Axis("strength of the penalty", "", TRIED_STRENGTHS)),
        methods={pair: {WIDE: asking(DIGITS, *pair)} for pair in ASKED},
        threshold=_EPSILON.label,
    ),
)
"""The strength is the penalty of an example that lies on a private row."""

_FEW_RATES = Axis("learning rate", "task.learning_rate", (0.001, 0.01, 0.1), paper=RATE)
_WRONG = Axis("share of wrong labels", "task.pool_options.label_noise", (0.0, 0.1, 0.3), paper=0.0)

FIG8 = tuple(
    Map(panel.replace("/", "-"), panel, (_FEW_RATES, axis), together=False)
    for panel, axis in zip(FIG8_PANELS, (_NOISE, _WRONG), strict=True)
)
"""Wrong labels are those of training rows; the hold-out rows, on whose loss the teacher is trained, keep theirs."""
