"""The commands that the campaign kills, and what must be the same afterwards as if they had not been killed."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Content = dict[str, Any]
"""What a folder holds, by file, without the values that measure time."""
TIMES = ("seconds", "time/")
"""Names of the columns that measure time begin or end with these."""

OTHERS = ("timing", "checksum", "written_at", "sha256", "run")


@dataclass(frozen=True)
class Job:
    """A command.

    Attributes:
        name: its name.
        arguments: (folder of its results, data made beforehand) -> the command line.
        kept: whether the files that were there when it was killed must still begin with what they held.
        spawns: whether it starts worker processes.
        prepare: makes what it reads, once, in a folder (None: nothing).
    """

    name: str
    arguments: Callable[[Path, Path], list[str]]
    kept: tuple[str, ...] = ()
    spawns: bool = False
    prepare: Callable[[Path], list[str]] | None = None


def _bench(out: Path, *more: str) -> list[str]:
    tasks = ["--tasks", "LabelMoons:budget=12", "SelectMoons:budget=8", "--teachers", "passive", "random", "imt"]
    return ["bench", "smoke", *tasks, "--seeds", "3,5,9", "--out", str(out), "--no-html", *more]


def _train(out: Path, algo: str, *sets: str) -> list[str]:
    size = ["--steps", "480", "--num-envs", "4", "--eval-every", "120", "--eval-episodes", "3", "--no-progress"]
    return ["train", "LabelMoons:budget=6", "--algo", algo, *size, "--out", str(out), "--resume", "--set", *sets]


def _reproduce(out: Path, workers: int) -> list[str]:
    return ["reproduce", "last-fig7", "--scale", "smoke", "--workers", str(workers), "--out", str(out)]


JOBS = (
    Job("bench", lambda out, data: _bench(out, "--executor", "serial"), ("runs.jsonl",)),
    Job(
        "bench, 2 workers",
        lambda out, data: _bench(out, "--workers", "2"),
        ("runs.jsonl",),
        spawns=True,
    ),
    Job("ppo", lambda out, data: _train(out, "ppo", "n_steps=12", "batch_size=24", "n_epochs=2")),
    Job("dqn", lambda out, data: _train(out, "dqn", "buffer_size=500", "learning_starts=40")),
    Job("reinforce", lambda out, data: _train(out, "reinforce", "sizes=[8]")),
    Job("reproduce", lambda out, data: _reproduce(out, 1)),
    Job("reproduce, 2 workers", lambda out, data: _reproduce(out, 2), spawns=True),
    Job(
        "report",
        lambda out, data: ["report", str(data / "runs.jsonl"), "--out", str(out)],
        prepare=lambda data: _bench(data, "--executor", "serial"),
    ),
    Job(
        "player",
        lambda out, data: ["render", "LabelMoons:budget=8", "passive", "greedy", "--out", str(out / "lesson.html")],
    ),
)


def content(folder: Path) -> Content:
    """What the files of a folder hold, so that it can be compared with that of another run of the same job."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[str(path.relative_to(folder))] = _read(path, folder)
    return found


def _read(path: Path, folder: Path) -> Any:
    if path.name == "runs.jsonl":
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return sorted(json.dumps(_timeless(row), sort_keys=True) for row in rows)
    if path.suffix == ".json":
        return _timeless(json.loads(path.read_text(encoding="utf-8")))
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            table = list(csv.DictReader(file))
        long = bool(table) and {"metric", "value"} <= set(table[0])  # one value a row, as the papers' curves
        return [_untimed(row, long) for row in table]
    if path.suffix == ".pt":
        import torch

        return {name: value for name, value in _flat(torch.load(path, weights_only=True)) if not _is_time(name)}
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(str(path), framework="np") as file:
            return {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118
    if path.suffix in (".html", ".md"):
        text = path.read_text(encoding="utf-8").replace(str(folder), "")
        return (len(re.sub(r"[-\d.e]+", "", text)) > 0 and "</html>" in text) or path.suffix == ".md"
    return path.suffix == ".png" or path.read_bytes()


def _is_time(name: str) -> bool:
    """Whether a value may differ from one time to the next: a time, or a digest or a name that depends on one."""
    return name.endswith(TIMES[0]) or name.startswith(TIMES) or name in OTHERS


def _untimed(row: dict[str, str], long: bool) -> dict[str, str]:
    if long and _is_time(row["metric"]):
        return {**row, "value": ""}
    return {name: value for name, value in row.items() if not _is_time(name) and "microseconds" not in name}


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(inner) for key, inner in value.items() if not _is_time(key)}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


def _flat(tree: Any, name: str = "") -> list[tuple[str, Any]]:
    """The leaves of nested dictionaries and lists, tensors as bytes."""
    if isinstance(tree, dict):
        return [leaf for key, inner in tree.items() for leaf in _flat(inner, f"{name}/{key}")]
    if isinstance(tree, list | tuple):
        return [leaf for key, inner in enumerate(tree) for leaf in _flat(inner, f"{name}/{key}")]
    return [(name, tree.numpy().tobytes() if hasattr(tree, "numpy") else tree)]
