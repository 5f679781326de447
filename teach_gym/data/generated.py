"""Pools generated from a seed: linear regression, half moons, Gaussian clusters."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import numpy.typing as npt

from teach_gym.arguments import Count, NonNegative, Within
from teach_gym.data.corruption import Imbalance, LabelNoise, corrupted
from teach_gym.data.pool import Pool, Split, cut, finished
from teach_gym.errors import DATA_MEMORY, affordable

Rows = Annotated[int, Within(5, 10**15)]
"""A number of rows large enough to split."""


def _affordable(rows: int, d: int) -> None:
    affordable(f"{rows:,} rows of {d:,} features", 8 * rows * d, DATA_MEMORY)


def linear_regression(
    pool_seed: int = 0,
    *,
    d: Count = 5,
    n: Rows = 500,
    noise: NonNegative = 0.1,
    unit_norm: bool = False,
    standardize: bool = False,
) -> Pool:
    """Linear regression, y = <w_true, x> + noise with standard normal x and w_true (LAST 6.1).

    Args:
        pool_seed: draws w_true, x and the noise.
        d: number of features.
        n: number of train rows; hold-out and test have n / 4 rows each.
        noise: standard deviation of the noise.
        unit_norm: divide each x by its norm, before y is made of it.
        standardize: scale features by the train split's statistics.
    """
    rng = np.random.default_rng(pool_seed)
    sizes = (n, max(n // 4, 1), max(n // 4, 1))
    _affordable(sum(sizes), d)
    true = rng.standard_normal(d)
    x = rng.standard_normal((sum(sizes), d))
    if unit_norm:
        x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = x @ true + noise * rng.standard_normal(len(x))
    return finished("linear_regression", cut(x, y, *sizes), 0, standardize)


def half_moons(
    pool_seed: int = 0,
    *,
    n: Rows = 1000,
    noise: NonNegative = 0.2,
    standardize: bool = True,
    label_noise: LabelNoise = 0.0,
    imbalance: Imbalance = 1.0,
) -> Pool:
    """Two half moons in the plane (scikit-learn): 80 % train and 20 % test rows, and as many hold-out as test rows.

    The first n rows are exactly ``sklearn.datasets.make_moons(n, noise=noise, random_state=pool_seed)``,
    train rows first (DHT, appendix B: 800 and 200 of 1,000, noise 0.2).

    Args:
        pool_seed: scikit-learn's random_state; the hold-out rows come from a seed derived from it.
        n: number of train and test rows together.
        noise: standard deviation of the noise.
        standardize: scale features by the train split's statistics (the papers do not).
        label_noise: wrong labels of the train rows, as in ``digits``.
        imbalance: rare classes among the train rows, as in ``digits``.
    """
    n_test = n // 5
    _affordable(n + n_test, 2)
    x, labels = _moons(n, noise, pool_seed)
    train, test = cut(x, labels, n - n_test, n_test)
    hold_seed = int(np.random.SeedSequence([pool_seed, 1]).generate_state(1)[0])
    x, labels = _moons(n_test, noise, hold_seed)
    holdout = Split(x, labels)
    train = corrupted(train, 2, pool_seed, label_noise=label_noise, imbalance=imbalance)
    return finished("half_moons", [train, holdout, test], 2, standardize, classes=("0", "1"))


def _moons(n: int, noise: float, seed: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """What ``sklearn.datasets.make_moons`` returns, (n, 2) and (n,), bit by bit; importing that takes over a second."""
    upper, lower = (np.linspace(0, np.pi, size) for size in (n // 2, n - n // 2))
    x = np.concatenate([np.cos(upper), 1 - np.cos(lower)]), np.concatenate([np.sin(upper), 1 - np.sin(lower) - 0.5])
    rng, order = np.random.RandomState(seed), np.arange(n)
    rng.shuffle(order)
    points = np.stack(x, axis=1)[order]
    points += rng.normal(scale=noise, size=points.shape)
    return points, (np.arange(n) >= n // 2).astype(np.int64)[order]


def gaussian_clusters(
    pool_seed: int = 0,
    *,
    d: Count = 2,
    n: Rows = 1000,
    n_classes: Annotated[int, Within(2, 2**31 - 1)] = 2,
    spread: NonNegative = 1.0,
    separation: NonNegative = 2.0,
    standardize: bool = True,
    label_noise: LabelNoise = 0.0,
    imbalance: Imbalance = 1.0,
) -> Pool:
    """Gaussian clusters, one per class, with means on a sphere (two classes: at opposite points).

    Args:
        pool_seed: draws the means' directions and the points.
        d: number of features.
        n: number of train and test rows together (80 % and 20 %); there are n / 5 hold-out rows.
        n_classes: number of clusters.
        spread: standard deviation of each cluster.
        separation: distance of the means from the origin, in the features' units.
        standardize: scale features by the train split's statistics.
        label_noise: wrong labels of the train rows, as in ``digits``.
        imbalance: rare classes among the train rows, as in ``digits``.
    """
    if n_classes > n // 5:
        raise ValueError(
            f"n_classes must be at most n / 5, so that every split has a row of each class, got {n_classes} of {n}"
        )
    _affordable(n + n // 5, d)
    rng = np.random.default_rng(pool_seed)
    means = rng.standard_normal((n_classes, d))
    if n_classes == 2:
        means[1] = -means[0]
    means *= separation / np.linalg.norm(means, axis=1, keepdims=True)
    sizes = (n - n // 5, n // 5, n // 5)
    labels = rng.permutation(np.arange(sum(sizes)) % n_classes)
    x = means[labels] + spread * rng.standard_normal((sum(sizes), d))
    names = tuple(str(k) for k in range(n_classes))
    train, holdout, test = cut(x, labels, *sizes)
    train = corrupted(train, n_classes, pool_seed, label_noise=label_noise, imbalance=imbalance)
    return finished("gaussian_clusters", [train, holdout, test], n_classes, standardize, classes=names)
