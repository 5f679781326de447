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

from teach_gym.errors import DamagedDataError

FOLDER = Path(__file__).parent


@functools.cache
def index() -> dict[str, dict[str, Any]]:
    """The cards of all pretrained teachers by name, such as ``ppo/LabelMoons-v0``."""
    found: dict[str, dict[str, Any]] = json.loads((FOLDER / "index.json").read_text(encoding="utf-8"))
    return found


def find(name: str | Path) -> Path:
    """The file of a teacher: a path, or the name of a pretrained one.

    Raises:
        FileNotFoundError: neither; the message lists the pretrained ones.
        DamagedDataError: a pretrained teacher whose file is not the one that was published.
    """
    if Path(name).is_file() or str(name) not in index():
        if not Path(name).is_file():
            raise FileNotFoundError(f"no teacher at {str(name)!r}; pretrained ones: {', '.join(index()) or 'none'}")
        return Path(name)
    path = FOLDER / f"{name}.safetensors"
    if hashlib.sha256(path.read_bytes()).hexdigest() != index()[str(name)]["sha256"]:
        raise DamagedDataError(f"the SHA-256 of {path} is not that of its card; install the package again")
    return path
