"""Networks that generative and private teachers need, pre-trained on the pools: decoders, and a perceptual distance.

S of each are trained at once, one for each teacher, on rows (S, N, n); networks are those of
``teach_gym.teachers.learned.networks``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

try:
    import torch
    from torch import nn
except ImportError as error:
    raise ImportError("teach_gym.teachers.learned.pretrain needs torch: pip install 'teach_gym[torch]'") from error

from teach_gym.errors import positive
from teach_gym.teachers.learned.convolution import Draws, ImageEncoder
from teach_gym.teachers.learned.design import Design
from teach_gym.teachers.learned.fit import DivergedError
from teach_gym.teachers.learned.generator import make_decoder
from teach_gym.teachers.learned.networks import generators, mlp


@dataclass(frozen=True)
class Pretraining:
    """How networks are trained on the pool's train rows.

    Attributes:
        steps: steps of Adam.
        batch: rows of a step for each teacher.
        learning_rate: of Adam.
        spread: standard deviation of an autoencoder's decoder, in units of the rows' own. With few features a large
            one lets the decoder ignore the latent. None: 0.1 for features, and the best-fitting one for images.

    Raises:
        ValueError: a value that is not positive.
        TypeError: a value of the wrong type.
    """

    steps: int = 800
    batch: int = 64
    learning_rate: float = 0.002
    spread: float | None = None

    def __post_init__(self) -> None:
        if self.spread is not None:
            positive("spread", self.spread)
        positive("steps", self.steps, integer=True)
        positive("batch", self.batch, integer=True)
        positive("learning_rate", self.learning_rate)


def draws_of(seeds: Sequence[int], *purpose: int) -> list[torch.Generator]:
    """A torch generator for each teacher's seed and a purpose, independent of those of other purposes."""
    return generators([int(np.random.SeedSequence([seed, *purpose]).generate_state(1)[0]) for seed in seeds])


def sample_rows(draws: Draws, n: int, *tables: torch.Tensor) -> list[torch.Tensor]:
    """Draw n rows of each teacher's tables, the same of all tables: (S, N, c) -> (S, n, c)."""
    rows = torch.stack([torch.randint(tables[0].shape[1], (n,), generator=g) for g in draws]).to(tables[0].device)
    return [torch.gather(table, 1, rows[..., None].expand(-1, -1, table.shape[-1])) for table in tables]


def minimise(
    what: str, parts: nn.Module, loss: Callable[[Draws], torch.Tensor], seeds: Sequence[int], how: Pretraining
) -> torch.Tensor:
    """Minimise losses (S,) over the weights of S networks; the losses of all steps (steps, S).

    Raises:
        DivergedError: a loss is not finite; the message names the step.
    """
    draws, history = draws_of(seeds, 2), []
    optimizer = torch.optim.Adam(parts.parameters(), lr=how.learning_rate)
    for step in range(how.steps):
        values = loss(draws)
        if not bool(torch.isfinite(values).all()):
            raise DivergedError(f"pre-training {what} diverged at step {step + 1} of {how.steps}: lower learning_rate")
        optimizer.zero_grad(set_to_none=True)
        values.sum().backward()
        optimizer.step()
        history.append(values.detach())
    return torch.stack(history)


class _Encoder(nn.Module):
    """S encoders of features, perceptrons from row and label to mean and log variance (DHT C.5)."""

    def __init__(self, arch: Design, draws: Draws) -> None:
        super().__init__()
        self.net = mlp((arch.d + arch.embedded, *arch.decoder, 2 * arch.noise), draws)

    def forward(self, rows: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return self.net(torch.cat([rows, label], dim=-1))


def divergence_from_prior(latent: torch.Tensor) -> torch.Tensor:
    """KL(N(mean, variance) || N(0, I)) of latents (..., 2 n), mean and log variance: (...)."""
    mean, log_variance = latent.chunk(2, dim=-1)
    return 0.5 * (mean**2 + torch.exp(log_variance) - 1.0 - log_variance).sum(-1)


def pretrain_vae(
    arch: Design, rows: torch.Tensor, labels: torch.Tensor, seeds: Sequence[int], how: Pretraining
) -> tuple[Any, torch.Tensor]:
    """Train S conditional variational autoencoders on rows (S, N, size) with label embeddings (S, N, embedded).

    Minus the evidence lower bound is minimised, with a Gaussian decoder whose standard deviation is given (see
    ``Pretraining``) or fits best: the reconstruction term is then size / 2 log(mean squared error).

    Returns:
        The decoders, and the losses of all steps (steps, S).

    Raises:
        DivergedError: a loss is not finite; the message names the step.
    """
    draws = draws_of(seeds, 1)
    encoder: Any = (
        ImageEncoder(arch.embedded, arch.noise, arch.side, arch.width, draws) if arch.side else _Encoder(arch, draws)
    )
    parts = nn.ModuleList([encoder, make_decoder(arch, draws)]).to(rows.device, rows.dtype)
    spread = 0.1 if how.spread is None and not arch.side else how.spread
    unit = rows.var(1).mean(-1)  # the variance of an entry, (S,)

    def loss(draws: Draws) -> torch.Tensor:
        x, label = sample_rows(draws, how.batch, rows, labels)
        latent = parts[0](x, label)
        mean, log_variance = latent.chunk(2, dim=-1)
        noise = torch.stack([torch.randn(mean.shape[1:], generator=g) for g in draws]).to(mean)
        made = parts[1](mean + torch.exp(0.5 * log_variance) * noise, label)
        error = ((made - x) ** 2).mean((1, 2))
        fit = torch.log(error + 1e-12) if spread is None else error / (spread**2 * unit)
        return 0.5 * arch.size * fit + divergence_from_prior(latent).mean(1)

    history = minimise("the variational autoencoder", parts, loss, seeds, how)
    return parts[1], history


class Perception(nn.Module):
    """S perceptual distances to a privacy set: phi is the last hidden layer of a classifier trained on the pool.

    Distances are squared and in units of their mean between two random private rows.

    Args:
        d: number of features.
        outputs: outputs of the classifier.
        private: number of private rows.
        seeds: S seeds of the initial weights.
        hidden: units of its hidden layers; the last ones are phi.
    """

    def __init__(
        self, d: int, outputs: int, private: int, seeds: Sequence[int], hidden: Sequence[int] = (64, 32)
    ) -> None:
        super().__init__()
        self.net = mlp((d, *hidden, outputs), draws_of(seeds, 3))
        self.private: torch.Tensor
        self.scale: torch.Tensor
        self.register_buffer("private", torch.zeros(len(seeds), private, hidden[-1]))
        self.register_buffer("scale", torch.ones(len(seeds), 1, 1))

    def phi(self, x: torch.Tensor) -> torch.Tensor:
        """Features in the last hidden layer: (S, L, d) -> (S, L, hidden)."""
        for layer in list(self.net)[:-1]:
            x = layer(x)
        return x * self.scale

    def remember(self, rows: torch.Tensor) -> None:
        """Make rows (S, private, d) the privacy set and their mean squared distance one."""
        with torch.no_grad():
            found = self.phi(rows)
            spread = 2.0 * found.var(1, unbiased=True).sum(-1)  # the mean squared distance of two different rows
            self.scale /= torch.sqrt(spread.clamp(min=1e-12))[:, None, None]
            self.private = self.phi(rows)

    def gaps(self, x: torch.Tensor) -> torch.Tensor:
        """Squared perceptual distances of rows to all private ones: (S, L, d) -> (S, L, private)."""
        found = self.phi(x)
        inner = torch.bmm(found, self.private.transpose(1, 2))
        squares = (found**2).sum(-1, keepdim=True) + (self.private**2).sum(-1)[:, None]
        return (squares - 2.0 * inner).clamp(min=0.0)

    def distance(self, x: torch.Tensor) -> torch.Tensor:
        """Squared perceptual distance of rows to the nearest private one: (B, m, d) -> (B, m)."""
        gaps = self.gaps(x.reshape(len(self.private), -1, x.shape[-1]))
        return gaps.min(-1).values.reshape(x.shape[:-1])


def pretrain_perception(
    rows: torch.Tensor, answers: torch.Tensor, private: torch.Tensor, seeds: Sequence[int], how: Pretraining
) -> tuple[Perception, torch.Tensor]:
    """Train S perceptual distances on rows (S, N, d) to a privacy set (S, private, d).

    The classifier minimises the cross-entropy with class probabilities ``answers`` (S, N, classes), or for regression
    (one answer) the squared error.

    Returns:
        The distances, and the losses of all steps (steps, S).

    Raises:
        DivergedError: a loss is not finite; the message names the step.
    """
    made = Perception(rows.shape[-1], answers.shape[-1], private.shape[1], seeds).to(rows.device, rows.dtype)

    def loss(draws: Draws) -> torch.Tensor:
        x, answer = sample_rows(draws, how.batch, rows, answers)
        out = made.net(x)
        if answer.shape[-1] == 1:
            return ((out - answer) ** 2).mean((1, 2))
        return -(answer * torch.log_softmax(out, -1)).sum(-1).mean(1)

    history = minimise("the perceptual distance", made, loss, seeds, how)
    made.requires_grad_(False)
    made.remember(private)
    return made, history
