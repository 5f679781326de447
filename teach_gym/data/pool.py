"""A pool: the data a teacher teaches from, split into train, hold-out and test rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of a pool.

    Attributes:
        x: (n, d) features.
        labels: (n,) class indices (int64), or real targets (float64) for regression.
        soft: (n, K) soft labels given with the data, or None.
        correct: (n,) the labels before label noise was added (``label_noise``), or None if there is none.
    """

    x: Floats
    labels: npt.NDArray[Any]
    soft: Floats | None = None
    correct: npt.NDArray[Any] | None = None

    def __repr__(self) -> str:
        return f"Split(x of shape {self.x.shape})"

    def __len__(self) -> int:
        return len(self.x)

    def corrected(self) -> Split:
        """The rows with their correct labels, which targets are fitted to."""
        return self if self.correct is None else dataclasses.replace(self, labels=self.correct, correct=None)


@dataclass(frozen=True, eq=False)
class Pool:
    """A data set with its splits.

    Attributes:
        name: its name in ``POOLS``.
        train: rows offered to the teacher at each step.
        holdout: rows for black-box observations and rewards, and for model selection.
        test: rows for reporting only.
        n_classes: number of classes, 0 for regression.
        classes: the names of the classes, such as digits.
        image_shape: (rows, columns) if a row can be shown as an image.
        to_image: (d, rows * columns), maps features to pixels (None: features are pixels).
        projection: (rows * columns, d) matrix that maps pixels to features, or None.
        digest: SHA-256 of the user's file that the rows were read from, empty for other pools.
    """

    name: str
    train: Split
    holdout: Split
    test: Split
    n_classes: int
    classes: tuple[str, ...] = ()
    image_shape: tuple[int, int] | None = None
    to_image: Floats | None = None
    projection: Floats | None = None
    digest: str = ""

    def __repr__(self) -> str:
        parts = ", ".join(f"{name} {getattr(self, name).x.shape}" for name in ("train", "holdout", "test"))
        return f"Pool({self.name!r}, {parts}, {self.n_classes} classes)"

    @property
    def d(self) -> int:
        """Number of features."""
        return int(self.train.x.shape[1])


def frozen(array: npt.NDArray[T]) -> npt.NDArray[T]:
    """Make an array read-only, since tasks and environments share it."""
    array.setflags(write=False)
    return array


def _freeze(split: Split) -> Split:
    split = dataclasses.replace(split, x=np.asfortranarray(split.x, dtype=np.float64))
    parts = {"features": split.x, "labels": split.labels, "soft labels": split.soft, "correct labels": split.correct}
    for name, array in parts.items():
        if array is not None and not np.isfinite(frozen(array)).all():
            raise ValueError(f"the pool's {name} hold NaN or infinite values; all must be finite")
    return split


def _standardized(splits: Sequence[Split]) -> list[Split]:
    """Zero mean and unit variance per feature, by the statistics of the first split."""
    mean = splits[0].x.mean(0)
    scale = splits[0].x.std(0)
    scale = np.where(scale > 1e-12, scale, 1.0)
    return [dataclasses.replace(s, x=(s.x - mean) / scale) for s in splits]


def finished(name: str, splits: Sequence[Split], n_classes: int, standardize: bool, **extra: Any) -> Pool:
    """A pool made of splits, standardised if requested, with read-only arrays.

    Raises:
        ValueError: NaN or infinite values.
    """
    if standardize:
        splits = _standardized(splits)
    train, holdout, test = (_freeze(s) for s in splits)
    return Pool(name, train, holdout, test, n_classes, **extra)


def cut(x: Floats, labels: npt.NDArray[Any], *sizes: int) -> list[Split]:
    """Cut consecutive rows into splits of the given sizes."""
    edges = np.cumsum(sizes)[:-1]
    return [Split(a, b) for a, b in zip(np.split(x, edges), np.split(labels, edges), strict=True)]
