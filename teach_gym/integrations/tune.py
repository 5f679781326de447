"""A Ray Tune sweep over the settings and seeds of a training script (extra ``ray``).

A training script is a Python file with a dataclass ``Args`` (fields ``task``, ``seed``, ``out``, ``resume``, ...) and a
function ``train(Args) -> dict of numbers``, as those in ``agents/``. Every combination of settings is trained with
every seed; each trial has a folder of its own with the records of its run and, once it is done, ``result.json``. What
counts is in these folders, so a sweep killed at any moment goes on when it is started again, and a trial whose worker
was killed goes on from its last checkpoint.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import json
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from teach_gym.benchmark.ray import RETRIES, connected, load_ray
from teach_gym.benchmark.score import CONFIDENCE, Estimate
from teach_gym.benchmark.suite import task_spec
from teach_gym.calls import format_call
from teach_gym.errors import DamagedDataError, positive
from teach_gym.files import write_text

Settings = dict[str, Any]

OWN = ("task", "seed", "out", "resume", "progress")
"""The arguments of a training script that the sweep sets."""

RESULT = "result.json"
ERROR = "error.txt"

_SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "60",
}
"""Tune prints no tables, stays in our working directory, leaves Ctrl-C to us and writes no curves: the trials do."""


@dataclass(frozen=True)
class Sweep:
    """Settings x seeds of one training script on one task.

    Attributes:
        script: the training script, a Python file.
        task: the task, as text.
        seeds: seeds of the training runs.
        fixed: arguments of the script that all trials share.
        grid: argument -> the values it takes; every combination is one setting.
    """

    script: Path
    task: str
    seeds: tuple[int, ...]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def settings(self) -> list[Settings]:
        """Every combination of the grid's values."""
        return [dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())]


class Trial(NamedTuple):
    """One training run of a sweep."""

    setting: Settings
    seed: int
    folder: Path


class Line(NamedTuple):
    """One line of the table: a setting, the seeds that are done, and the mean of the metric over them."""

    setting: str
    seeds: int
    estimate: Estimate


class SweepError(RuntimeError):
    """Trials of a sweep failed; the others are done and the failed ones are tried again next time."""


def load_script(path: str | Path) -> ModuleType:
    """Import a training script.

    Raises:
        FileNotFoundError: no such file.
        TypeError: it has no ``Args`` dataclass with the fields a sweep sets, or no function ``train``.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"training script {str(path)!r} not found")
    spec = importlib.util.spec_from_file_location(f"training_script_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise TypeError(f"training script {str(path)!r} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    known = {part.name for part in dataclasses.fields(module.Args)} if hasattr(module, "Args") else set()
    if not set(OWN) <= known or not callable(getattr(module, "train", None)):
        raise TypeError(f"{str(path)!r} must define train(Args) and a dataclass Args with the fields {', '.join(OWN)}")
    return module


def trials(sweep: Sweep, out: Path) -> list[Trial]:
    """All training runs of a sweep, setting by setting; the folder of each is ``out/<setting>/seed-<seed>``.

    Raises:
        TypeError: an argument the script does not have or the sweep sets itself.
        ValueError: a value out of range, a grid or seeds without values or with the same value twice.
    """
    for what, values in {**sweep.grid, "seeds": sweep.seeds}.items():
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise ValueError(f"{what} must be a list of one or more values, got {values!r}")
        if len({repr(value) for value in values}) < len(values):
            raise ValueError(f"{what} must be different values, got {values!r}")
    args = load_script(sweep.script).Args
    allowed = {part.name for part in dataclasses.fields(args)} - set(OWN)
    if unknown := sorted({*sweep.fixed, *sweep.grid} - allowed):
        raise TypeError(f"{sweep.script.name} has no argument {', '.join(unknown)}; allowed: {sorted(allowed)}")
    if twice := sorted(set(sweep.fixed) & set(sweep.grid)):
        raise ValueError(f"{', '.join(twice)} cannot be both fixed and in the grid")
    task_spec(sweep.task)
    for setting in sweep.settings():
        args(task=sweep.task, **sweep.fixed, **setting)  # checks the values
    return [
        Trial(setting, seed, out / label(setting) / f"seed-{seed}")
        for setting in sweep.settings()
        for seed in sweep.seeds
    ]


def label(setting: Settings) -> str:
    """A setting as text, fit for a folder's name."""
    return format_call("", setting).removeprefix(":").replace(os.sep, "-") or "default"


def run_sweep(
    sweep: Sweep, out: str | Path, *, workers: int = 2, cpus: float = 1, gpus: float = 0
) -> dict[Path, Settings]:
    """Train what is not done yet, each trial as one task of Ray Tune, and return the results of all.

    On a cluster ``out`` and the script must be in a file system that all machines share.

    Args:
        sweep: what to train.
        out: the sweep's folder.
        workers: trials at a time, and the CPUs of a Ray instance of our own.
        cpus: CPUs of a trial.
        gpus: GPUs of a trial, also a fraction.

    Returns:
        Folder of a trial -> what ``train`` returned.

    Raises:
        ValueError: the folder holds another sweep, or see ``trials``.
        TypeError: see ``trials``.
        SweepError: some trials failed.
        ImportError: Ray Tune is not installed.
    """
    positive("workers", workers, integer=True)
    out = Path(out).resolve()
    everything = trials(sweep, out)
    _claim(sweep, out)
    todo = [trial for trial in everything if read_result(trial.folder) is None]
    if todo:
        _tune(sweep, todo, out, workers, {"cpu": cpus, "gpu": gpus})
    results = {trial.folder: read_result(trial.folder) for trial in everything}
    return {folder: result for folder, result in results.items() if result is not None}


def _claim(sweep: Sweep, out: Path) -> None:
    """Write down what all trials of a folder share, or compare it; grid and seeds may grow."""
    shared = {"script": sweep.script.name, "task": task_spec(sweep.task)[0], "fixed": dict(sweep.fixed)}
    ours = json.loads(json.dumps(shared))
    path = out / "sweep.json"
    if not path.exists():
        write_text(path, json.dumps(ours, indent=1) + "\n")
    elif (theirs := json.loads(path.read_text(encoding="utf-8"))) != ours:
        raise ValueError(f"{out} holds another sweep: there {theirs}, here {ours}; choose another folder")


def _tune(sweep: Sweep, todo: Sequence[Trial], out: Path, workers: int, resources: dict[str, float]) -> None:
    """Carry the trials out with Ray Tune."""
    load_ray()
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    with connected(max(1, round(workers * resources["cpu"]))):
        tune = _load_tune()
        jobs = [_job(sweep, trial) for trial in todo]
        tuner = tune.Tuner(
            tune.with_resources(run_trial, resources),
            param_space={"job": tune.grid_search(jobs)},
            tune_config=tune.TuneConfig(max_concurrent_trials=workers, trial_dirname_creator=_dirname),
            run_config=tune.RunConfig(
                storage_path=str(out / "ray"),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=RETRIES),
                callbacks=[_announcer(tune, len(todo))],
            ),
        )
        crashes = [str(error) for error in tuner.fit().errors]
    failed = [trial for trial in todo if read_result(trial.folder) is None]
    if failed:
        traces = [path.read_text(encoding="utf-8") for trial in failed if (path := trial.folder / ERROR).exists()]
        first = (traces + crashes + ["no result"])[0].strip().splitlines()[-1]
        raise SweepError(f"{len(failed)} of {len(todo)} trials failed, {failed[0].folder}: {first}")


def _announcer(tune: Any, total: int) -> Any:
    """A callback of Tune that says on the standard error stream how far the sweep is."""

    class Announcer(tune.Callback):  # type: ignore[misc]  # Ray is loaded on first use
        done = 0

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            self.done += 1
            print(f"tune: {self.done} of {total} trials ended", file=sys.stderr, flush=True)

    return Announcer()


def _dirname(trial: Any) -> str:
    """The name of Tune's own folder of a trial."""
    return str(trial.trial_id)


def _load_tune() -> Any:
    try:
        from ray import tune
    except ImportError as error:
        raise ImportError("Ray Tune is not installed: pip install 'teach_gym[ray]'") from error
    return tune


def _job(sweep: Sweep, trial: Trial) -> Settings:
    """A trial as plain values, the way it goes to a worker."""
    arguments = {**sweep.fixed, **trial.setting, "task": sweep.task, "seed": trial.seed, "progress": False}
    return {"script": str(sweep.script.resolve()), "folder": str(trial.folder), "arguments": arguments}


def run_trial(config: Settings) -> None:
    """Train one run in a worker; started again after a crash, it goes on from the run's last checkpoint.

    An exception of the script is written to ``error.txt``; the trial then has no result.

    Args:
        config: ``job`` holds the script, the trial's folder and the arguments.
    """
    job = config["job"]
    folder = Path(job["folder"])
    (folder / ERROR).unlink(missing_ok=True)
    try:
        script = load_script(job["script"])
        resume = (folder / "config.json").exists()
        result = script.train(script.Args(**job["arguments"], out=folder, resume=resume))
    except Exception:  # would come again, so Tune is not to try it again; a killed worker gets no chance to say so
        write_text(folder / ERROR, traceback.format_exc())
        return
    write_text(folder / RESULT, json.dumps({name: float(value) for name, value in result.items()}, indent=1) + "\n")


def read_result(folder: Path) -> Settings | None:
    """What the trial of a folder returned, or None if it is not done.

    Raises:
        DamagedDataError: the file holds no JSON.
    """
    path = folder / RESULT
    if not path.exists():
        return None
    try:
        found: Settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedDataError(f"{path} is damaged: {error}") from error
    return found


def mean_interval(values: Sequence[float]) -> Estimate:
    """Mean over independent training runs with Student's t interval (95 %); (nan, nan) for fewer than two."""
    from scipy import stats

    sample = np.asarray(values, dtype=np.float64)
    mean = float(sample.mean())
    if len(sample) < 2:
        return Estimate(mean, float("nan"), float("nan"))
    margin = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(sample) - 1) * sample.std(ddof=1) / np.sqrt(len(sample)))
    return Estimate(mean, mean - margin, mean + margin)


def table(sweep: Sweep, out: str | Path, metric: str = "score") -> Iterator[Line]:
    """One line per setting, in the grid's order: all seeds count, none is picked out.

    Raises:
        ValueError: the results have no such metric.
    """
    everything = trials(sweep, Path(out).resolve())
    for setting in sweep.settings():
        found = [read_result(trial.folder) for trial in everything if trial.setting == setting]
        done = [result for result in found if result is not None]
        if done and any(metric not in result for result in done):
            raise ValueError(f"unknown metric {metric!r}; allowed: {', '.join(done[0])}")
        if done:
            yield Line(label(setting), len(done), mean_interval([result[metric] for result in done]))
