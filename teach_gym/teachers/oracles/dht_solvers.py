"""Solvers of the greedy data hallucination step (DHT Eq. 4): the features that bring the learner nearest to w*.

With the update affine in the gradient, w' = base - eta J(x)^T r(x), the squared distance after the step is

    eta^2 r^T G r - 2 eta a^T r + const,    G = J J^T,    a = J (base - w*),

where the residual r depends on x through the logits z(x) only. Two cases, both for a batch of B runs at once:

- Linear learners whose residual depends on one number s = <u, x> (one output, or softmax with two classes): exact.
  On the hyperplane <u, x> = s the residual is a constant, so what remains is a separable quadratic in x; it is solved
  exactly there, and s by a scan of its attainable range with repeated zooms around the best local minima.
- All others: projected gradient with spectral steps from several starts; a local method, no guarantee.

Everything is numpy in float64.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from teach_gym.core.backend import Array, dot, norm
from teach_gym.core.learner import Learner, MLPLearner, layer
from teach_gym.core.outputs import IDENTITY, SOFTMAX
from teach_gym.teachers.oracles.dht_regions import TINY, Ball, Box

_T = np.linspace(-1.0, 1.0, 57)
_BENDS = 24.0 * _T * (0.3 + 0.7 * _T**2)
"""Logits where a sigmoid is curved: spacing 0.26 around zero, wider where it saturates."""
_DECADES = np.concatenate([-np.logspace(0.3, -7, 24), np.logspace(-7, 0.3, 24)])
"""Offsets from where the residual changes sign: minima there become narrower with the distance to the target."""
_UNIFORM, _KEPT, _ZOOM, _LEVELS = 61, 4, 13, 9
SCAN_POINTS = _UNIFORM + len(_BENDS) + len(_DECADES) + _LEVELS * _KEPT * _ZOOM
"""Hyperplanes evaluated by the exact solver."""

RANDOM_POINTS, RANDOM_STARTS = 256, 16
_FIRST, _SECOND, _SURVIVORS = 20, 100, 4


class Problem(NamedTuple):
    """One greedy step for B runs: minimise ||gap - eta * gradient(w, x, y)||^2 over x in the region.

    Attributes:
        learner: the learner's formulas.
        w: (B, P) its parameters.
        gap: (B, P) base - w*, where the learner would be with a zero gradient, minus the target.
        eta: (B,) step sizes of this example.
        y: (B, K) the label.
        region: where x may lie.
    """

    learner: Learner
    w: Array
    gap: Array
    eta: Array
    y: Array
    region: Box | Ball


def objective(problem: Problem, x: Array) -> Array:
    """Squared distance after the step, minus ||gap||^2 (DHT Eq. 4): x (B, C, d) -> (B, C)."""
    return _forward(problem, x)[3]


def _forward(problem: Problem, x: Array) -> tuple[Array, Array, Array, Array]:
    """Logits, residual and its slope (B, C, K) each, and the objective (B, C)."""
    learner, eta = problem.learner, problem.eta[:, None, None]
    z, gram, alignment = learner.parts(problem.w, x, problem.gap)
    r = learner.output.residual(z, problem.y[:, None])
    pull = eta**2 * (gram @ r[..., None])[..., 0]
    return z, r, 2.0 * pull - 2.0 * eta * alignment, dot(pull - 2.0 * eta * alignment, r)


def exact(learner: Learner, k: int) -> bool:
    """Whether the residual of a learner with k outputs depends on one linear function of x: the exact case."""
    return not isinstance(learner, MLPLearner) and (k == 1 or (k == 2 and learner.output == SOFTMAX))


def solve(problem: Problem, starts: Array) -> Array:
    """The best features found for each run.

    Args:
        problem: B runs.
        starts: (B, C, d) points of the region; the answer is never worse than the best of them.

    Returns:
        x (B, d) in the region, the global optimum where ``exact`` (to the resolution of the scan).
    """
    if exact(problem.learner, problem.y.shape[-1]):
        found = _scan(problem, starts.shape[-1])
    else:
        found = _descend(problem, starts)
    x = np.concatenate([starts, found], axis=1)
    return _pick(x, objective(problem, x).argmin(-1)[:, None])[:, 0]


def _pick(values: Array, index: Array) -> Array:
    """Entries along axis 1: values (B, C, ...), index (B, n) -> (B, n, ...)."""
    return values[np.arange(len(values))[:, None], index]


# --- one logit: a scan over hyperplanes -------------------------------------------------------------------------


def _scan(problem: Problem, d: int) -> Array:
    """The global optimum where the residual depends on s = <u, x> only: (B, 1, d).

    The scan runs over an angle, s = middle + half sin(angle): near the ends of its range the best value on a
    hyperplane can change like the square root of the distance to the end (a ball's slices shrink so).
    """
    k = problem.y.shape[-1]
    has_bias = float(problem.learner.bias)
    kernel, bias = layer(problem.w, d, problem.learner.bias)
    pull, bias_pull = layer(problem.gap, d, problem.learner.bias)
    if bias is None or bias_pull is None:
        bias = bias_pull = np.zeros((len(kernel), k))
    u = kernel[..., 0] - (kernel[..., 1] if k == 2 else 0.0)
    shift = bias[:, 0] - (bias[:, 1] if k == 2 else 0.0)
    u = np.where(np.abs(u) > 1e-12 * np.abs(u).max(-1, keepdims=True), u, 0.0)
    eta = problem.eta[:, None]

    def slices(s: Array) -> tuple[Array, Array]:
        """Best point of each hyperplane and its objective: s (B, S) -> (B, S, d), (B, S)."""
        z = (s + shift[:, None])[..., None]
        z = z if k == 1 else np.concatenate([z, np.zeros_like(z)], axis=-1)
        r = problem.learner.output.residual(z, problem.y[:, None])
        size = np.maximum(norm(r), TINY)
        q = (r / size[..., None]) @ pull.transpose(0, 2, 1)
        x = problem.region.slice(u, s, q, eta * size)
        squared = eta * size * (dot(x, x) + has_bias)
        return x, eta * (size * (squared - 2.0 * dot(q, x)) - 2.0 * (r @ bias_pull[..., None])[..., 0])

    low, high = (dot(u, problem.region.support(sign * u[:, None])[:, 0])[:, None] for sign in (-1.0, 1.0))
    middle, half = 0.5 * (low + high), 0.5 * (high - low)
    root = _root(problem) - shift[:, None]
    bends = np.concatenate(
        [np.broadcast_to(_BENDS, (len(u), len(_BENDS))) - shift[:, None], root + half * _DECADES], -1
    )
    sine = (bends - middle) / np.where(half > 0, half, 1.0)
    even = np.broadcast_to(np.linspace(-0.5 * np.pi, 0.5 * np.pi, _UNIFORM), (len(u), _UNIFORM))
    filler = np.linspace(-1.5, 1.5, bends.shape[-1])
    more = np.where(np.abs(sine) < 1.0, np.arcsin(np.clip(sine, -1.0, 1.0)), filler)
    angle = np.sort(np.concatenate([even, more], axis=-1), axis=-1)[:, None]
    best, best_value = angle[:, 0, :1], np.full_like(low, np.inf)
    for level in range(_LEVELS + 1):
        flat = angle.reshape(len(u), -1)
        value = slices(middle + half * np.sin(flat))[1]
        top = value.argmin(-1)[:, None]
        best = np.where(_pick(value, top) < best_value, _pick(flat, top), best)
        best_value = np.minimum(_pick(value, top), best_value)
        if level < _LEVELS:
            angle = _zoom(angle, value.reshape(angle.shape))
    return slices(middle + half * np.sin(best))[0]


def _root(problem: Problem) -> Array:
    """Where the residual changes sign (far out if it never does): (B, 1), on the scale of the logit scanned."""
    y = problem.y
    if problem.learner.output == IDENTITY:
        return y
    share = y[:, :1] if y.shape[-1] == 1 else y[:, :1] / np.maximum(y.sum(-1, keepdims=True), TINY)
    share = np.clip(share, 1e-12, 1.0 - 1e-12)
    return np.log(share / (1.0 - share))


def _zoom(s: Array, value: Array) -> Array:
    """Finer grids around the lowest local minima of several grids: (B, groups, n) -> (B, kept, zoom)."""
    b, _, n = s.shape
    edge = np.full((*s.shape[:2], 1), np.inf)
    before = np.concatenate([edge, value[..., :-1]], axis=-1)
    after = np.concatenate([value[..., 1:], edge], axis=-1)
    ranked = np.where((value <= before) & (value <= after), value, np.inf).reshape(b, -1)
    kept = np.argsort(ranked, axis=-1, kind="stable")[:, :_KEPT]
    row, column = kept // n, kept % n
    start = s[np.arange(b)[:, None], row, np.maximum(column - 1, 0)][..., None]
    end = s[np.arange(b)[:, None], row, np.minimum(column + 1, n - 1)][..., None]
    return start + (end - start) * np.linspace(0.0, 1.0, _ZOOM)


# --- several logits: projected gradient -------------------------------------------------------------------------


def slope(problem: Problem, x: Array) -> tuple[Array, Array]:
    """Objective (B, C) and its gradient with respect to x (B, C, d).

    The derivative of the residual along a direction is computed by a complex step, exact to rounding. A hidden layer's
    active units are taken as fixed (the objective jumps where one switches).
    """
    learner, eta = problem.learner, problem.eta[:, None, None]
    z, r, by_residual, value = _forward(problem, x)
    by_logit = learner.output.residual(z + 1e-20j * by_residual, problem.y[:, None]).imag / 1e-20
    if not isinstance(learner, MLPLearner):
        kernel, _ = layer(problem.w, x.shape[-1], learner.bias)
        pull, _ = layer(problem.gap, x.shape[-1], learner.bias)
        own = 2.0 * eta**2 * dot(r, r)[..., None] * x
        return value, own + by_logit @ _t(kernel) - 2.0 * eta * r @ _t(pull)
    first, first_bias, second = _two_layers(learner, problem.w, x.shape[-1])
    first_pull, _, second_pull = _two_layers(learner, problem.gap, x.shape[-1])
    hidden = x @ first + first_bias
    active = (hidden > 0).astype(x.dtype)
    below = active * (r @ _t(second))
    by_hidden = by_logit @ _t(second) + 2.0 * eta * (eta * dot(r, r)[..., None] * active * hidden - r @ _t(second_pull))
    own = 2.0 * eta * (eta * dot(below, below)[..., None] * x - below @ _t(first_pull))
    return value, own + (active * by_hidden) @ _t(first)


def _t(matrix: Array) -> Array:
    return matrix.transpose(0, 2, 1)


def _two_layers(learner: MLPLearner, flat: Array, d: int) -> tuple[Array, Array, Array]:
    """Kernel (B, d, h) and bias (B, 1, h) of the hidden layer, kernel (B, h, K) of the output layer."""
    hidden, top = learner.split(flat, d)
    kernel, bias = layer(hidden, d, learner.bias)
    offset = np.zeros((len(flat), 1, learner.hidden)) if bias is None else bias[:, None]
    return kernel, offset, layer(top, learner.hidden, learner.bias)[0]


def descent_starts(problem: Problem, d: int) -> Array:
    """Starts of the descent: the best of a fixed set of random points, the region's ends for each class: (B, C, d)."""
    b = len(problem.y)
    points = np.broadcast_to(problem.region.points(RANDOM_POINTS), (b, RANDOM_POINTS, d))
    points = _pick(points, np.argsort(objective(problem, points), axis=-1)[:, :RANDOM_STARTS])
    if isinstance(problem.learner, MLPLearner):
        return points
    kernel, _ = layer(problem.w, d, problem.learner.bias)
    ends = problem.region.support(_t(kernel - kernel.mean(-1, keepdims=True)))
    return np.concatenate([points, ends], axis=1)


def n_fixed_starts(learner: Learner, k: int) -> int:
    """Number of points that ``descent_starts`` returns."""
    return RANDOM_STARTS + (0 if isinstance(learner, MLPLearner) else k)


def descent_evaluations(n_starts: int) -> int:
    """Most points at which ``solve`` evaluates the slope for one run."""
    return RANDOM_POINTS + n_starts * (_FIRST + 1) + min(n_starts, _SURVIVORS) * (_SECOND + 1) + n_starts + _SURVIVORS


def _descend(problem: Problem, starts: Array) -> Array:
    """Projected gradient from all starts, then longer from the best: starts (B, C, d) -> (B, survivors, d)."""
    x, value = _projected_gradient(problem, starts, _FIRST)
    kept = np.argsort(value, axis=-1, kind="stable")[:, :_SURVIVORS]
    return _projected_gradient(problem, _pick(x, kept), _SECOND)[0]


def _projected_gradient(problem: Problem, x: Array, iterations: int) -> tuple[Array, Array]:
    """Spectral projected gradient (Birgin, Martinez, Raydan 2000) with an Armijo test, all points at once.

    A point whose step does not decrease its objective enough stays and tries a shorter step in the next iteration.

    Returns:
        The points (B, C, d) and their objectives (B, C).
    """
    region = problem.region
    value, g = slope(problem, x)
    reach = norm(region.support(np.ones_like(x)) - region.support(-np.ones_like(x)))
    t = 0.1 * reach / np.maximum(norm(g), TINY)
    for _ in range(iterations):
        new = region.project(x - t[..., None] * g)
        move = new - x
        new_value, new_g = slope(problem, new)
        good = new_value <= value + 1e-4 * dot(g, move)
        bend, squared = dot(move, new_g - g), dot(move, move)
        spectral = np.where(bend > 1e-12 * squared, squared / np.where(bend > 0, bend, 1.0), 4.0 * t)
        t = np.where(good, np.clip(spectral, 0.01 * t, 100.0 * t), 0.2 * t)
        x, g = (np.where(good[..., None], a, b) for a, b in ((new, x), (new_g, g)))
        value = np.where(good, new_value, value)
        if not (np.sqrt(squared) > 1e-8 * reach).any():
            break
    return x, value


def in_blocks(function: Any, rows: int, cost: int) -> Array:
    """Concatenate ``function(slice)`` over blocks of the batch, so that scratch arrays stay below about 200 MB.

    Args:
        function: slice of runs -> array with these runs first.
        rows: number B of runs.
        cost: numbers a run needs in one scratch array.
    """
    block = max(1, 2_000_000 // cost)
    return np.concatenate([function(slice(i, min(i + block, rows))) for i in range(0, rows, block)])
