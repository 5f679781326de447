"""Teachers that were trained beforehand: small networks inside the package, used offline.

Each is a file ``<name>.safetensors`` here and an entry of ``index.json``: its SHA-256, the task, the score with its
interval, and the command that made it.
"""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from teach_gym.errors import DamagedDataError, closest, quoted, shown
from teach_gym.files import is_file

FOLDER = Path(__file__).parent
SUFFIX = ".safetensors"
"""Suffix of teachers' files."""


@functools.cache
def index() -> dict[str, dict[str, Any]]:
    """The cards of all pretrained teachers by name, such as ``ppo/LabelMoons-v0`` and ``universal/label``.

    Raises:
        DamagedDataError: an index that is no table of cards, or that names a file outside the package.
    """
    path = FOLDER / "index.json"
    try:
        found: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(card["sha256"], str) for card in found.values()):
            raise TypeError("sha256 must be a text")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DamagedDataError(f"{path} is no index of teachers: {type(error).__name__}: {error}") from error
    for name in found:
        place(name)
    return found


def place(name: str) -> Path:
    """Where the package keeps the file of a pretrained teacher.

    Raises:
        DamagedDataError: a name that leads out of the package's folder.
    """
    path = FOLDER / f"{name}{SUFFIX}"
    if "\0" in name or not path.resolve().is_relative_to(FOLDER.resolve()):
        raise DamagedDataError(
            f"a pretrained teacher's file must lie in {FOLDER}, the name {shown(name)} leads to {shown(str(path))}"
        )
    return path


def find(name: str | Path) -> Path:
    """The file of a teacher: a path, or the name of a pretrained one.

    Raises:
        FileNotFoundError: neither; the message lists the pretrained ones.
        DamagedDataError: a pretrained teacher whose file is not the one that was published.
    """
    if is_file(name):
        return Path(name)
    card = index().get(str(name))
    if card is None:
        raise FileNotFoundError(
            f"no teacher at {quoted(name)}; pretrained ones: {', '.join(index()) or 'none'}{closest(name, index())}"
        )
    path = place(str(name))
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != card["sha256"]:
        raise DamagedDataError(f"{path} is missing or its SHA-256 is not that of its card; install the package again")
    return path
