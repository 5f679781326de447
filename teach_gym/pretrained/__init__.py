"""Teachers that were trained beforehand: small networks inside the package, used offline.

Each is a file ``<name>.safetensors`` here and an entry of ``index.json``: its SHA-256, the task, the score with its
interval, and the command that made it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teach_gym.errors import DamagedDataError
from teach_gym.files import write_text, writing

if TYPE_CHECKING:
    from teach_gym.teachers.agent import Agent

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


def load_teacher(name: str | Path) -> Agent:
    """Load a trained agent as a teacher; needs neither torch nor the network.

    Args:
        name: a pretrained teacher such as ``ppo/LabelMoons-v0`` (``teach_gym.pretrained.index()`` lists them with
            their scores), or the path of a file that ``agents/train_sb3.py`` or ``agents/reinforce.py`` wrote.

    Raises:
        FileNotFoundError: no such file and no such name; the message lists the names.
        DamagedDataError: a damaged file.
    """
    from teach_gym.teachers.agent import Agent

    return Agent(path=name)


def publish(path: str | Path, name: str, **card: Any) -> None:
    """Copy an agent's file into the package and write its card.

    Args:
        path: the file.
        name: its name, algorithm/id.
        **card: plain JSON values: ``score`` with ``low`` and ``high``, ``episodes``, ``first_seed``, ``command``.
    """
    from teach_gym.teachers.agent import Agent

    agent = Agent(path=path)
    assert agent.spec is not None
    target = FOLDER / f"{name}.safetensors"
    with Path(path).open("rb") as source, writing(target) as file:
        shutil.copyfileobj(source, file)
    entry = {
        "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
        "task": json.loads(agent.spec.to_json()),
        **card,
    }
    cards = {**index(), name: entry}
    write_text(FOLDER / "index.json", json.dumps(dict(sorted(cards.items())), indent=1) + "\n")
    index.cache_clear()
