"""The adversarial term of a learned teacher's objective (DHT 3.3.2) and its discriminator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

try:
    import torch
    from torch import nn
except ImportError as error:
    raise ImportError("teach_gym.teachers.learned.adversarial needs torch: pip install 'teach_gym[torch]'") from error

from teach_gym.core.backend import as_tensor, softplus
from teach_gym.core.state import Task
from teach_gym.teachers.learned.convolution import Draws, ImageDiscriminator
from teach_gym.teachers.learned.design import Design
from teach_gym.teachers.learned.fit import DivergedError, TrainingSettings
from teach_gym.teachers.learned.generator import GenerativePolicy
from teach_gym.teachers.learned.networks import mlp
from teach_gym.teachers.learned.objective import Values
from teach_gym.teachers.learned.policy import embed_labels
from teach_gym.teachers.learned.pretrain import draws_of, sample_rows
from teach_gym.teachers.learned.terms import Term
from teach_gym.teachers.learned.unroll import Policy, Window


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


class AdversarialTerm(Term):
    """E log(1 - D(pi(z))) + E log D(x), minimised by the policy and maximised by D (DHT 3.3.2, GAN-based teacher).

    The policy minimises -E log D(pi(z)) instead of the first term, as is usual, unless ``saturating``.

    Args:
        task: the task in torch.
        policy: the generative policy.
        real: (S, N, size) real rows and (S, N, embedded) their labels.
        seeds: the teachers' seeds.
        settings: how the teacher is trained.
        weight: weight of the term.
        saturating: use the paper's formula unchanged.
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
        super().__init__(policy, weight)
        self.task, self.steps = task, settings.steps
        self.real, self.seeds, self.saturating = real, list(seeds), saturating
        self.discriminator = Discriminator(policy.arch, draws_of(seeds, 5), dropout).to(real[0].device, real[0].dtype)
        self.optimizer = torch.optim.Adam(
            self.discriminator.parameters(), lr=settings.learning_rate, betas=(0.5, 0.999)
        )
        self.parts = {"discriminator": self.discriminator, "discriminator_optimizer": self.optimizer}
        self.shown: list[tuple[torch.Tensor, torch.Tensor]] = []

    def begin(self, unrolled: Policy) -> None:
        """Clear the last iteration; D is fixed during the whole unroll."""
        super().begin(unrolled)
        self.shown = []
        self.discriminator.requires_grad_(False)

    def __call__(self, window: Window) -> torch.Tensor:
        """The weighted term of the policy."""
        made, label = self.made(window), self.by_teacher(as_tensor(embed_labels(self.task, window.examples.y)))
        self.shown.append((made.detach(), label))
        logit = self.discriminator(made, label)
        value = -softplus(logit) if self.saturating else softplus(-logit)
        return self.added(value.mean(1) * (len(window.examples.x) / self.steps))

    def finish(self, iteration: int) -> Values:
        """One step of D on the examples shown and as many real rows; its loss, and the policy's term."""
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
