"""Outputs: how a learner's logits become predictions, and the loss on them, over any leading axes."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from teach_gym.core.backend import A, logsumexp, namespace, sigmoid, softmax, softplus


class _OfLogits(Protocol):
    def __call__(self, z: A, /) -> A: ...


class _OfLogitsAndLabels(Protocol):
    def __call__(self, z: A, y: A, /) -> A: ...


class Output(NamedTuple):
    """How logits z (..., m, K) become a prediction and a loss.

    Attributes:
        predict: z -> prediction, same shape, on the scale of the labels.
        loss: (z, y) -> (..., m), the loss of each example.
        residual: (z, y) -> (..., m, K), the derivative of the loss with respect to z.
        label_low: smallest meaningful label entry (None: unbounded).
        label_high: largest meaningful label entry.
        linear: whether the residual is linear in y (the greedy label then has a closed form).
    """

    predict: _OfLogits
    loss: _OfLogitsAndLabels
    residual: _OfLogitsAndLabels
    label_low: float | None = 0.0
    label_high: float | None = 1.0
    linear: bool = True


def _total(a: A) -> A:
    return namespace(a).sum(a, axis=-1)


def _identity(z: A) -> A:
    return z


def _squared_loss(z: A, y: A) -> A:
    return 0.5 * _total((z - y) ** 2)


def _difference(z: A, y: A) -> A:
    return z - y


def _logistic_loss(z: A, y: A) -> A:
    return _total(softplus(z) - y * z)


def _logistic_residual(z: A, y: A) -> A:
    return sigmoid(z) - y


def _signed_prediction(z: A) -> A:
    return 2.0 * sigmoid(z) - 1.0


def _margin_loss(z: A, y: A) -> A:
    return _total(softplus(-y * z))


def _margin_residual(z: A, y: A) -> A:
    return -y * sigmoid(-y * z)


def _softmax_loss(z: A, y: A) -> A:
    return _total(y) * logsumexp(z)[..., 0] - _total(y * z)


def _softmax_residual(z: A, y: A) -> A:
    return _total(y)[..., None] * softmax(z) - y


IDENTITY = Output(_identity, _squared_loss, _difference, label_low=None, label_high=None)
SIGMOID = Output(sigmoid, _logistic_loss, _logistic_residual)
MARGIN = Output(_signed_prediction, _margin_loss, _margin_residual, label_low=-1.0, linear=False)
SOFTMAX = Output(softmax, _softmax_loss, _softmax_residual)
