"""``teacher.act(env)``: over all registered tasks and teachers, single and vector, discrete and continuous."""

from __future__ import annotations

import functools
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from conftest import names, streams, variant
from gymnasium.wrappers import ClipAction, FlattenObservation, RescaleAction
from teacher_cases import MADE, OPTIONS

from teach_gym.core.batch import take
from teach_gym.core.build import make_task
from teach_gym.core.medium import Mixed
from teach_gym.core.randomness import Streams
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.core.task import compose, decode, reset, step
from teach_gym.envs.base import TeachEnv
from teach_gym.envs.vector import TeachVectorEnv
from teach_gym.registration import TASKS, env_id
from teach_gym.teachers import Teacher, follow, make_teacher, teacher_class
from teach_gym.teachers.actions import legal_action
from teach_gym.teachers.oracles.greedy import Scored

BUDGET, SEED = 2, 7
LABELS = {"label_smoothing", "distillation", "self_training", "last", "bootstrapping", "small_loss"}
"""They change the labels of the first offered example."""
SCORED = {name for name in MADE if issubclass(teacher_class(name), Scored)}
"""In the continuous flavour they give the examples of the discrete actions."""
EXPRESSED = {
    "label": LABELS | SCORED,
    "mixed": LABELS,
    "mixup": {"cmixup", "dmixup"} | SCORED,
    "perturb": {"dht"} | SCORED,
    "performative": SCORED,
    "select": SCORED,
}
"""Teachers of examples that a medium's actions express at every step."""
BEYOND = {
    "label": {"imt", "mixed", "dht"},
    "mixed": {"imt", "mixed", "dht"},
    "mixup": {"label_smoothing", "distillation", "last", "imt", "mixed", "dht"},
    "perturb": {"label_smoothing", "distillation", "last", "mixed"},
    "performative": {"label_smoothing", "distillation", "last", "mixed"},
    "select": {"label_smoothing", "distillation", "last", "imt", "mixed", "dht"},
}
"""Teachers of examples that no action of a medium expresses, but by a rare chance."""


@functools.lru_cache(maxsize=1)
def envs(name: str, continuous: bool) -> tuple[Any, Any]:
    """A single environment, wrapped by Gymnasium, and a vector environment of the same task."""
    changes = {"budget": BUDGET, "continuous": continuous}
    return gym.make(env_id(name), **changes), gym.make_vec(env_id(name), num_envs=3, **changes)


PAIRS = [(name, False) for name in names()] + [
    (name, True) for name in names(medium=tuple(set(EXPRESSED) - {"select", "mixed"}))
]
"""The registered tasks in the flavours they have."""


def distances(task: Task, state: TeachState, wanted: Example) -> np.ndarray:
    """Squared distance of every discrete action's example from the wanted one, one action at a time: (A, B)."""
    found = []
    for action in range(task.n_actions):
        made = compose(task, state, decode(task, np.full(len(state.t), action)))
        gaps = [((a - b) ** 2).sum((1, 2)) for a, b in zip(made, wanted, strict=True)]
        found.append(1e9 * gaps[0] + gaps[1] if isinstance(task.medium, Mixed) else gaps[0] + gaps[1])
    return np.array(found)


@pytest.mark.parametrize("teacher_name", MADE)
@pytest.mark.parametrize(("name", "continuous"), PAIRS)
def test_every_teacher_in_every_environment(name: str, continuous: bool, teacher_name: str) -> None:
    env, several = envs(name, continuous)
    task, teacher = env.unwrapped.task, make_teacher(teacher_name, **OPTIONS.get(teacher_name, [{}])[0])
    try:
        teacher.check(task)
    except ValueError as error:
        env.reset(seed=SEED)
        with pytest.raises(ValueError) as refused:
            teacher.act(env)
        assert str(refused.value) == str(error)
        return
    _episode(env, teacher, task)
    _vector_episodes(several, teacher, task)


def _episode(env: Any, teacher: Teacher, task: Task) -> None:
    """One episode stepped by ``env.step(teacher.act(env))``, against ``follow``."""
    medium = TASKS[env.unwrapped.spec.id.split("/")[1].removesuffix("-v0")]["medium"]
    tolerance = 1e-5 if task.spec.continuous or task.spec.dtype == "float32" else 1e-12
    close = {"rtol": tolerance, "atol": tolerance}
    env.reset(seed=SEED)
    state, over = reset(task, Streams.from_seeds([SEED])), False
    while not over:
        seen = env.unwrapped.state
        choice = teacher(task, seen)
        if isinstance(choice, Example) and teacher.name not in EXPRESSED[medium]:
            try:
                action = teacher.act(env)
            except ValueError as error:
                assert f"medium {medium!r}" in str(error)
                return
            assert teacher.name not in BEYOND[medium]
        else:
            action = teacher.act(env)
        assert action in env.action_space
        assert type(action) is (np.ndarray if task.spec.continuous else int)
        exact = not isinstance(choice, Example) or (task.spec.continuous and teacher.name in SCORED)
        if isinstance(choice, Example) and not task.spec.continuous:
            far = distances(task, seen, choice)[:, 0]
            assert far[action] <= far.min() + 1e-9 * (1.0 + far.max())
        *_, over, truncated, _ = env.step(action)
        over = over or truncated
        if exact:
            after, now = follow(task, seen, teacher).state, env.unwrapped.state
            np.testing.assert_allclose(now.w, after.w, **close)
            state = follow(task, state, teacher).state
            if task.spec.dtype == "float64":  # in single precision a tie may be decided otherwise
                np.testing.assert_allclose(now.w, state.w, **close)


def _vector_episodes(several: Any, teacher: Teacher, task: Task) -> None:
    """Legal actions beyond the ends of episodes; before them those of single environments."""
    several.reset(seed=SEED)
    for t in range(BUDGET + 2):
        choice = teacher(task, several.unwrapped.state)
        try:
            actions = teacher.act(several)
        except ValueError:
            assert isinstance(choice, Example)
            return
        assert actions in several.action_space
        if t == 0:
            state = several.unwrapped.state
            alone = [
                legal_action(task, one, teacher(task, one))[0] for one in (take(state, np.array([i])) for i in range(3))
            ]
            ends = [
                step(task, state, np.asarray(a, dtype=state.w.dtype if task.spec.continuous else int)).state.distance
                for a in (actions, alone)
            ]
            np.testing.assert_allclose(*ends, rtol=1e-4)  # actions that are as good as each other may change places
        several.step(actions)


def test_sub_environments_at_different_steps_get_their_own_actions() -> None:
    """A randomised teacher needs nothing to be started anew where single episodes end."""
    envs = gym.make_vec(env_id("LabelMoons"), num_envs=4, tolerance=1.0, learning_rate=0.7, autoreset_mode="same_step")
    envs.reset(seed=0)
    teacher, ages = make_teacher("random"), set()
    for _ in range(30):
        state = envs.unwrapped.state
        actions = teacher.act(envs)
        ages.add(len(set(state.t.tolist())))
        for i in range(4):
            assert actions[i] == teacher(envs.unwrapped.task, take(state, np.array([i])))[0]
        envs.step(actions)
    assert max(ages) > 1


def test_wrappers_and_other_environments() -> None:
    teacher = make_teacher("greedy")
    plain = FlattenObservation(gym.make(env_id("LabelMoons"), continuous=True))
    with pytest.raises(RuntimeError, match="reset"):
        teacher.act(plain)
    plain.reset(seed=0)
    plain.step(teacher.act(plain))
    rescaled = RescaleAction(plain, np.float32(-1.0), np.float32(1.0))
    with pytest.raises(ValueError, match=r"a wrapper changes the actions.*env\.unwrapped"):
        teacher.act(rescaled)
    ClipAction(plain).step(teacher.act(plain.unwrapped))
    with pytest.raises(RuntimeError, match="reset"):
        teacher.act(gym.make_vec(env_id("LabelMoons"), num_envs=2))
    with pytest.raises(TypeError, match="got CartPoleEnv"):
        teacher.act(gym.make("CartPole-v1"))
    with pytest.raises(TypeError, match="got SyncVectorEnv"):
        teacher.act(gym.make_vec(env_id("LabelMoons"), num_envs=2, vectorization_mode="sync"))
    with pytest.raises(ValueError, match="continuous=True"):
        make_teacher("planning").act(plain)


def test_trainings_of_networks_have_no_state_to_be_seen() -> None:
    pytest.importorskip("torch")
    from neural_cases import SMALL_MIXUP

    env = gym.make(env_id("BlackBoxMixupCIFAR10"), **SMALL_MIXUP)
    env.reset(seed=0)
    with pytest.raises(TypeError, match=r"that have a task and a state.*got NeuralMixupEnv"):
        make_teacher("greedy").act(env)


def test_a_teacher_of_the_other_flavour_is_refused() -> None:
    class Floats(Teacher):
        def __call__(self, task: Task, state: TeachState) -> Any:
            return np.full((len(state.t), 1, 1), 0.5)

    class Integers(Teacher):
        def __call__(self, task: Task, state: TeachState) -> Any:
            return np.zeros(len(state.t), dtype=int)

    for teacher, continuous in ((Floats(), False), (Integers(), True)):
        env = TeachEnv(**variant("label-grid", continuous=continuous))
        env.reset(seed=0)
        with pytest.raises(ValueError, match="the task takes actions"):
            teacher.act(env)


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("which", ["label-grid", "mixup", "perturb-ball", "perturb-box", "label-offset-prediction"])
def test_a_learner_that_diverged_gets_the_no_help_action(which: str, continuous: bool) -> None:
    class Broken(Teacher):
        def __call__(self, task: Task, state: TeachState) -> Any:
            x, y = state.x[:, 0].copy(), state.y[:, 0].copy()
            x[1], y[1] = np.nan, np.inf
            return Example(x, y)

    env = TeachVectorEnv(3, **variant(which, continuous=continuous))
    env.reset(seed=0)
    assert env.state is not None
    actions = Broken().act(env)
    assert actions in env.action_space
    made = compose(env.task, env.state, decode(env.task, actions))
    far = [((a - b[:, 0]) ** 2).sum((1, 2)) for a, b in zip(made, (env.state.x, env.state.y), strict=True)]
    if continuous or which != "label-offset-prediction":
        np.testing.assert_allclose(far[0] + far[1], 0.0, atol=1e-12)
    if continuous:

        class Undefined(Teacher):
            def __call__(self, task: Task, state: TeachState) -> Any:
                return np.full((3, *env.single_action_space.shape), np.nan)

        assert Undefined().act(env) in env.action_space


def test_imt_row_by_row() -> None:
    """The row of the pool that IMT wants is an action where it is among the examples offered."""
    task = make_task(**variant("select"))
    state = reset(task, streams(3))
    wanted = make_teacher("imt")(task, state)
    assert isinstance(wanted, Example)
    with pytest.raises(ValueError, match="shows one of the offered examples"):
        legal_action(task, state, wanted)
    x, y = state.x.copy(), state.y.copy()
    x[:, 5], y[:, 5] = wanted
    np.testing.assert_array_equal(legal_action(task, state._replace(x=x, y=y), wanted), [5, 5, 5])
