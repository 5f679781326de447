"""Further terms of a learned teacher's objective: adversarial, Kullback-Leibler (DHT 3.3.2) and privacy (DHT Eq. 10).

A term adds to the objective of every window of an unroll; ``TermTraining`` is an iteration of training with some.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

try:
    import torch
    from torch import nn
except ImportError as error:
    raise ImportError("teach_gym.teachers.learned.terms needs torch: pip install 'teach_gym[torch]'") from error

from teach_gym.core.backend import as_array, as_tensor, softplus
from teach_gym.core.state import Task
from teach_gym.errors import number
from teach_gym.teachers.learned.convolution import Draws, ImageDiscriminator
from teach_gym.teachers.learned.fit import DivergedError, TrainingSettings
from teach_gym.teachers.learned.generator import Design, GenerativePolicy
from teach_gym.teachers.learned.networks import mlp
from teach_gym.teachers.learned.objective import Training
from teach_gym.teachers.learned.policy import NetworkPolicy, embed_labels
from teach_gym.teachers.learned.pretrain import Perception, divergence_from_prior, draws_of, sample_rows
from teach_gym.teachers.learned.unroll import Episodes, Window


def check_weight(name: str, value: Any) -> float:
    """A weight of a term, or an error that names it if it is negative or no number."""
    number(name, value)
    if not 0.0 <= value < float("inf"):
        raise ValueError(f"{name} must be >= 0 and finite, got {value!r}")
    return float(value)


class Term(ABC):
    """A term of the objective; ``parts`` is what it trains itself, for the checkpoints."""

    parts: dict[str, Any]

    def begin(self, iteration: int, episodes: Episodes) -> None:  # noqa: B027  # most terms need nothing
        """Before the unroll of an iteration."""

    @abstractmethod
    def __call__(self, window: Window) -> torch.Tensor:
        """The term for a window, for each teacher: (S,), differentiable."""

    @abstractmethod
    def finish(self, iteration: int) -> dict[str, torch.Tensor]:
        """After the policy's step: train what the term trains; named values (S,) to be logged."""


class TermTraining(Training[NetworkPolicy | GenerativePolicy]):
    """One iteration of training S policies on ||w^v - w*||^2 + alpha sum_i loss_i + further terms.

    Args:
        task: the task (in numpy).
        policy: the networks; those of a ``GenerativePolicy`` get noise that depends on seed and iteration only.
        settings: how to train.
        terms: the further terms.
        seeds: the teachers' seeds.
        device: a torch device.
    """

    def __init__(
        self,
        task: Task,
        policy: Any,
        settings: TrainingSettings,
        terms: Sequence[Term],
        seeds: Sequence[int],
        device: str,
    ) -> None:
        super().__init__(task, policy, settings, device)
        self.terms, self.seeds = list(terms), list(seeds)
        for term in self.terms:
            self.parts.update(term.parts)

    def __call__(self, iteration: int, episodes: Episodes) -> dict[str, torch.Tensor]:
        """One step of Adam, then one of each term's own networks; the values before them."""
        if isinstance(self.policy, GenerativePolicy):
            self._draw_noise(self.policy, iteration, episodes)
        for term in self.terms:
            term.begin(iteration, episodes)
        values = super().__call__(iteration, episodes)
        for term in self.terms:
            values.update(term.finish(iteration))
        return values

    def _draw_noise(self, policy: GenerativePolicy, iteration: int, episodes: Episodes) -> None:
        v, b, _, m = episodes.x.shape[:4]
        size, s = policy.arch.noise, policy.n
        draws = draws_of(self.seeds, 4, iteration)
        table = torch.stack([torch.randn((v, b // s, m, size), generator=g) for g in draws], dim=1)
        noise = table.flatten(1, 2).to(episodes.x)
        policy.draw = lambda state: as_array(noise[int(state.t[0])])
        policy.trace = {}

    def backward(self, window: Window) -> tuple[torch.Tensor, ...]:
        """Add a window's gradient; its objective, squared distance and loss, (S,) each."""
        gap, loss = self.per_teacher(window.gap), self.per_teacher(window.loss)
        objective = gap + self.settings.alpha * loss
        for term in self.terms:
            objective = objective + term(window)
        objective.sum().backward()
        return objective.detach(), gap.detach(), loss.detach()


class _Traced(Term):
    """A term on what a generative policy traced."""

    def __init__(self, task: Task, policy: Any, weight: float, steps: int) -> None:
        self.task, self.policy, self.weight, self.steps = task, policy, weight, steps
        self.parts = {}
        self.total: Any = 0.0

    def begin(self, iteration: int, episodes: Episodes) -> None:
        """Forget the last iteration."""
        self.total = 0.0

    def traced(self, window: Window) -> torch.Tensor:
        """What the policy traced in a window: (S, steps L m, entries)."""
        n = len(window.examples.x)
        found = torch.stack([self.policy.trace.pop(window.start + i) for i in range(n)])
        return self.by_teacher(found)

    def by_teacher(self, rows: torch.Tensor) -> torch.Tensor:
        """(steps, B, m, c) -> (S, steps L m, c)."""
        s = self.policy.n
        return rows.reshape(len(rows), s, -1, rows.shape[-1]).transpose(0, 1).reshape(s, -1, rows.shape[-1])

    def added(self, value: torch.Tensor, window: Window) -> torch.Tensor:
        """The weighted share of a window in the mean over all steps: (S,)."""
        share = value * (len(window.examples.x) / self.steps)
        self.total = self.total + share.detach()
        return self.weight * share


class LatentTerm(_Traced):
    """Mean over the steps of KL(pi || p(u)), u ~ N(0, I) (DHT 3.3.2, VAE-based teacher)."""

    def __call__(self, window: Window) -> torch.Tensor:
        """The weighted divergence."""
        return self.added(divergence_from_prior(self.traced(window)).mean(1), window)

    def finish(self, iteration: int) -> dict[str, torch.Tensor]:
        """The divergence."""
        return {"kl": self.total}


class Discriminator(nn.Module):
    """S discriminators of labelled rows: a perceptron d + classes - 8 - 1 with leaky ReLU and dropout, or of images.

    Args:
        arch: the design of the policy.
        draws: S generators of the weights.
        dropout: share of the hidden units dropped in training (DHT C.5: 0.3; not for images).
        hidden: hidden units.
    """

    def __init__(self, arch: Design, draws: Draws, dropout: float = 0.3, hidden: int = 8) -> None:
        super().__init__()
        self.dropout = 0.0 if arch.side else dropout
        self.net: Any = (
            ImageDiscriminator(arch.embedded, arch.side, max(arch.width // 4, 4), draws)
            if arch.side
            else mlp((arch.d + arch.embedded, hidden, 1), draws, activation="leaky_relu")
        )

    def forward(self, rows: torch.Tensor, label: torch.Tensor, draws: Draws | None = None) -> torch.Tensor:
        """Logits of being real: (S, L, size), (S, L, embedded) -> (S, L); ``draws`` drop units."""
        if isinstance(self.net, ImageDiscriminator):
            return self.net(rows, label)
        x = torch.cat([rows, label], dim=-1)
        for layer in self.net:
            x = layer(x)
            if draws is not None and self.dropout and isinstance(layer, nn.LeakyReLU):
                kept = torch.stack([torch.rand(x.shape[1:], generator=g) >= self.dropout for g in draws])
                x = x * kept.to(x) / (1.0 - self.dropout)
        return x[..., 0]


class AdversarialTerm(_Traced):
    """E log(1 - D(pi(z))) + E log D(x), minimised by the policy and maximised by D (DHT 3.3.2, GAN-based teacher).

    The policy minimises -E log D(pi(z)) instead of the first term, as is usual, unless ``saturating``.

    Args:
        task: the task in torch.
        policy: the generative policy.
        real: (S, N, size) real rows and (S, N, embedded) their labels.
        seeds: the teachers' seeds.
        settings: how the teacher is trained.
        weight: weight of the term.
        saturating: the formula as it is in the paper.
        dropout: share of the discriminator's hidden units that are dropped.
    """

    def __init__(
        self,
        task: Task,
        policy: GenerativePolicy,
        real: tuple[torch.Tensor, torch.Tensor],
        seeds: Sequence[int],
        settings: TrainingSettings,
        weight: float,
        saturating: bool = False,
        dropout: float = 0.3,
    ) -> None:
        super().__init__(task, policy, weight, settings.steps)
        self.real, self.seeds, self.saturating = real, list(seeds), saturating
        self.discriminator = Discriminator(policy.arch, draws_of(seeds, 5), dropout).to(real[0].device, real[0].dtype)
        self.optimizer = torch.optim.Adam(
            self.discriminator.parameters(), lr=settings.learning_rate, betas=(0.5, 0.999)
        )
        self.parts = {"discriminator": self.discriminator, "discriminator_optimizer": self.optimizer}
        self.shown: list[tuple[torch.Tensor, torch.Tensor]] = []

    def begin(self, iteration: int, episodes: Episodes) -> None:
        """Forget the last iteration; D is the same for the whole unroll."""
        super().begin(iteration, episodes)
        self.shown = []
        self.discriminator.requires_grad_(False)

    def __call__(self, window: Window) -> torch.Tensor:
        """The weighted term of the policy."""
        made, label = self.traced(window), self.by_teacher(as_tensor(embed_labels(self.task, window.examples.y)))
        self.shown.append((made.detach(), label))
        logit = self.discriminator(made, label)
        value = -softplus(logit) if self.saturating else softplus(-logit)
        return self.added(value.mean(1), window)

    def finish(self, iteration: int) -> dict[str, torch.Tensor]:
        """One step of D on what was shown against as many real rows; its loss, and the policy's term."""
        draws = draws_of(self.seeds, 6, iteration)
        made, label = (torch.cat(parts, dim=1) for parts in zip(*self.shown, strict=True))
        real = sample_rows(draws, made.shape[1], *self.real)
        self.discriminator.requires_grad_(True)
        loss = softplus(-self.discriminator(*real, draws)).mean(1)
        loss = loss + softplus(self.discriminator(made, label, draws)).mean(1)
        if not bool(torch.isfinite(loss).all()):
            raise DivergedError(f"the discriminator's loss of teacher iteration {iteration + 1} is not finite")
        self.optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()
        self.optimizer.step()
        return {"adversarial": self.total, "discriminator": loss.detach()}


@dataclass(frozen=True)
class Privacy:
    """What a private teacher keeps (DHT Eq. 10), in plain JSON values.

    Attributes:
        epsilon: least squared perceptual distance of every example from the privacy set, in units of the mean one
            between two private rows.
        weight: weight of the hinge penalty.
        rows: size of the privacy set: the first so many train rows (None: all).

    Raises:
        TypeError: a value that is no number.
        ValueError: a negative value.
    """

    epsilon: float
    weight: float = 1.0
    rows: int | None = None

    def __post_init__(self) -> None:
        check_weight("epsilon", self.epsilon)
        check_weight("weight", self.weight)
        if self.rows is not None:
            number("rows", self.rows, integer=True)
            if self.rows < 2:
                raise ValueError(f"rows must be at least 2, got {self.rows!r}")


class PrivacyTerm(Term):
    """Sum over steps and privacy set of max(0, epsilon - ||phi(x~) - phi(x)||^2) (DHT Eq. 10).

    All private rows repel: with the nearest one alone, examples are caught between neighbours.

    Args:
        policy: the policy.
        perception: the perceptual distances.
        privacy: epsilon and weight.
    """

    def __init__(self, policy: Any, perception: Perception, privacy: Privacy) -> None:
        self.policy, self.perception, self.privacy, self.parts = policy, perception, privacy, {}
        self.total: Any = 0.0
        self.nearest: list[torch.Tensor] = []

    def begin(self, iteration: int, episodes: Episodes) -> None:
        """Forget the last iteration."""
        self.total, self.nearest = 0.0, []

    def __call__(self, window: Window) -> torch.Tensor:
        """The weighted penalty, for examples x (k, B, m, d)."""
        x = as_tensor(window.examples.x)
        k, s = len(x), self.policy.n
        rows = x.reshape(k, s, -1, x.shape[-1]).transpose(0, 1).reshape(s, -1, x.shape[-1])
        gaps = self.perception.gaps(rows)
        hinge = torch.relu(self.privacy.epsilon - gaps).sum(-1).mean(1) * k  # sum over steps, mean over learners
        self.total = self.total + hinge.detach()
        self.nearest.append(gaps.detach().flatten(1).min(1).values)
        return self.privacy.weight * hinge

    def finish(self, iteration: int) -> dict[str, torch.Tensor]:
        """The penalty, and the least perceptual distance of all examples."""
        return {"privacy": self.total, "nearest": torch.stack(self.nearest).min(0).values}
