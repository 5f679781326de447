"""Greedy label synthesis against scipy, brute force and fine grids."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from teach_gym.core.backend import norm
from teach_gym.core.build import make_task
from teach_gym.core.learner import MLPLearner
from teach_gym.core.randomness import Streams
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.core.task import learn, reset
from teach_gym.teachers.oracles.labels import KINDS, greedy_labels, make_constraint
from teach_gym.teachers.oracles.last import GreedyLAST

CASES = 100
SOLVED = 25
"""Cases that scipy or a fine grid solves, which takes most of the time."""
LEARNERS: dict[str, dict[str, Any]] = {
    "least_squares": {"learner": "least_squares", "pool": "linear_regression", "pool_options": {"d": 4}},
    "logistic": {"learner": "logistic", "pool": "gaussian_clusters", "pool_options": {"d": 3, "separation": 0.8}},
    "softmax": {
        "learner": "softmax",
        "pool": "gaussian_clusters",
        "pool_options": {"d": 3, "n_classes": 4, "separation": 1.0},
        "target_options": {"l2": 0.01},
    },
    "mlp": {
        "learner": "mlp",
        "pool": "gaussian_clusters",
        "pool_options": {"d": 3, "n_classes": 3},
        "learner_options": {"hidden": 5},
        "target": "trained",
        "target_options": {"steps": 50},
        "init": "uniform",
    },
    "margin_logistic": {
        "learner": "margin_logistic",
        "pool": "gaussian_clusters",
        "pool_options": {"d": 3, "separation": 0.8},
    },
}


def task_of(learner: str, m: int = 1, **extra: Any) -> Task:
    return make_task(**{"continuous": True, "batch_size": m, "bias": True, **LEARNERS[learner], **extra})


def start(task: Task, n: int = CASES) -> TeachState:
    state = reset(task, Streams.from_seeds(range(n)))
    if state.velocity is not None:
        state = state._replace(velocity=0.3 * Streams.from_seeds(range(n)).normal(task.size))
    return state


def after(task: Task, state: TeachState, x: Any, y: Any) -> Any:
    """Distance after the update, through the learner itself."""
    return norm(learn(task, state, Example(x, y))[0] - state.target)


def weighed(task: Task, state: TeachState, x: Any, y: Any, beta: float) -> Any:
    """Squared distance with the first layer's part multiplied by beta (LAST Eq. 4)."""
    gap = (learn(task, state, Example(x, y))[0] - state.target) ** 2
    learner = task.learner
    assert isinstance(learner, MLPLearner)
    first = (task.d + learner.bias) * learner.hidden
    return beta * gap[:, :first].sum(-1) + gap[:, first:].sum(-1)


def allowed(task: Task, kind: str, radius: float, y: Any, prediction: Any, truth: Any) -> bool:
    """Whether labels (m, K) satisfy a constraint, by its definition."""
    slack = 1e-9
    if kind == "soft":
        low, high = task.learner.output.label_low, task.learner.output.label_high
        total = y.shape[-1] == 1 or np.allclose(y.sum(-1), 1)
        return bool(total and (y >= low - slack).all() and (y <= high + slack).all())
    if kind == "one_hot":
        if y.shape[-1] == 1:
            return bool(np.isin(y, (task.learner.output.label_low, task.learner.output.label_high)).all())
        return bool(np.isin(y, (0, 1)).all() and (y.sum(-1) == 1).all())
    if kind == "magnitude_prediction":
        return bool((np.linalg.norm(y - prediction, axis=-1) <= radius + slack).all())
    if kind == "magnitude_truth":
        return bool((np.linalg.norm(y - truth, axis=-1) <= radius + slack).all())
    if kind == "cone":
        return bool((y >= -slack).all() and (np.linalg.norm(y, axis=-1) <= radius + slack).all())
    return True


def scipy_best(task: Task, state: TeachState, i: int, x: Any, kind: str, radius: float, pred: Any, truth: Any) -> float:
    """Least distance SLSQP finds for run i over the constraint set (the problem is convex in the labels)."""
    m, k = pred.shape
    one = TeachState(*(None if a is None else a[i : i + 1] for a in state))

    def f(flat: Any) -> float:
        return float(after(task, one, x[None], flat.reshape(1, m, k))[0] ** 2)

    bounds, constraints = None, []
    if kind == "soft":
        bounds = [(task.learner.output.label_low, task.learner.output.label_high)] * (m * k)
        if k > 1:
            constraints = [{"type": "eq", "fun": lambda v: v.reshape(m, k).sum(-1) - 1}]
    elif kind != "none":
        centre = {"magnitude_prediction": pred, "magnitude_truth": truth, "cone": np.zeros_like(pred)}[kind]
        constraints = [
            {"type": "ineq", "fun": lambda v: radius**2 - ((v.reshape(m, k) - centre) ** 2).sum(-1)},
        ]
        if kind == "cone":
            bounds = [(0, None)] * (m * k)
    options = {"maxiter": 100, "ftol": 1e-12}
    found = minimize(f, truth.ravel(), method="SLSQP", bounds=bounds, constraints=constraints, options=options)
    if not allowed(task, kind, radius + 1e-7, found.x.reshape(m, k), pred, truth):
        return np.inf
    return float(np.sqrt(max(found.fun, 0.0)))


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "one_hot"])
@pytest.mark.parametrize(("learner", "m"), [("least_squares", 1), ("logistic", 1), ("softmax", 1), ("mlp", 1)])
def test_greedy_labels_are_as_good_as_scipy(learner: str, m: int, kind: str) -> None:
    if learner == "least_squares" and kind == "soft":
        pytest.skip("regression has no soft labels")
    task, radius = task_of(learner, m), 0.6
    state = start(task, SOLVED)
    x, truth = state.x[:, 0], state.y[:, 0]
    prediction = task.learner.predict(state.w, x)
    y = greedy_labels(task, state, x, truth, make_constraint(kind, radius))
    ours = after(task, state, x, y)
    compared = 0
    for i in range(SOLVED):
        assert allowed(task, kind, radius, y[i], prediction[i], truth[i])
        best = scipy_best(task, state, i, x[i], kind, radius, prediction[i], truth[i])
        assert ours[i] <= best + 1e-6, (i, ours[i], best)
        compared += np.isfinite(best)
    assert compared > 0.8 * SOLVED


@pytest.mark.parametrize("kind", ["none", "soft", "magnitude_truth", "cone"])
@pytest.mark.parametrize("learner", ["least_squares", "logistic", "softmax", "mlp"])
def test_mini_batches_against_scipy(learner: str, kind: str) -> None:
    if learner == "least_squares" and kind == "soft":
        pytest.skip("regression has no soft labels")
    task, radius = task_of(learner, 3), 0.6
    state = start(task, SOLVED)
    x, truth = state.x[:, 0], state.y[:, 0]
    prediction = task.learner.predict(state.w, x)
    y = greedy_labels(task, state, x, truth, make_constraint(kind, radius))
    ours = after(task, state, x, y)
    for i in range(SOLVED):
        assert allowed(task, kind, radius, y[i], prediction[i], truth[i])
        best = scipy_best(task, state, i, x[i], kind, radius, prediction[i], truth[i])
        assert ours[i] <= best + 1e-5, (i, ours[i], best)


@pytest.mark.parametrize(
    ("learner", "m"), [("logistic", 1), ("logistic", 4), ("softmax", 1), ("softmax", 3), ("mlp", 2)]
)
def test_one_hot_labels_are_the_best_of_all_combinations(learner: str, m: int) -> None:
    task = task_of(learner, m)
    state = start(task)
    x, truth = state.x[:, 0], state.y[:, 0]
    y = greedy_labels(task, state, x, truth, make_constraint("one_hot"))
    choices = np.eye(task.k) if task.k > 1 else np.array([[0.0], [1.0]])
    combinations = itertools.product(range(len(choices)), repeat=m)
    every = [after(task, state, x, np.repeat(choices[list(c)][None], CASES, axis=0)) for c in combinations]
    np.testing.assert_allclose(after(task, state, x, y), np.min(every, axis=0), rtol=1e-12)


def test_large_one_hot_batches_beat_the_truth() -> None:
    task = task_of("logistic", 16)
    state = start(task, 30)
    x, truth = state.x[:, 0], state.y[:, 0]
    y = greedy_labels(task, state, x, truth, make_constraint("one_hot"))
    assert (after(task, state, x, y) <= after(task, state, x, truth) + 1e-12).all()
    for i in range(16):
        flipped = y.copy()
        flipped[:, i] = 1 - flipped[:, i]
        assert (after(task, state, x, y) <= after(task, state, x, flipped) + 1e-12).all()


@pytest.mark.parametrize("kind", KINDS)
def test_margin_logistic_against_a_fine_grid(kind: str) -> None:
    task, radius = task_of("margin_logistic"), 0.7
    state = start(task, SOLVED)
    x, truth = state.x[:, 0], state.y[:, 0]
    prediction = task.learner.predict(state.w, x)
    y = greedy_labels(task, state, x, truth, make_constraint(kind, radius))
    grid = np.linspace(-40, 40, 20_001) if kind == "none" else np.linspace(-2, 2, 4001)
    grid = np.array([-1.0, 1.0]) if kind == "one_hot" else grid
    ours = after(task, state, x, y)
    for i in range(SOLVED):
        assert allowed(task, kind, radius, y[i], prediction[i], truth[i])
        fits = [g for g in grid if allowed(task, kind, radius, np.array([[g]]), prediction[i], truth[i])]
        one = TeachState(*(None if a is None else np.repeat(a[i : i + 1], len(fits), axis=0) for a in state))
        values = after(task, one, np.repeat(x[i : i + 1], len(fits), axis=0), np.array(fits)[:, None, None])
        assert ours[i] <= values.min() + 1e-5


def test_margin_batches_beat_the_truth() -> None:
    task = task_of("margin_logistic", 3)
    state = start(task, 50)
    x, truth = state.x[:, 0], state.y[:, 0]
    y = greedy_labels(task, state, x, truth, make_constraint("soft"))
    assert (after(task, state, x, y) <= after(task, state, x, truth) + 1e-12).all()


@pytest.mark.parametrize("beta", [0.0001, 0.3, 1.0, 5.0])
def test_beta_weighs_the_first_layer(beta: float) -> None:
    task = task_of("mlp")
    state = start(task)
    x, truth = state.x[:, 0], state.y[:, 0]
    y = greedy_labels(task, state, x, truth, make_constraint("soft"), beta)
    ours = weighed(task, state, x, y, beta)
    rng = np.random.default_rng(0)
    for _ in range(300):
        other = rng.dirichlet(np.full(task.k, 0.5), size=(CASES, 1))
        assert (ours <= weighed(task, state, x, other, beta) + 1e-9).all()


@pytest.mark.parametrize("update", [{"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"weight_decay": 0.1}])
def test_other_update_rules(update: dict[str, Any]) -> None:
    task = task_of("logistic", **update)
    state = start(task)
    x, truth = state.x[:, 0], state.y[:, 0]
    ours = after(task, state, x, greedy_labels(task, state, x, truth, make_constraint("none")))
    for shift in np.linspace(-3, 3, 121):
        y = greedy_labels(task, state, x, truth, make_constraint("none")) + shift
        assert (ours <= after(task, state, x, y) + 1e-12).all()


def test_more_freedom_is_never_worse_in_one_step() -> None:
    task = task_of("softmax")
    state = start(task)
    x, truth = state.x[:, 0], state.y[:, 0]
    by = {k: after(task, state, x, greedy_labels(task, state, x, truth, make_constraint(k, 2.0))) for k in KINDS}
    assert (by["soft"] <= by["one_hot"] + 1e-12).all()
    assert (by["cone"] <= by["soft"] + 1e-7).all()
    assert (by["none"] <= by["magnitude_prediction"] + 1e-9).all()
    assert (by["none"] <= by["cone"] + 1e-9).all()


def test_bad_options() -> None:
    with pytest.raises(ValueError, match=r"unknown label constraint 'softt'.*soft"):
        GreedyLAST(constraint="softt")
    with pytest.raises(ValueError, match=r"radius.*-1"):
        GreedyLAST(radius=-1)
    with pytest.raises(ValueError, match=r"soft.*least_squares"):
        GreedyLAST(constraint="soft").check(task_of("least_squares"))
