"""Wrong labels and rare classes: only in the train split, in the shares asked for, in every pool with classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pool_cases import save

from teach_gym.core.build import make_task
from teach_gym.data.corruption import corrupted, transitions
from teach_gym.data.pool import Pool, Split
from teach_gym.data.pools import POOLS, make_pool

OPTIONS: dict[str, dict[str, Any]] = {
    "half_moons": {"n": 500},
    "gaussian_clusters": {"n": 1000, "n_classes": 4, "d": 3},
    "digits": {},
    "mnist": {"classes": [1, 4, 7], "n_train": 300, "n_holdout": 30, "n_test": 40, "projection": 8},
}
CLASSED = [name for name in POOLS if name != "linear_regression"]


@pytest.fixture(params=CLASSED)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Makes a pool with classes, with further options."""
    name, options = request.param, OPTIONS.get(request.param, {})
    if name == "array":
        rng = np.random.default_rng(0)
        soft = rng.dirichlet(np.ones(3), 400)
        options = {"path": save(tmp_path, X=rng.normal(size=(400, 2)), y=np.arange(400) % 3, soft=soft)}

    def make(seed: int = 3, **more: Any) -> Pool:
        return make_pool(name, seed, **options, **more)

    return make


def shares(pool: Pool) -> np.ndarray:
    """Share of each true class's train rows with each label: (K, K)."""
    k = pool.n_classes
    counts = np.zeros((k, k))
    np.add.at(counts, (pool.train.corrected().labels, pool.train.labels), 1.0)
    return np.asarray(counts / counts.sum(1, keepdims=True))


def same(a: Split, b: Split, *names: str) -> None:
    for name in names:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_a_share_of_wrong_labels_whatever_the_class(made: Any) -> None:
    clean, noisy, other = made(), made(label_noise=0.4), made(seed=4, label_noise=0.4)
    wrong = noisy.train.labels != clean.train.labels
    assert wrong.sum() == round(0.4 * len(wrong))
    same(noisy.train.corrected(), clean.train, "x", "labels")
    for name in ("holdout", "test"):
        same(getattr(noisy, name), getattr(clean, name), "x", "labels")
        assert getattr(noisy, name).correct is None
    k, found = clean.n_classes, shares(noisy)
    np.testing.assert_allclose(found, 0.6 * np.eye(k) + 0.4 / (k - 1) * (1 - np.eye(k)), atol=0.16)
    assert not np.array_equal(other.train.labels != other.train.corrected().labels, wrong)


def test_class_dependent_noise_has_the_shares_of_its_matrix(made: Any) -> None:
    k = made().n_classes
    matrix = np.random.default_rng(1).dirichlet(np.ones(k), k)
    matrix[0] = np.eye(k)[0]
    noisy = made(label_noise=matrix.tolist())
    rows = np.bincount(noisy.train.corrected().labels, minlength=k)
    assert (np.abs(shares(noisy) - matrix) * rows[:, None] <= 1.0 + 1e-9).all()
    same(noisy.holdout, made().holdout, "labels")
    same(noisy.train.corrected(), made().train, "labels")


def test_a_share_for_each_class_is_spread_over_the_others(made: Any) -> None:
    k = made().n_classes
    each = np.linspace(0.0, 0.6, k)
    noisy = made(label_noise=each.tolist())
    rows = np.bincount(noisy.train.corrected().labels)
    assert (np.abs(1.0 - each - np.diag(shares(noisy))) * rows <= 1.0 + 1e-9).all()
    off = shares(noisy)[-1, :-1]
    assert np.ptp(off) * rows[-1] <= 2.0 + 1e-9


def test_classes_get_rare_on_a_geometric_scale(made: Any) -> None:
    whole, thin = made(), made(imbalance=0.2)
    k = whole.n_classes
    before, after = (np.bincount(pool.train.labels, minlength=k) for pool in (whole, thin))
    assert (np.abs(before * 0.2 ** (np.arange(k) / (k - 1)) - after) <= 0.5 + 1e-9).all()
    same(thin.holdout, whole.holdout, "labels")
    if whole.train.soft is not None:  # soft labels stay with their rows
        kept = {row.tobytes() for row in np.column_stack([whole.train.x, whole.train.soft])}
        assert all(row.tobytes() in kept for row in np.column_stack([thin.train.x, thin.train.soft]))
    both = made(imbalance=0.2, label_noise=0.3)
    same(both.train.corrected(), thin.train, "x", "labels")
    assert (both.train.labels != both.train.corrected().labels).sum() == round(0.3 * len(thin.train))


def test_features_are_scaled_by_the_rows_that_are_left() -> None:
    thin = make_pool("digits", 0, imbalance=0.1, standardize=True).train.x
    moving = thin.std(0) > 0
    np.testing.assert_allclose(thin.mean(0), 0.0, atol=1e-9)
    np.testing.assert_allclose(thin.std(0)[moving], 1.0)


def test_the_smallest_share_still_leaves_a_row_of_each_class() -> None:
    thin = make_pool("gaussian_clusters", 0, n=100, n_classes=5, imbalance=1e-9)
    assert np.bincount(thin.train.labels).tolist()[-1] == 1


def test_shares_of_a_matrix_by_hand() -> None:
    np.testing.assert_allclose(transitions([0.2, 0.0, 1.0], 3), [[0.8, 0.1, 0.1], [0, 1, 0], [0.5, 0.5, 0]])
    split = Split(np.zeros((10, 1)), np.array([0] * 4 + [1] * 6))
    flipped = corrupted(split, 2, 0, label_noise=[[0.0, 1.0], [0.5, 0.5]])
    assert flipped.labels[:4].tolist() == [1] * 4 and flipped.labels[4:].sum() == 3


def test_targets_are_fitted_to_true_labels() -> None:
    matrix = [[0.5, 0.5], [0.0, 1.0]]
    tasks = [make_task("LabelMoons", pool_options=o) for o in ({}, {"label_noise": matrix})]
    np.testing.assert_array_equal(tasks[0].target, tasks[1].target)
    assert (tasks[0].y != tasks[1].y).mean() == pytest.approx(0.25, abs=0.01)
    np.testing.assert_array_equal(tasks[0].holdout.y, tasks[1].holdout.y)


BAD: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    ("half_moons", {"label_noise": 1.0}, ValueError, r"label_noise must be.*\[0, 1\).*1\.0"),
    ("half_moons", {"label_noise": -0.1}, ValueError, r"label_noise.*-0\.1"),
    ("half_moons", {"label_noise": "0.4"}, TypeError, r"label_noise.*'0\.4'"),
    ("half_moons", {"label_noise": [0.1]}, ValueError, r"2 shares.*\[0\.1\]"),
    ("half_moons", {"label_noise": [0.1, 1.5]}, ValueError, r"label_noise\[1\].*1\.5"),
    ("half_moons", {"label_noise": [0.1, [0.5, 0.5]]}, ValueError, "2 lists of 2 shares"),
    ("half_moons", {"label_noise": [[1.0, 0.0], [0.5]]}, ValueError, "2 lists of 2 shares"),
    ("half_moons", {"label_noise": [[1.0, 0.0], [0.5, 0.4]]}, ValueError, r"label_noise\[1\] must sum to 1.*0\.4"),
    ("half_moons", {"label_noise": []}, ValueError, r"2 shares.*\[\]"),
    ("digits", {"imbalance": 0.0}, ValueError, r"imbalance.*\(0, 1\].*0\.0"),
    ("digits", {"imbalance": 1.5}, ValueError, r"imbalance.*1\.5"),
    ("linear_regression", {"label_noise": 0.1}, TypeError, "label_noise"),
]


@pytest.mark.parametrize(("name", "options", "kind", "message"), BAD, ids=lambda v: str(v)[:40])
def test_refusals(name: str, options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        make_pool(name, **options)


@pytest.mark.parametrize("option", [{"label_noise": 0.1}, {"label_noise": [0.1, 0.1]}, {"imbalance": 0.5}])
def test_regression_data_of_a_user_have_no_classes(tmp_path: Path, option: dict[str, Any]) -> None:
    path = save(tmp_path, X=np.random.default_rng(0).normal(size=(30, 2)), y=np.linspace(0, 1, 30))
    with pytest.raises(ValueError, match=f"{next(iter(option))}.*regression"):
        make_pool("array", path=path, **option)
