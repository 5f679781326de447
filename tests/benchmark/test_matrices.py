"""Score matrices hold the runs of the rows, and their means are the teaching scores."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from teach_gym.benchmark.matrices import score_matrices, write_matrices
from teach_gym.benchmark.summary import summarize

Row = dict[str, Any]


def test_columns_average_to_the_teaching_scores(rows: list[Row], tmp_path: Path) -> None:
    summary = summarize(rows)
    found = score_matrices(summary)
    assert found.seeds == [3, 5, 9] and found.scores.shape == (3, 3, 2)
    for entry in summary.entries:
        column = found.scores[found.teachers.index(entry.teacher), :, found.tasks.index(entry.task)]
        assert column.mean() == pytest.approx(entry.score)
    end = {(r["task"], r["teacher"], r["seed"]): r["curves"]["distance"][-1] for r in rows}
    task, room = found.tasks[0], 0.0
    for seed in found.seeds:
        room += (end[task, "passive", seed] - end[task, "greedy", seed]) / 3
    expected = [(end[task, "passive", seed] - end[task, "random", seed]) / room for seed in found.seeds]
    np.testing.assert_allclose(found.scores[found.teachers.index("random"), :, 0], expected)
    table, archive = write_matrices(summary, tmp_path)
    lines = list(csv.DictReader(table.open()))
    assert [(line["teacher"], int(line["seed"])) for line in lines[:3]] == [(found.teachers[0], s) for s in (3, 5, 9)]
    np.testing.assert_array_equal([[float(line[t]) for t in found.tasks] for line in lines], found.scores.reshape(9, 2))
    with np.load(archive, allow_pickle=False) as data:
        np.testing.assert_array_equal(data["scores"], found.scores)
        assert data["teachers"].tolist() == found.teachers and data["tasks"].tolist() == found.tasks


def test_missing_and_diverged_runs(rows: list[Row]) -> None:
    task = rows[0]["task"]
    kept = [r for r in rows if (r["task"], r["teacher"], r["seed"]) != (task, "random", 5)]
    lost = [{**r, "finished": r["seed"] != 9 or r["teacher"] != "random"} for r in kept]
    found = score_matrices(summarize(lost))
    random = found.scores[found.teachers.index("random")]
    assert np.isnan(random[1, 0]) and random[2, 0] == -np.inf and np.isfinite(random[0, 0])
