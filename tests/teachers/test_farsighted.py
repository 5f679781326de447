"""The optimal teacher of free labels and the far-sighted oracle: theory against simulation and least squares."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats

from teach_gym.core.build import make_task
from teach_gym.core.farsighted import farsight
from teach_gym.core.foresight import Settings, recorded, settings
from teach_gym.core.randomness import Streams
from teach_gym.core.resting import input_batches
from teach_gym.core.spec import TaskSpec
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.core.task import advance, compose, reset, step
from teach_gym.errors import DataNotFoundError
from teach_gym.registration import TASKS, task_kwargs
from teach_gym.teachers import Teacher, follow, lesson, make_teacher, teach_episodes
from teach_gym.teachers.oracles.lqr import expected_squares, followed

REGRESSION: dict[str, Any] = {
    "medium": "label",
    "learner": "least_squares",
    "pool": "linear_regression",
    "pool_options": {"d": 6, "n": 80},
    "learning_rate": 0.1,
    "budget": 5,
    "tolerance": 0.0,
}
SOFTMAX: dict[str, Any] = {
    **REGRESSION,
    "learner": "softmax",
    "pool": "gaussian_clusters",
    "pool_options": {"d": 5, "n_classes": 3, "n": 100},
    "target_options": {"l2": 0.05},
}
CASES: dict[str, dict[str, Any]] = {
    "regression": REGRESSION,
    "bias": {**REGRESSION, "bias": True},
    "momentum": {**REGRESSION, "momentum": 0.9},
    "nesterov": {**REGRESSION, "momentum": 0.6, "nesterov": True},
    "decay": {**REGRESSION, "weight_decay": 0.4},
    "momentum, decay": {**REGRESSION, "momentum": 0.5, "weight_decay": 0.4},
    "mini-batch": {**REGRESSION, "batch_size": 2, "budget": 3, "pool_options": {"d": 6, "n": 60}},
    "logistic": {**SOFTMAX, "learner": "logistic", "pool_options": {"d": 5, "n": 100}},
    "softmax": SOFTMAX,
    "softmax, momentum, decay": {**SOFTMAX, "momentum": 0.5, "weight_decay": 0.2, "bias": True},
    "softmax, mini-batch": {**SOFTMAX, "batch_size": 2, "budget": 2, "pool_options": {"d": 5, "n_classes": 3, "n": 75}},
    "drawn rates and pools": {**REGRESSION, "momentum": 0.5, "learning_rate": [0.05, 0.3], "pool_seed": [0, 1]},
    "single precision": {**REGRESSION, "dtype": "float32"},
}
cases = pytest.mark.parametrize("case", CASES)


def ends(task: Task, teacher: Teacher, n: int, first: int = 0) -> tuple[TeachState, np.ndarray]:
    """The states at reset and the squared distances at the end of n episodes."""
    state, transitions = lesson(task, teacher, range(first, first + n))
    *_, last = transitions
    return state, np.asarray(last.state.distance, dtype=np.float64) ** 2


def mean_lies_near(values: np.ndarray, expected: np.ndarray | float) -> bool:
    """Whether the mean of values lies within four standard errors of what is expected of each."""
    gaps = values - expected
    return abs(gaps.mean()) < 4 * gaps.std() / np.sqrt(len(gaps))


def build(name: str, **changes: Any) -> Task:
    try:
        return make_task(name, **changes)
    except DataNotFoundError as error:
        pytest.skip(str(error))


@cases
def test_the_cost_at_reset_is_what_optimal_free_labels_end_with(case: str) -> None:
    task = make_task(**CASES[case])
    first, squares = ends(task, make_teacher("last", horizon="budget"), 4000)
    assert mean_lies_near(squares, farsight(task).cost(first))


@pytest.mark.parametrize("case", ["regression", "bias", "logistic", "softmax", "mini-batch", "softmax, mini-batch"])
@pytest.mark.parametrize("horizon", [1, 2, "budget"])
def test_expected_curves_against_simulation(case: str, horizon: int | str) -> None:
    task = make_task(**CASES[case])
    first, transitions = lesson(task, make_teacher("last", horizon=horizon), range(4000))
    curve = expected_squares(task, first, None if horizon == "budget" else int(horizon))
    assert curve[0] == pytest.approx((first.distance**2).mean())
    for t, transition in enumerate(transitions, 1):
        assert mean_lies_near(transition.state.distance**2, curve[t]), t
    if horizon == "budget":
        assert curve[-1] == pytest.approx(farsight(task).cost(first).mean(), rel=1e-6)


@cases
def test_no_other_free_label_leads_to_less(case: str) -> None:
    """One step before the end and halfway, labels nearby cost more by the cost-to-go of real learners."""
    task = make_task(**CASES[case])
    state, rng = reset(task, Streams.from_seeds(range(40))), np.random.default_rng(0)
    far, teacher = farsight(task), make_teacher("last", horizon="budget")
    for _ in range(task.spec.budget):
        best = teacher(task, state)
        assert isinstance(best, Example)
        least = far.cost(advance(task, state, best).state)
        for size in (1e-2, 1.0):
            shift = size * rng.standard_normal(best.y.shape)
            other = far.cost(advance(task, state, Example(best.x, best.y + shift)).state)
            assert (least <= other * (1 + 1e-5) + 1e-9).all()
        state = advance(task, state, best).state


@pytest.mark.parametrize("case", ["digits", "regression", "softmax", "mini-batch"])
def test_optimal_is_never_worse_than_greedy_for_free_labels(case: str) -> None:
    """P_k <= Q_k in the Loewner order, and the recursion of P_k is that of its own policy."""
    task = make_task("LabelDigits", budget=40) if case == "digits" else make_task(**CASES[case])
    rows, forms = input_batches(task), farsight(task).outlooks[0][0].forms
    greedy = np.eye(rows.shape[-1])
    for k in range(task.spec.budget):
        optimal = np.exp(forms[k].log_scale) * forms[k].matrix
        own = followed(rows, forms[k], optimal)
        following = np.exp(forms[k + 1].log_scale) * forms[k + 1].matrix
        np.testing.assert_allclose(own, following, atol=1e-8)
        greedy = followed(rows, forms[0], greedy)
        assert np.linalg.eigvalsh(greedy - following).min() > -1e-8
    assert np.trace(following) < (0.9 if case == "digits" else 0.995) * np.trace(greedy)


@pytest.mark.parametrize(
    "case", ["regression", "bias", "momentum", "nesterov", "decay", "momentum, decay", "mini-batch"]
)
def test_clairvoyant_labels_against_least_squares_over_all_label_sequences(case: str) -> None:
    """The learner's end is affine in the labels of the whole episode; the teacher reaches the nearest such end."""
    task = make_task(**{**CASES[case], "budget": 2 if "mini" in case else 5})
    n, m, steps = 6, task.spec.batch_size, task.spec.budget
    first = reset(task, Streams.from_seeds(range(n)))

    def end(labels: np.ndarray) -> np.ndarray:
        state = first
        for t in range(steps):
            y = np.broadcast_to(labels[t * m : (t + 1) * m, None], (n, m, 1))
            state = advance(task, state, Example(state.x[:, 0], y)).state
        return np.asarray(state.w - state.target)

    start = end(np.zeros(steps * m))
    ways = np.stack([end(unit) - start for unit in np.eye(steps * m)])
    least = [np.linalg.norm(start[i] - ways[:, i].T @ np.linalg.lstsq(ways[:, i].T, start[i])[0]) for i in range(n)]
    teacher = make_teacher("last", horizon="budget", clairvoyant=True)
    final = teach_episodes(task, teacher, range(n))[1]
    np.testing.assert_allclose(final, least, rtol=1e-5, atol=1e-6)
    assert np.median(least) > 0.1
    honest = teach_episodes(task, make_teacher("last", horizon="budget"), range(n))[1]
    assert (final <= honest + 1e-5).all()


def test_momentum_is_no_obstacle_to_free_labels() -> None:
    """The optimal end has the same expectation whatever the momentum, while the greedy one diverges."""
    plain, heavy = make_task("LabelMoons", tolerance=0.0), make_task("LabelMomentum", tolerance=0.0)
    state = reset(plain, Streams.from_seeds(range(50)))
    moving = state._replace(velocity=np.zeros_like(state.w))
    np.testing.assert_allclose(farsight(heavy).cost(moving), farsight(plain).cost(state), rtol=1e-6)
    greedy = teach_episodes(heavy, make_teacher("last"), range(50))[1]
    optimal = teach_episodes(heavy, make_teacher("last", horizon="budget"), range(50))[1]
    assert greedy.mean() > 1 > 1e-6 > optimal.mean()


@pytest.mark.parametrize("name", ["LabelMomentum", "SelectMomentum"])
@pytest.mark.parametrize("nesterov", [False, True])
def test_anticipating_is_the_far_sighted_teacher_that_counts_on_nothing(name: str, nesterov: bool) -> None:
    task = make_task(name, nesterov=nesterov)
    state = reset(task, Streams.from_seeds(range(50)))
    lqr = make_teacher("lqr", damping=0.0, drift=0.0, curvature=0.0)
    for _ in range(20):
        action = make_teacher("anticipating")(task, state)
        np.testing.assert_array_equal(lqr(task, state), action)
        state = step(task, state, action).state


@pytest.mark.parametrize("name", ["LabelMoons", "MixupDigits10", "PerturbMoons", "SelectDigits", "MixedMoons"])
def test_greedy_is_the_far_sighted_teacher_that_counts_on_nothing(name: str) -> None:
    task = make_task(name)
    state = reset(task, Streams.from_seeds(range(50)))
    lqr = make_teacher("lqr", damping=0.0, drift=0.0, curvature=0.0)
    np.testing.assert_array_equal(lqr(task, state), make_teacher("greedy")(task, state))


def test_a_horizon_of_one_is_greedy_and_one_beyond_the_budget_is_the_budget() -> None:
    task = make_task(**CASES["softmax, mini-batch"])
    state = reset(task, Streams.from_seeds(range(20)))
    far = farsight(task)
    pulled = far.pull(state, state.x[:, 0], np.zeros(20, dtype=int))
    greedy = make_teacher("last")(task, state)
    residual = task.learner.output.residual(task.learner.logits(state.w, greedy.x), greedy.y)
    slope = pulled.s * np.einsum("bmn,bnk->bmk", pulled.gram, residual) - pulled.alignment
    np.testing.assert_allclose(slope - slope.mean(-1, keepdims=True), 0, atol=1e-9)
    for a, b in zip(*(make_teacher("last", horizon=h)(task, state) for h in (99, "budget")), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["LabelDigits", "LabelMNIST", "SelectDigits", "MixupDigits10", "SelectMoons"])
def test_far_sighted_ends_nearer_than_greedy(name: str) -> None:
    """In a one-sided test on paired episodes, with seeds that no setting was tuned on."""
    task = build(name)
    greedy, far = (teach_episodes(task, make_teacher(t), range(40))[1] for t in ("greedy", "lqr"))
    assert scipy.stats.ttest_rel(far, greedy, alternative="less").pvalue < 1e-3


@pytest.mark.parametrize("name", ["LabelMoons", "LabelDigits10", "LabelRegression", "MixupMoons", "PerturbMoons"])
def test_continuous_actions_cost_no_more_than_discrete_or_random_ones(name: str) -> None:
    task = make_task(name, continuous=True)
    state, teacher, rng = reset(task, Streams.from_seeds(range(20))), make_teacher("lqr"), np.random.default_rng(0)
    far = teacher.farsight(task)  # type: ignore[attr-defined]
    low, high = (np.asarray(a, dtype=np.float64) for a in (task.medium.low, task.medium.high))
    gained = 0.0
    for _ in range(5):
        best = far.outcomes(state).min(0)
        after = step(task, state, teacher(task, state)).state
        least = far.cost(after)
        gained += (least < best * (1 - 1e-6)).mean()
        assert (least <= best * (1 + 1e-9) + 1e-12).all()
        actions = low + rng.random((30, 20, *low.shape)) * (high - low)
        random = np.stack([far.cost(step(task, state, action).state) for action in actions])
        if task.spec.medium == "label":
            assert (least <= random * (1 + 1e-9) + 1e-12).all()
        else:  # searched, not exact
            assert (least <= random.min(0)).mean() > 0.8
        state = after
    assert gained > 0.3


@pytest.mark.parametrize("name", TASKS)
def test_settings_are_recorded_whatever_a_task_shows_and_rewards(name: str) -> None:
    kwargs = task_kwargs(name)
    if kwargs["learner"].startswith("mlp") or kwargs.get("observation") == "black_box":
        pytest.skip("not tuned")
    found = recorded(TaskSpec(**kwargs))
    assert found is not None and all(0.0 <= value <= 1.0 for value in found)
    changes = {"observation": "full", "reward": "distance", "dtype": "float32", "continuous": True, "pool_seed": 3}
    assert recorded(TaskSpec(**{**kwargs, **changes})) == found
    assert recorded(TaskSpec(**{**kwargs, "budget": 17})) is None


def test_unknown_tasks_get_the_settings_of_their_medium_and_options_win() -> None:
    spec = make_task("LabelMoons", budget=17).spec
    assert settings(spec) == settings(make_task(medium="label", pool_options={"n": 50}).spec)
    task, teacher = make_task("SelectMoons"), make_teacher("lqr", damping=0.25, drift=0.5, curvature=0.75)
    assert teacher.farsight(task) is farsight(task, *Settings(0.25, 0.5, 0.75))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"damping": 1.5}, ValueError, r"damping must lie in \[0, 1\]"),
        ({"drift": "much"}, TypeError, "drift"),
        ({"curvature": -1}, ValueError, "curvature"),
        ({"fitted": -1}, ValueError, "fitted must lie in"),
        ({"fitted": 0.5}, TypeError, "fitted must be an integer"),
    ],
)
def test_lqr_refuses_options_out_of_range(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make_teacher("lqr", **options)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"horizon": 0}, ValueError, "horizon must be > 0"),
        ({"horizon": "all"}, ValueError, "horizon must be an integer or one of budget, got 'all'"),
        ({"horizon": 1.5}, TypeError, "horizon must be an integer"),
    ],
)
def test_last_refuses_other_horizons(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make_teacher("last", **options)


def test_tasks_without_a_closed_form_are_refused() -> None:
    hidden = make_task("LabelDigitsMLP")
    for name, options in (("lqr", {}), ("last", {"horizon": 3})):
        with pytest.raises(ValueError, match="without a hidden layer, this one is 'mlp_logistic'"):
            make_teacher(name, **options).check(hidden)
    make_teacher("lqr", fitted=1).check(hidden)
    drawn = make_task(**{**CASES["decay"], "learning_rate": [0.1, 0.2]})
    with pytest.raises(ValueError, match="draws learning_rate"):
        make_teacher("last", horizon="budget").check(drawn)
    with pytest.raises(ValueError, match="draws learning_rate"):
        make_teacher("lqr", fitted=1).check(drawn)
    make_teacher("lqr").check(drawn)


def test_compose_and_follow_agree_on_the_discrete_flavour() -> None:
    task = make_task("MixupMoons")
    state = reset(task, Streams.from_seeds(range(5)))
    action = make_teacher("lqr")(task, state)
    shown = compose(task, state, task.medium.decode(action))
    np.testing.assert_array_equal(follow(task, state, make_teacher("lqr")).example.x, shown.x)
