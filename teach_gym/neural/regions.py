"""Neighbourhoods in which a performative teacher may move a feature: sets around a direction, to project on and sample.

Features are measured in units of their own norm: the centre is c = x / ||x||, the taught feature ||x|| u. Shapes:
``centre``, ``u`` (..., n, d), any leading axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from teach_gym.core.backend import dot
from teach_gym.core.projections import onto_ball_around, onto_interval

TINY = 1e-30
_GRID = 4097


class Neighbourhood(NamedTuple):
    """A set of points around each centre.

    Attributes:
        move: (u, gradient, length, centre, epsilon) -> a step of that length down the normalised gradient from u, a
            point of the set, back to the nearest point of the set.
        sample: (centre, epsilon, generators) -> a point drawn uniformly from the set.
        largest: the largest epsilon allowed.
        round: whether the set depends on u only through its norm and its product with the centre.
    """

    move: Callable[[Tensor, Tensor, float, Tensor, float], Tensor]
    sample: Callable[[Tensor, float, Sequence[Any] | None], Tensor]
    largest: float
    round: bool


def length(v: Tensor) -> Tensor:
    """Norm over the last axis, kept as an axis of size one, never zero: (..., d) -> (..., 1)."""
    return torch.linalg.vector_norm(v, dim=-1, keepdim=True).clamp_min_(TINY)


def onto_cap(v: Tensor, centre: Tensor, epsilon: float) -> Tensor:
    """Nearest point of the spherical cap {||u|| = 1, ||u - centre|| <= epsilon} (constraint of DHT Eq. 9).

    In the plane of v and the centre: the angle is kept, or set to that of the chord epsilon.
    """
    along = dot(v, centre)[..., None]
    across = torch.addcmul(v, centre, along, value=-1.0)
    off = length(across)
    angle = torch.atan2(off, along).clamp_max_(2.0 * math.asin(0.5 * epsilon))
    return torch.addcmul(angle.cos() * centre, across, angle.sin_().div_(off))


def _along_sphere(u: Tensor, gradient: Tensor, step: float, centre: Tensor, epsilon: float) -> Tensor:
    """A step down the gradient's part in the tangent plane at u, back to the cap."""
    tangent = torch.addcmul(gradient, u, dot(gradient, u)[..., None], value=-1.0)
    return onto_cap(torch.addcmul(u, tangent, step / length(tangent), value=-1.0), centre, epsilon)


def _draw(like: Tensor, generators: Sequence[Any] | None, *, normal: bool, last: int | None = None) -> Tensor:
    """Random numbers of shape (..., n, d), or (..., n, last): one generator per entry of the leading axis."""
    shape = like.shape if last is None else (*like.shape[:-1], last)
    maker = torch.randn if normal else torch.rand
    draw = partial(maker, device=like.device, dtype=like.dtype)
    if generators is None or len(generators) == 1:
        return draw(shape, generator=None if generators is None else generators[0])
    return torch.stack([draw(shape[1:], generator=generator) for generator in generators])


@lru_cache(maxsize=16)
def _sine_factors(d: int, epsilon: float) -> Any:
    """The quantiles of the sine of the angle to the centre of a uniform point on the cap, over sin(max) v^(1/(d-1)).

    The sine s has density s^(d-2) / sqrt(1 - s^2) up to its largest value. In v = (s / largest)^(d-1) the density is
    1 / sqrt(1 - largest^2 v^(2/(d-1))), nearly flat, so that its distribution function is easily inverted.
    """
    largest = math.sqrt(1.0 - (1.0 - 0.5 * epsilon**2) ** 2)
    v = np.linspace(0.0, 1.0, _GRID)
    density = 1.0 / np.sqrt(1.0 - largest**2 * v ** (2.0 / (d - 1)))
    total = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
    return largest, np.interp(v, total / total[-1], v)


def _on_cap(centre: Tensor, epsilon: float, generators: Sequence[Any] | None) -> Tensor:
    """A uniform point on the spherical cap."""
    d = centre.shape[-1]
    largest, quantiles = _sine_factors(d, epsilon)
    table = torch.as_tensor(quantiles, dtype=centre.dtype, device=centre.device)
    place = _draw(centre, generators, normal=False, last=1) * (_GRID - 1)
    below = place.floor().clamp_max(_GRID - 2)
    low, high = table[below.long()], table[below.long() + 1]
    sine = largest * (low + (place - below) * (high - low)) ** (1.0 / (d - 1))
    noise = _draw(centre, generators, normal=True)
    across = noise - dot(noise, centre)[..., None] * centre
    return (1.0 - sine**2).sqrt() * centre + sine / length(across) * across


def _in_ball(centre: Tensor, epsilon: float, generators: Sequence[Any] | None) -> Tensor:
    """A uniform point in the Euclidean ball."""
    radius = _draw(centre, generators, normal=False, last=1) ** (1.0 / centre.shape[-1])
    noise = _draw(centre, generators, normal=True)
    return centre + epsilon * radius / length(noise) * noise


def _in_ball_move(u: Tensor, gradient: Tensor, step: float, centre: Tensor, epsilon: float) -> Tensor:
    return onto_ball_around(u - step / length(gradient) * gradient, centre, epsilon)


def _in_box_move(u: Tensor, gradient: Tensor, step: float, centre: Tensor, epsilon: float) -> Tensor:
    half = epsilon / math.sqrt(centre.shape[-1])
    return onto_interval(u - step / length(gradient) * gradient, centre - half, centre + half)


def _in_box(centre: Tensor, epsilon: float, generators: Sequence[Any] | None) -> Tensor:
    """A uniform point in the box."""
    half = epsilon / math.sqrt(centre.shape[-1])
    return centre + half * (2.0 * _draw(centre, generators, normal=False) - 1.0)


NEIGHBOURHOODS = {
    "sphere": Neighbourhood(_along_sphere, _on_cap, 1.0, True),
    "l2": Neighbourhood(_in_ball_move, _in_ball, 10.0, True),
    "linf": Neighbourhood(_in_box_move, _in_box, 10.0, False),
}
"""``sphere``: the same norm, directions at most epsilon apart (the paper's); ``l2``: ||x' - x|| <= epsilon ||x||;
``linf``: |x'_j - x_j| <= epsilon ||x|| / sqrt(d)."""
