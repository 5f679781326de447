"""Hold-out rows that stand in for the target where it is not known, and the losses a run remembers of them."""

from __future__ import annotations

import numpy as np

from teach_gym.core.backend import Array, namespace
from teach_gym.core.state import Example, Holdout, Task, TeachState, needed
from teach_gym.data.pool import Split


def make_holdout(split: Split, y: Array, rows: int, probes: int, dtype: str) -> Holdout:
    """Take the first rows of a split, and its representatives.

    Args:
        split: the hold-out split.
        y: (n, K) its labels as the learner takes them.
        rows: most rows to measure the losses on.
        probes: number of representatives.
        dtype: the task's floating type.

    Raises:
        ValueError: more probes than rows.
    """
    if probes > len(split):
        raise ValueError(f"probes must be at most the {len(split)} hold-out rows, got {probes}")
    x, y = (np.asfortranarray(a[:rows], dtype=dtype) for a in (split.x, y))
    return Holdout(x, y, split.labels[:rows], split.x[representatives(split, probes)].astype(dtype))


def representatives(split: Split, n: int) -> list[int]:
    """At most n rows that stand for a split: in each class, those nearest to the centres that k-means finds."""
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
    return rows


def begin(task: Task, state: TeachState) -> TeachState:
    """The state at reset with the losses that the run remembers."""
    loss = _loss(task, state.w)
    return state._replace(
        mean_loss=np.zeros_like(loss),
        holdout_loss=loss,
        initial_holdout_loss=np.maximum(loss, 1e-30),
        best_holdout_loss=loss,
    )


def remember(task: Task, before: TeachState, example: Example, after: TeachState) -> TeachState:
    """The state after a step on a teaching example with the losses brought up to date."""
    xp = namespace(after.w)
    shown = task.learner.loss(before.w, example.x, example.y)
    loss, mean, best = _loss(task, after.w), needed(before.mean_loss), needed(before.best_holdout_loss)
    return after._replace(
        mean_loss=mean + (shown - mean) / xp.astype(after.t, loss.dtype),
        holdout_loss=loss,
        initial_holdout_loss=before.initial_holdout_loss,
        best_holdout_loss=xp.where(loss < best, loss, best),
    )


def accuracy(task: Task, state: TeachState) -> Array:
    """Share of the hold-out rows classified rightly (regression: minus the mean squared error): (B,)."""
    assert task.holdout is not None
    return task.learner.accuracy(state.w, task.holdout.x, task.holdout.labels)


def _loss(task: Task, w: Array) -> Array:
    """Mean loss on the hold-out rows: (B, P) -> (B,)."""
    assert task.holdout is not None
    return task.learner.loss(w, task.holdout.x, task.holdout.y)
