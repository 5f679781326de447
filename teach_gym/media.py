"""Media: what a teacher may change about the examples a step offers.

A medium turns the offered sources x (..., M, m, d), y (..., M, m, K) and a *value* into the teaching example
x' (..., m, d), y' (..., m, K). A discrete action picks one of ``candidates``; a continuous action is a value
itself, projected on the medium's constraint set. Leading axes broadcast, so scoring all candidates of a whole
batch is one call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from teach_gym.backend import Array, combine, lookup, namespace
from teach_gym.errors import check_options, lookup_name, positive
from teach_gym.learners import Output
from teach_gym.projections import onto_ball, onto_interval, onto_simplex

Reference = Literal["uniform", "prediction", "target", "given"]


@dataclass(frozen=True, eq=False)
class Medium(ABC):
    """Base of all media.

    Attributes:
        name: the name it is looked up by.
        candidates: (A, ...) the value of each discrete action.
        labels: what each action does, A short texts.
        low: lower bound of a continuous action, the shape of the Box (None: discrete only).
        high: upper bound of a continuous action.
        n_sources: number M of examples a step offers.
        reference: which label the value is mixed with or added to (None: none needed).
    """

    name: str
    candidates: Array
    labels: tuple[str, ...]
    low: Array | None = None
    high: Array | None = None
    n_sources: int = 1
    reference: Reference | None = None

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
            reference: (..., m, K) labels of the first source by ``self.reference``, or None.

        Returns:
            x' (..., m, d) and y' (..., m, K).
        """

    def passive(self, y: Array) -> Array:
        """The no-help action, what plain SGD sees: y (B, M, m, K) -> (B,) indices."""
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
        return onto_interval(action, self.low, self.high) if action.shape[-1] == 1 else onto_simplex(action)

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
class LabelMix(Medium):
    """y' = mu y + (1 - mu) p, with p uniform, a given soft label or the prediction (LAST 4).

    Value mu (..., 1 or m, 1).

    Attributes:
        uniform: the entry of a uniform label, used where no reference is given.
    """

    uniform: float = 0.5

    def project(self, action: Array) -> Array:
        """Nearest mu in [low, high]: (B, m) -> (B, m, 1)."""
        return onto_interval(action, self.low, self.high)[..., None]

    def compose(self, x: Array, y: Array, value: Array, reference: Array | None) -> tuple[Array, Array]:
        """Mix the ground truth with the reference."""
        other = self.uniform if reference is None else reference
        return x[..., 0, :, :], value * y[..., 0, :, :] + (1.0 - value) * other

    def passive(self, y: Array) -> Array:
        """Mu = 1."""
        return np.full(y.shape[0], len(self.candidates) - 1)

    def passive_continuous(self, x: Array, y: Array) -> Array:
        """Mu = 1."""
        return namespace(y).ones_like(y[:, 0, :, 0])


@dataclass(frozen=True, eq=False)
class LabelOffset(Medium):
    """y' = gate y + (1 - gate) p + offset: the ground truth, or prediction plus offset (LAST 3.2, magnitude).

    Value (..., 1 or m, 1 + K): the gate in [0, 1], then the offset in the ball of radius r. With the ground
    truth as centre the gate is one.
    """

    radius: float = 1.0

    def project(self, action: Array) -> Array:
        """Clip the gate and project the offset on the ball: (B, m, 1 + K) -> the same."""
        assert self.low is not None and self.high is not None
        gate = onto_interval(action[..., :1], self.low[..., :1], self.high[..., :1])
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
class Mixup(Medium):
    """Mixup of two sources, x' = c x1 + (1 - c) x2 and the same for y (DHT Eq. 7).

    Value: the Mixup coefficient c in [0, 1], (..., 1 or m, 1).
    """

    def project(self, action: Array) -> Array:
        """Nearest coefficient in [0, 1]: (B, m) -> (B, m, 1)."""
        return onto_interval(action, self.low, self.high)[..., None]

    def compose(self, x: Array, y: Array, value: Array, reference: Array | None) -> tuple[Array, Array]:
        """Mix features and labels."""
        rest = 1.0 - value
        return (
            value * x[..., 0, :, :] + rest * x[..., 1, :, :],
            value * y[..., 0, :, :] + rest * y[..., 1, :, :],
        )

    def passive(self, y: Array) -> Array:
        """Coefficient one: the first source."""
        return np.full(y.shape[0], len(self.candidates) - 1)

    def passive_continuous(self, x: Array, y: Array) -> Array:
        """Coefficient one."""
        return namespace(y).ones_like(y[:, 0, :, 0])


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
        clipped = onto_interval(action, self.low, self.high)
        return xp.concat([xp.zeros_like(action[..., :1]), clipped], axis=-1)

    def compose(self, x: Array, y: Array, value: Array, reference: Array | None) -> tuple[Array, Array]:
        """Move or replace the source."""
        return value[..., :1] * x[..., 0, :, :] + value[..., 1:], y[..., 0, :, :]

    def passive_continuous(self, x: Array, y: Array) -> Array:
        """Zero offset (ball) or the source itself (box)."""
        return x[:, 0] if self.region == "box" else namespace(x).zeros_like(x[:, 0])


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
        chosen = [combine(choice, a)[..., None, :, :] for a in (x, y)]
        return self.label.compose(*chosen, rest, reference)

    def passive(self, y: Array) -> Array:
        """The first source with its ground-truth label (the actions of one source are consecutive)."""
        assert self.label is not None
        return self.label.passive(y)


@dataclass(frozen=True)
class Setting:
    """What a medium must know of the task it is built for.

    Attributes:
        x: (N, d) train features.
        k: number of label entries K.
        output: the learner's output.
        batch_size: rows m per step.
        continuous: whether the continuous flavour is wanted.
    """

    x: Array
    k: int
    output: Output
    batch_size: int = 1
    continuous: bool = False


def _box(bound: float | Array, *shape: int) -> Array:
    return np.broadcast_to(np.asarray(bound, dtype=np.float64), shape).copy()


def _grid(low: float, high: float, n: int, what: str) -> Array:
    positive(what, n, integer=True)
    if n < 2:
        raise ValueError(f"{what} must be at least 2, got {n!r}")
    return np.linspace(low, high, n)


def _one_of(what: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ValueError(f"{what} must be one of {', '.join(allowed)}, got {value!r}")


def label(
    setting: Setting,
    *,
    kind: str | None = None,
    n: int | None = None,
    p: str = "uniform",
    centre: str = "prediction",
    radius: float = 1.0,
) -> Medium:
    """The label of a random example (LAST).

    Args:
        setting: the task's learner and data.
        kind: ``grid`` (the label itself; default for two classes), ``mix`` (mu y + (1 - mu) p; default for more)
            or ``offset`` (default for regression).
        n: number of grid values (default: 5 labels or offsets, 6 values of mu).
        p: what ``mix`` mixes with: ``uniform``, ``target`` (the target's soft prediction, as in distillation),
            ``given`` (the pool's soft labels) or ``prediction`` (the learner's own, as in self-training).
        centre: what ``offset`` offsets: ``truth`` or ``prediction`` (then the first action is the ground truth).
        radius: largest offset.

    Raises:
        ValueError: a kind, option or batch size that does not fit the learner.
    """
    output, k, m = setting.output, setting.k, setting.batch_size
    bounded = output.label_low is not None and output.label_high is not None
    kind = kind or ("offset" if not bounded else "grid" if k == 1 else "mix")
    _one_of("kind", kind, ["grid", "mix", "offset"])
    if kind != "offset" and not bounded:
        raise ValueError(f"label kind {kind!r} needs a classification learner; this one's labels are unbounded")
    low, high = output.label_low or 0.0, output.label_high or 0.0
    if kind == "grid":
        if m > 1 and not setting.continuous:
            raise ValueError(f"a discrete label grid labels one example, got batch_size={m}; use kind='mix'")
        values = _grid(low, high, n or 5, "n")[:, None] if k == 1 else np.eye(k)
        names = [f"label {v[0]:g}" if k == 1 else f"one-hot label {i}" for i, v in enumerate(values)]
        return LabelGrid("label", values[:, None, :], tuple(names), low=_box(low, m, k), high=_box(high, m, k))
    if kind == "mix":
        _one_of("p", p, ["uniform", "target", "given", "prediction"])
        mu = _grid(0.5, 1.0, n or 6, "n")
        return LabelMix(
            "label",
            mu[:, None, None],
            tuple(f"{v:g} truth + {1 - v:g} {p}" for v in mu),
            low=_box(0.5, m),
            high=_box(1.0, m),
            reference=None if p == "uniform" else p,  # type: ignore[arg-type]
            uniform=0.5 * (low + high) if k == 1 else 1.0 / k,
        )
    return _label_offset(setting, n or 5, centre, radius)


def _label_offset(setting: Setting, n: int, centre: str, radius: float) -> Medium:
    _one_of("centre", centre, ["truth", "prediction"])
    positive("radius", radius)
    k, m, from_truth = setting.k, setting.batch_size, centre == "truth"
    steps = _grid(-radius, radius, n, "n")
    steps = steps[np.abs(steps) > 1e-9 * radius] if from_truth else steps
    offsets = np.concatenate([np.outer(steps, row) for row in np.eye(k)])
    gated = np.concatenate([np.full((len(offsets), 1), float(from_truth)), offsets], axis=1)
    values = np.concatenate([np.eye(1 + k)[:1], gated])
    names = ["truth", *(f"{centre} + {np.array2string(o, precision=3)}" for o in offsets)]
    low, high = _box(-radius, m, 1 + k), _box(radius, m, 1 + k)
    low[:, 0], high[:, 0] = 0.0, 1.0
    return LabelOffset(
        "label",
        values[:, None, :],
        tuple(names),
        low=low,
        high=high,
        reference=None if from_truth else "prediction",
        radius=float(radius),
    )


def mixup(setting: Setting, *, n: int = 5) -> Medium:
    """The Mixup coefficient of two random examples (DHT 4.1).

    Args:
        setting: the task's learner and data.
        n: number of coefficients on the grid over [0, 1].
    """
    m = setting.batch_size
    grid = _grid(0.0, 1.0, n, "n")
    names = tuple(f"coefficient {c:g}" for c in grid)
    return Mixup("mixup", grid[:, None, None], names, low=_box(0.0, m), high=_box(1.0, m), n_sources=2)


def perturb(
    setting: Setting, *, radius: float = 0.5, axes: int = 4, region: str = "ball", box: str = "per_dimension"
) -> Medium:
    """A feature offset (DHT): eight compass directions in the plane, else +-radius along principal axes.

    Args:
        setting: the task's learner and data.
        radius: length epsilon of the offsets, in the features' units.
        axes: number of leading principal axes of the train features (ignored in the plane).
        region: the continuous flavour's set: ``ball`` around the source, or ``box`` (any x in the data's bounds).
        box: bounds of the box: ``per_dimension`` or ``global`` (one interval for all features).

    Raises:
        ValueError: a value out of range.
    """
    positive("radius", radius)
    positive("axes", axes, integer=True)
    _one_of("region", region, ["ball", "box"])
    _one_of("box", box, ["per_dimension", "global"])
    x, d, m = setting.x, setting.x.shape[1], setting.batch_size
    if d == 2:
        angles = np.arange(8) * np.pi / 4
        directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        names = [f"{radius:g} towards {p}" for p in ("E", "NE", "N", "NW", "W", "SW", "S", "SE")]
    else:
        if axes > d:
            raise ValueError(f"axes must be at most the {d} features, got {axes}")
        principal = np.linalg.svd(x - x.mean(0), full_matrices=False)[2][:axes]
        directions = np.stack([principal, -principal], axis=1).reshape(-1, d)
        names = [f"{s}{radius:g} along principal axis {i + 1}" for i in range(axes) for s in "+-"]
    offsets = np.concatenate([np.zeros((1, d)), radius * directions])
    values = np.concatenate([np.ones((len(offsets), 1)), offsets], axis=1)
    low, high = (-1.0, 1.0) if region == "ball" else data_bounds(x, box)
    return Perturb(
        "perturb",
        values[:, None, :],
        ("no offset", *names),
        low=_box(low, m, d),
        high=_box(high, m, d),
        radius=float(radius),
        region=region,  # type: ignore[arg-type]
    )


def data_bounds(x: Array, box: str = "per_dimension") -> tuple[Array, Array]:
    """Bounding box of features x (N, d): two (d,) arrays; ``global`` uses one interval for all features."""
    _one_of("box", box, ["per_dimension", "global"])
    low, high = x.min(0), x.max(0)
    return (low, high) if box == "per_dimension" else (np.full_like(low, low.min()), np.full_like(high, high.max()))


def select(setting: Setting, *, n_sources: int = 8) -> Medium:
    """Which of ``n_sources`` random examples is shown (IMT on an offered subset).

    Args:
        setting: the task's learner and data.
        n_sources: number M of offered examples (mini-batches, if the batch size is above one), at least 2.
    """
    if setting.continuous:
        raise ValueError("medium 'select' is a choice and has no continuous flavour")
    _grid(0, 1, n_sources, "n_sources")
    names = tuple(f"source {i}" for i in range(n_sources))
    return Select("select", np.eye(n_sources), names, n_sources=n_sources)


def mixed(setting: Setting, *, n_sources: int = 4, **label_options: Any) -> Medium:
    """Selection and label together (LAST 3.5): actions are the pairs of a source and a label action.

    Args:
        setting: the task's learner and data.
        n_sources: number M of offered examples.
        **label_options: options of the label medium; kind ``grid`` or ``mix`` with the uniform label.
    """
    if setting.continuous:
        raise ValueError("medium 'mixed' is a choice and has no continuous flavour")
    chosen = select(setting, n_sources=n_sources)
    inner = label(setting, **label_options)
    if inner.reference is not None:
        raise ValueError(f"medium 'mixed' cannot mix with {inner.reference!r}; use p='uniform' or centre='truth'")
    flat = inner.candidates.reshape(len(inner.candidates), -1)
    values = np.concatenate([np.repeat(chosen.candidates, len(flat), axis=0), np.tile(flat, (n_sources, 1))], axis=1)
    names = tuple(f"{s}, {t}" for s in chosen.labels for t in inner.labels)
    return Mixed("mixed", values, names, n_sources=n_sources, label=inner)


MEDIA: dict[str, Callable[..., Medium]] = {
    "label": label,
    "mixup": mixup,
    "perturb": perturb,
    "select": select,
    "mixed": mixed,
}


def make_medium(name: str, setting: Setting, **options: Any) -> Medium:
    """Make a medium by name.

    Args:
        name: a key of ``MEDIA``.
        setting: what it must know of the task.
        **options: the options of that medium's function.

    Raises:
        ValueError: unknown name, or an option that does not fit the task.
        TypeError: an option the medium does not have.
    """
    maker = lookup_name("medium", name, MEDIA)
    check_options("medium", name, maker, options)
    return maker(setting, **options)
