"""Media: what a teacher may change about the examples a step offers.

A medium turns the offered sources x (..., M, m, d), y (..., M, m, K) and a *value* into the teaching example
x' (..., m, d), y' (..., m, K). A discrete action picks one of ``candidates``; a continuous action is a value
itself, projected on the medium's constraint set. Leading axes broadcast, so scoring all candidates of a whole
batch is one call.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np

from teach_gym.core.backend import Array, combine, dot, lookup, namespace, norm
from teach_gym.core.projections import onto_ball, onto_interval, onto_simplex

Reference = Literal["uniform", "prediction", "target", "given", "pretrained", "features"]


@dataclass(frozen=True, eq=False)
class Medium(ABC):
    """Base of all media.

    Attributes:
        name: its name in ``MEDIA``.
        candidates: (A, ...) the value of each discrete action.
        labels: a short description of each action, A texts.
        low: lower bound of a continuous action, in the Box's shape (None: discrete only).
        high: upper bound of a continuous action.
        n_sources: number M of examples a step offers.
        reference: which label the value is mixed with or added to, or ``features``, the learner's hidden units (None:
            none needed).
    """

    name: str
    candidates: Array
    labels: tuple[str, ...]
    low: Array | None = None
    high: Array | None = None
    n_sources: int = 1
    reference: Reference | None = None

    @property
    def box(self) -> tuple[Array, Array]:
        """Lower and upper bound of a continuous action.

        Raises:
            TypeError: the medium has no continuous flavour.
        """
        if self.low is None or self.high is None:
            raise TypeError(f"medium {self.name!r} has no continuous flavour")
        return self.low, self.high

    def decode(self, action: Array) -> Array:
        """Values of discrete actions: (B,) integers -> (B, ...)."""
        return lookup(self.candidates, action)

    def project(self, action: Array) -> Array:
        """Value of a continuous action: (B, *Box shape) -> the nearest value of the constraint set."""
        raise TypeError(f"medium {self.name!r} has no continuous flavour")

    @abstractmethod
    def compose(self, x: Array, y: Array, value: Array, reference: Array | None) -> tuple[Array, Array]:
        """The teaching example.

        Args:
            x: (..., M, m, d) sources.
            y: (..., M, m, K) their labels.
            value: (..., *value shape).
            reference: (..., m, K) labels of the first source by ``self.reference`` (hidden units (..., m, h) for
                ``features``), or None.

        Returns:
            x' (..., m, d) and y' (..., m, K).
        """

    def passive(self, y: Array) -> Array:
        """The no-help action, which shows what plain SGD would see: y (B, M, m, K) -> (B,) indices."""
        return np.zeros(y.shape[0], dtype=np.int64)

    def passive_continuous(self, x: Array, y: Array) -> Array:
        """The no-help action of the continuous flavour: sources (B, M, m, .) -> (B, *Box shape)."""
        raise TypeError(f"medium {self.name!r} has no continuous flavour")


@dataclass(frozen=True, eq=False)
class LabelGrid(Medium):
    """The label itself: a grid of scalar labels (one output) or the K one-hot labels (LAST 3.2, 4).

    Value (..., 1 or m, K). The continuous flavour takes any label of the soft constraint: an interval for one
    output, the probability simplex for more.
    """

    def project(self, action: Array) -> Array:
        """Nearest label of the soft constraint: (B, m, K) -> (B, m, K)."""
        return onto_interval(action, *self.box) if action.shape[-1] == 1 else onto_simplex(action)

    def compose(self, x: Array, y: Array, value: Array, reference: Array | None) -> tuple[Array, Array]:
        """X' is the source, y' the value."""
        return x[..., 0, :, :], value

    def passive(self, y: Array) -> Array:
        """The grid's label nearest to the ground truth of the first row."""
        gap = self.candidates[:, 0, :] - y[:, None, 0, 0, :]
        return (gap * gap).sum(-1).argmin(-1)

    def passive_continuous(self, x: Array, y: Array) -> Array:
        """The ground-truth labels."""
        return y[:, 0]


@dataclass(frozen=True, eq=False)
class _Coefficient(Medium):
    """Base of the media whose value is one number per row, (..., 1 or m, 1); the largest, one, changes nothing."""

    def project(self, action: Array) -> Array:
        """Nearest number in [low, high]: (B, m) -> (B, m, 1)."""
        return onto_interval(action, *self.box)[..., None]

    def passive(self, y: Array) -> Array:
        """One, the last candidate."""
        return np.full(y.shape[0], len(self.candidates) - 1)

    def passive_continuous(self, x: Array, y: Array) -> Array:
        """One."""
        return namespace(y).ones_like(y[:, 0, :, 0])


@dataclass(frozen=True, eq=False)
class LabelMix(_Coefficient):
    """y' = mu y + (1 - mu) p, with p uniform, a given soft label or the prediction (LAST 4).

    Value mu (..., 1 or m, 1).

    Attributes:
        uniform: the entry of a uniform label, used where no reference is given.
    """

    uniform: float = 0.5

    def compose(self, x: Array, y: Array, value: Array, reference: Array | None) -> tuple[Array, Array]:
        """Mix the ground truth with the reference."""
        other = self.uniform if reference is None else reference
        return x[..., 0, :, :], value * y[..., 0, :, :] + (1.0 - value) * other


@dataclass(frozen=True, eq=False)
class LabelOffset(Medium):
    """y' = gate y + (1 - gate) p + offset: the ground truth, or prediction plus offset (LAST 3.2, magnitude).

    Value (..., 1 or m, 1 + K): the gate in [0, 1], then the offset in the ball of radius r. With the ground
    truth as centre the gate is one.
    """

    radius: float = 1.0

    def project(self, action: Array) -> Array:
        """Clip the gate and project the offset on the ball: (B, m, 1 + K) -> the same."""
        low, high = self.box
        gate = onto_interval(action[..., :1], low[..., :1], high[..., :1])
        return namespace(action).concat([gate, onto_ball(action[..., 1:], self.radius)], axis=-1)

    def compose(self, x: Array, y: Array, value: Array, reference: Array | None) -> tuple[Array, Array]:
        """Offset the ground truth or the prediction."""
        gate, truth = value[..., :1], y[..., 0, :, :]
        centre = truth if reference is None else gate * truth + (1.0 - gate) * reference
        return x[..., 0, :, :], centre + value[..., 1:]

    def passive_continuous(self, x: Array, y: Array) -> Array:
        """Gate one, offset zero."""
        xp, first = namespace(y), y[:, 0]
        return xp.concat([xp.ones_like(first[..., :1]), xp.zeros_like(first)], axis=-1)


@dataclass(frozen=True, eq=False)
class Mixup(_Coefficient):
    """Mixup of two sources, x' = c x1 + (1 - c) x2 and the same for y (DHT Eq. 7).

    Value: the Mixup coefficient c in [0, 1], (..., 1 or m, 1).
    """

    def compose(self, x: Array, y: Array, value: Array, reference: Array | None) -> tuple[Array, Array]:
        """Mix features and labels."""
        rest = 1.0 - value
        return (
            value * x[..., 0, :, :] + rest * x[..., 1, :, :],
            value * y[..., 0, :, :] + rest * y[..., 1, :, :],
        )


@dataclass(frozen=True, eq=False)
class Perturb(Medium):
    """x' = gate x + offset with the label unchanged (DHT 3.3.1, 4.2).

    Value (..., 1 or m, 1 + d): the gate, then the offset. Region ``ball``: the gate is one and a continuous
    action is an offset in units of the radius, projected on the unit ball. Region ``box``: a continuous
    action is x' itself (gate zero), clipped to the data's bounds.
    """

    radius: float = 0.5
    region: Literal["ball", "box"] = "ball"

    def project(self, action: Array) -> Array:
        """Nearest point of the region: (B, m, d) -> (B, m, 1 + d)."""
        xp = namespace(action)
        if self.region == "ball":
            return xp.concat([xp.ones_like(action[..., :1]), onto_ball(action, 1.0) * self.radius], axis=-1)
        clipped = onto_interval(action, *self.box)
        return xp.concat([xp.zeros_like(action[..., :1]), clipped], axis=-1)

    def compose(self, x: Array, y: Array, value: Array, reference: Array | None) -> tuple[Array, Array]:
        """Move or replace the source."""
        return value[..., :1] * x[..., 0, :, :] + value[..., 1:], y[..., 0, :, :]

    def passive_continuous(self, x: Array, y: Array) -> Array:
        """Zero offset (ball) or the source itself (box)."""
        return x[:, 0] if self.region == "box" else namespace(x).zeros_like(x[:, 0])


@dataclass(frozen=True, eq=False)
class PerturbHidden(Medium):
    """Moves the learner's hidden units on their sphere; the label is unchanged (DHT 4.2, constraint of Eq. 9).

    Hidden units h keep their norm and are rotated towards the value a. With c = h / ||h|| and the part of a orthogonal
    to h, t = a - <a, c> c, the angle is 2 arcsin(epsilon / 2) ||t||; epsilon is the chord of the largest rotation. The
    offset is added to the last h inputs of a learner with ``offsets``. Value a (..., 1 or m, h), in the unit ball.

    Attributes:
        epsilon: largest distance between the directions, ||h'/||h|| - h/||h|| ||.
    """

    epsilon: float = 0.5

    def project(self, action: Array) -> Array:
        """Nearest point of the unit ball: (B, m, h) -> (B, m, h)."""
        return onto_ball(action, 1.0)

    def compose(self, x: Array, y: Array, value: Array, reference: Array | None) -> tuple[Array, Array]:
        """Add the offset to the last inputs, which are zero in the source."""
        assert reference is not None
        xp = namespace(reference)
        size = xp.clip(norm(reference), 1e-30, None)[..., None]
        centre = reference / size
        across = value - dot(value, centre)[..., None] * centre
        turn = norm(across)[..., None]
        angle = 2.0 * math.asin(0.5 * self.epsilon) * turn
        moved = xp.cos(angle) * centre + xp.sin(angle) / xp.clip(turn, 1e-30, None) * across
        offset = size * (moved - centre)
        source = x[..., 0, :, :]
        rest = xp.zeros_like(offset[..., :1]) + xp.zeros_like(source[..., : x.shape[-1] - offset.shape[-1]])
        return source + xp.concat([rest, offset], axis=-1), y[..., 0, :, :]

    def passive_continuous(self, x: Array, y: Array) -> Array:
        """No rotation."""
        return namespace(x).zeros_like(x[:, 0, :, : self.box[0].shape[-1]])


@dataclass(frozen=True, eq=False)
class Select(Medium):
    """Which of M offered examples is shown (IMT with a pool of M). Value: one-hot weights (..., M)."""

    def compose(self, x: Array, y: Array, value: Array, reference: Array | None) -> tuple[Array, Array]:
        """Pick the chosen source."""
        return combine(value, x), combine(value, y)


@dataclass(frozen=True, eq=False)
class Mixed(Medium):
    """Selection and label together (mixed teaching, LAST 3.5): actions are pairs (source, label action).

    Value (..., M + c): one-hot choice, then the flattened value of the label medium.

    Attributes:
        label: the label medium applied to the chosen source.
    """

    label: Medium | None = None

    def compose(self, x: Array, y: Array, value: Array, reference: Array | None) -> tuple[Array, Array]:
        """Pick the source, then set its label."""
        assert self.label is not None
        m = x.shape[-3]
        choice, rest = value[..., :m], value[..., None, m:]
        chosen_x, chosen_y = (combine(choice, a)[..., None, :, :] for a in (x, y))
        return self.label.compose(chosen_x, chosen_y, rest, reference)

    def passive(self, y: Array) -> Array:
        """The first source with its ground-truth label (the actions of one source are consecutive)."""
        assert self.label is not None
        return self.label.passive(y)
