"""Performative teaching as an environment: hidden units are moved, the whole network learns (DHT 4.2)."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray

from teach_gym import make_task
from teach_gym.core.learner import MLPLearner
from teach_gym.core.learners import make_learner
from teach_gym.core.randomness import Streams
from teach_gym.core.state import Task, TeachState
from teach_gym.core.task import compose, decode, learn, reset, step, teach
from teach_gym.registration import env_id, task_kwargs
from teach_gym.teachers import make_teacher, teach_episodes

ID = env_id("PerformativeDigits")
D, H, K = 64, 16, 10


def task_of(**changes: Any) -> Task:
    """The registered task with changes."""
    return make_task(**{**task_kwargs("PerformativeDigits"), **changes})


def start(task: Task, n: int = 3) -> TeachState:
    """Runs that have started."""
    return reset(task, Streams.from_seeds(range(n)))


def hidden_units(task: Task, state: TeachState) -> NDArray[np.float64]:
    """relu(x V), written out: (B, m, h)."""
    kernel = state.w[:, : D * H].reshape(-1, D, H)
    units: NDArray[np.float64] = np.maximum(state.x[:, 0, :, :D] @ kernel, 0.0)
    return units


@pytest.mark.parametrize("bias", [False, True])
def test_the_step_is_torchs_gradient_of_the_whole_network_at_moved_hidden_units(bias: bool) -> None:
    torch = pytest.importorskip("torch")
    task = task_of(continuous=True, batch_size=3, bias=bias)
    state = start(task)
    action = np.random.default_rng(0).standard_normal((3, 3, H))
    example = compose(task, state, decode(task, action))
    after, _ = learn(task, state, example)
    for run in range(3):
        w = torch.tensor(state.w[run], requires_grad=True)
        sizes = [D * H, H * bias, H * K, K * bias]
        v, vb, top, topb = torch.split(w, sizes)
        x, y = torch.tensor(np.array(state.x[run, 0, :, :D])), torch.tensor(np.array(state.y[run, 0]))
        units = torch.relu(x @ v.reshape(D, H) + (vb if bias else 0.0))
        shown = units + torch.tensor(np.array(example.x[run, :, D:]))
        z = shown @ top.reshape(H, K) + (topb if bias else 0.0)
        loss = -(y * torch.log_softmax(z, -1)).sum(-1).mean()
        (gradient,) = torch.autograd.grad(loss, w)
        assert np.allclose(after[run], state.w[run] - task.spec.learning_rate * gradient.numpy(), atol=1e-12)
        assert np.isclose(task.learner.loss(state.w, example.x, example.y)[run], float(loss.detach()), atol=1e-12)
    assert np.abs(example.x[:, :, D:]).max() > 0.01


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 1.0])
def test_moved_hidden_units_keep_their_norm_and_stay_near(epsilon: float) -> None:
    task = task_of(continuous=True, batch_size=2, medium_options={"epsilon": epsilon})
    state = start(task, 50)
    units = hidden_units(task, state)
    assert (np.linalg.norm(units, axis=-1) > 0).all()
    rng, size = np.random.default_rng(1), np.linalg.norm(units, axis=-1, keepdims=True)
    for scale in (0.1, 1.0, 10.0):
        example = compose(task, state, decode(task, scale * rng.standard_normal((50, 2, H))))
        moved = units + example.x[..., D:]
        assert np.allclose(np.linalg.norm(moved, axis=-1, keepdims=True), size, rtol=1e-12)
        assert (np.linalg.norm((moved - units) / size, axis=-1) <= epsilon + 1e-12).all()
        assert np.array_equal(example.x[..., :D], state.x[:, 0, :, :D]) and np.array_equal(example.y, state.y[:, 0])
    across = rng.standard_normal(units.shape)
    across -= (across * units).sum(-1, keepdims=True) / size**2 * units
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    moved = units + compose(task, state, decode(task, across)).x[..., D:]
    assert np.allclose(np.linalg.norm((moved - units) / size, axis=-1), epsilon, rtol=1e-9)
    assert ((moved * across).sum(-1) > 0).all(), "turned towards the action, not away from it"
    assert np.abs(compose(task, state, decode(task, 5.0 * units)).x[..., D:]).max() < 1e-9, "along them nothing turns"


def test_discrete_actions_are_the_unit_vectors_of_the_continuous_flavour() -> None:
    grid, box = task_of(), task_of(continuous=True)
    ways = np.concatenate([np.zeros((1, H)), np.stack([np.eye(H), -np.eye(H)], axis=1).reshape(-1, H)])
    assert grid.n_actions == 2 * H + 1
    for action in range(grid.n_actions):
        found = step(grid, start(grid), np.full(3, action)).state.w
        wanted = step(box, start(box), np.tile(ways[action], (3, 1, 1))).state.w
        assert np.allclose(found, wanted, atol=1e-14)


def test_a_learner_with_dead_hidden_units_is_taught_nothing() -> None:
    task = task_of()
    state = start(task)
    state = state._replace(w=np.where(np.arange(task.size) < D * H, 0.0, state.w))
    found, _ = teach(task, state, task.medium.candidates[:, None])
    assert np.isfinite(found).all() and (found == found[:1]).all()


def test_the_passive_teacher_is_sgd_of_the_same_network_without_offsets() -> None:
    kwargs = task_kwargs("PerformativeDigits")
    task = make_task(**kwargs)
    plain = make_task(**{**kwargs, "medium": "label", "medium_options": {"kind": "grid"}, "learner_options": {}})
    assert task.size == plain.size == D * H + H * K and task.d == plain.d + H
    for found, wanted in zip(
        *(teach_episodes(t, make_teacher("passive"), (0, 1, 2)) for t in (task, plain)), strict=True
    ):
        assert np.allclose(found, wanted, rtol=1e-9)
    accuracy = [t.learner.accuracy(t.target[None], t.pool.test.x, t.pool.test.labels) for t in (task, plain)]
    assert np.array_equal(*accuracy) and accuracy[0] > 0.85


def test_parts_of_the_gradient_fit_the_gradient() -> None:
    task = task_of(batch_size=2)
    state = start(task)
    example = compose(task, state, task.medium.candidates[np.array([1, 2, 5])])
    learner = task.learner
    assert isinstance(learner, MLPLearner)
    direction = np.random.default_rng(0).standard_normal(state.w.shape)
    residual = learner.predict(state.w, example.x) - example.y
    _, gram, alignment = learner.parts(state.w, example.x, direction)
    cross = learner.parts(state.w, example.x, direction, cross=True).gram
    for i in range(2):
        gradient = learner.gradient(state.w, example.x[:, i : i + 1], example.y[:, i : i + 1])
        r = residual[:, i]
        assert np.allclose(np.einsum("bk,bkl,bl->b", r, gram[:, i], r), (gradient**2).sum(-1))
        assert np.allclose((alignment[:, i] * r).sum(-1), (direction * gradient).sum(-1))
        assert np.allclose(cross[:, i, :, i, :], gram[:, i])


def test_greedy_takes_the_best_action_and_teaches_faster_than_sgd() -> None:
    task = task_of()
    state = start(task, 4)
    after = np.stack([step(task, state, np.full(4, a)).state.distance for a in range(task.n_actions)])
    assert np.array_equal(make_teacher("greedy")(task, state), after.argmin(0)) and (after.min(0) < after[0]).all()
    final = {name: teach_episodes(task, make_teacher(name), range(10))[1] for name in ("greedy", "passive", "random")}
    assert (final["greedy"] < final["passive"]).all() and (final["greedy"] < final["random"]).all()


@pytest.mark.parametrize("continuous", [False, True])
def test_single_and_vector_environments_agree(continuous: bool) -> None:
    vector = gym.make_vec(ID, num_envs=3, continuous=continuous, budget=6)
    singles = [gym.make(ID, continuous=continuous, budget=6) for _ in range(3)]
    seen, _ = vector.reset(seed=7)
    assert np.array_equal(seen, np.stack([env.reset(seed=7 + i)[0] for i, env in enumerate(singles)]))
    vector.action_space.seed(0)
    for t in range(6):
        actions = vector.action_space.sample()
        seen, reward, terminated, _, info = vector.step(actions)
        for i, env in enumerate(singles):
            one = env.step(actions[i])
            assert np.allclose(seen[i], one[0], atol=1e-6) and np.isclose(reward[i], one[1], atol=1e-12)
            assert terminated[i] == one[2] == (t == 5)
            assert np.allclose(info["features"][i], one[4]["features"], atol=1e-12)
            assert one[4]["features"].shape == (1, D + H)


def test_frames_show_the_digit_without_its_offsets() -> None:
    env = gym.make(ID, render_mode="rgb_array")
    env.reset(seed=0)
    env.step(3)
    frame: Any = env.render()
    assert frame.shape == (360, 640, 3) and len(np.unique(frame.reshape(-1, 3), axis=0)) > 20


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learner_options": {}}, r"needs an MLP whose hidden units take offsets.*'offsets': True"),
        ({"learner": "softmax", "learner_options": {}, "target": "optimum", "target_options": {}}, "needs an MLP"),
        ({"medium_options": {"epsilon": 1.5}}, r"epsilon must be a finite number in \(0, 1\], got 1.5"),
        ({"medium_options": {"epsilon": 0.0}}, "epsilon must be"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        task_of(**changes)


def test_offsets_must_be_a_bool_and_dht_teachers_know_none() -> None:
    with pytest.raises(TypeError, match="offsets must be True or False, got 1"):
        make_learner("mlp", offsets=1)
    with pytest.raises(ValueError, match="'dht' gives inputs, not offsets"):
        make_teacher("dht").check(task_of())
