"""The architectures of teaching policies, in plain JSON values, and their sizes for a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from teach_gym.core.state import Task
from teach_gym.errors import lookup_name, number, positive, shown
from teach_gym.teachers.learned.networks import ACTIVATIONS

OUTPUTS: dict[str, tuple[str, ...]] = {
    "label": ("free", "soft", "residual"),
    "perturb": ("free", "box", "residual", "image"),
}
"""The kinds of outputs for each medium that a policy fits."""
BOXES = ("per_dimension", "global")


@dataclass(frozen=True)
class Architecture:
    """A policy's network, in plain JSON values.

    Attributes:
        medium: the medium of its tasks: ``label`` (it gives labels) or ``perturb`` (it gives features).
        d: number of features.
        k: number of label entries.
        parameters: number P of learner parameters.
        classes: number of classes, 0 for regression.
        momentum: whether it sees the learner's velocity.
        hidden: units of the hidden layers.
        output: ``free`` (any value), ``residual`` (added to the offered label or features), ``soft`` (labels: between
            the learner's lowest and highest, or on the simplex), ``box`` (features: inside the data's bounds) or
            ``image`` (features: pixels in [-1, 1], by a tanh, times the pool's projection).
        normalize: see w / ||w|| and its difference from w* / ||w*|| (the DHT authors' released version).
        aligned: also see the learner's and the target's logits on the row: the best label or features depend on these
            inner products, which a small network is slow to learn.
        batch_norm: 1-d batch normalisation of the hidden layers.
        activation: a key of ``teach_gym.teachers.learned.networks.ACTIVATIONS``.
        box: the bounds of output ``box``: ``per_dimension`` or ``global`` (one interval for all features).
        pixels: pixels of output ``image``.
        bias: whether its layers have biases.
        embedding: the label enters through a learned table of one row for each class, drawn from N(0, 1).

    Raises:
        TypeError: a value of the wrong type.
        ValueError: a value out of range, or an output that the medium does not have.
    """

    medium: str
    d: int
    k: int
    parameters: int
    classes: int
    momentum: bool
    hidden: tuple[int, ...]
    output: str = "free"
    normalize: bool = False
    aligned: bool = False
    batch_norm: bool = False
    activation: str = "relu"
    box: str = "per_dimension"
    pixels: int = 0
    bias: bool = True
    embedding: bool = False

    def __post_init__(self) -> None:
        for name in ("d", "k", "parameters"):
            positive(name, getattr(self, name), integer=True)
        for size in self.hidden:
            positive("hidden", size, integer=True)
        number("classes", self.classes, integer=True)
        for name in ("momentum", "normalize", "aligned", "batch_norm", "bias", "embedding"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be a bool, got {shown(getattr(self, name))}")
        lookup_name("activation", self.activation, ACTIVATIONS)
        lookup_name("box", self.box, dict.fromkeys(BOXES))
        if self.medium not in OUTPUTS:
            raise ValueError(
                f"an unrolled policy gives labels or features and fits the media {', '.join(OUTPUTS)}; "
                f"the task's medium is {self.medium!r}"
            )
        if self.output not in OUTPUTS[self.medium]:
            raise ValueError(
                f"output {self.output!r} does not fit medium {self.medium!r}; "
                f"allowed: {', '.join(OUTPUTS[self.medium])}"
            )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Inputs, hidden units, outputs; 8-32-16-2 for features of half-moons (DHT C.3)."""
        learner = self.parameters * (3 if self.momentum else 2)
        inputs = learner + self.d + self.embedded + 2 * self.k * self.aligned
        outputs = self.pixels if self.output == "image" else self.d
        return (inputs, *self.hidden, self.k if self.medium == "label" else outputs)

    @property
    def embedded(self) -> int:
        """Entries of the label that it sees."""
        return self.classes or self.k


def default_hidden(d: int) -> tuple[int, ...]:
    """DHT's hidden layers: 32-16 for few features (C.3), 128-256-512-512-1024 from 24 on (C.4), between them 64-64."""
    return (32, 16) if d < 8 else (64, 64) if d < 24 else (128, 256, 512, 512, 1024)


def sizes_of(task: Task) -> dict[str, Any]:
    """What decides the sizes of a policy's networks, by the names of ``Architecture``."""
    return {
        "d": task.d,
        "k": task.k,
        "parameters": task.size,
        "classes": task.pool.n_classes,
        "momentum": bool(task.update.momentum),
    }


def architecture(task: Task, *, hidden: Sequence[int] | None = None, **options: Any) -> Architecture:
    """The architecture for a task.

    Args:
        task: the task.
        hidden: units of the hidden layers (None: ``default_hidden``).
        **options: ``output``, ``normalize``, ``aligned``, ``batch_norm`` (None: with DHT's layers for 24 features and
            more), ``activation``, ``box``, ``bias`` and ``embedding`` of ``Architecture``.

    Raises:
        ValueError: the task's medium, learner or an option does not fit.
        TypeError: an unknown option or one of the wrong type.
    """
    if options.get("output") == "soft" and task.learner.output.label_low is None:
        raise ValueError(
            f"output 'soft' needs a classification learner, this one is {task.learner.name!r}; use free or residual"
        )
    if options.get("batch_norm") is None:
        options["batch_norm"] = hidden is None and task.d >= 24
    if options.get("output") == "image":
        if task.pool.projection is None:
            raise ValueError(f"output 'image' needs a pool whose features are projected pixels, not {task.pool.name!r}")
        options["pixels"] = len(task.pool.projection)
    return Architecture(
        medium=task.spec.medium,
        **sizes_of(task),
        hidden=tuple(default_hidden(task.d) if hidden is None else hidden),
        **options,
    )
