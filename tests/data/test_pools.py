"""The pools: their data against the sources, the splits, and every way a user's file can be wrong."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from pool_cases import save, splits
from sklearn.datasets import load_digits, make_moons

from teach_gym.core.build import make_task
from teach_gym.data.datasets import load_mnist
from teach_gym.data.pools import POOLS, content_digest, make_pool
from teach_gym.errors import DataNotFoundError, TooLargeError

OPTIONS: dict[str, dict[str, Any]] = {
    "linear_regression": {"d": 4, "n": 200},
    "half_moons": {"n": 100},
    "gaussian_clusters": {"n": 200, "n_classes": 3, "d": 3},
    "digits": {"classes": [3, 5]},
    "mnist": {"n_train": 50, "n_holdout": 30, "n_test": 40},
}


@pytest.fixture(params=list(POOLS))
def any_pool(request: pytest.FixtureRequest, tmp_path: Path, own: dict[str, np.ndarray]) -> tuple[str, dict[str, Any]]:
    name = request.param
    return name, {"path": save(tmp_path, **own)} if name == "array" else OPTIONS[name]


def test_pool_shapes_and_types(any_pool: tuple[str, dict[str, Any]]) -> None:
    name, options = any_pool
    pool = make_pool(name, 1, **options)
    assert pool.name == name and pool.d == pool.train.x.shape[1]
    for split in splits(pool):
        assert split.x.shape == (len(split), pool.d) and split.labels.shape == (len(split),) and len(split)
        assert split.x.dtype == np.float64 and split.labels.dtype == (np.int64 if pool.n_classes else np.float64)
        for array in (split.x, split.labels, split.soft):
            assert array is None or np.isfinite(array).all()
        if pool.n_classes:
            assert set(split.labels) <= set(range(pool.n_classes))
    assert len(pool.classes) == pool.n_classes


def test_arrays_of_a_cached_pool_cannot_be_changed(any_pool: tuple[str, dict[str, Any]]) -> None:
    name, options = any_pool
    pool = make_pool(name, 1, **options)
    arrays = [a for s in splits(pool) for a in (s.x, s.labels, s.soft)] + [pool.to_image, pool.projection]
    assert (pool.to_image is None) == (name != "mnist")
    for array in arrays:
        if array is not None:
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1


def test_pool_splits_are_disjoint(any_pool: tuple[str, dict[str, Any]]) -> None:
    name, options = any_pool
    pool = make_pool(name, 1, **options)
    rows = np.concatenate([s.x for s in splits(pool)])
    distinct = len(np.unique(np.round(rows, 12), axis=0))
    assert distinct == len(rows)


def test_pool_is_determined_by_its_seed(any_pool: tuple[str, dict[str, Any]]) -> None:
    name, options = any_pool
    pool, again, other = (make_pool(name, seed, **options) for seed in (1, 1, 2))
    fresh = POOLS[name](1, **options)
    for a, b, c in zip(splits(pool), splits(again), splits(fresh), strict=True):
        np.testing.assert_array_equal(a.x, b.x)
        np.testing.assert_array_equal(a.x, c.x)
        np.testing.assert_array_equal(a.labels, c.labels)
    assert not np.array_equal(pool.train.x, other.train.x)
    assert again is pool


def test_standardize_uses_the_train_statistics(any_pool: tuple[str, dict[str, Any]]) -> None:
    name, options = any_pool
    raw, scaled = (make_pool(name, 3, **options, standardize=flag) for flag in (False, True))
    mean, deviation = raw.train.x.mean(0), raw.train.x.std(0)
    live = deviation > 1e-9
    for a, b in zip(splits(raw), splits(scaled), strict=True):
        np.testing.assert_allclose(b.x[:, live], ((a.x - mean) / np.where(live, deviation, 1))[:, live], atol=1e-10)
        assert np.isfinite(b.x).all()


def test_half_moons_are_scikit_learns() -> None:
    pool = make_pool("half_moons", 7, standardize=False)
    x, labels = make_moons(1000, noise=0.2, random_state=7)
    np.testing.assert_array_equal(pool.train.x, x[:800])
    np.testing.assert_array_equal(pool.train.labels, labels[:800])
    np.testing.assert_array_equal(pool.test.x, x[800:])
    np.testing.assert_array_equal(pool.test.labels, labels[800:])
    assert len(pool.holdout) == 200
    assert not np.isin(pool.holdout.x, x).any()


def test_linear_regression_is_linear_with_the_noise_asked_for() -> None:
    pool = make_pool("linear_regression", 3, d=6, n=2000, noise=0.3)
    x, y = pool.train.x, pool.train.labels
    fitted, *_ = np.linalg.lstsq(x, y, rcond=None)
    for split in splits(pool):
        residual = split.labels - split.x @ fitted
        assert abs(residual.std() - 0.3) < 0.03
    assert scipy.stats.kstest(x.ravel(), "norm").pvalue > 1e-4
    exact = make_pool("linear_regression", 3, d=6, n=50, noise=0)
    fitted, *_ = np.linalg.lstsq(exact.train.x, exact.train.labels, rcond=None)
    np.testing.assert_allclose(exact.test.x @ fitted, exact.test.labels, atol=1e-10)
    assert [len(s) for s in splits(exact)] == [50, 12, 12]
    unit = make_pool("linear_regression", 3, d=6, n=50, noise=0, unit_norm=True)
    np.testing.assert_allclose(np.linalg.norm(unit.train.x, axis=1), 1.0)
    np.testing.assert_allclose(unit.train.x @ fitted, unit.train.labels, atol=1e-10)


def test_gaussian_clusters_have_their_means_and_spread() -> None:
    for k, d in ((2, 2), (4, 3)):
        pool = make_pool(
            "gaussian_clusters", 5, n=4000, n_classes=k, d=d, spread=0.5, separation=3.0, standardize=False
        )
        means = np.stack([pool.train.x[pool.train.labels == i].mean(0) for i in range(k)])
        np.testing.assert_allclose(np.linalg.norm(means, axis=1), 3.0, atol=0.1)
        if k == 2:
            np.testing.assert_allclose(means[0], -means[1], atol=0.1)
        rest = pool.train.x - means[pool.train.labels]
        assert abs(rest.std() - 0.5) < 0.02
        counts = sum(np.bincount(s.labels, minlength=k) for s in splits(pool))
        assert np.ptp(counts) <= 1 and [len(s) for s in splits(pool)] == [3200, 800, 800]


@pytest.mark.parametrize("classes", [None, [3, 5], [7, 0, 2]], ids=str)
def test_digits_are_the_real_ones(classes: list[int] | None) -> None:
    pool = make_pool("digits", 1, classes=classes)
    kept = list(range(10)) if classes is None else classes
    x, labels = load_digits(return_X_y=True)
    x, labels = x[np.isin(labels, kept)], labels[np.isin(labels, kept)]
    rows = np.concatenate([np.column_stack([(s.x + 1) * 8, np.array(kept)[s.labels]]) for s in splits(pool)])
    truth = np.column_stack([x, labels])
    np.testing.assert_array_equal(rows[np.lexsort(rows.T)], truth[np.lexsort(truth.T)])
    assert pool.classes == tuple(map(str, kept)) and pool.image_shape == (8, 8)
    assert pool.train.x.min() == -1.0 and pool.train.x.max() == 1.0
    assert [round(len(s) / len(x), 2) for s in splits(pool)] == [0.6, 0.2, 0.2]
    shares = [np.bincount(s.labels) / len(s) for s in splits(pool)]
    np.testing.assert_allclose(shares[0], shares[1], atol=0.01)


@pytest.mark.parametrize("share", [0.1, 0.37])
def test_label_noise_changes_a_share_of_the_train_labels(share: float) -> None:
    clean, noisy = (make_pool("digits", 3, label_noise=p) for p in (0.0, share))
    wrong = noisy.train.labels != clean.train.labels
    assert wrong.sum() == round(share * len(wrong))
    assert set(noisy.train.labels[wrong].tolist()) == set(range(10))
    np.testing.assert_array_equal(noisy.train.corrected().labels, clean.train.labels)
    assert clean.train.corrected() is clean.train and clean.train.correct is None
    for name in ("holdout", "test"):
        np.testing.assert_array_equal(getattr(noisy, name).labels, getattr(clean, name).labels)
    np.testing.assert_array_equal(noisy.train.x, clean.train.x)
    scaled = make_pool("digits", 3, label_noise=share, standardize=True).train
    np.testing.assert_array_equal(scaled.corrected().labels, clean.train.labels)


def test_targets_are_fitted_to_the_right_labels_and_wrong_ones_are_offered() -> None:
    tasks = [make_task("LabelDigits", pool_options={"classes": [3, 5], "label_noise": p}) for p in (0.0, 0.3)]
    np.testing.assert_array_equal(tasks[0].target, tasks[1].target)
    np.testing.assert_allclose((tasks[0].y != tasks[1].y).mean(), 0.3, atol=0.005)


def test_mnist_pixels_are_those_of_the_files() -> None:
    pool = make_pool("mnist", 4, classes=[3, 5], n_train=60, n_holdout=30, n_test=40, projection=None)
    assert pool.d == 784 and pool.train.x.min() == -1.0 and pool.train.x.max() == 1.0
    for train, chosen in ((True, [pool.train, pool.holdout]), (False, [pool.test])):
        images, labels = load_mnist(train=train)
        known = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
        for split in chosen:
            pixels = np.round((split.x + 1) * 127.5)
            np.testing.assert_allclose((split.x + 1) * 127.5, pixels, atol=1e-9)
            found = [known[row.astype(np.uint8).tobytes()] for row in pixels]
            assert found == np.array([3, 5])[split.labels].tolist()


def test_mnist_projection_is_gaussian_and_shown_by_least_squares() -> None:
    sizes = {"n_train": 2000, "n_holdout": 30, "n_test": 40}
    plain, small = (make_pool("mnist", 4, **sizes, projection=p) for p in (None, 24))
    assert small.d == 24 and small.to_image is not None and small.to_image.shape == (24, 784)
    # one matrix maps the pixels of all splits to the features
    pixels, features = (np.concatenate([p.train.x, p.holdout.x, p.test.x]) for p in (plain, small))
    rebuilt, _, rank, _ = np.linalg.lstsq(pixels, features, rcond=None)
    assert rank < len(pixels)
    np.testing.assert_allclose(pixels @ rebuilt, features, atol=1e-8)
    # a row x is mapped to N(0, 0.1^2 ||x||^2) entries
    scaled = features[0] / (0.1 * np.linalg.norm(pixels[0]))
    assert scipy.stats.kstest(scaled, "norm").pvalue > 1e-3
    # least squares: the residual of the shown pixels is orthogonal to the features
    fitted = len(plain.train) + len(plain.holdout)  # the rows of the training file
    gap = features[:fitted] @ small.to_image - pixels[:fitted]
    np.testing.assert_allclose(features[:fitted].T @ gap, 0.0, atol=1e-6)


def test_mnist_refuses_more_rows_than_there_are() -> None:
    n = len(load_mnist(train=True)[1])
    with pytest.raises(ValueError, match=rf"{n + 1} .*{n}"):
        make_pool("mnist", n_train=n, n_holdout=1)


@pytest.mark.parametrize("name", [n for n in POOLS if n != "array"])
def test_pools_without_a_users_file_have_no_digest(name: str) -> None:
    assert content_digest(name, OPTIONS[name]) == ""


BAD_OPTIONS: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    ("half_moon", {}, ValueError, "half_moon'.*half_moons"),
    ("half_moons", {"d": 2}, TypeError, r"\bd\b.*noise"),
    ("half_moons", {"n": 4}, ValueError, "n must be.*4"),
    ("half_moons", {"n": 0}, ValueError, "n must be.*0"),
    ("half_moons", {"n": 10.5}, TypeError, r"n must be.*10\.5"),
    ("half_moons", {"noise": -0.1}, ValueError, r"noise.*-0\.1"),
    ("half_moons", {"noise": "0.1"}, TypeError, r"noise.*'0\.1'"),
    ("linear_regression", {"d": 0}, ValueError, "d must be.*0"),
    ("linear_regression", {"noise": float("nan")}, ValueError, "noise.*nan"),
    ("gaussian_clusters", {"n_classes": 1}, ValueError, "n_classes.*2.*1"),
    ("gaussian_clusters", {"spread": -1.0}, ValueError, r"spread.*-1\.0"),
    ("gaussian_clusters", {"separation": -1.0}, ValueError, r"separation.*-1\.0"),
    ("digits", {"classes": [3]}, ValueError, r"at least two.*\[3\]"),
    ("digits", {"classes": [3, 3]}, ValueError, r"\[3, 3\]"),
    ("digits", {"classes": [3, 10]}, ValueError, r"0, 1.*\[3, 10\]"),
    ("digits", {"classes": "35"}, TypeError, "classes must be a list.*'35'"),
    ("digits", {"classes": 5}, TypeError, "classes must be a list.*5"),
    ("digits", {"classes": {1: 2}}, TypeError, "classes must be a list"),
    ("digits", {"classes": [3.0, 5.0]}, TypeError, r"classes\[0\] must be an integer.*3\.0"),
    ("digits", {"standardize": "no"}, TypeError, "standardize must be True or False.*'no'"),
    ("digits", {"standardize": "False"}, TypeError, "standardize.*'False'"),
    ("digits", {"standardize": []}, TypeError, r"standardize.*\[\]"),
    ("digits", {"standardise": True}, TypeError, "standardise.*did you mean 'standardize'"),
    ("digits", {"pool_seed": 3}, TypeError, "no option 'pool_seed'.*task's own arguments"),
    ("half_moons", {"n": False}, TypeError, "n must be.*False"),
    ("half_moons", {"n": 10**300}, ValueError, "n must be"),
    ("half_moons", {"n": 10**12}, TooLargeError, r"1,200,000,000,000 rows.*17\.5 TiB.*4 GiB"),
    ("linear_regression", {"d": 10**9}, TooLargeError, "rows of 1,000,000,000 features.*TiB"),
    ("gaussian_clusters", {"n": 1000, "n_classes": 201}, ValueError, "n / 5.*201 of 1000"),
    ("array", {"path": "x.npz", "holdout": 0.0}, ValueError, r"holdout.*0\.0"),
    ("array", {"path": "x.npz", "test": -0.1}, ValueError, r"test.*-0\.1"),
    ("array", {"path": 5}, TypeError, "path must be a text.*5"),
    ("array", {"path": "none\0.npz"}, DataNotFoundError, "none"),
    ("mnist", {"projection": 0}, ValueError, "projection.*0"),
    ("mnist", {"n_train": -5}, ValueError, "n_train.*-5"),
]


@pytest.mark.parametrize(("name", "options", "kind", "message"), BAD_OPTIONS, ids=lambda v: str(v)[:30])
def test_pools_refuse(name: str, options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        make_pool(name, **options)


def test_pool_options_do_not_confuse_the_cache() -> None:
    """The same pool under another spelling of the options, and another pool under almost the same ones."""
    a, b, c = (make_pool("half_moons", **o) for o in ({"n": 100, "noise": 0.2}, {"noise": 0.2, "n": 100}, {"n": 101}))
    assert a is b and a is not c
    assert make_pool("digits", classes=(3, 5)) is make_pool("digits", classes=[3, 5])
    assert not np.array_equal(
        make_pool("digits", classes=[3, 5]).train.labels, make_pool("digits", classes=[5, 3]).train.labels
    )


def test_every_pool_option_is_documented() -> None:
    for function in POOLS.values():
        for option in inspect.signature(function).parameters:
            assert f"{option}:" in (function.__doc__ or ""), (function.__name__, option)


@pytest.mark.parametrize(("n", "noise", "seed"), [(300, 0.1, 0), (301, 0.3, 7), (60, 0.0, 123)])
def test_half_moons_are_those_of_scikit_learn(n: int, noise: float, seed: int) -> None:
    from teach_gym.data.generated import _moons

    for ours, theirs in zip(_moons(n, noise, seed), make_moons(n, noise=noise or None, random_state=seed), strict=True):
        np.testing.assert_array_equal(ours, theirs)
