"""The README's tables of tasks and results, filled in from the registry and the committed results."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from teach_gym.core.build import make_task
from teach_gym.files import write_text
from teach_gym.markdown import markdown_table
from teach_gym.registration import NEURAL_TASKS, TASKS
from tools.docs import read_calibration
from tools.pages import removed


def task_table(root: Path) -> str:
    """Markdown table of the registered tasks, with their sizes and the room for teaching."""
    numbers = read_calibration(root / "docs" / "environments")
    rows: list[tuple[Any, ...]] = []
    for name in TASKS:
        task = make_task(name)
        spec, room = task.spec, numbers[name]
        learner = f"{spec.learner}, momentum" if spec.momentum else spec.learner
        sizes, rooms = (task.size, task.n_actions, spec.budget), map(removed, (room["passive"], room["greedy"]))
        rows.append((_link(name), spec.medium, learner, spec.pool, *sizes, *rooms))
    rows += [
        (_link(name), "mixup", "network", kwargs["pool"], "", 3, f"{kwargs['epochs']} epochs", "", "")
        for name, kwargs in NEURAL_TASKS.items()
    ]
    head = ("task", "medium", "learner", "pool", "L", "A", "budget", "plain SGD", "greedy oracle")
    return markdown_table(head, rows, "llllr")


def _link(name: str) -> str:
    return f"[`{name}`](docs/environments/{name}.md)"


def result_table(root: Path) -> str:
    """The table over all tasks of the committed benchmark report, with its date line."""
    report = (root / "docs" / "results" / "benchmark.md").read_text(encoding="utf-8")
    table = re.search(r"^\| Teacher \| Score.*?(?=\n\n)", report, flags=re.S | re.M)
    command = re.search(r"^`(teach-gym bench .*)`$", report, flags=re.M)
    if table is None or command is None:
        raise ValueError("docs/results/benchmark.md has no table over all tasks or no command; run `make results`")
    return f"`{command[1]}`, 10 seeds:\n\n{table[0]}"


def filled(root: Path) -> str:
    """The README with both tables updated."""
    text = (root / "README.md").read_text(encoding="utf-8")
    for mark, table in (("tasks", task_table(root)), ("results", result_table(root))):
        start, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
        if text.count(start) != 1 or text.count(end) != 1:
            raise ValueError(f"README.md must hold the marks {start.strip()} and {end} once each")
        text = text[: text.index(start) + len(start)] + table + "\n" + text[text.index(end) :]
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Update the README's tables."""
    parser = argparse.ArgumentParser(prog="python -m tools.readme", description=main.__doc__)
    parser.add_argument("root", nargs="?", type=Path, default=Path("."), help="the project's folder")
    root = parser.parse_args(arguments).root
    write_text(root / "README.md", filled(root))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
