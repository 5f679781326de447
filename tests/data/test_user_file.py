"""A user's own data: what is read, and every way a file can be wrong."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pool_cases import save, splits

from teach_gym.data import user_file
from teach_gym.data.pools import content_digest, make_pool
from teach_gym.errors import DamagedDataError, DataNotFoundError, TooLargeError


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
