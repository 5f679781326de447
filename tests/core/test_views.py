"""The observation ``universal``: against the far-sighted oracle and the greedy teacher, whatever the task."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import streams

from teach_gym.core.build import make_task
from teach_gym.core.layout import layout, observe
from teach_gym.core.task import reset, step
from teach_gym.core.views import VIEWS, farsights
from teach_gym.teachers import make_teacher

J = len(VIEWS)
TASKS: dict[str, dict[str, Any]] = {
    "LabelMoons": {},
    "LabelRegression": {},
    "LabelMomentum": {},
    "MixupMoons": {},
    "SelectDigits": {"budget": 5},
    "LabelDigits10": {"budget": 3},
}


@pytest.mark.parametrize("name", TASKS)
def test_the_entries_are_those_of_the_oracles_of_each_view(name: str) -> None:
    task = make_task(name, observation="universal", **TASKS[name])
    state, blocks = reset(task, streams(7)), layout(task)
    assert [block.size for block in blocks] == [1, 1, J * (2 + task.n_actions)]
    for _ in range(2):
        seen = observe(task, state, blocks)
        own = seen[:, 2 + 2 * J :].reshape(7, J, task.n_actions)
        assert np.isfinite(seen).all() and (own >= 0).all()
        for i, view in enumerate(VIEWS):
            oracle = make_teacher("lqr", **view._asdict())
            np.testing.assert_array_equal(own[:, i].argmin(1), oracle(task, state))
            alone = farsights(task)[i].prospects(state).alone
            least = np.sqrt(farsights(task)[i].prospects(state).relative.min(0) / alone)
            np.testing.assert_allclose(seen[:, 3 + 2 * i], (1 - least) / (1 + least), rtol=1e-4, atol=1e-6)
        first = make_teacher("anticipating")(task, state)
        np.testing.assert_array_equal(own[:, 0].argmin(1), first)
        np.testing.assert_allclose(seen[:, 1], 1 - state.t / task.spec.budget, rtol=1e-6)
        state = step(task, state, np.asarray(first)).state


def test_learners_with_a_hidden_layer_are_refused() -> None:
    with pytest.raises(ValueError, match="observation 'universal' needs a learner without a hidden layer"):
        make_task("LabelDigitsMLP", observation="universal")
