"""Carrying out runs: one row of results per run, written so that a killed benchmark can be taken up again."""

from __future__ import annotations

import contextlib
import json
import math
import platform
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from teach_gym.benchmark.processes import cpus, in_processes
from teach_gym.benchmark.store import Row, Store
from teach_gym.benchmark.suite import FORMAT, Run, cached_task, file_digest, parse_teacher
from teach_gym.errors import lookup_name, positive
from teach_gym.metrics import METRICS
from teach_gym.randomness import Streams
from teach_gym.task import Task, TeachState, advance, arrived, finite, reset
from teach_gym.teachers import Teacher, example_of, make_teacher


class Failure(NamedTuple):
    """A run that raised an exception, in words (exceptions need not survive the way between processes)."""

    message: str
    trace: str


Outcome = tuple[Run, Row | Failure]
Executor = Callable[[Sequence[Run], int], Generator[Outcome, None, None]]

EVERY_STEP = ("distance", "normalized_distance")
EVALUATIONS = 50
"""The other metrics are taken at about this many iterations of a run, the first and the last among them."""


class RunError(RuntimeError):
    """Runs of a benchmark raised an exception; they have no row and are tried again next time."""


def versions() -> dict[str, str]:
    """Versions that results may depend on."""
    import gymnasium

    from teach_gym import __version__

    return {
        "teach_gym": __version__,
        "numpy": np.__version__,
        "gymnasium": gymnasium.__version__,
        "python": platform.python_version(),
    }


def evaluation_iterations(budget: int) -> list[int]:
    """Iterations at which the costlier metrics are taken: all of 0..H, or about ``EVALUATIONS`` of them."""
    points = np.linspace(0, budget, min(budget, EVALUATIONS) + 1)
    return [int(t) for t in np.unique(np.round(points))]


class _Curves:
    """The metrics of one run as it goes on."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.iterations = evaluation_iterations(task.spec.budget)
        self.values: dict[str, list[float | None]] = {name: [] for name in METRICS}

    def add(self, state: TeachState, t: int) -> None:
        """Take the metrics due at iteration t."""
        with np.errstate(over="ignore", invalid="ignore"):
            for name in METRICS if t in self.iterations else EVERY_STEP:
                value = float(METRICS[name](self.task, state)[0])
                self.values[name].append(value if math.isfinite(value) else None)

    def fill(self) -> None:
        """Repeat the last value up to the budget: a learner that arrived stays where it is."""
        for name, curve in self.values.items():
            n = self.task.spec.budget + 1 if name in EVERY_STEP else len(self.iterations)
            curve += [curve[-1]] * (n - len(curve))


def execute(run: Run) -> Row:
    """Carry out one run and return its row of results.

    The learner and the examples offered depend on the seed alone, never on how runs are grouped. A run whose
    learner leaves the finite numbers ends there with ``finished`` false and ``error`` set.

    Raises:
        ValueError: the teacher does not fit the task, or its file was changed since the run was planned.
    """
    from threadpoolctl import threadpool_limits

    began = time.perf_counter()
    task = cached_task(run.spec)
    teacher = _teacher(run)
    teacher.check(task)
    with threadpool_limits(limits=1):
        curves, outcome, timing = _roll(task, teacher, run.seed)
    return {
        "format": FORMAT,
        "id": run.id,
        "task": run.task,
        "spec": json.loads(run.spec),
        "teacher": run.teacher,
        "seed": run.seed,
        **outcome,
        "iterations": curves.iterations,
        "curves": curves.values,
        "gradient_evaluations": int(teacher.gradient_evaluations(task)),
        "versions": versions(),
        "platform": platform.platform(),
        "timing": {
            **timing,
            "wall_seconds": time.perf_counter() - began,
            "ended_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        },
    }


def _teacher(run: Run) -> Teacher:
    name, options = parse_teacher(run.teacher)
    teacher = make_teacher(name, **options)
    if file_digest(options) != run.digest:
        raise ValueError(f"the file of teacher {run.teacher!r} was changed after the benchmark was started")
    return teacher


def _roll(task: Task, teacher: Teacher, seed: int) -> tuple[_Curves, Row, Row]:
    """Teach one learner for the whole budget: its curves, how it ended, and seconds per step."""
    rng = Streams.from_seeds([seed])
    state = reset(task, rng)
    teacher.start(task, rng)
    curves = _Curves(task)
    curves.add(state, 0)
    teaching = learning = 0.0
    steps, error, over = 0, None, bool(arrived(task, state)[0])
    while not over:
        with np.errstate(over="ignore", invalid="ignore"):
            first = time.perf_counter()
            choice = teacher(task, state)
            middle = time.perf_counter()
            transition = advance(task, state, example_of(task, state, choice))
            last = time.perf_counter()
        teaching, learning, steps = teaching + middle - first, learning + last - middle, steps + 1
        state = transition.state
        if not finite(task, state):
            error = f"the learner diverged at step {steps}: its parameters are no longer finite numbers"
            break
        curves.add(state, steps)
        over = bool(transition.terminated[0])
    if error is None:
        curves.fill()
    outcome = {"finished": error is None, "error": error, "steps": steps}
    per_step = {"teacher_seconds_per_step": teaching, "learner_seconds_per_step": learning}
    return curves, outcome, {key: seconds / max(steps, 1) for key, seconds in per_step.items()}


def attempt(run: Run) -> Row | Failure:
    """Carry out one run; an exception becomes a ``Failure``."""
    try:
        return execute(run)
    except Exception as error:
        return Failure(f"{type(error).__name__}: {error}", traceback.format_exc())


def _serial(runs: Sequence[Run], workers: int) -> Generator[Outcome, None, None]:
    """One run after the other in this process."""
    for run in runs:
        yield run, attempt(run)


def _process(runs: Sequence[Run], workers: int) -> Generator[Outcome, None, None]:
    """Many runs at a time, each in one of ``workers`` spawned processes."""
    yield from in_processes(attempt, runs, workers)


def _ray(runs: Sequence[Run], workers: int) -> Generator[Outcome, None, None]:
    """Each run as a task of Ray, on this machine or a cluster; Ray is loaded on first use."""
    from teach_gym.integrations.ray import carry_out

    yield from carry_out(runs, workers)


EXECUTORS: dict[str, Executor] = {"process": _process, "ray": _ray, "serial": _serial}
"""How runs are carried out, by name: (runs, workers) -> pairs of a run and its row or exception, in any order."""


def run_suite(
    runs: Sequence[Run],
    out: str | Path,
    *,
    executor: str = "process",
    workers: int | None = None,
    progress: bool = True,
) -> list[Row]:
    """Carry out the runs that the results file does not have yet, and return the rows of all of them.

    A row is on disk before it counts, and only this process writes. Killed at any moment and called again it
    goes on where it was. Scripts that use the ``process`` executor need the usual ``if __name__ == "__main__":``.

    Args:
        runs: what to run, see ``teach_gym.benchmark.suite.expand``.
        out: the results file, JSON lines; rows of other runs in it are left alone.
        executor: a key of ``EXECUTORS``.
        workers: number of processes, with ``ray`` of tasks at a time (default: one per CPU of this machine).
        progress: show a progress bar on a terminal.

    Returns:
        One row per run, in the order of ``runs``.

    Raises:
        ValueError: unknown executor, or a number of workers that is not positive.
        WorkerError: a worker process died.
        RunError: some runs raised an exception; the others are done.
        BlockingIOError: another process is writing the results file.
        DamagedDataError: the results file is not what a benchmark writes.
        ImportError: the executor is ``ray``, which is not installed.
    """
    carry_out = lookup_name("executor", executor, EXECUTORS)
    workers = cpus() if workers is None else workers
    positive("workers", workers, integer=True)
    with Store(out) as store:
        rows = {row["id"]: row for row in store.rows}
        todo = [run for run in runs if run.id not in rows]
        failures = []
        bar = _progress_bar(len(runs), len(runs) - len(todo), progress)
        with bar, contextlib.closing(carry_out(todo, workers)) as outcomes:
            for run, outcome in outcomes:
                if isinstance(outcome, Failure):
                    failures.append((run, outcome))
                else:
                    store.append(outcome)
                    rows[run.id] = outcome
                bar.set_postfix_str(f"{run.task} {run.teacher}", refresh=False)
                bar.update()
    if failures:
        run, first = failures[0]
        raise RunError(
            f"{len(failures)} of {len(runs)} runs raised an exception, first {run.task} {run.teacher} seed {run.seed}: "
            f"{first.message}"
        ) from RunError(first.trace)
    return [rows[run.id] for run in runs]


def _progress_bar(total: int, done: int, progress: bool) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, initial=done, unit="run", disable=None if progress else True, dynamic_ncols=True)
