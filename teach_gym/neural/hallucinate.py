"""Greedy data hallucination for a linear softmax head (DHT Eq. 9): its target, its objective, the taught features.

Batched over the mini-batch and over any leading axes (several runs at once). Shapes: features x (..., n, d), labels y
(..., n, K), the head's weight (..., K, d) and bias (..., K) or None.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from teach_gym.core.backend import dot
from teach_gym.core.outputs import SOFTMAX
from teach_gym.neural.regions import NEIGHBOURHOODS, length
from teach_gym.neural.teaching import Teaching


class Head(NamedTuple):
    """The parameters of a linear head: weight (..., K, d), bias (..., K) or None."""

    weight: Tensor
    bias: Tensor | None = None

    def logits(self, x: Tensor) -> Tensor:
        """Logits: x (..., n, d) -> (..., n, K)."""
        z = x @ self.weight.mT
        return z if self.bias is None else z + self.bias[..., None, :]


def estimate_target(x: Tensor, y: Tensor, head: Head, steps: int, rate: float) -> tuple[Head, Tensor]:
    """Estimate w* by gradient steps on the head with the encoder fixed (Algorithm 1, lines 3 to 5).

    Args:
        x: (..., n, d) features.
        y: (..., n, K) labels.
        head: the initial head.
        steps: number of steps n_w.
        rate: step size.

    Returns:
        The head after the steps, and the sum of the steps' gradients with respect to x (..., n, d).
    """
    n = x.shape[-2]
    weight, bias, back = head.weight, head.bias, torch.zeros_like(x)
    for _ in range(steps):
        residual = SOFTMAX.residual(Head(weight, bias).logits(x), y) / n
        back = back + residual @ weight
        weight = weight - rate * (residual.mT @ x)
        bias = None if bias is None else bias - rate * residual.sum(-2)
    return Head(weight, bias), back


def objective(x: Tensor, y: Tensor, head: Head, target: Head, rate: float, kind: str = "sample") -> Tensor:
    """DHT Eq. 9 for a linear head with softmax: eta^2 ||g||^2 - 2 eta <w - w*, g>.

    Args:
        x: (..., n, d) features.
        y: (..., n, K) labels.
        head: w.
        target: w*.
        rate: eta.
        kind: ``sample`` (g is the gradient of one example) or ``batch`` (the mean over the n examples).

    Returns:
        (..., n) for ``sample``, (...) for ``batch``.
    """
    r = SOFTMAX.residual(head.logits(x), y)
    gap = _gap(head, target)
    if kind == "sample":
        squared = dot(x, x) + (head.bias is not None)
        return rate**2 * squared * dot(r, r) - 2.0 * rate * dot(gap.logits(x), r)
    mean = _mean_gradient(x, r, head)
    pull = rate * mean.weight - 2.0 * gap.weight
    value = rate * (pull * mean.weight).sum((-2, -1))
    if mean.bias is not None and gap.bias is not None:
        value = value + rate * dot(rate * mean.bias - 2.0 * gap.bias, mean.bias)
    return value


def feature_gradient(x: Tensor, y: Tensor, head: Head, target: Head, rate: float, kind: str = "sample") -> Tensor:
    """The gradient of ``objective`` (summed over its entries) with respect to the features: (..., n, d).

    With the residual r = p - y, its slope J = diag(p) - p p^T and M = eta g - (w - w*), a matrix (K, d):
    df/dx = 2 eta (M^T r + w^T J M x), where g = r x^T for each sample or its mean (then divided by n, too).
    """
    r = SOFTMAX.residual(head.logits(x), y)
    gap = _gap(head, target)
    if kind == "sample":
        squared = length(x) ** 2 + (head.bias is not None)
        mx = rate * squared * r - gap.logits(x)
        mr = torch.addcmul(-r @ gap.weight, x, rate * dot(r, r)[..., None])
        scale = 2.0 * rate
    else:
        mean = _mean_gradient(x, r, head)
        bias = None if mean.bias is None or gap.bias is None else rate * mean.bias - gap.bias
        matrix = Head(rate * mean.weight - gap.weight, bias)
        mx, mr = matrix.logits(x), r @ matrix.weight
        scale = 2.0 * rate / x.shape[-2]
    p = r + y  # the prediction times the label's sum
    slope = p * (mx - (dot(p, mx) / y.sum(-1))[..., None])
    return (mr + slope @ head.weight).mul_(scale)


def unrolled_gradient(x: Tensor, y: Tensor, head: Head, target: Head, rate: float, steps: int) -> Tensor:
    """The gradient of ||w^v - w*||^2 with respect to features that the head takes v steps on: (..., n, d).

    Args:
        x: (..., n, d) features.
        y: (..., n, K) labels.
        head: w, where the steps start.
        target: w*.
        rate: eta.
        steps: v.
    """
    with torch.enable_grad():
        shown = x.detach().requires_grad_()
        gap = _gap(estimate_target(shown, y, head, steps, rate)[0], target)
        distance = torch.stack([(part**2).sum() for part in gap if part is not None]).sum()
        (found,) = torch.autograd.grad(distance, shown)
    return found


def teach_features(x: Tensor, y: Tensor, head: Head, target: Head, rate: float, teaching: Teaching) -> Tensor:
    """Move each feature by normalised gradient steps on Eq. 9 inside its neighbourhood (Algorithm 1, line 6).

    Args:
        x: (..., n, d) features.
        y: (..., n, K) labels.
        head: w.
        target: w*.
        rate: eta.
        teaching: steps, objective and neighbourhood.

    Returns:
        The taught features, (..., n, d); a feature of norm zero stays.
    """
    round_region = NEIGHBOURHOODS[teaching.neighbourhood].round and teaching.objective == "sample"
    fewer = 2 * head.weight.shape[-2] + 1
    if round_region and fewer < x.shape[-1] and x.device.type == "cpu":  # on a GPU the number of operations matters
        return _walk_in_coordinates(x, y, head, target, rate, teaching)
    return _walk(x, y, head, target, rate, teaching)


def _walk(x: Tensor, y: Tensor, head: Head, target: Head, rate: float, teaching: Teaching) -> Tensor:
    """The feature steps of ``teach_features``."""
    region, size = NEIGHBOURHOODS[teaching.neighbourhood], length(x)
    u = centre = x / size
    step = teaching.feature_step or 2.5 * teaching.epsilon / teaching.feature_steps
    for _ in range(teaching.feature_steps):
        if teaching.objective == "unrolled":
            gradient = unrolled_gradient(size * u, y, head, target, rate, teaching.unroll_steps)
        else:
            gradient = feature_gradient(size * u, y, head, target, rate, teaching.objective)
        u = region.move(u, gradient, step, centre, teaching.epsilon)
    return size * u


def _walk_in_coordinates(x: Tensor, y: Tensor, head: Head, target: Head, rate: float, teaching: Teaching) -> Tensor:
    """``_walk`` in 2 K + 1 coordinates of each feature instead of d.

    Eq. 9 of one example depends on it through its norm and its products with the rows of w and of w - w*, and a round
    neighbourhood through its norm and its product with the centre. So the walk stays in the span of those rows and of
    the feature, and all formulas hold unchanged in coordinates of an orthonormal basis of this span.
    """
    gap = _gap(head, target)
    basis = torch.linalg.qr(torch.cat([head.weight, gap.weight], dim=-2).mT).Q  # (..., d, 2 K)
    along = x @ basis
    across = x - along @ basis.mT
    height = length(across)
    there = _last_zero(head.weight @ basis)
    goal = there - _last_zero(gap.weight @ basis)
    start = torch.cat([along, height], dim=-1)
    moved = _walk(start, y, Head(there, head.bias), Head(goal, target.bias), rate, teaching)
    return torch.addcmul(moved[..., :-1] @ basis.mT, moved[..., -1:] / height, across)


def _last_zero(weight: Tensor) -> Tensor:
    return torch.nn.functional.pad(weight, (0, 1))


@lru_cache(maxsize=1)
def compiled_teach_features() -> Callable[..., Tensor]:
    """``teach_features`` in all d entries, compiled by torch once per process."""
    made: Callable[..., Tensor] = torch.compile(_walk, dynamic=False)
    return made


def _gap(head: Head, target: Head) -> Head:
    """W - w*."""
    bias = None if head.bias is None or target.bias is None else head.bias - target.bias
    return Head(head.weight - target.weight, bias)


def _mean_gradient(x: Tensor, r: Tensor, head: Head) -> Head:
    """The head's gradient on the mini-batch with residuals r (..., n, K)."""
    return Head(r.mT @ x / x.shape[-2], None if head.bias is None else r.mean(-2))
