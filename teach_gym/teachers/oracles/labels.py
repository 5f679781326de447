"""Greedy label synthesis (LAST 3.2): the label that brings the learner nearest to the target in one step.

With the update affine in the gradient, w' = base - s sum_i J_i^T r_i (s the step size over the batch size, r_i
the residual of row i, J_i the Jacobian of its logits), the squared distance after the step is

    s^2 r^T G r - 2 s a^T r + const,    G = J J^T,   a = J (base - w*).

For least squares and the logistic losses r = p - y; for softmax r = sum(y) p - y. Both are linear in y: one row of
a linear learner needs only a projection, everything else is a small convex quadratic programme.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from teach_gym.core.backend import Array
from teach_gym.core.farsighted import Pull
from teach_gym.core.learner import MLPLearner
from teach_gym.core.outputs import SOFTMAX
from teach_gym.core.projections import onto_ball_around, onto_cone_ball, onto_interval, onto_simplex, onto_vertices
from teach_gym.core.state import Task, TeachState
from teach_gym.errors import closest, positive, shown
from teach_gym.teachers.oracles.label_solvers import (
    SWEEPS,
    LabelQuadratic,
    constrained_labels,
    free_labels,
    one_hot_labels,
    reach,
    turning,
)

Kind = Literal["none", "soft", "one_hot", "magnitude_prediction", "magnitude_truth", "cone"]
KINDS: tuple[str, ...] = ("none", "soft", "one_hot", "magnitude_prediction", "magnitude_truth", "cone")
_TINY = 1e-30


@dataclass(frozen=True)
class Constraint:
    """What labels the teacher may give (LAST 3.2, "constraints on the synthesized labels").

    Attributes:
        kind: ``none``; ``soft`` (probability simplex; for one output the interval of the labels); ``one_hot``;
            ``magnitude_prediction`` and ``magnitude_truth`` (||y - p|| or ||y - truth|| at most the radius);
            ``cone`` (y >= 0 and ||y|| at most the radius: DHT 5.1, radius 2).
        radius: the radius of the last three.
    """

    kind: str = "none"
    radius: float = 1.0


def make_constraint(kind: str, radius: float = 1.0) -> Constraint:
    """Make a constraint.

    Raises:
        ValueError: unknown kind or a radius that is not positive.
    """
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"unknown label constraint {shown(kind)}; allowed: {', '.join(KINDS)}{closest(kind, KINDS)}")
    positive("radius", radius)
    return Constraint(kind, float(radius))


def greedy_labels(
    task: Task,
    state: TeachState,
    x: Array,
    truth: Array,
    constraint: Constraint,
    beta: float = 1.0,
    pull: Pull | None = None,
) -> Array:
    """The labels that minimise the distance to the target after one update on ``x`` (LAST Eq. 1-4).

    Args:
        task: the task.
        state: B runs.
        x: (B, m, d) inputs of the teaching examples.
        truth: (B, m, K) their ground-truth labels (used by ``magnitude_truth``).
        constraint: the allowed labels.
        beta: weight of the first layer of a learner with a hidden layer (LAST Eq. 4).
        pull: for a linear learner, what to minimise instead of the squared distance.

    Returns:
        (B, m, K) labels of the state's dtype, computed in float64. Exact, but for one-hot labels of large mini-batches
        (coordinate descent where there are more than 4,096 combinations) and ``margin_logistic`` (exact for one row,
        swept over the rows of a mini-batch).

    Raises:
        ValueError: a constraint that does not fit the learner.
    """
    check_constraint(task, constraint)
    if state.w.dtype == np.float64:
        return _labels(task, state, x, truth, constraint, beta, pull)
    precise = {name: _precise(getattr(state, name)) for name in ("w", "target", "velocity", "rate")}
    labels = _labels(task, state._replace(**precise), _precise(x), _precise(truth), constraint, beta, pull)
    return labels.astype(state.w.dtype)


def _precise(array: Any) -> Any:
    return None if array is None else np.asarray(array, dtype=np.float64)


def _one_step(task: Task, state: TeachState, x: Array, beta: float) -> tuple[Array, Pull]:
    """The learner's logits (B, m, K) on x (B, m, d), and its squared distance to the target after one update."""
    learner, m = task.learner, x.shape[-2]
    base, step = task.update.affine(state.w, state.velocity, state.rate)
    direction, s = base - state.target, step[:, None, None] / m
    if m > 1 or isinstance(learner, MLPLearner):
        logits, gram, alignment = learner.parts(state.w, x, direction, beta, cross=True)
        return logits, Pull(alignment, gram, s)
    n = len(state.w)  # a linear learner's alignment is the logits of the direction: one product for both
    both = learner.logits(np.concatenate([state.w, direction]), np.concatenate([x, x]))
    return both[:n], Pull(both[n:], learner.squared_norms(x)[..., None], s)


def _labels(
    task: Task, state: TeachState, x: Array, truth: Array, constraint: Constraint, beta: float, pull: Pull | None
) -> Array:
    """The labels in double precision; arguments as for ``greedy_labels``."""
    output = task.learner.output
    if pull is None:
        logits, pull = _one_step(task, state, x, beta)
    else:
        logits = task.learner.logits(state.w, x)
    prediction, sums = output.predict(logits), output == SOFTMAX
    simple = logits.shape[-2] == 1 and output.linear and pull.gram.ndim == 3
    if simple and (not sums or constraint.kind in ("none", "soft", "one_hot")):
        # LAST Eq. 3: project y_free = p - a / (s G)
        push = pull.alignment / (pull.s * pull.gram + _TINY)  # x = 0 teaches nothing, whatever its label
        if sums and constraint.kind == "none":
            push = push - push.mean(-1, keepdims=True)
        return project(task, constraint, prediction - push, prediction, truth)
    gram = pull.gram
    if gram.ndim == 3:
        gram = gram[:, :, None, :, None] * np.eye(logits.shape[-1])[:, None, :]
    problem = LabelQuadratic(
        project=lambda y: project(task, constraint, y, prediction, truth),
        prediction=prediction,
        gram=gram,
        alignment=pull.alignment,
        s=pull.s,
        sums=sums,
    )
    if not output.linear:
        return _searched(task, problem, logits, constraint, truth)
    if constraint.kind == "none":
        return free_labels(problem)
    if constraint.kind == "one_hot":
        return one_hot_labels(output, problem)
    return constrained_labels(problem)


def check_constraint(task: Task, constraint: Constraint) -> None:
    """Raise a ``ValueError`` where a constraint does not fit the task's learner."""
    if constraint.kind in ("soft", "one_hot") and task.learner.output.label_low is None:
        raise ValueError(
            f"label constraint {constraint.kind!r} needs a classification learner, this one is {task.learner.name!r}; "
            "use none, magnitude_prediction or magnitude_truth"
        )


def project(task: Task, constraint: Constraint, y: Array, prediction: Array, truth: Array) -> Array:
    """Nearest labels that a constraint allows: y (..., m, K) -> (..., m, K)."""
    kind, radius = constraint.kind, constraint.radius
    if kind == "none":
        return y
    if kind == "magnitude_prediction":
        return onto_ball_around(y, prediction, radius)
    if kind == "magnitude_truth":
        return onto_ball_around(y, truth, radius)
    if kind == "cone":
        return onto_cone_ball(y, radius)
    low, high = task.learner.output.label_low, task.learner.output.label_high
    assert low is not None and high is not None
    if y.shape[-1] > 1:
        return onto_simplex(y) if kind == "soft" else onto_vertices(y)
    if kind == "soft":
        return onto_interval(y, low, high)
    return np.where(y > 0.5 * (low + high), high, low).astype(y.dtype)


def _searched(task: Task, problem: LabelQuadratic, logits: Array, constraint: Constraint, truth: Array) -> Array:
    """Residuals that are not linear in y (``margin_logistic``): a safeguarded search per row, swept over the rows."""
    output, m = task.learner.output, logits.shape[1]
    y = truth.copy()
    r = output.residual(logits, y)
    for _ in range(1 if m == 1 else SWEEPS):
        for i in range(m):
            own = problem.s[:, 0, 0] ** 2 * problem.gram[:, i, 0, i, 0]
            rest = problem.half_gradient(r)[:, i, 0] - own * r[:, i, 0]
            wanted = -rest / own
            z = logits[:, i, 0]
            low, high = _interval(constraint, problem.prediction[:, i, 0], truth[:, i, 0], z, wanted)
            y[:, i, 0] = reach(output.residual, z, wanted, low, high, constraint.kind == "one_hot")
            r = output.residual(logits, y)
    return y


def _interval(constraint: Constraint, prediction: Array, truth: Array, z: Array, wanted: Array) -> tuple[Array, Array]:
    """Bounds (B,) of a scalar label; without a constraint, wide enough for the residual wanted."""
    kind, radius = constraint.kind, constraint.radius
    if kind == "magnitude_prediction":
        return prediction - radius, prediction + radius
    if kind == "magnitude_truth":
        return truth - radius, truth + radius
    if kind == "cone":
        return np.zeros_like(truth), np.full_like(truth, radius)
    edge = 2.0 * np.abs(wanted) + np.abs(turning(z)) if kind == "none" else np.ones_like(truth)
    return -edge, edge
