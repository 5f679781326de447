"""The learner's update rule: gradient descent with momentum and weight decay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from teach_gym.arguments import NonNegative, Positive, Within, checked_fields
from teach_gym.core.backend import A, descend, namespace

Momentum = Annotated[float, Within(0.0, 1.0, open_high=True)]


@dataclass(frozen=True)
class Update:
    """The learner's update rule Q (LAST Eq. 7), with torch.optim.SGD's conventions.

    With g the gradient plus ``weight_decay * w``: velocity' = momentum * velocity + g and
    w' = w - learning_rate * velocity' (Nesterov: w - learning_rate * (g + momentum * velocity')).
    For the default rule w' is exactly ``w - learning_rate * gradient``.

    Args:
        learning_rate: step size eta, positive.
        momentum: in [0, 1); the velocity buffer is part of the teaching state when positive.
        nesterov: Nesterov's look-ahead form; needs a positive momentum.
        weight_decay: non-negative l2 coefficient.

    Raises:
        TypeError: a value of the wrong type.
        ValueError: a value out of its range.
    """

    learning_rate: Positive
    momentum: Momentum = 0.0
    nesterov: bool = False
    weight_decay: NonNegative = 0.0

    def __post_init__(self) -> None:
        checked_fields(self)
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov=True needs a momentum > 0, got 0")

    def __call__(self, w: A, velocity: A | None, gradient: A, rate: A | None = None) -> tuple[A, A | None]:
        """One update: w (..., P), velocity (..., P) or None, gradient (..., P) -> (w', velocity').

        ``rate`` (...) holds step sizes to use instead of ``learning_rate``.
        """
        step = self.learning_rate if rate is None else rate[..., None]
        if self.weight_decay:
            gradient = gradient + self.weight_decay * w
        if velocity is None:
            return descend(w, step, gradient), None
        velocity = self.momentum * velocity + gradient
        move = gradient + self.momentum * velocity if self.nesterov else velocity
        return descend(w, step, move), velocity

    def affine(self, w: A, velocity: A | None, rate: A | None = None) -> tuple[A, A]:
        """The update as an affine function of the gradient: w' = base - step * gradient.

        ``base`` is where the learner would move with a zero gradient. Greedy teachers work on (base, step), so the
        formulas of plain gradient descent also cover momentum, weight decay and drawn learning rates.

        Args:
            w: (..., P) the learner.
            velocity: (..., P) its momentum buffer, or None.
            rate: (...) step sizes to use instead of ``learning_rate``.

        Returns:
            base (..., P) and the step sizes (...).
        """
        if rate is None:
            rate = namespace(w).full_like(w[..., 0], self.learning_rate)
        if velocity is None and not self.weight_decay:
            return w, rate
        ahead = 1.0 + self.momentum if self.nesterov else 1.0
        pull = ahead * self.weight_decay * w
        if velocity is not None:
            pull = pull + self.momentum ** (2 if self.nesterov else 1) * velocity
        return w - rate[..., None] * pull, rate * ahead
