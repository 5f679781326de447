"""Score matrices, runs by tasks, as the tools of reinforcement learning take them (rliable's layout)."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from teach_gym.benchmark.summary import Summary, paired
from teach_gym.files import write_text, writing


class ScoreMatrices(NamedTuple):
    """The scores of single runs.

    The score of run s is (D_passive,s - D_s) / (mean D_passive - mean D_reference), so that a column's mean is the
    teaching score of its task.

    Attributes:
        teachers: the teachers' names, (N,).
        seeds: the evaluation seeds, (S,).
        tasks: the tasks' names, (T,).
        scores: (N, S, T); NaN where a teacher has no run or a task has no score, -inf for a run that diverged.
    """

    teachers: list[str]
    seeds: list[int]
    tasks: list[str]
    scores: npt.NDArray[np.float64]


def score_matrices(summary: Summary) -> ScoreMatrices:
    """The score matrices of a benchmark."""
    teachers = list(dict.fromkeys(entry.teacher for entry in summary.entries))
    runs = [row for found in summary.runs.values() for rows in found.values() for row in rows]
    seeds, tasks = sorted({int(row["seed"]) for row in runs}), list(summary.runs)
    scores = np.full((len(teachers), len(seeds), len(tasks)), np.nan)
    for t, task in enumerate(tasks):
        for n, teacher in enumerate(teachers):
            found = paired(summary.runs[task], teacher, summary.kind) if teacher in summary.runs[task] else None
            if found is None:
                continue
            own, ends = found
            with np.errstate(invalid="ignore"):
                room = ends.passive.mean() - ends.reference.mean()
                if np.isfinite(room) and room > 0.0:
                    scores[n, np.searchsorted(seeds, own), t] = (ends.passive - ends.teacher) / room
    return ScoreMatrices(teachers, seeds, tasks, scores)


def write_matrices(summary: Summary, folder: Path) -> list[Path]:
    """Write ``scores.csv`` (a line per teacher and seed, a column per task) and ``scores.npz`` into a folder.

    The archive holds ``teachers``, ``seeds``, ``tasks`` and ``scores``, as ``ScoreMatrices`` describes them; rliable
    takes ``dict(zip(archive["teachers"], archive["scores"]))``.
    """
    found = score_matrices(summary)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["teacher", "seed", *found.tasks])
    for teacher, matrix in zip(found.teachers, found.scores, strict=True):
        table.writerows([teacher, seed, *line] for seed, line in zip(found.seeds, matrix.tolist(), strict=True))
    paths = [folder / "scores.csv", folder / "scores.npz"]
    write_text(paths[0], text.getvalue())
    with writing(paths[1]) as file:
        np.savez_compressed(
            file,
            teachers=np.array(found.teachers),
            seeds=np.array(found.seeds),
            tasks=np.array(found.tasks),
            scores=found.scores,
        )
    return paths
