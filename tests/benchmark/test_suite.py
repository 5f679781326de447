"""The benchmark's suites: what is run, as text and as data."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SHORT_SUITE

from teach_gym.benchmark.suite import (
    FIRST_SEED,
    SUITES,
    Suite,
    cached_task,
    evaluation_seeds,
    expand,
    parse_seeds,
    plan,
    run_digests,
    task_spec,
)
from teach_gym.calls import parse_call
from teach_gym.core.build import make_task
from teach_gym.registration import TASKS, task_kwargs
from teach_gym.teachers import TEACHERS
from teach_gym.teachers.oracles.tuned import RATES

Row = dict[str, Any]
SHORT = SHORT_SUITE.tasks[0]


def test_suites_name_registered_tasks_and_teachers() -> None:
    for suite in SUITES.values():
        assert set(suite.tasks) <= set(TASKS)
        offered = {*suite.teachers, *(t for extra in suite.extra.values() for t in extra)}
        assert {parse_call(text, "teacher")[0] for text in offered} <= set(TEACHERS)
        media = {TASKS[name]["medium"] for name in TASKS}
        assert set(suite.extra) <= media | set(TASKS)
    assert not [name for name in SUITES["default"].tasks if TASKS[name]["pool"] == "mnist"]
    assert set(SUITES["full"].tasks) == set(TASKS)
    assert len(SUITES["default"].seeds) >= 10 and min(SUITES["default"].seeds) >= FIRST_SEED


def test_the_default_suite_has_every_task_with_passive_and_greedy_and_only_fitting_teachers() -> None:
    suite = dataclasses.replace(SUITES["default"], seeds=(1,))
    found: dict[str, set[str]] = {}
    for run in expand(suite):
        found.setdefault(run.task, set()).add(run.teacher)
    assert set(found) == set(suite.tasks)
    assert all({"passive", "greedy"} <= teachers for teachers in found.values())
    assert "distillation" in found["LabelMoons"] and "distillation" not in found["LabelRegression"]
    assert "imt" in found["SelectMoons"] and "imt" not in found["LabelMoons"]


def test_passive_and_greedy_are_added_and_nothing_is_doubled() -> None:
    suite = Suite("x", (SHORT, SHORT), ("last:radius=1.0,constraint=soft", "last:constraint='soft',radius=1.0"), (0,))
    assert [run.teacher for run in expand(suite)] == ["passive", "greedy", "last:constraint=soft,radius=1.0"]


def test_tuned_sgd_joins_tasks_that_have_another_learning_rate() -> None:
    def teachers(task: str) -> list[str]:
        return [run.teacher for run in expand(Suite("x", (task,), (), (0,)))]

    assert teachers("LabelMoons:learning_rate=0.7") == ["passive", "tuned_sgd", "greedy"]
    assert teachers("LabelMoons") == ["passive", "greedy"], "its rate is the best one"
    assert teachers("LabelMoons:learning_rate=0.7,budget=61") == ["passive", "greedy"], "the best rate is not known"


def test_results_of_tuned_sgd_depend_on_the_table_of_rates() -> None:
    found = {name: run_digests(task_spec("LabelMoons")[1], name).teacher_file for name in ("passive", "tuned_sgd")}
    assert found == {"passive": "", "tuned_sgd": hashlib.sha256(RATES.read_bytes()).hexdigest()}


def test_a_named_teacher_must_fit_some_task() -> None:
    suite = Suite("x", ("LabelRegression",), ("distillation",), (0,))
    assert {run.teacher for run in expand(suite)} == {"passive", "greedy"}
    with pytest.raises(
        ValueError, match=r"'distillation' fits none of the chosen tasks; LabelRegression.*least_squares"
    ):
        expand(suite, named=suite.teachers)


def test_parse_seeds() -> None:
    assert parse_seeds("3") == evaluation_seeds(3) == (FIRST_SEED, FIRST_SEED + 1, FIRST_SEED + 2)
    assert parse_seeds("3,") == (3,)
    assert parse_seeds("7, 1,3") == (7, 1, 3)
    for wrong in ("", "0", "-3", "1000000000000", "x", "1,1", "-1,", "1.5", ","):
        with pytest.raises(ValueError, match=r"seeds must be"):
            parse_seeds(wrong)


def test_task_text() -> None:
    assert task_spec("teach_gym/LabelMoons-v0") == task_spec("LabelMoons")
    label, spec = task_spec("LabelMoons:budget=12,learning_rate=0.25")
    assert label == "LabelMoons:budget=12,learning_rate=0.25"
    expected = make_task(**{**task_kwargs("LabelMoons"), "budget": 12, "learning_rate": 0.25}).spec
    assert json.loads(spec) == json.loads(expected.to_json())
    with pytest.raises(ValueError, match="did you mean 'LabelMoons'"):
        task_spec("LabelMoon")
    with pytest.raises(TypeError, match=r"has no option bugdet.*did you mean 'budget'"):
        task_spec("LabelMoons:bugdet=3")


def test_ids_depend_on_everything_that_decides_a_result() -> None:
    [run] = plan("LabelMoons", "greedy", [3])
    others = [
        dataclasses.replace(run, seed=4),
        dataclasses.replace(run, teacher="passive"),
        dataclasses.replace(run, spec=task_spec("LabelMoons:budget=61")[1]),
        *(dataclasses.replace(run, digests=run.digests._replace(**{name: "0"})) for name in run.digests._fields),
    ]
    assert len({run.id, *(other.id for other in others)}) == 1 + len(others) == 8
    assert dataclasses.replace(run, task="another label").id == run.id


def test_runs_are_named_by_the_code_of_task_and_teacher() -> None:
    _, spec = task_spec("LabelMoons")
    greedy, passive = (run_digests(spec, name) for name in ("greedy", "passive"))
    assert greedy.task_code == passive.task_code and greedy.teacher_code != passive.teacher_code
    assert greedy.task_code == run_digests(task_spec("SelectMoons")[1], "greedy").task_code
    assert greedy.teacher_file == greedy.data_file == ""


def test_a_run_is_named_by_the_content_of_the_data_file(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    task = f"LabelMoons:pool=array,pool_options={{'path': {str(path)!r}}}"
    specs, tasks, ids = set(), [], set()
    for seed in (0, 1, 0):
        rng = np.random.default_rng(seed)
        np.savez(path, X=rng.normal(size=(40, 2)), y=np.arange(40) % 2)
        [run] = plan(task, "passive", [3])
        specs.add(run.spec)
        ids.add(run.id)
        tasks.append(cached_task(run.spec))
    assert len(specs) == 1 and len(ids) == 2, "the path is the same, the content is not"
    assert not np.array_equal(tasks[0].x, tasks[1].x) and tasks[2].pool.digest == tasks[0].pool.digest
    assert cached_task(run.spec) is tasks[2], "the same content is built once"
