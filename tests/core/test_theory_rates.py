"""How fast teaching converges: LAST Theorem 3 (super-exponential) and Proposition 1 (against SGD)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import streams
from theory_cases import D, given, plain_task, predict, start

from teach_gym.core.build import make_task
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.core.task import advance, reset

# -------------------------------------------------------------------------------------------------- LAST Theorem 3


def full_batch(rng: np.random.Generator) -> tuple[Task, np.ndarray, np.ndarray, Any, Any]:
    """A logistic learner on a fixed batch of 40 rows, its labels, its gradient and Hessian (written out here)."""
    x = rng.standard_normal((40, D))
    truth = 1 / (1 + np.exp(-(x @ [1.0, -1.0, 0.5]))) * 0.8 + 0.1 * rng.uniform(0, 1, 40)

    def p(w: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-(x @ w)))

    def gradient(w: np.ndarray) -> np.ndarray:
        return x.T @ (p(w) - truth) / 40

    def hessian(w: np.ndarray) -> np.ndarray:
        return (x * (p(w) * (1 - p(w)))[:, None]).T @ x / 40

    w = np.zeros(D)
    for _ in range(50):
        w = w - np.linalg.solve(hessian(w), gradient(w))
    assert np.abs(gradient(w)).max() < 1e-14
    return plain_task("logistic", w, learning_rate=0.7), x, truth, gradient, hessian


def matrix_scaled_labels(task: Task, state: TeachState, x: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Labels for which the learner's own update moves it by ``-step``: X^T (p - y) / N = step / eta."""
    residual = len(x) * x @ np.linalg.solve(x.T @ x, step / task.spec.learning_rate)
    return predict(task, state, x[None]) - residual[None, :, None]


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0], ids="alpha={}".format)
def test_last_theorem_3_super_exponential_teachability(alpha: float, rng: np.random.Generator) -> None:
    """g(y) = (eta H(alpha w* + (1 - alpha) w))^-1: the ratio of successive distances tends to zero."""
    task, x, _, gradient, hessian = full_batch(rng)
    state = start(task, 1, 0.8)
    distances = [float(state.distance[0])]
    while distances[-1] > 1e-7 and len(distances) < 12:
        w = state.w[0]
        step = np.linalg.solve(hessian(alpha * task.target + (1 - alpha) * w), gradient(w))
        state = given(state, task, x[None], matrix_scaled_labels(task, state, x, step))
        distances.append(float(state.distance[0]))
    d = np.array(distances)
    ratios = d[1:] / d[:-1]
    assert d[-1] <= 1e-7 and (np.diff(ratios) < 0).all() and ratios[-1] < 1e-2 * ratios[0]
    quadratic = d[1:] / d[:-1] ** 2
    assert quadratic.max() < 10  # the order of convergence is two


def test_gradient_descent_is_not_super_exponential(rng: np.random.Generator) -> None:
    """The control of the test above: with the true labels the ratio tends to a constant."""
    task, x, truth, _, _ = full_batch(rng)
    state, distances = start(task, 1, 0.8), []
    for _ in range(200):
        state = given(state, task, x[None], truth[None, :, None])
        distances.append(float(state.distance[0]))
    ratios = np.array(distances[1:]) / np.array(distances[:-1])
    assert ratios[-1] > 0.5 and abs(ratios[-1] - ratios[-20]) < 1e-2


# ---------------------------------------------------------------------------------------------- LAST Proposition 1


def test_last_proposition_1_teaching_monotonicity() -> None:
    """Greedy LAST and SGD on the same examples: the mean distance of LAST is never larger, at no iteration."""
    task = make_task(
        pool="linear_regression",
        pool_options={"d": 5, "noise": 0.3},
        learner="least_squares",
        medium="label",
        learning_rate=0.05,
        budget=60,
        tolerance=0.0,
    )
    runs = 300
    sgd = last = reset(task, streams(runs))
    for _ in range(task.spec.budget):
        sgd = advance(task, sgd, Example(sgd.x[:, 0], sgd.y[:, 0])).state
        x = last.x[:, 0]
        p = task.learner.predict(last.w, x)[:, 0, 0]
        inner = (x[:, 0] * (last.w - last.target)).sum(-1)
        free = p - inner / (task.spec.learning_rate * (x[:, 0] ** 2).sum(-1))
        last = advance(task, last, Example(x, free[:, None, None])).state
        np.testing.assert_array_equal(last.x, sgd.x)
        assert last.distance.mean() <= sgd.distance.mean()
    gain = sgd.distance - last.distance
    assert gain.mean() > 5 * gain.std() / np.sqrt(runs)
