"""The table of media, each built for a task from options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from teach_gym.arguments import Count, Positive, Within, chosen, conform
from teach_gym.core.backend import Array
from teach_gym.core.medium import LabelGrid, LabelMix, LabelOffset, Medium, Mixed, Mixup, Perturb, PerturbHidden, Select
from teach_gym.core.outputs import Output
from teach_gym.errors import RUN_MEMORY, affordable, shown

Kind = Literal["grid", "mix", "offset"]
Box = Literal["per_dimension", "global"]
Grid = Annotated[int, Within(2, 10_000)]
"""A number of actions, or of examples to choose from."""


@dataclass(frozen=True)
class Setting:
    """The properties of a task that its medium is built from.

    Attributes:
        x: (N, d) train features.
        k: number of label entries K.
        output: the learner's output.
        batch_size: rows m per step.
        continuous: whether the task has continuous actions.
        hidden: hidden units that take offsets (0: the learner has none).
    """

    x: Array
    k: int
    output: Output
    batch_size: int = 1
    continuous: bool = False
    hidden: int = 0


def _box(bound: float | Array, *shape: int) -> Array:
    return np.broadcast_to(np.asarray(bound, dtype=np.float64), shape).copy()


def label(
    setting: Setting,
    *,
    kind: Kind | None = None,
    n: Grid | None = None,
    p: Literal["uniform", "target", "given", "pretrained", "prediction"] = "uniform",
    least: Annotated[float, Within(-1.0, 1.0)] = 0.5,
    centre: Literal["prediction", "truth"] = "prediction",
    radius: Positive = 1.0,
) -> Medium:
    """The label of a random example (LAST).

    Args:
        setting: the task's learner and data.
        kind: ``grid`` (the label itself; default for two classes), ``mix`` (mu y + (1 - mu) p; default for more)
            or ``offset`` (default for regression).
        n: number of grid values (default: 5 labels or offsets, 6 values of mu).
        p: what ``mix`` mixes with: ``uniform``, ``target`` (the target's soft prediction, as in distillation),
            ``given`` (the pool's soft labels), ``pretrained`` (those of a network trained on the train rows, as in
            distillation without w*) or ``prediction`` (the learner's own, as in self-training).
        least: the smallest mu of ``mix``. Below zero, which only the uniform label allows, classes other than the given
            one are more probable (two classes: -1 gives the other label).
        centre: what ``offset`` is added to: ``truth``, or ``prediction`` (the first action is then the ground truth).
        radius: largest offset.

    Raises:
        ValueError: a kind, option or batch size that does not fit the learner.
    """
    output, k, m = setting.output, setting.k, setting.batch_size
    bounded = output.label_low is not None and output.label_high is not None
    kind = kind or ("offset" if not bounded else "grid" if k == 1 else "mix")
    if kind != "offset" and not bounded:
        raise ValueError(f"label kind {kind!r} needs a classification learner; this one's labels are unbounded")
    low, high = output.label_low or 0.0, output.label_high or 0.0
    if kind == "grid":
        if m > 1 and not setting.continuous:
            raise ValueError(f"a discrete label grid labels one example, got batch_size={m}; use kind='mix'")
        values = np.linspace(low, high, n or 5)[:, None] if k == 1 else np.eye(k)
        names = [f"label {v[0]:g}" if k == 1 else f"one-hot label {i}" for i, v in enumerate(values)]
        return LabelGrid("label", values[:, None, :], tuple(names), low=_box(low, m, k), high=_box(high, m, k))
    if kind == "mix":
        mu = np.linspace(_least(setting, p, least), 1.0, n or 6)
        return LabelMix(
            "label",
            mu[:, None, None],
            tuple(f"{v:g} truth + {1 - v:g} {p}" for v in mu),
            low=_box(least, m),
            high=_box(1.0, m),
            reference=None if p == "uniform" else p,
            uniform=0.5 * (low + high) if k == 1 else 1.0 / k,
        )
    return _label_offset(setting, n or 5, centre, radius)


def _least(setting: Setting, p: str, least: float) -> float:
    bound = -1.0 / max(setting.k - 1, 1) if p == "uniform" else 0.0
    if not bound <= least < 1.0:
        raise ValueError(f"least must lie in [{bound:g}, 1) for p={p!r} and {setting.k} labels, got {shown(least)}")
    return least


def _label_offset(setting: Setting, n: int, centre: str, radius: float) -> Medium:
    k, m, from_truth = setting.k, setting.batch_size, centre == "truth"
    _affordable(n * k, 1 + k)
    steps = np.linspace(-radius, radius, n)
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


def mixup(setting: Setting, *, n: Grid = 5) -> Medium:
    """The Mixup coefficient of two random examples (DHT 4.1).

    Args:
        setting: the task's learner and data.
        n: number of coefficients on the grid over [0, 1].
    """
    m = setting.batch_size
    grid = np.linspace(0.0, 1.0, n)
    names = tuple(f"coefficient {c:g}" for c in grid)
    return Mixup("mixup", grid[:, None, None], names, low=_box(0.0, m), high=_box(1.0, m), n_sources=2)


def perturb(
    setting: Setting,
    *,
    radius: Positive = 0.5,
    axes: Count = 4,
    region: Literal["ball", "box"] = "ball",
    box: Box = "per_dimension",
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
        region=region,
    )


def performative(setting: Setting, *, epsilon: Annotated[float, Within(0.0, 1.0, open_low=True)] = 0.5) -> Medium:
    """A turn of the learner's hidden units on their sphere (DHT 4.2): actions raise or lower one of them.

    Args:
        setting: the task's learner and data.
        epsilon: largest distance between the directions of the original and the moved hidden units, at most 1.

    Raises:
        ValueError: a learner whose hidden units take no offsets.
    """
    if not setting.hidden:
        raise ValueError(
            "medium 'performative' needs an MLP whose hidden units take offsets: learner='mlp' or 'mlp_logistic' with "
            "learner_options={'offsets': True}"
        )
    h, m = setting.hidden, setting.batch_size
    _affordable(2 * h, h)
    ways = np.stack([np.eye(h), -np.eye(h)], axis=1).reshape(-1, h)
    names = [f"{what} hidden unit {i + 1}" for i in range(h) for what in ("raise", "lower")]
    return PerturbHidden(
        "performative",
        np.concatenate([np.zeros((1, h)), ways])[:, None, :],
        ("no offset", *names),
        low=_box(-1.0, m, h),
        high=_box(1.0, m, h),
        reference="features",
        epsilon=float(epsilon),
    )


def _affordable(actions: int, entries: int) -> None:
    affordable(f"{actions:,} actions with {entries:,} entries", 8 * actions * entries, RUN_MEMORY)


def data_bounds(x: Array, box: str = "per_dimension") -> tuple[Array, Array]:
    """Bounding box of features x (N, d): two (d,) arrays; ``global`` uses one interval for all features.

    Raises:
        ValueError: an unknown kind of box.
    """
    conform("box", box, Box)
    low, high = x.min(0), x.max(0)
    return (low, high) if box == "per_dimension" else (np.full_like(low, low.min()), np.full_like(high, high.max()))


def select(setting: Setting, *, n_sources: Grid = 8) -> Medium:
    """Which of ``n_sources`` random examples is shown (IMT on an offered subset).

    Args:
        setting: the task's learner and data.
        n_sources: number M of offered examples (mini-batches, if the batch size is above one), at least 2.
    """
    if setting.continuous:
        raise ValueError("medium 'select' is a choice and has no continuous flavour")
    names = tuple(f"source {i}" for i in range(n_sources))
    return Select("select", np.eye(n_sources), names, n_sources=n_sources)


def mixed(
    setting: Setting,
    *,
    n_sources: Grid = 4,
    kind: Kind | None = None,
    n: Grid | None = None,
    radius: Positive = 1.0,
) -> Medium:
    """Selection and label together (LAST 3.5): actions are the pairs of a source and a label action.

    Args:
        setting: the task's learner and data.
        n_sources: number M of offered examples.
        kind: as for ``label``; ``mix`` mixes with the uniform label, ``offset`` offsets the ground truth.
        n: as for ``label``.
        radius: as for ``label``.
    """
    if setting.continuous:
        raise ValueError("medium 'mixed' is a choice and has no continuous flavour")
    chosen = select(setting, n_sources=n_sources)
    inner = label(setting, kind=kind, n=n, centre="truth", radius=radius)
    flat = inner.candidates.reshape(len(inner.candidates), -1)
    _affordable(n_sources * len(flat), n_sources + flat.shape[1])
    values = np.concatenate([np.repeat(chosen.candidates, len(flat), axis=0), np.tile(flat, (n_sources, 1))], axis=1)
    names = tuple(f"{s}, {t}" for s in chosen.labels for t in inner.labels)
    return Mixed("mixed", values, names, n_sources=n_sources, label=inner)


CONTINUOUS_MEDIA = ("label", "mixup", "perturb", "performative")
"""The media that have a continuous flavour; in the others, every action is a choice."""

MEDIA: dict[str, Callable[..., Medium]] = {
    "label": label,
    "mixup": mixup,
    "perturb": perturb,
    "performative": performative,
    "select": select,
    "mixed": mixed,
}


def make_medium(name: str, setting: Setting, /, **options: Any) -> Medium:
    """Make a medium by name.

    Args:
        name: a key of ``MEDIA``.
        setting: the task's learner and data.
        **options: the options of that medium's function.

    Raises:
        ValueError: unknown name, or an option that does not fit the task.
        TypeError: an option the medium does not have, or a value of the wrong type.
    """
    return chosen("medium", name, MEDIA, options)(setting)
