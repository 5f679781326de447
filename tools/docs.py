"""Documentation pages of the registered environments, generated from the environments themselves.

``python -m tools.docs`` writes them, ``python -m tools.docs --check`` lists the stale ones.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from teach_gym.core.media import CONTINUOUS_MEDIA
from teach_gym.core.spec import TaskSpec
from teach_gym.errors import DataNotFoundError
from teach_gym.files import write_text
from teach_gym.markdown import markdown_table
from teach_gym.registration import NEURAL_TASKS, TASKS, spec_kwargs
from tools.pages import Calibration, neural_page, page, removed
from tools.pictures import write_images
from tools.reference import read_scores

FOLDER = Path("docs/environments")


def index(calibration: Calibration | None = None) -> str:
    """The table of all registered tasks, built from their arguments alone (no data is read)."""
    rows = []
    for name in TASKS:
        settled = TaskSpec(**spec_kwargs(name))
        room = (calibration or {}).get(name, {})
        numbers = [f"{removed(room[t])} %" if t in room else "" for t in ("passive", "greedy")]
        link = f"[{name}]({name}.md)"
        actions = "discrete, Box" if settled.medium in CONTINUOUS_MEDIA else "discrete"
        parts = [settled.medium, settled.pool, settled.learner, actions, settled.budget, settled.learning_rate]
        rows.append([link, *parts, *numbers])
    for name, spec in NEURAL_TASKS.items():
        budget = f"{spec['epochs']} epochs"
        rows.append([f"[{name}]({name}.md)", "mixup", spec["pool"], "CNN", "discrete, Box", budget, "Adam", "", ""])
    head = ["task", "medium", "pool", "learner", "actions", "budget", "learning rate", "plain SGD", "greedy"]
    intro = (
        "Every task is registered with Gymnasium as `teach_gym/<task>-v0`. The last two columns are the share of the "
        "initial distance to the target that is removed within the budget, with the 95 % interval of the mean. "
        "Omniscient tasks have the learning rate at which plain SGD ends nearest to the target."
    )
    return "\n\n".join(["# Environments", intro, markdown_table(head, rows, "l")]) + "\n"


# ------------------------------------------------------------------------------------------------------ the folder


def read_calibration(folder: str | Path) -> Calibration:
    """The calibration numbers for a folder of pages (``../results/calibration.json``), empty if there are none."""
    path = Path(folder).resolve().parent / "results" / "calibration.json"
    found: Calibration = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def _pages(folder: str | Path, names: Iterable[str] | None) -> dict[str, str]:
    calibration, scores = read_calibration(folder), read_scores(Path(folder).resolve().parent / "results")
    chosen = (*TASKS, *NEURAL_TASKS) if names is None else tuple(names)
    texts = {
        f"{name}.md": neural_page(name) if name in NEURAL_TASKS else page(name, calibration, scores) for name in chosen
    }
    return {**texts, "README.md": index(calibration)}


def write_all(folder: str | Path = FOLDER) -> list[Path]:
    """Write every task's page and the index, each file atomically; other files in the folder are left alone.

    Returns:
        the files.

    Raises:
        DataNotFoundError: a task's data is missing; nothing is written then.
    """
    texts = _pages(folder, None)
    paths = [Path(folder) / file for file in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        write_text(path, text)
    return paths


def check_all(folder: str | Path = FOLDER, names: Iterable[str] | None = None) -> list[str]:
    """The files that are missing or differ from what would be written.

    Args:
        folder: the folder of the pages.
        names: the tasks to check (default: all); the index is always checked.

    Raises:
        DataNotFoundError: a task's data is missing.
    """

    def stale(path: Path, text: str) -> bool:
        return not path.is_file() or path.read_bytes() != text.encode()

    return [file for file, text in _pages(folder, names).items() if stale(Path(folder) / file, text)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages, or with --check list the stale ones; the exit status is 1 if there are any."""
    parser = argparse.ArgumentParser(prog="python -m tools.docs", description=main.__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help=f"folder of the pages ({FOLDER})")
    parser.add_argument("--check", action="store_true", help="write nothing, list the stale pages")
    parser.add_argument(
        "--images", nargs="*", metavar="TASK", help="draw the pictures in ../images too (of some tasks)"
    )
    given = parser.parse_args(arguments)
    try:
        if given.check:
            stale = check_all(given.folder)
            print("\n".join(f"stale: {given.folder / file}" for file in stale) or "all pages are up to date")
            return 1 if stale else 0
        written = write_all(given.folder)
    except DataNotFoundError as error:
        parser.exit(2, f"{error}\n")
    if given.images is not None:
        written += write_images(given.folder.resolve().parent / "images", given.images or None)
    print(f"wrote {len(written)} files under {given.folder.parent}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
