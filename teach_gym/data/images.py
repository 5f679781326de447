"""Pools of images: scikit-learn's digits and MNIST."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from teach_gym.arguments import Count, Within
from teach_gym.data import datasets
from teach_gym.data.corruption import Imbalance, LabelNoise, corrupted
from teach_gym.data.pool import Pool, Split, cut, finished, frozen
from teach_gym.errors import shown


def digits(
    pool_seed: int = 0,
    *,
    classes: Sequence[int] | None = None,
    standardize: bool = False,
    label_noise: LabelNoise = 0.0,
    imbalance: Imbalance = 1.0,
) -> Pool:
    """Real handwritten digits, 8x8 pixels (bundled with scikit-learn), scaled to [-1, 1].

    Args:
        pool_seed: shuffles the rows; 60 % train, 20 % hold-out, 20 % test, stratified by class.
        classes: the digits to keep (default: all ten); they become classes 0, 1, ...
        standardize: scale features by the train split's statistics.
        label_noise: share of the train rows with the label of another class; or such a share for each class; or a
            matrix whose row i says in which shares the rows of class i get each label. Targets are fitted to the true
            labels; hold-out and test rows keep theirs.
        imbalance: train rows of the last class as a share of the first one's, with a geometric scale in between.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, labels = load_digits(return_X_y=True)
    x, labels, names = _keep_classes(x / 8.0 - 1.0, labels, classes)
    x_train, x_rest, y_train, y_rest = train_test_split(
        x, labels, test_size=0.4, stratify=labels, random_state=pool_seed
    )
    x_hold, x_test, y_hold, y_test = train_test_split(
        x_rest, y_rest, test_size=0.5, stratify=y_rest, random_state=pool_seed
    )
    train = corrupted(Split(x_train, y_train), len(names), pool_seed, label_noise=label_noise, imbalance=imbalance)
    splits = [train, Split(x_hold, y_hold), Split(x_test, y_test)]
    return finished("digits", splits, len(names), standardize, classes=names, image_shape=(8, 8))


def mnist(
    pool_seed: int = 0,
    *,
    classes: Sequence[int] | None = None,
    n_train: Count = 1000,
    n_holdout: Count = 500,
    n_test: Count = 1000,
    projection: Annotated[int, Within(1, 100_000)] | None = 24,
    standardize: bool = False,
    binary: bool = False,
    label_noise: LabelNoise = 0.0,
    imbalance: Imbalance = 1.0,
    data_dir: str | None = None,
) -> Pool:
    """MNIST digits, with pixels scaled to [-1, 1] and a Gaussian projection 784 -> 24 (DHT, appendix B).

    Train and hold-out rows come from the training file, test rows from the test file. Projected rows are shown as
    the pixels that best fit them by least squares on the training file's rows (DHT uses the projection's
    pseudo-inverse, which shows mostly noise).

    Args:
        pool_seed: shuffles the rows and draws the projection, entries N(0, 0.1^2).
        classes: the digits to keep (default: all ten); they become classes 0, 1, ...
        n_train: number of train rows.
        n_holdout: number of hold-out rows.
        n_test: number of test rows.
        projection: number of projected features, None for the 784 pixels.
        standardize: scale features by the train split's statistics.
        binary: set pixels to 1 where at least half bright, else to 0, before the projection (DHT's learned teachers).
        label_noise: wrong labels of the train rows, as in ``digits``.
        imbalance: rare classes among the train rows, as in ``digits``.
        data_dir: data folder (default: ``TEACH_GYM_DATA``, else the user's cache folder).

    Raises:
        DataNotFoundError: MNIST is missing; the message names the command that fetches it.
        ValueError: more rows requested than there are.
    """
    rng = np.random.default_rng(pool_seed)
    parts = []
    for fitting, wanted in ((True, n_train + n_holdout), (False, n_test)):
        images, digit = datasets.load_mnist(data_dir, train=fitting)
        x, labels, names = _keep_classes(images.reshape(len(images), -1), digit, classes)
        if wanted > len(x):
            raise ValueError(f"{wanted} rows requested, only {len(x)} found (MNIST, train={fitting}, classes={names})")
        rows = rng.permutation(len(x))[:wanted]
        x = x[rows] / 127.5 - 1.0
        parts.append(((x >= 0.0).astype(np.float64) if binary else x, labels[rows]))
    extra: dict[str, Any] = {}
    if projection is not None:
        matrix = 0.1 * rng.standard_normal((784, projection))
        pixels = parts[0][0]
        parts = [(x @ matrix, labels) for x, labels in parts]
        extra["to_image"] = frozen(np.linalg.lstsq(parts[0][0], pixels, rcond=None)[0])
        extra["projection"] = None if standardize else frozen(matrix)
    train, held = cut(*parts[0], n_train, n_holdout)
    train = corrupted(train, len(names), pool_seed, label_noise=label_noise, imbalance=imbalance)
    splits = [train, held, Split(*parts[1])]
    return finished("mnist", splits, len(names), standardize, classes=names, image_shape=(28, 28), **extra)


def _keep_classes(
    x: npt.NDArray[Any], labels: npt.NDArray[Any], classes: Sequence[int] | None
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64], tuple[str, ...]]:
    """Keep the rows of the given classes and number the classes 0, 1, ..."""
    known = np.unique(labels).tolist()
    kept = known if classes is None else list(classes)
    if len(kept) < 2 or len(set(kept)) != len(kept) or not set(kept) <= set(known):
        raise ValueError(f"classes must be at least two different ones of {known}, got {shown(classes)}")
    index = np.full(max(known) + 1, -1)
    index[kept] = np.arange(len(kept))
    new = index[labels]
    rows = new >= 0
    return x[rows], new[rows].astype(np.int64), tuple(str(c) for c in kept)
