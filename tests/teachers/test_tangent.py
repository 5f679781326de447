"""Fitted policy iteration: against the exact cost of a linear learner, and on learners with a hidden layer."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from teach_gym.core.build import make_task
from teach_gym.core.randomness import Streams
from teach_gym.core.task import compose, decode, reset, step
from teach_gym.teachers import make_teacher, teach_episodes
from teach_gym.teachers.oracles import tangent

QUICK = {"budget": 20, "medium_options": {"n": 3}}


def test_round_zero_is_greedy() -> None:
    task = make_task("LabelDigitsMLP", **QUICK)
    state = reset(task, Streams.from_seeds(range(30)))
    np.testing.assert_array_equal(tangent.greedy(task).outcomes(state).argmin(0), make_teacher("greedy")(task, state))
    moving = make_task("LabelMomentum")
    state = reset(moving, Streams.from_seeds(range(30)))
    for _ in range(5):
        action = tangent.greedy(moving).outcomes(state).argmin(0)
        np.testing.assert_array_equal(action, make_teacher("anticipating")(moving, state))
        state = step(moving, state, action).state


def test_the_cost_at_the_end_is_the_squared_distance_and_costs_predict_ends() -> None:
    """Greedy policy on regression: on fresh episodes the measured cost explains most of the variance of the ends."""
    task = make_task("LabelRegression", budget=10, tolerance=0.0)
    policy = tangent.greedy(task)
    found = tangent._measured(task, tangent.episodes_of(policy, range(tangent.FIRST_SEED, tangent.FIRST_SEED + 1000)))
    states = tangent.episodes_of(policy, range(500))
    ends = states[-1].distance ** 2
    action = policy.outcomes(states[-2]).argmin(0)
    last = found.outcomes(states[-2])[action, np.arange(500)]
    np.testing.assert_allclose(last, ends, rtol=1e-9)
    early = policy.outcomes(states[3]).argmin(0)
    predicted = found.outcomes(states[3])[early, np.arange(500)]
    assert np.corrcoef(predicted, ends)[0, 1] > 0.75


def test_axes_are_orthonormal_and_span_the_steps_of_a_small_learner() -> None:
    task = make_task("LabelRegression", budget=5)
    axes = tangent._axes(tangent.episodes_of(tangent.greedy(task), range(50)))
    assert axes.shape == (5, 5)
    np.testing.assert_allclose(axes.T @ axes, np.eye(5), atol=1e-9)


def test_a_round_ends_nearer_than_greedy_on_fresh_episodes() -> None:
    task = make_task("LabelDigitsMLP", **QUICK)
    greedy, far = (teach_episodes(task, make_teacher(t), range(150))[1] for t in ("greedy", "lqr:fitted=1"))
    assert scipy.stats.ttest_rel(far, greedy, alternative="less").pvalue < 1e-3


def test_rounds_that_are_worse_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    task = make_task("LabelDigitsMLP", **QUICK)
    monkeypatch.setattr(tangent, "VALIDATION", 20)
    worst = tangent.Measured(task, np.zeros((task.size, 0)), -np.ones((task.spec.budget + 1, 1)))
    monkeypatch.setattr(tangent, "_measured", lambda task, states: worst)
    assert tangent.iterate(task, 1, 10).weights.min() == 1.0


def test_continuous_actions_cost_no_more_than_discrete_ones() -> None:
    task = make_task("LabelDigitsMLP", continuous=True, budget=10)
    teacher = make_teacher("lqr", fitted=1)
    far = teacher.farsight(task)  # type: ignore[attr-defined]
    state = reset(task, Streams.from_seeds(range(10)))
    chosen = far.after(state, compose(task, state, decode(task, teacher(task, state))))
    assert (chosen <= far.outcomes(state).min(0) + 1e-9).all()
