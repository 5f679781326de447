"""The benchmark's suites: what is run, as text and as data."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from conftest import SHORT_SUITE

from teach_gym.benchmark.suite import (
    FIRST_SEED,
    SUITES,
    Run,
    Suite,
    evaluation_seeds,
    expand,
    format_call,
    parse_call,
    parse_seeds,
    task_spec,
)
from teach_gym.core.build import make_task
from teach_gym.registration import TASKS, task_kwargs
from teach_gym.teachers import TEACHERS

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


def test_a_named_teacher_must_fit_some_task() -> None:
    suite = Suite("x", ("LabelRegression",), ("distillation",), (0,))
    assert {run.teacher for run in expand(suite)} == {"passive", "greedy"}
    with pytest.raises(
        ValueError, match=r"'distillation' fits none of the chosen tasks; LabelRegression.*least_squares"
    ):
        expand(suite, named=suite.teachers)


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("greedy", "greedy", {}),
        ("last:constraint=soft", "last", {"constraint": "soft"}),
        ("last:constraint='soft',radius=2", "last", {"constraint": "soft", "radius": 2}),
        ("a:x=-1.5e3,y=[1, (2, 3)],t=True", "a", {"x": -1500.0, "y": [1, (2, 3)], "t": True}),
        ("a:z={'k': None}", "a", {"z": {"k": None}}),
        ("a:word=one-hot", "a", {"word": "one-hot"}),
        ("a:word='True',other='1'", "a", {"word": "True", "other": "1"}),
    ],
)
def test_parse_call(text: str, name: str, options: dict[str, Any]) -> None:
    assert parse_call(text, "teacher") == (name, options)
    assert parse_call(format_call(name, options), "teacher") == (name, options)


@pytest.mark.parametrize("text", ["a:", "a:x", "a:x=", "a:x=f(1)", "a:**{}", "a:x=1)", "a:x=1;y=2", "a:x=1+y"])
def test_parse_call_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"teacher '.*' must be written name or name:option=value"):
        parse_call(text, "teacher")


def test_parse_seeds() -> None:
    assert parse_seeds("3") == evaluation_seeds(3) == (FIRST_SEED, FIRST_SEED + 1, FIRST_SEED + 2)
    assert parse_seeds("3,") == (3,)
    assert parse_seeds("7, 1,3") == (7, 1, 3)
    for wrong in ("", "0", "x", "1,1", "-1,", "1.5", ","):
        with pytest.raises(ValueError, match="seeds must be"):
            parse_seeds(wrong)


def test_task_text() -> None:
    assert task_spec("teach_gym/LabelMoons-v0") == task_spec("LabelMoons")
    label, spec = task_spec("LabelMoons:budget=12,learning_rate=0.25")
    assert label == "LabelMoons:budget=12,learning_rate=0.25"
    expected = make_task(**{**task_kwargs("LabelMoons"), "budget": 12, "learning_rate": 0.25}).spec
    assert json.loads(spec) == json.loads(expected.to_json())
    with pytest.raises(ValueError, match="did you mean 'LabelMoons'"):
        task_spec("LabelMoon")
    with pytest.raises(TypeError, match=r"has no field \['bugdet'\]"):
        task_spec("LabelMoons:bugdet=3")


def test_ids_depend_on_everything_that_decides_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run("LabelMoons", task_spec("LabelMoons")[1], "greedy", 3)
    others = [
        dataclasses.replace(run, seed=4),
        dataclasses.replace(run, teacher="passive"),
        dataclasses.replace(run, spec=task_spec("LabelMoons:budget=61")[1]),
    ]
    assert len({run.id, *(other.id for other in others)}) == 4
    assert dataclasses.replace(run, task="another label").id == run.id
    before = run.id
    monkeypatch.setattr("teach_gym.benchmark.suite.__version__", "9.9.9")
    assert run.id != before
