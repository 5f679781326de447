"""Data sets on disk: reading, and what happens when files are missing or damaged."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import image_cases
import pytest

from teach_gym.data import datasets
from teach_gym.data.download import download
from teach_gym.data.pools import make_pool
from teach_gym.errors import DamagedDataError, DataNotFoundError


@pytest.fixture
def files() -> dict[str, bytes]:
    """The four files of a small imitation of MNIST."""
    return image_cases.digit_files({"train": 60, "t10k": 40})


@pytest.fixture
def folder(tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with them, their checksums in the table."""
    monkeypatch.setitem(datasets.DATASETS, "mnist", image_cases.imitate(files))
    image_cases.save(files, tmp_path)
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


def test_reads_idx_files(folder: Path, files: dict[str, bytes]) -> None:
    images, labels = datasets.load_mnist(folder, train=False)
    assert images.shape == (40, 28, 28) and labels.tobytes() == files["t10k-labels-idx1-ubyte"][8:]
    assert images[3, 14, 15] == files["t10k-images-idx3-ubyte"][16 + 3 * 784 + 14 * 28 + 15] > 0
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
    "gzipped": lambda b: b"\x1f\x8b" + b,
    "another type": lambda b: b[:2] + b"\x0d" + b[3:],
    "one bit": lambda b: b[:-1] + bytes([b[-1] ^ 1]),
    "a header that claims too much": lambda b: b[:4] + b"\x7f\xff\xff\xff" + b[8:],
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_a_damaged_file_is_named(folder: Path, damage: str, file: str) -> None:
    path = folder / "MNIST" / "raw" / file
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(DamagedDataError, match=re.escape(str(path)) + ".*expected.*delete it and fetch it again"):
        make_pool("mnist", data_dir=str(folder), **SMALL)


def test_check_reports_missing_and_damaged_files(folder: Path) -> None:
    assert datasets.check("mnist", folder) == []
    raw = folder / "MNIST" / "raw"
    (raw / "t10k-labels-idx1-ubyte").unlink()
    (raw / "t10k-images-idx3-ubyte").write_bytes(b"0")
    missing, damaged = sorted(datasets.check("mnist", folder), reverse=True)
    assert missing == f"missing: {raw / 't10k-labels-idx1-ubyte'}"
    assert damaged.startswith("damaged: ") and str(raw / "t10k-images-idx3-ubyte") in damaged


@pytest.mark.genuine_mnist
def test_the_real_mnist_is_intact() -> None:
    """The table's checksums are those of the published files, also by the MD5 that torchvision lists."""
    assert datasets.check("mnist") == []
    content = datasets.read("mnist", "train-images-idx3-ubyte")
    assert hashlib.md5(content, usedforsecurity=False).hexdigest() == "6bbc9ace898e44ae57da46a324031adb"
    images, labels = datasets.load_mnist(train=True)
    assert images.shape == (60_000, 28, 28) and set(labels) == set(range(10))


@pytest.mark.parametrize("call", [datasets.check, download])
def test_unknown_data_sets(call: object) -> None:
    with pytest.raises(ValueError, match=r"minst.*did you mean 'mnist'"):
        call("minst")  # type: ignore[operator]
