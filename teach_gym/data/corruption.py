"""What makes a train split hard to learn from: wrong labels and rare classes. The other splits stay as they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt

from teach_gym.arguments import Within
from teach_gym.data.pool import Floats, Split
from teach_gym.errors import shown

Share = Annotated[float, Within(0.0, 1.0)]
LabelNoise = Annotated[float, Within(0.0, 1.0, open_high=True)] | Sequence[Share | Sequence[Share]]
"""Wrong labels: one share for all classes; a share for each class; or a matrix, see ``transitions``."""
Imbalance = Annotated[float, Within(0.0, 1.0, open_low=True)]
"""Rows of the rarest class as a share of those of the most frequent one."""

_ROUNDING = 1e-6
"""Tolerance for the rows of a matrix to sum to one."""


def corrupted(
    train: Split, n_classes: int, pool_seed: int, *, label_noise: LabelNoise = 0.0, imbalance: Imbalance = 1.0
) -> Split:
    """A train split with rare classes and wrong labels; ``Split.correct`` keeps the true labels of noisy ones.

    One share of label noise is symmetric noise: that share of all rows, whatever their class, gets the label of another
    class, drawn uniformly. Shares for the classes, or a matrix, give class-dependent noise. With imbalance rho the
    classes have sizes on a geometric scale from the first class, which keeps all its rows, to the last, which keeps the
    share rho of them (the long-tailed data of Cui et al. 2019, "Class-balanced loss").

    Args:
        train: the split, its rows in random order.
        n_classes: number of classes K, 0 for regression.
        pool_seed: draws the wrong labels.
        label_noise: see above.
        imbalance: rho, in (0, 1]; 1 keeps all rows.

    Raises:
        ValueError: a regression pool, or shares that do not fit the classes.
    """
    if not n_classes and (label_noise != 0.0 or imbalance != 1.0):
        option = f"label_noise={label_noise!r}" if label_noise != 0.0 else f"imbalance={imbalance!r}"
        raise ValueError(f"{option} needs classes; the pool is for regression")
    if imbalance != 1.0:
        train = _thinned(train, n_classes, imbalance)
    rng = np.random.default_rng([pool_seed, 1])
    if isinstance(label_noise, Sequence):
        return _confused(train, transitions(label_noise, n_classes), rng)
    return _mislabelled(train, label_noise, n_classes, rng)


def transitions(label_noise: Sequence[float | Sequence[float]], n_classes: int) -> Floats:
    """The matrix of class-dependent label noise: entry (i, j) is the share of class i's rows that get the label j.

    Args:
        label_noise: the matrix, K lists of K shares that sum to one; or a share of wrong labels for each class, which
            are spread evenly over the other classes.
        n_classes: number of classes K.

    Returns:
        (K, K).

    Raises:
        ValueError: neither of the two.
    """
    k = n_classes
    kinds = {isinstance(row, Sequence) for row in label_noise}
    sizes = {len(row) for row in label_noise if isinstance(row, Sequence)}
    if len(label_noise) != k or len(kinds) > 1 or sizes - {k}:
        raise ValueError(
            f"label_noise must be a share, {k} shares (one for each class), or {k} lists of {k} shares, "
            f"got {shown(label_noise)}"
        )
    found = np.asarray(label_noise, dtype=np.float64)
    if found.ndim == 1:
        return np.diag(1.0 - found) + (found / (k - 1))[:, None] * (1.0 - np.eye(k))
    off = np.flatnonzero(np.abs(found.sum(1) - 1.0) > _ROUNDING)
    if len(off):
        raise ValueError(
            f"label_noise[{off[0]}] must sum to 1: it is the distribution of the labels that class {off[0]} gets; "
            f"got {shown(label_noise[off[0]])}"
        )
    return found


def _thinned(split: Split, n_classes: int, imbalance: float) -> Split:
    """The first rows of each class: all of the first class's, down to the share ``imbalance`` of the last one's."""
    kept = np.zeros(len(split), dtype=bool)
    for c, share in enumerate(np.geomspace(1.0, imbalance, n_classes)):
        own = np.flatnonzero(split.labels == c)
        kept[own[: max(round(share * len(own)), 1)]] = True
    parts = {name: getattr(split, name) for name in ("soft", "correct")}
    rows = {name: None if array is None else array[kept] for name, array in parts.items()}
    return Split(split.x[kept], split.labels[kept], **rows)


def _mislabelled(split: Split, share: float, n_classes: int, rng: np.random.Generator) -> Split:
    """Give a share of the rows the label of another class, drawn at random."""
    if share == 0.0:
        return split
    wrong, labels = rng.permutation(len(split))[: round(share * len(split))], split.labels.copy()
    labels[wrong] = (labels[wrong] + rng.integers(1, n_classes, len(wrong))) % n_classes
    return _relabelled(split, labels)


def _confused(split: Split, matrix: Floats, rng: np.random.Generator) -> Split:
    """Give each class's rows labels in the shares of its row of the matrix, rounded to whole rows."""
    labels = split.labels.copy()
    for c, shares in enumerate(matrix):
        own = rng.permutation(np.flatnonzero(split.labels == c))
        edges = np.rint(np.cumsum(shares)[:-1] * len(own)).astype(np.int64)
        for label, rows in enumerate(np.split(own, edges)):
            labels[rows] = label
    return _relabelled(split, labels)


def _relabelled(split: Split, labels: npt.NDArray[np.int64]) -> Split:
    return dataclasses.replace(split, labels=labels, correct=split.labels)
