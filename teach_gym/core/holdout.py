"""Hold-out rows, which replace the target where it is unknown, and the losses a run records on them."""

from __future__ import annotations

import functools

import numpy as np
from array_api_compat import device

from teach_gym.core.backend import A, Array, namespace
from teach_gym.core.batch import each, needed
from teach_gym.core.outputs import Output
from teach_gym.core.state import Example, Holdout, Measured, Memory, Tally, Task, TeachState
from teach_gym.data.pool import Split

RECENT = 0.1
"""Weight of the last step in the running means of a run's memory."""
LEAST_GAIN = 1e-6
"""A loss that is lower by a smaller share is no new best one: rounding would give a learner at rest new ones."""
_BLOCK = 32
"""Learners measured at once: temporary arrays larger than the processor's cache cost more than the arithmetic."""


def make_holdout(split: Split, y: Array, rows: int, probes: int, dtype: str) -> Holdout:
    """Take the first rows of a split, and its representatives.

    Args:
        split: the hold-out split.
        y: (n, K) its labels as the learner takes them.
        rows: maximum number of rows to measure the losses on.
        probes: number of representatives.
        dtype: the task's floating type.

    Raises:
        ValueError: more probes than rows.
    """
    if probes > len(split):
        raise ValueError(f"probes must be at most the {len(split)} hold-out rows, got {probes}")
    x, y = (np.asfortranarray(a[:rows], dtype=dtype) for a in (split.x, y))
    chosen = list(representatives(split, probes)) if probes else []
    return Holdout(x, y, split.labels[:rows], split.x[chosen].astype(dtype))


@functools.lru_cache(maxsize=32)
def representatives(split: Split, n: int) -> tuple[int, ...]:
    """At most n representative rows of a split: in each class, those nearest to the centres that k-means finds."""
    from sklearn.cluster import KMeans

    groups = [np.arange(len(split))]
    if split.labels.dtype.kind == "i":
        groups = [np.flatnonzero(split.labels == c) for c in np.unique(split.labels)]
    rows: list[int] = []
    for i, own in enumerate(groups):
        k = min(n // len(groups) + (i < n % len(groups)), len(own))
        if k:
            centres = KMeans(k, n_init=4, random_state=0).fit(split.x[own]).cluster_centers_
            gaps = ((split.x[own][:, None] - centres) ** 2).sum(-1)
            rows += own[gaps.argmin(0)].tolist()
    return tuple(rows)


def class_probabilities(output: Output, prediction: A) -> A:
    """Predictions (..., K) as one entry per class (..., C); one output gives entries for the lower and upper label."""
    if prediction.shape[-1] > 1 or output.label_low is None or output.label_high is None:
        return prediction
    upper = (prediction - output.label_low) / (output.label_high - output.label_low)
    return namespace(prediction).concat([1.0 - upper, upper], axis=-1)


def begin(task: Task, state: TeachState) -> TeachState:
    """The state at reset, with its memory initialised."""
    now = measure(task, state.w)
    zero = np.zeros_like(now.loss)
    return state._replace(memory=Memory(now, np.maximum(now.loss, 1e-30), now.loss, *[zero] * 5))


def remember(task: Task, before: TeachState, example: Example, after: TeachState) -> TeachState:
    """The state after a step on a teaching example, with its memory updated."""
    past, now, xp = needed(before.memory), measure(task, after.w), namespace(after.w)
    shown, t = task.learner.loss(before.w, example.x, example.y), xp.astype(after.t, now.loss.dtype)
    gain, better = 1.0 - now.loss / past.now.loss, now.loss < (1.0 - LEAST_GAIN) * past.best
    return after._replace(
        memory=Memory(
            now,
            past.initial,
            xp.where(better, now.loss, past.best),
            xp.where(better, 0.0 * t, past.stale + 1.0),
            gain,
            past.mean_gain + RECENT * (gain - past.mean_gain),
            past.mean_loss + (shown - past.mean_loss) / t,
            past.recent_loss + (shown - past.recent_loss) * xp.clip(1.0 / t, RECENT, None),
        )
    )


def accuracy(task: Task, state: TeachState) -> Array:
    """Share of the hold-out rows classified correctly (regression: minus the mean squared error): (B,)."""
    return needed(state.memory).now.accuracy


def measure(task: Task, w: Array) -> Measured:
    """Measure learners (B, P) on the hold-out rows."""
    hold, c = task.holdout, task.pool.n_classes
    found = tally(task, w) if task.tally is None or not isinstance(w, np.ndarray) else task.tally(task, w)
    xp, n = namespace(w), len(hold.x)
    loss = found.loss / n
    if not c:
        return Measured(loss, -2.0 * loss, *[found.class_loss] * 4)
    rows = xp.sum(_members(hold.labels, c, found.loss), axis=0)
    most, accuracy = xp.clip(rows, 1.0, None), xp.sum(found.hits, axis=-1) / n
    precision = xp.where(found.named > 0, found.hits / xp.clip(found.named, 1.0, None), accuracy[:, None])
    excess = (found.predicted - rows) / n
    return Measured(loss, accuracy, found.class_loss / most, found.hits / most, precision, excess)


def tally(task: Task, w: Array) -> Tally:
    """What ``measure`` needs of learners (B, P): sums over the hold-out rows."""
    if isinstance(w, np.ndarray) and len(w) > _BLOCK:
        parts = [tally(task, w[first : first + _BLOCK]) for first in range(0, len(w), _BLOCK)]
        return each(lambda *found: np.concatenate(found), *parts)
    hold, output, c = task.holdout, task.learner.output, task.pool.n_classes
    z = task.learner.logits(w, hold.x)
    xp, losses = namespace(z), output.loss(z, hold.y)
    loss = _total(losses)
    if not c:
        return Tally(loss, *[losses[:, :0]] * 4)
    own, chosen = _members(hold.labels, c, z), task.learner.decide(z)
    right = xp.astype(chosen == hold.labels, z.dtype)
    named = xp.stack([xp.sum(xp.astype(chosen == i, z.dtype), axis=-1) for i in range(c)], axis=-1)
    predicted = xp.sum(class_probabilities(output, output.predict(z)), axis=-2)
    return Tally(loss, losses @ own, right @ own, named, predicted)


def _members(labels: A, c: int, like: A) -> A:
    """Which rows belong to which class, as 0/1: labels (n,) -> (n, C)."""
    xp = namespace(like)
    return xp.astype(labels[:, None] == xp.arange(c, device=device(like)), like.dtype)


def _total(losses: A) -> A:
    """Sums over rows, with numpy in double precision: (B, n) -> (B,)."""
    if isinstance(losses, np.ndarray):
        return losses.sum(-1, dtype=np.float64).astype(losses.dtype, copy=False)
    return namespace(losses).sum(losses, axis=-1)
