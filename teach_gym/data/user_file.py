"""A user's own data: an .npz file whose arrays are checked before they are read, so no file can exhaust memory."""

from __future__ import annotations

import lzma
import math
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Annotated, Any, NamedTuple

import numpy as np
import numpy.lib.format as npy
import numpy.typing as npt

from teach_gym.arguments import Within
from teach_gym.data.corruption import Imbalance, LabelNoise, corrupted
from teach_gym.data.pool import Pool, Split, finished
from teach_gym.errors import (
    DATA_MEMORY,
    DamagedDataError,
    DataNotFoundError,
    TooLargeError,
    affordable,
    quoted,
    shown,
)
from teach_gym.files import is_file, sha256

_ROWS = 5
"""Minimum number of rows of a data set that is split into three."""

_ROUNDING = 1e-4
"""Tolerance for soft labels to form a probability distribution: they may have been computed in float32."""

_BROKEN = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    SyntaxError,
    tokenize.TokenError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)
"""What zipfile and numpy raise on broken files (NotImplementedError, for an unknown compression, is a RuntimeError)."""


Share = Annotated[float, Within(0.0, 1.0, open_low=True, open_high=True)]


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


def digest(path: str | Path) -> str:
    """SHA-256 of a user's file.

    Raises:
        DataNotFoundError: no such file.
    """
    with _open(Path(path)) as file:
        return sha256(file)


def load(path: str | Path) -> UserData:
    """Read a user's .npz: ``X`` (n, d), ``y`` (n,) integers or reals, and ``soft`` (n, K) or None.

    Integer ``y`` are the classes 0 ... K-1, at least two, without gaps; floating ``y`` are regression targets.

    Raises:
        DataNotFoundError: no such file.
        DamagedDataError: not an .npz file of arrays, or ``X`` or ``y`` is missing.
        TooLargeError: arrays too large for memory.
        ValueError: invalid shapes, types or values.
    """
    path = Path(path)
    with _open(path) as file:
        found = sha256(file)
        file.seek(0)
        arrays = _arrays(path, file)
    x, y = arrays["X"], arrays["y"]
    for name, array in arrays.items():
        if array.dtype.kind not in "iubf":
            raise ValueError(f"{name} in {quoted(path)} must hold integers or real numbers, got dtype {array.dtype}")
    if x.ndim != 2 or not x.shape[1] or y.shape != (len(x),) or len(x) < _ROWS:
        raise ValueError(f"X must be (n, d) and y (n,) with n >= {_ROWS}, got {x.shape} and {y.shape}")
    y = _reals(y) if y.dtype.kind == "f" else _classes(y)
    soft = arrays.get("soft")
    return UserData(_reals(x), y, None if soft is None else _soft_labels(_reals(soft), y), found)


def array(
    pool_seed: int = 0,
    *,
    path: str,
    holdout: Share = 0.2,
    test: Share = 0.2,
    standardize: bool = False,
    label_noise: LabelNoise = 0.0,
    imbalance: Imbalance = 1.0,
) -> Pool:
    """A user's own data: an .npz file with ``X`` (n, d), ``y`` (n,) and optionally ``soft`` (n, K).

    Integer ``y`` are classes 0 ... K-1, floating ``y`` regression targets.

    Args:
        pool_seed: shuffles the rows before splitting.
        path: the .npz file.
        holdout: fraction of hold-out rows.
        test: fraction of test rows.
        standardize: scale features by the train split's statistics.
        label_noise: wrong labels of the train rows, as in ``digits``; needs classes.
        imbalance: rare classes among the train rows, as in ``digits``; needs classes.

    Raises:
        DataNotFoundError: no such file.
        DamagedDataError: not an .npz file with these arrays.
        ValueError: invalid shapes or types, classes other than 0 ... K-1, soft labels that are not probability
            distributions, NaN data, or more data than is allowed in memory.
    """
    x, y, soft, digest = load(path)
    if holdout + test >= 1.0:
        raise ValueError(f"the sum of holdout and test must be < 1, got {shown(holdout)} and {shown(test)}")
    n_classes = int(y.max()) + 1 if y.dtype.kind == "i" else 0
    order = np.random.default_rng(pool_seed).permutation(len(x))
    n_hold, n_test = (max(round(f * len(x)), 1) for f in (holdout, test))
    edges = [len(x) - n_hold - n_test, len(x) - n_test]
    if edges[0] < 1:
        raise ValueError(f"holdout={shown(holdout)} and test={shown(test)} leave no train row out of {len(x)} rows")
    splits = [Split(x[i], y[i], None if soft is None else soft[i]) for i in np.split(order, edges)]
    splits[0] = corrupted(splits[0], n_classes, pool_seed, label_noise=label_noise, imbalance=imbalance)
    names = tuple(str(k) for k in range(n_classes))
    return finished("array", splits, n_classes, standardize, classes=names, digest=digest)


def _open(path: Path) -> IO[bytes]:
    if not is_file(path):
        raise DataNotFoundError(f"no file {quoted(path)}; the array pool reads an .npz with X (n, d) and y (n,)")
    return path.open("rb")


def _reals(array: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    with np.errstate(over="ignore"):  # long doubles; pools refuse infinite values
        return array.astype(np.float64)


def _classes(y: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Class indices, checked to be 0 ... K-1 with K >= 2."""
    found = np.unique(y)
    if len(found) < 2 or not np.array_equal(found, np.arange(len(found))):
        shown = str(found.tolist()) if len(found) <= 20 else f"{len(found)} different values"
        raise ValueError(f"classes must be 0 ... K-1 without gaps, at least two, got {shown}")
    return y.astype(np.int64)


def _arrays(path: Path, file: IO[bytes]) -> dict[str, npt.NDArray[Any]]:
    """The arrays ``X``, ``y`` and, if present, ``soft`` of an open .npz file.

    Raises:
        DamagedDataError: not an .npz file, or an array is missing.
        TooLargeError: the arrays are too large.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            missing = {"X", "y"} - set(members)
            if missing:
                raise DamagedDataError(f"{quoted(path)} lacks {sorted(missing)}; it holds {sorted(members)}")
            wanted = {name: members[name] for name in ("X", "y", "soft") if name in members}
            affordable(f"the arrays of {quoted(path)}", sum(info.file_size for info in wanted.values()), DATA_MEMORY)
            return {name: _array(archive, info) for name, info in wanted.items()}
    except (DamagedDataError, TooLargeError):
        raise
    except _BROKEN as error:
        raise DamagedDataError(f"{quoted(path)} is not an .npz file of arrays: {error}") from error


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> npt.NDArray[Any]:
    """One array, read only if its header declares as many bytes as the file holds.

    Raises:
        ValueError: not an array of numbers or text, or a header that does not match the content.
    """
    with archive.open(info) as file:
        version = npy.read_magic(file)
        read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
        if read_header is None:
            raise ValueError(f"{info.filename} has the .npy version {version}, allowed: (1, 0), (2, 0)")
        shape, by_columns, dtype = read_header(file)
        claimed, held = math.prod(shape) * dtype.itemsize, info.file_size - file.tell()
        if dtype.hasobject or claimed != held or min(shape, default=0) < 0:
            raise ValueError(
                f"{info.filename} declares shape {shape} of {dtype}, {claimed:,} bytes; it holds {held:,} bytes"
            )
        return np.frombuffer(file.read(), dtype).reshape(shape, order="F" if by_columns else "C")


def _soft_labels(soft: npt.NDArray[np.float64], y: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Check the soft labels of rows with classes y.

    Raises:
        ValueError: a wrong shape, or a row that is not a probability distribution.
    """
    if y.dtype.kind != "i":
        raise ValueError(f"soft labels need classes: y must be integers, got dtype {y.dtype}")
    shape = (len(y), int(y.max()) + 1)
    if soft.shape != shape:
        raise ValueError(f"soft must have shape {shape}, got {soft.shape}")
    inside = ((soft >= -_ROUNDING) & (soft <= 1.0 + _ROUNDING)).all(axis=1)
    wrong = np.flatnonzero(~(inside & (np.abs(soft.sum(axis=1) - 1.0) <= _ROUNDING)))
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(
            f"soft labels must lie in [0, 1] and sum to 1 in each row; row {row} is {soft[row].tolist()} with sum "
            f"{soft[row].sum():g}"
        )
    return soft
