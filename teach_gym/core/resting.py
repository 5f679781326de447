"""Resting points: where linear learners come to rest if they are left alone to the end of the budget.

An update adds u x to a linear learner's parameters, with u as free as the label. Every update rule here is linear, so
the difference delta_H to w* at the end of the budget is what it would be if the learner were left alone from now on,
the *resting point* z, plus e_k u x for each step with k steps to go after it. Momentum, Nesterov's form and weight
decay only decide where the resting point is and how large e_k; for the plain rule z = delta and e_k = 1. The bias is
one more feature. The residuals of a softmax learner sum to zero, so that teaching leaves the mean over its outputs
alone.

Media that keep the given label let the learner move on its own, by the gradient of its loss. Linearised at w* that is
-learning_rate * (gradient at w* + curvature delta), of which a resting point may count on shares.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from teach_gym.core.backend import Array
from teach_gym.core.costtogo import Floats
from teach_gym.core.outputs import IDENTITY, SOFTMAX
from teach_gym.core.state import Task, TeachState

MOST_BATCHES = 4096
"""Expectations are over all mini-batches of a pool, or over this many drawn ones if there are more."""


class Rest(NamedTuple):
    """Resting points of learners that are left alone for k = 0 .. H steps, in coordinates in which modes are apart.

    Attributes:
        axes: (d, d), the modes' directions as columns.
        carry: (H + 1, s, d + 1), factors of delta and (s = 2) of m = -learning_rate * velocity for each mode; in the
            last place for the mean over the outputs of a softmax learner.
        offset: (H + 1, K, d), what is added.
        mean_offset: (H + 1, d), what is added to that mean.
        push: (H + 1, d), e_k for each mode.
    """

    axes: Floats
    carry: Floats
    offset: Floats
    mean_offset: Floats
    push: Floats

    def inputs(self, rows: Floats, k: int) -> Floats:
        """What input vectors (..., d) add to resting points of learners that are then left alone for k steps."""
        return (rows @ self.axes) * self.push[k]


def blocks_of(task: Task, state: TeachState, w: Array, velocity: Array | None) -> list[Floats]:
    """Delta and, with momentum, m of learners w (..., B, P), by output and feature: (..., B, K, d) each."""
    parts = [w - state.target]
    if velocity is not None:
        rate = task.update.learning_rate if state.rate is None else state.rate[:, None]
        parts.append(-rate * velocity)
    return [per_output(task, part) for part in parts]


def resting(task: Task, rest: Rest, k: int, blocks: Sequence[Floats]) -> tuple[Floats, Floats | None]:
    """Resting points after k steps, (..., K, d); apart from them the mean over a softmax learner's outputs, (..., d).

    Args:
        task: the task.
        rest: where its learners come to rest.
        k: steps that the learner is left alone.
        blocks: delta and, with momentum, m: (..., K, d) each.
    """
    mean = None
    if task.learner.output == SOFTMAX:
        means = [block.mean(-2) for block in blocks]
        blocks = [block - m[..., None, :] for block, m in zip(blocks, means, strict=True)]
        mean = rest.mean_offset[k] + sum(c[-1] * m for c, m in zip(rest.carry[k], means, strict=True))
    flat = (block.reshape(-1, block.shape[-1]) for block in blocks)
    z = sum(c[:-1] * (block @ rest.axes) for c, block in zip(rest.carry[k], flat, strict=True))
    return np.reshape(z, blocks[0].shape) + rest.offset[k], mean


def per_output(task: Task, flat: Array) -> Floats:
    """Flat parameters (..., P) as one vector for each output: (..., K, d), d features with the bias."""
    parts = np.asarray(flat, dtype=np.float64).reshape(*flat.shape[:-1], -1, task.k)
    return np.ascontiguousarray(np.swapaxes(parts, -1, -2))


def with_bias(task: Task, x: Array) -> Floats:
    """Features (..., d) as input vectors: with a one for the learner's bias, if it has one."""
    x = np.asarray(x, dtype=np.float64)
    return np.concatenate([x, np.ones_like(x[..., :1])], axis=-1) if task.learner.bias else x


def pool_of(task: Task, pool: int) -> tuple[Floats, Floats, Floats]:
    """Input vectors (N, d), labels (N, K) and w* (P,) of one of the pools that a run may be on."""
    rows, target = slice(None), task.target
    if task.variants is not None:
        n = task.variants.rows
        rows, target = slice(pool * n, (pool + 1) * n), task.variants.targets[pool]
    y, w = (np.asarray(a, dtype=np.float64) for a in (task.y[rows], target))
    return with_bias(task, task.x[rows]), y, w


def input_batches(task: Task, pool: int = 0) -> Floats:
    """The mini-batches of input vectors over which expectations are taken: (N, m, d).

    All of them, or ``MOST_BATCHES`` drawn ones (always the same) if there are more.
    """
    x, m = pool_of(task, pool)[0], task.spec.batch_size
    if len(x) ** m <= MOST_BATCHES:
        return x[np.array(list(itertools.product(range(len(x)), repeat=m)))]
    rng = np.random.default_rng(0)
    if m == 1:
        return x[np.sort(rng.choice(len(x), MOST_BATCHES, replace=False))][:, None]
    return x[rng.integers(len(x), size=(MOST_BATCHES, m))]


def rest_of(task: Task, pool: int, rate: float, drift: float = 0.0, curvature: float = 0.0) -> Rest:
    """Where the learners of a task come to rest.

    Args:
        task: the task.
        pool: which of the pools that a run may be on.
        rate: the learning rate.
        drift: share of the gradient at w* on given labels that is counted on.
        curvature: share of the loss's curvature at w* that is counted on.
    """
    x, y, target = pool_of(task, pool)
    d = x.shape[1]
    axes, bend, gradient = np.eye(d), np.zeros(d + 1), np.zeros((task.k, d))
    if drift or curvature:
        logits = task.learner.logits(target[None], x[:, : task.d])[0]
        gradient = drift * (task.learner.output.residual(logits, y).T @ x) / len(x)
        if curvature:
            values, axes = np.linalg.eigh((x * _slopes(task, logits)[:, None]).T @ x / len(x))
            bend[:-1] = curvature * values
    found, rule = _left_alone(task, rate, bend)
    s, own = len(rule), per_output(task, target)
    mean = own.mean(0) if task.learner.output == SOFTMAX else np.zeros(d)
    decayed, drifted = found[:, None, 2, :-1], found[:, None, 3, :-1]
    return Rest(
        axes=axes,
        carry=found[:, :s],
        offset=decayed * ((own - mean) @ axes) + drifted * (gradient @ axes),
        mean_offset=found[:, 2, -1:] * mean,
        push=np.einsum("ksd,s->kd", found[:, :s, :-1], rule[:, 3]),
    )


def _left_alone(task: Task, rate: float, bend: Floats) -> tuple[Floats, Floats]:
    """Learners left alone for k = 0 .. H steps.

    Args:
        task: the task.
        rate: the learning rate.
        bend: (n,) curvature of each mode.

    Returns:
        delta_H of each mode as a multiple of (delta, m, w*, gradient at w*), (H + 1, 4, n); and the update rule, the
        next delta and, with momentum, the next m as multiples of (delta, m, w*, what the loss's gradient adds), (s, 4).
    """
    update = task.update
    added = np.array([-rate * update.weight_decay, 0.0, -rate * update.weight_decay, 1.0])
    buffer = update.momentum * np.eye(4)[1] + added
    move = added + update.momentum * buffer if update.nesterov else buffer
    rule = np.stack([np.eye(4)[0] + move, buffer])[: 2 if update.momentum else 1]
    end = np.zeros((4, len(bend)))
    end[0] = 1.0
    ends = [end]
    for _ in range(task.spec.budget):
        step = rule.T @ end[: len(rule)]
        end = np.stack([step[0] - rate * bend * step[3], step[1], end[2] + step[2], end[3] - rate * step[3]])
        ends.append(end)
    return np.stack(ends), rule


def _slopes(task: Task, logits: Floats) -> Floats:
    """Second derivative of each row's loss along its logits (for softmax the mean over directions of zero sum)."""
    if task.learner.output == IDENTITY:
        return np.ones(len(logits))
    if task.learner.output == SOFTMAX:
        p = task.learner.output.predict(logits)
        return (p * (1.0 - p)).sum(-1) / (task.k - 1)
    p = 0.5 + 0.5 * np.tanh(0.5 * logits[:, 0])
    return p * (1.0 - p)
