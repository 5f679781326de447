"""GradMatch and CRAIG against their definitions, row by row with automatic differentiation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import streams

from teach_gym.core.build import make_task
from teach_gym.core.task import reset, step
from teach_gym.teachers import make_teacher

TASKS: dict[str, dict[str, Any]] = {
    "moons": {"pool": "half_moons", "pool_options": {"n": 60}, "bias": True},
    "softmax": {"learner": "softmax", "pool_options": {"n": 60}, "target": "trained"},
    "regression": {"learner": "least_squares", "pool": "linear_regression", "pool_options": {"n": 50, "d": 3}},
    "batch": {"pool_options": {"n": 60}, "batch_size": 3},
}


def gradients(task: Any, w: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The gradient of each row's loss by autograd: (n, P)."""
    found = []
    for row, label in zip(torch.tensor(x), torch.tensor(y), strict=True):
        weights = torch.tensor(w, requires_grad=True)
        task.learner.loss(weights[None], row[None, None], label[None, None]).sum().backward()
        found.append(weights.grad.numpy())
    return np.array(found)


@pytest.mark.parametrize("kind", TASKS)
def test_choices_by_their_definition(kind: str) -> None:
    task = make_task(medium="select", medium_options={"n_sources": 5}, budget=4, **TASKS[kind])
    state = reset(task, streams(6))
    state = step(task, state, np.zeros(6, dtype=np.int64)).state
    chosen = {name: make_teacher(name)(task, state) for name in ("gradmatch", "craig")}
    for run in range(6):
        rows = gradients(task, state.w[run], task.x, task.y)
        offered = np.stack([gradients(task, state.w[run], state.x[run, s], state.y[run, s]).mean(0) for s in range(5)])
        whole = rows.mean(0)
        misfit = []
        for g in offered:
            weight = max(whole @ g / (g @ g), 0.0)
            misfit.append(np.linalg.norm(whole - weight * g))
        assert misfit[chosen["gradmatch"][run]] == pytest.approx(min(misfit))
        totals = [np.linalg.norm(rows - g, axis=1).sum() for g in offered]
        assert totals[chosen["craig"][run]] == pytest.approx(min(totals))


def test_many_runs_at_once_choose_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    task = make_task("SelectMoons")
    state = reset(task, streams(20))
    whole = make_teacher("craig")(task, state)
    monkeypatch.setattr("teach_gym.teachers.oracles.coresets._ENTRIES", 1)
    np.testing.assert_array_equal(make_teacher("craig")(task, state), whole)


def test_tasks_that_do_not_fit() -> None:
    for name in ("gradmatch", "craig"):
        with pytest.raises(ValueError, match="needs the medium 'select', the task's is 'label'"):
            make_teacher(name).check(make_task("LabelMoons"))
        with pytest.raises(ValueError, match="needs one pool"):
            make_teacher(name).check(make_task("SelectMoons", pool_seed=[0, 1]))
    network = make_task("SelectMoons", learner="mlp_logistic", target="trained", target_options={})
    make_teacher("gradmatch").check(network)
    with pytest.raises(ValueError, match="needs a linear learner, got 'mlp_logistic'"):
        make_teacher("craig").check(network)
