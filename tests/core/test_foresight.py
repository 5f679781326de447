"""The observation ``farsighted`` and the reward ``farsighted_progress``: what steps really lead to, run by run."""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from conftest import VARIANTS, streams, variant

from teach_gym.core.batch import take
from teach_gym.core.build import make_task
from teach_gym.core.foresight import foresight, settings
from teach_gym.core.layout import layout, observe
from teach_gym.core.spec import TaskSpec
from teach_gym.core.state import Task, TeachState
from teach_gym.core.task import reset, step
from teach_gym.envs.base import TeachEnv
from teach_gym.envs.vector import TeachVectorEnv
from teach_gym.registration import TASKS
from teach_gym.teachers import make_teacher

LINEAR = [which for which, kwargs in VARIANTS.items() if not kwargs.get("learner", "").startswith("mlp")]
SEEN = {"observation": "farsighted", "reward": "farsighted_progress"}
DRAWN = {"learning_rate": [0.1, 0.9], "init_scale": [0.5, 2.0], "pool_seed": [3, 5, 8]}


def moved(task: Task, n: int = 5, steps: int = 2) -> TeachState:
    """A state after random steps."""
    state, rng = reset(task, streams(n)), np.random.default_rng(5)
    for _ in range(steps):
        state = step(task, state, rng.integers(task.n_actions, size=n)).state
    return state


def farsight_of(task: Task, state: TeachState) -> np.ndarray:
    """The block ``farsight`` of the observation: (B, 2 + A)."""
    block = next(b for b in layout(task) if b.name == "farsight")
    return observe(task, state, layout(task))[:, block.start : block.start + block.size].astype(np.float64)


def staggered(state: TeachState, horizon: int) -> TeachState:
    """The same runs as if they had made different numbers of steps."""
    return state._replace(t=np.arange(len(state.t)) % horizon)


@pytest.mark.parametrize("which", LINEAR)
def test_farsight_is_what_real_steps_lead_to(which: str) -> None:
    """Each action's cost against that of the state after a real step, and the oracle's choice."""
    task = make_task(**variant(which, **SEEN, tolerance=0.0))
    state, far = moved(task), foresight(task)
    found = farsight_of(task, state)
    after = np.sqrt([far.cost(step(task, state, np.full(5, a)).state) for a in range(task.n_actions)])
    w, velocity = task.update(state.w, state.velocity, np.zeros_like(state.w), state.rate)
    alone = np.sqrt(far.cost(state._replace(w=w, velocity=velocity, t=state.t + 1)))
    np.testing.assert_allclose(found[:, 0], np.log(alone / state.initial_distance + 1e-4), rtol=1e-5, atol=1e-5)
    if task.k == 1:  # with more outputs a constant is left out of the shares
        best = after.min(0)
        np.testing.assert_allclose(found[:, 1], (alone - best) / (alone + best), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found[:, 2:].T, (after - best) / (after.mean(0) - best), rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(found[:, 2:].argmin(1), after.argmin(0))
    np.testing.assert_array_equal(found[:, 2:].argmin(1), make_teacher("lqr")(task, state))


@pytest.mark.parametrize("which", ["label-grid", "momentum", "mixup-batch", "label-mix-uniform"])
@pytest.mark.parametrize(
    "drawn", [(), ("learning_rate",), ("pool_seed",), ("learning_rate", "init_scale", "pool_seed")]
)
def test_each_run_is_seen_as_if_it_were_alone(which: str, drawn: tuple[str, ...]) -> None:
    """Runs with different pools, rates and steps to go, in one batch and one by one."""
    task = make_task(**variant(which, **SEEN, **{name: DRAWN[name] for name in drawn}))
    state = staggered(moved(task, 9), task.spec.budget)
    blocks, after = layout(task), step(task, state, np.zeros(9, dtype=int))
    together = observe(task, state, blocks)
    assert np.isfinite(together).all()
    for i in range(9):
        run = take(state, np.array([i]))
        np.testing.assert_allclose(observe(task, run, blocks)[0], together[i], rtol=1e-5, atol=1e-6)
        assert step(task, run, np.zeros(1, dtype=int)).reward[0] == pytest.approx(after.reward[i], rel=1e-9)


def test_a_drawn_pool_is_seen_as_the_pool_alone() -> None:
    kwargs = variant("label-grid", **SEEN)
    task = make_task(**{**kwargs, "pool_seed": DRAWN["pool_seed"]})
    state = moved(task, 12)
    pools = state.schedule[:, 0, 0, 0] // len(make_task(**{**kwargs, "pool_seed": 3}).x)
    assert set(pools) == {0, 1, 2}
    for i, pool in enumerate(pools):
        own = make_task(**{**kwargs, "pool_seed": DRAWN["pool_seed"][pool]})
        run = take(state, np.array([i]))
        run = run._replace(schedule=run.schedule - pool * len(own.x))
        np.testing.assert_allclose(farsight_of(own, run)[0], farsight_of(task, state)[i], rtol=1e-5, atol=1e-5)


def test_an_agent_sees_another_task_by_that_tasks_own_cost_to_go() -> None:
    """One trained with drawn learning rates is shown them, and the costs of the task that it teaches."""
    plain = make_task("LabelGaussian", **SEEN)
    trained = TaskSpec(**{**TASKS["LabelMoons"], **SEEN, "learning_rate": [0.1, 1.0]})
    blocks, state = layout(plain, trained), moved(plain)
    assert {"farsight", "learning_rate"} <= {b.name for b in blocks}
    block = next(b for b in blocks if b.name == "farsight")
    found = observe(plain, state, blocks)[:, block.start : block.start + block.size]
    np.testing.assert_array_equal(found, farsight_of(plain, state).astype(np.float32))


@pytest.mark.parametrize("kind", SEEN)
def test_learners_with_a_hidden_layer_are_refused_at_construction(kind: str) -> None:
    words = f"{kind} '{SEEN[kind]}' needs a learner without a hidden layer, this one is 'mlp'"
    for make in (make_task, TeachEnv, lambda **kwargs: TeachVectorEnv(num_envs=2, **kwargs)):
        with pytest.raises(ValueError, match=words):
            make(**variant("mlp", **{kind: SEEN[kind]}))


# ---------------------------------------------------------------------------------------------------- the reward


def recursion(task: Task) -> list[np.ndarray]:
    """P_k for k = 0 .. H of a plain learner, from the formula, with the damping recorded for the task."""
    chosen, forms = settings(task.spec), [np.eye(task.d)]
    assert (chosen.drift, chosen.curvature) == (0.0, 0.0)
    for _ in range(task.spec.budget):
        p = forms[-1]
        gains = [np.outer(p @ x, p @ x) / (x @ p @ x) for x in task.x]
        forms.append(p - chosen.damping * np.mean(gains, axis=0))
    return forms


@pytest.mark.parametrize("seed", [0, 1])
def test_the_reward_is_what_the_formula_gives_and_telescopes_to_the_final_distance(seed: int) -> None:
    task = make_task(**variant("label-grid", bias=False, tolerance=0.0, reward="farsighted_progress"))
    forms, rng = recursion(task), np.random.default_rng(seed)
    state, rewards, expected = reset(task, streams(4, seed)), [], []
    floor = 0.02 * state.initial_distance
    for k in range(task.spec.budget, -1, -1):
        delta = state.w - state.target
        expected.append(np.sqrt(np.einsum("bi,ij,bj->b", delta, forms[k], delta)) + floor)
        if k:
            taken = step(task, state, rng.integers(task.n_actions, size=4))
            state = taken.state
            rewards.append(taken.reward)
    np.testing.assert_allclose(rewards, 10 * np.log(np.array(expected[:-1]) / expected[1:]), rtol=1e-8, atol=1e-8)
    final = np.linalg.norm(state.w - state.target, axis=1)
    np.testing.assert_allclose(np.sum(rewards, 0), 10 * np.log(expected[0] / (final + floor)), rtol=1e-8)


@pytest.mark.parametrize("which", LINEAR)
def test_returns_telescope_to_the_final_distance_also_where_episodes_end_early(which: str) -> None:
    task = make_task(**variant(which, reward="farsighted_progress", tolerance=0.0))
    state = start = reset(task, streams(6))
    actions = np.random.default_rng(1).integers(task.n_actions, size=(task.spec.budget, 6))
    middle = step(task, step(task, state, actions[0]).state, actions[1]).state.distance
    early = dataclasses.replace(task, spec=dataclasses.replace(task.spec, tolerance=float(np.median(middle))))
    total, running = np.zeros(6), np.ones(6, dtype=bool)
    initial = 10 * np.log(np.sqrt(foresight(early).cost(start)) / start.initial_distance + 0.02)
    running = start.distance >= early.spec.tolerance
    ends = np.where(running, np.nan, start.distance)
    for action in actions:
        taken = step(early, state, action)
        state, total = taken.state, total + np.where(running, taken.reward, 0.0)
        ends = np.where(running & taken.terminated, state.distance, ends)
        running &= ~taken.terminated
    began = start.distance >= early.spec.tolerance
    wanted = initial - 10 * np.log(ends / start.initial_distance + 0.02)
    np.testing.assert_allclose(total[began], wanted[began], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", ["next-step", "same-step", "disabled"])
@pytest.mark.parametrize("which", ["label-grid", "select", "mixup"])
def test_single_and_vector_environments_agree_while_runs_are_at_different_steps(which: str, mode: str) -> None:
    kwargs: dict[str, Any] = variant(which, **SEEN, tolerance=1.6, learning_rate=0.5)
    n, modes = 4, {mode.name.lower().replace("_", "-"): mode for mode in gym.vector.AutoresetMode}
    vector = TeachVectorEnv(num_envs=n, autoreset_mode=modes[mode], **kwargs)
    singles = [TeachEnv(**kwargs) for _ in range(n)]
    vector.action_space.seed(0)
    seen, _ = vector.reset(seed=7)
    for i, env in enumerate(singles):
        np.testing.assert_allclose(env.reset(seed=7 + i)[0], seen[i], rtol=1e-5, atol=1e-6)
    resting, steps = np.zeros(n, dtype=bool), set()
    for _ in range(30):
        steps.add(len(set(vector.state.t)))
        actions = vector.action_space.sample()
        seen, rewards, over, _, _ = vector.step(actions)
        for i, env in enumerate(singles):
            if resting[i]:
                expected, reward, ended = env.reset()[0], 0.0, False
            else:
                expected, reward, ended, _, _ = env.step(actions[i])
                if ended and mode == "same-step":
                    expected = env.reset()[0]
            np.testing.assert_allclose(seen[i], expected, rtol=1e-4, atol=1e-5)
            assert rewards[i] == pytest.approx(reward, rel=1e-6, abs=1e-6) and over[i] == ended
            resting[i] = ended and mode == "next-step"
        if mode == "disabled" and over.any():
            vector.reset(options={"reset_mask": over})
            for i in np.flatnonzero(over):
                singles[i].reset()
    assert max(steps) > 1
