"""Running a sweep with Ray Tune (extra ``ray``): a trial whose worker was killed resumes from its checkpoint."""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from teach_gym.benchmark.ray import RETRIES, connected, load_ray
from teach_gym.errors import positive
from teach_gym.files import write_text
from teach_gym.messages import remark
from teach_gym.training.args import ALGORITHMS
from teach_gym.training.scripts import load_program
from teach_gym.training.sweep import Sweep, Trial, claim, read_result, trials, write_result

ERROR = "error.txt"

_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "60",
}
"""Tune prints no tables, stays in our working directory, leaves Ctrl-C to us and writes no curves: the trials do."""


class SweepError(RuntimeError):
    """Trials of a sweep failed; the others are done and the failed ones are tried again next time."""


def run_sweep(
    sweep: Sweep, out: str | Path, *, workers: int = 2, cpus: float = 1, gpus: float = 0
) -> dict[Path, dict[str, Any]]:
    """Train the unfinished trials, each as one task of Ray Tune, and return the results of all.

    On a cluster ``out`` and the script must be in a file system that all machines share.

    Args:
        sweep: what to train.
        out: the sweep's folder.
        workers: trials at a time, and the CPUs of a Ray instance started here.
        cpus: CPUs of a trial.
        gpus: GPUs of a trial, also a fraction.

    Returns:
        Folder of a trial -> what the training returned.

    Raises:
        ValueError: the folder holds another sweep, or see ``trials``.
        TypeError: see ``trials``.
        SweepError: some trials failed.
        ImportError: Ray Tune is not installed.
    """
    positive("workers", workers, integer=True)
    out = Path(out).resolve()
    everything = trials(sweep, out)
    claim(sweep, out)
    todo = [trial for trial in everything if read_result(trial.folder) is None]
    if todo:
        _tune(sweep, todo, out, workers, {"cpu": cpus, "gpu": gpus})
    results = {trial.folder: read_result(trial.folder) for trial in everything}
    return {folder: result for folder, result in results.items() if result is not None}


def _tune(sweep: Sweep, todo: Sequence[Trial], out: Path, workers: int, resources: dict[str, float]) -> None:
    """Run the trials with Ray Tune."""
    load_ray()
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with connected(max(1, round(workers * resources["cpu"]))):
        tune = _load_tune()
        jobs = [job_of(sweep, trial) for trial in todo]
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
    """A callback of Tune that reports the sweep's progress on standard error."""

    class Announcer(tune.Callback):  # type: ignore[misc]  # Ray is loaded on first use
        done = 0

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            self.done += 1
            remark(f"tune: {self.done} of {total} trials ended")

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


def job_of(sweep: Sweep, trial: Trial) -> dict[str, Any]:
    """A trial as plain values, as sent to a worker."""
    program = sweep.program if sweep.program in ALGORITHMS else str(Path(sweep.program).resolve())
    values = {**sweep.fixed, **trial.values}
    return {"program": program, "values": values, "task": sweep.task, "seed": trial.seed, "folder": str(trial.folder)}


def run_trial(config: dict[str, Any]) -> None:
    """Train one run in a worker; started again after a crash, it resumes from the run's last checkpoint.

    An exception of the training is written to ``error.txt``; the trial then has no result.

    Args:
        config: ``job`` holds the trial, see ``job_of``.
    """
    job = config["job"]
    folder = Path(job["folder"])
    (folder / ERROR).unlink(missing_ok=True)
    try:
        resume = (folder / "config.json").exists()
        program = load_program(job["program"])
        result = program.train(job["values"], task=job["task"], seed=job["seed"], out=folder, resume=resume)
    except Exception:  # would come again, so Tune is not to try it again; a killed worker gets no chance to say so
        write_text(folder / ERROR, traceback.format_exc())
        return
    write_result(folder, result)
