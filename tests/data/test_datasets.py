"""Data sets on disk: reading, and what happens when files are missing or damaged."""

from __future__ import annotations

import hashlib
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from teach_gym.data import datasets
from teach_gym.data.pools import make_pool
from teach_gym.errors import DamagedDataError, DataNotFoundError


def idx(array: np.ndarray) -> bytes:
    """An IDX file of bytes, written from the format's description."""
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + b"".join(struct.pack(">I", n) for n in array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A small imitation of MNIST in torchvision's layout."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for stem, n in (("train", 60), ("t10k", 40)):
        (raw / f"{stem}-images-idx3-ubyte").write_bytes(idx(rng.integers(256, size=(n, 28, 28))))
        (raw / f"{stem}-labels-idx1-ubyte").write_bytes(idx(np.arange(n) % 10))
    return tmp_path


SMALL = {"n_train": 20, "n_holdout": 5, "n_test": 10}


def test_data_folder_by_argument_variable_and_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TEACH_GYM_DATA", str(tmp_path / "variable"))
    assert datasets.data_dir(tmp_path / "given") == tmp_path / "given"
    assert datasets.data_dir() == tmp_path / "variable"
    monkeypatch.delenv("TEACH_GYM_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert datasets.data_dir() == tmp_path / "cache" / "teach_gym"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert datasets.data_dir() == tmp_path / "home" / ".cache" / "teach_gym"


def test_reads_idx_files(folder: Path, rng: np.random.Generator) -> None:
    images, labels = datasets.load_mnist(folder, train=False)
    assert images.shape == (40, 28, 28) and labels.tolist() == [i % 10 for i in range(40)]
    raw = (folder / "MNIST" / "raw" / "t10k-images-idx3-ubyte").read_bytes()
    assert images[3, 4, 5] == raw[16 + 3 * 784 + 4 * 28 + 5]
    pool = make_pool("mnist", data_dir=str(folder), **SMALL)
    assert [len(s) for s in (pool.train, pool.holdout, pool.test)] == [20, 5, 10]


def test_the_pool_cache_keeps_data_folders_apart(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACH_GYM_DATA", str(folder))
    assert make_pool("mnist", **SMALL).d == 24
    monkeypatch.setenv("TEACH_GYM_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(DataNotFoundError, match="elsewhere"):
        make_pool("mnist", **SMALL)


def test_a_missing_file_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError) as caught:
        make_pool("mnist", data_dir=str(tmp_path))
    assert f"teach-gym data mnist --data-dir {tmp_path}" in str(caught.value)
    assert "TEACH_GYM_DATA" in str(caught.value)
    assert isinstance(caught.value, FileNotFoundError)
    assert not list(tmp_path.iterdir())


DAMAGES = {
    "cut short": lambda b: b[:-100],
    "longer": lambda b: b + b"0",
    "empty": lambda b: b"",
    "three bytes": lambda b: b[:3],
    "header only in part": lambda b: b[:9],
    "gzipped": lambda b: b"\x1f\x8b" + b,
    "another type": lambda b: b[:2] + b"\x0d" + b[3:],
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_a_damaged_file_is_named(folder: Path, damage: str, file: str) -> None:
    path = folder / "MNIST" / "raw" / file
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(DamagedDataError, match=re.escape(str(path))):
        make_pool("mnist", data_dir=str(folder), **SMALL)


def test_labels_that_do_not_fit_the_images(folder: Path) -> None:
    (folder / "MNIST" / "raw" / "train-labels-idx1-ubyte").write_bytes(idx(np.arange(59) % 10))
    with pytest.raises(DamagedDataError, match="59"):
        datasets.load_mnist(folder, train=True)


def test_check_reports_missing_and_damaged_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problems = datasets.check("mnist", folder)
    assert len(problems) == 4 and all(p.startswith("damaged") for p in problems)
    raw = folder / "MNIST" / "raw"
    sums = {p.name: hashlib.md5(p.read_bytes()).hexdigest() for p in raw.iterdir()}
    monkeypatch.setattr(datasets, "MNIST_MD5", sums)
    assert datasets.check("mnist", folder) == []
    (raw / "t10k-labels-idx1-ubyte").unlink()
    assert datasets.check("mnist", folder) == [f"missing: {raw / 't10k-labels-idx1-ubyte'}"]


@pytest.mark.needs_data
def test_the_real_mnist_is_intact() -> None:
    assert datasets.check("mnist") == []
    images, labels = datasets.load_mnist(train=True)
    assert images.shape == (60_000, 28, 28) and set(labels) == set(range(10))


@pytest.mark.parametrize("call", [datasets.check, datasets.download])
def test_unknown_data_sets(call: object) -> None:
    with pytest.raises(ValueError, match=r"minst.*did you mean 'mnist'"):
        call("minst")  # type: ignore[operator]
