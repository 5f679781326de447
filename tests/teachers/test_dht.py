"""Greedy DHT against brute force: grids, scipy.optimize from many starts, random points, and the pool."""

import dataclasses
import pickle

import numpy as np
import pytest
from scipy.optimize import brentq, minimize
from scipy.special import expit

from teach_gym.core.batch import take
from teach_gym.core.build import make_task
from teach_gym.core.learners import make_learner
from teach_gym.core.randomness import Streams
from teach_gym.core.state import Example
from teach_gym.core.task import advance, compose, decode, learn, reset
from teach_gym.teachers import follow, make_teacher
from teach_gym.teachers.oracles import dht_solvers as solvers
from teach_gym.teachers.oracles.dht import GreedyDHT, label_set
from teach_gym.teachers.oracles.dht_regions import Ball, Box

LABELS = {
    "logistic": lambda rng, k: rng.choice([0.0, 1.0, rng.random()], size=1),
    "margin_logistic": lambda rng, k: rng.choice([-1.0, 1.0], size=1),
    "least_squares": lambda rng, k: 2.0 * rng.standard_normal(k),
    "softmax": lambda rng, k: np.eye(k)[rng.integers(k)] if rng.random() < 0.6 else 1.5 * rng.random(k),
}


def random_problem(rng, name, d, k, region):
    """A problem whose learner, step size, gap, label and region vary over orders of magnitude."""
    learner = make_learner(name, bias=bool(rng.integers(2)))
    size = learner.size(d, k)
    w = np.exp(rng.uniform(-1.5, 2.0)) * rng.standard_normal((1, size))
    gap = np.exp(rng.uniform(-4.0, 1.0)) * rng.standard_normal((1, size))
    low = rng.normal() - 3.0 * rng.random(d)
    if region == "box":
        where = Box(low, low + 0.2 + 4.0 * rng.random(d))
    else:
        where = Ball(2.0 * rng.standard_normal((1, d)), float(np.exp(rng.uniform(-2.0, 1.0))))
    return solvers.Problem(learner, w, gap, np.exp(rng.uniform(-4.0, 1.0, 1)), LABELS[name](rng, k)[None], where)


def squared_distance(problem, x):
    """||gap - eta gradient(w, x, y)||^2 of points x (n, d), written out for one run of a linear learner: (n,)."""
    d, k = x.shape[-1], problem.y.shape[-1]
    w, gap, y = problem.w[0], problem.gap[0], problem.y[0]
    z = x @ w[: d * k].reshape(d, k) + (w[d * k :] if problem.learner.bias else 0.0)
    if problem.learner.name == "least_squares":
        r = z - y
    elif problem.learner.name == "logistic":
        r = expit(z) - y
    elif problem.learner.name == "margin_logistic":
        r = -y * expit(-y * z)
    else:
        e = np.exp(z - z.max(-1, keepdims=True))
        r = y.sum() * e / e.sum(-1, keepdims=True) - y
    # the gradient is the outer product of (x, 1) and r, row by row
    total = sum(((gap[i * k : (i + 1) * k] - problem.eta * x[:, i : i + 1] * r) ** 2).sum(-1) for i in range(d))
    return total + (((gap[d * k :] - problem.eta * r) ** 2).sum(-1) if problem.learner.bias else 0.0)


def random_points(region, n, d, rng):
    if isinstance(region, Box):
        return region.low + (region.high - region.low) * rng.random((n, d))
    v = rng.standard_normal((n, d))
    v *= rng.random((n, 1)) ** (1.0 / d) / np.linalg.norm(v, axis=1, keepdims=True)
    return region.centre[0] + region.radius * v


def inside(region, x, slack=1e-9):
    if isinstance(region, Box):
        return bool((x >= region.low).all() and (x <= region.high).all())
    return bool((np.linalg.norm(x - region.centre, axis=-1) <= region.radius * (1 + slack)).all())


def brute_force(problem, d, rng):
    """Lowest squared distance of a grid (d = 2) or random points, polished by scipy from the best few."""
    region = problem.region
    if d == 2:
        a, b = np.meshgrid(np.linspace(-1, 1, 201), np.linspace(-1, 1, 201))
        unit = np.stack([a.ravel(), b.ravel()], axis=1)
        if isinstance(region, Box):
            points = region.low + 0.5 * (unit + 1.0) * (region.high - region.low)
        else:
            points = region.centre[0] + region.radius * unit[np.linalg.norm(unit, axis=1) <= 1.0]
    else:
        points = random_points(region, 3000, d, rng)
    values = squared_distance(problem, points)
    order = np.argsort(values)
    best = values[order[0]]
    scale = (problem.gap**2).sum()

    def f(x):
        return squared_distance(problem, x[None])[0] / scale

    for i in (order[0], order[20], order[200]):
        if isinstance(region, Box):
            bounds = list(zip(region.low, region.high, strict=True))
            found = minimize(f, points[i], method="L-BFGS-B", bounds=bounds, options={"maxfun": 300}).x
        else:
            centre, radius = region.centre[0], region.radius
            ball = {"type": "ineq", "fun": lambda x, c=centre, r=radius: r**2 - ((x - c) ** 2).sum()}
            found = minimize(f, points[i], method="SLSQP", constraints=[ball], options={"maxiter": 40}).x
            if not inside(region, found):
                found = region.project(found[None, None])[0, 0]
        best = min(best, scale * f(found))
    return best


def solve(problem, d, rng):
    start = random_points(problem.region, 1, d, rng)[None]
    if not solvers.exact(problem.learner, problem.y.shape[-1]):
        start = np.concatenate([start, solvers.descent_starts(problem, d)], axis=1)
    return solvers.solve(problem, start)


def excesses(name, k, region, n, seed):
    """Our value less brute force's, in units of the values' scale, for n random problems."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        d = 2 if i % 2 else int(rng.choice([1, 3, 4, 6]))
        problem = random_problem(rng, name, d, k, region)
        x = solve(problem, d, rng)
        assert inside(problem.region, x)
        brute = brute_force(problem, d, rng)
        found.append((squared_distance(problem, x)[0] - brute) / (brute + (problem.gap**2).sum()))
    return np.array(found)


@pytest.mark.parametrize("region", ["box", "ball"])
@pytest.mark.parametrize(("name", "k"), [("logistic", 1), ("margin_logistic", 1), ("least_squares", 1), ("softmax", 2)])
def test_one_logit_learners_are_solved_exactly(name, k, region):
    excess = excesses(name, k, region, 40, seed=1)
    assert excess.max() < 1e-6


@pytest.mark.parametrize(("name", "k"), [("softmax", 4), ("least_squares", 3)])
@pytest.mark.parametrize("region", ["box", "ball"])
def test_descent_finds_what_brute_force_finds(name, k, region):
    excess = excesses(name, k, region, 40, seed=2)
    assert np.mean(excess < 1e-5) >= 0.95
    assert np.mean(np.maximum(excess, 0.0)) < 1e-2


def test_box_slice_is_the_optimum_of_its_quadratic():
    rng = np.random.default_rng(3)
    for _ in range(100):
        d = int(rng.integers(1, 9))
        low = rng.standard_normal(d)
        box = Box(low, low + rng.random(d) + 0.01)
        u, q, alpha = rng.standard_normal(d), 3.0 * rng.standard_normal(d), np.exp(rng.uniform(-3, 3))
        u[rng.random(d) < 0.2] = 0.0
        ends = [(u * np.where((u > 0) == upper, box.high, box.low)).sum() for upper in (False, True)]
        s = ends[0] + (ends[1] - ends[0]) * rng.uniform(0.05, 0.95)
        x = box.slice(u[None], np.array([[s]]), q[None, None], np.array([[alpha]]))[0, 0]
        assert x @ u == pytest.approx(s, abs=1e-10)
        assert inside(box, x[None])
        if not u.any():
            assert x == pytest.approx(np.clip(q / alpha, box.low, box.high), abs=1e-12)
            continue
        t = brentq(lambda t, b=box, q=q, u=u, a=alpha, s=s: np.clip((q + t * u) / a, b.low, b.high) @ u - s, -1e7, 1e7)
        assert x == pytest.approx(np.clip((q + t * u) / alpha, box.low, box.high), abs=1e-6)


def test_ball_slice_is_the_optimum_of_its_quadratic():
    rng = np.random.default_rng(4)
    for _ in range(100):
        d = int(rng.integers(2, 9))
        ball = Ball(rng.standard_normal((1, d)), float(np.exp(rng.uniform(-2, 1))))
        u, q, alpha = rng.standard_normal(d), 3.0 * rng.standard_normal(d), np.exp(rng.uniform(-2, 2))
        share = rng.uniform(-0.95, 0.95)
        s = u @ ball.centre[0] + share * ball.radius * np.linalg.norm(u)
        x = ball.slice(u[None], np.array([[s]]), q[None, None], np.array([[alpha]]))[0, 0]
        assert x @ u == pytest.approx(s, abs=1e-9)
        assert inside(ball, x[None])
        # points of the same slice: the centre moved along u, and anything orthogonal to u within the room left
        v = rng.standard_normal((2000, d))
        v -= np.outer(v @ u, u) / (u @ u)
        v *= rng.random((2000, 1)) * ball.radius * np.sqrt(1 - share**2) / np.linalg.norm(v, axis=1, keepdims=True)
        others = ball.centre[0] + share * ball.radius * u / np.linalg.norm(u) + v
        values = alpha * (others**2).sum(-1) - 2.0 * others @ q
        assert alpha * x @ x - 2.0 * x @ q <= values.min() + 1e-9


@pytest.mark.parametrize(
    ("name", "k"), [("softmax", 4), ("least_squares", 3), ("logistic", 1), ("mlp", 3), ("mlp_logistic", 1)]
)
@pytest.mark.parametrize("bias", [False, True])
def test_slope_against_torch_autograd(name, k, bias):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    learner = make_learner(name, bias=bias, **({"hidden": 7} if name.startswith("mlp") else {}))
    b, c, d = 4, 5, 3
    size = learner.size(d, k)
    w, gap = rng.standard_normal((2, b, size))
    problem = solvers.Problem(learner, w, gap, np.full(b, 0.4), rng.random((b, k)), Box(-np.ones(d), np.ones(d)))
    x = rng.standard_normal((b, c, d))
    value, slope = solvers.slope(problem, x)
    points = torch.tensor(x, requires_grad=True)
    y = torch.tensor(problem.y)[:, None, None].expand(b, c, 1, k)
    weights = torch.tensor(w)[:, None].expand(b, c, size)
    gradient = learner.gradient(weights, points[:, :, None], y)
    after = ((torch.tensor(gap)[:, None] - 0.4 * gradient) ** 2).sum(-1)
    after.sum().backward()
    assert value + (gap**2).sum(-1)[:, None] == pytest.approx(after.detach().numpy(), rel=1e-10)
    assert slope == pytest.approx(points.grad.numpy(), rel=1e-8, abs=1e-10)


CLUSTERS = {"pool": "gaussian_clusters", "learner": "softmax", "learning_rate": 0.05}
TASKS = {
    "logistic": {"bias": True, "learning_rate": 0.2},
    "softmax2": {"learner": "softmax", "bias": True, "learning_rate": 0.2},
    "regression": {"learner": "least_squares", "pool": "linear_regression", "learning_rate": 0.05},
    "margin32": {"learner": "margin_logistic", "dtype": "float32", "learning_rate": 0.2},
    "margin": {"learner": "margin_logistic", "learning_rate": 0.2},
    "momentum": {"bias": True, "momentum": 0.9, "learning_rate": 0.05},
    "nesterov": {"momentum": 0.8, "nesterov": True, "weight_decay": 0.01, "learning_rate": 0.05},
    "softmax4": {**CLUSTERS, "pool_options": {"n_classes": 4}, "bias": True},
    "batch": {"bias": True, "batch_size": 3, "medium": "perturb", "learning_rate": 0.2},
    "softmax4 batch": {**CLUSTERS, "pool_options": {"n_classes": 4}, "batch_size": 2, "medium": "perturb"},
    "mlp": {"learner": "mlp_logistic", "target": "trained", "learning_rate": 0.1, "learner_options": {"hidden": 5}},
}


def some_state(task, n=4, steps=2):
    """States some plain steps into an episode, so that momentum buffers are not empty."""
    state = reset(task, Streams.from_seeds(range(n)))
    for _ in range(steps):
        state = advance(task, state, Example(state.x[:, 0], state.y[:, 0])).state
    return state


def after(task, state, x, y):
    return np.linalg.norm(learn(task, state, Example(x, y))[0] - state.target, axis=-1)


@pytest.mark.parametrize("region", ["box", "ball"])
@pytest.mark.parametrize("name", TASKS)
def test_no_random_point_nor_pool_row_of_the_region_is_better(name, region):
    """The true distance after the learner's update, row by row with the other rows as they are."""
    task = make_task(**TASKS[name])
    teacher = GreedyDHT(region=region, radius=0.7)
    teacher.check(task)
    state = some_state(task)
    x, y = teacher(task, state)
    assert x.dtype == task.spec.dtype
    assert np.array_equal(y, state.y[:, 0])
    rng = np.random.default_rng(0)
    slack = 1e-5 if task.spec.dtype == "float32" else 1e-9
    for i in range(len(x)):
        one = take(state, np.array([i]))
        ours = after(task, one, x[i : i + 1], y[i : i + 1])[0]
        assert ours <= after(task, one, one.x[:, 0], one.y[:, 0])[0] + slack
        for row in range(task.spec.batch_size):
            source = one.x[0, 0, row].astype(float)
            where = Box(task.x.min(0), task.x.max(0)) if region == "box" else Ball(source[None], 0.7)
            assert inside(where, x[i, row][None].astype(float), slack=1e-6)
            pool = task.x if region == "box" else task.x[np.linalg.norm(task.x - source, axis=1) <= 0.7]
            candidates = [pool]
            if name not in ("mlp", "softmax4", "softmax4 batch"):
                candidates.append(random_points(where, 500, task.d, rng))
            rows = np.concatenate(candidates)
            # in a mini-batch earlier rows were optimised before the later ones moved: only the last row is optimal
            if row < task.spec.batch_size - 1:
                continue
            many = take(state, np.full(len(rows), i))
            shown = np.repeat(x[i : i + 1], len(rows), axis=0)
            shown[:, row] = rows
            others = after(task, many, shown, np.repeat(y[i : i + 1], len(rows), axis=0))
            assert ours <= others.min() + slack


def test_mini_batch_sweeps_improve_on_optimising_one_row():
    """Three rows together reach at least what one optimised row with two plain ones does."""
    task = make_task(**TASKS["batch"])
    state = some_state(task, n=20)
    x, y = GreedyDHT()(task, state)
    plain = state.x[:, 0].copy()
    plain[:, 0] = x[:, 0]
    assert (after(task, state, x, y) <= after(task, state, plain, y) + 1e-12).all()
    assert (after(task, state, x, y) < 0.999 * after(task, state, state.x[:, 0], y)).all()


@pytest.mark.parametrize("name", ["logistic", "softmax4", "batch"])
@pytest.mark.parametrize("labels", [False, True])
def test_a_batch_equals_one_by_one(name, labels):
    task = make_task(**TASKS[name])
    state = some_state(task, n=6)
    teacher = GreedyDHT(labels=labels)
    x, y = teacher(task, state)
    for i in range(6):
        xi, yi = teacher(task, take(state, np.array([i])))
        assert xi[0] == pytest.approx(x[i], abs=1e-6)
        assert yi[0] == pytest.approx(y[i], abs=1e-6)


def test_blocks_of_the_batch_change_nothing():
    task = make_task(**TASKS["logistic"])
    state = some_state(task, n=7)
    teacher = GreedyDHT()
    whole = teacher._features(task, state, state.y[:, 0])
    parts = solvers.in_blocks(
        lambda runs: teacher._features(task, take(state, runs), state.y[runs, 0]), rows=7, cost=1_000_000
    )
    assert parts == pytest.approx(whole, abs=1e-9)


@pytest.mark.parametrize("name", ["logistic", "softmax4", "margin32"])
def test_uniform_labels_are_drawn_for_each_run_and_step(name):
    task = make_task(**TASKS[name])
    state = some_state(task, n=30, steps=0)
    first = GreedyDHT(label_source="uniform")
    a, b = first(task, state), GreedyDHT(label_source="uniform")(task, state)
    c = first(task, state._replace(key=state.key + 1))
    assert np.array_equal(a.x, b.x)
    assert np.array_equal(a.y, b.y)
    assert not np.array_equal(a.y, c.y)
    choices = label_set(task)
    used = {tuple(row) for row in a.y[:, 0]} | {tuple(row) for row in c.y[:, 0]}
    assert used == {tuple(row) for row in choices}
    later = first(task, follow(task, state, first).state)
    assert not np.array_equal(a.y, later.y)


def test_regression_has_no_label_set():
    task = make_task(**TASKS["regression"])
    state = some_state(task)
    assert np.array_equal(GreedyDHT(label_source="uniform")(task, state).y, state.y[:, 0])


@pytest.mark.parametrize(
    ("name", "constraint"),
    [
        *(
            (name, c)
            for name in ("logistic", "softmax4", "momentum")
            for c in (None, "soft", "magnitude_truth", "none")
        ),
        ("margin", None),
        ("regression", None),
    ],
)
def test_label_synthesis_never_makes_a_step_worse(name, constraint):
    """Every one of these constraints allows the ground truth, so the greedy label is at least as good."""
    task = make_task(**TASKS[name])
    state = some_state(task, n=8)
    plain, single, double = (
        after(task, state, *teacher(task, state))
        for teacher in (
            GreedyDHT(),
            GreedyDHT(labels=True, constraint=constraint),
            GreedyDHT(labels=True, constraint=constraint, rounds=3),
        )
    )
    assert (single <= plain + 1e-9).all()
    assert (double <= single + 1e-9).all()
    if constraint != "soft" and name != "margin":  # the best soft label for the best x may be the vertex x was made for
        assert (single < plain - 1e-6).any()


@pytest.mark.parametrize("name", ["logistic", "regression", "softmax4"])
@pytest.mark.parametrize("labels", [False, True])
def test_a_learner_at_its_target_is_left_there(name, labels):
    task = make_task(**TASKS[name])
    state = some_state(task)
    state = state._replace(w=state.target.copy())
    x, y = GreedyDHT(labels=labels)(task, state)
    assert np.isfinite(x).all()
    assert np.isfinite(y).all()
    assert (after(task, state, x, y) < 0.05).all()


def test_cone_labels_obey_the_cone():
    task = make_task(**TASKS["softmax4"])
    y = GreedyDHT(labels=True)(task, some_state(task, n=20)).y
    assert y.min() >= 0.0
    assert np.linalg.norm(y, axis=-1).max() <= 2.0 + 1e-9


@pytest.mark.parametrize("region", ["box", "ball"])
def test_an_action_of_the_continuous_perturb_task_reaches_the_example(region):
    task = make_task(
        medium="perturb", continuous=True, learning_rate=0.2, medium_options={"region": region, "radius": 0.5}
    )
    state = some_state(task)
    example = GreedyDHT(region=region, radius=0.5)(task, state)
    action = example.x if region == "box" else (example.x - state.x[:, 0]) / 0.5
    reached = compose(task, state, decode(task, action))
    assert reached.x == pytest.approx(example.x, abs=1e-9)
    assert np.array_equal(reached.y, example.y)


def test_global_box_contains_the_per_dimension_box():
    task = make_task(pool="linear_regression", learner="least_squares", learning_rate=0.05)
    state = some_state(task, n=12)
    narrow, wide = (after(task, state, *GreedyDHT(box=box)(task, state)) for box in ("per_dimension", "global"))
    assert (wide <= narrow + 1e-7).all()
    assert (wide < narrow - 1e-6).any()


@pytest.mark.parametrize("options", [{}, {"region": "ball"}, {"label_source": "uniform"}, {"labels": True}])
def test_teaching_half_moons_beats_plain_sgd(options):
    task = make_task(bias=True, learning_rate=0.05, budget=60)
    final = {}
    for name in ("passive", "dht"):
        state = reset(task, Streams.from_seeds(range(12)))
        teacher = make_teacher(name, **(options if name == "dht" else {}))
        for _ in range(60):
            state = follow(task, state, teacher).state
        final[name] = state.distance / state.initial_distance
    assert final["dht"].mean() < 0.9 * final["passive"].mean()
    assert np.mean(final["dht"] < final["passive"]) > 0.8


@pytest.mark.parametrize("options", [{}, {"region": "ball"}])
def test_gradient_evaluations_are_those_made(options):
    """Counted at the learner's residual, for one run and one example."""
    task = make_task(bias=True)
    output, count = task.learner.output, [0]

    def counted(z, y):
        count[0] += z.shape[0] * z.shape[1]
        return output.residual(z, y)

    learner = dataclasses.replace(task.learner, output=output._replace(residual=counted))
    counting = dataclasses.replace(task, learner=learner)
    teacher = GreedyDHT(**options)
    teacher(counting, some_state(task, n=1))
    assert teacher.gradient_evaluations(task) == count[0]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"region": "sphere"}, ValueError, "sphere"),
        ({"box": "huge"}, ValueError, "huge"),
        ({"label_source": "model"}, ValueError, "model"),
        ({"radius": 0.0}, ValueError, "radius"),
        ({"radius": "1"}, TypeError, "radius"),
        ({"labels": 1}, TypeError, "labels"),
        ({"rounds": 2}, ValueError, "labels=True"),
        ({"labels": True, "rounds": 1.5}, TypeError, "rounds"),
        ({"constraint": "round"}, ValueError, "round"),
        ({"label_radius": -1.0}, ValueError, "radius"),
    ],
)
def test_bad_options(options, error, text):
    with pytest.raises(error, match=text):
        make_teacher("dht", **options)


def test_check_refuses_a_constraint_that_does_not_fit():
    task = make_task(**TASKS["regression"])
    GreedyDHT(labels=True, constraint="none").check(task)
    with pytest.raises(ValueError, match="soft"):
        GreedyDHT(labels=True, constraint="soft").check(task)


@pytest.mark.parametrize("name", ["softmax2", "margin", "regression"])
def test_a_pickled_task_is_taught_alike(name):
    task = make_task(**TASKS[name])
    state = some_state(task)
    other = pickle.loads(pickle.dumps(task))
    teacher = GreedyDHT(labels=True)
    assert teacher.gradient_evaluations(other) == teacher.gradient_evaluations(task)
    for ours, theirs in zip(teacher(task, state), teacher(other, state), strict=True):
        assert np.array_equal(ours, theirs)


def test_torch_states_are_refused():
    pytest.importorskip("torch")
    from teach_gym.core.backend import to_torch

    task = make_task(bias=True)
    with pytest.raises(TypeError, match="numpy"):
        GreedyDHT()(task, to_torch(some_state(task)))
