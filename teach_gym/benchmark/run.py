"""Carrying out runs: one row of results per run, written so that a killed benchmark can be resumed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from teach_gym.benchmark.execute import Failure, Outcome, attempt
from teach_gym.benchmark.processes import cpus, in_processes
from teach_gym.benchmark.progress import track
from teach_gym.benchmark.rows import Row
from teach_gym.benchmark.store import Store
from teach_gym.benchmark.suite import Run
from teach_gym.errors import lookup_name, positive

Executor = Callable[[Sequence[Run], int], Generator[Outcome, None, None]]


class RunError(RuntimeError):
    """Runs of a benchmark raised an exception; they have no row and are repeated next time."""


def _serial(runs: Sequence[Run], workers: int) -> Generator[Outcome, None, None]:
    """One run after the other in this process."""
    for run in runs:
        yield run, attempt(run)


def _process(runs: Sequence[Run], workers: int) -> Generator[Outcome, None, None]:
    """Many runs at a time, each in one of ``workers`` spawned processes."""
    yield from in_processes(attempt, runs, workers)


def _ray(runs: Sequence[Run], workers: int) -> Generator[Outcome, None, None]:
    """Each run as a task of Ray, on this machine or a cluster; Ray is loaded on first use."""
    from teach_gym.benchmark.ray import carry_out

    yield from carry_out(runs, workers)


EXECUTORS: dict[str, Executor] = {"process": _process, "ray": _ray, "serial": _serial}
"""How runs are carried out, by name: (runs, workers) -> pairs of a run and its row or failure, in any order."""


def run_suite(
    runs: Sequence[Run],
    out: str | Path,
    *,
    executor: str = "process",
    workers: int | None = None,
    progress: bool = True,
) -> list[Row]:
    """Carry out the runs that the results file does not have yet, and return the rows of all of them.

    A row is on disk before it counts, and only this process writes. Killed at any moment and called again, it
    resumes. Scripts that use the ``process`` executor need the usual ``if __name__ == "__main__":``.

    Args:
        runs: what to run, see ``teach_gym.benchmark.suite.expand``.
        out: the results file, JSON lines; rows of other runs in it are left alone.
        executor: a key of ``EXECUTORS``.
        workers: number of processes, with ``ray`` of tasks at a time (default: one per CPU of this machine).
        progress: show progress on standard error.

    Returns:
        One row per run, in the order of ``runs``.

    Raises:
        ValueError: unknown executor, or a number of workers that is not positive.
        WorkerError: a worker process died.
        RunError: some runs raised an exception; the others are done.
        NotADirectoryError: the folder of the results file is a file.
        BlockingIOError: another process is writing the results file.
        DamagedDataError: the results file is not what a benchmark writes, or a row was changed.
        ImportError: the executor is ``ray``, which is not installed.
    """
    carry_out = lookup_name("executor", executor, EXECUTORS)
    workers = cpus() if workers is None else workers
    positive("workers", workers, integer=True)
    with Store(out) as store:
        rows = {row["id"]: row for row in store.rows}
        todo = [run for run in runs if run.id not in rows]
        failures = []
        shown = track(len(runs), len(runs) - len(todo), unit="run", label="benchmark", shown=progress)
        with shown as bar, contextlib.closing(carry_out(todo, workers)) as outcomes:
            for run, outcome in outcomes:
                if isinstance(outcome, Failure):
                    failures.append((run, outcome))
                else:
                    store.append(outcome)
                    rows[run.id] = outcome
                bar.step(f"{run.task} {run.teacher}")
    if failures:
        run, first = failures[0]
        raise RunError(
            f"{len(failures)} of {len(runs)} runs raised an exception, first {run.task} {run.teacher} seed {run.seed}: "
            f"{first.message}"
        ) from RunError(first.trace)
    return [rows[run.id] for run in runs]
