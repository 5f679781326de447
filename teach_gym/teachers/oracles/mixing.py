"""Mixup without a learned teacher, the baselines of DHT Table 1; empirical risk minimisation (ERM) is ``passive``."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field

import numpy as np

from teach_gym.core.backend import Array
from teach_gym.core.medium import Mixup
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.core.task import compose
from teach_gym.errors import positive
from teach_gym.teachers.base import Teacher, draws


class _RandomMixup(Teacher):
    """Base of the teachers that draw one Mixup coefficient for each mini-batch."""

    def check(self, task: Task) -> None:
        """Raise a ``ValueError`` for a medium other than Mixup."""
        if not isinstance(task.medium, Mixup):
            raise ValueError(f"teacher {self.name!r} mixes two examples; the task's medium is {task.spec.medium!r}")

    def __call__(self, task: Task, state: TeachState) -> Example:
        """The mixed examples: x (B, m, d), y (B, m, K)."""
        value = self.coefficients(draws(state).uniform()).astype(task.spec.dtype)
        return compose(task, state, value[:, None, None])

    @abstractmethod
    def coefficients(self, u: Array) -> Array:
        """Coefficients for uniform numbers: (B,) -> (B,)."""


@dataclass
class ContinuousMixup(_RandomMixup):
    """cMixup: coefficients from a Beta distribution (Zhang et al. 2018; DHT 5.2).

    Args:
        alpha: both parameters of the distribution; small ones hardly mix, one is uniform.

    Raises:
        ValueError: an alpha that is not positive.
    """

    alpha: float = 1.0
    name: str = field(default="cmixup", init=False)

    def __post_init__(self) -> None:
        positive("alpha", self.alpha)

    def coefficients(self, u: Array) -> Array:
        """Quantiles of the Beta distribution."""
        from scipy.special import betaincinv

        return np.asarray(betaincinv(self.alpha, self.alpha, u))


@dataclass
class DiscreteMixup(_RandomMixup):
    """dMixup: coefficients 0, 1/2 or 1 with equal chance (DHT 5.2)."""

    name: str = field(default="dmixup", init=False)

    def coefficients(self, u: Array) -> Array:
        """A third of the unit interval for each."""
        return np.floor(3.0 * u) / 2.0
