"""Tuning the far-sighted oracle for a task of one's own."""

from __future__ import annotations

import numpy as np
import pytest

import teach_gym
from teach_gym.benchmark.evaluation import Evaluation
from teach_gym.benchmark.farsighted import GRID, search, tune_lqr
from teach_gym.core.foresight import Settings

OWN = {"pool_options": {"noise": 0.3}, "budget": 30}


def test_the_settings_found_are_the_best_by_evaluation() -> None:
    task = teach_gym.make_task("LabelMoons", **OWN)
    grid = [GRID[0], Settings(1.0, 0.0, 0.0), Settings(0.05, 0.0, 1.0)]
    found = search(task, grid, coarse=8, fine=24, first_seed=92)
    teachers = [teach_gym.make_teacher("lqr", **chosen._asdict()) for chosen in grid]
    first, second = Evaluation(task, range(92, 100)), Evaluation(task, range(100, 124))
    assert found.coarse == pytest.approx([first.score(teacher).score for teacher in teachers])
    decided = [second.score(teacher).score for teacher in teachers]
    assert found.settings == grid[int(np.argmax(decided))] and found.score == pytest.approx(max(decided))
    assert found.score > max(1.0, second.score(teach_gym.make_teacher("lqr")).score), "its own settings fit best"


def test_the_teacher_has_the_settings_found() -> None:
    task = teach_gym.make_task("LabelMoons", budget=2)
    found = search(task, coarse=1, fine=1)
    teacher = tune_lqr("LabelMoons:budget=2", coarse=1, fine=1, progress=False)
    assert teacher == teach_gym.make_teacher("lqr", **found.settings._asdict())


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("LabelDigitsMLP", {}, "hidden layer"),
        ("LabelMoon", {}, "did you mean 'LabelMoons'"),
        ("LabelMoons", {"coarse": 0}, "coarse must be > 0"),
        ("LabelMoons", {"fine": -3}, "fine must be > 0"),
    ],
)
def test_bad_arguments(task: str, changes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tune_lqr(task, **changes)
