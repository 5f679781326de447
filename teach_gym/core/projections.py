"""Euclidean projections on the constraint sets of labels and features, over leading batch axes."""

from __future__ import annotations

import numpy as np
from array_api_compat import device

from teach_gym.core.backend import A, namespace, norm


def onto_simplex(v: A, total: float = 1.0) -> A:
    """Project on {p >= 0, sum p = total}: v (..., K) -> (..., K).

    Sort-based algorithm (Held, Wolfe, Crowder 1974; Duchi et al. 2008): subtract the threshold that makes the
    positive parts sum to ``total``.
    """
    xp = namespace(v)
    descending = xp.flip(xp.sort(v, axis=-1), axis=-1)
    k = v.shape[-1]
    ranks = xp.cumulative_sum(xp.ones_like(v), axis=-1)
    thresholds = (xp.cumulative_sum(descending, axis=-1) - total) / ranks
    kept = xp.sum(xp.astype(descending > thresholds, ranks.dtype), axis=-1, keepdims=True)
    index = xp.astype(xp.clip(kept - 1.0, 0, k - 1), xp.int64)
    threshold = xp.take_along_axis(thresholds, index, axis=-1)
    shifted = v - threshold
    return xp.maximum(shifted, xp.zeros_like(shifted))


def onto_ball(v: A, radius: float) -> A:
    """Project on {||v|| <= radius}: v (..., d) -> (..., d)."""
    xp = namespace(v)
    length = norm(v)[..., None]
    return v * (radius / xp.maximum(length, xp.full_like(length, radius)))


def onto_ball_around(v: A, centre: A, radius: float) -> A:
    """Project on the ball of the given radius around ``centre``: (..., d), (..., d) -> (..., d)."""
    return centre + onto_ball(v - centre, radius)


def onto_cone_ball(v: A, radius: float) -> A:
    """Project on {v >= 0, ||v|| <= radius}: v (..., K) -> (..., K).

    Projecting on the cone and then on a ball centred at its apex gives the projection on their intersection.
    """
    xp = namespace(v)
    return onto_ball(xp.maximum(v, xp.zeros_like(v)), radius)


def onto_vertices(v: A) -> A:
    """Nearest one-hot vector: v (..., K) -> (..., K)."""
    xp = namespace(v)
    best = xp.argmax(v, axis=-1, keepdims=True)
    return xp.astype(xp.arange(v.shape[-1], device=device(v)) == best, v.dtype)


def onto_interval(v: A, low: A | float, high: A | float) -> A:
    """Clip: v (...), bounds that broadcast with it -> (...)."""
    if type(v) is np.ndarray:
        return np.minimum(np.maximum(v, low), high).astype(v.dtype, copy=False)
    xp = namespace(v)
    low, high = (xp.asarray(bound, dtype=v.dtype) for bound in (low, high))
    return xp.minimum(xp.maximum(v, low), high)
