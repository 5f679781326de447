"""The lessons beside a report's tables: one episode of each task, taught again for the lesson player."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from teach_gym.benchmark.measure import PASSIVE, REFERENCE
from teach_gym.benchmark.rows import Row
from teach_gym.benchmark.suite import cached_task, run_digests
from teach_gym.benchmark.summary import Entry, display
from teach_gym.errors import DataNotFoundError
from teach_gym.teachers import lesson, make_teacher

SHOWN = 3
"""Teachers of a lesson: ``passive``, the reference and the best of the others."""
LONGEST = 10.0
"""Seconds of teaching that a lesson may take; slower teachers are left out."""
MOST_STEPS = 200
"""A longer lesson stops here, to keep the page small."""


class Lessons(NamedTuple):
    """What a report has to show of a task's lessons.

    Attributes:
        player: what ``mountPlayer`` takes, in JSON values; None if there is nothing to play.
        note: why there is none, or what was left out.
    """

    player: list[dict[str, Any]] | None
    note: str


def task_lessons(name: str, teachers: Mapping[str, Sequence[Row]], entries: Sequence[Entry]) -> Lessons:
    """Teach a task's first seed again, with the teachers that a reader will want to compare.

    Nothing is taught whose code or files have changed since its row was written, since it would differ from the
    results beside it.

    Args:
        name: the task's name in the report.
        teachers: the rows of each teacher.
        entries: the task's lines of the summary, which say who is best.
    """
    from teach_gym.render.player import record, scene

    chosen = [teacher for teacher in _ranked(entries) if _repeatable(teachers[teacher])][:SHOWN]
    if not chosen:
        return Lessons(None, "No lesson: the code or the data has changed since these runs, or the teachers are slow.")
    first = teachers[chosen[0]][0]
    try:
        task, seed = cached_task(json.dumps(first["spec"], sort_keys=True)), int(first["seed"])
    except DataNotFoundError as error:
        return Lessons(None, f"No lesson: {error}")
    steps = min(task.spec.budget, MOST_STEPS)
    records = [
        record(task, display(teacher), *lesson(task, make_teacher(teacher), [seed], steps=steps)) for teacher in chosen
    ]
    note = f"The first {steps} of {task.spec.budget} steps. " if steps < task.spec.budget else ""
    about = {**scene(task, name), "budget": steps}
    return Lessons([{"scene": about, "seeds": [{"seed": seed, "lessons": records}]}], f"{note}Seed {seed}.")


def _ranked(entries: Sequence[Entry]) -> list[str]:
    """Passive and the reference, then the others from the best score down."""
    marks = [entry.teacher for entry in entries if entry.teacher in (PASSIVE, REFERENCE)]
    others = [entry for entry in entries if entry.teacher not in marks and entry.score == entry.score]
    return marks + [entry.teacher for entry in sorted(others, key=lambda entry: -entry.score)]


def _repeatable(rows: Sequence[Row]) -> bool:
    """Whether the run of a teacher's first row would come out the same today, and soon."""
    row = rows[0]
    seconds = row["timing"]["teacher_seconds_per_step"] * min(row["spec"]["budget"], MOST_STEPS)
    try:
        found = run_digests(json.dumps(row["spec"], sort_keys=True), row["teacher"])
    except (ValueError, OSError, ImportError):  # a teacher or a file that is no longer there
        return False
    return seconds <= LONGEST and found._asdict() == row["digests"]
