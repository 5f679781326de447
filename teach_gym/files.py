"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside ``path``, renamed to it when the block ends without an exception.

    Args:
        path: the file to write; its folder is made if it is not there.

    Yields:
        a binary file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
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
