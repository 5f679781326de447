"""The results file: JSON lines, appended by one process at a time, readable after a kill at any moment."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from types import TracebackType
from typing import Any

from teach_gym.benchmark.rows import FORMAT, Row, fault
from teach_gym.errors import DamagedDataError, quoted
from teach_gym.files import append, claim, is_file, make_folder

_START = f'{{"format": {FORMAT}'.encode()


def _parse(path: Path, content: bytes) -> tuple[list[Row], int]:
    """Rows of the whole lines, and how many bytes those take; a last line cut short is left out.

    Raises:
        DamagedDataError: a line that no benchmark wrote, or that was changed; the message names the remedy.
    """
    *lines, tail = content.split(b"\n")
    rows = []
    for number, line in enumerate(lines, start=1):
        row = _decoded(line)
        if problem := fault(row):
            raise _damaged(path, number, problem, line)
        rows.append(row)
    if not (tail.startswith(_START) or _START.startswith(tail)):
        raise _damaged(path, len(lines) + 1, "was not written by a benchmark", tail)
    return rows, len(content) - len(tail)


def _decoded(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _damaged(path: Path, number: int, problem: str, line: bytes) -> DamagedDataError:
    where = shlex.quote(str(path))
    return DamagedDataError(
        f"results file {quoted(path)}, line {number}, {problem}; it begins with {line[:40]!r}. Remove the line, for "
        f"instance by: sed -i {number}d {where} (its run is then carried out again), or start a new file"
    )


def read_rows(path: str | Path) -> list[Row]:
    """The rows of a results file, in order; a last line cut short by a kill is left out.

    Raises:
        FileNotFoundError: no such file.
        DamagedDataError: not a results file.
    """
    path = Path(path)
    if not is_file(path):
        raise FileNotFoundError(f"results file {quoted(path)} not found; `teach-gym bench` writes one")
    return _parse(path, path.read_bytes())[0]


class Store:
    """A results file open for appending, locked against other writers (where the system has file locks).

    Args:
        path: the file; it and its folder are created if they do not exist.

    Attributes:
        rows: the rows it held when it was opened.

    Raises:
        BlockingIOError: another process has it open.
        DamagedDataError: not a results file, or a row was changed; the file is not touched.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        make_folder(self.path.parent)
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
        try:
            claim(self._file, f"results file {quoted(self.path)}")
            self.rows, end = _parse(self.path, self.path.read_bytes())
            os.ftruncate(self._file, end)
        except BaseException:
            os.close(self._file)
            raise

    def append(self, row: Row) -> None:
        """Write one row as a single write of a whole line; it is on disk when this returns.

        Raises:
            OSError: the line could not be written whole (disk full); the file is unchanged.
        """
        append(self._file, json.dumps(row, allow_nan=False).encode() + b"\n", self.path, synced=True)

    def close(self) -> None:
        """Close the file and release the lock."""
        os.close(self._file)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
