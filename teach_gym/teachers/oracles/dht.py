"""Greedy data hallucination teaching (DHT 3.2, Eq. 4): synthesise the features that teach most in one step."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from teach_gym.core.backend import Array, dot
from teach_gym.core.batch import take
from teach_gym.core.media import data_bounds
from teach_gym.core.outputs import MARGIN
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.core.task import learn
from teach_gym.errors import positive, shown, within
from teach_gym.teachers.base import Teacher, better_of, check_settled, draws
from teach_gym.teachers.oracles import dht_solvers as solvers
from teach_gym.teachers.oracles.dht_regions import Ball, Box
from teach_gym.teachers.oracles.labels import Constraint, check_constraint, greedy_labels, make_constraint
from teach_gym.teachers.oracles.selection import selection_scores

REGIONS = ("box", "ball")
LABEL_SOURCES = ("offered", "uniform")
_SWEEPS = 2
_POOL_STARTS = 4


@dataclass
class GreedyDHT(Teacher):
    """Greedy DHT: the features x in a region, for a fixed label, that bring the learner nearest to w* (DHT Eq. 4).

    Exact per step for learners with one output and for softmax with two classes; for other learners a multi-start
    descent that is never worse than the best row of the pool in the region. Mini-batches are optimised one row at a
    time with the others fixed, in two sweeps from the offered rows. The teacher is myopic: solving each step better
    does not always teach faster in the long run.

    The answer is an ``Example``. In a continuous ``perturb`` task with the same region (and box or radius) an action
    of the environment reaches it, as long as labels are the offered ones.

    Args:
        region: ``box`` (the bounding box of the train features, as in DHT 5.1) or ``ball`` (around the offered row).
        box: bounds of the box, ``per_dimension`` or ``global`` (see ``teach_gym.core.media.data_bounds``).
        radius: radius of the ball.
        label_source: ``offered`` (the offered row's ground truth) or ``uniform`` (drawn from the label set as in
            DHT Eq. 4, for each episode and step; regression has no label set and keeps the offered label).
        labels: whether labels are synthesised too: features for the label, then the greedy label for them.
        constraint: allowed labels, see ``teachers.oracles.labels.Constraint``. None is ``cone`` (DHT 5.1), and where
            labels may be negative ``soft`` (``margin_logistic``) or ``magnitude_truth`` (regression).
        label_radius: radius of that constraint (DHT 5.1: 2).
        rounds: alternations of features and label; the best round is kept. 1 is the paper's.

    Raises:
        ValueError: an unknown name, or a value out of range.
        TypeError: a value of the wrong type.
    """

    region: str = "box"
    box: str = "per_dimension"
    radius: float = 0.5
    label_source: str = "offered"
    labels: bool = False
    constraint: str | None = None
    label_radius: float = 2.0
    rounds: int = 1
    name: str = field(default="dht", init=False)

    def __post_init__(self) -> None:
        for what, value, allowed in (
            ("region", self.region, REGIONS),
            ("box", self.box, ("per_dimension", "global")),
            ("label_source", self.label_source, LABEL_SOURCES),
        ):
            if not isinstance(value, str) or value not in allowed:
                raise ValueError(f"{what} must be one of {', '.join(allowed)}, got {shown(value)}")
        if not isinstance(self.labels, bool):
            raise TypeError(f"labels must be a bool, got {shown(self.labels)}")
        positive("radius", self.radius)
        within("rounds", self.rounds, "[1, 1000]", integer=True)
        if self.rounds > 1 and not self.labels:
            raise ValueError(f"rounds={self.rounds} alternates features and labels: set labels=True")
        make_constraint(self.constraint or "cone", self.label_radius)

    def check(self, task: Task) -> None:
        """Raise a ``ValueError`` where the label constraint does not fit the learner, or if some inputs are offsets."""
        check_settled(task, self.name, "pool_seed")
        if getattr(task.learner, "offsets", False):
            raise ValueError(f"teacher {self.name!r} gives inputs, not offsets of hidden units; use greedy")
        if self.labels:
            check_constraint(task, self._allowed(task))

    def __call__(self, task: Task, state: TeachState) -> Example:
        """The synthesised mini-batch: x (B, m, d), y (B, m, K).

        Raises:
            TypeError: the state is not made of numpy arrays.
        """
        if not isinstance(state.w, np.ndarray):
            raise TypeError(f"the DHT teacher works on numpy arrays, got {type(state.w).__name__}")
        truth = self._labels(task, state)
        best = self._round(task, state, truth, truth)
        for _ in range(self.rounds - 1):
            best = better_of(task, state, self._round(task, state, best.y, truth), best)
        return Example(best.x.astype(task.spec.dtype), best.y.astype(task.spec.dtype))

    def _allowed(self, task: Task) -> Constraint:
        """The label constraint for a task."""
        default = "soft" if task.learner.output == MARGIN else "cone" if task.pool.n_classes else "magnitude_truth"
        return make_constraint(self.constraint or default, self.label_radius)

    def _labels(self, task: Task, state: TeachState) -> Array:
        """Labels for which the features are computed: (B, m, K)."""
        choices = label_set(task)
        if self.label_source == "offered" or choices is None:
            return np.asarray(state.y[:, 0], dtype=np.float64)
        return choices[draws(state).integers(len(choices), task.spec.batch_size)]

    def _round(self, task: Task, state: TeachState, y: Array, truth: Array) -> Example:
        """Features for the labels y (B, m, K), then labels for the features if these are synthesised."""
        cost = max(2 * task.d * solvers.SCAN_POINTS, len(task.x) * task.k)
        x = solvers.in_blocks(lambda runs: self._features(task, take(state, runs), y[runs]), len(y), cost)
        if self.labels:
            y = greedy_labels(task, state, x, truth, self._allowed(task))
        return Example(x, y)

    def _features(self, task: Task, state: TeachState, y: Array) -> Array:
        """Features for labels y (B, m, K), row by row: (B, m, d)."""
        m = task.spec.batch_size
        centre = np.array(state.x[:, 0], dtype=np.float64, order="C")
        w = np.array(state.w, dtype=np.float64, order="C")
        base, step = task.update.affine(state.w, state.velocity, state.rate)
        gap = np.array(base - state.target, dtype=np.float64, order="C")
        box = Box(*(bound.astype(np.float64) for bound in data_bounds(task.x, self.box)))
        x = centre.copy()
        for _ in range(1 if m == 1 else _SWEEPS):
            for row in range(m):
                region = box if self.region == "box" else Ball(centre[:, row], self.radius)
                rest = gap
                if m > 1:
                    others = np.arange(m) != row
                    moved, _ = learn(task, state, Example(x[:, others], y[:, others]))
                    rest = gap + (m - 1) / m * (moved - base)
                problem = solvers.Problem(task.learner, w, rest, step / m, y[:, row], region)
                x[:, row] = solvers.solve(problem, self._starts(task, state, problem, x[:, row]))
        return x

    def _starts(self, task: Task, state: TeachState, problem: solvers.Problem, x: Array) -> Array:
        """Starting points: the row x (B, d) itself and, for the descent, pool rows and fixed points."""
        if solvers.exact(task.learner, task.k):
            return x[:, None]
        scores = selection_scores(task, state, problem.gap, problem.eta, problem.y[:, None])
        if isinstance(problem.region, Ball):
            centre = problem.region.centre
            squared = task.squared_norms - 2.0 * centre @ task.x.T + dot(centre, centre)[:, None]
            scores = np.where(squared <= self.radius**2, scores, np.inf)
        rows = np.argsort(scores, axis=-1)[:, :_POOL_STARTS]
        pool = problem.region.project(task.x[rows].astype(np.float64))
        return np.concatenate([x[:, None], pool, solvers.descent_starts(problem, task.d)], axis=1)

    def gradient_evaluations(self, task: Task) -> int:
        """Residuals (or slopes, where the descent stops last) computed for one step of one run."""
        m = task.spec.batch_size
        if solvers.exact(task.learner, task.k):
            per_row = solvers.SCAN_POINTS + 3
        else:
            starts = 1 + _POOL_STARTS + solvers.n_fixed_starts(task.learner, task.k)
            per_row = len(task.x) + solvers.descent_evaluations(starts)
        per_round = (1 if m == 1 else _SWEEPS) * m * (per_row + m - 1) + m * self.labels
        return self.rounds * per_round + 2 * m * (self.rounds - 1)


def label_set(task: Task) -> Array | None:
    """The labels of the classes, (n, K): {0, 1}, {-1, 1} or the one-hot vectors; None for regression."""
    if task.pool.n_classes == 0:
        return None
    if task.k > 1:
        return np.eye(task.k)
    return np.array([[-1.0], [1.0]] if task.learner.output == MARGIN else [[0.0], [1.0]])
