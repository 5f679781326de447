"""Teachers that do not look at the target's distance: plain SGD, chance, and the label policies LAST unifies."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from teach_gym.core.backend import Array
from teach_gym.core.outputs import IDENTITY, MARGIN
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.errors import positive, within
from teach_gym.teachers.base import Choice, Teacher, draws


@dataclass
class Passive(Teacher):
    """Plain SGD: the medium's no-help action (the ground truth of a random example)."""

    name: str = field(default="passive", init=False)

    def __call__(self, task: Task, state: TeachState) -> Choice:
        """The no-help action of the task's flavour."""
        if task.spec.continuous:
            return task.medium.passive_continuous(state.x, state.y)
        return task.medium.passive(state.y)


@dataclass
class Random(Teacher):
    """Uniformly random actions."""

    name: str = field(default="random", init=False)

    def __call__(self, task: Task, state: TeachState) -> Choice:
        """A random action of the task's flavour."""
        rng = draws(state)
        if not task.spec.continuous:
            return rng.integers(task.n_actions)
        low, high = task.medium.low, task.medium.high
        assert low is not None and high is not None
        return (low + rng.uniform(*low.shape) * (high - low)).astype(task.spec.dtype)


class LabelPolicy(Teacher):
    """Base of the policies that give the offered example a label of their own."""

    def check(self, task: Task) -> None:
        """Raise a ``ValueError`` for regression, where these label policies are not defined."""
        if task.learner.output == IDENTITY:
            raise ValueError(f"teacher {self.name!r} synthesises class labels; the task's learner is least_squares")

    def __call__(self, task: Task, state: TeachState) -> Example:
        """The first offered source with the policy's label."""
        return Example(state.x[:, 0], self.labels(task, state))

    def labels(self, task: Task, state: TeachState) -> Array:
        """The labels (B, m, K)."""
        raise TypeError(f"{type(self).__name__} gives no labels")


@dataclass
class LabelSmoothing(LabelPolicy):
    """y = mu truth + (1 - mu) / K (LAST 3.1).

    Args:
        mu: weight of the ground truth, in [0, 1].

    Raises:
        ValueError: mu outside [0, 1].
    """

    mu: float = 0.9
    name: str = field(default="label_smoothing", init=False)

    def __post_init__(self) -> None:
        within("mu", self.mu, "[0, 1]")

    def labels(self, task: Task, state: TeachState) -> Array:
        """The smoothed ground truth."""
        uniform = 1.0 / task.k if task.k > 1 else 0.0 if task.learner.output == MARGIN else 0.5
        return self.mu * state.y[:, 0] + (1.0 - self.mu) * uniform


@dataclass
class Distillation(LabelPolicy):
    """The target's soft prediction at a temperature (LAST 3.1, knowledge distillation).

    Args:
        temperature: psi, divides the target's logits.

    Raises:
        ValueError: a temperature that is not positive.
    """

    temperature: float = 1.0
    name: str = field(default="distillation", init=False)

    def __post_init__(self) -> None:
        positive("temperature", self.temperature)

    def labels(self, task: Task, state: TeachState) -> Array:
        """The softened prediction of the target."""
        logits = task.learner.logits(state.target, state.x[:, 0])
        return task.learner.output.predict(logits / self.temperature)

    def gradient_evaluations(self, task: Task) -> int:
        """One prediction per row."""
        return task.spec.batch_size


@dataclass
class SelfTraining(LabelPolicy):
    """The learner's own prediction as a hard pseudo-label (LAST 3.1; a soft one would leave the learner as it is)."""

    name: str = field(default="self_training", init=False)

    def labels(self, task: Task, state: TeachState) -> Array:
        """One-hot (or extreme) labels of the learner's decision."""
        logits = task.learner.logits(state.w, state.x[:, 0])
        if task.k > 1:
            return np.eye(task.k, dtype=logits.dtype)[logits.argmax(-1)]
        low, high = task.learner.output.label_low, task.learner.output.label_high
        assert low is not None and high is not None
        return np.where(logits > 0, high, low).astype(logits.dtype)

    def gradient_evaluations(self, task: Task) -> int:
        """One prediction per row."""
        return task.spec.batch_size
