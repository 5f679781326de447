"""From rows of results to a CSV summary, a Markdown table and one self-contained HTML page."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from teach_gym.benchmark.score import CONFIDENCE, KINDS, Estimate, Paired, aggregate_score, shortfall, task_score
from teach_gym.benchmark.store import Row
from teach_gym.benchmark.suite import PASSIVE, REFERENCE
from teach_gym.errors import lookup_name

UNKNOWN = Estimate(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class Entry:
    """One line of the summary: a task and a teacher, over the seeds.

    Attributes:
        task: the task's label.
        teacher: the teacher's label.
        seeds: number of runs.
        diverged: how many of them diverged; these count as an infinite distance.
        final_distance: mean final distance of the runs that did not diverge.
        final_distance_std: its standard deviation (n - 1).
        normalized_distance: mean final normalized distance.
        holdout_accuracy: mean final hold-out accuracy (regression: minus the mean squared error).
        test_accuracy: mean final test accuracy (regression: minus the mean squared error).
        score: teaching score.
        score_low: lower end of its interval.
        score_high: upper end of its interval.
        score_kind: what the score is taken of, ``final`` or ``auc``.
        teacher_microseconds: wall time of the teacher per step and learner, median over the runs.
        gradient_evaluations: per-example gradients the teacher computes per step.
    """

    task: str
    teacher: str
    seeds: int
    diverged: int
    final_distance: float
    final_distance_std: float
    normalized_distance: float
    holdout_accuracy: float
    test_accuracy: float
    score: float
    score_low: float
    score_high: float
    score_kind: str
    teacher_microseconds: float
    gradient_evaluations: int


@dataclass(frozen=True)
class Summary:
    """What a report shows.

    Attributes:
        kind: what the score is taken of.
        runs: task -> teacher -> its rows in the order of the seeds.
        entries: one per task and teacher.
        aggregate: teacher -> interquartile mean over its tasks, with interval.
        coverage: teacher -> the tasks in its aggregate.
    """

    kind: str
    runs: dict[str, dict[str, list[Row]]]
    entries: list[Entry]
    aggregate: dict[str, Estimate]
    coverage: dict[str, list[str]]


def group(rows: Sequence[Row]) -> dict[str, dict[str, list[Row]]]:
    """Rows by task and teacher, in the order of the seeds; of rows with the same id the last one counts.

    Tasks of the same name with another spec or version are told apart by a short hash in their label.
    """
    latest = {row["id"]: row for row in rows}.values()
    keys = {row["id"]: json.dumps([row["spec"], row["versions"]["teach_gym"]], sort_keys=True) for row in latest}
    variants: dict[str, set[str]] = {}
    for row in latest:
        variants.setdefault(row["task"], set()).add(keys[row["id"]])
    runs: dict[str, dict[str, list[Row]]] = {}
    for row in latest:
        label = row["task"]
        if len(variants[label]) > 1:
            label += f" [{hashlib.sha256(keys[row['id']].encode()).hexdigest()[:6]}]"
        runs.setdefault(label, {}).setdefault(row["teacher"], []).append(row)
    return {
        task: {name: sorted(found, key=lambda row: row["seed"]) for name, found in sorted(teachers.items(), key=_rank)}
        for task, teachers in runs.items()
    }


def _rank(item: tuple[str, Any]) -> tuple[int, str]:
    """Passive and the reference first, then by name."""
    first = (PASSIVE, REFERENCE)
    return (first.index(item[0]) if item[0] in first else len(first), item[0])


def _pairs(teachers: dict[str, list[Row]], teacher: str, kind: str) -> Paired | None:
    """D of the seeds that passive, the reference and the teacher all have, or None if there are none."""
    values = []
    for name in (PASSIVE, REFERENCE, teacher):
        found = {}
        for row in teachers.get(name, ()):
            floor = row["spec"]["tolerance"] or 1e-12
            found[row["seed"]] = float(shortfall(row["curves"]["distance"], kind, floor)) if row["finished"] else np.inf
        values.append(found)
    seeds = sorted(set.intersection(*(set(found) for found in values)))
    return Paired(*(np.array([found[seed] for seed in seeds]) for found in values)) if seeds else None


def last_value(row: Row, metric: str) -> float:
    """The last value of a metric's curve; NaN where it was not a finite number."""
    value = row["curves"][metric][-1]
    return float("nan") if value is None else float(value)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _entry(task: str, teacher: str, rows: list[Row], score: Estimate, kind: str) -> Entry:
    done = [row for row in rows if row["finished"]]
    distances = [last_value(row, "distance") for row in done]
    return Entry(
        task=task,
        teacher=teacher,
        seeds=len(rows),
        diverged=len(rows) - len(done),
        final_distance=_mean(distances),
        final_distance_std=float(np.std(distances, ddof=1)) if len(done) > 1 else float("nan"),
        normalized_distance=_mean([last_value(row, "normalized_distance") for row in done]),
        holdout_accuracy=_mean([last_value(row, "holdout_accuracy") for row in done]),
        test_accuracy=_mean([last_value(row, "test_accuracy") for row in done]),
        score=score.value,
        score_low=score.low,
        score_high=score.high,
        score_kind=kind,
        teacher_microseconds=1e6 * float(np.median([row["timing"]["teacher_seconds_per_step"] for row in rows])),
        gradient_evaluations=rows[-1]["gradient_evaluations"],
    )


def summarize(rows: Sequence[Row], kind: str = "final") -> Summary:
    """Scores and means of all tasks and teachers in the rows.

    Args:
        rows: rows of results.
        kind: what the score is taken of, see ``teach_gym.benchmark.score.KINDS``.

    Raises:
        ValueError: no rows, or unknown kind.
    """
    lookup_name("score kind", kind, KINDS)
    if not rows:
        raise ValueError("there are no rows to report")
    runs = group(rows)
    entries = []
    measured: dict[str, dict[str, Paired]] = {}
    for task, teachers in runs.items():
        for teacher, found in teachers.items():
            pairs = _pairs(teachers, teacher, kind)
            score = task_score(pairs) if pairs else UNKNOWN
            entries.append(_entry(task, teacher, found, score, kind))
            if pairs and not np.isnan(score.value):
                measured.setdefault(teacher, {})[task] = pairs
    ordered = dict(sorted(measured.items(), key=_rank))
    aggregate = {teacher: aggregate_score(list(tasks.values())) for teacher, tasks in ordered.items()}
    return Summary(kind, runs, entries, aggregate, {teacher: list(tasks) for teacher, tasks in ordered.items()})


# ----------------------------------------------------------------------------------------------------------------


def display(teacher: str) -> str:
    """A teacher's name for people; the reference is an oracle of one step, not the best possible."""
    return f"{teacher} oracle" if teacher == REFERENCE else teacher


def number(value: float, digits: int = 3) -> str:
    """A number for people; an en dash where there is none."""
    if np.isnan(value):
        return "–"
    return "0" if value == 0 else f"{value:.{digits}g}"


def with_interval(value: float, low: float, high: float) -> str:
    """``value [low, high]`` with two decimals, or the value alone."""
    if np.isnan(value):
        return "–"
    if not np.isfinite(value):
        return "diverged"
    shown = f"{value:.2f}"
    return shown if np.isnan(low) else f"{shown} [{low:.2f}, {high:.2f}]"


COLUMNS = (
    "Teacher",
    "Score [95 % interval]",
    "Final distance",
    "Normalized distance",
    "Hold-out accuracy",
    "Test accuracy",
    "µs per step",
    "Gradients per step",
    "Runs",
)


def cells(entry: Entry) -> tuple[str, ...]:
    """The entry as the texts of ``COLUMNS``."""
    spread = "" if np.isnan(entry.final_distance_std) else f" ± {number(entry.final_distance_std, 2)}"
    return (
        display(entry.teacher),
        with_interval(entry.score, entry.score_low, entry.score_high),
        number(entry.final_distance) + spread,
        number(entry.normalized_distance),
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


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def aggregate_cells(summary: Summary) -> list[tuple[str, str, str]]:
    """Teacher, interquartile mean with interval, number of tasks."""
    return [
        (display(teacher), with_interval(*estimate), str(len(summary.coverage[teacher])))
        for teacher, estimate in summary.aggregate.items()
    ]


def to_markdown(summary: Summary) -> str:
    """The aggregate and one line per task and teacher, as Markdown tables."""
    lines = [
        f"Teaching score of the {KINDS[summary.kind]}: 0 = plain SGD (`{PASSIVE}`), 1 = {display(REFERENCE)} of the "
        "task's medium. Accuracy is minus the mean squared error where the task is a regression.",
        "",
        _table(("Teacher", "Score, IQM over tasks", "Tasks"), aggregate_cells(summary)),
        "",
        _table(("Task", *COLUMNS), [(entry.task, *cells(entry)) for entry in summary.entries]),
    ]
    return "\n".join(lines) + "\n"


def to_html(summary: Summary, command: str) -> str:
    """One page with charts and tables that loads nothing from elsewhere.

    Args:
        summary: what to show.
        command: the command that asked for it, for the heading.

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
        sections.append(
            {
                "name": task,
                "spec": {key: value for key, value in first["spec"].items() if value not in ({}, False)},
                "legend": legend(teachers, summary),
                "charts": [*curve_charts(f"t{index}", task, teachers, summary), score_chart(f"t{index}", task, entries)],
                "rows": [cells(entry) for entry in entries],
            }
        )
    return template.render(
        command=command,
        score=KINDS[summary.kind],
        confidence=f"{100 * CONFIDENCE:.0f} %",
        passive=PASSIVE,
        reference=display(REFERENCE),
        dates=sorted({row["timing"]["ended_at"][:10] for row in rows}),
        versions=sorted({", ".join(f"{k} {v}" for k, v in row["versions"].items()) for row in rows}),
        platforms=sorted({row["platform"] for row in rows}),
        seeds=sorted({row["seed"] for row in rows}),
        n_runs=len(rows),
        failures=[row for row in rows if not row["finished"]],
        aggregate_chart=aggregate_chart(summary),
        aggregate=aggregate_cells(summary),
        columns=COLUMNS,
        sections=sections,
    )


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all: into a temporary file beside it, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_report(rows: Sequence[Row], folder: str | Path, *, command: str, kind: str = "final") -> dict[str, Path]:
    """Write ``summary.csv``, ``report.md`` and ``report.html`` into a folder and return their paths by suffix.

    Args:
        rows: rows of results.
        folder: where to; made if need be.
        command: the command that asked for it, for the heading.
        kind: what the score is taken of, ``final`` or ``auc``.

    Raises:
        ValueError: no rows, or unknown kind.
        ImportError: matplotlib is not installed; the CSV and the Markdown are written all the same.
    """
    summary = summarize(rows, kind)
    paths = {name.rpartition(".")[2]: Path(folder) / name for name in ("summary.csv", "report.md", "report.html")}
    write_whole(paths["csv"], to_csv(summary))
    write_whole(paths["md"], to_markdown(summary))
    write_whole(paths["html"], to_html(summary, command))
    return paths


