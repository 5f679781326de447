"""Rows of results: the id of a run, and the check that a row is unchanged."""

from __future__ import annotations

import hashlib
import json
from typing import Any, NamedTuple

from teach_gym.errors import shown

FORMAT = 2
"""Version of the rows; part of a run's id."""

Row = dict[str, Any]


class Digests(NamedTuple):
    """SHA-256 of the code and the files that decide a run's result; empty where there is no such file.

    Attributes:
        task_code: the code of the task: learner, pool, medium, metrics.
        teacher_code: the code of the teacher.
        teacher_file: the file the teacher is read from.
        data_file: the user's data file the pool is read from.
    """

    task_code: str
    teacher_code: str
    teacher_file: str = ""
    data_file: str = ""


def run_id(spec: Any, teacher: str, seed: int, digests: Digests) -> str:
    """SHA-256 of everything that decides a run's result.

    Args:
        spec: the full task spec, plain JSON values.
        teacher: the teacher as text, in its canonical spelling.
        seed: the evaluation seed.
        digests: the digests of code and files.
    """
    return _sha256([FORMAT, spec, teacher, seed, digests._asdict()])


def sealed(row: Row) -> Row:
    """The row with its checksum, which covers everything else in it."""
    return {**row, "checksum": _checksum(row)}


def fault(row: Any) -> str | None:
    """Why a row read from a file cannot be used, as a phrase for messages; None if it can."""
    if not isinstance(row, dict) or "format" not in row:
        return "is not a row of results"
    if row["format"] != FORMAT:
        return (
            f"is a row of format {shown(row['format'])}, and this version of teach_gym reads and writes format {FORMAT}"
        )
    if row.get("checksum") != _checksum(row):
        return "was changed after it was written: its checksum does not match"
    try:
        expected = run_id(row["spec"], row["teacher"], row["seed"], Digests(**row["digests"]))
    except (KeyError, TypeError):
        expected = None
    return None if row.get("id") == expected else "has an id that is not that of its run"


def _checksum(row: Row) -> str:
    return _sha256({key: value for key, value in row.items() if key != "checksum"})


def _sha256(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
