"""Media: composing against plain loops over rows, the passive action, constraint sets, and bad options."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import VARIANTS, continuous_variants, streams, variant

from teach_gym.core.backend import to_torch
from teach_gym.core.build import make_task
from teach_gym.core.media import data_bounds
from teach_gym.core.state import Task, TeachState
from teach_gym.core.task import compose, decode, reset

B = 6
every = pytest.mark.parametrize("which", VARIANTS)
continuous = pytest.mark.parametrize("which", continuous_variants())


def started(which: str, **changes: Any) -> tuple[Task, TeachState]:
    task = make_task(**variant(which, **changes))
    return task, reset(task, streams(B))


def prediction(task: Task, state: TeachState, b: int, j: int) -> np.ndarray:
    """The learner's prediction on row j of run b's first source, by an explicit product."""
    x, w = state.x[b, 0, j], state.w[b]
    if task.learner.name == "mlp":
        h = task.learner.hidden
        hidden = np.maximum(w[: task.d * h].reshape(task.d, h).T @ x + w[task.d * h :][:h] * task.spec.bias, 0)
        x, w = hidden, w[(task.d + task.spec.bias) * h :]
    z = w[: len(x) * task.k].reshape(len(x), task.k).T @ x
    z = z + (w[len(x) * task.k :] if task.spec.bias else 0.0)
    if task.learner.name == "least_squares":
        return z
    return 1 / (1 + np.exp(-z)) if task.k == 1 else np.exp(z) / np.exp(z).sum()


def row(task: Task, state: TeachState, value: np.ndarray, b: int, j: int) -> tuple[np.ndarray, np.ndarray]:
    """What row j of run b becomes by a value (rows, entries), from the media's definitions in the issue."""
    x, y = state.x[b, :, j], state.y[b, :, j]
    name, medium = task.spec.medium, task.medium
    if name in ("select", "mixed"):
        chosen = int(np.argmax(value[: medium.n_sources]))
        x, y = x[chosen], y[chosen]
        if name == "select":
            return x, y
        medium, value = medium.label, value[None, medium.n_sources :]
        x, y = x[None], y[None]
    v = value[min(j, len(value) - 1)]
    if name == "mixup":
        return v[0] * x[0] + (1 - v[0]) * x[1], v[0] * y[0] + (1 - v[0]) * y[1]
    if name == "perturb":
        return v[0] * x[0] + v[1:], y[0]
    kind = type(medium).__name__
    if kind == "LabelGrid":
        return x[0], v
    reference = {
        None: np.full(task.k, 1 / task.k if task.k > 1 else 0.5),
        "prediction": prediction(task, state, b, j),
    }
    if medium.reference in ("target", "given"):
        reference[medium.reference] = state.soft[b, 0, j]
    other = reference[medium.reference]
    if kind == "LabelMix":
        return x[0], v[0] * y[0] + (1 - v[0]) * other
    centre = y[0] if medium.reference is None else v[0] * y[0] + (1 - v[0]) * other
    return x[0], centre + v[1:]


@every
def test_compose_equals_loops_over_candidates_runs_and_rows(which: str) -> None:
    task, state = started(which)
    candidates = task.medium.candidates
    example = compose(task, state, candidates[:, None])
    shape = (task.n_actions, B, task.spec.batch_size)
    x, y = (np.broadcast_to(a, (*shape, a.shape[-1])) for a in example)
    assert x.shape[-1] == task.d and y.shape[-1] == task.k
    for a, b, j in np.ndindex(*shape):
        expected = row(task, state, candidates[a], b, j)
        np.testing.assert_allclose(x[a, b, j], expected[0], atol=1e-12, err_msg=task.medium.labels[a])
        np.testing.assert_allclose(y[a, b, j], expected[1], atol=1e-12, err_msg=task.medium.labels[a])


@every
def test_decode_gives_each_run_its_own_candidate(which: str, rng: np.random.Generator) -> None:
    task, state = started(which)
    action = rng.integers(task.n_actions, size=B)
    one = compose(task, state, decode(task, action))
    everything = compose(task, state, task.medium.candidates[:, None])
    for mine, whole in zip(one, everything, strict=True):
        whole = np.broadcast_to(whole, (task.n_actions, B, *whole.shape[-2:]))
        np.testing.assert_allclose(np.broadcast_to(mine, whole.shape[1:]), whole[action, np.arange(B)], atol=1e-14)


@every
def test_passive_action_gives_the_source_and_its_label(which: str) -> None:
    task, state = started(which)
    action = task.medium.passive(state.y)
    assert action.shape == (B,) and action.dtype.kind == "i"
    assert action.min() >= 0 and action.max() < task.n_actions
    x, y = compose(task, state, decode(task, action))
    np.testing.assert_array_equal(x, state.x[:, 0])
    np.testing.assert_array_equal(np.broadcast_to(y, state.y[:, 0].shape), state.y[:, 0])


@continuous
def test_continuous_passive_action_gives_the_source_and_its_label(which: str) -> None:
    task, state = started(which, continuous=True)
    action = task.medium.passive_continuous(state.x, state.y)
    assert action.shape == (B, *task.medium.low.shape)
    assert (action >= task.medium.low).all() and (action <= task.medium.high).all()
    x, y = compose(task, state, decode(task, action))
    np.testing.assert_allclose(x, state.x[:, 0], atol=1e-14)
    np.testing.assert_allclose(y, state.y[:, 0], atol=1e-14)


def inside(task: Task, value: np.ndarray) -> np.ndarray:
    """Whether values (..., rows, entries) lie in the continuous flavour's constraint set, up to rounding."""
    medium, e = task.medium, 1e-9
    kind = type(medium).__name__
    if kind == "LabelGrid" and task.k > 1:
        return ((value >= -e).all(-1) & (np.abs(value.sum(-1) - 1) < e)).all(-1)
    if kind == "LabelOffset":
        gate, length = value[..., 0], np.linalg.norm(value[..., 1:], axis=-1)
        return ((np.abs(gate - 0.5) <= 0.5 + e) & (length <= medium.radius + e)).all(-1)
    if kind == "Perturb" and medium.region == "ball":
        return ((value[..., 0] == 1) & (np.linalg.norm(value[..., 1:], axis=-1) <= medium.radius + e)).all(-1)
    if kind == "Perturb":
        rows = value[..., 1:]
        return ((value[..., 0] == 0) & (rows >= medium.low - e).all(-1) & (rows <= medium.high + e).all(-1)).all(-1)
    return ((value >= medium.low.min() - e) & (value <= medium.high.max() + e)).all((-1, -2))


@continuous
def test_projection_lands_in_the_constraint_set_on_the_nearest_point(which: str, rng: np.random.Generator) -> None:
    task, _ = started(which, continuous=True)
    shape = task.medium.low.shape
    actions = 3 * rng.standard_normal((200, *shape))
    value = task.medium.project(actions)
    assert inside(task, value).all()
    scale = task.medium.radius if which in ("perturb-ball", "perturb-axes") else 1.0

    def as_action(v: np.ndarray) -> np.ndarray:
        """The value's place in the action's space."""
        if task.spec.medium == "perturb":
            return v[..., 1:] / scale
        return v.reshape(v.shape[0], *shape)

    found = ((as_action(value) - actions) ** 2).sum(-1)
    for _ in range(40):  # brute force: no feasible point is nearer, neither far from it nor close to it
        far = rng.standard_normal(actions.shape)
        near = as_action(value) + 0.05 * far
        for point in (far, near):
            feasible = as_action(task.medium.project(point))
            assert (found <= ((feasible - actions) ** 2).sum(-1) + 1e-9).all()
    again = as_action(task.medium.project(as_action(value)))
    np.testing.assert_allclose(again, as_action(value), atol=1e-12)
    np.testing.assert_allclose(to_torch(task).medium.project(torch.tensor(actions)), value, atol=1e-12)


@continuous
def test_projection_leaves_feasible_actions_alone(which: str, rng: np.random.Generator) -> None:
    task, _ = started(which, continuous=True)
    low, high = task.medium.low, task.medium.high
    actions = low + (high - low) * rng.uniform(0.4, 0.6, size=(50, *low.shape))
    if type(task.medium).__name__ == "LabelGrid" and task.k > 1:
        actions /= actions.sum(-1, keepdims=True)
    value = task.medium.project(actions)
    kept = value[..., 1:] / (task.medium.radius if "box" not in which else 1) if "perturb" in which else value
    np.testing.assert_allclose(kept.reshape(actions.shape), actions, atol=1e-12)


@every
def test_candidates_are_distinct_described_and_feasible(which: str) -> None:
    task, _ = started(which)
    candidates, labels = task.medium.candidates, task.medium.labels
    assert len(labels) == len(candidates) == task.n_actions == len(set(labels))
    assert len(np.unique(candidates.reshape(len(candidates), -1), axis=0)) == len(candidates)
    if which in continuous_variants() and "box" not in which:
        assert inside(task, candidates).all()


def test_label_grids_are_those_of_the_issue() -> None:
    assert started("label-grid")[0].medium.candidates.ravel().tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert started("label-grid-margin")[0].medium.candidates.ravel().tolist() == [-1, -0.5, 0, 0.5, 1]
    assert started("label-grid-one-hot")[0].medium.candidates[:, 0].tolist() == np.eye(2).tolist()
    mu = started("label-mix-uniform")[0].medium.candidates.ravel()
    np.testing.assert_allclose(mu, [0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert started("mixup")[0].medium.candidates.ravel().tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_label_offset_has_the_ground_truth_and_offsets_in_the_radius() -> None:
    for which, radius, gate in (("label-offset-prediction", 1.0, 0.0), ("label-offset-truth", 0.7, 1.0)):
        candidates = started(which)[0].medium.candidates[:, 0]
        assert candidates[0].tolist() == [1.0, 0.0]
        assert set(candidates[1:, 0]) == {gate}
        assert np.abs(candidates[1:, 1]).max() == radius
        np.testing.assert_allclose(np.sort(candidates[1:, 1]), -np.sort(candidates[1:, 1])[::-1])


def test_mixed_candidates_are_all_pairs_of_source_and_label() -> None:
    task, _ = started("mixed-grid")
    pairs = {(int(np.argmax(c[:4])), float(c[4])) for c in task.medium.candidates}
    assert pairs == {(s, v) for s in range(4) for v in (0, 0.25, 0.5, 0.75, 1)} and task.n_actions == 20
    for candidate, text in zip(task.medium.candidates, task.medium.labels, strict=True):
        assert text == f"source {int(np.argmax(candidate[:4]))}, label {candidate[4]:g}"


def test_compass_directions_in_the_plane() -> None:
    medium = started("perturb-ball", medium_options={"radius": 0.3})[0].medium
    offsets = dict(zip(medium.labels, medium.candidates[:, 0, 1:], strict=True))
    assert len(offsets) == 9 and offsets["no offset"].tolist() == [0, 0]
    s = 0.3 / np.sqrt(2)
    for text, where in {
        "E": (0.3, 0),
        "N": (0, 0.3),
        "W": (-0.3, 0),
        "S": (0, -0.3),
        "NE": (s, s),
        "SW": (-s, -s),
    }.items():
        np.testing.assert_allclose(offsets[f"0.3 towards {text}"], where, atol=1e-12)


def test_principal_axes_are_those_of_the_covariance() -> None:
    task = make_task(medium="perturb", pool="digits", pool_options={"classes": [3, 5]}, target="trained")
    offsets = task.medium.candidates[1:, 0, 1:]
    assert offsets.shape == (8, 64)
    values, vectors = np.linalg.eigh(np.cov(task.x.T))
    for i in range(4):
        leading = vectors[:, -1 - i] * 0.5
        np.testing.assert_allclose(offsets[2 * i], -offsets[2 * i + 1])
        assert min(np.abs(offsets[2 * i] - leading).max(), np.abs(offsets[2 * i] + leading).max()) < 1e-8
    assert values[-1] > values[-4] > values[-5]


def test_data_bounds(rng: np.random.Generator) -> None:
    x = rng.standard_normal((50, 3)) * [1, 5, 2]
    low, high = data_bounds(x)
    np.testing.assert_array_equal(low, np.min(x, axis=0))
    np.testing.assert_array_equal(high, np.max(x, axis=0))
    low, high = data_bounds(x, "global")
    assert set(low) == {x.min()} and set(high) == {x.max()}
    box = started("perturb-box", continuous=True)[0]
    np.testing.assert_array_equal(box.medium.low, box.x.min(0)[None])
    with pytest.raises(ValueError, match="sphere"):
        data_bounds(x, "sphere")


@every
def test_compose_in_torch_equals_numpy_and_passes_gradients(which: str) -> None:
    task, state = started(which)
    there, mine = to_torch((task, state))
    value = there.medium.candidates[:, None].clone().requires_grad_()
    example = compose(there, mine, value)
    for tensor, array in zip(example, compose(task, state, task.medium.candidates[:, None]), strict=True):
        np.testing.assert_allclose(tensor.detach(), array, atol=1e-12)
    (slope,) = torch.autograd.grad(example.x.sum() + (example.y**2).sum(), value)
    assert torch.isfinite(slope).all() and slope.abs().sum() > 0
