"""Data sets on disk: where they are looked for, how they are read, checked and fetched.

The layout is torchvision's (``<data_dir>/MNIST/raw/train-images-idx3-ubyte``), so a folder filled by
torchvision serves as it is. Reading needs only numpy; fetching goes through torchvision.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from teach_gym.errors import DamagedDataError, DataNotFoundError, lookup_name
from teach_gym.files import sha256

DATA_VARIABLE = "TEACH_GYM_DATA"

MNIST_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
"""MD5 of the four uncompressed MNIST files."""

DATASETS = {"mnist": "handwritten digits 28x28, 60,000 + 10,000 (55 MB)"}


def data_dir(given: str | Path | None = None) -> Path:
    """The data folder: the one given, else ``TEACH_GYM_DATA``, else ``teach_gym`` in the user's cache folder."""
    chosen = given or os.environ.get(DATA_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "teach_gym"


def load_mnist(folder: str | Path | None = None, *, train: bool) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Read MNIST's images (n, 28, 28) and labels (n,).

    Args:
        folder: data folder (default: ``data_dir()``).
        train: the training file or the test file.

    Raises:
        DataNotFoundError: a file is missing; the message names the command that fetches it.
        DamagedDataError: a file is cut short or of another format.
    """
    stem = "train" if train else "t10k"
    raw = data_dir(folder) / "MNIST" / "raw"
    images = _read_idx(raw / f"{stem}-images-idx3-ubyte")
    labels = _read_idx(raw / f"{stem}-labels-idx1-ubyte")
    if images.shape != (len(labels), 28, 28):
        raise DamagedDataError(f"MNIST in {str(raw)!r}: {images.shape} images do not fit {labels.shape} labels")
    return images, labels


def _read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Read an IDX file of bytes: two zero bytes, the type 0x08, the number of axes, the sizes, the data."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise DataNotFoundError(
            f"MNIST file {str(path)!r} not found. Set {DATA_VARIABLE} or data_dir to a folder in torchvision's "
            f"layout, or fetch it with: teach-gym data mnist --data-dir {path.parents[2]}"
        ) from error
    axes = raw[3] if len(raw) > 3 else 0
    start = 4 + 4 * axes
    if raw[:3] != b"\x00\x00\x08" or len(raw) < start:
        raise DamagedDataError(f"{str(path)!r} is not an IDX file of bytes; delete it and fetch it again")
    shape = tuple(int(n) for n in np.frombuffer(raw, dtype=">i4", count=axes, offset=4))
    data = np.frombuffer(raw, dtype=np.uint8, offset=start)
    if data.size != int(np.prod(shape)):
        raise DamagedDataError(
            f"{str(path)!r} should hold {shape} bytes of data, holds {data.size}; delete it and fetch it again"
        )
    return data.reshape(shape)


class UserData(NamedTuple):
    """The arrays of a user's .npz file.

    Attributes:
        x: (n, d) features.
        y: (n,) classes (int64) or regression targets (float64).
        soft: (n, K) soft labels, or None.
        digest: SHA-256 of the file.
    """

    x: npt.NDArray[np.float64]
    y: npt.NDArray[Any]
    soft: npt.NDArray[np.float64] | None
    digest: str


def _open(path: Path) -> IO[bytes]:
    """Open a user's file.

    Raises:
        DataNotFoundError: no such file.
    """
    if not path.is_file():
        raise DataNotFoundError(f"no file {str(path)!r}; the array pool reads an .npz with X (n, d) and y (n,)")
    return path.open("rb")


def digest(file_path: str | Path) -> str:
    """SHA-256 of a user's file.

    Raises:
        DataNotFoundError: no such file.
    """
    with _open(Path(file_path)) as file:
        return sha256(file)


def load_npz(file_path: str | Path) -> UserData:
    """Read a user's .npz: ``X`` (n, d), ``y`` (n,) integers or reals, and ``soft`` (n, K) or None.

    Raises:
        DataNotFoundError: no such file.
        DamagedDataError: not an .npz file of arrays, or ``X`` or ``y`` is missing.
        ValueError: shapes or types that do not fit.
    """
    path = Path(file_path)
    try:
        with _open(path) as opened:
            found = sha256(opened)
            opened.seek(0)
            with np.load(opened, allow_pickle=False) as file:  # an .npy file is no context manager
                missing = {"X", "y"} - set(file.files)
                if missing:
                    raise DamagedDataError(f"{str(path)!r} lacks {sorted(missing)}; it holds {file.files}")
                x, y = np.asarray(file["X"], dtype=np.float64), file["y"]
                soft = np.asarray(file["soft"], dtype=np.float64) if "soft" in file.files else None
    except (DataNotFoundError, DamagedDataError):
        raise
    except (OSError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise DamagedDataError(f"{str(path)!r} is not an .npz file of arrays: {error}") from error
    if x.ndim != 2 or not x.shape[1] or y.shape != (len(x),) or len(x) < 5:
        raise ValueError(f"X must be (n, d) and y (n,) with n >= 5, got {x.shape} and {y.shape}")
    if y.dtype.kind not in "iubf":
        raise ValueError(f"y must be integers (classes) or real numbers, got dtype {y.dtype}")
    return UserData(x, y.astype(np.int64 if y.dtype.kind in "iub" else np.float64), soft, found)


def check(name: str, folder: str | Path | None = None) -> list[str]:
    """Check a data set's files against their MD5; returns one line per problem, none if all is well.

    Raises:
        ValueError: unknown data set.
    """
    lookup_name("data set", name, DATASETS)
    raw = data_dir(folder) / "MNIST" / "raw"
    problems = []
    for file, expected in MNIST_MD5.items():
        path = raw / file
        if not path.is_file():
            problems.append(f"missing: {path}")
        elif (found := hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()) != expected:
            problems.append(f"damaged: {path} has MD5 {found}, expected {expected}")
    return problems


def download(name: str, folder: str | Path | None = None) -> None:
    """Fetch a data set into the data folder through torchvision.

    Raises:
        ValueError: unknown data set.
        ImportError: torchvision is not installed; the message names the extra.
    """
    lookup_name("data set", name, DATASETS)
    try:
        from torchvision.datasets import MNIST
    except ImportError as error:
        raise ImportError("downloading needs torchvision: pip install 'teach_gym[vision]'") from error
    for train in (True, False):
        MNIST(str(data_dir(folder)), train=train, download=True)
