"""Carrying out one run of a benchmark: its curves, its row of results."""

from __future__ import annotations

import json
import platform
import time
import traceback
from typing import NamedTuple

from teach_gym.benchmark.episode import run_episode
from teach_gym.benchmark.rows import FORMAT, Row, sealed
from teach_gym.benchmark.suite import Run, cached_task, run_digests
from teach_gym.teachers import make_teacher
from teach_gym.versions import versions


class Failure(NamedTuple):
    """A run that raised an exception, in words (exceptions need not survive the way between processes)."""

    message: str
    trace: str


Outcome = tuple[Run, Row | Failure]


def execute(run: Run) -> Row:
    """Carry out one run and return its row of results.

    A run whose learner leaves the finite numbers ends there with ``finished`` false and ``error`` set.

    Raises:
        ValueError: the teacher does not fit the task, or code or a file the run depends on was changed since the run
            was planned.
    """
    from threadpoolctl import threadpool_limits

    began = time.perf_counter()
    _check_unchanged(run)
    task, teacher = cached_task(run.spec), make_teacher(run.teacher)
    with threadpool_limits(limits=1):
        episode = run_episode(task, teacher, run.seed)
    return sealed(
        {
            "format": FORMAT,
            "id": run.id,
            "task": run.task,
            "spec": json.loads(run.spec),
            "regression": task.pool.n_classes == 0,
            "teacher": run.teacher,
            "seed": run.seed,
            "digests": run.digests._asdict(),
            "finished": episode.error is None,
            "error": episode.error,
            "steps": episode.steps,
            "iterations": episode.iterations,
            "curves": episode.curves,
            "gradient_evaluations": int(teacher.gradient_evaluations(task)),
            "versions": versions(),
            "platform": platform.platform(),
            "timing": {
                "teacher_seconds_per_step": episode.teacher_seconds / max(episode.steps, 1),
                "learner_seconds_per_step": episode.learner_seconds / max(episode.steps, 1),
                "wall_seconds": time.perf_counter() - began,
                "ended_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            },
        }
    )


def _check_unchanged(run: Run) -> None:
    """Raise a ``ValueError`` if the code or a file that a run depends on is not what it was planned with."""
    found = run_digests(run.spec, run.teacher)
    changed = [name for name in found._fields if getattr(found, name) != getattr(run.digests, name)]
    if changed:
        raise ValueError(
            f"{' and '.join(changed).replace('_', ' ')} of {run.task} {run.teacher} changed after the benchmark was "
            "started; start it again"
        )


def attempt(run: Run) -> Row | Failure:
    """Carry out one run; an exception becomes a ``Failure``."""
    try:
        return execute(run)
    except Exception as error:
        return Failure(f"{type(error).__name__}: {error}", traceback.format_exc())
