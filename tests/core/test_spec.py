"""The spec of a task: JSON, plain values, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from conftest import VARIANTS, variant

from teach_gym.core.backend import each_array
from teach_gym.core.build import make_task
from teach_gym.core.spec import TaskSpec
from teach_gym.errors import TooLargeError
from teach_gym.registration import task_kwargs


def test_spec_survives_json(name: str) -> None:
    spec = TaskSpec(**task_kwargs(name))
    text = spec.to_json()
    again = TaskSpec.from_json(text)
    assert again == spec and again.to_json() == text
    assert {f.name for f in dataclasses.fields(TaskSpec)} == set(json.loads(text))
    task = make_task(**json.loads(text))
    np.testing.assert_array_equal(task.target, make_task(name).target)


def test_spec_attributes_are_documented() -> None:
    for f in dataclasses.fields(TaskSpec):
        assert f"{f.name}:" in (TaskSpec.__doc__ or ""), f.name


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"learner": "logistc"}, ValueError, "logistc'.*softmax.*did you mean 'logistic'"),
    ({"pool": "moons"}, ValueError, "moons'.*half_moons"),
    ({"medium": "lable"}, ValueError, "lable'.*mixup.*did you mean 'label'"),
    ({"target": "best"}, ValueError, "best'.*optimum"),
    ({"reward": "money"}, ValueError, "money'.*progress"),
    ({"observation": "all"}, ValueError, "all'.*omniscient"),
    ({"init": "random"}, ValueError, "init.*normal.*'random'"),
    ({"dtype": "float16"}, ValueError, "dtype.*float64, float32.*'float16'"),
    ({"learning_rate": -0.1}, ValueError, r"learning_rate.*> 0.*-0\.1"),
    ({"learning_rate": 0}, ValueError, "learning_rate.*> 0.*0"),
    ({"learning_rate": float("nan")}, (TypeError, ValueError), "learning_rate.*nan"),
    ({"learning_rate": "0.1"}, TypeError, r"learning_rate.*number.*'0\.1'"),
    ({"learning_rate": True}, TypeError, "learning_rate.*True"),
    ({"momentum": 1.0}, ValueError, r"momentum.*\[0, 1\).*1\.0"),
    ({"momentum": -0.5}, ValueError, r"momentum.*-0\.5"),
    ({"momentum": "x"}, TypeError, "momentum.*'x'"),
    ({"nesterov": True}, ValueError, "nesterov.*momentum > 0"),
    ({"weight_decay": -1.0}, ValueError, r"weight_decay.*>= 0.*-1\.0"),
    ({"budget": 0}, ValueError, r"budget must be an integer in \[1, .*got 0"),
    ({"budget": 2.5}, TypeError, r"budget.*integer.*2\.5"),
    ({"budget": True}, TypeError, "budget.*True"),
    ({"batch_size": -2}, ValueError, "batch_size.*-2"),
    ({"bias": 1}, TypeError, "bias.*True or False.*1"),
    ({"continuous": "yes"}, TypeError, "continuous.*True or False.*'yes'"),
    ({"init_scale": 0.0}, ValueError, r"init_scale.*0\.0"),
    ({"tolerance": -1e-3}, ValueError, r"tolerance.*>= 0.*-0\.001"),
    ({"tolerance": float("inf")}, (TypeError, ValueError), "tolerance.*inf"),
    ({"tolerance": "small"}, TypeError, "tolerance.*'small'"),
    ({"pool_seed": -1}, ValueError, r"pool_seed must be an integer in \[0, .*got -1"),
    ({"pool_seed": 1.5}, (TypeError, ValueError), r"pool_seed.*integer.*1\.5"),
    ({"medium_options": {"n": np.arange(3)}}, TypeError, r"n must be.*\[0, 1, 2\]"),
    ({"learner_options": {"hidden": {1, 2}}}, TypeError, r"learner_options\['hidden'\].*plain JSON.*{1, 2}"),
    ({"learner_options": {"bias": True}}, TypeError, "'logistic' has no option 'bias': it is set by the task's own"),
    ({"pool_options": {"pool_seed": 1}}, TypeError, "'half_moons' has no option 'pool_seed'"),
    ({"pool_options": {"name": "x"}}, TypeError, "'half_moons' has no option name"),
    ({"medium_options": {"setting": 1}}, TypeError, "'label' has no option 'setting'"),
    ({"medium_options": {1: 2}}, TypeError, "medium_options must be a mapping of names"),
    ({"medium_options": {"p": ""}}, ValueError, "p must be one of uniform.*''"),
    ({"medium_options": {"kind": "offset", "centre": None}}, TypeError, "centre must be one of.*None"),
    ({"medium_options": {"radius": [1]}}, TypeError, r"radius must be.*\[1\]"),
    ({"medium_options": {"radius": 0}}, ValueError, "radius must be.*> 0, got 0"),
    ({"target_options": {"learner": 1}}, TypeError, "'optimum' has no option 'learner'"),
    ({"target_options": {"l": 1}}, TypeError, "'optimum' has no option l; allowed: l2; did you mean 'l2'"),
    ({"bogus": 1}, TypeError, "a task has no option bogus; allowed: batch_size, "),
    ({"learning_rte": 1}, TypeError, "no option learning_rte.*did you mean 'learning_rate'"),
    ({"budget": 10**300}, ValueError, r"budget.*301 characters"),
    ({"budget": 10**8}, TooLargeError, r"100,000,000 rows.*1\.49 GiB of memory; at most 1 GiB"),
    ({"batch_size": 10**7}, TooLargeError, "600,000,000 rows.*8.94 GiB"),
    ({"pool_seed": 2**32}, ValueError, "pool_seed.*4294967296"),
    ({"learner": "mlp", "learner_options": {"hidden": 10**9}}, ValueError, "hidden must be"),
    ({"learner": "mlp", "learner_options": {"hidden": 10**6}}, TooLargeError, "1,000,000 hidden units.*GiB"),
    ({"medium": "mixed", "medium_options": {"n_sources": 10**4, "n": 10**4}}, TooLargeError, "100,000,000 actions"),
    ({"pool_options": [1, 2]}, TypeError, r"pool_options.*\[1, 2\]"),
    ({"medium_options": None}, TypeError, "medium_options.*None"),
    ({"speed": 3}, TypeError, "speed"),
    ({"pool": "digits"}, ValueError, "logistic.*2 classes.*10"),
    ({"pool": "linear_regression"}, ValueError, "logistic.*regression.*least_squares"),
    ({"pool": "linear_regression", "learner": "softmax"}, ValueError, "softmax.*regression"),
    ({"pool_options": {"d": 3}}, TypeError, r"half_moons.*\bd\b.*noise"),
    ({"medium_options": {"grid": 3}}, TypeError, "grid.*radius"),
    ({"learner_options": {"hidden": 3}}, TypeError, "hidden"),
    ({"target_options": {"l1": 3}}, TypeError, "l1.*l2"),
    ({"target": "given", "target_options": {"w": [1.0, 2.0, 3.0]}}, ValueError, "2 numbers, got 3"),
    ({"medium": "select", "continuous": True}, ValueError, "select.*continuous"),
    ({"batch_size": 4}, ValueError, "batch_size=4"),
    ({"medium": "perturb", "medium_options": {"axes": 0}}, ValueError, "axes.*0"),
]


@pytest.mark.parametrize(("kwargs", "kind", "message"), BAD, ids=lambda v: str(v)[:50])
def test_bad_tasks(kwargs: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        make_task(**kwargs)


@pytest.mark.parametrize("text", ["[1]", "3", "null", '{"budget": "x"}', '{"bugdet": 3}'])
def test_json_that_is_no_task_is_refused(text: str) -> None:
    with pytest.raises(TypeError, match=r"a task must be a mapping|budget must be|did you mean 'budget'"):
        TaskSpec.from_json(text)


def test_numpy_values_become_plain_ones() -> None:
    given = {
        "learning_rate": np.float32(0.25),
        "budget": np.int64(7),
        "bias": np.True_,
        "pool_options": {"n": np.int32(60), "noise": np.float64(0.5)},
        "target": "given",
        "target_options": {"w": np.array([1, 2, 3])},
        "pool_seed": np.array([1, 2]),
    }
    spec = make_task(**given).spec
    assert json.loads(spec.to_json()) == dataclasses.asdict(spec)
    assert (spec.learning_rate, spec.budget, spec.bias, spec.pool_seed) == (0.25, 7, True, [1, 2])
    assert spec.pool_options == {"n": 60, "noise": 0.5} and spec.target_options == {"w": [1, 2, 3]}
    assert make_task(learning_rate=1).spec.to_json() == make_task(learning_rate=1.0).spec.to_json()


@pytest.mark.parametrize("which", VARIANTS)
def test_arrays_of_a_task_cannot_be_changed(which: str) -> None:
    found: list[np.ndarray] = []
    task = make_task(**variant(which, reward="holdout_progress"))
    each_array(task, lambda array: found.append(array))
    assert len(found) > 10
    for array in [*found, task.x, task.y, task.squared_norms]:
        assert not array.flags.writeable


def test_the_text_of_a_task_is_short() -> None:
    task = make_task("LabelDigits10")
    for shown, parts in ((task, ("softmax", "digits", "label")), (task.pool, ("digits", "(1078, 64)"))):
        assert len(repr(shown)) < 300 and all(part in repr(shown) for part in parts), repr(shown)
