"""Further terms of a learned teacher's objective: Kullback-Leibler (DHT 3.3.2) and privacy (DHT Eq. 10).

A term adds to the objective of every window of an unroll; ``DistanceAndTerms`` is the objective with some. The
adversarial term is in ``adversarial``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

try:
    import torch
except ImportError as error:
    raise ImportError("teach_gym.teachers.learned.terms needs torch: pip install 'teach_gym[torch]'") from error

from teach_gym.core.backend import as_tensor
from teach_gym.errors import number, shown
from teach_gym.teachers.learned.generator import GenerativePolicy, NoisyEpisodes
from teach_gym.teachers.learned.networks import TeachingNetworks
from teach_gym.teachers.learned.objective import Distance, Measured, Objective, Values
from teach_gym.teachers.learned.pretrain import Perception, divergence_from_prior, draws_of
from teach_gym.teachers.learned.unroll import Episodes, Policy, Window


def check_weight(name: str, value: Any) -> float:
    """A weight of a term, or an error that names it if it is negative or not a number."""
    number(name, value)
    if not 0.0 <= value < float("inf"):
        raise ValueError(f"{name} must be >= 0 and finite, got {shown(value)}")
    return float(value)


class Term(ABC):
    """A term that is added to the objective in every window.

    Args:
        policy: the networks.
        weight: weight of the term.

    Attributes:
        parts: what the term trains itself, by name, for the checkpoints.
        sums: see ``Objective``.
        total: the sum over the windows so far, without the weight, (S,).
    """

    sums: bool = False

    def __init__(self, policy: TeachingNetworks, weight: float) -> None:
        self.policy, self.weight = policy, weight
        self.parts: dict[str, Any] = {}
        self.unrolled: Policy = policy
        self.total: Any = 0.0

    def begin(self, unrolled: Policy) -> None:
        """Before the unroll of an iteration: what is unrolled."""
        self.unrolled, self.total = unrolled, 0.0

    @abstractmethod
    def __call__(self, window: Window) -> torch.Tensor:
        """The term for a window, for each teacher: (S,), differentiable."""

    @abstractmethod
    def finish(self, iteration: int) -> Values:
        """After the policy's step: train what the term trains; named values (S,) to be logged."""

    def added(self, value: torch.Tensor) -> torch.Tensor:
        """Add a window's value to the total, and give it its weight."""
        self.total = self.total + value.detach()
        return self.weight * value

    def by_teacher(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows of all steps, those of each teacher together: (steps, B, m, c) -> (S, steps L m, c)."""
        s = self.policy.n
        return rows.reshape(len(rows), s, -1, rows.shape[-1]).transpose(0, 1).reshape(s, -1, rows.shape[-1])

    def made(self, window: Window) -> torch.Tensor:
        """The outputs of a generative policy in a window: (S, steps L m, entries)."""
        assert isinstance(self.unrolled, NoisyEpisodes)
        steps = range(window.start, window.start + len(window.examples.x))
        return self.by_teacher(torch.stack([self.unrolled.measured.pop(t) for t in steps]))


class DistanceAndTerms(Objective):
    """||w^v - w*||^2 + alpha sum_i loss_i + further terms.

    Args:
        distance: the first two.
        terms: the further terms.
        seeds: the teachers' seeds; the noise of a ``GenerativePolicy`` depends on seed and iteration only.
    """

    def __init__(self, distance: Distance, terms: Sequence[Term], seeds: Sequence[int]) -> None:
        super().__init__()
        self.distance, self.terms, self.seeds = distance, list(terms), list(seeds)
        self.sums = distance.sums and all(term.sums for term in self.terms)
        for term in self.terms:
            self.parts.update(term.parts)

    def begin(self, iteration: int, episodes: Episodes, policy: Any) -> Policy:
        """Draw the noise of the iteration's episodes for a policy that needs it."""
        unrolled = super().begin(iteration, episodes, policy)
        if isinstance(policy, GenerativePolicy):
            unrolled = NoisyEpisodes(policy, self._noise(iteration, episodes, policy))
        for term in self.terms:
            term.begin(unrolled)
        return unrolled

    def _noise(self, iteration: int, episodes: Episodes, policy: GenerativePolicy) -> torch.Tensor:
        """Noise of every step: (v, B, m, noise)."""
        v, b, _, m = episodes.x.shape[:4]
        draws = draws_of(self.seeds, 4, iteration)
        tables = [torch.randn((v, b // policy.n, m, policy.arch.noise), generator=g) for g in draws]
        return torch.stack(tables, dim=1).flatten(1, 2).to(episodes.x)

    def __call__(self, window: Window) -> Measured:
        """The distance with its losses, and the terms."""
        found = self.distance(window)
        objective = found.objective
        for term in self.terms:
            objective = objective + term(window)
        return found._replace(objective=objective)

    def finish(self, iteration: int, values: Values) -> Values:
        """Train the terms' own networks; their values beside those of the distance."""
        for term in self.terms:
            values = {**values, **term.finish(iteration)}
        return values


class LatentTerm(Term):
    """Mean over the steps of KL(pi || p(u)), u ~ N(0, I) (DHT 3.3.2, VAE-based teacher).

    Args:
        policy: the generative policy.
        weight: weight of the term.
        steps: steps of an episode.
    """

    def __init__(self, policy: GenerativePolicy, weight: float, steps: int) -> None:
        super().__init__(policy, weight)
        self.steps = steps

    def __call__(self, window: Window) -> torch.Tensor:
        """The weighted divergence."""
        share = len(window.examples.x) / self.steps
        return self.added(share * divergence_from_prior(self.made(window)).mean(1))

    def finish(self, iteration: int) -> Values:
        """The divergence."""
        return {"kl": self.total}


@dataclass(frozen=True)
class Privacy:
    """The constraint of a private teacher (DHT Eq. 10), in plain JSON values.

    Attributes:
        epsilon: least squared perceptual distance of every example from the privacy set, in units of the mean one
            between two private rows.
        weight: weight of the hinge penalty.
        rows: size of the privacy set, taken from the first train rows (None: all).

    Raises:
        TypeError: a value that is not a number.
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
                raise ValueError(f"rows must be at least 2, got {shown(self.rows)}")


class PrivacyTerm(Term):
    """Sum over steps and privacy set of max(0, epsilon - ||phi(x~) - phi(x)||^2) (DHT Eq. 10).

    All private rows repel: with the nearest one alone, examples get stuck between neighbours.

    Args:
        policy: the policy.
        perception: the perceptual distances.
        privacy: epsilon and weight.
    """

    sums = True

    def __init__(self, policy: TeachingNetworks, perception: Perception, privacy: Privacy) -> None:
        super().__init__(policy, privacy.weight)
        self.perception, self.privacy = perception, privacy
        self.nearest: list[torch.Tensor] = []

    def begin(self, unrolled: Policy) -> None:
        """Clear the last iteration."""
        super().begin(unrolled)
        self.nearest = []

    def __call__(self, window: Window) -> torch.Tensor:
        """The weighted penalty, for examples x (k, B, m, d)."""
        x = as_tensor(window.examples.x)
        gaps = self.perception.gaps(self.by_teacher(x))
        self.nearest.append(gaps.detach().flatten(1).min(1).values)
        hinge = torch.relu(self.privacy.epsilon - gaps).sum(-1).mean(1)
        return self.added(hinge * len(x))  # the sum over steps, the mean over learners

    def finish(self, iteration: int) -> Values:
        """The penalty, and the least perceptual distance of all examples."""
        return {"privacy": self.total, "nearest": torch.stack(self.nearest).min(0).values}
