"""What all commands share: messages, tables, and the option for the data folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from teach_gym.errors import quoted
from teach_gym.messages import remark

PROGRAM = "teach-gym"

DataDir = Annotated[Path | None, arg(help="Data folder (default: TEACH_GYM_DATA, else the user's cache folder).")]


def say(text: str) -> None:
    """Write a line to standard error, so that standard output holds results only."""
    remark(f"{PROGRAM}: {text}")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Text columns, aligned."""
    widths = [max(len(line[i]) for line in (header, *rows)) for i in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (header, ["-" * width for width in widths], *rows)
    )


def set_data_dir(folder: Path | None) -> None:
    """Set the data folder for this process and the workers it starts."""
    from teach_gym.data.datasets import DATA_VARIABLE

    if folder is not None:
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(f"data folder {quoted(folder)} is no folder")
        os.environ[DATA_VARIABLE] = str(folder.expanduser())
