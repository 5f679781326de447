"""Black-box tasks: what the agent gets, by brute force, and that nothing of it depends on the target."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from conftest import names, streams, variant
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error

from teach_gym.benchmark.execute import execute
from teach_gym.benchmark.suite import Suite, expand
from teach_gym.benchmark.summary import summarize
from teach_gym.core.backend import to_torch
from teach_gym.core.batch import put, take
from teach_gym.core.build import make_task
from teach_gym.core.holdout import remember, representatives
from teach_gym.core.layout import bounds, layout, observe
from teach_gym.core.rewards import HOLDOUT_REWARDS
from teach_gym.core.spec import BLACK_BOX
from teach_gym.core.state import Task, TeachState
from teach_gym.core.task import compose, reset, step
from teach_gym.data.pools import make_pool
from teach_gym.envs.base import TeachEnv
from teach_gym.envs.vector import TeachVectorEnv
from teach_gym.registration import TASKS, env_id
from teach_gym.teachers import make_teacher

WHICH = (
    "label-grid",
    "label-grid-margin",
    "label-mix-uniform",
    "label-mix-prediction",
    "label-offset-prediction",
    "mixup-batch",
    "perturb-ball",
    "select-batch",
    "mixed-grid",
    "mlp",
    "momentum",
)
every = pytest.mark.parametrize("which", WHICH)
rewards = pytest.mark.parametrize("reward", HOLDOUT_REWARDS)


def black(which: str, **changes: Any) -> dict[str, Any]:
    return variant(which, **{"observation": "black_box", "reward": "holdout_progress", **changes})


def classed(reward: str, which: str) -> None:
    if reward == "steps_to_accuracy" and which == "label-offset-prediction":
        pytest.skip("regression has no accuracy")


def walk(task: Task, n: int = 3, seed: int = 0, steps: int | None = None) -> list[tuple[Any, ...]]:
    """States, actions, rewards, ends and examples of random actions: (before, reward, terminated, example, after)."""
    rng, state, steps = np.random.default_rng(seed), reset(task, streams(n)), steps or task.spec.budget
    taken = []
    for _ in range(steps):
        transition = step(task, state, rng.integers(task.n_actions, size=n))
        taken.append((state, transition.reward, transition.terminated, transition.example, transition.state))
        state = transition.state
    return taken


# ---------------------------------------------------------------------------------------------- no trace of the target


def moved(state: TeachState) -> TeachState:
    """The same runs with another target."""
    target = 3.0 * state.target + 1.0
    difference = target - state.w
    distance = np.linalg.norm(difference, axis=1)
    return state._replace(target=target, difference=difference, distance=distance, initial_distance=2.0 * distance)


@every
@rewards
def test_observation_reward_and_end_do_not_depend_on_the_target(which: str, reward: str) -> None:
    classed(reward, which)
    task = make_task(**black(which, reward=reward, tolerance=1e3))
    blocks = layout(task)
    state = reset(task, streams(4))
    other = moved(state)
    rng = np.random.default_rng(0)
    for _ in range(task.spec.budget):
        np.testing.assert_array_equal(observe(task, state, blocks), observe(task, other, blocks))
        action = rng.integers(task.n_actions, size=4)
        a, b = step(task, state, action), step(task, other, action)
        np.testing.assert_array_equal(a.reward, b.reward)
        np.testing.assert_array_equal(a.terminated, b.terminated)
        state, other = a.state, b.state
    assert not np.allclose(state.distance, other.distance)


def everything(env: gym.Env[Any, Any]) -> list[Any]:
    """All that an agent gets in an episode."""
    env.action_space.seed(1)
    found: list[Any] = [env.reset(seed=3)]
    while len(found) == 1 or not found[-1][2]:
        found.append(env.step(env.action_space.sample()))
    return found


def test_envs_with_different_targets_cannot_be_told_apart() -> None:
    kwargs = [black("label-grid", target="given", target_options={"w": w}) for w in ([0.0, 0.0, 0.0], [5.0, -3.0, 1.0])]
    a, b = (everything(TeachEnv(**k)) for k in kwargs)
    np.testing.assert_equal(a, b)
    a, b = (everything(TeachEnv(**k, debug=True)) for k in kwargs)
    assert a[0][1]["distance"] != b[0][1]["distance"]
    vectors = [TeachVectorEnv(3, **k) for k in kwargs]
    for env in vectors:
        env.action_space.seed(2)
    np.testing.assert_equal(*(env.reset(seed=0) for env in vectors))
    for _ in range(20):
        np.testing.assert_equal(*(env.step(env.action_space.sample()) for env in vectors))


@pytest.mark.parametrize("mode", ["next_step", "same_step"])
@pytest.mark.parametrize("debug", [False, True])
def test_info_tells_the_distance_only_to_debug(mode: str, debug: bool) -> None:
    env = TeachVectorEnv(2, autoreset_mode=mode, **black("label-grid", budget=2, debug=debug))
    infos = [env.reset(seed=0)[1]]
    for _ in range(6):
        info = env.step(np.zeros(2, dtype=int))[4]
        infos += [info, *([info["final_info"]] if "final_info" in info else [])]
    assert len(infos) == (10 if mode == "same_step" else 7)
    assert all(("distance" in info) == ("_distance" in info) == debug for info in infos)
    single = TeachEnv(**black("label-grid", debug=debug))
    assert ("distance" in single.reset(seed=0)[1]) == debug
    assert set(single.step(0)[4]) == {"label", "features", "diverged"} | ({"distance"} if debug else set())


def test_a_black_box_episode_lasts_the_budget_however_near_the_target() -> None:
    near = TeachEnv(**black("label-grid", tolerance=1e6))
    assert len(everything(near)) == near.task.spec.budget + 1
    seen = TeachEnv(**variant("label-grid", tolerance=1e6))
    assert len(everything(seen)) == 2


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"reward": "progress"}, ValueError, "holdout_progress.*'progress'.*debug"),
    ({"reward": "distance"}, ValueError, "holdout_accuracy.*'distance'"),
    ({"medium_options": {"kind": "mix", "p": "target"}}, ValueError, "pretrained.*'target'"),
    ({"probes": 0}, ValueError, "probes.*0"),
    ({"probes": 1000}, ValueError, "probes.*20 hold-out rows.*1000"),
    ({"holdout_rows": 2.5}, TypeError, r"holdout_rows.*integer.*2\.5"),
    ({"zeta": 1.5}, ValueError, r"zeta.*\(0, 1\].*1\.5"),
    ({"zeta": "high"}, TypeError, "zeta.*number.*'high'"),
    ({"debug": 1}, TypeError, "debug.*True or False.*1"),
]


@pytest.mark.parametrize(("changes", "kind", "message"), BAD, ids=str)
def test_bad_arguments(changes: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        make_task(**black("label-grid", **changes))


def test_steps_to_an_accuracy_need_classes() -> None:
    with pytest.raises(ValueError, match=r"steps_to_accuracy.*linear_regression"):
        make_task(**black("label-offset-prediction", reward="steps_to_accuracy"))
    make_task(**black("label-grid", reward="progress", debug=True))


# ------------------------------------------------------------------------------------------------------- brute force


def mean_loss(task: Task, w: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """Mean loss of one learner (P,) on rows x (n, d) with labels y (n, K), by the textbook."""
    z = task.learner.logits(w, x)
    if task.learner.name == "least_squares":
        return float(0.5 * ((z - y) ** 2).sum(1).mean())
    if task.learner.name == "margin_logistic":
        return float(np.log(1 + np.exp(-y * z)).sum(1).mean())
    if task.k == 1:
        p = 1 / (1 + np.exp(-z))
        return float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).sum(1).mean())
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    return float(-(y * np.log(p)).sum(1).mean())


def class_table(task: Task, y: np.ndarray) -> np.ndarray:
    """Labels or predictions (n, K) as a column for each class; regression: as they are."""
    if task.k > 1 or task.pool.n_classes == 0:
        return y
    upper = (y + 1) / 2 if task.learner.name == "margin_logistic" else y
    return np.column_stack([1 - upper, upper])


def offered(task: Task, w: np.ndarray, x: np.ndarray, y: np.ndarray) -> dict[str, list[list[float]]]:
    """What the rows offered (M, m, .) tell, source by source, by loops; regression has only the residual."""
    hold, found = task.holdout, []
    at_hold = class_table(task, task.learner.predict(w, hold.x))
    decided = at_hold.argmax(1)
    for source_x, source_y in zip(x, y, strict=True):
        rows = []
        for p, t in zip(class_table(task, task.learner.predict(w, source_x)), class_table(task, source_y), strict=True):
            if task.pool.n_classes == 0:
                rows.append({"residual": [t[0] - p[0]]})
                continue
            c, named = t.argmax(), p.argmax()
            own, chosen = hold.labels == c, decided == named
            excess = at_hold.mean(0) - [np.mean(hold.labels == k) for k in range(task.pool.n_classes)]
            right = decided == hold.labels
            rival = np.delete(p, c).max()
            whole = mean_loss(task, w, hold.x, hold.y)
            rows.append(
                {
                    "agreement": [p[c]],
                    "margin": [np.log((p[c] + 1e-4) / (rival + 1e-4))],
                    "confidence": [p.max()],
                    "given_class": [mean_loss(task, w, hold.x[own], hold.y[own]) - whole, right[own].mean(), excess[c]],
                    "predicted_class": [right[chosen].mean() if chosen.any() else right.mean(), excess[named]],
                }
            )
        found.append({name: np.mean([row[name] for row in rows], axis=0) for name in rows[0]})
    return {name: np.transpose([source[name] for source in found]) for name in found[0]}


@every
def test_what_the_agent_sees_by_brute_force(which: str) -> None:
    task = make_task(**black(which, holdout_rows=15, probes=4))
    blocks, hold = layout(task), task.holdout
    assert hold.x.shape == (15, task.d)
    np.testing.assert_array_equal(hold.x, task.pool.holdout.x[:15])
    taken = walk(task)
    shown, losses = [[] for _ in range(3)], [[] for _ in range(3)]
    extra = float(task.spec.bias)
    mean_size = np.mean((task.pool.train.x**2).sum(1) + extra)
    for t, state in enumerate([taken[0][0], *(after for *_, after in taken)]):
        seen = observe(task, state, blocks)
        low, high = bounds(blocks)
        assert (seen >= low - 1e-6).all() and (seen <= high + 1e-6).all()
        for b in range(3):
            w, part = state.w[b], {k.name: seen[b, k.start : k.start + k.size] for k in blocks}
            if t:
                before, _, _, example, _ = taken[t - 1]
                y = np.broadcast_to(example.y, (3, task.spec.batch_size, task.k))[b]
                shown[b].append(mean_loss(task, before.w[b], example.x[b], y))
            losses[b].append(mean_loss(task, w, hold.x, hold.y))
            x, y, past = state.x[b], state.y[b], losses[b]
            actions = [compose(task, take(state, np.array([b])), v[None]) for v in task.medium.candidates]
            p = class_table(task, task.learner.predict(w, hold.x))
            right = mean_squared_error(hold.labels, p[:, 0]) * -1
            if task.pool.n_classes:
                right = accuracy_score(hold.labels, p.argmax(1))
            gains = [1 - new / old for old, new in pairwise(past)]
            recent, lately = 0.0, 0.0
            for i, gain in enumerate(gains, start=1):
                recent += 0.1 * (gain - recent)
                lately += max(0.1, 1 / i) * (shown[b][i - 1] - lately)
            stale = len(past) - 1 - int(np.argmin(past))
            unit = np.sqrt((x**2).sum(-1))
            labels = [class_table(task, source) for source in y]
            expected = {
                **offered(task, w, x, y),
                "loss": [mean_loss(task, w, np.broadcast_to(e.x, (1, *x.shape[1:]))[0], e.y[0]) for e in actions],
                "size": ((x**2).sum(-1) + extra).mean(-1) / mean_size,
                "likeness": [
                    [((x[0] * other).sum(-1) / (unit[0] * np.linalg.norm(other, axis=-1))).mean() for other in x[1:]],
                    [(labels[0] * other).sum(-1).mean() for other in labels[1:]],
                ],
                "standing": [
                    right,
                    past[-1],
                    np.log(past[-1] / past[0] + 1e-4),
                    np.log((past[-1] + 1e-4) / (min(past) + 1e-4)),
                ],
                "gains": [gains[-1] if gains else 0.0, recent, stale / task.spec.budget],
                "losses_shown": [np.mean(shown[b]) if t else 0.0, lately],
                "budget": [1 - t / task.spec.budget],
            }
            if len(x) == 1:
                del expected["likeness"]
            assert list(part) == list(expected)
            for name, values in expected.items():
                np.testing.assert_allclose(part[name], np.ravel(values), rtol=2e-5, atol=2e-6, err_msg=name)


def test_the_observation_does_not_grow_with_the_data() -> None:
    def shape(**changes: Any) -> int:
        kwargs = black("label-mix-uniform", target_options={"steps": 1})
        return sum(block.size for block in layout(make_task(**{**kwargs, **changes})))

    digits = {"pool": "digits", "pool_options": {}}
    assert shape() == shape(**digits) == shape(batch_size=3, **digits) == shape(probes=3, holdout_rows=50)


def rehearsed(task: Task, w: np.ndarray, t: int) -> np.ndarray:
    """Three steps along the pool's mean gradient by autograd, worth 30 % of the steps left, at most 30."""
    import torch

    x, y = (torch.tensor(np.array(part[:100], dtype=np.float64)) for part in (task.x, task.y))
    found = torch.tensor(w)
    for _ in range(3):
        found = found.detach().requires_grad_()
        loss = task.learner.loss(found, x, y)
        (slope,) = torch.autograd.grad(loss, found)
        found = found - task.spec.learning_rate * min(0.3 * (task.spec.budget - t - 1), 30) / 3 * slope
    return found.detach().numpy()


def compared(now: float, first: float, found: list[float]) -> list[float]:
    """The best action's gain and the shortfall of each."""
    unit = np.mean(found) - min(found) + 1e-9 * first
    return [(now - min(found)) / (now + 1e-4 * first), *((f - min(found)) / unit for f in found)]


@every
def test_a_trial_of_each_action_by_brute_force(which: str) -> None:
    """What copies of the learner that are taught each action show, at once and after rehearsal; the oracles' choice."""
    task = make_task(**black(which, observation="black_box_trial"))
    blocks, hold = {block.name: block for block in layout(task)}, task.holdout
    assert list(blocks)[-2:] == ["trial", "budget"]
    place = slice(blocks["trial"].start, blocks["trial"].start + blocks["trial"].size)
    for t, (state, *_) in enumerate(walk(task, n=2)):
        seen = observe(task, state, list(blocks.values()))[:, place]
        for b in range(2):
            alone = take(state, np.array([b]))
            ends = [step(task, alone, np.array([a])).state.w[0] for a in range(task.n_actions)]
            now, first = alone.memory.now.loss[0], alone.memory.initial[0]
            once, later = (
                [mean_loss(task, w, hold.x, hold.y) for w in found]
                for found in (ends, [rehearsed(task, w, t) for w in ends])
            )
            expected = compared(now, first, once) + compared(now, first, later)
            np.testing.assert_allclose(seen[b], expected, rtol=5e-3, atol=5e-4)
            for name, found in (("holdout_greedy", once), ("holdout_rehearsal", later)):
                (chosen,) = make_teacher(name)(task, alone)
                assert found[chosen] == pytest.approx(min(found), rel=1e-6)


@pytest.mark.parametrize("which", ["label-grid", "label-mix-uniform", "mlp", "momentum"])
def test_rewards_by_scikit_learn(which: str) -> None:
    def measured(task: Task, state: TeachState, b: int) -> tuple[float, float]:
        hold = task.pool.holdout
        p = task.learner.predict(state.w[b], hold.x)
        p = p if task.k > 1 else np.column_stack([1 - p, p])
        return log_loss(hold.labels, p, labels=[0, 1]), accuracy_score(hold.labels, p.argmax(1))

    task = make_task(**black(which))
    taken = walk(task)
    for before, reward, *_, after in taken:
        for b in range(3):
            first, old, new = (measured(task, s, b)[0] for s in (taken[0][0], before, after))
            assert reward[b] == pytest.approx(100 * (old - new) / first, abs=1e-8)
    task = make_task(**black(which, reward="holdout_log_progress"))
    taken = walk(task)
    for before, reward, *_, after in taken:
        for b in range(3):
            first, old, new = (measured(task, s, b)[0] for s in (taken[0][0], before, after))
            assert reward[b] == pytest.approx(10 * np.log((old + first / 50) / (new + first / 50)), abs=1e-8)
    task = make_task(**black(which, reward="holdout_accuracy"))
    taken = walk(task)
    assert all((reward == 0).all() for _, reward, *_ in taken[:-1])
    np.testing.assert_allclose(taken[-1][1], [measured(task, taken[-1][-1], b)[1] for b in range(3)])
    task = make_task(**black(which, reward="steps_to_accuracy", zeta=0.8, learning_rate=1.0))
    taken = walk(task, n=3)
    for t, (_, reward, terminated, _, after) in enumerate(taken, start=1):
        assert (reward == -1).all()
        for b in range(3):
            assert terminated[b] == (measured(task, after, b)[1] >= 0.8 or t == task.spec.budget)


def test_steps_to_accuracy_counts_the_steps() -> None:
    """The single environment stops where the accuracy is first reached, and its return is minus the steps."""
    lengths = []
    for seed in range(12):
        env = TeachEnv(**black("label-grid", reward="steps_to_accuracy", zeta=0.8, learning_rate=1.0))
        env.reset(seed=seed)
        total, over = 0.0, False
        while not over:
            reached = accuracy_score(
                env.task.pool.holdout.labels, env.task.learner.logits(env.state.w[0], env.task.pool.holdout.x)[:, 0] > 0
            )
            assert total == 0 or reached < 0.8
            _, reward, over, _, _ = env.step(int(env.task.medium.passive(env.state.y)[0]))
            total += reward
        assert total == -env.state.t[0]
        lengths.append(env.state.t[0])
    assert min(lengths) < env.task.spec.budget


def test_a_loss_that_only_rounding_lowers_is_no_new_best_one() -> None:
    task = make_task(**black("label-grid"))
    before, *_, example, after = walk(task)[0]
    for share, stale in ((1e-9, 1.0), (1e-4, 0.0)):
        best = after.memory.now.loss * (1.0 + share)
        memory = remember(task, before._replace(memory=before.memory._replace(best=best)), example, after).memory
        assert (memory.stale == stale).all()
        np.testing.assert_array_equal(memory.best, best if stale else after.memory.now.loss)


def test_regression_is_measured_by_the_squared_error() -> None:
    task = make_task(**black("label-offset-prediction", reward="holdout_accuracy"))
    _, reward, *_, after = walk(task)[-1]
    hold = task.pool.holdout
    np.testing.assert_allclose(-reward, [mean_squared_error(hold.labels, hold.x @ w) for w in after.w], rtol=1e-9)


def test_representatives_are_rows_near_the_middle_of_each_class() -> None:
    split = make_pool("digits", 0).holdout
    rows = list(representatives(split, 10))
    assert split.labels[rows].tolist() == list(range(10))
    assert representatives(dataclasses.replace(split), 10) == tuple(rows), "found anew"
    for row in rows:
        own = split.x[split.labels == split.labels[row]]
        gaps = np.linalg.norm(own - own.mean(0), axis=1)
        assert np.linalg.norm(split.x[row] - own.mean(0)) == pytest.approx(gaps.min())
    more = list(representatives(split, 24))
    assert len(set(more)) == 24 and np.bincount(split.labels[more]).tolist() == [3] * 4 + [2] * 6
    assert len(set(representatives(make_pool("linear_regression", 0).holdout, 7))) == 7


def test_pretrained_soft_labels_are_good_and_not_the_targets() -> None:
    kwargs = black("label-mix-uniform", medium_options={"p": "pretrained"})
    task = make_task(**kwargs)
    assert task.soft is not None
    np.testing.assert_allclose(task.soft.sum(1), 1.0)
    assert accuracy_score(task.pool.train.labels, task.soft.argmax(1)) > 0.8
    given = make_task(**{**kwargs, "target": "given", "target_options": {"w": [0.0] * task.size}})
    np.testing.assert_array_equal(given.soft, task.soft)
    one = make_task(**black("label-grid", medium_options={"kind": "mix", "p": "pretrained"}))
    np.testing.assert_allclose(one.soft, task.soft[:, 1:], atol=1e-12)
    state = reset(task, streams(2))
    y = step(task, state, np.array([0, 5])).example.y
    np.testing.assert_allclose(y[0], 0.5 * state.y[0, 0] + 0.5 * state.soft[0, 0])
    np.testing.assert_allclose(y[1], state.y[1, 0])


# --------------------------------------------------------------------------------- one run, many runs, torch, branching


@every
@pytest.mark.parametrize("mode", ["next_step", "same_step", "disabled"])
def test_vector_env_equals_single_envs(which: str, mode: str) -> None:
    reward = "holdout_progress" if which == "label-offset-prediction" else "steps_to_accuracy"
    kwargs, n = black(which, reward=reward, zeta=0.75, learning_rate=0.3), 3
    vector, singles = TeachVectorEnv(n, autoreset_mode=mode, **kwargs), [TeachEnv(**kwargs) for _ in range(n)]
    seen, _ = vector.reset(seed=5)
    for i, env in enumerate(singles):
        np.testing.assert_allclose(seen[i], env.reset(seed=5 + i)[0], rtol=1e-6, atol=1e-7)
    vector.action_space.seed(0)
    over = np.zeros(n, dtype=bool)
    for _ in range(20):
        actions = vector.action_space.sample()
        seen, reward_, ended, *_ = vector.step(actions)
        for i, env in enumerate(singles):
            if over[i] and mode == "next_step":
                expected, r, over[i] = env.reset()[0], 0.0, False
            else:
                expected, r, over[i], *_ = env.step(actions[i])
                if over[i] and mode == "same_step":
                    expected = env.reset()[0]
            np.testing.assert_allclose(seen[i], expected, rtol=1e-5, atol=1e-6)
            assert reward_[i] == pytest.approx(r, abs=1e-9) and ended[i] == (
                over[i] if mode != "next_step" else ended[i]
            )
        if mode == "disabled" and ended.any():
            seen, _ = vector.reset(options={"reset_mask": ended.copy()})
            for i in np.flatnonzero(ended):
                np.testing.assert_allclose(seen[i], singles[i].reset()[0], rtol=1e-5, atol=1e-6)


@every
def test_a_branch_goes_on_with_its_own_memory(which: str) -> None:
    task = make_task(**black(which))
    middle = walk(task, n=4, steps=4)[-1][-1]
    mixed = put(middle, np.array([2]), take(reset(task, streams(4, seed=9)), np.array([1])))
    blocks, action = layout(task), np.zeros(4, dtype=int)
    whole = step(task, mixed, action)
    for b in range(4):
        one = step(task, take(mixed, np.array([b])), action[:1])
        np.testing.assert_allclose(one.reward, whole.reward[b : b + 1], atol=1e-9)
        np.testing.assert_allclose(
            observe(task, one.state, blocks)[0], observe(task, whole.state, blocks)[b], rtol=1e-5, atol=1e-6
        )
    shown = mixed.memory.mean_loss
    assert shown[2] == 0.0 and (np.delete(shown, 2) != 0).all()


@every
@rewards
def test_torch_gives_the_same_and_a_gradient(which: str, reward: str) -> None:
    import torch

    classed(reward, which)
    task = make_task(**black(which, reward=reward))
    before = walk(task, steps=task.spec.budget - 1)[-1][-1]
    expected = step(task, before, np.zeros(3, dtype=int))
    there, state = to_torch((task, before))
    w = state.w.clone().requires_grad_()
    found = step(there, state._replace(w=w), torch.zeros(3, dtype=torch.int64))
    np.testing.assert_allclose(found.reward.detach(), expected.reward, atol=1e-9)
    np.testing.assert_array_equal(found.terminated, expected.terminated)
    for parts in (
        zip(found.state.memory, expected.state.memory, strict=True),
        zip(found.state.memory.now, expected.state.memory.now, strict=True),
    ):
        for ours, theirs in parts:
            if not isinstance(ours, tuple):
                np.testing.assert_allclose(ours.detach(), theirs, atol=1e-10)
    (slope,) = torch.autograd.grad(found.state.memory.now.loss.sum(), w)
    assert torch.isfinite(slope).all() and slope.abs().sum() > 0


def test_omniscient_tasks_remember_nothing() -> None:
    task = make_task(**variant("label-grid"))
    assert not task.remembers and reset(task, streams(2)).memory is None
    seeing = make_task(**variant("label-grid", reward="holdout_progress"))
    assert seeing.remembers and "distance" in TeachEnv(**variant("label-grid")).reset(seed=0)[1]


# ------------------------------------------------------------------------------------------------- registered tasks


@pytest.mark.parametrize("name", names(observation=BLACK_BOX))
def test_the_registered_tasks_are_black_boxes(name: str) -> None:
    env = gym.make(env_id(name), budget=3)
    seen, info = env.reset(seed=0)
    assert list(info) == ["label", "features", "diverged"] and not {"w", "difference"} & {
        b.name for b in env.unwrapped.layout
    }
    assert env.observation_space.contains(seen) and TASKS[name]["reward"] in HOLDOUT_REWARDS


def test_the_benchmark_scores_a_black_box_task_by_the_holdout_loss() -> None:
    teachers = ("passive", "random", "greedy", "holdout_greedy", "holdout_rehearsal")
    suite = Suite("test", ("BlackBoxLabelMoons:budget=10,tolerance=100.0",), teachers, (3, 5, 9))
    rows = [execute(run) for run in expand(suite)]
    assert [len(row["curves"]["distance"]) for row in rows] == [11] * 15 and all(row["steps"] == 10 for row in rows)
    final = {t: np.mean([r["curves"]["holdout_loss"][-1] for r in rows if r["teacher"] == t]) for t in teachers}
    assert max(final["greedy"], final["holdout_greedy"]) < final["passive"] < final["random"]
    room = final["passive"] - min(final["greedy"], final["holdout_greedy"])
    for entry in summarize(rows).entries:
        assert entry.holdout_loss == pytest.approx(final[entry.teacher])
        assert entry.score == pytest.approx((final["passive"] - final[entry.teacher]) / room)


def test_ppo_learns_to_teach_a_black_box() -> None:
    """Within seconds far better than chance, on the hold-out loss alone."""
    sb3 = pytest.importorskip("stable_baselines3")
    import torch
    from stable_baselines3.common.vec_env import VecNormalize

    from teach_gym.sb3 import make_vec_env

    torch.set_num_threads(1)

    def mean_return(act: Any) -> float:
        env = make_vec_env("BlackBoxLabelDigits", 100, seed=10_000)
        seen, total = env.reset(), 0.0
        for _ in range(env.env.task.spec.budget):
            seen, reward, _, infos = env.step(act(seen))
            total += float(reward.mean())
            assert not any("distance" in info for info in infos)
        return total

    env = VecNormalize(make_vec_env("BlackBoxLabelDigits", 64, seed=1, reward="holdout_log_progress"))
    ppo = sb3.PPO("MlpPolicy", env, n_steps=40, batch_size=320, learning_rate=1e-3, gamma=0.9, seed=0, device="cpu")
    ppo.learn(15_000)
    env.training = False
    rng = np.random.default_rng(0)
    chance = mean_return(lambda seen: rng.integers(5, size=len(seen)))
    trained = mean_return(lambda seen: ppo.predict(env.normalize_obs(seen), deterministic=True)[0])
    assert trained > chance + 50.0 and trained > 60.0
