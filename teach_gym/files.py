"""Atomic file writing: a file appears complete or not at all."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from teach_gym.errors import quoted, shown

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TEMPORARY = ".tmp"
"""The suffix of files that are being written; they begin with a dot."""


def is_file(path: str | Path) -> bool:
    """Whether a path leads to a regular file; one too long for the system leads to none."""
    try:
        return Path(path).is_file()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


def make_folder(path: str | Path) -> Path:
    """Create a folder and its parents if they do not exist.

    Raises:
        NotADirectoryError: the path or one of its parents is a file.
        ValueError: an invalid path.
    """
    path = Path(path)
    if "\0" in str(path):
        raise ValueError(f"a path must not hold the character NUL, got {shown(str(path))}")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise NotADirectoryError(f"cannot create the folder {quoted(path)}: part of the path is a file") from error
    return path


def check_target(path: str | Path) -> Path:
    """Check that a file can be written to a path, before long work starts, and create its folder.

    Raises:
        FileExistsError: the path is a folder or a device.
        NotADirectoryError: the folder or one of its parents is a file.
        ValueError: an invalid path.
    """
    path = Path(path)
    make_folder(path.parent)
    if "\0" in path.name:
        raise ValueError(f"a path must not hold the character NUL, got {shown(str(path))}")
    if path.exists() and not path.is_file():
        raise FileExistsError(f"cannot write {quoted(path)}: it exists and is not a regular file")
    return path


@contextlib.contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Name a file in the ``OSError`` of a call that was given its number only; it names none itself.

    Raises:
        OSError: with the path; a ``BrokenPipeError`` stays one, and so on.
    """
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


class _Raw(io.FileIO):
    """An open file whose errors name the file it is to become. It has no number, so nobody writes around it."""

    def __init__(self, handle: int, path: Path) -> None:
        super().__init__(handle, "w")
        self._path = path

    def write(self, data: Any) -> int:
        with naming(self._path):
            return super().write(data)

    def fileno(self) -> int:
        raise io.UnsupportedOperation("a file that is being written has no number")


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a temporary file next to ``path``; it is renamed to ``path`` when the block ends without an exception.

    A process that is killed meanwhile leaves the temporary file behind; the next one to write the same file removes it,
    and so does ``remove_leftovers``.

    Args:
        path: the file to write; its folder is created if it does not exist.

    Yields:
        a binary file.

    Raises:
        OSError: the file cannot be written, such as to a full disk; see also ``check_target``.
        ValueError: see ``check_target``.
    """
    path = check_target(path)
    remove_leftovers(path.parent, path.name)
    handle, temporary = _temporary(path)
    lock = None if fcntl is None else os.dup(handle)  # keeps the lock until the file has its name
    try:
        with io.BufferedWriter(_Raw(handle, path)) as file:
            yield file
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        if lock is not None:
            os.close(lock)


def _temporary(path: Path) -> tuple[int, str]:
    """A new temporary file next to ``path``, open and, where the system has file locks, locked; and its name."""
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=TEMPORARY)
        if fcntl is None or _lock(handle):
            return handle, name
        os.close(handle)


def claim(handle: int, what: str) -> None:
    """Lock an open file or folder against other processes, where the system and the file system have locks.

    The lock is released when the handle is closed.

    Args:
        handle: the open file or folder.
        what: what it is, for the message.

    Raises:
        BlockingIOError: another process has locked it.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BlockingIOError(f"{what} is being written by another process") from error
    except OSError:  # a file system without locks
        return


@contextlib.contextmanager
def sole_writer(folder: str | Path) -> Iterator[None]:
    """Create a folder and keep other processes that ask for the same out of it; see ``claim``.

    Raises:
        BlockingIOError: another process is writing into the folder.
        NotADirectoryError: see ``make_folder``.
    """
    folder = make_folder(folder)
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        claim(handle, f"folder {quoted(folder)}")
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    """Lock a new file; False if ``remove_leftovers`` came first and removes it."""
    try:
        claim(handle, "a temporary file")
    except BlockingIOError:
        return False
    return os.fstat(handle).st_nlink > 0


def remove_leftovers(folder: str | Path, name: str | None = None) -> None:
    """Remove what processes that were killed while writing left in a folder; files still being written stay.

    Args:
        folder: the folder.
        name: only what was to become the file of this name (None: everything).
    """
    for path in Path(folder).glob(f".{'' if name is None else glob.escape(name) + '.'}*{TEMPORARY}"):
        if fcntl is None:
            with contextlib.suppress(FileNotFoundError, PermissionError):  # gone, or still open
                path.unlink()
            continue
        with contextlib.suppress(OSError), path.open("r+b") as file:  # gone, locked, or a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Write a text file (UTF-8) atomically."""
    with writing(path) as file:
        file.write(text.encode())


def append(handle: int, line: bytes, path: str | Path, *, synced: bool = False) -> None:
    """Append a line to an open file, all of it or nothing.

    Args:
        handle: the file, open for appending.
        line: what to write.
        path: its name, for messages.
        synced: whether the line must be on disk when the call returns.

    Raises:
        OSError: the line could not be written whole, such as to a full disk; the file is unchanged.
    """
    end = os.fstat(handle).st_size
    try:
        with naming(path):
            written = os.write(handle, line)
            if written != len(line):
                raise OSError(errno.ENOSPC, f"only {written} of {len(line)} bytes found room")
            if synced:
                os.fsync(handle)
    except OSError:
        os.ftruncate(handle, end)
        raise


def sha256(file: IO[bytes]) -> str:
    """SHA-256 of the rest of a binary file in hexadecimal digits; the file is read in chunks."""
    digest = hashlib.sha256()
    while piece := file.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()
