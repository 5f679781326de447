"""From rows of results to one line per task and teacher, and the aggregate over tasks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np

from teach_gym.benchmark.measure import PASSIVE, REFERENCE, best_reference, measure_of
from teach_gym.benchmark.rows import Row
from teach_gym.benchmark.score import KINDS, Estimate, Paired, aggregate_score, shortfall, task_score
from teach_gym.errors import lookup_name

MISSING = "\N{EN DASH}"
Runs = dict[str, dict[str, list[Row]]]
"""Task -> teacher -> its rows."""

UNKNOWN = Estimate(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class Entry:
    """One line of the summary: a task and a teacher, over the seeds.

    Attributes:
        task: the task's label.
        teacher: the teacher's label.
        seeds: number of runs.
        diverged: how many of them diverged; they count as an infinite distance.
        final_distance: mean final distance of the runs that did not diverge.
        final_distance_std: its standard deviation (n - 1).
        normalized_distance: mean final normalized distance.
        holdout_loss: mean final loss on the hold-out rows, what black-box tasks are scored by.
        holdout_accuracy: mean final hold-out accuracy; NaN in regression tasks.
        test_accuracy: mean final test accuracy; NaN in regression tasks.
        holdout_squared_error: mean final mean squared error on the hold-out rows; NaN in tasks with classes.
        test_squared_error: mean final mean squared error on the test rows; NaN in tasks with classes.
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
    holdout_loss: float
    holdout_accuracy: float
    test_accuracy: float
    holdout_squared_error: float
    test_squared_error: float
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
        aggregate: teacher -> interquartile mean of its task scores; empty unless there are several tasks.
        coverage: teacher -> the tasks in its aggregate.
        superseded: number of rows left out because there are rows of newer code or files.
        unsettled: the tasks left out of the aggregate, because resamples of their seeds leave the reference no better
            than plain SGD: the score's unit, and so its interval, is not known there.
    """

    kind: str
    runs: Runs
    entries: list[Entry]
    aggregate: dict[str, Estimate]
    coverage: dict[str, list[str]]
    superseded: int
    unsettled: list[str]


def group(rows: Sequence[Row]) -> tuple[Runs, int]:
    """Rows by task and teacher, in the order of the seeds, and how many rows were left out for newer ones.

    Tasks of the same name with different specs, code or data get a short hash in their label. For each teacher on such
    a task, only rows of the same code and file as its last row are kept, and the last row of each seed.
    """
    latest = {row["id"]: row for row in rows}.values()
    keys = {row["id"]: _variant(row) for row in latest}
    variants: dict[str, set[str]] = {}
    for row in latest:
        variants.setdefault(row["task"], set()).add(keys[row["id"]])
    runs: Runs = {}
    for row in latest:
        label = row["task"]
        if len(variants[label]) > 1:
            label += f" [{hashlib.sha256(keys[row['id']].encode()).hexdigest()[:6]}]"
        runs.setdefault(label, {}).setdefault(row["teacher"], []).append(row)
    kept = {
        task: {name: _newest(found) for name, found in sorted(teachers.items(), key=_rank)}
        for task, teachers in runs.items()
    }
    return kept, len(latest) - sum(len(found) for teachers in kept.values() for found in teachers.values())


def _variant(row: Row) -> str:
    """What makes rows of one task comparable: its spec, its code and its data."""
    return json.dumps([row["spec"], row["digests"]["task_code"], row["digests"]["data_file"]], sort_keys=True)


def _newest(rows: Sequence[Row]) -> list[Row]:
    """The rows of the same teacher's code and file as the last one, in the order of the seeds."""
    digests = rows[-1]["digests"]
    return sorted((row for row in rows if row["digests"] == digests), key=lambda row: int(row["seed"]))


def _rank(item: tuple[str, Any]) -> tuple[int, str]:
    """Passive and the reference first, then by name."""
    first = (PASSIVE, REFERENCE)
    return (first.index(item[0]) if item[0] in first else len(first), item[0])


def paired(teachers: dict[str, list[Row]], teacher: str, kind: str) -> tuple[list[int], Paired] | None:
    """The seeds that passive, the references and the teacher all have, and D of them; None if there are none."""
    measure = measure_of(teachers[teacher][0]["spec"]["observation"])
    marks = [name for name in (PASSIVE, *measure.references) if name in teachers]
    found = {name: {row["seed"]: _shortfall(row, measure.metric, kind) for row in teachers[name]} for name in marks}
    own = {row["seed"]: _shortfall(row, measure.metric, kind) for row in teachers[teacher]}
    seeds = sorted(set(own).intersection(*found.values()))
    if not seeds or PASSIVE not in found or len(found) < 2:
        return None
    ends = {name: np.array([of_seed[seed] for seed in seeds]) for name, of_seed in found.items()}
    found_own = np.array([own[seed] for seed in seeds])
    return seeds, Paired(ends[PASSIVE], ends[best_reference(ends, measure)], found_own)


def _shortfall(row: Row, metric: str, kind: str) -> float:
    """D of a run; +inf if it did not finish."""
    if not row["finished"]:
        return float("inf")
    return float(shortfall(row["curves"][metric], kind, row["spec"]["tolerance"] or 1e-12))


def last_value(row: Row, metric: str) -> float:
    """The last value of a metric's curve; NaN where it was not a finite number."""
    value = row["curves"][metric][-1]
    return float("nan") if value is None else float(value)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _entry(task: str, teacher: str, rows: list[Row], score: Estimate, kind: str) -> Entry:
    done = [row for row in rows if row["finished"]]
    distances = [last_value(row, "distance") for row in done]
    holdout, test = (
        _mean([last_value(row, metric) for row in done]) for metric in ("holdout_accuracy", "test_accuracy")
    )
    regression, nan = rows[0]["regression"], float("nan")
    return Entry(
        task=task,
        teacher=teacher,
        seeds=len(rows),
        diverged=len(rows) - len(done),
        final_distance=_mean(distances),
        final_distance_std=float(np.std(distances, ddof=1)) if len(done) > 1 else float("nan"),
        normalized_distance=_mean([last_value(row, "normalized_distance") for row in done]),
        holdout_loss=_mean([last_value(row, "holdout_loss") for row in done]),
        holdout_accuracy=nan if regression else holdout,
        test_accuracy=nan if regression else test,
        holdout_squared_error=-holdout if regression else nan,  # the metric is minus the mean squared error
        test_squared_error=-test if regression else nan,
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
    runs, superseded = group(rows)
    entries = []
    measured: dict[str, dict[str, Paired]] = {}
    for task, teachers in runs.items():
        for teacher, found in teachers.items():
            common = paired(teachers, teacher, kind)
            pairs = common[1] if common else None
            score = task_score(pairs) if pairs else UNKNOWN
            entries.append(_entry(task, teacher, found, score, kind))
            if pairs:
                measured.setdefault(teacher, {})[task] = pairs
    unsettled = [task for task, pairs in measured.get(PASSIVE, {}).items() if not _settled(pairs)]
    measured = {teacher: {t: p for t, p in tasks.items() if t not in unsettled} for teacher, tasks in measured.items()}
    ordered = {name: tasks for name, tasks in sorted(measured.items(), key=_rank) if tasks} if len(runs) > 1 else {}
    aggregate = {teacher: aggregate_score(list(tasks.values())) for teacher, tasks in ordered.items()}
    coverage = {teacher: list(tasks) for teacher, tasks in ordered.items()}
    return Summary(kind, runs, entries, aggregate, coverage, superseded, unsettled if len(runs) > 1 else [])


def _settled(passive: Paired) -> bool:
    """Whether the reference is better than plain SGD, in every resample of the seeds if there are several."""
    found = task_score(passive)
    return not np.isnan(found.value if len(passive.passive) < 2 else found.low)


def display(teacher: str) -> str:
    """A teacher's name in reports; the reference is an oracle of one step, not the best possible.

    A file's path is shortened: ``agent:runs/ppo/Moons-0/policy.safetensors`` becomes ``agent:ppo/Moons-0``.
    """
    if teacher == REFERENCE:
        return f"{teacher} oracle"
    name, colon, path = teacher.partition(":")
    if not colon or "=" in path or not path.endswith(".safetensors"):
        return teacher
    parts = PurePath(path).with_suffix("").parts
    return f"{name}:{'/'.join((parts[:-1] if parts[-1] == 'policy' and len(parts) > 1 else parts)[-2:])}"


def number(value: float, digits: int = 3) -> str:
    """A number in reports; a dash where there is none."""
    if np.isnan(value):
        return MISSING
    if 1e3 <= abs(value) < 1e7:
        return f"{float(f'{value:.{digits}g}'):,.0f}"
    return "0" if value == 0 else f"{value:.{digits}g}"


def with_interval(value: float, low: float, high: float) -> str:
    """``value [low, high]`` with two decimals, or the value alone."""
    if np.isnan(value):
        return MISSING
    if not np.isfinite(value):
        return "diverged"
    shown = f"{value:.2f}"
    return shown if np.isnan(low) else f"{shown} [{low:.2f}, {high:.2f}]"
