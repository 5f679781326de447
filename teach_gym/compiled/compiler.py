"""Compiles loops with numba and keeps the machine code on disk."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import stat
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from teach_gym.compiled import elementary
from teach_gym.files import write_text

SETTING = "TEACH_GYM_COMPILED"
"""Set this environment variable to 0 to step by arrays wherever an environment is not told ``compiled=True``."""

_OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract"}}
"""No exceptions on division by zero; products and sums may be computed in one operation."""


def installed() -> bool:
    """Whether numba can be imported and was not switched off."""
    if os.environ.get(SETTING, "1") == "0":
        return False
    try:
        import numba  # noqa: F401
    except ImportError:
        return False
    return True


def compiled(source: str, dtype: str) -> Callable[..., Any]:
    """The function ``step`` of a source as machine code, which is generated at its first call or taken from the disk.

    Numba keys the machine code on disk by the processor and by the source file's time and size. The file is named by a
    digest of everything the code depends on. Only the text made here is run, never what a file says.

    Args:
        source: Python source that defines ``step``.
        dtype: the floating type of its arrays.

    Raises:
        ImportError: numba is not installed.
    """
    try:
        import numba
    except ImportError as error:
        raise ImportError("compiled=True needs numba: pip install 'teach_gym[fast]'") from error
    parts = (source, dtype, repr(_OPTIONS), numba.__version__, _source_of_functions())
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return _compiled(source, dtype, digest)


@functools.lru_cache(maxsize=32)
def _compiled(source: str, dtype: str, digest: str) -> Callable[..., Any]:
    import numba

    file = _kept(source, digest)
    scope = dict(_functions(dtype))
    exec(compile(source, str(file or "<teaching step>"), "exec"), scope)
    found: Callable[..., Any] = numba.njit(**_OPTIONS, cache=file is not None)(scope["step"])
    return found


def _kept(source: str, digest: str) -> Path | None:
    """The file of a source in the user's cache folder, written if needed; None where no safe file can be had.

    Numba's files beside it hold code that is run, so the folder must belong to the user, and nobody else may write.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "teach_gym" / "compiled"
    file = folder / f"step_{digest[:32]}.py"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not _private(folder):
            return None
        if not file.is_file() or file.read_text(encoding="utf-8") != source:
            write_text(file, source)
    except (OSError, RuntimeError, ValueError):  # no home, a read-only disk, a broken file
        return None
    return file


def _private(folder: Path) -> bool:
    """Whether only this user can write to a folder (on Windows: the user's profile is trusted)."""
    if not hasattr(os, "getuid"):
        return True
    found = folder.stat()
    return found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@functools.cache
def _functions(dtype: str) -> dict[str, Any]:
    """The names that loops use, for a floating type."""
    import numba

    double = dtype == "float64"
    inline = numba.njit(**_OPTIONS, forceinline=True)
    exp = inline(elementary.exp if double else elementary.exp32)
    log = inline(elementary.log if double else elementary.log32)

    def bound(function: Any, *used: Any) -> Any:
        """A function that calls others, with those compiled."""
        scope = {**vars(elementary), **{other.__name__: other for other in used}}
        return inline(types.FunctionType(function.__code__, scope, function.__name__))

    return {
        "__name__": __name__,  # numba imports the module of a function that it takes from the disk
        "exp": exp,
        "tanh": bound(elementary.tanh if double else elementary.tanh32, exp),
        "log": log,
        "log1p": bound(elementary.log1p if double else elementary.log1p32, log),
        "inf": math.inf,
        "nan": math.nan,
        "np": np,
        "large": np.float64(1e76) if double else np.float32(3e38),  # sums of squares of float32's numbers are less
        "sqrt": math.sqrt,
        "power": math.pow,
        "real": np.float64 if double else np.float32,
    }


@functools.cache
def _source_of_functions() -> str:
    return Path(elementary.__file__).read_text(encoding="utf-8")
