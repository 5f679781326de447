"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO


def make_folder(path: str | Path) -> Path:
    """Create a folder and its parents if they do not exist.

    Raises:
        NotADirectoryError: the path or one of its parents is a file.
        ValueError: a path that no folder can have.
    """
    path = Path(path)
    if "\0" in str(path):
        raise ValueError(f"a path must not hold the character NUL, got {str(path)!r}")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise NotADirectoryError(f"cannot create the folder {str(path)!r}: part of the path is a file") from error
    return path


def check_target(path: str | Path) -> Path:
    """Check that a file can be written to a path, for use before long work, and create its folder.

    Raises:
        FileExistsError: the path is a folder or a device.
        NotADirectoryError: the folder or one of its parents is a file.
        ValueError: a path that no file can have.
    """
    path = Path(path)
    make_folder(path.parent)
    if "\0" in path.name:
        raise ValueError(f"a path must not hold the character NUL, got {str(path)!r}")
    if path.exists() and not path.is_file():
        raise FileExistsError(f"cannot write {str(path)!r}: it exists and is not a regular file")
    return path


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a temporary file next to ``path``, renamed to it when the block ends without an exception.

    Args:
        path: the file to write; its folder is created if it does not exist.

    Yields:
        a binary file.

    Raises:
        OSError, ValueError: see ``check_target``.
    """
    path = check_target(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_text(path: str | Path, text: str) -> None:
    """Write a text file (UTF-8), whole or not at all."""
    with writing(path) as file:
        file.write(text.encode())


def sha256(file: IO[bytes]) -> str:
    """SHA-256 of the rest of a binary file in hexadecimal digits, read in pieces."""
    digest = hashlib.sha256()
    while piece := file.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()
