"""Greedy label synthesis (LAST 3.2): the label that brings the learner nearest to the target in one step.

With the update affine in the gradient, w' = base - s sum_i J_i^T r_i (s the step size over the batch size, r_i
the residual of row i, J_i the Jacobian of its logits), the squared distance after the step is

    s^2 r^T G r - 2 s a^T r + const,    G = J J^T,   a = J (base - w*).

For least squares and the logistic losses r = p - y; for softmax r = sum(y) p - y. Both are linear in y: one row of
a linear learner needs only a projection, everything else is a small convex quadratic programme.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from teach_gym.core.backend import Array, dot, matmul
from teach_gym.core.learner import MLPLearner
from teach_gym.core.outputs import SOFTMAX
from teach_gym.core.projections import onto_ball_around, onto_cone_ball, onto_interval, onto_simplex, onto_vertices
from teach_gym.core.state import Task, TeachState
from teach_gym.errors import positive

Kind = Literal["none", "soft", "one_hot", "magnitude_prediction", "magnitude_truth", "cone"]
KINDS: tuple[str, ...] = ("none", "soft", "one_hot", "magnitude_prediction", "magnitude_truth", "cone")
_SWEEPS = 4
_ENUMERATED = 4096
_FISTA_STEPS = 3000
_BISECTIONS = 100
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
    if kind not in KINDS:
        raise ValueError(f"unknown label constraint {kind!r}; allowed: {', '.join(KINDS)}")
    positive("radius", radius)
    return Constraint(kind, float(radius))


@dataclass(frozen=True)
class _Problem:
    """The quadratic in the labels of one mini-batch, for a batch of runs.

    Attributes:
        project: (B, m, K) -> the nearest allowed labels.
        prediction: (B, m, K) p.
        gram: (B, m, K, m, K) G.
        alignment: (B, m, K) a.
        s: (B, 1, 1) step sizes over the batch size.
        sums: whether the residual is sum(y) p - y (softmax) and not p - y.
    """

    project: Callable[[Array], Array]
    prediction: Array
    gram: Array
    alignment: Array
    s: Array
    sums: bool

    def residual(self, y: Array) -> Array:
        """Residuals of labels y (..., B, m, K)."""
        total = y.sum(-1, keepdims=True) if self.sums else 1.0
        return total * self.prediction - y

    def half_gradient(self, r: Array) -> Array:
        """Half the derivative of the objective with respect to the residuals, (..., B, m, K)."""
        return self.s**2 * np.einsum("bmkjl,...bjl->...bmk", self.gram, r) - self.s * self.alignment

    def value(self, r: Array) -> Array:
        """Objective without its constant for residuals r: (..., B)."""
        return ((self.half_gradient(r) - self.s * self.alignment) * r).sum((-1, -2))


def greedy_labels(
    task: Task, state: TeachState, x: Array, truth: Array, constraint: Constraint, beta: float = 1.0
) -> Array:
    """The labels that minimise the distance to the target after one update on ``x`` (LAST Eq. 1-4).

    Args:
        task: the task.
        state: B runs.
        x: (B, m, d) inputs of the teaching examples.
        truth: (B, m, K) their ground-truth labels (used by ``magnitude_truth``).
        constraint: the allowed labels.
        beta: weight of the first layer of a learner with a hidden layer (LAST Eq. 4).

    Returns:
        (B, m, K) labels of the state's dtype, computed in float64. Exact, but for one-hot labels of large mini-batches
        (coordinate descent where there are more than 4,096 combinations) and ``margin_logistic`` (exact for one row,
        swept over the rows of a mini-batch).

    Raises:
        ValueError: a constraint that does not fit the learner.
    """
    check_constraint(task, constraint)
    if state.w.dtype == np.float64:
        return _greedy_labels(task, state, x, truth, constraint, beta)
    precise = {name: _precise(getattr(state, name)) for name in ("w", "target", "velocity", "rate")}
    labels = _greedy_labels(task, state._replace(**precise), _precise(x), _precise(truth), constraint, beta)
    return labels.astype(state.w.dtype)


def _precise(array: Any) -> Any:
    return None if array is None else np.asarray(array, dtype=np.float64)


def _greedy_labels(task: Task, state: TeachState, x: Array, truth: Array, constraint: Constraint, beta: float) -> Array:
    learner = task.learner
    base, step = task.update.affine(state.w, state.velocity, state.rate)
    direction = base - state.target
    if x.shape[-2] == 1 and learner.output.linear and not isinstance(learner, MLPLearner):
        return _one_row(task, state, x, truth, constraint, direction, step)
    logits, gram, alignment = learner.parts(state.w, x, direction, beta, cross=True)
    prediction = learner.output.predict(logits)
    problem = _Problem(
        project=lambda y: project(task, constraint, y, prediction, truth),
        prediction=prediction,
        gram=gram,
        alignment=alignment,
        s=step[:, None, None] / x.shape[-2],
        sums=learner.output == SOFTMAX,
    )
    if not learner.output.linear:
        return _searched(task, problem, logits, constraint, truth)
    if constraint.kind == "none":
        return _free(problem)
    if constraint.kind == "one_hot":
        return _one_hot(task, problem)
    return _quadratic_programme(problem)


def _one_row(
    task: Task, state: TeachState, x: Array, truth: Array, constraint: Constraint, direction: Array, step: Array
) -> Array:
    """One row of a linear learner: project y_free = p - J (base - w*) / (step ||x||^2) (LAST Eq. 3)."""
    learner = task.learner
    n = len(state.w)  # the alignment is the logits of the direction: one product for both
    both = learner.logits(np.concatenate([state.w, direction]), np.concatenate([x, x]))
    prediction, alignment = learner.output.predict(both[:n]), both[n:]
    squared = learner.squared_norms(x)[..., None]
    push = alignment / (step[:, None, None] * squared + _TINY)  # x = 0 teaches nothing, whatever its label
    if learner.output != SOFTMAX or constraint.kind in ("soft", "one_hot"):
        return project(task, constraint, prediction - push, prediction, truth)
    push = push - push.mean(-1, keepdims=True)
    if constraint.kind == "none":
        return prediction - push
    problem = _Problem(
        project=lambda y: project(task, constraint, y, prediction, truth),
        prediction=prediction,
        gram=learner.parts(state.w, x, direction, cross=True).gram,
        alignment=alignment,
        s=step[:, None, None],
        sums=True,
    )
    return _quadratic_programme(problem)


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


def _free(problem: _Problem) -> Array:
    """No constraint: solve the normal equations (for softmax among residuals of zero sum, all it can give)."""
    b, m, k = problem.alignment.shape
    basis = np.eye(k)
    if problem.sums:
        basis = np.linalg.svd(np.ones((1, k)))[2][1:].T
    reduced = np.einsum("bmkjl,kp,lq->bmpjq", problem.gram, basis, basis).reshape(b, m * basis.shape[1], -1)
    linear = matmul(problem.alignment, basis).reshape(b, -1, 1)
    u = np.linalg.pinv(reduced, rcond=1e-12, hermitian=True) @ linear / problem.s
    r = u.reshape(b, m, -1) @ basis.T
    return problem.prediction - r


def _one_hot(task: Task, problem: _Problem) -> Array:
    """One-hot labels: all combinations where there are few, else coordinate descent from the rounded optimum."""
    b, m, k = problem.alignment.shape
    output = task.learner.output
    choices = np.eye(k) if k > 1 else np.array([[output.label_low], [output.label_high]], dtype=np.float64)
    if len(choices) ** m <= _ENUMERATED:
        rows = np.array(list(itertools.product(range(len(choices)), repeat=m)))
        labels = choices[rows][:, None]
        best = problem.value(problem.residual(labels)).argmin(0)
        return labels[best, 0]
    y = problem.project(_free(problem))
    for _ in range(_SWEEPS):
        for i in range(m):
            options = np.repeat(y[None], len(choices), axis=0)
            options[:, :, i] = choices[:, None]
            best = problem.value(problem.residual(options)).argmin(0)
            y = options[best, np.arange(b)]
    return y


def _quadratic_programme(problem: _Problem) -> Array:
    """Convex quadratic over a product of simple sets, by accelerated projected gradient with restarts (FISTA)."""
    b, _, k = problem.alignment.shape
    p = problem.prediction
    scale = 2.0 * problem.s[:, 0, 0] ** 2 * np.einsum("bmkmk->b", problem.gram)
    if problem.sums:
        scale = scale * (1.0 + np.sqrt(k) * np.sqrt(dot(p, p)).max(-1)) ** 2
    rate = (1.0 / np.maximum(scale, 1e-300))[:, None, None]

    def descend(y: Array) -> Array:
        slope = 2.0 * problem.half_gradient(problem.residual(y))
        slope = (slope * p).sum(-1, keepdims=True) - slope if problem.sums else -slope
        return problem.project(y - rate * slope)

    y = ahead = problem.project(p)
    momentum = np.ones((b, 1, 1))
    for _ in range(_FISTA_STEPS):
        fresh = descend(ahead)
        move = fresh - y
        restart = ((ahead - fresh) * move).sum((-1, -2), keepdims=True) > 0
        momentum = np.where(restart, 1.0, momentum)
        following = 0.5 + np.sqrt(0.25 + momentum**2)
        ahead = fresh + np.where(restart, 0.0, (momentum - 1.0) / following) * move
        y, momentum = fresh, following
        if not np.abs(move).max() > 1e-13:
            break
    return y


def _searched(task: Task, problem: _Problem, logits: Array, constraint: Constraint, truth: Array) -> Array:
    """Residuals that are not linear in y (``margin_logistic``): a safeguarded search per row, swept over the rows."""
    output, m = task.learner.output, logits.shape[1]
    y = truth.copy()
    r = output.residual(logits, y)
    for _ in range(1 if m == 1 else _SWEEPS):
        for i in range(m):
            own = problem.s[:, 0, 0] ** 2 * problem.gram[:, i, 0, i, 0]
            rest = problem.half_gradient(r)[:, i, 0] - own * r[:, i, 0]
            wanted = -rest / own
            z = logits[:, i, 0]
            low, high = _interval(constraint, problem.prediction[:, i, 0], truth[:, i, 0], z, wanted)
            y[:, i, 0] = _reach(output.residual, z, wanted, low, high, constraint.kind == "one_hot")
            r = output.residual(logits, y)
    return y


def _reach(
    residual: Callable[[Array, Array], Array], z: Array, wanted: Array, low: Array, high: Array, ends_only: bool
) -> Array:
    """The label in [low, high] whose residual is nearest to the wanted one: all (B,).

    r(y) = -y sigmoid(-y z) has one turning point, y z = 1.278...: on each side of it a bisection is exact.
    """

    def r(y: Array) -> Array:
        return residual(z[:, None], y[:, None])[:, 0]

    turn = onto_interval(_turning(z), low, high)
    found = [low, high]
    for a, b in () if ends_only else ((low, turn), (turn, high)):
        rising = r(b) > r(a)
        for _ in range(_BISECTIONS):
            middle = 0.5 * (a + b)
            right = (r(middle) < wanted) == rising
            a, b = np.where(right, middle, a), np.where(right, b, middle)
        found += [a, b]
    labels = np.stack(found)
    gaps = np.stack([np.abs(r(y) - wanted) for y in found])
    return np.take_along_axis(labels, gaps.argmin(0)[None], axis=0)[0]


def _turning(z: Array) -> Array:
    """The label at which the margin loss's residual turns: c / z with c sigmoid(c) = 1."""
    return 1.2784645427610738 / np.where(np.abs(z) > 1e-9, z, 1e-9)


def _interval(constraint: Constraint, prediction: Array, truth: Array, z: Array, wanted: Array) -> tuple[Array, Array]:
    """Bounds (B,) of a scalar label; without a constraint, wide enough for the residual wanted."""
    kind, radius = constraint.kind, constraint.radius
    if kind == "magnitude_prediction":
        return prediction - radius, prediction + radius
    if kind == "magnitude_truth":
        return truth - radius, truth + radius
    if kind == "cone":
        return np.zeros_like(truth), np.full_like(truth, radius)
    edge = 2.0 * np.abs(wanted) + np.abs(_turning(z)) if kind == "none" else np.ones_like(truth)
    return -edge, edge
