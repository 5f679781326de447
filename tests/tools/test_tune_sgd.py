"""The search for plain SGD's best rate: its batch against single tasks, and what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from teach_gym.core.build import make_task
from teach_gym.core.spec import TaskSpec
from teach_gym.registration import task_kwargs
from teach_gym.teachers import make_teacher, teach_episodes
from tools import tune_sgd


@pytest.mark.parametrize("name", ["SelectMomentum", "LabelDigits", "LabelRegression"])
def test_one_batch_of_all_rates_equals_a_task_for_each(name: str) -> None:
    rates, seeds = [0.01, 0.08, 3.0], range(4)
    found = tune_sgd.final_by_rate(make_task(name), rates, seeds)
    for rate, row in zip(rates, found, strict=True):
        task = make_task(name, learning_rate=rate)
        np.testing.assert_allclose(row, teach_episodes(task, make_teacher("passive"), seeds)[1], rtol=1e-9)


def test_a_grid_whose_best_rate_is_at_an_end_is_widened() -> None:
    """From a rate 1,000 times too small, or too large, the same best rate up to the grid's factor."""
    best = [
        tune_sgd.tune(TaskSpec(**{**task_kwargs("LabelMoons"), "learning_rate": rate}), 20)["best"]
        for rate in (2.5e-4, 0.25, 250.0)
    ]
    assert max(best) / min(best) < tune_sgd.FACTOR**1.5


def test_tasks_that_differ_in_the_medium_are_measured_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rates.json"
    names = ["LabelMoons:learning_rate=0.5", "MixupMoons", "SelectMomentum"]
    assert tune_sgd.main(["--tasks", *names, "--seeds", "20", "--out", str(out)]) == 0
    entries = json.loads(out.read_text())
    assert [entry["tasks"] for entry in entries] == [names[:2], names[2:]]
    assert "(the task has 0.5)" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        tune_sgd.main(["--seeds", "1001", "--out", str(out)])
