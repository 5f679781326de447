"""Sweeps over the settings and seeds of a training: what is trained, and the table of results.

What is trained is an algorithm of ``teach-gym train``, or your own script: a Python file with a dataclass ``Args``
(with the fields ``task``, ``seed``, ``out``, ``resume`` and ``progress``) and a function ``train(Args) -> dict of
numbers``. Every combination of settings is trained with every seed. Each trial has a folder of its own with the records
of its run and, once it is done, ``result.json``; these folders hold the whole state, so a sweep killed at any
moment resumes when it is started again. ``teach_gym.training.ray_sweep`` runs a sweep.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from teach_gym.benchmark.score import CONFIDENCE, Estimate
from teach_gym.calls import format_call
from teach_gym.errors import DamagedDataError, shown
from teach_gym.files import write_text
from teach_gym.training.scripts import load_program
from teach_gym.training.subjects import subject_of

RESULT = "result.json"


@dataclass(frozen=True)
class Sweep:
    """Settings x seeds of one program on one task.

    Attributes:
        program: an algorithm of ``teach-gym train``, or the path of a training script.
        task: the task, as text.
        seeds: seeds of the trainings.
        fixed: arguments that all trials share.
        grid: argument -> the values it takes; every combination is one setting.
    """

    program: str
    task: str
    seeds: tuple[int, ...]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The algorithm, or the script's name."""
        return Path(self.program).stem

    def combinations(self) -> list[dict[str, Any]]:
        """Every combination of the grid's values."""
        return [dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())]


class Trial(NamedTuple):
    """One training of a sweep: values of the grid's arguments, the seed, and the run's folder."""

    values: dict[str, Any]
    seed: int
    folder: Path


class Line(NamedTuple):
    """One line of the table: a setting, the seeds that are done, and the mean of the metric over them."""

    setting: str
    seeds: int
    estimate: Estimate


def trials(sweep: Sweep, out: Path) -> list[Trial]:
    """All trainings of a sweep, setting by setting; the folder of each is ``out/<setting>/seed-<seed>``.

    Raises:
        TypeError: an argument that the program does not have or the sweep sets itself.
        ValueError: a value out of range, a grid or seeds without values or with the same value twice.
        FileNotFoundError: no such script.
    """
    checked: dict[str, Sequence[Any]] = {**sweep.grid, "seeds": sweep.seeds}
    for what, values in checked.items():
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise ValueError(f"{what} must be a list of one or more values, got {shown(values)}")
        if len({repr(value) for value in values}) < len(values):
            raise ValueError(f"{what} must be different values, got {shown(values)}")
    if twice := sorted(set(sweep.fixed) & set(sweep.grid)):
        raise ValueError(f"{', '.join(twice)} cannot be both fixed and in the grid")
    program = load_program(sweep.program)
    subject_of(sweep.task)
    for setting in sweep.combinations():
        program.check(sweep.task, {**sweep.fixed, **setting})
    return [
        Trial(setting, seed, out / label(setting) / f"seed-{seed}")
        for setting in sweep.combinations()
        for seed in sweep.seeds
    ]


def label(values: dict[str, Any]) -> str:
    """A setting as text, fit for a folder's name."""
    return format_call("", values).removeprefix(":").replace(os.sep, "-") or "default"


def claim(sweep: Sweep, out: Path) -> None:
    """Record what all trials of a folder share, or compare it with the record; grid and seeds may grow.

    Raises:
        ValueError: the folder holds another sweep.
    """
    shared = {"program": sweep.name, "task": subject_of(sweep.task).name, "fixed": dict(sweep.fixed)}
    ours = json.loads(json.dumps(shared))
    path = out / "sweep.json"
    if not path.exists():
        write_text(path, json.dumps(ours, indent=1) + "\n")
    elif (theirs := json.loads(path.read_text(encoding="utf-8"))) != ours:
        raise ValueError(f"{out} holds another sweep: there {theirs}, here {ours}; choose another folder")


def write_result(folder: Path, result: Mapping[str, float]) -> None:
    """Record that the trial of a folder is done."""
    write_text(folder / RESULT, json.dumps({name: float(value) for name, value in result.items()}, indent=1) + "\n")


def read_result(folder: Path) -> dict[str, Any] | None:
    """What the trial of a folder returned, or None if it is not done.

    Raises:
        DamagedDataError: the file holds no JSON.
    """
    path = folder / RESULT
    if not path.exists():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedDataError(f"{path} is damaged: {error}") from error
    return found


def mean_interval(values: Sequence[float]) -> Estimate:
    """Mean over independent trainings with Student's t interval (95 %); (nan, nan) for fewer than two."""
    from scipy import stats

    sample = np.asarray(values, dtype=np.float64)
    mean = float(sample.mean())
    if len(sample) < 2:
        return Estimate(mean, float("nan"), float("nan"))
    margin = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(sample) - 1) * sample.std(ddof=1) / np.sqrt(len(sample)))
    return Estimate(mean, mean - margin, mean + margin)


def table(sweep: Sweep, out: str | Path, metric: str = "score") -> Iterator[Line]:
    """One line per setting, in the grid's order: all seeds count.

    Raises:
        ValueError: the results have no such metric.
    """
    everything = trials(sweep, Path(out).resolve())
    for values in sweep.combinations():
        found = [read_result(trial.folder) for trial in everything if trial.values == values]
        done = [result for result in found if result is not None]
        if done and any(metric not in result for result in done):
            raise ValueError(f"unknown metric {shown(metric)}; allowed: {', '.join(done[0])}")
        if done:
            yield Line(label(values), len(done), mean_interval([result[metric] for result in done]))
