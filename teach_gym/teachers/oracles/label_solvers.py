"""Labels that minimise a quadratic of the residuals; see ``teach_gym.teachers.oracles.labels``."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from teach_gym.core.backend import Array, dot, matmul
from teach_gym.core.outputs import Output
from teach_gym.core.projections import onto_interval

SWEEPS = 4
_ENUMERATED = 4096
_FISTA_STEPS = 3000
_BISECTIONS = 100


@dataclass(frozen=True)
class LabelQuadratic:
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


def free_labels(problem: LabelQuadratic) -> Array:
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


def one_hot_labels(output: Output, problem: LabelQuadratic) -> Array:
    """One-hot labels: all combinations where there are few, else coordinate descent from the rounded optimum."""
    b, m, k = problem.alignment.shape
    choices = np.eye(k) if k > 1 else np.array([[output.label_low], [output.label_high]], dtype=np.float64)
    if len(choices) ** m <= _ENUMERATED:
        rows = np.array(list(itertools.product(range(len(choices)), repeat=m)))
        labels = choices[rows][:, None]
        best = problem.value(problem.residual(labels)).argmin(0)
        return labels[best, 0]
    y = problem.project(free_labels(problem))
    for _ in range(SWEEPS):
        for i in range(m):
            options = np.repeat(y[None], len(choices), axis=0)
            options[:, :, i] = choices[:, None]
            best = problem.value(problem.residual(options)).argmin(0)
            y = options[best, np.arange(b)]
    return y


def constrained_labels(problem: LabelQuadratic) -> Array:
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


def reach(
    residual: Callable[[Array, Array], Array], z: Array, wanted: Array, low: Array, high: Array, ends_only: bool
) -> Array:
    """The label in [low, high] whose residual is nearest to the wanted one: all (B,).

    r(y) = -y sigmoid(-y z) has one turning point, y z = 1.278...: on each side of it a bisection is exact.
    """

    def r(y: Array) -> Array:
        return residual(z[:, None], y[:, None])[:, 0]

    turn = onto_interval(turning(z), low, high)
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


def turning(z: Array) -> Array:
    """The label at which the margin loss's residual turns: c / z with c sigmoid(c) = 1."""
    return 1.2784645427610738 / np.where(np.abs(z) > 1e-9, z, 1e-9)
