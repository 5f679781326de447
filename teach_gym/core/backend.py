"""The few places where numpy and torch differ, and the array primitives the rest is written with.

Every formula of the package is written once, over arrays with leading batch axes; the arrays decide
the backend. Numpy arrays of many teaching runs are laid out with the batch axis fastest in memory
("structure of arrays": shape ``(B, d)``, strides of a transposed ``(d, B)``), which makes numpy's inner
loops run over the batch. Nothing depends on that layout but speed.
"""

from __future__ import annotations

import dataclasses
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from array_api_compat import array_namespace, device

Array = Any
"""A numpy array or a torch tensor; shapes are given in the docstrings."""

_EINSUM_ROWS = 32
"""Up to this many rows per run, numpy's einsum beats its batched matmul (measured)."""

T = TypeVar("T")


def namespace(array: Array) -> ModuleType:
    """Return the array-API namespace of ``array``, at no cost for numpy.

    Raises:
        TypeError: ``array`` is neither a numpy array nor a torch tensor.
    """
    if type(array) is np.ndarray or isinstance(array, np.generic):
        return np
    found: ModuleType = array_namespace(array)
    return found


def matmul(x: Array, weights: Array) -> Array:
    """Rows times weights: x (..., m, d), weights (..., d, K) -> (..., m, K).

    ``x`` may be one table (m, d) shared by a batch of weights (B, d, K): one matrix product then.
    """
    xp = namespace(x)
    if x.ndim == 2 and weights.ndim == 3:
        b, d, k = weights.shape
        columns = xp.permute_dims(weights, (0, 2, 1)).reshape((b * k, d))
        return xp.permute_dims((columns @ x.T).reshape((b, k, len(x))), (0, 2, 1))
    if xp is np and x.shape[-2] <= _EINSUM_ROWS:
        return np.einsum("...md,...dk->...mk", x, weights)
    return xp.matmul(x, weights)


def outer_sum(x: Array, residual: Array) -> Array:
    """Sum over rows of x r^T: x (..., m, d), residual (..., m, K) -> (..., d, K)."""
    if x.shape[-2] == 1:
        return x[..., 0, :, None] * residual
    xp = namespace(x)
    if xp is np and x.shape[-2] <= _EINSUM_ROWS:
        return np.einsum("...md,...mk->...dk", x, residual)
    return xp.matmul(xp.matrix_transpose(x), residual)


def dot(a: Array, b: Array) -> Array:
    """Inner product over the last axis: (..., P), (..., P) -> (...)."""
    if type(a) is np.ndarray:
        return np.einsum("...p,...p->...", a, b)
    return namespace(a).sum(a * b, axis=-1)


def norm(a: Array) -> Array:
    """Euclidean norm over the last axis: (..., P) -> (...)."""
    if type(a) is np.ndarray:
        return np.sqrt(np.einsum("...p,...p->...", a, a))
    return namespace(a).sqrt(dot(a, a))


def descend(w: Array, rate: float | Array, direction: Array) -> Array:
    """Move from w: w - rate * direction, (..., P); with numpy in one fresh array instead of two."""
    if namespace(w) is not np or direction.ndim < w.ndim:
        return w - rate * direction
    move = rate * direction
    return np.subtract(w, move, out=move)


def combine(weights: Array, sources: Array) -> Array:
    """Weighted sum over sources: weights (..., M), sources (..., M, m, c) -> (..., m, c)."""
    xp = namespace(weights)
    if xp is np:
        return np.einsum("...s,...smc->...mc", weights, sources)
    return xp.sum(weights[..., None, None] * sources, axis=-3)


def sigmoid(z: Array) -> Array:
    """Logistic function, without overflow: (...) -> (...) in [0, 1]."""
    p = namespace(z).tanh(0.5 * z)
    if type(p) is np.ndarray:
        p *= 0.5
        p += 0.5
        return p
    return 0.5 * p + 0.5


def softplus(z: Array) -> Array:
    """log(1 + exp(z)) without overflow: (...) -> (...)."""
    xp = namespace(z)
    return xp.maximum(z, xp.zeros_like(z)) + xp.log1p(xp.exp(-xp.abs(z)))


def logsumexp(z: Array) -> Array:
    """Log sum exp over the last axis, kept as an axis of size one: (..., K) -> (..., 1)."""
    xp = namespace(z)
    top = xp.max(z, axis=-1, keepdims=True)
    return top + xp.log(xp.sum(xp.exp(z - top), axis=-1, keepdims=True))


def softmax(z: Array) -> Array:
    """Softmax over the last axis: (..., K) -> (..., K) on the probability simplex."""
    xp = namespace(z)
    e = xp.exp(z - xp.max(z, axis=-1, keepdims=True))
    return e / xp.sum(e, axis=-1, keepdims=True)


def gather(table: Array, rows: Array) -> Array:
    """Rows of a table: table (N, c), rows (B, ...) integers -> (B, ..., c), batch axis fastest in numpy."""
    if namespace(table) is np:
        return table.T.take(rows.T, axis=1).T
    return table[rows]


def at_step(schedule: Array, t: Array) -> Array:
    """Each run's rows at its own step, the last ones past the end: schedule (B, H, M, m), t (B,) -> (B, M, m)."""
    last = schedule.shape[1] - 1
    if type(t) is np.ndarray:
        first = t[0]
        if not np.count_nonzero(t != first):  # all runs at the same step, the usual case: a view
            return schedule[:, min(first, last)]
    xp = namespace(t)
    return schedule[xp.arange(len(t), device=device(t)), xp.clip(t, 0, last)]


def lookup(candidates: Array, index: Array) -> Array:
    """Entries of a table along its first axis: candidates (A, ...), index (B,) -> (B, ...)."""
    if namespace(candidates) is np:
        return candidates.T.take(index, axis=-1).T
    return candidates[index]


def to_torch(part: T, device: str = "cpu", dtype: Any = None) -> T:
    """Copy a task, a state or any nest of dataclasses, tuples and arrays to torch.

    Args:
        part: what to copy; values that hold no array are returned as they are.
        device: a torch device.
        dtype: the floating type (default: that of the arrays).
    """
    import torch

    def walk(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in "fiub":
                return value
            tensor = torch.tensor(np.array(value, order="C"), device=device)
            return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor
        if isinstance(value, tuple):
            items = [walk(v) for v in value]
            return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            changes = {f.name: walk(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
            return dataclasses.replace(value, **changes)
        return value

    return walk(part)  # type: ignore[no-any-return]
