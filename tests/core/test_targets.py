"""Targets against closed forms and scikit-learn's solvers."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from teach_gym.core.learners import make_learner
from teach_gym.core.randomness import Streams
from teach_gym.core.targets import make_target
from teach_gym.data.pools import make_pool


def with_ones(x: np.ndarray, bias: bool) -> np.ndarray:
    return np.column_stack([x, np.ones(len(x))]) if bias else x


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_least_squares_optimum_is_ridge_regression(bias: bool, l2: float, rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((80, 5)) * [1, 2, 0.5, 1, 3], rng.standard_normal((80, 2))
    target, _ = make_target("optimum", make_learner("least_squares", bias=bias), x, y, 0, l2=l2)
    a = with_ones(x, bias)
    expected = np.linalg.solve(a.T @ a / 80 + l2 * np.eye(a.shape[1]), a.T @ y / 80)
    np.testing.assert_allclose(target.reshape(expected.shape), expected, atol=1e-6)
    if l2 == 0.0:
        np.testing.assert_allclose(expected, np.linalg.lstsq(a, y, rcond=None)[0], atol=1e-10)


def sklearn_logistic(x: np.ndarray, labels: np.ndarray, l2: float) -> np.ndarray:
    """The minimiser of mean loss + l2 / 2 ||w||^2, (K or 1, columns), by Newton's method."""
    solver = LogisticRegression(C=1 / (l2 * len(x)), fit_intercept=False, tol=1e-10, max_iter=2000, solver="newton-cg")
    return solver.fit(x, labels).coef_


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("l2", [1e-3, 0.1])
@pytest.mark.parametrize("name", ["logistic", "margin_logistic"])
def test_logistic_optimum_is_scikit_learns(name: str, bias: bool, l2: float) -> None:
    pool = make_pool("half_moons", 2, n=300)
    x, labels = pool.train.x, pool.train.labels
    y = (labels if name == "logistic" else 2 * labels - 1.0)[:, None].astype(float)
    target, _ = make_target("optimum", make_learner(name, bias=bias), x, y, 0, l2=l2)
    np.testing.assert_allclose(target, sklearn_logistic(with_ones(x, bias), labels, l2)[0], atol=2e-5)


@pytest.mark.parametrize("bias", [False, True])
def test_softmax_optimum_is_scikit_learns(bias: bool) -> None:
    pool = make_pool("digits", 1, classes=[0, 3, 5])
    x, labels, l2 = pool.train.x, pool.train.labels, 0.05
    target, _ = make_target("optimum", make_learner("softmax", bias=bias), x, np.eye(3)[labels], 0, l2=l2)
    expected = sklearn_logistic(with_ones(x, bias), labels, l2).T
    np.testing.assert_allclose(target.reshape(expected.shape), expected, atol=2e-5)


@pytest.mark.parametrize("name", ["logistic", "margin_logistic", "softmax"])
def test_separable_classes_without_penalty_are_refused_with_a_hint(name: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal((60, 2))
    x[:, 0] += 3 * np.sign(x[:, 0])
    labels = (x[:, 0] > 0).astype(int)
    y = np.eye(2)[labels] if name == "softmax" else np.where(labels, 1.0, -1.0 if "margin" in name else 0.0)[:, None]
    with pytest.raises(ValueError, match=rf"{name}.*l2=0\.0.*target_options=.*l2"):
        make_target("optimum", make_learner(name), x, y, 0)
    target, _ = make_target("optimum", make_learner(name), x, y, 0, l2=0.01)
    assert np.isfinite(target).all()


@pytest.mark.parametrize("bias", [False, True])
def test_trained_target_is_gradient_descent_from_the_start(bias: bool, rng: np.random.Generator) -> None:
    x = rng.standard_normal((40, 3))
    y = (x[:, :1] > 0.3).astype(float)
    learner = make_learner("logistic", bias=bias)
    target, start = make_target("trained", learner, x, y, 11, steps=25, learning_rate=0.7)
    np.testing.assert_array_equal(start, learner.init(Streams.from_seeds([11]), 3, 1)[0])
    a, w = with_ones(x, bias), start.copy()
    for _ in range(25):
        w -= 0.7 * a.T @ (1 / (1 + np.exp(-a @ w)) - y[:, 0]) / 40
    np.testing.assert_allclose(target, w, atol=1e-12)


def test_given_target(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((10, 2)), np.zeros((10, 1))
    target, start = make_target("given", make_learner("logistic"), x, y, 0, w=[1, -2.5])
    assert target.tolist() == [1.0, -2.5] and target.dtype == np.float64 and start.shape == (2,)


@pytest.mark.parametrize(
    ("name", "options", "kind", "message"),
    [
        ("optimal", {}, ValueError, "optimal'.*optimum"),
        ("optimum", {"l2": -1.0}, ValueError, r"l2.*-1\.0"),
        ("optimum", {"l2": float("nan")}, ValueError, "l2.*nan"),
        ("optimum", {"l2": "1"}, TypeError, "l2.*'1'"),
        ("optimum", {"steps": 3}, TypeError, "steps"),
        ("trained", {"steps": 0}, ValueError, "steps.*0"),
        ("trained", {"steps": 1.5}, TypeError, r"steps.*1\.5"),
        ("trained", {"learning_rate": -0.1}, ValueError, r"learning_rate.*-0\.1"),
        ("trained", {"learning_rate": 1e6, "steps": 200}, ValueError, "diverged.*1000000"),
        ("given", {"w": [1.0]}, ValueError, "2 numbers, got 1"),
        ("given", {"w": [1.0, float("nan")]}, ValueError, r"w\[1\].*finite.*nan"),
        ("given", {}, TypeError, "w"),
    ],
    ids=str,
)
def test_bad_targets(
    name: str, options: dict[str, object], kind: type[Exception], message: str, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((30, 2))
    learner = make_learner("least_squares")
    with pytest.raises(kind, match=message), np.errstate(all="ignore"):
        make_target(name, learner, x, x[:, :1] * 2.0, 0, **options)
