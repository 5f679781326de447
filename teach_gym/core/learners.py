"""The table of learners, each built from an output, a bias and options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from teach_gym.arguments import Within, chosen
from teach_gym.core.learner import Learner, MLPLearner
from teach_gym.core.outputs import IDENTITY, MARGIN, SIGMOID, SOFTMAX, Output

Hidden = Annotated[int, Within(1, 1_000_000)]


def linear(output: Output) -> Callable[..., Learner]:
    """A function that makes linear learners with an output, for ``LEARNERS``."""

    def made(name: str, bias: bool) -> Learner:
        return Learner(name, output, bias)

    return made


def perceptron(output: Output) -> Callable[..., Learner]:
    """A function that makes learners with a hidden layer and an output, for ``LEARNERS``."""

    def made(name: str, bias: bool, *, hidden: Hidden = 16, offsets: bool = False) -> Learner:
        return MLPLearner(name, output, bias, hidden, offsets)

    return made


LEARNERS: dict[str, Callable[..., Learner]] = {
    "least_squares": linear(IDENTITY),
    "logistic": linear(SIGMOID),
    "margin_logistic": linear(MARGIN),
    "softmax": linear(SOFTMAX),
    "mlp": perceptron(SOFTMAX),
    "mlp_logistic": perceptron(SIGMOID),
}
"""Learner name -> function of the name, the bias flag and options."""


def make_learner(name: str, *, bias: bool = False, **options: Any) -> Learner:
    """Make a learner by name.

    Args:
        name: one of ``least_squares``, ``logistic`` (one output, soft labels in [0, 1]),
            ``margin_logistic`` (labels +-1, loss log(1 + exp(-y <w, x>))), ``softmax``,
            ``mlp`` (hidden layer, softmax) and ``mlp_logistic`` (hidden layer, one sigmoid output).
        bias: whether layers have a bias.
        **options: for the MLPs, ``hidden`` (units, default 16) and ``offsets`` (see ``MLPLearner``).

    Raises:
        ValueError: unknown name, or an option out of range.
        TypeError: an option the learner does not have, or a value of the wrong type.
    """
    return chosen("learner", name, LEARNERS, options)(name, bias)
