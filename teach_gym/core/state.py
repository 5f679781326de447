"""The types of a teaching run: the task, its state, and what a step offers, shows and returns.

Everything here holds data; the functions that make and change states are in ``teach_gym.core.task``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

from teach_gym.core.backend import Array
from teach_gym.core.learner import Learner
from teach_gym.core.medium import Medium
from teach_gym.core.spec import BLACK_BOX, TaskSpec
from teach_gym.core.updates import Update
from teach_gym.data.pool import Pool, frozen

S = TypeVar("S", bound=tuple[Any, ...])
T = TypeVar("T")
RewardFunction = Callable[["Task", "TeachState", "TeachState"], Array]
"""(task, state before the step, state after it) -> (B,)."""


class Holdout(NamedTuple):
    """The rows on which a task measures and queries the learner (LAST 4, DHT 4.1).

    Attributes:
        x: (n, d) features.
        y: (n, K) labels as the learner takes them.
        labels: (n,) class indices, or real targets for regression.
        probes: (q, d) representative rows, for policies that see the learner's predictions on them (none in tasks that
            remember nothing).
    """

    x: Array
    y: Array
    labels: Array
    probes: Array


class Variants(NamedTuple):
    """The pools of a task whose pool is drawn at reset; each run uses one of them.

    Attributes:
        targets: (S, P) w* of each pool.
        starts: (S, P) the parameters each search for w* started from.
        rows: number N of train rows of each pool; the task's table holds the pools' rows one pool after the other.
    """

    targets: Array
    starts: Array
    rows: int


@dataclass(frozen=True, eq=False)
class Task:
    """One fixed combination of learner, medium, pool, target and reward; made by ``make_task``.

    Attributes:
        spec: the spec it was built from.
        learner: the learner's formulas.
        update: its update rule Q.
        pool: the data with all splits.
        medium: what the teacher may change.
        reward: the reward function.
        rows: (N, d + K), or (N, d + 2 K) where the medium mixes with soft labels: the train rows' features, their
            labels as the learner takes them, and soft labels, all in the task's dtype.
        k: number of label entries K.
        target: (P,) w*.
        start: (P,) the parameters the search for the target started from.
        holdout: the rows that stand in for w* in black-box observations, hold-out rewards and teachers without w*.
        variants: the pools of a task whose pool is drawn at reset (``pool`` and ``target`` are those of the first), or
            None.
        remembers: whether its runs measure the learner on these rows and record it (``TeachState.memory``).
        tally: a compiled function to use instead of ``teach_gym.core.holdout.tally``, or None.
    """

    spec: TaskSpec
    learner: Learner
    update: Update
    pool: Pool
    medium: Medium
    reward: RewardFunction
    rows: Array
    k: int
    target: Array
    start: Array
    holdout: Holdout
    variants: Variants | None = None
    remembers: bool = False
    tally: Callable[[Task, Array], Tally] | None = None

    def __repr__(self) -> str:
        spec, n = self.spec, len(self.rows)
        parts = f"learner={spec.learner!r}, pool={spec.pool!r}, medium={spec.medium!r}, budget={spec.budget}"
        return f"Task({parts}: {n} rows, {self.d} features, {self.size} parameters, {self.n_actions} actions)"

    @functools.cached_property
    def d(self) -> int:
        """Number of features."""
        return self.pool.d

    @functools.cached_property
    def x(self) -> Array:
        """Train features: (N, d)."""
        return self.rows[:, : self.d]

    @functools.cached_property
    def y(self) -> Array:
        """Train labels as the learner takes them: (N, K)."""
        return self.rows[:, self.d : self.d + self.k]

    @functools.cached_property
    def soft(self) -> Array | None:
        """Soft labels of the train rows, (N, K), or None where the medium needs none."""
        return self.rows[:, self.d + self.k :] if self.rows.shape[1] > self.d + self.k else None

    @functools.cached_property
    def size(self) -> int:
        """Number of learner parameters P."""
        return int(self.target.shape[0])

    @functools.cached_property
    def n_actions(self) -> int:
        """Number of discrete actions A."""
        return len(self.medium.candidates)

    @functools.cached_property
    def black_box(self) -> bool:
        """Whether the learner's parameters and w* are hidden from the agent."""
        return self.spec.observation in BLACK_BOX

    @functools.cached_property
    def tells_distance(self) -> bool:
        """Whether environments report the distance to w* in ``info``."""
        return self.spec.debug or not self.black_box

    @functools.cached_property
    def squared_norms(self) -> Array:
        """||x||^2 (+ 1 for a bias) of every train row: (N,)."""
        found = self.learner.squared_norms(self.x)
        return frozen(found) if isinstance(found, np.ndarray) else found


class Tally(NamedTuple):
    """Sums over the hold-out rows for B learners; C is the number of classes, 0 for regression.

    Attributes:
        loss: (B,) of the losses.
        class_loss: (B, C) of the losses on the rows of each class.
        hits: (B, C) number of each class's rows that are classified correctly.
        named: (B, C) number of rows classified as each class.
        predicted: (B, C) of the predicted probabilities of each class.
    """

    loss: Array
    class_loss: Array
    hits: Array
    named: Array
    predicted: Array


class Measured(NamedTuple):
    """B learners measured on the hold-out rows; C is the number of classes, 0 for regression.

    Attributes:
        loss: (B,) mean loss.
        accuracy: (B,) share of rows classified correctly (regression: minus the mean squared error).
        class_loss: (B, C) mean loss on the rows of each class.
        recall: (B, C) share of each class's rows that are classified correctly.
        precision: (B, C) share of the rows classified as each class that belong to it (the accuracy, if none are).
        excess: (B, C) mean predicted probability of each class minus its share of the rows.
    """

    loss: Array
    accuracy: Array
    class_loss: Array
    recall: Array
    precision: Array
    excess: Array


class Memory(NamedTuple):
    """What a run records about the learner's losses.

    Attributes:
        now: the learner's current measurements on the hold-out rows.
        initial: (B,) hold-out loss at reset (at least 1e-30).
        best: (B,) the lowest hold-out loss so far; one that is lower by less than a millionth does not count.
        stale: (B,) steps since the lowest loss.
        gain: (B,) the last step's decrease of the hold-out loss as a share of it, 0 at reset.
        mean_gain: (B,) running mean of ``gain``, in which each step has the weight 0.1.
        mean_loss: (B,) mean over the steps so far of the loss on the teaching example before its update, 0 at reset.
        recent_loss: (B,) running mean of that loss, in which a step has the weight 0.1 or 1 / step if larger.
    """

    now: Measured
    initial: Array
    best: Array
    stale: Array
    gain: Array
    mean_gain: Array
    mean_loss: Array
    recent_loss: Array


class TeachState(NamedTuple):
    """A batch of B teaching runs: the learners, and the schedule of the examples still to come.

    Attributes:
        w: (B, P) learner parameters.
        target: (B, P) w*.
        schedule: (B, H, M, m) int32, the train rows offered at each step of the episode.
        t: (B,) steps taken.
        x: (B, M, m, d) the sources offered now.
        y: (B, M, m, K) their labels.
        soft: (B, M, m, K) their soft labels, or None where the medium needs none.
        difference: (B, P) w* - w.
        distance: (B,) ||w - w*||.
        initial_distance: (B,) the distance at reset (1e-30 for a learner that starts at the target).
        velocity: (B, P) the momentum buffer, or None for a learner without momentum.
        rate: (B,) learning rates, or None where all runs have the task's.
        memory: what the run records about its losses; None unless ``Task.remembers``.
        key: (B,) int64, a random word drawn last at reset; with ``t`` it determines what randomised teachers draw.
    """

    w: Array
    target: Array
    schedule: Array
    t: Array
    x: Array
    y: Array
    soft: Array | None
    difference: Array
    distance: Array
    initial_distance: Array
    velocity: Array | None
    rate: Array | None = None
    memory: Memory | None = None
    key: Array | None = None


class Sources(NamedTuple):
    """The examples that a step offers.

    Attributes:
        x: (B, M, m, d) features.
        y: (B, M, m, K) labels.
        soft: (B, M, m, K) soft labels, or None where the medium needs none.
    """

    x: Array
    y: Array
    soft: Array | None


class Example(NamedTuple):
    """A teaching example (a mini-batch) for each run.

    Attributes:
        x: (..., m, d) features.
        y: (..., m, K) labels.
    """

    x: Array
    y: Array


class Transition(NamedTuple):
    """The result of a teaching step.

    Attributes:
        state: the state after the step.
        reward: (B,).
        terminated: (B,) bool: whether the goal is reached (see ``arrived``) or the budget is spent.
        example: the teaching example the learner was shown.
    """

    state: TeachState
    reward: Array
    terminated: Array
    example: Example
