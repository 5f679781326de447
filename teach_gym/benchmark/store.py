"""The results file: JSON lines, appended to by one process at a time, readable after a kill at any moment."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from teach_gym.errors import DamagedDataError

Row = dict[str, Any]

_KEYS = ("format", "id", "task", "spec", "teacher", "seed", "finished", "curves")
_START = b'{"format": '


def _parse(path: Path, content: bytes) -> tuple[list[Row], int]:
    """Rows of the whole lines, and how many bytes those take; a last line cut short is left out.

    Raises:
        DamagedDataError: a line that no benchmark writes.
    """
    end = content.rfind(b"\n") + 1
    tail = content[end:]
    if not (tail.startswith(_START) or _START.startswith(tail)):
        raise DamagedDataError(f"{str(path)!r} is no results file of teach-gym: its last line is {tail[:60]!r}")
    rows = []
    for number, line in enumerate(content[:end].splitlines(), start=1):
        try:
            row = json.loads(line)
            complete = all(key in row for key in _KEYS)
        except (ValueError, TypeError):
            complete = False
        if not complete:
            raise DamagedDataError(f"{str(path)!r}, line {number}, is no row of results: {line[:60]!r}")
        rows.append(row)
    return rows, end


def read_rows(path: str | Path) -> list[Row]:
    """The rows of a results file, in order; a last line cut short by a kill is left out.

    Raises:
        FileNotFoundError: no such file.
        DamagedDataError: not a results file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"results file {str(path)!r} not found; `teach-gym bench` writes one")
    return _parse(path, path.read_bytes())[0]


class Store:
    """A results file open for appending, locked against other writers (where the system has file locks).

    Args:
        path: the file; it and its folder are made if need be.

    Attributes:
        rows: the rows found when it was opened.

    Raises:
        BlockingIOError: another process has it open.
        DamagedDataError: not a results file; it is left as it is.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
        try:
            self._lock()
            self.rows, end = _parse(self.path, self.path.read_bytes())
            os.ftruncate(self._file, end)
        except BaseException:
            os.close(self._file)
            raise

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # Windows
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(f"results file {str(self.path)!r} is being written by another process") from error

    def append(self, row: Row) -> None:
        """Write one row: a single write of a whole line, on disk when this returns.

        Raises:
            OSError: the line could not be written whole (disk full); the file is as before.
        """
        line = json.dumps(row, allow_nan=False).encode() + b"\n"
        end = os.fstat(self._file).st_size
        written = os.write(self._file, line)
        if written != len(line):
            os.ftruncate(self._file, end)
            raise OSError(f"wrote {written} of {len(line)} bytes to {str(self.path)!r}; is the disk full?")
        os.fsync(self._file)

    def close(self) -> None:
        """Close the file and give up the lock."""
        os.close(self._file)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
