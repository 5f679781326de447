"""Pools: the data a teacher teaches from, each split into train, hold-out and test rows by a ``pool_seed``.

Every pool is made by a function of plain JSON values listed in ``POOLS``; arrays are read-only and cached,
so a thousand environments share one copy.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from teach_gym.data import datasets, user_file
from teach_gym.errors import check_options, lookup_name, number, positive

Floats = npt.NDArray[np.float64]
T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of a pool.

    Attributes:
        x: (n, d) features.
        labels: (n,) class indices (int64), or real targets (float64) for regression.
        soft: (n, K) soft labels given with the data, or None.
        correct: (n,) the labels before some were made wrong (``label_noise``), or None where ``labels`` are these.
    """

    x: Floats
    labels: npt.NDArray[Any]
    soft: Floats | None = None
    correct: npt.NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.x)

    def corrected(self) -> Split:
        """The rows with their correct labels, to which targets are fitted."""
        return self if self.correct is None else dataclasses.replace(self, labels=self.correct, correct=None)


@dataclass(frozen=True, eq=False)
class Pool:
    """A data set with its splits.

    Attributes:
        name: the name it was made by.
        train: rows the teacher offers to the learner.
        holdout: rows for black-box rewards and model choice.
        test: rows for reporting only.
        n_classes: number of classes, 0 for regression.
        classes: what the class indices mean (digits, say).
        image_shape: (rows, columns) where a row can be shown as an image.
        to_image: (d, rows * columns), maps features to pixels (None: features are pixels).
        projection: (rows * columns, d), the features are the pixels times this (None: they are not, see ``to_image``).
        digest: SHA-256 of the user's file the rows were read from, empty for pools without one.
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

    @property
    def d(self) -> int:
        """Number of features."""
        return int(self.train.x.shape[1])


def frozen(array: npt.NDArray[T]) -> npt.NDArray[T]:
    """Make an array read-only: it is shared by all tasks and environments that use it."""
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


def _finish(name: str, splits: Sequence[Split], n_classes: int, standardize: bool, **extra: Any) -> Pool:
    if standardize:
        splits = _standardized(splits)
    train, holdout, test = (_freeze(s) for s in splits)
    return Pool(name, train, holdout, test, n_classes, **extra)


def _cut(x: Floats, labels: npt.NDArray[Any], *sizes: int) -> list[Split]:
    edges = np.cumsum(sizes)[:-1]
    return [Split(a, b) for a, b in zip(np.split(x, edges), np.split(labels, edges), strict=True)]


def linear_regression(
    pool_seed: int = 0, *, d: int = 5, n: int = 500, noise: float = 0.1, standardize: bool = False
) -> Pool:
    """Linear regression, y = <w_true, x> + noise with standard normal x and w_true (LAST 6.1).

    Args:
        pool_seed: draws w_true, x and the noise.
        d: number of features.
        n: train rows; hold-out and test have n / 4 rows each.
        noise: standard deviation of the noise.
        standardize: scale features by the train split's statistics.
    """
    rng = np.random.default_rng(pool_seed)
    true = rng.standard_normal(d)
    sizes = (n, max(n // 4, 1), max(n // 4, 1))
    x = rng.standard_normal((sum(sizes), d))
    y = x @ true + noise * rng.standard_normal(len(x))
    return _finish("linear_regression", _cut(x, y, *sizes), 0, standardize)


def half_moons(pool_seed: int = 0, *, n: int = 1000, noise: float = 0.2, standardize: bool = True) -> Pool:
    """Two half moons in the plane (scikit-learn), 80 % train and 20 % test rows, as many hold-out as test.

    The first n rows are exactly ``sklearn.datasets.make_moons(n, noise=noise, random_state=pool_seed)``,
    train rows first (DHT, appendix B: 800 and 200 of 1,000, noise 0.2).

    Args:
        pool_seed: scikit-learn's random_state; the hold-out rows come from a seed derived from it.
        n: train and test rows together.
        noise: standard deviation of the noise.
        standardize: scale features by the train split's statistics (the papers do not).
    """
    from sklearn.datasets import make_moons

    n_test = n // 5
    x, labels = make_moons(n, noise=noise, random_state=pool_seed)
    train, test = _cut(x, labels.astype(np.int64), n - n_test, n_test)
    hold_seed = int(np.random.SeedSequence([pool_seed, 1]).generate_state(1)[0])
    x, labels = make_moons(n_test, noise=noise, random_state=hold_seed)
    holdout = Split(x, labels.astype(np.int64))
    return _finish("half_moons", [train, holdout, test], 2, standardize, classes=("0", "1"))


def gaussian_clusters(
    pool_seed: int = 0,
    *,
    d: int = 2,
    n: int = 1000,
    n_classes: int = 2,
    spread: float = 1.0,
    separation: float = 2.0,
    standardize: bool = True,
) -> Pool:
    """Gaussian clusters, one a class, with means on a sphere (two classes: at opposite points).

    Args:
        pool_seed: draws the means' directions and the points.
        d: number of features.
        n: train and test rows together (80 % and 20 %), and n / 5 hold-out rows.
        n_classes: number of clusters.
        spread: standard deviation of each cluster.
        separation: distance of the means from the origin, in the features' units.
        standardize: scale features by the train split's statistics.
    """
    rng = np.random.default_rng(pool_seed)
    means = rng.standard_normal((n_classes, d))
    if n_classes == 2:
        means[1] = -means[0]
    means *= separation / np.linalg.norm(means, axis=1, keepdims=True)
    sizes = (n - n // 5, n // 5, n // 5)
    labels = rng.permutation(np.arange(sum(sizes)) % n_classes)
    x = means[labels] + spread * rng.standard_normal((sum(sizes), d))
    names = tuple(str(k) for k in range(n_classes))
    return _finish("gaussian_clusters", _cut(x, labels, *sizes), n_classes, standardize, classes=names)


def _mislabelled(split: Split, share: float, n_classes: int, rng: np.random.Generator) -> Split:
    """The rows, a share of them with the label of another class drawn at random; ``correct`` keeps the right ones.

    Raises:
        ValueError: a share outside [0, 1).
    """
    number("label_noise", share)
    if not 0.0 <= share < 1.0:
        raise ValueError(f"label_noise must lie in [0, 1), got {share!r}")
    if share == 0.0:
        return split
    wrong, labels = rng.permutation(len(split))[: round(share * len(split))], split.labels.copy()
    labels[wrong] = (labels[wrong] + rng.integers(1, n_classes, len(wrong))) % n_classes
    return dataclasses.replace(split, labels=labels, correct=split.labels)


def digits(
    pool_seed: int = 0,
    *,
    classes: Sequence[int] | None = None,
    standardize: bool = False,
    label_noise: float = 0.0,
) -> Pool:
    """Real handwritten digits, 8x8 pixels (bundled with scikit-learn), scaled to [-1, 1].

    Args:
        pool_seed: shuffles the rows; 60 % train, 20 % hold-out, 20 % test, stratified by class.
        classes: the digits to keep (default: all ten); they become classes 0, 1, ...
        standardize: scale features by the train split's statistics.
        label_noise: share of the train rows with the label of another class; the target is fitted to the right ones.
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
    train = _mislabelled(Split(x_train, y_train), label_noise, len(names), np.random.default_rng([pool_seed, 1]))
    splits = [train, Split(x_hold, y_hold), Split(x_test, y_test)]
    return _finish("digits", splits, len(names), standardize, classes=names, image_shape=(8, 8))


def mnist(
    pool_seed: int = 0,
    *,
    classes: Sequence[int] | None = None,
    n_train: int = 1000,
    n_holdout: int = 500,
    n_test: int = 1000,
    projection: int | None = 24,
    standardize: bool = False,
    binary: bool = False,
    data_dir: str | None = None,
) -> Pool:
    """MNIST digits, pixels scaled to [-1, 1], through a Gaussian projection 784 -> 24 (DHT, appendix B).

    Train and hold-out rows come from the training file, test rows from the test file. Projected rows are shown as
    the pixels that best fit them by least squares on the training file's rows (DHT uses the projection's
    pseudo-inverse, which knows nothing of digits and shows mostly noise).

    Args:
        pool_seed: shuffles the rows and draws the projection, entries N(0, 0.1^2).
        classes: the digits to keep (default: all ten); they become classes 0, 1, ...
        n_train: train rows.
        n_holdout: hold-out rows.
        n_test: test rows.
        projection: number of projected features, None for the 784 pixels.
        standardize: scale features by the train split's statistics.
        binary: pixels 1 where at least half bright and else 0, before the projection (DHT's learned teachers).
        data_dir: data folder (default: ``TEACH_GYM_DATA``, else the user's cache folder).

    Raises:
        DataNotFoundError: no MNIST there; the message names the command that fetches it.
        ValueError: more rows asked for than there are.
    """
    rng = np.random.default_rng(pool_seed)
    parts = []
    for train, wanted in ((True, n_train + n_holdout), (False, n_test)):
        images, digit = datasets.load_mnist(data_dir, train=train)
        x, labels, names = _keep_classes(images.reshape(len(images), -1), digit, classes)
        if wanted > len(x):
            raise ValueError(f"{wanted} rows asked for, {len(x)} there (MNIST, train={train}, classes={names})")
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
    splits = [*_cut(*parts[0], n_train, n_holdout), Split(*parts[1])]
    return _finish("mnist", splits, len(names), standardize, classes=names, image_shape=(28, 28), **extra)


def array(
    pool_seed: int = 0,
    *,
    path: str,
    holdout: float = 0.2,
    test: float = 0.2,
    standardize: bool = False,
) -> Pool:
    """A user's own data: an .npz file with ``X`` (n, d), ``y`` (n,) and optionally ``soft`` (n, K).

    Integer ``y`` are classes 0 ... K-1, floating ``y`` regression targets.

    Args:
        pool_seed: shuffles the rows before splitting.
        path: the .npz file.
        holdout: fraction of hold-out rows.
        test: fraction of test rows.
        standardize: scale features by the train split's statistics.

    Raises:
        DataNotFoundError: no such file.
        DamagedDataError: not an .npz file with these arrays.
        ValueError: shapes or types that do not fit, classes that are not 0 ... K-1, soft labels that are no probability
            distributions, NaN data, or more data than fits in memory.
    """
    x, y, soft, digest = user_file.load(path)
    if not (holdout > 0 and test > 0 and holdout + test < 1):
        raise ValueError(f"holdout and test must be > 0 with sum < 1, got {holdout!r} and {test!r}")
    n_classes = int(y.max()) + 1 if y.dtype.kind == "i" else 0
    order = np.random.default_rng(pool_seed).permutation(len(x))
    n_hold, n_test = (max(round(f * len(x)), 1) for f in (holdout, test))
    edges = [len(x) - n_hold - n_test, len(x) - n_test]
    if edges[0] < 1:
        raise ValueError(f"holdout={holdout!r} and test={test!r} leave no train row of {len(x)}")
    splits = [Split(x[i], y[i], None if soft is None else soft[i]) for i in np.split(order, edges)]
    names = tuple(str(k) for k in range(n_classes))
    return _finish("array", splits, n_classes, standardize, classes=names, digest=digest)


def _keep_classes(
    x: npt.NDArray[Any], labels: npt.NDArray[Any], classes: Sequence[int] | None
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64], tuple[str, ...]]:
    """Keep the rows of the given classes and number these 0, 1, ..."""
    known = np.unique(labels).tolist()
    kept = known if classes is None else list(classes)
    if len(kept) < 2 or len(set(kept)) != len(kept) or not set(kept) <= set(known):
        raise ValueError(f"classes must be two or more different ones of {known}, got {classes!r}")
    index = np.full(max(known) + 1, -1)
    index[kept] = np.arange(len(kept))
    new = index[labels]
    rows = new >= 0
    return x[rows], new[rows].astype(np.int64), tuple(str(c) for c in kept)


POOLS: dict[str, Callable[..., Pool]] = {
    f.__name__: f for f in (linear_regression, half_moons, gaussian_clusters, digits, mnist, array)
}


def content_digest(name: str, options: Mapping[str, Any]) -> str:
    """What a pool's rows depend on besides its name, seed and options: SHA-256 of the user's file it reads.

    Empty for the other pools: their rows follow from the seed, or come from files whose content is known (MNIST).
    ``make_pool(name, seed, **options).digest`` is the same for the content that was really read.

    Args:
        name: a key of ``POOLS``.
        options: that pool's options.

    Raises:
        DataNotFoundError: the file is not there.
    """
    path = options.get("path") if name == "array" else None
    return user_file.digest(path) if isinstance(path, str) else ""


def make_pool(name: str, pool_seed: int = 0, **options: Any) -> Pool:
    """Make a pool by name, from the cache if it was made before.

    Args:
        name: a key of ``POOLS``.
        pool_seed: the seed of its splits and draws.
        **options: the arguments of that pool's function.

    Raises:
        ValueError: unknown name or a value out of range.
        TypeError: an option that pool does not have.
    """
    maker = lookup_name("pool", name, POOLS)
    check_options("pool", name, maker, options)
    for key in ("n", "d", "n_train", "n_holdout", "n_test", "n_classes", "projection"):
        if key in options and not (key == "projection" and options[key] is None):
            positive(key, options[key], integer=True)
    for key in ("spread", "separation", "noise"):
        if options.get(key, 0) != 0:
            positive(key, options[key])
    for key, least in (("n", 5), ("n_classes", 2)):
        if options.get(key, least) < least:
            raise ValueError(f"{key} must be at least {least}, got {options[key]!r}")
    if maker is mnist:
        options["data_dir"] = str(datasets.data_dir(options.get("data_dir")))
    return _cached(name, json.dumps([pool_seed, options], sort_keys=True), content_digest(name, options))


@functools.lru_cache(maxsize=32)
def _cached(name: str, key: str, content: str) -> Pool:
    """The pool of a JSON list of seed and options, made again when its file's content changes."""
    pool_seed, options = json.loads(key)
    pool = POOLS[name](pool_seed, **options)
    if pool.digest != content:
        raise RuntimeError(f"the file of pool {name!r} was changed while it was read: {options}")
    return pool
