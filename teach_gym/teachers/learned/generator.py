"""Generative teaching policies as networks (DHT 3.3.2): they make teaching examples from a label and noise.

``gan``: a generator sees the learner, the label and noise and gives the features, or an image that a pool's projection
turns into features (DHT C.5, C.7). ``vae``: a policy sees the learner and the offered row and gives mean and variance
of a latent, whose sample a frozen decoder turns into features or an image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

try:
    import torch
    from torch import nn
except ImportError as error:
    raise ImportError("teach_gym.teachers.learned.generator needs torch: pip install 'teach_gym[torch]'") from error

from teach_gym.core.backend import Array, as_array, as_tensor, namespace
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.data.pools import make_pool
from teach_gym.errors import lookup_name, positive
from teach_gym.teachers.learned.convolution import SIDES, ImageDecoder, ImageGenerator
from teach_gym.teachers.learned.networks import generators, mlp
from teach_gym.teachers.learned.policy import inputs

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
        side: side of the images it makes, 0 where it makes features.
        width: channels of the image networks.
        pixels: values of the darkest and of the brightest pixel.
        projected: whether the images are projected on the features.
        normalize: see ``teach_gym.teachers.learned.policy.Architecture``.

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
        """Entries it sees beside the noise."""
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
        normalize: see ``teach_gym.teachers.learned.policy.Architecture``.

    Raises:
        ValueError: images wanted of a pool that has none or none that fit, or whose pixels are not known.
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
        d=task.d,
        k=task.k,
        parameters=task.size,
        classes=pool.n_classes,
        momentum=bool(task.update.momentum),
        noise=(task.d if few else 8) if noise is None else noise,
        hidden=tuple(((32, 16) if few else (64, 32)) if hidden is None else hidden),
        side=side,
        width=width,
        pixels=(0.0, 1.0) if task.spec.pool_options.get("binary") else (-1.0, 1.0),
        projected=projected,
        normalize=normalize,
    )


class Real(NamedTuple):
    """Real rows of a pool, in what a policy makes.

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


class GenerativePolicy(nn.Module):
    """S generative policies of one design; run b is taught by policy b // (B / S).

    Set ``draw`` to a function from the state to the noise (B, m, noise) before it is called.

    Args:
        arch: the design.
        projections: (S, side^2, d), or None where it makes features (or where it will be loaded).
        seeds: S seeds of the first weights.
        decoder: the decoders of a ``vae`` policy, pre-trained; they are kept as they are (None: to be loaded).
    """

    def __init__(
        self, arch: Design, projections: Array | None, seeds: Sequence[int], decoder: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.arch = arch
        self.net: nn.Module
        self.projection: torch.Tensor
        draws = generators(seeds)
        if arch.kind == "vae":
            self.net = mlp((arch.seen, *arch.hidden, 2 * arch.noise), draws)
            self.decoder = make_decoder(arch, draws) if decoder is None else decoder
            self.decoder.requires_grad_(False)
        elif arch.side:
            self.net = ImageGenerator(
                arch.seen - arch.embedded + arch.noise, arch.embedded, arch.side, arch.width, draws, arch.pixels
            )
        else:
            self.net = mlp((arch.seen + arch.noise, *arch.hidden, arch.d), draws)
        if arch.projected:
            table = np.zeros((len(seeds), arch.side**2, arch.d)) if projections is None else projections
            self.register_buffer("projection", torch.tensor(np.asarray(table), dtype=torch.float32))
        self.draw: Callable[[TeachState], Array] | None = None
        self.trace: dict[int, torch.Tensor] | None = None
        """Where set: by step, what the divergence term needs of the first call, (B, m, entries)."""

    @property
    def n(self) -> int:
        """Number S of teachers."""
        return len(next(self.parameters()))

    def inputs(self, task: Task, state: TeachState) -> Array:
        """What it sees, numpy or torch as the state: learner, row (if it sees that), label, noise; (B, m, entries)."""
        assert self.draw is not None, "set draw before the policy is called"
        seen = inputs(task, state, normalize=self.arch.normalize)
        xp = namespace(seen)
        if not self.arch.sees_x:
            learner = self.arch.seen - self.arch.embedded
            seen = xp.concat([seen[..., :learner], seen[..., learner + self.arch.d :]], axis=-1)
        return xp.concat([seen, self.draw(state)], axis=-1)

    def generate(self, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, m, entries) -> features or pixels (B, m, size), and what the divergence is measured on.

        That is the same for a GAN, and mean and log variance of the latent (B, m, 2 noise) for a VAE.
        """
        arch, shape = self.arch, seen.shape[:-1]
        rows = seen.reshape(self.n, -1, seen.shape[-1])
        noise, label = rows[..., arch.seen :], rows[..., arch.seen - arch.embedded : arch.seen]
        if arch.kind == "vae":
            latent = self.net(rows[..., : arch.seen])
            mean, log_variance = latent.chunk(2, dim=-1)
            made = self.decoder(mean + torch.exp(0.5 * log_variance) * noise, label)
            return made.reshape(*shape, -1), latent.reshape(*shape, -1)
        if arch.side:
            feature = torch.cat([rows[..., : arch.seen - arch.embedded], noise], dim=-1)
            made = self.net(feature, label)
        else:
            made = self.net(rows)
        made = made.reshape(*shape, -1)
        return made, made

    def raw(self, seen: torch.Tensor) -> torch.Tensor:
        """What the networks make: (B, m, entries) -> (B, m, size)."""
        return self.generate(seen)[0]

    def example(self, task: Task, state: TeachState, out: torch.Tensor) -> Example:
        """The teaching examples: images are projected, labels are the offered ones."""
        if self.arch.projected:
            rows = torch.bmm(out.reshape(self.n, -1, out.shape[-1]), self.projection)
            out = rows.reshape(*out.shape[:-1], -1)
        return Example(as_array(out), state.y[:, 0])

    def forward(self, task: Task, state: TeachState) -> Example:
        """The teaching examples of B runs, in torch: x (B, m, d), y (B, m, K)."""
        made, traced = self.generate(as_tensor(self.inputs(task, state)))
        if self.trace is not None:
            self.trace.setdefault(int(state.t[0]), traced)
        return self.example(task, state, made)


class VectorDecoder(nn.Module):
    """S decoders of features, perceptrons from latent and label (DHT C.5)."""

    def __init__(self, arch: Design, draws: Sequence[torch.Generator]) -> None:
        super().__init__()
        self.net = mlp((arch.noise + arch.embedded, *arch.decoder, arch.d), draws)

    def forward(self, latent: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Features: (S, L, noise), (S, L, embedded) -> (S, L, d)."""
        return self.net(torch.cat([latent, label], dim=-1))


def make_decoder(arch: Design, draws: Sequence[torch.Generator]) -> Any:
    """S decoders of a design, untrained."""
    if arch.side:
        return ImageDecoder(arch.embedded, arch.noise, arch.side, arch.width, draws, arch.pixels)
    return VectorDecoder(arch, draws)
