"""Tasks in single precision: every teacher keeps their dtype and teaches as in double precision."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from conftest import streams, variant

from teach_gym.core.build import make_task
from teach_gym.core.metrics import METRICS
from teach_gym.core.task import reset
from teach_gym.teachers import TEACHERS, follow, make_teacher, teacher_class

MADE = [name for name in TEACHERS if "path" not in {f.name for f in dataclasses.fields(teacher_class(name))}]
MADE[MADE.index("tuned_sgd")] = "tuned_sgd:learning_rate=0.3"
FLAVOURS = ["label-grid", "label-mix-prediction", "label-offset-truth", "mixup", "perturb-ball", "select-batch"]
FLAVOURS += ["mixed-mix", "mlp", "momentum"]


def taught(which: str, teacher_name: str, dtype: str, steps: int) -> Any:
    task, teacher = make_task(**variant(which, dtype=dtype)), make_teacher(teacher_name)
    try:
        teacher.check(task)
    except ValueError:
        return None
    state, transitions = reset(task, streams(8)), []
    for _ in range(steps):
        transitions.append(follow(task, state, teacher))
        state = transitions[-1].state
    return task, transitions


@pytest.mark.parametrize("teacher_name", MADE)
def test_teachers_keep_single_precision(teacher_name: str) -> None:
    fitting = 0
    for which in FLAVOURS:
        found = taught(which, teacher_name, "float32", 2)
        if found is None:
            continue
        task, transitions = found
        fitting += 1
        for state, reward, _, example in transitions:
            arrays = {**state._asdict(), **example._asdict(), "reward": reward, "soft labels": task.soft}
            for name, array in arrays.items():
                assert array is None or array.dtype.kind == "i" or array.dtype == np.float32, (which, name)
    assert fitting


@pytest.mark.parametrize("constraint", ["none", "soft", "cone", "magnitude_truth", "one_hot"])
@pytest.mark.parametrize("which", ["label-grid", "label-mix-uniform", "mlp", "label-grid-margin", "momentum"])
def test_greedy_labels_are_those_of_double_precision(which: str, constraint: str) -> None:
    single, double = (
        taught(which, f"last:constraint={constraint}", dtype, 1)[1][0] for dtype in ("float32", "float64")
    )
    np.testing.assert_allclose(single.state.distance, double.state.distance, rtol=1e-4)


def test_metrics_of_a_learner_at_zero_are_finite() -> None:
    for dtype in ("float32", "float64"):
        task = make_task(**variant("label-grid", dtype=dtype, init="zeros"))
        for name, metric in METRICS.items():
            assert np.isfinite(metric(task, reset(task, streams(2)))).all(), (name, dtype)
