"""The maps of LAST's figures over what the paper leaves open: learning rate, start, noise, width, normalisation."""

from __future__ import annotations

from teach_gym.papers.grids import Axis, Map
from teach_gym.papers.last_blast import BLAST_PANELS
from teach_gym.papers.last_learned import PANEL

_START = "scale of w0"


def _rates(*values: float) -> Axis:
    return Axis("learning rate", "task.learning_rate", values)


def _starts(*values: float) -> Axis:
    return Axis(_START, "task.init_scale", values)


_NEAR_TO_FAR = _starts(0.3, 1.0, 3.0)
_REGRESSION = _rates(0.001, 0.003, 0.01, 0.02, 0.05, 0.1)
_UNIT = _rates(0.005, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Steps of rows of unit norm are five times shorter."""
_DIGITS = _rates(0.001, 0.005, 0.01, 0.02, 0.05, 0.1)
_LOGISTIC = _rates(0.001, 0.01, 0.05, 0.14, 0.35, 0.7)

FIG7 = (
    Map("regression", "regression", (_REGRESSION, _NEAR_TO_FAR)),
    Map("unit-norm rows", "regression", (_UNIT, _NEAR_TO_FAR), (("task.pool_options.unit_norm", True),)),
    Map("noise", "regression", (_REGRESSION, Axis("noise", "task.pool_options.noise", (0.0, 0.1, 0.5, 1.0)))),
)
FIG8 = (
    Map("half moons", "half moons", (_LOGISTIC, _NEAR_TO_FAR)),
    Map("Gaussian clusters", "Gaussian clusters", (_LOGISTIC, _NEAR_TO_FAR)),
    Map("MNIST 3/5", "MNIST 3/5", (_DIGITS, _NEAR_TO_FAR)),
)
FIG9 = (Map("half moons", "learning rate 0.7", (_rates(0.001, 0.005, 0.014, 0.05, 0.14, 0.7), _NEAR_TO_FAR)),)
_PERCEPTRON = _rates(0.001, 0.005, 0.02, 0.05)
_NEAR_PERCEPTRON = _starts(0.01, 0.02, 0.05)
_WIDTH = Axis("number of hidden units", "task.learner_options.hidden", (4, 16, 64))
FIG10 = (
    Map("start", "MNIST 3/5", (_PERCEPTRON, _NEAR_PERCEPTRON)),
    Map("width", "MNIST 3/5", (_PERCEPTRON, _WIDTH)),
)
FIG11 = (
    Map("perceptron", "perceptron", (_PERCEPTRON, _NEAR_PERCEPTRON)),
    Map("logistic", "logistic", (_DIGITS, _NEAR_TO_FAR)),
)
FIG12 = (Map("learned teachers", PANEL, (_rates(0.01, 0.05, 0.2), _NEAR_TO_FAR), together=False),)
"""Every cell has teachers of its own; the policy gradient's training takes ten minutes or more of each."""
BLAST = (
    Map(
        BLAST_PANELS[0],
        BLAST_PANELS[0],
        (_rates(0.2, 0.5, 2.0), Axis("noise", "task.pool_options.noise", (0.1, 0.2, 0.4))),
        together=False,
    ),
    Map(BLAST_PANELS[1], BLAST_PANELS[1], (_rates(0.02, 0.1, 0.5), _starts(0.02, 0.05, 0.2)), together=False),
)
GIT = (
    Map("mini-batch size", "mini-batch size m", (_DIGITS, _NEAR_TO_FAR)),
    Map("interval", "teacher every v steps", (_DIGITS, _NEAR_TO_FAR)),
    Map("momentum", "momentum", (_rates(0.0005, 0.001, 0.002, 0.005, 0.01), _NEAR_TO_FAR)),
    Map("weight decay", "weight decay", (_DIGITS, Axis("weight decay", "task.weight_decay", (0.001, 0.01, 0.1)))),
    Map("perceptron", "perceptron", (_PERCEPTRON, _NEAR_PERCEPTRON)),
)
