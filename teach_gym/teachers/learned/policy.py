"""Teaching policies as networks: their inputs and outputs, for many teachers at once.

A policy sees, for every row of the offered mini-batch, the learner's parameters w, their difference w - w* from the
target, the row's features and its label (DHT, appendix C); with momentum also how far the velocity will carry the
learner. It gives the row's label (LAST 3.3) in ``label`` tasks and its features (DHT 3.3.1) in ``perturb`` tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

try:
    import torch
except ImportError as error:
    raise ImportError("teach_gym.teachers.learned.policy needs torch: pip install 'teach_gym[torch]'") from error

from teach_gym.core.backend import Array, as_array, as_tensor, namespace, norm, sigmoid, softmax
from teach_gym.core.media import data_bounds
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.teachers.learned.architecture import Architecture, sizes_of
from teach_gym.teachers.learned.networks import TeachingNetworks, generators, mlp


def embed_labels(task: Task, y: Array) -> Array:
    """Labels as class probabilities, whatever the learner's encoding: (..., K) -> (..., classes); regression: as is."""
    low, high = task.learner.output.label_low, task.learner.output.label_high
    if task.pool.n_classes != 2 or task.k > 1 or low is None or high is None:
        return y
    share = (y - low) / (high - low)
    return namespace(y).concat([1.0 - share, share], axis=-1)


def inputs(task: Task, state: TeachState, *, normalize: bool = False, aligned: bool = False) -> Array:
    """What a policy sees of each row of the first source: (B, m, inputs).

    Args:
        task: the task.
        state: B runs, numpy or torch.
        normalize: w / ||w|| and its difference from w* / ||w*|| instead of w and w - w*.
        aligned: also the learner's logits on the row and their difference from the target's.
    """
    xp = namespace(state.w)
    w, gap = state.w, state.w - state.target
    if normalize:
        w = w / (norm(w)[..., None] + 1e-12)
        gap = w - state.target / (norm(state.target)[..., None] + 1e-12)
    learner = [w, gap]
    if state.velocity is not None:  # how far the learner moves by its velocity alone
        mu = task.update.momentum
        rate = task.update.learning_rate if state.rate is None else state.rate[..., None]
        learner.append(rate * mu / (1.0 - mu) * state.velocity)
    x, y = state.x[..., 0, :, :], embed_labels(task, state.y[..., 0, :, :])
    seen = xp.concat(learner, axis=-1)[..., None, :]
    if x.shape[-2] > 1:
        seen = xp.broadcast_to(seen, (*x.shape[:-1], seen.shape[-1]))
    products = []
    if aligned:
        logits = task.learner.logits(state.w, x)
        products = [logits, logits - task.learner.logits(state.target, x)]
    return xp.concat([seen, x, y, *products], axis=-1)


class NetworkPolicy(TeachingNetworks):
    """S policies of one architecture, one for each teacher; run b is taught by policy b // (B / S).

    Args:
        arch: the architecture.
        tasks: the tasks they are for, one for all or one for each: their data's bounds are kept for output ``box``
            (None: the bounds will be loaded).
        seeds: S seeds of the initial weights.
    """

    low: torch.Tensor
    high: torch.Tensor
    projection: torch.Tensor

    def __init__(self, arch: Architecture, tasks: Sequence[Task] | None, seeds: Sequence[int]) -> None:
        super().__init__()
        self.arch = arch
        draws = generators(seeds)
        self.net = mlp(arch.sizes, draws, activation=arch.activation, batch_norm=arch.batch_norm, bias=arch.bias)
        if arch.embedding:
            shape = (arch.embedded, arch.embedded)
            self.labels = torch.nn.Parameter(torch.stack([torch.randn(shape, generator=g) for g in draws]))
        if arch.output == "image":
            maps = [np.asarray(task.pool.projection) for task in tasks or ()] or [np.zeros((arch.pixels, arch.d))]
            stacked = torch.tensor(np.stack(maps), dtype=torch.float32)
            self.register_buffer("projection", stacked.expand(len(seeds), -1, -1).clone())
        if arch.output == "box":
            bounds: list[Array] = [np.stack(data_bounds(task.x, arch.box)) for task in tasks or ()]
            bounds = bounds or [np.zeros((2, arch.d))]
            table = torch.tensor(np.stack(bounds), dtype=torch.float32).expand(len(seeds), 2, arch.d)
            for i, name in enumerate(("low", "high")):
                self.register_buffer(name, table[:, i : i + 1].clone())

    def raw(self, *seen: torch.Tensor) -> torch.Tensor:
        """The networks' outputs: (B, m, inputs) -> (B, m, outputs)."""
        if not self.arch.embedding:
            return super().raw(*seen)
        (rows,) = seen
        start = rows.shape[-1] - 2 * self.arch.k * self.arch.aligned - self.arch.embedded
        stop = start + self.arch.embedded
        before, label, after = rows[..., :start], rows[..., start:stop], rows[..., stop:]
        embedded = torch.bmm(label.reshape(self.n, -1, self.arch.embedded), self.labels).reshape(label.shape)
        return super().raw(torch.cat([before, embedded, after], dim=-1))

    def forward(self, task: Task, state: TeachState) -> Example:
        """The teaching examples of B runs, in torch: x (B, m, d), y (B, m, K)."""
        return self.example(task, state, as_array(self.raw(as_tensor(self.inputs(task, state)))))

    def inputs(self, task: Task, state: TeachState) -> Array:
        """What the networks see, numpy or torch as the state: (B, m, inputs)."""
        return inputs(task, state, normalize=self.arch.normalize, aligned=self.arch.aligned)

    def example(self, task: Task, state: TeachState, out: Array) -> Example:
        """The teaching examples for the networks' outputs (B, m, outputs), numpy or torch."""
        x, y = state.x[:, 0], state.y[:, 0]
        if self.arch.medium == "label":
            return Example(x, self._labels(task, y, out))
        if self.arch.output == "residual":
            out = x + out
        elif self.arch.output in ("box", "image"):
            rows = out.reshape((self.n, -1, out.shape[-1]))
            out = (self._boxed(rows) if self.arch.output == "box" else self._projected(rows)).reshape(
                (*x.shape[:-1], -1)
            )
        return Example(out, y)

    def _boxed(self, rows: Array) -> Array:
        """Outputs (S, L m, d) inside the data's bounds."""
        low, high = (namespace(rows).asarray(as_array(bound)) for bound in (self.low, self.high))
        return low + (high - low) * sigmoid(rows)

    def _projected(self, rows: Array) -> Array:
        """Outputs (S, L m, pixels) as features (S, L m, d)."""
        xp = namespace(rows)
        return xp.matmul(xp.tanh(rows), xp.asarray(as_array(self.projection)))

    def _labels(self, task: Task, y: Array, out: Array) -> Array:
        if self.arch.output == "residual":
            return y + out
        if self.arch.output == "free":
            return out
        if self.arch.k > 1:
            return softmax(out)
        low, high = task.learner.output.label_low, task.learner.output.label_high
        assert low is not None and high is not None
        return low + (high - low) * sigmoid(out)

    def choose(self, task: Task, state: TeachState) -> Example:
        """The teaching examples of B runs for a numpy state, without gradients."""
        return self.example(task, state, self.outputs(self.inputs(task, state)))

    def facts(self, task: Task) -> tuple[dict[str, Any], dict[str, Any]]:
        """The tasks the networks fit, and the properties of a task: see ``teach_gym.teachers.from_file``."""
        here = {"medium": task.spec.medium, **sizes_of(task)}
        return {name: getattr(self.arch, name) for name in here}, here


def empty_policy(about: dict[str, Any], tensors: Mapping[str, Any]) -> NetworkPolicy:
    """The policy of one teacher for a card's architecture; its weights are loaded later."""
    del tensors
    return NetworkPolicy(Architecture(**about), None, [0])
