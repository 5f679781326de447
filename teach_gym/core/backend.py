"""The few places where numpy and torch differ, and the array primitives the rest is written with.

Every formula of the package is written once, over arrays with leading batch axes; the arrays decide
the backend. Numpy arrays of many teaching runs are laid out with the batch axis fastest in memory
("structure of arrays": shape ``(B, d)``, strides of a transposed ``(d, B)``), which makes numpy's inner
loops run over the batch. Nothing depends on that layout but speed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, cast

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace, device

if TYPE_CHECKING:
    import torch

Array: TypeAlias = npt.NDArray[Any]
"""A numpy array; shapes are given in the docstrings. What tasks and states hold: in torch code, see ``as_tensor``."""

A = TypeVar("A", npt.NDArray[Any], "torch.Tensor")
"""An array of either library: shared functions map numpy arrays to numpy arrays and tensors to tensors."""

_EINSUM_ROWS = 32
"""Up to this many rows per run, numpy's einsum beats its batched matmul (measured)."""

T = TypeVar("T")


class Namespace(Protocol[A]):
    """The functions of the array API that shared code uses, the same in numpy and in array_api_compat's torch."""

    int64: Any

    def abs(self, x: A, /) -> A: ...
    def all(self, x: A, /) -> A: ...
    def arange(self, stop: int, /, *, device: Any = ...) -> A: ...
    def argmax(self, x: A, /, *, axis: int, keepdims: bool = ...) -> A: ...
    def asarray(self, x: A | float, /, *, dtype: Any = ..., copy: bool = ...) -> A: ...
    def astype(self, x: A, dtype: Any, /) -> A: ...
    def broadcast_to(self, x: A, /, shape: tuple[int, ...]) -> A: ...
    def clip(self, x: A, /, min: float | None, max: float | None) -> A: ...
    def concat(self, arrays: Sequence[A], /, *, axis: int = ...) -> A: ...
    def cos(self, x: A, /) -> A: ...
    def cumulative_sum(self, x: A, /, *, axis: int) -> A: ...
    def exp(self, x: A, /) -> A: ...
    def eye(self, n: int, /, *, dtype: Any, device: Any) -> A: ...
    def fmin(self, x1: A, x2: A, /) -> A: ...
    def flip(self, x: A, /, *, axis: int) -> A: ...
    def full_like(self, x: A, /, fill_value: float) -> A: ...
    def isfinite(self, x: A, /) -> A: ...
    def log(self, x: A, /) -> A: ...
    def log1p(self, x: A, /) -> A: ...
    def matmul(self, x1: A, x2: A, /) -> A: ...
    def matrix_transpose(self, x: A, /) -> A: ...
    def max(self, x: A, /, *, axis: int, keepdims: bool = ...) -> A: ...
    def maximum(self, x1: A, x2: A, /) -> A: ...
    def mean(self, x: A, /, *, axis: int) -> A: ...
    def minimum(self, x1: A, x2: A, /) -> A: ...
    def ones_like(self, x: A, /) -> A: ...
    def permute_dims(self, x: A, /, axes: tuple[int, ...]) -> A: ...
    def sin(self, x: A, /) -> A: ...
    def sort(self, x: A, /, *, axis: int) -> A: ...
    def sqrt(self, x: A, /) -> A: ...
    def stack(self, arrays: Sequence[A], /, *, axis: int = ...) -> A: ...
    def sum(self, x: A, /, *, axis: int, keepdims: bool = ...) -> A: ...
    def take_along_axis(self, x: A, indices: A, /, *, axis: int) -> A: ...
    def tanh(self, x: A, /) -> A: ...
    def where(self, condition: A, x1: A | float, x2: A | float, /) -> A: ...
    def zeros_like(self, x: A, /) -> A: ...


def namespace(array: A) -> Namespace[A]:
    """Return the array-API namespace of ``array``, at no cost for numpy.

    Raises:
        TypeError: ``array`` is neither a numpy array nor a torch tensor.
    """
    found: Any = np if type(array) is np.ndarray or isinstance(array, np.generic) else array_namespace(array)
    return found


def as_tensor(array: Array) -> torch.Tensor:
    """Type an array of a task or state copied to torch (``to_torch``) as the tensor that it is."""
    return cast("torch.Tensor", array)


def as_array(tensor: torch.Tensor) -> Array:
    """Type a tensor as tasks and states hold it; the inverse of ``as_tensor``."""
    return cast("Array", tensor)


class _Einsum(Protocol):
    def __call__(self, subscripts: str, /, *operands: A) -> A: ...


_einsum = cast(_Einsum, np.einsum)


def matmul(x: A, weights: A) -> A:
    """Rows times weights: x (..., m, d), weights (..., d, K) -> (..., m, K).

    ``x`` may be one table (m, d) shared by a batch of weights (B, d, K); this is then one matrix product.
    """
    if x.ndim == 2 and weights.ndim == 3:
        xp = namespace(x)
        b, d, k = weights.shape
        if k > 1 and type(x) is np.ndarray and weights.strides[0] <= weights.strides[-1]:  # stays so
            return (x @ weights.transpose(1, 2, 0).reshape(d, k * b)).reshape(len(x), k, b).transpose(2, 0, 1)
        columns = xp.permute_dims(weights, (0, 2, 1)).reshape((b * k, d))
        return xp.permute_dims((columns @ x.T).reshape((b, k, len(x))), (0, 2, 1))
    if type(x) is np.ndarray and x.shape[-2] <= _EINSUM_ROWS:
        return _einsum("...md,...dk->...mk", x, weights)
    return namespace(x).matmul(x, weights)


def outer_sum(x: A, residual: A) -> A:
    """Sum over rows of x r^T: x (..., m, d), residual (..., m, K) -> (..., d, K)."""
    if x.shape[-2] == 1:
        return x[..., 0, :, None] * residual
    if type(x) is np.ndarray and x.shape[-2] <= _EINSUM_ROWS:
        return _einsum("...md,...mk->...dk", x, residual)
    xp = namespace(x)
    return xp.matmul(xp.matrix_transpose(x), residual)


def dot(a: A, b: A) -> A:
    """Inner product over the last axis: (..., P), (..., P) -> (...)."""
    if type(a) is np.ndarray:
        return _einsum("...p,...p->...", a, b)
    return namespace(a).sum(a * b, axis=-1)


def norm(a: A) -> A:
    """Euclidean norm over the last axis: (..., P) -> (...)."""
    squared = dot(a, a)
    xp: Any = np if type(a) is np.ndarray else namespace(a)
    return xp.sqrt(squared)


def descend(w: A, rate: float | A, direction: A) -> A:
    """Move from w: w - rate * direction, (..., P); with numpy in one fresh array instead of two."""
    move: Any = rate * direction
    return np.subtract(w, move, out=move) if type(w) is np.ndarray and direction.ndim >= w.ndim else w - move


def combine(weights: A, sources: A) -> A:
    """Weighted sum over sources: weights (..., M), sources (..., M, m, c) -> (..., m, c)."""
    if type(weights) is np.ndarray:
        return _einsum("...s,...smc->...mc", weights, sources)
    return namespace(weights).sum(weights[..., None, None] * sources, axis=-3)


def sigmoid(z: A) -> A:
    """Logistic function, without overflow: (...) -> (...) in [0, 1]."""
    p = namespace(z).tanh(0.5 * z)
    if type(p) is np.ndarray:
        p *= 0.5
        p += 0.5
        return p
    return 0.5 * p + 0.5


def softplus(z: A) -> A:
    """log(1 + exp(z)) without overflow: (...) -> (...)."""
    xp = namespace(z)
    return xp.maximum(z, xp.zeros_like(z)) + xp.log1p(xp.exp(-xp.abs(z)))


def _exp(z: A) -> A:
    """Exponentials of a fresh array, with numpy in its place: making large arrays costs more than the exponentials."""
    if type(z) is np.ndarray:
        return np.exp(z, out=z)
    return namespace(z).exp(z)


def logsumexp(z: A) -> A:
    """Log sum exp over the last axis, kept as an axis of size one: (..., K) -> (..., 1)."""
    xp = namespace(z)
    top = xp.max(z, axis=-1, keepdims=True)
    return top + xp.log(xp.sum(_exp(z - top), axis=-1, keepdims=True))


def softmax(z: A) -> A:
    """Softmax over the last axis: (..., K) -> (..., K) on the probability simplex."""
    xp = namespace(z)
    e = _exp(z - xp.max(z, axis=-1, keepdims=True))
    return e / xp.sum(e, axis=-1, keepdims=True)


def gather(table: A, rows: A) -> A:
    """Rows of a table: table (N, c), rows (B, ...) integers -> (B, ..., c), batch axis fastest in numpy."""
    fast: Any = table
    return fast.T.take(rows.T, axis=1).T if type(table) is np.ndarray else fast[rows]


def at_step(schedule: A, t: A) -> A:
    """Each run's rows at its own step, the last ones past the end: schedule (B, H, M, m), t (B,) -> (B, M, m)."""
    last = schedule.shape[1] - 1
    if type(t) is np.ndarray:
        first = t[0]
        if not np.count_nonzero(t != first):  # all runs at the same step, the usual case: a view
            return schedule[:, min(first, last)]
    xp = namespace(t)
    return schedule[xp.arange(len(t), device=device(t)), xp.clip(t, 0, last)]


def lookup(candidates: A, index: A) -> A:
    """Entries of a table along its first axis: candidates (A, ...), index (B,) -> (B, ...)."""
    fast: Any = candidates
    return fast.T.take(index, axis=-1).T if type(candidates) is np.ndarray else fast[index]


def each_array(part: T, change: Callable[[Array], Any]) -> T:
    """Copy a task, a state or any nested dataclasses, tuples and arrays, replacing every numpy array.

    Args:
        part: what to copy; values that hold no array are returned as they are.
        change: maps an array to its replacement.
    """

    def walk(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return change(value)
        if isinstance(value, tuple):
            items = [walk(v) for v in value]
            return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            changes = {f.name: walk(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
            return dataclasses.replace(value, **changes)
        return value

    return walk(part)


def to_torch(part: T, device: str = "cpu", dtype: Any = None) -> T:
    """Copy a task, a state or any nested dataclasses, tuples and arrays to torch.

    Args:
        part: what to copy; values that hold no array are returned as they are.
        device: a torch device.
        dtype: the floating type (default: that of the arrays).
    """
    import torch

    def tensor(array: Array) -> Any:
        if array.dtype.kind not in "fiub":
            return array
        made = torch.tensor(np.array(array, order="C"), device=device)
        return made.to(dtype) if dtype is not None and made.is_floating_point() else made

    return each_array(part, tensor)
