"""Learners: closed-form loss and gradient on flat parameters, over any leading batch axes.

A learner is a feature map (none, or one hidden layer) followed by a linear layer and an *output* that
says how logits become predictions and what the loss is. Shapes: parameters ``w`` (..., P), inputs ``x``
(..., m, d), labels ``y`` (..., m, K). ``x`` may also be one table (m, d) shared by the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import device

from teach_gym.core.backend import (
    A,
    Array,
    dot,
    matmul,
    namespace,
    outer_sum,
)
from teach_gym.core.outputs import Output
from teach_gym.core.randomness import Streams


class Parts(NamedTuple):
    """The factors of per-example gradients g = J^T r with residuals r (..., m, K), from one forward pass.

    Attributes:
        logits: (..., m, K), which the residuals are computed from.
        gram: (..., m, K, K), J J^T of each row: the squared gradient norm is r^T gram r; or (..., m, K, m, K), that
            between all rows.
        alignment: (..., m, K), J (w - w*): the inner product with a direction is <alignment, r>.
    """

    logits: Array
    gram: Array
    alignment: Array


@dataclass(frozen=True)
class Learner:
    """A linear learner: logits <w, x> (+ bias), and the base of the learner with a hidden layer.

    Args:
        name: its name in ``LEARNERS``.
        output: predictions and loss on the logits.
        bias: whether the linear layer (and the hidden one) has a bias; the flat parameters are the
            weights (d, K) in C order followed by the bias (K,).
    """

    name: str
    output: Output
    bias: bool = False

    def size(self, d: int, k: int) -> int:
        """Number of parameters P for d features and k outputs."""
        return (d + self.bias) * k

    def init(self, rng: Streams, d: int, k: int) -> Array:
        """Draw parameters uniformly from +-1/sqrt(fan in), as torch's linear layers do: (B, P)."""
        return (2.0 * rng.uniform(self.size(d, k)) - 1.0) / np.sqrt(d)

    def logits(self, w: A, x: A) -> A:
        """Logits: w (..., P), x (..., m, d) or (m, d) -> (..., m, K)."""
        return _linear(w, x, self.bias)

    def predict(self, w: A, x: A) -> A:
        """Predictions on the scale of the labels: (..., m, K)."""
        return self.output.predict(self.logits(w, x))

    def loss(self, w: A, x: A, y: A) -> A:
        """Mean loss over the m examples: (...)."""
        return namespace(w).mean(self.output.loss(self.logits(w, x), y), axis=-1)

    def accuracy(self, w: A, x: A, labels: A) -> A:
        """Share of rows classified correctly (regression: minus the mean squared error): (...).

        Args:
            w: (..., P) parameters.
            x: (n, d) inputs.
            labels: (n,) class indices, or real targets for regression.
        """
        z = self.logits(w, x)
        xp = namespace(z)
        if z.shape[-1] == 1 and self.output.label_low is None:
            return -xp.mean((z[..., 0] - xp.astype(labels, z.dtype)) ** 2, axis=-1)
        return xp.mean(xp.astype(self.decide(z) == labels, z.dtype), axis=-1)

    def decide(self, z: A) -> A:
        """The class that logits speak for: (..., K) -> (...) integers, with one output 0 or 1."""
        xp = namespace(z)
        return xp.argmax(z, axis=-1) if z.shape[-1] > 1 else xp.astype(z[..., 0] > 0, xp.int64)

    def gradient(self, w: A, x: A, y: A) -> A:
        """Gradient of the mean loss with respect to the flat parameters: (..., P)."""
        residual = self.output.residual(self.logits(w, x), y)
        m = x.shape[-2]
        return _linear_gradient(x, residual if m == 1 else residual / m, self.bias)

    def parts(self, w: Array, x: Array, direction: Array, beta: float = 1.0, *, cross: bool = False) -> Parts:
        """The parts of each example's gradient that greedy teaching needs, for any residual.

        Args:
            w: (..., P) parameters.
            x: (..., m, d) or (m, d) inputs.
            direction: (..., P), usually w - w*.
            beta: weight of the first layer of a learner with a hidden layer (LAST Eq. 4); unused here.
            cross: the Gram matrix between all rows of a mini-batch instead of that of each row.

        Returns:
            The parts, broadcastable over the batch.
        """
        del beta
        alignment = _linear(direction, x, self.bias)
        return Parts(_linear(w, x, self.bias), self._gram(x, _eye(alignment), cross), alignment)

    def _gram(self, x: Array, eye: Array, cross: bool) -> Array:
        """J J^T of a linear layer on x, for each row or between all rows of a mini-batch."""
        if cross:
            return _row_products(x, self.bias)[..., :, None, :, None] * eye[:, None, :]
        return self.squared_norms(x)[..., None, None] * eye

    def squared_norms(self, x: A) -> A:
        """||x||^2 (+ 1 for the bias), the factor between residual and gradient: (..., m, d) -> (..., m)."""
        return dot(x, x) + float(self.bias)


@dataclass(frozen=True)
class MLPLearner(Learner):
    """A two-layer perceptron, output(W^T relu(V^T x)) (LAST Eq. 4).

    The flat parameters are V (d, h) and its bias (h,), then W (h, K) and its bias (K,).

    Args:
        hidden: number h of hidden units.
        offsets: whether the last h of the d inputs are added to the hidden units, relu(V^T x) + offset, instead of
            being inputs of V. They are zero in the data; a performative teacher changes them (DHT 4.2). The gradient
            is that of all weights, through the moved hidden units.
        product: the function that multiplies hidden units and output layers, (..., m, h) and (..., h, K).
    """

    hidden: int = 16
    offsets: bool = False
    product: Callable[[Any, Any], Any] = field(default=matmul, repr=False, compare=False)

    def size(self, d: int, k: int) -> int:
        """Number of parameters P for d features and k outputs."""
        return self._first(d) + (self.hidden + self.bias) * k

    def _first(self, d: int) -> int:
        """Number of parameters of the hidden layer for d features."""
        return (d - self.hidden * self.offsets + self.bias) * self.hidden

    def _inputs(self, x: A) -> A:
        """The part of x (..., m, d) that is input to the hidden layer."""
        return x[..., : x.shape[-1] - self.hidden] if self.offsets else x

    def init(self, rng: Streams, d: int, k: int) -> Array:
        """Draw each layer uniformly from +-1/sqrt(fan in): (B, P)."""
        fan_in = np.full(self.size(d, k), float(self.hidden))
        fan_in[: self._first(d)] = d - self.hidden * self.offsets
        return (2.0 * rng.uniform(fan_in.size) - 1.0) / np.sqrt(fan_in)

    def split(self, w: A, d: int) -> tuple[A, A]:
        """The flat hidden layer and the flat output layer of w (..., P)."""
        first = self._first(d)
        return w[..., :first], w[..., first:]

    def _forward(self, w: A, x: A) -> tuple[A, A, A]:
        """Active hidden units (..., m, h) as 0/1, their values, and the flat output layer."""
        v, top = self.split(w, x.shape[-1])
        u = _linear(v, self._inputs(x), self.bias)
        xp = namespace(u)
        active = xp.astype(u > 0, u.dtype)
        h = u * active
        return active, h + x[..., x.shape[-1] - self.hidden :] if self.offsets else h, top

    def features(self, w: A, x: A) -> A:
        """The hidden units, which are the last layer's inputs: w (..., P), x (..., m, d) or (m, d) -> (..., m, h)."""
        return self._forward(w, x)[1]

    def logits(self, w: A, x: A) -> A:
        """Logits: w (..., P), x (..., m, d) or (m, d) -> (..., m, K)."""
        _, h, top = self._forward(w, x)
        return _linear(top, h, self.bias, self.product)

    def gradient(self, w: A, x: A, y: A) -> A:
        """Gradient of the mean loss with respect to the flat parameters: (..., P)."""
        active, h, top = self._forward(w, x)
        residual = self.output.residual(_linear(top, h, self.bias), y) / x.shape[-2]
        kernel, _ = layer(top, self.hidden, self.bias)
        below = matmul(residual, namespace(w).matrix_transpose(kernel)) * active
        first = _linear_gradient(self._inputs(x), below, self.bias)
        second = _linear_gradient(h, residual, self.bias)
        return namespace(w).concat([first, second], axis=-1)

    def parts(self, w: Array, x: Array, direction: Array, beta: float = 1.0, *, cross: bool = False) -> Parts:
        """The gradient parts that greedy teaching needs, with the first layer weighted by beta (LAST Eq. 4)."""
        active, h, top = self._forward(w, x)
        kernel, _ = layer(top, self.hidden, self.bias)
        v_direction, top_direction = self.split(direction, x.shape[-1])
        first = _linear(v_direction, self._inputs(x), self.bias) * active
        alignment = _linear(top_direction, h, self.bias) + beta * matmul(first, kernel)
        below = self._gram(self._inputs(x), namespace(w).ones_like(_eye(kernel)), cross) * _products(
            active, kernel, cross
        )
        gram = self._gram(h, _eye(kernel), cross) + beta * below
        return Parts(_linear(top, h, self.bias), gram, alignment)


def _eye(like: A) -> A:
    """Identity matrix (K, K) with the size of the last axis and the array's type."""
    xp = namespace(like)
    return xp.eye(like.shape[-1], dtype=like.dtype, device=device(like))


def _products(active: Array, kernel: Array, cross: bool) -> Array:
    """Products of the slopes of logits with respect to the hidden layer's sums, of each row or between all rows.

    Args:
        active: (..., m, h) active hidden units as 0/1.
        kernel: (..., h, K) of the output layer.
        cross: between all rows.

    Returns:
        (..., m, K, K), or (..., m, K, m, K).
    """
    xp = namespace(active)
    slope = active[..., None] * kernel[..., None, :, :]
    if not cross:
        return xp.matmul(xp.matrix_transpose(slope), slope)
    m, h, k = slope.shape[-3:]
    rows = xp.matrix_transpose(slope).reshape((*slope.shape[:-3], m * k, h))
    return xp.matmul(rows, xp.matrix_transpose(rows)).reshape((*rows.shape[:-2], m, k, m, k))


def _row_products(x: A, bias: bool) -> A:
    """Inner products of the rows, plus one for a bias: (..., m, d) -> (..., m, m)."""
    return namespace(x).matmul(x, namespace(x).matrix_transpose(x)) + float(bias)


def layer(flat: A, d: int, bias: bool) -> tuple[A, A | None]:
    """Kernel (..., d, K) and bias (..., K) (None without one) of a linear layer with flat parameters (..., P)."""
    k = flat.shape[-1] // (d + bias)
    if not bias:
        return flat.reshape((*flat.shape[:-1], d, k)), None
    return flat[..., : d * k].reshape((*flat.shape[:-1], d, k)), flat[..., d * k :]


def _linear(w: A, x: A, bias: bool, product: Callable[[Any, Any], Any] = matmul) -> A:
    """Linear layer on flat parameters: w (..., P), x (..., m, d) or (m, d) -> (..., m, K)."""
    kernel, offset = layer(w, x.shape[-1], bias)
    found: A = product(x, kernel)
    return found if offset is None else found + offset[..., None, :]


def _linear_gradient(x: A, residual: A, bias: bool) -> A:
    """Flat gradient of a linear layer: x (..., m, d), residual (..., m, K) -> (..., P)."""
    kernel: A = outer_sum(x, residual)
    flat = kernel.reshape((*kernel.shape[:-2], -1))
    if not bias:
        return flat
    xp = namespace(x)
    return xp.concat([flat, xp.sum(residual, axis=-2)], axis=-1)
