"""Resting points against the learner's own update rule, left alone or taught step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import streams

from teach_gym.core.build import make_task
from teach_gym.core.farsighted import farsight
from teach_gym.core.resting import blocks_of, input_batches, per_output, rest_of, resting
from teach_gym.core.state import Task, TeachState
from teach_gym.core.task import reset, sources, step

RULES: dict[str, dict[str, Any]] = {
    "plain": {},
    "momentum": {"momentum": 0.8},
    "nesterov": {"momentum": 0.7, "nesterov": True},
    "decay": {"weight_decay": 0.3},
    "nesterov with decay": {"momentum": 0.7, "nesterov": True, "weight_decay": 0.3},
}
LEARNERS: dict[str, dict[str, Any]] = {
    "regression": {"learner": "least_squares", "pool": "linear_regression", "pool_options": {"d": 4, "n": 60}},
    "logistic": {"learner": "logistic", "pool_options": {"n": 100}, "bias": True},
    "softmax": {
        "learner": "softmax",
        "pool": "gaussian_clusters",
        "pool_options": {"d": 3, "n_classes": 4, "n": 100},
        "target_options": {"l2": 0.05},
        "bias": True,
    },
}
rules = pytest.mark.parametrize("rule", RULES)
learners = pytest.mark.parametrize("learner", LEARNERS)


def task_of(learner: str, rule: str, **changes: Any) -> Task:
    options = {"tolerance": 0.0, "budget": 7, "learning_rate": 0.2, "init": "normal"}
    return make_task(**{"medium": "label", **options, **LEARNERS[learner], **RULES[rule], **changes})


def moving(task: Task, n: int = 5) -> TeachState:
    """A state with momentum, after two steps of random actions."""
    state, rng = reset(task, streams(n)), np.random.default_rng(0)
    for _ in range(2):
        state = step(task, state, rng.integers(task.n_actions, size=n)).state
    return state


def end_of(task: Task, z: np.ndarray, mean: np.ndarray | None) -> np.ndarray:
    return z if mean is None else z + mean[:, None]


@learners
@rules
def test_a_learner_left_alone_comes_to_rest_there(rule: str, learner: str) -> None:
    task = task_of(learner, rule)
    state = moving(task)
    rest = rest_of(task, 0, task.update.learning_rate)
    blocks = blocks_of(task, state, state.w, state.velocity)
    w, velocity = state.w, state.velocity
    for k in range(task.spec.budget + 1):
        found = end_of(task, *resting(task, rest, k, blocks))
        np.testing.assert_allclose(found, per_output(task, w - state.target), rtol=1e-10, atol=1e-12)
        w, velocity = task.update(w, velocity, np.zeros_like(w))


@learners
@rules
def test_an_example_moves_the_resting_point_by_its_input_vector(rule: str, learner: str) -> None:
    task = task_of(learner, rule)
    state, rest, k = moving(task), rest_of(task, 0, task.update.learning_rate), 4
    pushed = np.random.default_rng(1).standard_normal(state.w.shape)  # -learning_rate times a gradient
    alone = task.update(state.w, state.velocity, np.zeros_like(state.w))
    taught = task.update(state.w, state.velocity, -pushed / task.update.learning_rate)
    before, after = (end_of(task, *resting(task, rest, k, blocks_of(task, state, *ends))) for ends in (alone, taught))
    np.testing.assert_allclose(after - before, rest.inputs(per_output(task, pushed), k), rtol=1e-9, atol=1e-12)


@learners
@rules
def test_given_labels_carry_the_learner_to_where_the_linearised_gradient_says(rule: str, learner: str) -> None:
    """Near w*, full-batch steps on the given labels; the gradient of a softmax learner is not diagonal in outputs."""
    task = task_of(learner, rule, learning_rate=0.01, init="normal", init_scale=1e-4)
    state = reset(task, streams(3))
    state = state._replace(w=state.target + state.w)
    rest = rest_of(task, 0, task.update.learning_rate, drift=1.0, curvature=1.0)
    blocks = blocks_of(task, state, state.w, state.velocity)
    turned = end_of(task, *resting(task, rest, task.spec.budget, blocks))
    w, velocity = state.w, state.velocity
    x, y = (np.broadcast_to(a, (3, *a.shape)) for a in (task.x, task.y))
    for _ in range(task.spec.budget):
        w, velocity = task.update(w, velocity, task.learner.gradient(w, x, y))
    moved = per_output(task, w - state.w)
    found = turned @ rest.axes.T - per_output(task, state.w - state.target)
    slack = 0.05 if learner == "softmax" else 1e-4
    assert np.abs(found - moved).max() < slack * np.abs(moved).max() + 1e-9


@learners
def test_shares_of_nothing_leave_the_plain_rule_alone(learner: str) -> None:
    task = task_of(learner, "plain")
    rest = rest_of(task, 0, 0.2)
    assert (rest.carry == 1).all() and (rest.push == 1).all() and not rest.offset.any()
    np.testing.assert_array_equal(rest.axes, np.eye(len(rest.axes)))


def test_expectations_are_over_all_mini_batches_or_over_a_fixed_draw() -> None:
    task = task_of("regression", "plain", batch_size=2)
    assert input_batches(task).shape == (60 * 60, 2, 4)
    many = task_of("regression", "plain", batch_size=3, pool_options={"d": 4, "n": 100})
    np.testing.assert_array_equal(input_batches(many), input_batches(many))
    assert input_batches(many).shape == (4096, 3, 4)
    large = task_of("regression", "plain", pool_options={"d": 2, "n": 5000})
    found = input_batches(large)
    assert found.shape == (4096, 1, 2) and len(np.unique(found[:, 0], axis=0)) == 4096


@pytest.mark.parametrize("batch", [1, 3])
@learners
@rules
def test_the_cost_after_an_example_is_that_of_the_learner_it_makes(rule: str, learner: str, batch: int) -> None:
    kind = {} if learner == "regression" else {"medium_options": {"kind": "mix"}}
    task = task_of(learner, rule, batch_size=batch, **kind)
    state = moving(task)
    for settings in ((1.0, 0.0, 0.0), (0.4, 1.0, 0.7)):
        far = farsight(task, *settings)
        found = far.outcomes(state)
        tried = [far.cost(step(task, state, np.full(5, a)).state) for a in range(task.n_actions)]
        np.testing.assert_allclose(found, tried, rtol=1e-8)
        relative = far.outcomes(state, relative=True)
        np.testing.assert_array_equal(relative.argmin(0), found.argmin(0))
        for spans in zip(np.ptp(relative, axis=0), np.ptp(found, axis=0), strict=True):
            assert spans[0] / spans[1] == pytest.approx(np.ptp(relative[:, 0]) / np.ptp(found[:, 0]), rel=1e-6)


@pytest.mark.parametrize("rule", ["momentum", "decay"])
def test_runs_of_drawn_tasks_and_other_steps_have_their_own_cost(rule: str) -> None:
    kwargs = {"learning_rate": [0.1, 0.4], "pool_seed": [3, 8]}
    task = task_of("logistic", rule, **kwargs)
    state = moving(task, 8)
    state = state._replace(t=np.array([2, 2, 3, 4, 2, 6, 7, 3]))
    found = farsight(task).cost(state)
    exact = rule != "decay"  # with weight decay the nearest of nine rates is taken
    for i in range(8):
        pool = int(state.schedule[i, 0, 0, 0] // task.variants.rows)
        own = task_of("logistic", rule, learning_rate=float(state.rate[i]), pool_seed=kwargs["pool_seed"][pool])
        alone = TeachState(*(None if a is None else a[i : i + 1] for a in state))._replace(rate=None)
        x = sources(own, state.schedule[i : i + 1] - pool * task.variants.rows, state.t[i : i + 1])
        alone = alone._replace(x=x.x, y=x.y)
        assert found[i] == pytest.approx(farsight(own).cost(alone)[0], rel=1e-9 if exact else 0.1)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ((1.5,), ValueError, r"damping must lie in \[0, 1\], got 1.5"),
        ((1.0, -0.1), ValueError, "drift"),
        ((1.0, 0.0, 2), ValueError, "curvature"),
        (("1",), TypeError, "damping"),
    ],
)
def test_settings_out_of_range_are_refused(options: tuple[Any, ...], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        farsight(task_of("logistic", "plain"), *options)


def test_hidden_layers_have_no_closed_form() -> None:
    with pytest.raises(ValueError, match="without a hidden layer, this one is 'mlp'"):
        farsight(make_task(learner="mlp", target="trained", medium="label"))
