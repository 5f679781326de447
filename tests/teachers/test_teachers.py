"""The teachers: what they choose against brute force, and how they rank."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from teacher_cases import MADE

from teach_gym.core.backend import norm
from teach_gym.core.batch import each, take
from teach_gym.core.build import make_task
from teach_gym.core.randomness import Streams
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.core.task import learn, reset, step
from teach_gym.envs.base import action_space
from teach_gym.errors import DataNotFoundError
from teach_gym.registration import TASKS, env_id, task_kwargs
from teach_gym.teachers import Teacher, follow, make_teacher

SEEDS = range(12)


def build(name: str, **changes: Any) -> Task:
    try:
        return make_task(**{**task_kwargs(name), **changes})
    except DataNotFoundError as error:
        pytest.skip(str(error))


def teach_all(task: Task, teacher: Teacher, seeds: Any = SEEDS) -> TeachState:
    state = reset(task, Streams.from_seeds(seeds))
    for _ in range(task.spec.budget):
        state = follow(task, state, teacher).state
    return state


def fits(task: Task, teacher: Teacher) -> bool:
    try:
        teacher.check(task)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("name", TASKS)
def test_oracle_beats_passive_beats_adversarial(name: str) -> None:
    task = build(name)
    final = {t: teach_all(task, make_teacher(t)).distance.mean() for t in ("greedy", "passive", "adversarial")}
    assert final["greedy"] < final["passive"] < final["adversarial"]


@pytest.mark.parametrize("teacher_name", MADE)
@pytest.mark.parametrize("name", TASKS)
def test_every_teacher_gives_a_valid_choice(name: str, teacher_name: str) -> None:
    task = build(name, budget=3)
    teacher = make_teacher(teacher_name)
    if not fits(task, teacher):
        pytest.skip(f"{teacher_name} does not fit {name}")
    state = reset(task, Streams.from_seeds([0, 1, 2]))
    before = copy.deepcopy(state)
    choice = teacher(task, state)
    each(np.testing.assert_array_equal, state, before)
    if isinstance(choice, Example):
        assert choice.x.shape == (3, task.spec.batch_size, task.d)
        assert choice.y.shape == (3, task.spec.batch_size, task.k)
        assert np.isfinite(choice.x).all() and np.isfinite(choice.y).all()
    else:
        assert choice.shape == (3,) and all(action_space(task).contains(int(a)) for a in choice)
    assert teacher.gradient_evaluations(task) >= 0
    assert np.isfinite(follow(task, state, teacher).state.distance).all()


@pytest.mark.parametrize("teacher_name", MADE)
def test_batch_equals_one_by_one(teacher_name: str) -> None:
    task = build("LabelMomentum" if teacher_name == "anticipating" else "LabelMoons", learning_rate=0.1)
    together = teach_all(task, make_teacher(teacher_name), range(4))
    for seed in range(4):
        alone = teach_all(task, make_teacher(teacher_name), [seed])
        np.testing.assert_allclose(alone.w[0], together.w[seed], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in TASKS if "MNIST" not in n])
def test_greedy_against_trying_every_action_in_the_environment(name: str) -> None:
    task = build(name)
    state = reset(task, Streams.from_seeds(range(100)))
    action = make_teacher("greedy")(task, state)
    tried = [step(task, state, np.full(100, a)).state.distance for a in range(task.n_actions)]
    chosen = np.choose(action, tried) if task.n_actions <= 32 else np.array(tried)[action, np.arange(100)]
    np.testing.assert_allclose(chosen, np.min(tried, axis=0), rtol=1e-12)


@pytest.mark.parametrize("changes", [{}, {"momentum": 0.9}, {"weight_decay": 0.1}, {"bias": True}])
@pytest.mark.parametrize("name", ["LabelMoons", "LabelRegression", "LabelDigits10", "LabelDigitsMLP", "LabelDigits"])
def test_imt_against_trying_every_row(name: str, changes: dict[str, Any]) -> None:
    task = build(name, **changes)
    state = reset(task, Streams.from_seeds(range(3)))
    chosen = make_teacher("imt")(task, state)
    ours = norm(learn(task, state, chosen)[0] - state.target)
    for i in range(3):
        one = take(state, np.array([i]))
        many = take(one, np.zeros(len(task.x), dtype=int))
        every = norm(learn(task, many, Example(task.x[:, None], task.y[:, None]))[0] - many.target)
        np.testing.assert_allclose(ours[i], every.min(), rtol=1e-9)


def test_imt_mini_batch_is_greedy_row_by_row() -> None:
    task = build("LabelMoons", batch_size=3, medium_options={"kind": "mix"}, pool_options={"n": 100})
    state = reset(task, Streams.from_seeds([4]))
    rows: list[int] = []
    for _ in range(3):
        best = []
        for r in range(len(task.x)):
            x, y = task.x[[*rows, r]][None], task.y[[*rows, r]][None]
            gradient = task.learner.gradient(state.w, x, y) * (len(rows) + 1) / 3
            best.append(norm(state.w - task.spec.learning_rate * gradient - state.target)[0])
        rows.append(int(np.argmin(best)))
    np.testing.assert_array_equal(make_teacher("imt")(task, state).x[0], task.x[rows])


@pytest.mark.parametrize("constraint", ["none", "soft", "one_hot"])
def test_mixed_teaching_helps_in_every_step(constraint: str) -> None:
    task = build("LabelMoons")
    state = reset(task, Streams.from_seeds(range(100)))
    imt = follow(task, state, make_teacher("imt")).state.distance
    mixed = follow(task, state, make_teacher("mixed", constraint=constraint)).state.distance
    again = follow(task, state, make_teacher("mixed", constraint=constraint, rounds=4)).state.distance
    assert (mixed <= imt + 1e-12).all()
    assert (again <= mixed + 1e-12).all()
    if constraint != "one_hot":
        assert (mixed < imt).any()


def test_anticipating_beats_greedy_with_momentum_and_equals_it_without() -> None:
    task = build("LabelMomentum")
    seeds = range(20)
    greedy, rule = (teach_all(task, make_teacher(t), seeds).distance for t in ("greedy", "anticipating"))
    assert rule.mean() < 0.5 * greedy.mean()
    plain = build("LabelMoons")
    state = reset(plain, Streams.from_seeds(seeds))
    np.testing.assert_array_equal(make_teacher("greedy")(plain, state), make_teacher("anticipating")(plain, state))


def test_anticipating_scores_where_the_learner_coasts_to() -> None:
    for nesterov in (False, True):
        task = build("LabelMomentum", budget=30, nesterov=nesterov)
        state = reset(task, Streams.from_seeds(range(5)))
        for _ in range(4):
            state = follow(task, state, make_teacher("passive")).state
        scores = make_teacher("anticipating", horizon=7).scores(task, state)  # type: ignore[attr-defined]
        for a in range(task.n_actions):
            after = step(task, state, np.full(5, a)).state
            w, velocity = after.w, after.velocity
            for _ in range(7):
                w, velocity = task.update(w, velocity, np.zeros_like(w))
            np.testing.assert_allclose(scores[a], norm(w - state.target), rtol=1e-12)


@pytest.mark.parametrize("name", ["LabelMoons", "SelectMomentum", "MixupMoons"])
def test_clairvoyant_planning_is_exact_with_a_wide_beam(name: str) -> None:
    task = build(name)
    state = reset(task, Streams.from_seeds(range(5)))
    planner = make_teacher("planning", horizon=3, clairvoyant=True, beam=task.n_actions**3)
    plan = planner.plan(task, state, 3)  # type: ignore[attr-defined]

    def end(actions: Any) -> Any:
        s = state
        for level in range(3):
            s = step(task, s, np.broadcast_to(actions[level], (5,))).state
        return s.distance

    every = np.array([end(a) for a in itertools.product(range(task.n_actions), repeat=3)])
    np.testing.assert_allclose(end(plan.T), every.min(0), rtol=1e-12)


@pytest.mark.parametrize("beam", [1, 2, 8])
def test_planning_is_never_worse_than_greedy_on_its_objective(beam: int) -> None:
    task = build("LabelMomentum")
    state = reset(task, Streams.from_seeds(range(100)))
    for _ in range(45):
        state = follow(task, state, make_teacher("greedy")).state
    plan = make_teacher("planning", clairvoyant=True, beam=beam).plan(task, state, 5)  # type: ignore[attr-defined]
    planned, greedy = state, state
    for level in range(5):
        planned = step(task, planned, plan[:, level]).state
        greedy = follow(task, greedy, make_teacher("greedy")).state
    assert (planned.distance <= greedy.distance + 1e-12).all()
    assert (planned.distance < greedy.distance - 1e-6).mean() > 0.3


def test_honest_planning_does_not_read_the_future() -> None:
    task = build("LabelMomentum")
    state = reset(task, Streams.from_seeds(range(6)))
    other = state._replace(schedule=np.concatenate([state.schedule[:, :1], 799 - state.schedule[:, 1:]], axis=1))
    choices = []
    for s in (state, other):
        choices.append(make_teacher("planning", horizon=4)(task, s))
    np.testing.assert_array_equal(*choices)


def test_honest_planning_beats_greedy_with_momentum() -> None:
    task = build("LabelMomentum")
    greedy = teach_all(task, make_teacher("greedy")).distance.mean()
    assert teach_all(task, make_teacher("planning", horizon=4)).distance.mean() < greedy


def test_label_policies_by_their_formulas() -> None:
    task = build("LabelDigits10")
    state = reset(task, Streams.from_seeds(range(5)))
    x, y = state.x[:, 0], state.y[:, 0]
    smooth = make_teacher("label_smoothing", mu=0.7)(task, state)
    np.testing.assert_allclose(smooth.y, 0.7 * y + 0.3 / 10)
    kernel = task.target.reshape(task.d, task.k)
    z = x @ kernel / 2.0
    soft = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    np.testing.assert_allclose(make_teacher("distillation", temperature=2.0)(task, state).y, soft, rtol=1e-9)
    guess = np.einsum("bmd,bdk->bmk", x, state.w.reshape(5, task.d, task.k)).argmax(-1)
    np.testing.assert_array_equal(make_teacher("self_training")(task, state).y.argmax(-1), guess)


@pytest.mark.parametrize("continuous", [False, True])
def test_passive_is_plain_sgd(continuous: bool) -> None:
    for name in ("LabelMoons", "MixupMoons", "PerturbDigits", "LabelRegression", "LabelDigits10"):
        task = build(name, continuous=continuous)
        state = reset(task, Streams.from_seeds(range(3)))
        example = follow(task, state, make_teacher("passive"))
        np.testing.assert_allclose(example.example.x, state.x[:, 0], atol=1e-12)
        np.testing.assert_allclose(example.example.y, state.y[:, 0], atol=1e-12)


@pytest.mark.parametrize("name", ["LabelMoons", "MixupMoons", "PerturbMoons", "LabelDigits10"])
def test_greedy_is_the_same_in_both_flavours(name: str) -> None:
    ends = [teach_all(build(name, continuous=c), make_teacher("greedy")).w for c in (False, True)]
    np.testing.assert_allclose(*ends, rtol=1e-12)


@pytest.mark.parametrize("name", ["LabelMoons", "MixupMoons", "PerturbMoons", "LabelDigits10"])
def test_random_continuous_actions_lie_in_the_space(name: str) -> None:
    task = build(name, continuous=True)
    teacher = make_teacher("random")
    state = reset(task, Streams.from_seeds(range(50)))
    space = action_space(task)
    actions = teacher(task, state)
    assert all(space.contains(a.astype(np.float32)) for a in actions)
    assert len(np.unique(actions)) > 10


def test_teachers_drive_an_environment() -> None:
    env = gym.make(env_id("LabelMoons"))
    env.reset(seed=3)
    unwrapped: Any = env.unwrapped
    greedy, over, total = make_teacher("greedy"), False, 0.0
    while not over:
        _, reward, over, _, _ = env.step(int(greedy(unwrapped.task, unwrapped.state)[0]))
        total += float(reward)
    batched = teach_all(build("LabelMoons"), greedy, [3])
    assert total == pytest.approx(float(100 * (1 - batched.distance / batched.initial_distance)[0]), abs=1e-6)


def test_gradient_evaluations_count_the_pool() -> None:
    task = build("LabelMoons")
    assert make_teacher("imt").gradient_evaluations(task) == 800
    assert make_teacher("greedy").gradient_evaluations(task) == 5
    assert make_teacher("passive").gradient_evaluations(task) == 0


@pytest.mark.parametrize(
    ("name", "options", "kind", "message"),
    [
        ("gredy", {}, ValueError, "unknown teacher 'gredy'.*'greedy'"),
        ("greedy", {"speed": 1}, TypeError, "speed"),
        ("label_smoothing", {"mu": 1.5}, ValueError, r"mu.*1\.5"),
        ("distillation", {"temperature": 0}, ValueError, "temperature.*0"),
        ("planning", {"horizon": 0}, ValueError, "horizon.*0"),
        ("anticipating", {"horizon": 0}, ValueError, "horizon.*0"),
        ("mixed", {"rounds": -1}, ValueError, "rounds.*-1"),
    ],
)
def test_bad_teachers(name: str, options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        make_teacher(name, **options)


def test_teachers_that_do_not_fit_say_so() -> None:
    with pytest.raises(ValueError, match="continuous=True"):
        make_teacher("planning").check(build("LabelMoons", continuous=True))
    with pytest.raises(ValueError, match="least_squares"):
        make_teacher("label_smoothing").check(build("LabelRegression"))
