"""Data sets on disk: where their files are searched for, what they must contain, and how they are read.

The layout is torchvision's (``<data_dir>/MNIST/raw/train-images-idx3-ubyte``), so a folder filled by torchvision
can be used as it is. A file is used only if its content matches the published one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from teach_gym.errors import DamagedDataError, DataNotFoundError, lookup_name, quoted

DATA_VARIABLE = "TEACH_GYM_DATA"
JPEG_TREE = "cifar10-jpeg"


class KnownFile(NamedTuple):
    """The published content of a file.

    Attributes:
        size: number of bytes.
        sha256: SHA-256 in hexadecimal digits.
    """

    size: int
    sha256: str


class DataSet(NamedTuple):
    """A published data set.

    Attributes:
        about: a one-line description.
        folder: the folder of its files, relative to the data folder.
        files: its files, uncompressed.
        mirrors: base addresses that serve each file as ``<file>.gz``, tried in this order.
    """

    about: str
    folder: str
    files: Mapping[str, KnownFile]
    mirrors: tuple[str, ...]


DATASETS = {
    "mnist": DataSet(
        about="handwritten digits 28x28, 60,000 + 10,000 (55 MB)",
        folder="MNIST/raw",
        files={
            "train-images-idx3-ubyte": KnownFile(
                47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
            ),
            "train-labels-idx1-ubyte": KnownFile(
                60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
            ),
            "t10k-images-idx3-ubyte": KnownFile(
                7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
            ),
            "t10k-labels-idx1-ubyte": KnownFile(
                10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
            ),
        },
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
    ),
}
"""The published data sets by name."""


def data_dir(given: str | Path | None = None) -> Path:
    """The data folder: the given one, else ``TEACH_GYM_DATA``, else ``teach_gym`` in the user's cache folder."""
    chosen = given or os.environ.get(DATA_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "teach_gym"


def read(name: str, file: str, folder: str | Path | None = None) -> bytes:
    """Read a data set's file and verify its content.

    Args:
        name: a key of ``DATASETS``.
        file: one of its files.
        folder: data folder (default: ``data_dir()``).

    Raises:
        DataNotFoundError: the file is missing; the message names the command that fetches it.
        DamagedDataError: its content differs from the published one.
    """
    root, known = data_dir(folder), DATASETS[name].files[file]
    path = root / DATASETS[name].folder / file
    if not path.is_file():
        raise DataNotFoundError(
            f"{name}: file {quoted(path)} not found. Set {DATA_VARIABLE} or data_dir to its data folder, or fetch it "
            f"with: teach-gym data {name} --data-dir {root}"
        )
    remedy = f"delete it and fetch it again with: teach-gym data {name} --data-dir {root}"
    size = path.stat().st_size
    if size != known.size:
        raise DamagedDataError(f"{name}: {quoted(path)} holds {size:,} bytes, expected {known.size:,}; {remedy}")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != known.sha256:
        raise DamagedDataError(f"{name}: {quoted(path)} has SHA-256 {found}, expected {known.sha256}; {remedy}")
    return content


def check(name: str, folder: str | Path | None = None) -> list[str]:
    """Compare a data set's files with the published ones; returns one line per problem, none if all files match.

    Raises:
        ValueError: unknown data set.
    """
    problems = []
    for file in lookup_name("data set", name, DATASETS).files:
        try:
            read(name, file, folder)
        except DataNotFoundError:
            problems.append(f"missing: {data_dir(folder) / DATASETS[name].folder / file}")
        except DamagedDataError as error:
            problems.append(f"damaged: {error}")
    return problems


def cifar10_jpeg(folder: str | Path | None = None) -> Path:
    """Find CIFAR-10's images as JPEG files: ``cifar10-jpeg/{train,test}/<class>/*.jpg``, or that tree as ``.tar.xz``.

    Args:
        folder: data folder (default: ``data_dir()``).

    Raises:
        DataNotFoundError: neither exists.
    """
    root = data_dir(folder)
    tree, archive = root / JPEG_TREE, root / f"{JPEG_TREE}.tar.xz"
    if tree.is_dir():
        return tree
    if archive.is_file():
        return archive
    raise DataNotFoundError(
        f"no CIFAR-10 images in {quoted(root)}: expected {JPEG_TREE}/{{train,test}}/<class>/*.jpg or "
        f"{JPEG_TREE}.tar.xz with that tree, in the folder given by data_dir or {DATA_VARIABLE}"
    )


def load_mnist(folder: str | Path | None = None, *, train: bool) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Read MNIST's images (n, 28, 28) and labels (n,).

    Args:
        folder: data folder (default: ``data_dir()``).
        train: the training file or the test file.

    Raises:
        DataNotFoundError: a file is missing; the message names the command that fetches it.
        DamagedDataError: a file's content differs from the published one.
    """
    stem = "train" if train else "t10k"
    images = _from_idx(read("mnist", f"{stem}-images-idx3-ubyte", folder))
    return images, _from_idx(read("mnist", f"{stem}-labels-idx1-ubyte", folder))


def _from_idx(content: bytes) -> npt.NDArray[np.uint8]:
    """Read IDX bytes: two zero bytes, the type 0x08 (byte), the number of axes, the sizes, the data."""
    axes = content[3]
    shape = np.frombuffer(content, dtype=">i4", count=axes, offset=4)
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * axes).reshape(shape.tolist())
