"""What single figures of the papers rest on, against independent implementations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from teach_gym.benchmark.suite import cached_task
from teach_gym.core.metrics import METRICS
from teach_gym.core.randomness import Streams
from teach_gym.core.spec import TaskSpec
from teach_gym.core.state import Task
from teach_gym.core.task import reset
from teach_gym.papers import dht_protocol
from teach_gym.papers.curves import Curves
from teach_gym.papers.dht_greedy import METHODS
from teach_gym.papers.dht_protocol import HALF_MOONS, MNIST, protocol_cohorts, protocol_task, spectral_distance
from teach_gym.papers.engine import Unit
from teach_gym.papers.greedy import method, panel_units
from teach_gym.papers.last_digits import near_boundary
from teach_gym.papers.last_moons import METHOD, labels_of_all_rows, parted_share
from teach_gym.papers.last_moons import run as run_figure_9
from teach_gym.papers.tasks import SMALL_DIGITS, paper_task
from teach_gym.teachers import example_of, make_teacher

SMALL_MOONS = {**HALF_MOONS, "pool_options": {**HALF_MOONS["pool_options"], "n": 50}}


def small_task(**changes: object) -> Task:
    return cached_task(TaskSpec(**protocol_task(SMALL_MOONS, budget=3, **changes)).to_json())


def unit(pool: dict[str, object], seeds: tuple[int, ...], passes: int) -> Unit:
    return Unit("e", "p", "m", seeds, {"task": protocol_task(pool, budget=4), "passes": passes})


# -------------------------------------------------------------------------------------------------- the DHT protocol


def test_targets_are_those_of_sgd_written_out() -> None:
    task = small_task()
    w0 = dht_protocol.starts(task, (3, 4))
    state = reset(task, Streams.from_seeds([3, 4]))._replace(w=w0)
    found = dht_protocol.trained_in_order([task], state, passes=7, slow_passes=2)
    for run in range(2):
        kernel = w0[run].reshape(2, 2).copy()
        for epoch in range(7):
            for x, label in zip(task.pool.train.x, task.pool.train.labels, strict=True):
                odds = np.exp(x @ kernel)
                residual = odds / odds.sum() - np.eye(2)[label]
                kernel -= (0.001 if epoch < 5 else 0.0001) * np.outer(x, residual)
        assert found[run] == pytest.approx(kernel.ravel(), abs=1e-12)
    assert np.abs(found - w0).max() > 1e-3


def test_starts_classify_badly_and_lie_in_torchs_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    task = small_task()
    w = dht_protocol.starts(task, range(40))
    x, labels = task.pool.test.x, task.pool.test.labels
    accuracy = [((x @ flat.reshape(2, 2)).argmax(1) == labels).mean() for flat in w]
    assert max(accuracy) <= 0.6 and np.abs(w).max() <= 1.0 / np.sqrt(2.0)
    assert np.array_equal(dht_protocol.starts(task, (7, 31)), w[[7, 31]]), "a start depends on its seed only"
    assert len({flat.tobytes() for flat in w}) == 40
    monkeypatch.setattr(dht_protocol, "_DRAWS", 20)
    with pytest.raises(ValueError, match=r"no start with a test accuracy of at most -1.0 in 20 draws"):
        dht_protocol.starts(task, (0,), ceiling=-1.0)


def test_half_moons_of_the_protocol_are_scikit_learns_unscaled_rows() -> None:
    from sklearn.datasets import make_moons

    [cohort] = protocol_cohorts(unit(HALF_MOONS, (5, 6), passes=1))
    x, labels = make_moons(1000, noise=0.2, random_state=0)
    assert np.array_equal(cohort.task.x, x[:800]) and np.array_equal(cohort.task.pool.test.x, x[800:])
    assert np.array_equal(cohort.task.pool.test.labels, labels[800:])
    assert cohort.task.spec.learning_rate == 0.001 and cohort.state.schedule.shape == (2, 4, 1, 1)


def test_runs_of_the_protocol_have_their_own_targets() -> None:
    [cohort] = protocol_cohorts(unit(SMALL_MOONS, (5, 6), passes=2))
    task, state = cohort
    assert state.target.shape == state.w.shape == (2, 4)
    assert not np.allclose(state.target[0], state.target[1])
    assert state.distance == pytest.approx(np.linalg.norm(state.w - state.target, axis=1))
    assert state.difference == pytest.approx(state.target - state.w)
    assert (METRICS["test_accuracy"](task, state) <= 0.6).all()
    again = protocol_cohorts(unit(SMALL_MOONS, (6,), passes=2))[0].state
    assert again.w[0] == pytest.approx(state.w[1]) and again.target[0] == pytest.approx(state.target[1])


def test_mnist_of_the_protocol_has_a_pool_for_each_seed() -> None:
    from teach_gym.data.datasets import load_mnist

    small = {**MNIST, "pool_options": {**MNIST["pool_options"], "n_train": 30, "n_holdout": 20}}
    first, second = protocol_cohorts(unit(small, (5, 6), passes=1))
    assert first.task.x.shape == (30, 24) and not np.allclose(first.task.x, second.task.x)
    assert len(first.task.pool.test) == 20 and first.state.w.shape == (1, 48)
    images, digits = load_mnist(train=True)
    pixels = images[np.isin(digits, (3, 5))].reshape(-1, 784) / 127.5 - 1.0
    generator = np.random.default_rng(5)
    rows = generator.permutation(len(pixels))[:50]
    generator.permutation(int(np.isin(load_mnist(train=False)[1], (3, 5)).sum()))
    projected = pixels[rows] @ (0.1 * generator.standard_normal((784, 24)))
    assert first.task.x == pytest.approx(projected[:30]) and first.task.pool.test.x == pytest.approx(projected[30:])


def test_spectral_distance_by_singular_values(rng: np.random.Generator) -> None:
    task = small_task()
    state = reset(task, Streams.from_seeds(range(5)))
    state = state._replace(w=rng.normal(size=(5, 4)), target=rng.normal(size=(5, 4)))
    for found, flat, goal in zip(spectral_distance(task, state), state.w, state.target, strict=True):
        a, b = flat.reshape(2, 2), goal.reshape(2, 2)
        gap = a / np.sqrt((a * a).sum()) - b / np.sqrt((b * b).sum())
        assert found == pytest.approx(np.linalg.svd(gap)[1][0] ** 2)
    assert (spectral_distance(task, state) <= METRICS["normalized_distance"](task, state) + 1e-12).all()
    one = small_task(learner="logistic")
    state = reset(one, Streams.from_seeds(range(5)))
    assert spectral_distance(one, state) == pytest.approx(METRICS["normalized_distance"](one, state))


def test_every_method_of_figure_3_keeps_its_promises() -> None:
    [cohort] = protocol_cohorts(unit(SMALL_MOONS, (5, 6, 7), passes=2))
    task, state = cohort
    low, high = task.x.min(0), task.x.max(0)
    for name, chosen in METHODS.items():
        teacher = make_teacher(chosen["teacher"])
        example = example_of(task, state, teacher(task, state))
        x, y = example.x[:, 0], example.y[:, 0]
        if "label" in name:
            assert (y >= 0).all() and (np.linalg.norm(y, axis=1) <= 2.0 + 1e-12).all()
        else:
            assert np.array_equal(np.sort(y, axis=1), np.tile([0.0, 1.0], (3, 1)))
        if not name.startswith("DHT"):
            assert all((row == task.x).all(1).any() for row in x)
        elif "per dimension" in name:
            assert (x >= low - 1e-12).all() and (x <= high + 1e-12).all()
        else:
            assert (x >= low.min() - 1e-12).all() and (x <= high.max() + 1e-12).all()


# --------------------------------------------------------------------------------------------------- LAST, Figure 9


def _parted_by_brute_force(x: np.ndarray, positive: np.ndarray) -> bool:
    """Try the lines through all pairs of points, turned a little both ways."""
    if positive.all() or not positive.any():
        return True
    for i, j in itertools.combinations(range(len(x)), 2):
        angle = np.arctan2(*(x[j] - x[i])[::-1]) + np.pi / 2
        for turn in (-1e-7, 1e-7):
            along = x @ [np.cos(angle + turn), np.sin(angle + turn)]
            a, b = along[positive], along[~positive]
            if a.max() < b.min() or b.max() < a.min():
                return True
    return False


def test_separability_by_linear_programming_and_by_brute_force(rng: np.random.Generator) -> None:
    outcomes = []
    for _ in range(150):
        x = rng.normal(size=(7, 2))
        positive = (
            rng.random(7) < 0.5 if rng.random() < 0.5 else x @ rng.normal(size=2) + 0.5 * rng.normal(size=7) > 0.3
        )
        outcomes.append(_parted_by_brute_force(x, positive))
        assert (parted_share(x, positive) == 1.0) == outcomes[-1]
    assert 20 < sum(outcomes) < 130
    square = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    assert parted_share(square, np.array([True, True, False, False])) <= 0.75


def test_labels_of_all_rows_are_the_better_of_both_labels() -> None:
    task = cached_task(TaskSpec(**paper_task("LabelMoons", budget=3, pool_options={"n": 40})).to_json())
    state = reset(task, Streams.from_seeds([1, 2]))
    for run in range(2):
        found = labels_of_all_rows(task, state, make_teacher("last", constraint="one_hot"), run)
        w, goal = state.w[run], state.target[run]
        for x, label in zip(task.x, found, strict=True):
            p = 1.0 / (1.0 + np.exp(-w @ x))
            gaps = [np.linalg.norm(w - task.spec.learning_rate * (p - y) * x - goal) for y in (0.0, 1.0)]
            assert label == float(gaps[1] < gaps[0])
        assert {0.0, 1.0} == set(found.tolist())


def test_figure_9_tests_the_labels_at_every_recorded_iteration() -> None:
    """Also with more iterations than are recorded, those of the published records among them."""
    task = paper_task("LabelMoons", budget=120, pool_options={"n": 20})
    panel = {"task": task, "methods": {METHOD: method("last:constraint=one_hot")}}
    [unit] = panel_units("e", {"panels": {"p": panel}}, (1, 2))
    curves = Curves(run_figure_9(unit).rows)
    parted, distance = (curves.get("p", METHOD, name) for name in ("parted_share", "distance"))
    np.testing.assert_array_equal(parted.iterations, distance.iterations)
    assert {0, 9, 49, 99, 120} <= set(parted.iterations.tolist()) and np.isfinite(parted.values).all()


# -------------------------------------------------------------------------------------------------- LAST, Figure 11


def test_near_the_boundary_is_the_quarter_with_the_smallest_logits() -> None:
    task = cached_task(
        TaskSpec(**paper_task("LabelMNIST", budget=3, **SMALL_DIGITS, target_options={"l2": 0.1})).to_json()
    )
    state = reset(task, Streams.from_seeds([1, 2]))
    n = len(task.x)
    for run in range(2):
        margins = np.abs(task.x @ state.w[run])
        nearest = set(np.argsort(margins)[: int(np.floor(0.25 * (n - 1))) + 1].tolist())
        found = near_boundary(task, np.repeat(state.w[run : run + 1], n, axis=0), np.arange(n))
        assert set(np.flatnonzero(found).tolist()) == nearest
