"""The papers' theory, checked numerically with the package's own teaching step.

LAST = Liu et al., "Iterative Teaching by Label Synthesis" (2021); DHT = Qiu et al., "Iterative Teaching by Data
Hallucination" (2023). The learner is updated by ``learn`` throughout; only the teachers are written here.
"""

from __future__ import annotations

import numpy as np
import pytest
from conftest import streams
from scipy.optimize import minimize_scalar
from theory_cases import D, given, plain_task, predict, start

from teach_gym.core.build import make_task
from teach_gym.core.state import TeachState
from teach_gym.core.task import reset

# ------------------------------------------------------------------------------- the gradient as a function of y


@pytest.mark.parametrize("learner", ["least_squares", "logistic"])
def test_distance_after_a_step_is_a_quadratic_around_the_free_label(learner: str, rng: np.random.Generator) -> None:
    """||w' - w*||^2 = eta^2 ||x||^2 ||y - y_free||^2 + const, y_free = p - <x, w - w*> / (eta ||x||^2)."""
    task = plain_task(learner, rng.standard_normal(D), learning_rate=0.3)
    state = start(task, 100, 2.0)
    x = rng.standard_normal((100, 1, D))
    squared = (x[:, 0] ** 2).sum(-1)
    gap = state.w - task.target
    free = predict(task, state, x)[:, 0, 0] - (x[:, 0] * gap).sum(-1) / (0.3 * squared)
    constants = []
    for y in (np.zeros(100), rng.standard_normal(100), free, 5 * rng.standard_normal(100)):
        after = given(state, task, x, y[:, None, None])
        constants.append(after.distance**2 - 0.3**2 * squared * (y - free) ** 2)
    for other in constants[1:]:
        np.testing.assert_allclose(other, constants[0], atol=1e-9)
    np.testing.assert_allclose(constants[0], (gap**2).sum(-1) - (x[:, 0] * gap).sum(-1) ** 2 / squared, atol=1e-9)


def test_last_equation_3_minimises_equation_1(rng: np.random.Generator) -> None:
    """y* = (1 - lambda) <w, x> + lambda <w*, x>, lambda = 1 / (eta <x, x>), against scipy on the learner itself."""
    eta = 0.2
    task = plain_task("least_squares", rng.standard_normal(D), learning_rate=eta)
    state = start(task, 100, 3.0)
    x = rng.standard_normal((100, 1, D))
    weight = 1 / (eta * (x[:, 0] ** 2).sum(-1))
    closed = (1 - weight) * (x[:, 0] * state.w).sum(-1) + weight * (x[:, 0] @ task.target)
    after = given(state, task, x, closed[:, None, None])
    for b in range(100):
        one = TeachState(*(None if a is None else a[b : b + 1] for a in state))

        def objective(y: float, one: TeachState = one, b: int = b) -> float:
            return float(given(one, task, x[b : b + 1], np.full((1, 1, 1), y)).distance[0] ** 2)

        best = minimize_scalar(objective, bracket=(closed[b] - 3, closed[b] + 4), tol=1e-12)
        assert best.x == pytest.approx(closed[b], abs=1e-5 * (1 + abs(closed[b])))
        assert after.distance[b] ** 2 <= best.fun + 1e-12


@pytest.mark.parametrize("learner", ["least_squares", "logistic", "softmax", "mlp", "mlp_logistic"])
def test_the_gradient_is_linear_in_the_label(learner: str, rng: np.random.Generator) -> None:
    """A label on the line between two labels moves the learner to the same place between the two ends."""
    pool = {"pool": "linear_regression", "pool_options": {"n": 50}} if learner == "least_squares" else {}
    options = {"learner_options": {"hidden": 4}} if "mlp" in learner else {}
    task = make_task(learner=learner, medium="select", target="trained", target_options={"steps": 3}, **pool, **options)
    state = reset(task, streams(30))
    x = rng.standard_normal((30, 4, task.d))
    y1, y2 = rng.standard_normal((2, 30, 4, task.k))
    ends = [given(state, task, x, y).w for y in (y1, y2)]
    for a in (0.3, -1.0, 2.5):
        between = given(state, task, x, a * y1 + (1 - a) * y2).w
        np.testing.assert_allclose(between, a * ends[0] + (1 - a) * ends[1], atol=1e-10)


# ----------------------------------------------------------------------------- LAST Theorem 1 and DHT Theorem 1
#
# Order-1 strong convexity with interpolation and a Lipschitz loss means a sharp loss: l_i(w) = |<w - w*, x_i>|, whose
# gradient is sign(<w, x_i> - y_i) x_i. A teacher of the least-squares learner makes that gradient, scaled by g, with
# the label y = <w, x> - g sign(<w, x> - y_i). For L_i = ||x_i|| and E <gradient, w - w*> >= mu / 2 ||w - w*||, the
# proof of both theorems gives E ||w_T - w*||^2 <= (1 - c1 eta mu + (c1 eta L_max)^2)^T ||w_0 - w*||^2.

C1, ETA, STEPS, RUNS = 0.25, 1.0, 60, 400


def sharp_pool(rng: np.random.Generator) -> tuple[np.ndarray, float, float]:
    """Unit rows, the largest L and the mu of mean_i |<u, x_i>| >= mu / 2 over a fine grid of directions u."""
    x = rng.standard_normal((200, D))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    u = rng.standard_normal((20_000, D))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    return x, 1.0, 2 * float(np.abs(u @ x.T).mean(1).min()) * 0.99


def sharp_label(prediction: np.ndarray, truth: np.ndarray, g: np.ndarray) -> np.ndarray:
    return prediction - g[:, None, None] * np.sign(prediction - truth)


def test_last_theorem_1_exponential_teachability(rng: np.random.Generator) -> None:
    pool, largest, mu = sharp_pool(rng)
    factor = 1 - C1 * ETA * mu + (C1 * ETA * largest) ** 2
    assert 0 < C1 * ETA < mu / largest**2 and factor < 0.95
    task = plain_task("least_squares", [1.0, -2.0, 0.5], learning_rate=ETA)
    state = begin = start(task, RUNS, 2.0)
    for t in range(1, STEPS + 1):
        x = pool[rng.integers(len(pool), size=RUNS)][:, None]
        truth = x @ task.target[:, None]
        y = sharp_label(predict(task, state, x), truth, C1 * state.distance)
        free = predict(task, state, x) - (x[:, 0] * (state.w - task.target)).sum(-1)[:, None, None] / ETA
        after, greedy = given(state, task, x, y), given(state, task, x, free)
        assert (greedy.distance <= after.distance + 1e-12).all()  # so greedy LAST obeys the bound as well
        state = after
        assert (state.distance**2).mean() <= factor**t * (begin.distance**2).mean()
    assert (state.distance**2).mean() < 1e-3 * (begin.distance**2).mean()


def test_without_the_scaling_by_the_distance_there_is_no_exponential_teachability(rng: np.random.Generator) -> None:
    """The control of the test above: constant g stalls at a distance of order c1, as plain SGD does on this loss."""
    pool, largest, mu = sharp_pool(rng)
    factor = 1 - C1 * ETA * mu + (C1 * ETA * largest) ** 2
    task = plain_task("least_squares", [1.0, -2.0, 0.5], learning_rate=ETA)
    state = begin = start(task, RUNS, 2.0)
    for _ in range(STEPS):
        x = pool[rng.integers(len(pool), size=RUNS)][:, None]
        y = sharp_label(predict(task, state, x), x @ task.target[:, None], np.full(RUNS, C1))
        state = given(state, task, x, y)
    assert (state.distance**2).mean() > 10 * factor**STEPS * (begin.distance**2).mean()


def test_dht_theorem_1_scaling_the_features(rng: np.random.Generator) -> None:
    """The example (beta x, y) with its own label and beta such that its gradient is c1 ||w - w*|| that of the loss.

    For least squares the gradient of (beta x, y) is beta (beta p - y) x, so beta solves p beta^2 - y beta = v with
    v = c1 ||w - w*|| sign(p - y); labels away from zero make the root near one real.
    """
    c1 = 0.1
    target = np.array([4.0, -0.5, 0.5])
    pool = np.concatenate([np.ones((200, 1)), rng.uniform(-1, 1, (200, D - 1))], axis=1)
    u = rng.standard_normal((20_000, D))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    mu, largest = 2 * float(np.abs(u @ pool.T).mean(1).min()) * 0.99, float(np.linalg.norm(pool, axis=1).max())
    factor = 1 - c1 * mu + (c1 * largest) ** 2
    assert 0 < c1 < mu / largest**2 and factor < 0.98
    task = plain_task("least_squares", target, learning_rate=1.0)
    state = begin = start(task, RUNS, 1.0)
    for t in range(1, 101):
        x = pool[rng.integers(len(pool), size=RUNS)][:, None]
        y, p = x @ target[:, None], predict(task, state, x)
        v = c1 * state.distance[:, None, None] * np.sign(p - y)
        beta = (y + np.sqrt(y**2 + 4 * p * v)) / (2 * p)
        expected = state.w - v[:, 0] * x[:, 0]
        state = given(state, task, beta * x, y)
        np.testing.assert_allclose(state.w, expected, atol=1e-9)
        assert (state.distance**2).mean() <= factor**t * (begin.distance**2).mean()
    assert (state.distance**2).mean() < 1e-2 * (begin.distance**2).mean()


@pytest.mark.parametrize("learner", ["least_squares", "margin_logistic"])
def test_dht_equation_13_scaling_ratio(learner: str, rng: np.random.Generator) -> None:
    """The gradient at beta x over that at x: beta (beta z - y) / (z - y), beta (1 + e^{yz}) / (1 + e^{y beta z}).

    (The paper prints the second fraction upside down; this is what its own gradient, section 3.4, gives.)
    """
    task = plain_task(learner, np.zeros(D), learning_rate=1.0)
    state = start(task, 100, 1.5)
    x, beta = rng.standard_normal((100, 1, D)), rng.uniform(0.2, 3.0, 100)
    y = rng.choice([-1.0, 1.0], 100) if learner == "margin_logistic" else rng.standard_normal(100)
    z = (x[:, 0] * state.w).sum(-1)
    if learner == "margin_logistic":
        ratio = beta * (1 + np.exp(y * z)) / (1 + np.exp(y * beta * z))
    else:
        ratio = beta * (beta * z - y) / (z - y)
    label = y[:, None, None]
    moves = [given(state, task, rows, label).w - state.w for rows in (x, beta[:, None, None] * x)]
    np.testing.assert_allclose(moves[1], ratio[:, None] * moves[0], rtol=1e-8, atol=1e-10)


# -------------------------------------------------------------------------------------------------- LAST Theorem 2


@pytest.mark.parametrize("learner", ["least_squares", "logistic"])
def test_last_theorem_2_armijo_without_the_target(learner: str, rng: np.random.Generator) -> None:
    """Labels that scale the gradient until the Armijo condition holds (c2 = 1/2), never looking at w*.

    Each l_i is a mini-batch of 8 rows with labels that w* predicts exactly, so all l_i share the minimiser, are
    mu_i-strongly convex and L_i-smooth; then E ||w_T - w*||^2 <= max(1 - mu / L, 1 - mu eta_max)^T ||w_0 - w*||^2.
    """
    eta, eta_max, runs, radius = 0.5, 3.0, 100, 1.0
    target = np.array([1.0, -0.5, 0.5])
    task = plain_task(learner, target, learning_rate=eta)
    batches = rng.uniform(-1, 1, (40, 8, D))
    hessians = np.einsum("bmd,bme->bde", batches, batches) / 8
    steepest, flattest = (0.25, 0.0) if learner == "logistic" else (1.0, 1.0)
    if learner == "logistic":  # p (1 - p) at the largest logit in the ball around w*
        logit = (np.abs(batches @ target) + radius * np.linalg.norm(batches, axis=-1)).max()
        flattest = 1 / (2 + 2 * np.cosh(logit))
    smooth = steepest * np.linalg.eigvalsh(hessians)[:, -1].max()
    convex = flattest * np.linalg.eigvalsh(hessians)[:, 0].mean()
    factor = max(1 - convex / smooth, 1 - convex * eta_max)
    assert 0.0 < factor < 1.0
    truths = task.learner.predict(task.target, batches)
    state = begin = start(task, runs, radius)
    for t in range(1, 13 if learner == "least_squares" else 101):
        chosen = rng.integers(len(batches), size=runs)
        x, truth = batches[chosen], truths[chosen]
        p = predict(task, state, x)
        before = task.learner.loss(state.w, x, truth)
        slope = given(state, task, x, truth).w - state.w
        squared = ((slope / eta) ** 2).sum(-1)

        def after(size: np.ndarray, x=x, truth=truth, p=p, state=state) -> TeachState:
            return given(state, task, x, p - (size / eta)[:, None, None] * (p - truth))

        def armijo(size: np.ndarray, x=x, truth=truth, before=before, squared=squared, after=after) -> np.ndarray:
            return task.learner.loss(after(size).w, x, truth) <= before - 0.5 * size * squared + 1e-15

        low, high = np.zeros(runs), np.full(runs, eta_max)
        low = np.where(armijo(high), high, low)
        for _ in range(25):  # the largest step that satisfies it, by bisection
            middle = 0.5 * (low + high)
            good = armijo(middle)
            low, high = np.where(good, middle, low), np.where(good, high, middle)
        assert (low >= min(1 / smooth, eta_max) * (1 - 1e-5)).all()
        new = after(low)
        assert (new.distance <= state.distance + 1e-12).all()
        state = new
        assert (state.distance**2).mean() <= factor**t * (begin.distance**2).mean() + 1e-20
    assert (state.distance**2).mean() < 1e-2 * (begin.distance**2).mean()
