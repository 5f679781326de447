"""The programs a sweep may train: an algorithm of ``teach-gym train``, or the user's training script."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from teach_gym.errors import quoted, shown
from teach_gym.files import is_file
from teach_gym.training.args import ALGORITHMS, TrainArgs

OWN = ("task", "seed", "out", "resume", "progress")
"""The arguments of a training that the sweep sets."""


class Program(Protocol):
    """A training that takes arguments by name."""

    def check(self, task: str, values: Mapping[str, Any]) -> None:
        """Raise an error if a training could not be started with these arguments."""

    def train(self, values: Mapping[str, Any], *, task: str, seed: int, out: Path, resume: bool) -> dict[str, float]:
        """Train, or resume, and return numbers by name."""


@dataclass(frozen=True)
class PackageProgram:
    """An algorithm of ``teach-gym train``: arguments are those of ``TrainArgs`` and hyper-parameters."""

    algo: str

    def _args(self, values: Mapping[str, Any], **own: Any) -> TrainArgs:
        named = {part.name for part in dataclasses.fields(TrainArgs)} - {*OWN, "algo", "overrides", "hyperparams"}
        ours = {name: value for name, value in values.items() if name in named}
        changes = tuple(f"{name}={value!r}" for name, value in values.items() if name not in named)
        return TrainArgs(algo=self.algo, overrides=changes, **ours, **own)  # type: ignore[arg-type]

    def check(self, task: str, values: Mapping[str, Any]) -> None:
        """Raise an error if a training could not be started with these arguments."""
        from teach_gym.training.program import plan

        plan(self._args(values, task=task))

    def train(self, values: Mapping[str, Any], *, task: str, seed: int, out: Path, resume: bool) -> dict[str, float]:
        """Train, or resume, and return the score."""
        from teach_gym.training.program import train

        return train(self._args(values, task=task, seed=seed, out=out, resume=resume, progress=False))


@dataclass(frozen=True)
class ScriptProgram:
    """A training script."""

    path: Path

    def check(self, task: str, values: Mapping[str, Any]) -> None:
        """Raise an error if a training could not be started with these arguments."""
        args = load_script(self.path).Args
        allowed = {part.name for part in dataclasses.fields(args)} - set(OWN)
        if unknown := sorted(set(values) - allowed):
            raise TypeError(f"{self.path.name} has no argument {', '.join(unknown)}; allowed: {sorted(allowed)}")
        args(task=task, **values)  # checks the values

    def train(self, values: Mapping[str, Any], *, task: str, seed: int, out: Path, resume: bool) -> dict[str, float]:
        """Train, or resume, and return what the script returns."""
        script = load_script(self.path)
        args = script.Args(**values, task=task, seed=seed, out=out, resume=resume, progress=False)
        found: dict[str, float] = script.train(args)
        return found


def load_program(name: str) -> Program:
    """An algorithm by its name, or a training script by its path.

    Raises:
        ValueError: neither.
        FileNotFoundError: no such script.
    """
    if name in ALGORITHMS:
        return PackageProgram(name)
    if not name.endswith(".py"):
        raise ValueError(
            f"unknown program {shown(name)}; allowed: {', '.join(ALGORITHMS)}, or the path of a script (.py)"
        )
    return ScriptProgram(Path(name))


def load_script(path: Path) -> ModuleType:
    """Import a training script.

    Raises:
        FileNotFoundError: no such file.
        TypeError: it has no ``Args`` dataclass with the fields that a sweep sets, or no function ``train``.
    """
    if not is_file(path):
        raise FileNotFoundError(f"training script {quoted(path)} not found")
    spec = importlib.util.spec_from_file_location(f"training_script_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up their module
    spec.loader.exec_module(module)
    known = {part.name for part in dataclasses.fields(module.Args)} if hasattr(module, "Args") else set()
    if not set(OWN) <= known or not callable(getattr(module, "train", None)):
        raise TypeError(f"{quoted(path)} must define train(Args) and a dataclass Args with the fields {', '.join(OWN)}")
    return module
