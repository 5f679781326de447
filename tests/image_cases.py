"""An imitation of MNIST in its own file format, made of scikit-learn's digits, for tests without the genuine files."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np
from scipy.ndimage import zoom
from sklearn.datasets import load_digits

from teach_gym.data.datasets import DATASETS, DataSet, KnownFile

ROWS = {"train": 9_000, "t10k": 6_000}
"""Images in the training file and in the test file: enough of each digit for every registered task."""


def idx(array: np.ndarray) -> bytes:
    """An IDX file of bytes, written from the format's description."""
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + b"".join(struct.pack(">I", n) for n in array.shape)
    return header + array.astype(np.uint8).tobytes()


def known(content: bytes) -> KnownFile:
    """The table's entry of a file with this content."""
    return KnownFile(len(content), hashlib.sha256(content).hexdigest())


def imitate(files: dict[str, bytes]) -> DataSet:
    """The table's entry of an MNIST that consists of these files."""
    return DATASETS["mnist"]._replace(files={name: known(content) for name, content in files.items()})


def save(files: dict[str, bytes], data_dir: Path) -> None:
    """Write files where MNIST's are looked for."""
    raw = data_dir / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in files.items():
        (raw / name).write_bytes(content)


def digit_files(rows: dict[str, int] | None = None) -> dict[str, bytes]:
    """MNIST's four files with scikit-learn's digits: enlarged, shifted and of varied brightness, no two alike.

    The two files are made of different digits.
    """
    rng = np.random.default_rng(0)
    images, labels = load_digits(return_X_y=True)
    # 20x20 pixels in [0, 1], the size of MNIST's digits
    large = zoom(images.reshape(-1, 8, 8), (1, 2.5, 2.5), order=1).clip(0.0) / 16.0
    files = {}
    for (stem, n), own in zip((rows or ROWS).items(), np.split(np.arange(len(large)), [1200]), strict=True):
        chosen = np.concatenate([rng.permutation(own) for _ in range(-(-n // len(own)))])[:n]
        canvas = np.zeros((n, 28, 28))
        for i, (top, left) in enumerate(rng.integers(1, 8, (n, 2))):
            canvas[i, top : top + 20, left : left + 20] = large[chosen[i]]
        pixels = (canvas * rng.uniform(200.0, 300.0, (n, 1, 1))).clip(0.0, 255.0).round()
        files[f"{stem}-images-idx3-ubyte"] = idx(pixels)
        files[f"{stem}-labels-idx1-ubyte"] = idx(labels[chosen])
    return files
