"""The pools: their data against the sources, the splits, and every way a user's file can be wrong."""

from __future__ import annotations

import hashlib
import inspect
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from sklearn.datasets import load_digits, make_moons

from teach_gym.core.build import make_task
from teach_gym.data import user_file
from teach_gym.data.datasets import load_mnist
from teach_gym.data.pool import Pool
from teach_gym.data.pools import POOLS, content_digest, make_pool
from teach_gym.errors import DamagedDataError, DataNotFoundError, TooLargeError

OPTIONS: dict[str, dict[str, Any]] = {
    "linear_regression": {"d": 4, "n": 200},
    "half_moons": {"n": 100},
    "gaussian_clusters": {"n": 200, "n_classes": 3, "d": 3},
    "digits": {"classes": [3, 5]},
    "mnist": {"n_train": 50, "n_holdout": 30, "n_test": 40},
}


def save(folder: Path, **arrays: Any) -> str:
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return str(path)


@pytest.fixture
def own(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A good user's data set."""
    soft = rng.dirichlet(np.ones(3), size=30)
    return {"X": rng.standard_normal((30, 4)), "y": np.arange(30) % 3, "soft": soft}


@pytest.fixture(params=list(POOLS))
def any_pool(request: pytest.FixtureRequest, tmp_path: Path, own: dict[str, np.ndarray]) -> tuple[str, dict[str, Any]]:
    name = request.param
    return name, {"path": save(tmp_path, **own)} if name == "array" else OPTIONS[name]


def splits(pool: Pool) -> list[Any]:
    return [pool.train, pool.holdout, pool.test]


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


def test_array_pool_gives_the_rows_of_the_file(tmp_path: Path, own: dict[str, np.ndarray]) -> None:
    pool = make_pool("array", 5, path=save(tmp_path, **own), holdout=0.3, test=0.1)
    assert [len(s) for s in splits(pool)] == [18, 9, 3] and pool.n_classes == 3
    for split in splits(pool):
        for x, label, soft in zip(split.x, split.labels, split.soft, strict=True):
            (row,) = np.flatnonzero((own["X"] == x).all(1))
            assert own["y"][row] == label
            np.testing.assert_array_equal(own["soft"][row], soft)


@pytest.mark.parametrize("kind", ["i1", "u1", "i8", "?"])
def test_array_pool_takes_any_integers_as_classes(tmp_path: Path, own: dict[str, np.ndarray], kind: str) -> None:
    pool = make_pool("array", path=save(tmp_path, X=own["X"].astype("f4"), y=(np.arange(30) % 2).astype(kind)))
    assert pool.n_classes == 2 and pool.train.labels.dtype == np.int64 and pool.train.x.dtype == np.float64


def test_array_pool_takes_real_targets_as_regression(tmp_path: Path, own: dict[str, np.ndarray]) -> None:
    pool = make_pool("array", path=save(tmp_path, X=own["X"], y=own["y"].astype(float)))
    assert pool.n_classes == 0 and pool.train.labels.dtype == np.float64


def test_array_pool_follows_a_changed_file(tmp_path: Path, own: dict[str, np.ndarray]) -> None:
    first = make_pool("array", path=save(tmp_path, **own))
    second = make_pool("array", path=save(tmp_path, **{**own, "X": own["X"] + 1}))
    np.testing.assert_allclose(second.train.x, first.train.x + 1)


BAD_ARRAYS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "gap in the classes": ({"y": 2 * (np.arange(30) % 2)}, ValueError, r"0 \.\.\. K-1.*\[0, 2\]"),
    "classes +-1": ({"y": 2 * (np.arange(30) % 2) - 1}, ValueError, r"\[-1, 1\]"),
    "classes all negative": ({"y": np.full(30, -1)}, ValueError, r"\[-1\]"),
    "NaN features": ({"X": np.full((30, 4), np.nan)}, ValueError, "features.*NaN"),
    "infinite targets": ({"y": np.full(30, np.inf), "soft": None}, ValueError, "labels.*NaN or infinite"),
    "NaN soft labels": ({"soft": np.full((30, 3), np.nan)}, ValueError, "soft labels.*row 0 is .*nan"),
    "soft labels above one": ({"soft": np.tile([1.5, -0.5, 0.0], (30, 1))}, ValueError, r"\[0, 1\].*row 0.*1\.5"),
    "soft labels of another sum": ({"soft": np.full((30, 3), 0.5)}, ValueError, r"sum to 1.*sum 1\.5"),
    "soft labels of regression": ({"y": np.ones(30)}, ValueError, "soft labels need classes.*float64"),
    "one class": ({"y": np.zeros(30, dtype=int), "soft": None}, ValueError, r"at least two, got \[0\]"),
    "classes beyond int64": ({"y": np.full(30, 2**64 - 1, dtype="u8")}, ValueError, "18446744073709551615"),
    "complex features": ({"X": np.ones((30, 4)) * 1j}, ValueError, "X in .*data.npz.*complex128"),
    "dates": ({"X": np.full((30, 4), np.datetime64("2020-01-01"))}, ValueError, r"X in .*datetime64"),
    "structured features": ({"X": np.zeros((30, 4), dtype="i4,f8")}, ValueError, "X in .*f1"),
    "long doubles beyond doubles": ({"X": np.full((30, 4), np.finfo("g").max)}, ValueError, "features.*infinite"),
    "soft of a wrong shape": ({"soft": np.ones((30, 2))}, ValueError, r"\(30, 3\).*\(30, 2\)"),
    "too few labels": ({"y": np.arange(29) % 3}, ValueError, r"\(29,\)"),
    "features of one axis": ({"X": np.ones(30)}, ValueError, r"\(30,\)"),
    "no features": ({"X": np.ones((30, 0))}, ValueError, r"\(30, 0\)"),
    "too few rows": ({"X": np.ones((4, 2)), "y": np.arange(4), "soft": None}, ValueError, r"\(4, 2\)"),
    "text labels": ({"y": np.array(["a"] * 30)}, ValueError, "y in .*must hold integers or real numbers.*<U1"),
    "complex labels": ({"y": np.ones(30) * 1j, "soft": None}, ValueError, "complex"),
    "text features": ({"X": np.array([["a"] * 4] * 30)}, ValueError, "X in .*data.npz.*<U1"),
    "pickled objects": ({"X": np.array([[None] * 4] * 30)}, DamagedDataError, "X.npy .* of object"),
    "no X": ({"X": None}, DamagedDataError, r"lacks \['X'\].*'y'"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_array_pool_refuses(case: str, tmp_path: Path, own: dict[str, np.ndarray]) -> None:
    changes, kind, message = BAD_ARRAYS[case]
    arrays = {key: value for key, value in {**own, **changes}.items() if value is not None}
    with pytest.raises(kind, match=message):
        make_pool("array", path=save(tmp_path, **arrays))


@pytest.mark.parametrize("share", [0.0, 0.003, 0.3, 0.7, 0.99, "garbled"])
@pytest.mark.parametrize("compressed", [False, True])
def test_array_pool_refuses_a_damaged_file(
    share: float | str, compressed: bool, tmp_path: Path, own: dict[str, np.ndarray]
) -> None:
    path = tmp_path / "data.npz"
    (np.savez_compressed if compressed else np.savez)(path, **own)
    content = path.read_bytes()
    garbled = content[:120] + bytes(60) + content[180:]
    path.write_bytes(garbled if isinstance(share, str) else content[: int(share * len(content))])
    with pytest.raises(DamagedDataError, match=r"data\.npz"):
        make_pool("array", path=str(path))


def lying(shape: tuple[int, ...]) -> bytes:
    """An .npy file of 30 rows of 4 numbers with another shape in its header."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"shape": shape, "fortran_order": False, "descr": "<f8"})
    return head.getvalue() + np.ones((30, 4)).tobytes()


@pytest.mark.parametrize("shape", [(3_000_000_000_000, 1), (-30, -4), (30, 3), (10**400, 1), ()])
def test_array_pool_reads_no_more_than_the_header_says(
    shape: tuple[int, ...], tmp_path: Path, own: dict[str, np.ndarray]
) -> None:
    path = Path(save(tmp_path, y=own["y"]))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("X.npy", lying(shape))
    with pytest.raises(DamagedDataError, match=r"X\.npy declares shape .*; it holds 960"):
        make_pool("array", path=str(path))


def test_array_pool_refuses_a_zip_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, X=np.zeros((100_000, 2)), y=np.arange(100_000) % 2)
    assert len(make_pool("array", path=str(path)).train) == 60_000
    path.write_bytes(path.read_bytes() + bytes(1))  # another content, not from the cache
    monkeypatch.setattr(user_file, "DATA_MEMORY", 1 << 20)
    with pytest.raises(TooLargeError, match=r"data\.npz.*2\.29 MiB.*at most 1 MiB"):
        make_pool("array", path=str(path))


@pytest.mark.parametrize("change", ["compression", "encryption"])
def test_array_pool_refuses_other_kinds_of_zip(change: str, tmp_path: Path, own: dict[str, np.ndarray]) -> None:
    path = Path(save(tmp_path, **own))
    content = bytearray(path.read_bytes())
    for mark, method, flags in ((b"PK\x03\x04", 8, 6), (b"PK\x01\x02", 10, 8)):
        start = content.find(mark)
        while start >= 0:
            content[start + (method if change == "compression" else flags)] = 99 if change == "compression" else 1
            start = content.find(mark, start + 1)
    path.write_bytes(content)
    with pytest.raises(DamagedDataError, match=f"data.npz.*{change[:7]}"):
        make_pool("array", path=str(path))


def test_array_pool_refuses_other_files(tmp_path: Path, own: dict[str, np.ndarray]) -> None:
    text, npy = tmp_path / "a.npz", tmp_path / "a.npy"
    text.write_text("X,y\n1,2\n")
    np.save(npy, own["X"])
    for path in (text, npy):
        with pytest.raises(DamagedDataError, match=path.name):
            make_pool("array", path=str(path))
    with pytest.raises(DataNotFoundError, match=r"none\.npz"):
        make_pool("array", path=str(tmp_path / "none.npz"))
    with pytest.raises(TypeError, match="path"):
        make_pool("array")


@pytest.mark.parametrize(("holdout", "test"), [(0.5, 0.5), (0.5, 0.45)])
def test_array_pool_refuses_bad_shares(holdout: float, test: float, tmp_path: Path, own: dict[str, np.ndarray]) -> None:
    few = {"X": own["X"][:6], "y": np.arange(6) % 2}
    with pytest.raises(ValueError, match=f"{holdout}.*{test}"):
        make_pool("array", path=save(tmp_path, **few), holdout=holdout, test=test)


def test_a_changed_file_is_another_pool(tmp_path: Path, own: dict[str, np.ndarray]) -> None:
    """The content of a user's file identifies the pool, wherever the file lies."""
    options = {"path": save(tmp_path, **own)}
    expected = hashlib.sha256(Path(options["path"]).read_bytes()).hexdigest()
    first = make_pool("array", **options)
    assert content_digest("array", options) == first.digest == expected
    save(tmp_path, **{**own, "X": own["X"] + 1.0})
    second = make_pool("array", **options)
    assert content_digest("array", options) == second.digest != expected
    np.testing.assert_array_equal(second.train.x, first.train.x + 1.0)
    (tmp_path / "b").mkdir()
    assert content_digest("array", {"path": save(tmp_path / "b", **own)}) == expected
    with pytest.raises(DataNotFoundError, match=r"none\.npz"):
        content_digest("array", {"path": str(tmp_path / "none.npz")})


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
