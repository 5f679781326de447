"""Baselines for wrong labels in the train rows, none of which sees w*: they weigh, replace or leave out labels.

``passive``, ``label_smoothing`` and ``tuned_sgd`` are further ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from teach_gym.core.backend import Array, gather
from teach_gym.core.holdout import class_probabilities
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.errors import positive, shown, within
from teach_gym.teachers.base import Teacher, check_settled, draws
from teach_gym.teachers.oracles.baselines import LabelPolicy, SelfTraining

_LEAST = 1e-30
"""Added to probabilities before their logarithm is taken."""


def _check_linear(task: Task, name: str) -> None:
    if not task.learner.output.linear:
        raise ValueError(f"teacher {name!r} needs a gradient linear in the label; {task.spec.learner}'s is not")


@dataclass
class Bootstrapping(LabelPolicy):
    """Bootstrapping (Reed et al. 2015): the given label mixed with the learner's own prediction.

    Hard: y = beta given + (1 - beta) z, with z the one-hot label of the learner's decision. Soft: the loss adds
    1 - beta times the entropy of the prediction q, which is differentiated too. Since the gradient is linear in the
    label, that is the step on the label beta given + (1 - beta) q (1 + log q + H(q)).

    Args:
        beta: weight of the given label, in [0, 1]; the paper takes 0.8 (hard) and 0.95 (soft).
        hard: whether the prediction is made hard.

    Raises:
        ValueError: beta outside [0, 1].
        TypeError: ``hard`` is not a bool.
    """

    beta: float = 0.8
    hard: bool = True
    name: str = field(default="bootstrapping", init=False)

    def __post_init__(self) -> None:
        within("beta", self.beta, "[0, 1]")
        if not isinstance(self.hard, bool):
            raise TypeError(f"hard must be True or False, got {shown(self.hard)}")

    def check(self, task: Task) -> None:
        """Raise a ``ValueError`` for regression, or a learner whose gradient is not linear in the label."""
        super().check(task)
        _check_linear(task, self.name)

    def labels(self, task: Task, state: TeachState) -> Array:
        """The given label mixed with the prediction."""
        own = SelfTraining().labels(task, state) if self.hard else _sharper(task, state)
        return self.beta * state.y[:, 0] + (1.0 - self.beta) * own

    def gradient_evaluations(self, task: Task) -> int:
        """One prediction per row."""
        return task.spec.batch_size


def _sharper(task: Task, state: TeachState) -> Array:
    """The label q (1 + log q + H(q)), on which a step lowers the entropy H of the prediction q: (B, m, K)."""
    output = task.learner.output
    q = class_probabilities(output, task.learner.predict(state.w, state.x[:, 0]))
    log = np.log(q + _LEAST)
    found = q * (1.0 + log - (q * log).sum(-1, keepdims=True))
    if task.k > 1:
        return np.asarray(found)
    low, high = output.label_low, output.label_high
    assert low is not None and high is not None
    return np.asarray(low + (high - low) * found[..., 1:])


@dataclass
class SmallLoss(Teacher):
    """Selection by small loss: only rows whose loss is among the lowest of recent ones are learnt from.

    Learners fit correct labels first, so rows with a large loss are often mislabelled. As in co-teaching (Han et al.
    2018) and MentorNet's self-paced curriculum (Jiang et al. 2018), the share of rows kept falls linearly from 1 to
    ``keep`` during the first part of the budget. Co-teaching compares the rows of a large mini-batch, and a second
    network chooses; here the learner itself does, and a row is compared with the last rows offered, under the current
    learner. A row left out has the learner's prediction as its label, on which the gradient is zero; the step on a
    mini-batch is the mean over the rows kept.

    Args:
        keep: share of rows kept in the end, in (0, 1]; custom is one minus the share of wrong labels.
        warmup: share of the budget during which the share kept falls, in [0, 1].
        window: number of rows to compare with, at least those of the mini-batch.

    Raises:
        ValueError: a value out of range.
    """

    keep: float = 0.6
    warmup: float = 0.25
    window: int = 64
    name: str = field(default="small_loss", init=False)

    def __post_init__(self) -> None:
        within("keep", self.keep, "(0, 1]")
        within("warmup", self.warmup, "[0, 1]")
        positive("window", self.window, integer=True)

    def check(self, task: Task) -> None:
        """Raise a ``ValueError`` for a learner whose gradient is not linear in the label."""
        _check_linear(task, self.name)

    def __call__(self, task: Task, state: TeachState) -> Example:
        """The first offered source, without the rows of large loss."""
        x, y, kept = state.x[:, 0], state.y[:, 0], self.kept(task, state)
        prediction = task.learner.predict(state.w, x)
        weight = kept * (kept.shape[1] / np.maximum(kept.sum(1, keepdims=True), 1))
        return Example(x, prediction + weight[..., None].astype(x.dtype) * (y - prediction))

    def kept(self, task: Task, state: TeachState) -> Array:
        """Which rows of the offered mini-batch are learnt from: (B, m) booleans."""
        m, budget = task.spec.batch_size, task.spec.budget
        share = 1.0 - (1.0 - self.keep) * np.minimum(state.t / max(self.warmup * budget, 1.0), 1.0)
        steps = state.t[:, None] - np.arange(-(-max(self.window, m) // m))
        rows = state.schedule[np.arange(len(state.t))[:, None], np.clip(steps, 0, budget - 1)][:, :, 0]
        x, y = (gather(table, rows.reshape(len(rows), -1)) for table in (task.x, task.y))
        losses = task.learner.output.loss(task.learner.logits(state.w, x), y)
        offered = np.repeat(steps >= 0, m, axis=1)
        smaller = (losses[:, None] < losses[:, :m, None]) & offered[:, None]
        return np.asarray(smaller.sum(-1) < share[:, None] * offered.sum(-1, keepdims=True))

    def gradient_evaluations(self, task: Task) -> int:
        """A prediction for each row compared."""
        return max(self.window, task.spec.batch_size)


@dataclass
class HoldoutSGD(Teacher):
    """Plain SGD on the hold-out rows alone: what a learner makes of the few clean rows without any teaching."""

    name: str = field(default="holdout_sgd", init=False)

    def check(self, task: Task) -> None:
        """Raise a ``ValueError`` for a task whose pool is drawn at reset."""
        check_settled(task, self.name, "pool_seed")

    def __call__(self, task: Task, state: TeachState) -> Example:
        """Random hold-out rows with their labels."""
        rows = draws(state).integers(len(task.holdout.x), task.spec.batch_size)
        return Example(gather(task.holdout.x, rows), gather(task.holdout.y, rows))
