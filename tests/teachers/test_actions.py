"""The nearest action for a teaching example, in every medium, against trying many actions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import VARIANTS, streams, variant

from teach_gym.core.build import make_task
from teach_gym.core.medium import Mixed
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.core.task import compose, decode, reset
from teach_gym.envs.base import action_space
from teach_gym.teachers.actions import nearest_action

B = 6
PERFORMATIVE = {
    "medium": "performative",
    "learner": "mlp",
    "learner_options": {"hidden": 4, "offsets": True},
    "target": "trained",
    "bias": True,
    "batch_size": 2,
    "budget": 5,
    "pool_options": {"n": 100},
}


def task_of(which: str, continuous: bool) -> Task:
    return make_task(**(PERFORMATIVE if which == "performative" else variant(which)) | {"continuous": continuous})


def wanted(task: Task, state: TeachState, rng: np.random.Generator) -> Example:
    """An example that differs from the offered ones in what the medium changes, and often by more than it may."""
    medium, runs = task.spec.medium, np.arange(B)
    x, y = state.x[:, 0].copy(), state.y[:, 0].copy()
    if medium == "mixup":
        c = rng.uniform(-0.5, 1.5, (B, task.spec.batch_size if task.spec.continuous else 1, 1))
        return Example(*(c * a[:, 0] + (1.0 - c) * a[:, 1] for a in (state.x, state.y)))
    if medium in ("select", "mixed"):
        chosen = rng.integers(task.medium.n_sources, size=B)
        x, y = state.x[runs, chosen].copy(), state.y[runs, chosen].copy()
    if medium in ("label", "mixed"):
        y += 0.7 * rng.standard_normal(y.shape)
    if medium == "perturb":
        x += 0.7 * rng.standard_normal(x.shape)
    if medium == "performative":
        x[..., -4:] += 0.3 * rng.standard_normal((*x.shape[:-1], 4))
    return Example(x, y)


FLAVOURS = [(which, False) for which in [*VARIANTS, "performative"]]
FLAVOURS += [(which, True) for which, f in VARIANTS.items() if f["medium"] not in ("select", "mixed")]


@pytest.mark.parametrize(("which", "continuous"), [*FLAVOURS, ("performative", True)])
def test_no_other_action_is_nearer(which: str, continuous: bool) -> None:
    task = task_of(which, continuous)
    state, rng = reset(task, streams(B)), np.random.default_rng(0)
    goal = wanted(task, state, rng)

    def far(action: Any) -> Any:
        made = compose(task, state, decode(task, action))
        gaps = [((a - b) ** 2).sum((1, 2)) for a, b in zip(made, goal, strict=True)]
        return (1e9 if isinstance(task.medium, Mixed) else 1.0) * gaps[0] + gaps[1]

    action, space = nearest_action(task, state, goal), action_space(task)
    assert all(space.contains(np.asarray(a, dtype=space.dtype) if continuous else int(a)) for a in action)
    ours = far(action)
    for trial in range(task.n_actions if not continuous else 300):
        others = [np.full(B, trial)]
        if continuous:
            moved = action + rng.standard_normal(action.shape) * 10.0 ** rng.uniform(-6, 0)
            others = [rng.uniform(space.low, space.high, (B, *space.shape)), np.clip(moved, space.low, space.high)]
        assert all((ours <= far(other) + 1e-9).all() for other in others)


@pytest.mark.parametrize(("which", "continuous"), [*FLAVOURS, ("performative", True)])
def test_the_example_of_an_action_gives_an_action_of_that_example(which: str, continuous: bool) -> None:
    task = task_of(which, continuous)
    state, rng, space = reset(task, streams(B)), np.random.default_rng(1), action_space(task)
    for _ in range(5):
        action = rng.uniform(space.low, space.high, (B, *space.shape)) if continuous else rng.integers(space.n, size=B)
        made = compose(task, state, decode(task, action))
        again = compose(task, state, decode(task, nearest_action(task, state, made)))
        for a, b in zip(made, again, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("which", ["label-grid", "mixup", "perturb-ball", "select", "mixed-grid", "performative"])
def test_what_a_medium_cannot_change_is_named(which: str) -> None:
    task = task_of(which, False)
    state = reset(task, streams(B))
    x, y = (a[:, 0].copy() for a in (state.x, state.y))
    other_x, other_y = x.copy(), y.copy()
    other_x[2, 0, 0] += 0.01
    other_y[2, 0, 0] += 0.01
    medium = task.medium.name
    can = {"label": "labels", "mixed": "labels", "perturb": "features"}.get(medium, "")
    for part, example in (("features", Example(other_x, y)), ("labels", Example(x, other_y))):
        if part == can:
            nearest_action(task, state, example)
            continue
        with pytest.raises(ValueError, match=rf"run 2: its {part} are not what medium '{medium}'"):
            nearest_action(task, state, example)
