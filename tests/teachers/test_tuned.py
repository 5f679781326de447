"""Tuned SGD: the label that rescales the step against plain SGD at the other rate, and the table of rates."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from conftest import variant

from teach_gym.core.build import make_task
from teach_gym.core.spec import TaskSpec
from teach_gym.registration import TASKS
from teach_gym.teachers import lesson, make_teacher
from teach_gym.teachers.oracles.tuned import RATES, learner_task, tuned_rate

ENTRIES: list[dict[str, Any]] = json.loads(RATES.read_text())
OMNISCIENT = [name for name, kwargs in TASKS.items() if "observation" not in kwargs]


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize(
    "name", ["label-grid", "label-mix-target", "label-offset-truth", "mixup-batch", "mlp", "select"]
)
def test_it_moves_the_learner_as_plain_sgd_with_its_rate_does(name: str, continuous: bool) -> None:
    if continuous and name == "select":
        return
    kwargs = {**variant(name, momentum=0.9, nesterov=True), "continuous": continuous}
    tuned, plain = (make_task(**{**kwargs, "learning_rate": rate}) for rate in (0.3, 0.07))
    _, taught = lesson(tuned, make_teacher("tuned_sgd", learning_rate=0.07), range(5))
    _, expected = lesson(plain, make_teacher("passive"), range(5))
    for a, b in zip(taught, expected, strict=True):
        np.testing.assert_allclose(a.state.w, b.state.w, atol=1e-12)


def test_it_takes_the_measured_rate_whatever_the_medium_and_the_tasks_rate() -> None:
    best = TASKS["LabelMoons"]["learning_rate"]
    task, plain = (make_task("PerturbMoons", learning_rate=rate) for rate in (2.0, best))
    (_, taught), (_, expected) = (
        lesson(t, make_teacher(n), range(3)) for t, n in ((task, "tuned_sgd"), (plain, "passive"))
    )
    np.testing.assert_allclose([*taught][-1].state.w, [*expected][-1].state.w, atol=1e-12)


@pytest.mark.parametrize("name", OMNISCIENT)
def test_registered_tasks_have_the_best_rate_of_the_table(name: str) -> None:
    fields = json.loads(TaskSpec(**TASKS[name]).to_json())
    entry = next((e for e in ENTRIES if e["learner_task"] == learner_task(fields)), None)
    assert entry is not None and name in entry["tasks"], "run python -m tools.tune_sgd"
    means = [np.inf if mean is None else mean for mean in entry["mean"]]
    best = int(np.argmin(means))
    assert 0 < best < len(means) - 1, "the best rate is at the end of the grid"
    assert entry["rates"][best] == entry["best"] == fields["learning_rate"] == tuned_rate(fields)
    assert entry["seeds"] >= 200


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": 61}, r"was not measured.*tools\.tune_sgd.*tuned_sgd:learning_rate=RATE"),
        ({"learner": "margin_logistic"}, "margin_logistic"),
        ({"weight_decay": 0.1}, "weight decay"),
        ({"learning_rate": [0.1, 0.2]}, "draws learning_rate"),
    ],
)
def test_it_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_teacher("tuned_sgd").check(make_task("LabelMoons", **changes))
    with pytest.raises(ValueError, match=r"learning_rate must be .*-1"):
        make_teacher("tuned_sgd", learning_rate=-1.0)
