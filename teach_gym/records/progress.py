"""A CSV file of scalars by step, which survives a kill and is continued on resuming."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

from teach_gym.errors import DamagedDataError, number, quoted, shown
from teach_gym.files import append, writing


class Progress:
    """``progress.csv``: the rows up to a step are kept, further ones are appended.

    Args:
        path: the file.
        last: the last step to keep.

    Raises:
        DamagedDataError: the file is no such table.
    """

    def __init__(self, path: Path, last: int) -> None:
        self.path, self.step, self.names = path, last, ["step"]
        self.place: int = 0  # where the last row begins
        self.rows: list[dict[str, Any]] = []
        if path.exists():
            table = _table(path)
            self.names = table[0] if table else self.names
            whole = [row for row in table[1:] if len(row) == len(self.names) and row[0].isdigit()]
            self.rows = [dict(zip(self.names, row, strict=True)) for row in whole if int(row[0]) <= last]
        self._rewrite()

    def add(self, step: int, values: dict[str, Any]) -> None:
        """Append a row, or add to the last one if it is of the same step.

        Raises:
            ValueError: a step below the last one.
        """
        number("step", step, integer=True)
        if step < max(self.step, 0):
            raise ValueError(f"steps must not go back: got {step} after {self.step}")
        if self.rows and int(self.rows[-1]["step"]) == step:
            values = {**self.rows.pop(), **values}
            self.file.truncate(self.place)
        self.rows.append({"step": step, **values})
        self.step = step
        new = [name for name in values if name not in self.names]
        if new:
            self.names += new
            self.file.close()
            self._rewrite()
        else:
            self.place = self.file.seek(0, os.SEEK_END)
            append(self.file.fileno(), self._text(self.rows[-1:]), self.path)

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def _rewrite(self) -> None:
        """Write the whole file anew, and open it for appending after the place where its last row begins."""
        before, last = self._text([dict(zip(self.names, self.names, strict=True)), *self.rows[:-1]]), self.rows[-1:]
        with writing(self.path) as file:
            file.write(before + self._text(last))
        self.file, self.place = self.path.open("ab", buffering=0), len(before)

    def _text(self, rows: list[dict[str, Any]]) -> bytes:
        buffer = io.StringIO()
        csv.DictWriter(buffer, self.names, restval="", lineterminator="\n").writerows(rows)
        return buffer.getvalue().encode()


def _table(path: Path) -> list[list[str]]:
    """The lines of a file of scalars, the first with their names.

    Raises:
        DamagedDataError: no such file.
    """
    try:
        found = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
        if found and (found[0][:1] != ["step"] or len(set(found[0])) < len(found[0])):
            raise ValueError(f"its first line is {shown(','.join(found[0]))}")
    except (ValueError, csv.Error) as error:
        raise DamagedDataError(
            f"{quoted(path)} is not a table of scalars by step ({error}); remove it: the training resumes without "
            "the rows so far"
        ) from error
    return found
