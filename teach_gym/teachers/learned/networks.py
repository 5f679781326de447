"""Many small networks of the same sizes, one for each of S teachers, computed as one: every tensor has first axis S.

Training ten teachers of two features costs little more than training one, because the time depends on the
number of operations and not on their size. A network here is an ``nn.Module`` from (S, L, n) to (S, L, n'), L rows for
each teacher; all its parameters and buffers have S as first axis, so ``pick`` can cut out one teacher. Layers without
parameters (``nn.LeakyReLU``, ``nn.Dropout``) fit in between.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

try:
    import torch
    from torch import nn
except ImportError as error:
    raise ImportError("teach_gym.teachers.learned.networks needs torch: pip install 'teach_gym[torch]'") from error

from teach_gym.core.backend import Array
from teach_gym.errors import lookup_name, positive, shown

ACTIVATIONS: dict[str, Any] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "tanh": nn.Tanh,
}
"""The activations by name; the leaky ReLU has DHT's slope 0.2."""

DEFERRED = 64
"""Calls whose weight gradients are summed at once; their inputs and slopes are kept until then."""

STATISTICS_RATE = 0.01
"""Share of a batch's statistics in the running ones; an unroll of 40 steps is 40 batches."""


def generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One torch generator for each teacher's seed."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


class BatchedLinear(nn.Module):
    """S linear layers: (S, L, n_in) -> (S, L, n_out), initialised like ``nn.Linear``.

    Args:
        n_in: inputs.
        n_out: outputs.
        draws: S generators, one for each teacher, so that a teacher's weights do not depend on the others.
        bias: add a bias; without one it stays zero.
    """

    def __init__(self, n_in: int, n_out: int, draws: Sequence[torch.Generator], *, bias: bool = True) -> None:
        super().__init__()

        def uniform(*shape: int) -> torch.Tensor:
            return torch.stack([2.0 * torch.rand(shape, generator=g) - 1.0 for g in draws]) / n_in**0.5

        self.weight = nn.Parameter(uniform(n_in, n_out))
        self.bias: torch.Tensor
        if bias:
            self.bias = nn.Parameter(uniform(1, n_out))
        else:
            self.register_buffer("bias", torch.zeros(len(draws), 1, n_out))
        self.calls: list[tuple[torch.Tensor, torch.Tensor]] | None = None
        """Inputs and slopes of the calls whose weight gradients ``deferred`` has not summed yet."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """X W + b for each teacher."""
        out: torch.Tensor = _Linear.apply(x, self.weight, self.bias, self)
        return out

    def add_gradients(self) -> None:
        """Add the weight gradients of all deferred calls, as one product."""
        calls, self.calls = self.calls, None
        if calls:
            x, slope = (torch.cat(parts, dim=1).detach() for parts in zip(*calls, strict=True))
            for parameter, gradient in _weight_gradients(self, x, slope):
                if parameter.requires_grad:
                    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def _weight_gradients(
    layer: BatchedLinear, x: torch.Tensor, slope: torch.Tensor
) -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
    return (layer.weight, torch.bmm(x.transpose(1, 2), slope)), (layer.bias, slope.sum(1, keepdim=True))


class _Linear(torch.autograd.Function):
    """x W + b, whose weight gradients may be summed later (see ``deferred``)."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, layer: BatchedLinear
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.layer = layer
        return torch.baddbmm(bias, x, weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        below = torch.bmm(slope, weight.transpose(1, 2)) if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return below, None, None, None
        if ctx.layer.calls is not None:
            ctx.layer.calls.append((x, slope))
            if len(ctx.layer.calls) == DEFERRED:
                ctx.layer.add_gradients()
                ctx.layer.calls = []
            return below, None, None, None
        (_, first), (_, second) = _weight_gradients(ctx.layer, x, slope)
        return below, first, second, None


@contextlib.contextmanager
def deferred(module: nn.Module) -> Iterator[None]:
    """A block around ``backward()`` calls: the linear layers' weight gradients are summed in groups and at its end.

    A layer that is called at each of 40 unrolled steps then adds one product of 40 rows to its gradient instead of 40
    outer products as large as its weights, which dominate the time of large networks with few learners.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, BatchedLinear)]
    for layer in layers:
        layer.calls = []
    try:
        yield
        for layer in layers:
            layer.add_gradients()
    finally:
        for layer in layers:
            layer.calls = None


class BatchedNorm(nn.Module):
    """1-d batch normalisation for each of S teachers, over its own L rows: (S, L, n) -> (S, L, n).

    In training L must be at least 2; otherwise running statistics are used. ``frozen`` keeps those from being
    updated twice when a step is recomputed.

    Args:
        n: number S of teachers.
        features: entries that are normalised.
    """

    def __init__(self, n: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n, features))
        self.bias = nn.Parameter(torch.zeros(n, features))
        self.mean: torch.Tensor
        self.var: torch.Tensor
        self.register_buffer("mean", torch.zeros(n, features))
        self.register_buffer("var", torch.ones(n, features))
        self.tracking = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise, scale and shift."""
        s, rows, features = x.shape
        flat = x.transpose(0, 1).reshape(rows, s * features)
        mean, var = self.mean, self.var
        if self.training and not self.tracking:  # torch updates its arguments in place
            mean, var = mean.clone(), var.clone()
        mean, var = mean.view(-1), var.view(-1)
        weight, bias = self.weight.view(-1), self.bias.view(-1)
        out = nn.functional.batch_norm(flat, mean, var, weight, bias, self.training, STATISTICS_RATE)
        return out.view(rows, s, features).transpose(0, 1)


class TeachingNetworks(nn.Module):
    """Base of the policies of S teachers of one architecture; run b is taught by policy b // (B / S).

    Attributes:
        arch: the architecture, a dataclass of plain JSON values.
        net: the networks, (S, L, n) -> (S, L, n').
        perception: the perceptual distance that the policy was trained with (DHT Eq. 10), or None.
    """

    arch: Any
    net: nn.Module
    perception: Any

    def __init__(self) -> None:
        super().__init__()
        self.register_module("perception", None)

    @property
    def n(self) -> int:
        """Number S of teachers."""
        return len(next(self.parameters()))

    def raw(self, *seen: torch.Tensor) -> torch.Tensor:
        """The networks' outputs for their inputs: (B, ..., n) -> (B, ..., n')."""
        (rows,) = seen
        out: torch.Tensor = self.net(rows.reshape(self.n, -1, rows.shape[-1]))
        return out.reshape(*rows.shape[:-1], out.shape[-1])

    def outputs(self, *seen: Array) -> Array:
        """``raw`` in evaluation mode and without gradients, from numpy to numpy.

        Raises:
            ValueError: B is not a multiple of S.
        """
        if len(seen[0]) % self.n:
            raise ValueError(
                f"{self.n} networks teach equally many runs each; {len(seen[0])} runs cannot be divided among them"
            )
        dtype = next(self.parameters()).dtype
        self.eval()
        with torch.no_grad():
            found: Array = self.raw(*(torch.tensor(np.array(a, order="C"), dtype=dtype) for a in seen)).numpy()
        return found.astype(seen[0].dtype)

    def by_teacher(self, values: torch.Tensor) -> torch.Tensor:
        """Values of B runs, grouped by teacher: (B, ...) -> (S, L, ...)."""
        return values.reshape(self.n, -1, *values.shape[1:])


def mlp(
    sizes: Sequence[int],
    draws: Sequence[torch.Generator],
    *,
    activation: str = "relu",
    batch_norm: bool = False,
    dropout: float = 0.0,
    bias: bool = True,
) -> nn.Sequential:
    """S perceptrons of the given sizes, from inputs to outputs: (S, L, sizes[0]) -> (S, L, sizes[-1]).

    Args:
        sizes: inputs, hidden layers, outputs.
        draws: S generators that the weights are drawn from.
        activation: a key of ``ACTIVATIONS``, after every layer but the last.
        batch_norm: 1-d batch normalisation before each activation.
        dropout: share of the hidden units that are dropped in training (drawn from torch's global generator).
        bias: whether the layers have biases.

    Raises:
        ValueError: unknown activation, fewer than two sizes, one that is not positive, or a dropout outside [0, 1).
        TypeError: a size that is not an integer.
    """
    make = lookup_name("activation", activation, ACTIVATIONS)
    if len(sizes) < 2:
        raise ValueError(f"sizes must hold at least the inputs and the outputs, got {list(sizes)}")
    for size in sizes:
        positive("sizes", size, integer=True)
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"dropout must lie in [0, 1), got {shown(dropout)}")
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(sizes[:-1]):
        layers.append(BatchedLinear(n_in, n_out, draws, bias=bias))
        if batch_norm:
            layers.append(BatchedNorm(len(draws), n_out))
        layers.append(make())
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, BatchedLinear(sizes[-2], sizes[-1], draws, bias=bias))


@contextlib.contextmanager
def frozen(module: nn.Module | None) -> Iterator[None]:
    """Within the block, batch normalisation uses batch statistics but does not add them to the running ones."""
    norms = [m for m in (module.modules() if module is not None else ()) if isinstance(m, BatchedNorm)]
    before = [norm.tracking for norm in norms]
    for norm in norms:
        norm.tracking = False
    try:
        yield
    finally:
        for norm, tracking in zip(norms, before, strict=True):
            norm.tracking = tracking


def pick(module: nn.Module, chosen: Sequence[int]) -> nn.Module:
    """A copy of a module of S teachers that holds only some: every tensor cut to (len(chosen), ...)."""
    some, rows = copy.deepcopy(module), list(chosen)
    for part in some.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            setattr(part, name, nn.Parameter(parameter.detach()[rows].clone()))
        for name, buffer in list(part.named_buffers(recurse=False)):
            setattr(part, name, buffer[rows].clone())
    return some
