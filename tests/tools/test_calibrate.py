"""The calibration: what it measures, and that the committed table leaves every omniscient task its room."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from teach_gym.benchmark.suite import evaluation_seeds
from teach_gym.core.build import make_task
from teach_gym.registration import TASKS
from teach_gym.teachers import make_teacher, teach_episodes
from tools import calibrate

TABLE = json.loads((Path(__file__).parents[2] / "docs" / "results" / "calibration.json").read_text(encoding="utf-8"))
OMNISCIENT = [name for name, kwargs in TASKS.items() if "observation" not in kwargs]


@pytest.mark.parametrize("name", OMNISCIENT)
def test_the_oracle_is_ten_points_ahead_of_tuned_sgd(name: str) -> None:
    row = TABLE[name]
    assert row["greedy"]["mean"] - row["passive"]["mean"] >= 10.0
    assert all(numbers["margin"] <= calibrate.MARGIN for numbers in row.values())


def test_values_are_those_of_the_first_evaluation_seeds_and_as_many_as_the_interval_needs() -> None:
    task = make_task("LabelMoons", budget=8)
    values = calibrate.removed(task, "greedy")
    initial, final = teach_episodes(task, make_teacher("greedy"), evaluation_seeds(300))
    np.testing.assert_allclose(values[:300], 100.0 * (1.0 - final / initial))
    batch = calibrate.batch_size(task)

    def margin(n: int) -> float:
        return 1.96 * float(values[:n].std(ddof=1)) / np.sqrt(n)

    assert margin(len(values)) <= calibrate.MARGIN
    assert len(values) == batch or margin(len(values) - batch) > calibrate.MARGIN


def test_the_committed_numbers_are_those_of_the_tasks() -> None:
    """A cheap sample of each: the first 100 evaluation seeds lie within five standard errors of the mean."""
    for name in ("LabelDigits", "MixedMoons", "SelectMomentum", "PerturbDigits"):
        initial, final = teach_episodes(make_task(name), make_teacher("greedy"), evaluation_seeds(100))
        expected = TABLE[name]["greedy"]
        assert abs(100.0 * (1.0 - final / initial).mean() - expected["mean"]) < 0.5 * expected["std"]
