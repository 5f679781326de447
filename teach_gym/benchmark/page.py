"""The report's HTML page: charts, tables and lessons in one file that loads nothing from elsewhere."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from teach_gym.benchmark.curves import aggregate_bars, bars, panels, styles
from teach_gym.benchmark.lessons import SHOWN, Lessons, task_lessons
from teach_gym.benchmark.measure import PASSIVE, REFERENCE
from teach_gym.benchmark.score import CONFIDENCE, KINDS, Estimate
from teach_gym.benchmark.summary import MISSING, Entry, Summary, display, with_interval
from teach_gym.benchmark.tables import BLACK_BOX_NOTE, COLUMNS, cells, filled, superseded, unsettled
from teach_gym.core.describe import sentence
from teach_gym.core.spec import TaskSpec

_CELL = re.compile(r"-?[\d.,]+(e[-+]?\d+)?")


def to_html(summary: Summary, command: str, *, lessons: bool = True) -> str:
    """The page.

    Args:
        summary: what to show.
        command: the command that wrote it, for the heading.
        lessons: teach a lesson of each task and embed it.
    """
    from teach_gym.render.player import embed, fill

    rows = [row for teachers in summary.runs.values() for found in teachers.values() for row in found]
    names = [entry.teacher for entry in summary.entries]
    sections = [_section(index, task, summary, lessons=lessons) for index, task in enumerate(summary.runs)]
    data = {
        "teachers": {name: style._asdict() for name, style in styles(names).items()},
        "tasks": [section.pop("data") for section in sections],
        "aggregate": aggregate_bars(summary),
    }
    return fill(
        "teach_gym.benchmark",
        "report.html",
        data=embed(data),
        lessons=[embed(section["lesson"].player) for section in sections],
        report=files("teach_gym.benchmark").joinpath("report.js").read_text(encoding="utf-8"),
        most=SHOWN,
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
        spans=spans,
        n_runs=len(rows),
        failures=[row for row in rows if not row["finished"]],
        superseded=superseded(summary) if summary.superseded else "",
        unsettled=unsettled(summary) if summary.unsettled else "",
        overview=_overview(summary),
        sections=sections,
    )


def spans(numbers: Sequence[int]) -> str:
    """Ascending integers as text, with consecutive ones joined: ``"3, 10 to 14"``."""
    grouped = itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    runs = [[number for _, number in group] for _, group in grouped]
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def _section(index: int, task: str, summary: Summary, *, lessons: bool) -> dict[str, Any]:
    """What the template and the script need of one task."""
    teachers = summary.runs[task]
    entries = [entry for entry in summary.entries if entry.task == task]
    spec = next(iter(teachers.values()))[0]["spec"]
    header, lines = filled(COLUMNS, [cells(entry) for entry in entries])
    scores = bars(
        (entry.teacher, display(entry.teacher), Estimate(entry.score, entry.score_low, entry.score_high))
        for entry in entries
    )
    return {
        "name": task,
        "id": _anchor(index, task, list(summary.runs)),
        "about": sentence(TaskSpec(**spec)),
        "words": " ".join([task, spec["medium"], spec["learner"], spec["pool"], spec["observation"]]).lower(),
        "spec": {key: value for key, value in spec.items() if value not in ({}, False)},
        "header": header,
        "rows": [
            (entry.teacher, [(cell, sort_key(cell)) for cell in line])
            for entry, line in zip(entries, lines, strict=True)
        ],
        "lesson": task_lessons(task, teachers, entries) if lessons else Lessons(None, ""),
        "data": {"name": task, "budget": spec["budget"], "panels": panels(teachers), "scores": scores},
    }


def _anchor(index: int, task: str, tasks: Sequence[str]) -> str:
    """A task's id in the page, which deep links name: its own name, where that is possible and unique."""
    ids = [re.sub(r"[^\w.:=,+-]+", "_", name) for name in tasks]
    return ids[index] if ids.count(ids[index]) == 1 else f"{ids[index]}-{index}"


def sort_key(cell: str) -> str:
    """What a table's cell is sorted by: its first number, nothing if it has none, and text as it is."""
    found = _CELL.match(cell)
    return found[0].replace(",", "") if found else "" if cell == MISSING else cell


def _overview(summary: Summary) -> dict[str, Any] | None:
    """The table of scores, teachers by tasks; None for a single task."""
    if not summary.aggregate:
        return None
    found = {(entry.teacher, entry.task): entry for entry in summary.entries}
    lines = []
    for teacher, estimate in summary.aggregate.items():
        shown = [
            (with_interval(*estimate), sort_key(with_interval(*estimate))),
            (str(len(summary.coverage[teacher])), str(len(summary.coverage[teacher]))),
            *(_score(found.get((teacher, task))) for task in summary.runs),
        ]
        lines.append((teacher, display(teacher), shown))
    return {"tasks": list(summary.runs), "rows": lines}


def _score(entry: Entry | None) -> tuple[str, str]:
    text = MISSING if entry is None else with_interval(entry.score, float("nan"), float("nan"))
    return text, sort_key(text)
