"""Frames: shape and change over an episode, the geometry of boundaries and plots, animations on disk."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from conftest import VARIANTS, names, streams, variant
from PIL import Image

from teach_gym.core.build import make_task
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.core.task import reset, step
from teach_gym.registration import env_id, task_kwargs
from teach_gym.render.canvas import CLASSES, INK, TARGET
from teach_gym.render.film import Film
from teach_gym.render.frame import HEIGHT, WIDTH, render
from teach_gym.render.origin import origin
from teach_gym.render.panels import label_text
from teach_gym.render.player import scene, step_of
from teach_gym.render.views import PLOT, PlaneView, view_of


def started(**kwargs: Any) -> tuple[Task, TeachState, Film]:
    task = make_task(**kwargs)
    state = reset(task, streams(1))
    return task, state, Film.of(task, state)


def near(frame: np.ndarray, pixel: np.ndarray, colour: tuple[int, int, int], reach: int = 1) -> float:
    """Smallest distance in RGB to a colour within so many pixels of a point (x, y)."""
    x, y = (int(v) for v in pixel)
    patch = frame[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1].astype(float)
    return float(np.abs(patch - np.array(colour)).max(-1).min())


# ------------------------------------------------------------------------------------------------- every environment


def test_frames_of_every_task(name: str) -> None:
    env = gym.make(env_id(name), render_mode="rgb_array")
    env.reset(seed=1)
    frames = [env.render()]
    for _ in range(2):
        env.step(env.unwrapped.action_space.n - 1)
        frames.append(env.render())
    for frame in frames:
        assert isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.shape == (HEIGHT, WIDTH, 3)
    assert len({frame.tobytes() for frame in frames}) == 3
    np.testing.assert_array_equal(frames[-1], env.render())


def test_text_of_every_task(name: str) -> None:
    env = gym.make(env_id(name), render_mode="ansi")
    env.reset(seed=1)
    first = env.render()

    task = env.unwrapped.task

    def value() -> str:
        state = env.unwrapped.state
        if task.tells_distance:
            return f"distance to target {state.distance[0]:.4g}"
        return f"hold-out loss {state.memory.now.loss[0]:.4g}"

    budget = task.spec.budget
    assert isinstance(first, str) and "\n" not in first
    assert f"step 0/{budget}" in first and value() in first
    ended, text = False, ""
    while not ended:
        _, _, ended, *_ = env.step(0)
        text = env.render()
        assert "\n" not in text and len(text) < 200
    step = text.split("/")[0].removeprefix("step ")
    assert int(step) == budget or env.unwrapped.state.distance[0] < task.spec.tolerance
    assert value() in text


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("name", names(observation=["black_box"]))
def test_pictures_of_black_box_tasks_do_not_depend_on_the_target(name: str, debug: bool) -> None:
    task = make_task(name, debug=debug)
    other = dataclasses.replace(task, target=task.target[::-1].copy())
    shown: list[list[Any]] = [[], []]
    for found, one in zip(shown, (task, other), strict=True):
        state = reset(one, streams(1))
        film = Film.of(one, state)
        transition = step(one, state, np.array([1]))
        film.add(one, transition.state, transition.example)
        found += [film.values, *(render(one, transition.state, film, mode) for mode in ("ansi", "rgb_array"))]
        found.append(scene(one, name)["target"])
        found.append(step_of(one, transition.state, transition.example)["curves"])
    same = [np.array_equal(a, b) if np.shape(a) == np.shape(b) else False for a, b in zip(*shown, strict=True)]
    assert same == [not debug] * len(same)


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_frames_of_every_flavour(name: str) -> None:
    task, state, film = started(**variant(name))
    before = render(task, state, film, "rgb_array")
    transition = step(task, state, np.array([1]))
    film.add(task, transition.state, transition.example)
    after = render(task, transition.state, film, "rgb_array")
    assert before.shape == after.shape == (HEIGHT, WIDTH, 3) and (before != after).any()
    assert "\n" not in render(task, transition.state, film, "ansi")


@pytest.mark.parametrize("mode", ["next_step", "same_step"])
def test_vector_environments_give_a_frame_each(mode: str) -> None:
    env = gym.make_vec("teach_gym/LabelMoons-v0", 3, render_mode="rgb_array", autoreset_mode=mode, budget=2)
    env.reset(seed=0)
    for _ in range(5):
        env.step(np.array([0, 2, 4]))
        frames = env.render()
        assert isinstance(frames, tuple) and len(frames) == 3
        assert all(f.shape == (HEIGHT, WIDTH, 3) for f in frames)
    assert (frames[0] != frames[1]).any()
    text = gym.make_vec("teach_gym/SelectMoons-v0", 2, render_mode="ansi")
    text.reset(seed=0)
    assert all(line.endswith("nothing shown yet") for line in text.render())


def test_vector_frame_equals_the_single_one() -> None:
    single = gym.make("teach_gym/PerturbMoons-v0", render_mode="rgb_array")
    vector = gym.make_vec("teach_gym/PerturbMoons-v0", num_envs=2, render_mode="rgb_array")
    single.reset(seed=6)
    vector.reset(seed=5)
    for action in (1, 4, 7):
        single.step(action)
        vector.step(np.array([0, action]))
    np.testing.assert_array_equal(single.render(), vector.render()[1])


def test_bad_mode_and_bad_state() -> None:
    task, state, film = started(**task_kwargs("LabelMoons"))
    with pytest.raises(ValueError, match=r"unknown render mode 'human'.*ansi.*rgb_array"):
        render(task, state, film, "human")
    with pytest.raises(ValueError, match="one run, got a state of 2"):
        render(task, reset(task, streams(2)), film, "ansi")


@pytest.mark.parametrize("name", ["LabelRegression", "LabelMoons", "LabelDigits10", "LabelDigitsMLP"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e200])
def test_a_learner_that_diverged_is_drawn_without_boundary(name: str, value: float) -> None:
    task, state, film = started(**task_kwargs(name))
    broken = state._replace(w=np.full_like(state.w, value), distance=np.full(1, value))
    film.add(task, broken, Example(state.x[:, 0], state.y[:, 0]))
    assert render(task, broken, film, "rgb_array").shape == (HEIGHT, WIDTH, 3)
    assert "\n" not in render(task, broken, film, "ansi")
    if task.pool.n_classes and not value < np.inf:
        view = view_of(task)
        assert isinstance(view, PlaneView) and len(view.boundary(task, broken.w[0])) == 0


# ----------------------------------------------------------------------------------------------- what the plot shows


@pytest.mark.parametrize(
    "changes",
    [{}, {"bias": True, "target": "given", "target_options": {"w": [1.0, -2.0, 0.9]}}],
    ids=["fitted", "bias"],
)
def test_target_boundary_is_where_the_formula_says(changes: dict[str, Any]) -> None:
    """The line <v, x> + b = 0, computed here from the flat parameters, is green in the frame."""
    task, state, film = started(**{**task_kwargs("LabelMoons"), **changes})
    frame = render(task, state._replace(w=state.w * np.nan), film, "rgb_array")
    v, b = task.target[:2], task.target[2] if task.spec.bias else 0.0
    axes = view_of(task).axes
    across = np.linspace(axes.low[0], axes.high[0], 41)[1:-1]
    line = np.stack([across, -(b + v[0] * across) / v[1]], axis=-1)
    inside = (line[:, 1] > axes.low[1] + 0.1) & (line[:, 1] < axes.high[1] - 0.1)
    assert inside.sum() > 15
    shift = 0.25 * v / np.linalg.norm(v)
    for point in line[inside]:
        assert near(frame, axes.pixels(point), TARGET) < 40
        assert near(frame, axes.pixels(point + shift), TARGET) > 60
        assert near(frame, axes.pixels(point - shift), TARGET) > 60


def test_learner_boundary_is_where_the_formula_says() -> None:
    task, state, film = started(**task_kwargs("LabelMoons"))
    turned = np.zeros_like(state.w)
    turned[:, :2] = [1.0, -2.0]  # the line y = x / 2
    frame = render(task, state._replace(w=turned), film, "rgb_array")
    axes = view_of(task).axes
    reach = 0.9 * min(axes.high.min(), -axes.low.max())
    for t in np.linspace(-reach, reach, 25):
        assert near(frame, axes.pixels([t, t / 2]), INK) < 60


def test_plot_corners_and_aspect() -> None:
    view = view_of(make_task("LabelMoons"))
    np.testing.assert_allclose(view.axes.pixels(view.axes.low), [PLOT.left, PLOT.bottom])
    np.testing.assert_allclose(view.axes.pixels(view.axes.high), [PLOT.right, PLOT.top])
    unit = view.axes.pixels(np.eye(2)) - view.axes.pixels(np.zeros(2))
    np.testing.assert_allclose(np.abs(unit), np.abs(unit[0, 0]) * np.eye(2))
    assert unit[0, 0] > 0 > unit[1, 1]


@pytest.mark.parametrize("label", [0.0, 0.5, 1.0])
def test_taught_example_has_the_colour_of_its_label(label: float) -> None:
    task, state, film = started(**task_kwargs("LabelMoons"))
    film.example = Example(np.array([[[0.3, -0.4]]]), np.array([[[label]]]))
    frame = render(task, state, film, "rgb_array")
    mixed = (1 - label) * np.array(CLASSES[0]) + label * np.array(CLASSES[1])
    assert near(frame, view_of(task).axes.pixels([0.3, -0.4]), tuple(mixed), 0) < 3


def test_projection_is_the_principal_plane() -> None:
    """Against the eigenvectors of the covariance, and the boundary against the learner's own decision."""
    task = make_task("LabelDigits")
    view = view_of(task)
    assert isinstance(view, PlaneView)
    values, vectors = np.linalg.eigh(np.cov(task.x.T))
    np.testing.assert_allclose(np.abs(view.basis @ vectors[:, ::-1][:, :2]), np.eye(2), atol=1e-8)
    np.testing.assert_allclose(view.project(task.x).var(0, ddof=1), values[::-1][:2])
    ends = view.boundary(task, task.target)[0]
    for share in (0.0, 0.3, 1.0):
        in_plane = (1 - share) * ends[0] + share * ends[1]
        x = task.x.mean(0) + in_plane @ view.basis
        assert abs(float(x @ task.target)) < 1e-9


@pytest.mark.parametrize("name", ["LabelDigits10", "LabelDigitsMLP"])
def test_boundaries_separate_what_the_learner_predicts(name: str) -> None:
    """Predicted classes differ on the two sides of every segment (up to the width of the grid)."""
    task = make_task(name)
    view = view_of(task)
    assert isinstance(view, PlaneView)
    w = task.target
    ends = view.boundary(task, w)
    assert len(ends) > 0
    middle, along = ends.mean(1), ends[:, 1] - ends[:, 0]
    across = np.stack([-along[:, 1], along[:, 0]], -1) / np.maximum(np.linalg.norm(along, axis=1)[:, None], 1e-12)
    reach = 0.02 * float((view.axes.high - view.axes.low)[0])
    sides = []
    for sign in (-1, 1):
        z = task.learner.logits(w[None], view.centre + (middle + sign * reach * across) @ view.basis)[0]
        sides.append(z.argmax(-1) if task.k > 1 else (z[:, 0] > 0).astype(int))
    kept = np.linalg.norm(along, axis=1) > 0.2 * reach
    assert (sides[0] != sides[1])[kept].mean() > 0.95


def test_origin_of_examples() -> None:
    task, state, film = started(**task_kwargs("MixupMoons"))
    rows = tuple(state.schedule[0, 0, :, 0].tolist())
    after = state._replace(t=state.t + 1)
    for c in (1.0, 0.0, 0.5, 0.375):
        x = c * state.x[:, 0] + (1 - c) * state.x[:, 1]
        assert origin(task, after, Example(x, state.y[:, 0])) == (rows, True, pytest.approx(c))
    other = next(r for r in range(len(task.x)) if r not in rows)
    assert tuple(origin(task, after, Example(task.x[None, other : other + 1], state.y[:, 0]))) == (
        (other,),
        False,
        None,
    )
    label_task, label_state, _ = started(**task_kwargs("LabelMoons"))
    outside = Example(np.full((1, 1, 2), 9.0), label_state.y[:, 0])
    assert origin(label_task, label_state, outside).rows == ()
    film.example = Example(0.25 * state.x[:, 0] + 0.75 * state.x[:, 1], state.y[:, 0])
    assert f"0.25 of row {rows[0]} and 0.75 of row {rows[1]}" in render(task, after, film, "ansi")


def test_labels_are_named_by_their_classes() -> None:
    task = make_task("LabelDigits")
    assert task.pool.classes == ("3", "5")
    said = {0.0: "3", 1.0: "5", 0.25: "3 (0.75)", 0.8: "5 (0.80)", 1.5: "5 (1.50)", -2.0: "3 (3.00)"}
    assert {y: label_text(task, np.array([y])) for y in said} == said
    margin = make_task("LabelDigits", learner="margin_logistic")
    assert [label_text(margin, np.array([y])) for y in (-1.0, 1.0)] == ["3", "5"]
    assert label_text(make_task("LabelRegression"), np.array([0.5])) == "0.5"
    env = gym.make(env_id("LabelDigits"), render_mode="ansi")
    env.reset(seed=0)
    env.step(env.action_space.n - 1)
    assert re.search(r"class [35] -> 5 \|", env.render())


@pytest.mark.parametrize("size", [[320, 180], [200, 400], [1280, 720]])
def test_sizes_of_frames(size: list[int]) -> None:
    env = gym.make(env_id("LabelMoons"), render_mode="rgb_array", render_size=size)
    env.reset(seed=0)
    vector = gym.make_vec(env_id("LabelMoons"), 1, render_mode="rgb_array", render_size=size)
    vector.reset(seed=0)
    frame = env.render()
    assert frame.shape == (size[1], size[0], 3) and np.array_equal(vector.render()[0], frame)
    plain = gym.make(env_id("LabelMoons"), render_mode="rgb_array")
    plain.reset(seed=0)
    if size == [1280, 720]:
        again = Image.fromarray(frame).reduce(2)
        assert np.abs(np.asarray(again).astype(int) - plain.render()).mean() < 2, "the same picture, larger"


@pytest.mark.parametrize("size", [(10, 360), (640, 9999), (640,), (640.5, 360), "ab"])
def test_bad_sizes(size: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="width"):
        gym.make(env_id("LabelMoons"), render_size=size)


def test_frames_name_the_task() -> None:
    """The two tasks differ in nothing but the name; then a teacher's name is added."""
    one, other = (gym.make(env_id("LabelMoons"), render_mode="rgb_array") for _ in range(2))
    other.unwrapped.spec = gym.spec(env_id("SelectMoons"))
    for env in (one, other):
        env.reset(seed=0)
    rows = np.flatnonzero((one.render() != other.render()).any((1, 2)))
    assert len(rows) and rows.max() < PLOT.top
    task, state, film = started(**task_kwargs("LabelMoons"))
    named = [render(task, state, Film(film.values, None, "LabelMoons", teacher), "rgb_array") for teacher in "ab"]
    rows = np.flatnonzero((named[0] != named[1]).any((1, 2)))
    assert len(rows) and rows.max() < PLOT.top


def test_taught_image_is_shown() -> None:
    """The 8x8 pixels of the example shown, read back from the frame in the middle of their squares."""
    env = gym.make("teach_gym/LabelDigits-v0", render_mode="rgb_array")
    env.reset(seed=0)
    _, _, _, _, info = env.step(0)
    frame = env.render()
    centres = 76.0 * (np.arange(8) + 0.5) / 8
    shown = frame[np.ix_((78 + centres).astype(int), (336 + centres).astype(int))][..., 0]
    expected = (np.clip(info["features"][0], -1, 1).reshape(8, 8) + 1) * 127.5
    inner = (slice(1, -1), slice(1, -1))
    assert np.abs(shown - expected)[inner].max() < 2


def test_views_are_made_once_and_let_go() -> None:
    import gc
    import weakref

    task = make_task("LabelMoons")
    assert view_of(task) is view_of(task)
    gone = weakref.ref(task)
    del task
    gc.collect()
    assert gone() is None
