"""The report: a CSV summary, a Markdown table and one self-contained HTML page."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from teach_gym.benchmark.measure import PASSIVE, REFERENCE
from teach_gym.benchmark.rows import Row
from teach_gym.benchmark.score import CONFIDENCE, KINDS
from teach_gym.benchmark.summary import Entry, Summary, display, number, summarize, with_interval
from teach_gym.files import write_text

COLUMNS = (
    "Teacher",
    "Score [95 % interval]",
    "Final distance",
    "Normalized distance",
    "Hold-out loss",
    "Hold-out accuracy",
    "Test accuracy",
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


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown: names on the left, the other columns to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


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
        f"{display(REFERENCE)} of the task's medium. {BLACK_BOX_NOTE} Accuracy is minus the mean squared error in "
        "regression tasks."
    ]
    if summary.superseded:
        parts.append(superseded(summary))
    if summary.aggregate:
        parts.append("Over tasks: the interquartile mean of a teacher's task scores, which are listed below.")
        parts.append(markdown_table(("Teacher", "Score over tasks", "Tasks"), aggregate_cells(summary)))
    parts.append(markdown_table(("Task", *COLUMNS), [(entry.task, *cells(entry)) for entry in summary.entries]))
    return "\n\n".join(parts) + "\n"


def superseded(summary: Summary) -> str:
    """A sentence on the rows that were left out."""
    return f"{summary.superseded} rows of older code or teachers' files are left out: newer rows replace them."


def to_html(summary: Summary, command: str) -> str:
    """One page with charts and tables that loads nothing from elsewhere.

    Args:
        summary: what to show.
        command: the command that wrote it, for the heading.

    Raises:
        ImportError: matplotlib is not installed; the message names the extra.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from teach_gym.benchmark.charts import aggregate_chart, curve_charts, legend, score_chart

    template = Environment(
        loader=PackageLoader("teach_gym.benchmark", ""), autoescape=True, undefined=StrictUndefined
    ).get_template("report.html.j2")
    rows = [row for teachers in summary.runs.values() for found in teachers.values() for row in found]
    sections = []
    for index, (task, teachers) in enumerate(summary.runs.items()):
        entries = [entry for entry in summary.entries if entry.task == task]
        first = next(iter(teachers.values()))[0]
        charts = [*curve_charts(f"t{index}", task, teachers, summary), score_chart(f"t{index}", task, entries)]
        sections.append(
            {
                "name": task,
                "spec": {key: value for key, value in first["spec"].items() if value not in ({}, False)},
                "legend": legend(teachers, summary),
                "charts": charts,
                "rows": [cells(entry) for entry in entries],
            }
        )
    return template.render(
        command=command,
        score=KINDS[summary.kind],
        confidence=f"{100 * CONFIDENCE:.0f} %",
        passive=PASSIVE,
        reference=display(REFERENCE),
        black_box=BLACK_BOX_NOTE,
        dates=sorted({row["timing"]["ended_at"][:10] for row in rows}),
        versions=sorted({", ".join(f"{k} {v}" for k, v in row["versions"].items()) for row in rows}),
        platforms=sorted({row["platform"] for row in rows}),
        seeds=sorted({row["seed"] for row in rows}),
        n_runs=len(rows),
        failures=[row for row in rows if not row["finished"]],
        superseded=superseded(summary) if summary.superseded else "",
        aggregate_chart=aggregate_chart(summary) if summary.aggregate else None,
        aggregate=aggregate_cells(summary),
        columns=COLUMNS,
        sections=sections,
    )


def write_report(
    rows: Sequence[Row], folder: str | Path, *, command: str, kind: str = "final", html: bool = True
) -> dict[str, Path]:
    """Write ``summary.csv``, ``report.md`` and ``report.html`` into a folder and return their paths by suffix.

    Args:
        rows: rows of results.
        folder: the folder, which is created if it does not exist.
        command: the command that wrote it, for the heading.
        kind: what the score is taken of, ``final`` or ``auc``.
        html: write the HTML page too.

    Raises:
        ValueError: no rows, or unknown kind.
        ImportError: matplotlib is not installed; the CSV and the Markdown are written all the same.
    """
    summary = summarize(rows, kind)
    paths = {name.rpartition(".")[2]: Path(folder) / name for name in ("summary.csv", "report.md", "report.html")}
    write_text(paths["csv"], to_csv(summary))
    write_text(paths["md"], to_markdown(summary))
    if html:
        write_text(paths["html"], to_html(summary, command))
    return paths
