"""The designs of generative policies: their networks for a task, and the real rows they imitate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from teach_gym.core.backend import Array
from teach_gym.core.state import Task
from teach_gym.data.pools import make_pool
from teach_gym.errors import lookup_name, positive
from teach_gym.teachers.learned.architecture import sizes_of
from teach_gym.teachers.learned.convolution import SIDES

KINDS = ("gan", "vae")


@dataclass(frozen=True)
class Design:
    """A generative policy's networks, in plain JSON values.

    Attributes:
        kind: ``gan`` or ``vae``.
        d: number of features.
        k: number of label entries.
        parameters: number P of learner parameters.
        classes: number of classes, 0 for regression.
        momentum: whether it sees the learner's velocity.
        noise: entries of the noise: the generator's input, or the latent.
        hidden: units of the hidden layers of a generator of features or of a policy in the latent space.
        decoder: units of the hidden layers of a decoder of features.
        side: side of the images it makes, 0 if it makes features.
        width: channels of the image networks.
        pixels: values of the darkest and of the brightest pixel.
        projected: whether the images are projected to the features.
        normalize: see ``teach_gym.teachers.learned.architecture.Architecture``.

    Raises:
        TypeError: a value of the wrong type.
        ValueError: a value out of range, or images of a side that no network makes.
    """

    kind: str
    d: int
    k: int
    parameters: int
    classes: int
    momentum: bool
    noise: int
    hidden: tuple[int, ...]
    decoder: tuple[int, ...] = (128, 256, 128)
    side: int = 0
    width: int = 32
    pixels: tuple[float, float] = (-1.0, 1.0)
    projected: bool = False
    normalize: bool = False

    def __post_init__(self) -> None:
        lookup_name("kind of generative policy", self.kind, dict.fromkeys(KINDS))
        for name in ("d", "k", "parameters", "noise", "width"):
            positive(name, getattr(self, name), integer=True)
        for size in (*self.hidden, *self.decoder):
            positive("hidden", size, integer=True)
        if self.side and self.side not in SIDES:
            raise ValueError(
                f"image networks make images of side {', '.join(map(str, SIDES))}, the pool's have side {self.side}; "
                "give images=False to make features"
            )

    @property
    def medium(self) -> str:
        """What it makes: features, whatever the task's medium."""
        return "features"

    @property
    def batch_norm(self) -> bool:
        """Whether training needs two rows for each teacher."""
        return self.kind == "gan" and self.side > 0

    @property
    def embedded(self) -> int:
        """Entries of the label embedding."""
        return self.classes or self.k

    @property
    def size(self) -> int:
        """Entries of what its networks make: features or pixels."""
        return self.side**2 or self.d

    @property
    def sees_x(self) -> bool:
        """Whether it sees the offered row: all but the generator of features (DHT C.5, C.7)."""
        return self.kind == "vae" or self.side > 0

    @property
    def seen(self) -> int:
        """Entries it sees in addition to the noise."""
        return self.parameters * (3 if self.momentum else 2) + self.d * self.sees_x + self.embedded


def design(
    task: Task,
    kind: str,
    *,
    images: bool | None = None,
    hidden: Sequence[int] | None = None,
    noise: int | None = None,
    width: int = 32,
    normalize: bool = False,
) -> Design:
    """The design for a task.

    Args:
        task: the task.
        kind: ``gan`` or ``vae``.
        images: make images (None: where the pool has images).
        hidden: units of hidden layers (None: DHT's 32-16 for few features, else 64-32).
        noise: entries of the noise or the latent (None: d for few features, else 8; DHT's half-moons: 2).
        width: channels of the image networks (DHT: 128).
        normalize: see ``teach_gym.teachers.learned.architecture.Architecture``.

    Raises:
        ValueError: images requested of a pool without (suitable) images or with unknown pixels.
        TypeError: a value of the wrong type.
    """
    pool = task.pool
    if images is None:
        images = pool.image_shape is not None
    side, projected = 0, False
    if images:
        if pool.image_shape is None:
            raise ValueError(f"images=True needs a pool of images, pool {pool.name!r} has none; use images=False")
        side, other = pool.image_shape
        if side != other:
            raise ValueError(f"image networks make square images, the pool's are {pool.image_shape}; use images=False")
        projected = pool.to_image is not None
        if task.spec.pool_options.get("standardize"):
            raise ValueError("images need features that are pixels or their projection: use standardize=False")
    few = task.d < 8
    return Design(
        kind=kind,
        **sizes_of(task),
        noise=(task.d if few else 8) if noise is None else noise,
        hidden=tuple(((32, 16) if few else (64, 32)) if hidden is None else hidden),
        side=side,
        width=width,
        pixels=(0.0, 1.0) if task.spec.pool_options.get("binary") else (-1.0, 1.0),
        projected=projected,
        normalize=normalize,
    )


class Real(NamedTuple):
    """Real rows of a pool, in the form a policy makes them.

    Attributes:
        rows: (N, d) features or (N, side^2) pixels of the train rows.
        labels: (N, K) their labels.
        projection: (side^2, d), or None where the rows are the features.
    """

    rows: Array
    labels: Array
    projection: Array | None


def real_rows(task: Task, made: Design) -> Real:
    """The train rows of a task's pool as features or pixels."""
    pool, spec = task.pool, task.spec
    if not made.projected:
        return Real(task.x, task.y, None)
    pixels = make_pool(spec.pool, spec.first_pool_seed, **{**spec.pool_options, "projection": None}).train.x
    return Real(pixels, task.y, pool.projection)
