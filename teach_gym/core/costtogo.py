"""Cost-to-go of a linear system with quadratic cost at the end and random input vectors, by dynamic programming.

Each step draws a mini-batch X (m, d) of input vectors, which are seen before the inputs u (m, K) are chosen, and moves
K independent states z_j in R^d:

    z_j' = z_j + X^T u_j.

Inputs cost nothing. The least expected cost sum_j ||z_j||^2 at the end is, with k steps to go, sum_j z_j^T P_k z_j with

    P_0 = I,    P_{k+1} = P_k - E[P_k X^T (X P_k X^T)^+ X P_k],    u_j = -(X P_k X^T)^+ X P_k z_j,

where k steps remain after the one with u_j. For one row x a step this is P_k - E[P_k x x^T P_k / (x^T P_k x)].
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MOST_BYTES = 2**27
"""Up to this size all forms of a ``CostToGo`` are kept, beyond it every sqrt(H)-th; the others are made again."""
_RIDGE = 1e-13
_MOST_DAMPING = 1.0 - 1e-9
"""So that forms stay positive where a step can bring all of the state to zero."""


class Form(NamedTuple):
    """A cost-to-go, exp(log_scale) (sum_j z_j^T matrix z_j + 2 linear_j^T z_j + constant).

    The scale is apart because a cost may shrink beyond the range of floating-point numbers while its shape, which
    decides what is done, does not.

    Attributes:
        matrix: (..., d, d), with a trace of d.
        linear: (..., K, d), zero in closed form.
        constant: (...), zero in closed form.
        log_scale: (...).
    """

    matrix: Floats
    linear: Floats
    constant: Floats
    log_scale: Floats

    def shape_at(self, z: Floats) -> Floats:
        """The cost of states z (..., K, d) without scale and constant, which do not depend on the states: (...)."""
        flat = z.reshape(-1, z.shape[-1])
        product = (flat @ self.matrix).reshape(z.shape) + 2.0 * self.linear
        return np.einsum("...kd,...kd->...", product, z)

    def at(self, z: Floats) -> Floats:
        """The cost of states z (..., K, d): (...), never below zero."""
        return np.exp(self.log_scale) * np.maximum(self.shape_at(z) + self.constant, 0.0)


def terminal(k: int, d: int) -> Form:
    """The cost at the end, the squared length of K states in d dimensions."""
    return Form(np.eye(d), np.zeros((k, d)), np.zeros(()), np.zeros(()))


class Reach(NamedTuple):
    """What the inputs of mini-batches (..., N, m, d) can change of a form.

    Attributes:
        response: (..., N, m, d), X P.
        linear: (..., N, m, K), X q.
        gram: (..., N, m, m), X P X^T, with a ridge far below its size: rows that are zero, repeated or cannot change
            the cost get inputs of zero.
    """

    response: Floats
    linear: Floats
    gram: Floats


def reach(rows: Floats, form: Form) -> Reach:
    """What the inputs of mini-batches (..., N, m, d) can change of a form."""
    flat = rows.reshape(*rows.shape[:-3], -1, rows.shape[-1])  # all mini-batches in one matrix product
    response = (flat @ form.matrix).reshape(rows.shape)
    linear = (flat @ np.swapaxes(form.linear, -1, -2)).reshape(*rows.shape[:-1], -1)
    return Reach(response, linear, grams(rows, response, form.matrix))


def grams(rows: Floats, response: Floats, matrix: Floats) -> Floats:
    """X P X^T with the ridge of ``Reach`` from X, X P (..., N, m, d) and P (..., d, d): (..., N, m, m)."""
    m, d = rows.shape[-2:]
    trace = np.trace(matrix, axis1=-2, axis2=-1)[..., None] / d
    ridge = _RIDGE * trace * np.einsum("...md,...md->...", rows, rows) + 1e-300
    if m == 1:
        return (np.einsum("...md,...md->...", response, rows) + ridge)[..., None, None]
    return response @ np.swapaxes(rows, -1, -2) + ridge[..., None, None] * np.eye(m)


def backward(rows: Floats, after: Form, damping: float = 1.0) -> Form:
    """The cost-to-go one step earlier, with the gain from the best inputs damped: P_k - s E[...].

    Args:
        rows: (..., N, m, d) mini-batches, each as likely as the others.
        after: the cost-to-go after the step.
        damping: s in [0, 1], the share of what the best inputs gain that is counted on.
    """
    if not damping:
        return after
    (n, _, d), k = rows.shape[-3:], after.linear.shape[-2]
    found = reach(rows, after)
    wide = np.concatenate([found.response, found.linear], axis=-1)  # (..., N, m, d + K)
    flat = (*rows.shape[:-3], -1, d + k)
    solved = np.linalg.solve(found.gram, wide).reshape(flat)
    gain = np.swapaxes(wide.reshape(flat), -1, -2) @ solved * (min(damping, _MOST_DAMPING) / n)
    matrix = after.matrix - gain[..., :d, :d]
    linear = after.linear - gain[..., d:, :d]
    constant = after.constant - np.trace(gain[..., d:, d:], axis1=-2, axis2=-1)
    share = np.trace(matrix, axis1=-2, axis2=-1) / d
    matrix = (matrix + np.swapaxes(matrix, -1, -2)) / (2.0 * share)[..., None, None]
    return Form(matrix, linear / share[..., None, None], constant / share, after.log_scale + np.log(share))


class CostToGo:
    """The forms with k = 0 .. H steps to go, made when they are first asked for.

    Args:
        rows: (N, m, d) mini-batches.
        scales: (H, d), what the rows are multiplied by for the step after which k steps remain.
        outputs: number of states K.
        damping: see ``backward``.
    """

    def __init__(self, rows: Floats, scales: Floats, outputs: int, damping: float = 1.0) -> None:
        self.rows, self.scales, self.damping = rows, scales, damping
        form = terminal(outputs, rows.shape[-1])
        self.horizon = len(scales)
        fits = (self.horizon + 1) * form.matrix.nbytes <= MOST_BYTES
        self._stride = 1 if fits else math.isqrt(self.horizon) + 1
        self._marks: list[Form] = [form]
        self._block, self._between = 0, list[Form]()

    def __getitem__(self, k: int) -> Form:
        """The cost-to-go with k steps to go.

        Raises:
            IndexError: k is not in 0 .. H.
        """
        if not 0 <= k <= self.horizon:
            raise IndexError(f"steps to go must lie in 0..{self.horizon}, got {k}")
        block, place = divmod(k, self._stride)
        while len(self._marks) <= block:
            first, form = (len(self._marks) - 1) * self._stride, self._marks[-1]
            for i in range(first, first + self._stride):
                form = self.before(i, form)
            self._marks.append(form)
        if place == 0:
            return self._marks[block]
        if self._block != block:
            self._block, self._between = block, []
        while len(self._between) < place:
            last = self._between[-1] if self._between else self._marks[block]
            self._between.append(self.before(block * self._stride + len(self._between), last))
        return self._between[place - 1]

    def before(self, k: int, after: Form, damping: float | None = None) -> Form:
        """The form with k + 1 steps to go from that with k."""
        return backward(self.rows * self.scales[k], after, self.damping if damping is None else damping)
