"""The report's tables: a CSV summary, and Markdown."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence

import numpy as np

from teach_gym.benchmark.measure import PASSIVE, REFERENCE
from teach_gym.benchmark.score import KINDS
from teach_gym.benchmark.summary import MISSING, Entry, Summary, display, number, with_interval
from teach_gym.markdown import markdown_table

COLUMNS = (
    "Teacher",
    "Score [95 % interval]",
    "Final distance",
    "Normalized distance",
    "Hold-out loss",
    "Hold-out accuracy",
    "Test accuracy",
    "Hold-out squared error",
    "Test squared error",
    "µs per step",
    "Gradients per step",
    "Runs",
)


BLACK_BOX_NOTE = (
    "Black-box tasks are scored by the loss on the hold-out rows instead; there 1 is the better of greedy and "
    "holdout_greedy."
)


def cells(entry: Entry) -> tuple[str, ...]:
    """The entry as the texts of ``COLUMNS``."""
    spread = "" if np.isnan(entry.final_distance_std) else f" ± {number(entry.final_distance_std, 2)}"
    return (
        display(entry.teacher),
        with_interval(entry.score, entry.score_low, entry.score_high),
        number(entry.final_distance) + spread,
        number(entry.normalized_distance),
        number(entry.holdout_loss),
        number(entry.holdout_accuracy),
        number(entry.test_accuracy),
        number(entry.holdout_squared_error),
        number(entry.test_squared_error),
        number(entry.teacher_microseconds),
        str(entry.gradient_evaluations),
        f"{entry.seeds}" + (f" ({entry.diverged} diverged)" if entry.diverged else ""),
    )


def to_csv(summary: Summary) -> str:
    """The entries as CSV, one line per task and teacher."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in dataclasses.fields(Entry)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(dataclasses.asdict(entry) for entry in summary.entries)
    return text.getvalue()


def aggregate_cells(summary: Summary) -> list[tuple[str, str, str]]:
    """Teacher, interquartile mean of its task scores with interval, number of tasks."""
    return [
        (display(teacher), with_interval(*estimate), str(len(summary.coverage[teacher])))
        for teacher, estimate in summary.aggregate.items()
    ]


def to_markdown(summary: Summary) -> str:
    """The scores over all tasks (if there are several) and one line per task and teacher, as Markdown tables."""
    parts = [
        f"Teaching score of the {KINDS[summary.kind]}: 0 is plain SGD on random examples (`{PASSIVE}`), 1 is the "
        f"{display(REFERENCE)} of the task's medium. {BLACK_BOX_NOTE}"
    ]
    if summary.superseded:
        parts.append(superseded(summary))
    if summary.aggregate:
        parts.append("Over tasks: the interquartile mean of a teacher's task scores, which are listed below.")
        if summary.unsettled:
            parts.append(unsettled(summary))
        parts.append(markdown_table(("Teacher", "Score over tasks", "Tasks"), aggregate_cells(summary)))
    header, rows = filled(COLUMNS, [cells(entry) for entry in summary.entries])
    tasks = [entry.task for entry in summary.entries]
    lines = [(task, *row) for task, row in zip(tasks, rows, strict=True)]
    parts.append(markdown_table(("Task", *header), lines))
    return "\n\n".join(parts) + "\n"


def filled(header: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """A table without the columns in which no row has a value."""
    kept = [i for i in range(len(header)) if any(row[i] != MISSING for row in rows)]
    return [header[i] for i in kept], [[row[i] for i in kept] for row in rows]


def unsettled(summary: Summary) -> str:
    """A sentence on the tasks left out of the scores over tasks."""
    return (
        f"The scores over tasks leave out {', '.join(summary.unsettled)}: with these seeds the reference is not "
        "reliably better than plain SGD, so a score there has no interval."
    )


def superseded(summary: Summary) -> str:
    """A sentence on the rows that were left out."""
    return f"{summary.superseded} rows of older code or teachers' files are left out: newer rows replace them."
