"""Regions the DHT teacher may take features from: projections, furthest points, and a quadratic on a hyperplane.

Numpy in float64, for a batch of B runs with several points each.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from teach_gym.core.backend import Array, dot, norm
from teach_gym.core.projections import onto_ball_around, onto_interval

TINY = 1e-30
"""Lower bound of lengths in divisions."""


@dataclass(frozen=True, eq=False)
class Box:
    """The box low <= x <= high; bounds (d,), the same for all runs."""

    low: Array
    high: Array

    def project(self, x: Array) -> Array:
        """Nearest point: x (B, C, d) -> (B, C, d)."""
        return onto_interval(x, self.low, self.high)

    def support(self, u: Array) -> Array:
        """Furthest point in a direction: u (B, C, d) -> (B, C, d)."""
        return np.where(u > 0, self.high, self.low)

    def points(self, n: int) -> Array:
        """The same n random points in every call: (1, n, d)."""
        return self.low + (self.high - self.low) * _uniform_points(n, len(self.low))

    def slice(self, u: Array, s: Array, q: Array, alpha: Array) -> Array:
        """Minimise alpha ||x||^2 - 2 <q, x> over the box and the hyperplane <u, x> = s.

        x(t) = clip((q + t u) / alpha) for a multiplier t, and <u, x(t)> is nondecreasing and piecewise linear: a binary
        search of its sorted break points finds the segment that holds s, on which x is linear.

        Args:
            u: (B, d) normal of the hyperplanes.
            s: (B, S) attainable values of <u, x>.
            q: (B, S, d) linear terms.
            alpha: (B, S) positive curvatures.

        Returns:
            x (B, S, d).
        """
        u, curvature = u[:, None], alpha[..., None]
        slope = np.where(u == 0, 1.0, u)
        ends = np.concatenate([curvature * self.low - q, curvature * self.high - q], axis=-1)
        breaks = np.sort(ends / np.concatenate([slope, slope], axis=-1), axis=-1)

        def at(index: Array) -> tuple[Array, Array]:
            t = np.take_along_axis(breaks, index[..., None], axis=-1)
            x = np.minimum(np.maximum((q + t * u) / curvature, self.low), self.high)
            return x, dot(x, u)

        left = np.zeros(s.shape, dtype=np.int64)
        right = np.full(s.shape, breaks.shape[-1] - 1)
        for _ in range(int(breaks.shape[-1] - 1).bit_length()):
            middle = (left + right) // 2
            below = at(middle)[1] <= s
            left, right = np.where(below, middle, left), np.where(below, right, middle)
        (x0, s0), (x1, s1) = at(left), at(right)
        width = s1 - s0
        share = np.clip((s - s0) / np.where(width > 0, width, 1.0), 0.0, 1.0)
        return self.project(x0 + share[..., None] * (x1 - x0))


@dataclass(frozen=True, eq=False)
class Ball:
    """The ball of a radius around a centre (B, d), one for each run."""

    centre: Array
    radius: float

    def project(self, x: Array) -> Array:
        """Nearest point: x (B, C, d) -> (B, C, d)."""
        return onto_ball_around(x, self.centre[:, None], self.radius)

    def support(self, u: Array) -> Array:
        """Furthest point in a direction: u (B, C, d) -> (B, C, d)."""
        return self.centre[:, None] + self.radius * u / np.maximum(norm(u), TINY)[..., None]

    def points(self, n: int) -> Array:
        """Random points, the same offsets in every call: (B, n, d)."""
        return self.centre[:, None] + self.radius * _ball_points(n, self.centre.shape[-1])

    def slice(self, u: Array, s: Array, q: Array, alpha: Array) -> Array:
        """Minimise alpha ||x||^2 - 2 <q, x> over the ball and the hyperplane; see ``Box.slice``.

        The free optimum q / alpha is projected on their intersection, a ball within the hyperplane.
        """
        length = np.maximum(norm(u), TINY)
        unit = (u / length[:, None])[:, None]
        along = (s - dot(u, self.centre)[:, None]) / length[:, None]
        offset = q / alpha[..., None] - self.centre[:, None]
        across = offset - dot(offset, unit)[..., None] * unit
        room = np.sqrt(np.maximum(self.radius**2 - along**2, 0.0))
        shrink = np.minimum(1.0, room / np.maximum(norm(across), TINY))
        return self.centre[:, None] + along[..., None] * unit + shrink[..., None] * across


@functools.lru_cache(maxsize=64)
def _uniform_points(n: int, d: int) -> Array:
    return np.random.default_rng(0).random((1, n, d))


@functools.lru_cache(maxsize=64)
def _ball_points(n: int, d: int) -> Array:
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((1, n, d))
    return directions / norm(directions)[..., None] * rng.random((1, n, 1)) ** (1.0 / d)
