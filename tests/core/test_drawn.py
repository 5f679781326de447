"""Learning rates, initial scales and pools that are drawn at each reset."""

from __future__ import annotations

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
from conftest import streams, variant

from teach_gym.core.backend import norm
from teach_gym.core.batch import take
from teach_gym.core.build import make_task
from teach_gym.core.layout import layout
from teach_gym.core.spec import TaskSpec
from teach_gym.core.state import Example
from teach_gym.core.task import learn, reset, step
from teach_gym.envs.vector import TeachVectorEnv
from teach_gym.teachers import follow, make_teacher, teach_episodes
from teach_gym.teachers.oracles.labels import greedy_labels, make_constraint, project

RANGES = {"learning_rate": [0.1, 0.9], "init_scale": [0.5, 2.0], "pool_seed": [3, 5, 8]}


def test_every_run_is_one_of_a_settled_task() -> None:
    """Whole episodes of the drawn task equal those of ordinary tasks with the values that were drawn."""
    kwargs = {**variant("label-grid"), "momentum": 0.5}
    task = make_task(**{**kwargs, **RANGES})
    state = first = reset(task, streams(8))
    assert state.rate is not None and task.variants is not None
    rng, actions = np.random.default_rng(0), []
    for _ in range(task.spec.budget):
        actions.append(rng.integers(task.n_actions, size=8))
        state = step(task, state, actions[-1]).state
    settled = {s: make_task(**{**kwargs, "pool_seed": s}) for s in RANGES["pool_seed"]}
    seen = set()
    for i in range(8):
        seed = next(s for s, t in settled.items() if np.array_equal(t.target, first.target[i]))
        seen.add(seed)
        own = make_task(**{**kwargs, "pool_seed": seed, "learning_rate": float(first.rate[i])})
        place = RANGES["pool_seed"].index(seed) * len(own.x)
        run = take(first, np.array([i]))._replace(schedule=first.schedule[i : i + 1] - place, rate=None)
        assert run.schedule.min() >= 0 and run.schedule.max() < len(own.x)
        for action in actions:
            run = step(own, run, action[i : i + 1]).state
        np.testing.assert_allclose(run.w[0], state.w[i], rtol=1e-12)
        np.testing.assert_allclose(run.x[0], state.x[i], rtol=1e-12)
    assert len(seen) > 1


def test_draws_fill_their_ranges_evenly() -> None:
    task = make_task(**{**variant("label-grid"), **RANGES})
    state = reset(task, streams(20_000))
    low, high = RANGES["learning_rate"]
    share = np.log(state.rate / low) / np.log(high / low)
    assert share.min() >= 0 and share.max() <= 1
    np.testing.assert_allclose(np.histogram(share, 10, (0, 1))[0] / 20_000, 0.1, atol=0.01)
    counts = np.bincount(state.schedule[:, 0, 0, 0] // task.variants.rows)
    np.testing.assert_allclose(counts / 20_000, 1 / 3, atol=0.02)
    plain = reset(make_task(**variant("label-grid")), streams(20_000))
    assert state.w.std() > plain.w.std()  # a log-uniform scale in [0.5, 2] has mean square 1.35


def test_single_environments_equal_the_vector_environment() -> None:
    kwargs = {**variant("label-grid"), **RANGES}
    many = TeachVectorEnv(num_envs=3, **kwargs)
    from teach_gym.envs.base import TeachEnv

    seen, _ = many.reset(seed=7)
    singles = [TeachEnv(**kwargs) for _ in range(3)]
    for i, env in enumerate(singles):
        np.testing.assert_array_equal(env.reset(seed=7 + i)[0], seen[i])
    for action in (1, 0, 1):
        seen, reward, *_ = many.step(np.full(3, action))
        for i, env in enumerate(singles):
            one, earned, *_ = env.step(action)
            np.testing.assert_allclose(one, seen[i], rtol=1e-6)
            assert earned == pytest.approx(reward[i], rel=1e-9)


def test_the_agent_sees_a_drawn_learning_rate_and_no_other() -> None:
    drawn = make_task(**{**variant("label-grid"), "learning_rate": [0.1, 0.9]})
    names = [b.name for b in layout(drawn)]
    assert names.index("learning_rate") == len(names) - 2 and names[-1] == "budget"
    fixed = make_task(**{**variant("label-grid"), "init_scale": [0.1, 0.9], "pool_seed": [1, 2]})
    assert "learning_rate" not in [b.name for b in layout(fixed)]


def test_greedy_beats_passive_over_the_whole_distribution() -> None:
    task = make_task(**{**variant("label-grid"), **RANGES, "budget": 40})
    ends = {name: teach_episodes(task, make_teacher(name), range(100))[1] for name in ("passive", "greedy")}
    assert np.mean(ends["greedy"] < ends["passive"]) > 0.8


RATES = {
    "logistic": {"bias": True},
    "margin": {"learner": "margin_logistic"},
    "batch": {"learner": "softmax", "batch_size": 2, "target": "trained"},
    "momentum": {"momentum": 0.8, "nesterov": True, "weight_decay": 0.02, "bias": True},
    "mlp": {"learner": "mlp", "learner_options": {"hidden": 3}, "target": "trained"},
    "float32": {"dtype": "float32"},
}
ORACLES = ["last", "last:constraint=soft", "imt", "mixed:constraint=soft", "dht", "dht:labels=True", "planning"]


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("which", RATES)
def test_an_oracle_teaches_each_run_by_its_own_learning_rate(which: str, oracle: str) -> None:
    """As it teaches a task whose learning rate is that run's."""
    if which == "margin" and oracle == "dht:labels=True":
        oracle = "dht"
    medium = {"medium_options": {"kind": "mix"}} if RATES[which].get("batch_size") else {}
    fields = {**variant("label-grid"), **medium, "bias": False, **RATES[which], "budget": 6}
    task, n = make_task(**{**fields, "learning_rate": [0.05, 2.0]}), 5
    state = reset(task, streams(n))
    if state.velocity is not None:
        state = state._replace(velocity=0.3 * streams(n, 9).normal(task.size))
    teacher = make_teacher(oracle)
    teacher.check(task)
    transition = follow(task, state, teacher)
    assert state.rate is not None and np.ptp(state.rate) > 0.2
    for i in range(n):
        settled = make_task(**{**fields, "learning_rate": float(state.rate[i])})
        own = follow(settled, take(state, np.array([i]))._replace(rate=None), make_teacher(oracle))
        tolerance = 2e-3 if which == "float32" else 1e-6
        np.testing.assert_allclose(transition.state.distance[i], own.state.distance[0], rtol=tolerance)


@pytest.mark.parametrize("kind", ["none", "soft", "magnitude_truth"])
def test_no_label_beats_the_greedy_one_at_any_learning_rate(kind: str) -> None:
    """Against labels all around it, and the learner's own update."""
    task = make_task(**{**variant("label-grid"), "learning_rate": [0.02, 5.0]})
    state, constraint = reset(task, streams(40)), make_constraint(kind, 0.7)
    x, truth = state.x[:, 0], state.y[:, 0]
    best = greedy_labels(task, state, x, truth, constraint)
    reached = norm(learn(task, state, Example(x, best))[0] - state.target)
    for shift in np.linspace(-3.0, 3.0, 121):
        y = project(task, constraint, best + shift, task.learner.predict(state.w, x), truth)
        assert (norm(learn(task, state, Example(x, y))[0] - state.target) >= reached - 1e-12).all()


def test_greedy_labels_no_longer_lead_away_where_learning_rates_are_drawn() -> None:
    task = make_task(**{**variant("label-grid"), "learning_rate": [0.05, 5.0], "budget": 40})
    first, last = teach_episodes(task, make_teacher("last"), range(100))
    assert (last <= first + 1e-9).all() and last.mean() < 0.1 * first.mean()


@pytest.mark.parametrize("name", ["planning", "imt", "mixed", "dht"])
def test_teachers_of_one_pool_say_so(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' needs the same pool_seed for all runs"):
        make_teacher(name).check(make_task(**{**variant("label-grid"), "pool_seed": [1, 2]}))


def test_greedy_labels_for_runs_on_different_pools() -> None:
    task = make_task(**{**variant("label-grid"), "pool_seed": [1, 2, 3]})
    state, teacher = reset(task, streams(12)), make_teacher("last")
    found = learn(task, state, teacher(task, state))[0]
    for seed in (1, 2, 3):
        own = make_task(**{**variant("label-grid"), "pool_seed": seed})
        runs = np.flatnonzero((state.target == own.target).all(1))
        some = take(state, runs)
        np.testing.assert_allclose(found[runs], learn(own, some, teacher(own, some))[0], rtol=1e-9)
        assert len(runs)


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("learning_rate", [0.1], ValueError),
        ("learning_rate", [0.9, 0.1], ValueError),
        ("learning_rate", [0.0, 0.1], ValueError),
        ("learning_rate", "0.1", TypeError),
        ("init_scale", [-1.0, 1.0], ValueError),
        ("init_scale", [1.0, "x"], TypeError),
        ("pool_seed", [], ValueError),
        ("pool_seed", [1, -1], ValueError),
        ("pool_seed", [1, 1.5], TypeError),
        ("pool_seed", 2**32, ValueError),
        ("pool_seed", [0] * 1001, ValueError),
    ],
)
def test_wrong_ranges_are_refused(field: str, value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=field):
        TaskSpec(**{**variant("label-grid"), field: value})


def test_specs_with_ranges_survive_json_and_settle() -> None:
    spec = TaskSpec(**{**variant("label-grid"), **RANGES, "learning_rate": (0.1, 0.9)})
    assert TaskSpec.from_json(spec.to_json()) == spec
    assert spec.drawn == ("learning_rate", "init_scale", "pool_seed")
    settled = spec.settled()
    assert [s.pool_seed for s in settled] == [3, 5, 8] and not settled[0].drawn
    assert settled[0].learning_rate == pytest.approx(0.3) and settled[0].init_scale == pytest.approx(1.0)
    assert dataclasses.asdict(spec)["learning_rate"] == [0.1, 0.9]


def test_gym_make_takes_ranges() -> None:
    env = gym.make("teach_gym/LabelMoons-v0", learning_rate=[0.3, 0.9], pool_seed=[1, 2])
    first, _ = env.reset(seed=0)
    second, _ = env.reset()
    assert env.observation_space.contains(first) and first[-2] != second[-2]
