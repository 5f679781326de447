"""The pictures of the environments' pages: a still and a moving one of each task."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from PIL import Image

from teach_gym.core.build import make_task
from teach_gym.core.state import Task
from teach_gym.files import writing
from teach_gym.registration import NEURAL_TASKS, TASKS, env_id
from teach_gym.render.frame import animate, save_animation
from teach_gym.teachers import lesson, make_teacher

Frame = npt.NDArray[np.uint8]

STILL = 0.2
"""The share of the budget after which the still picture of a page is taken."""

IMAGE_SIZE = (448, 252)
"""Width and height of the moving pictures, in pixels."""

SHORTENED = {"images": 5000, "validation": 1000, "epochs": 4, "look_every": 6}
"""The training that a network's pictures show, instead of the whole one."""

_FRAMES = 20
_FPS = 5.0
_COLOURS = 128


def shown_teacher(task: Task) -> str:
    """The teacher of a page's pictures."""
    return "holdout_greedy" if task.black_box else "greedy"


def still_step(task: Task) -> int:
    """The step of a page's still picture."""
    return max(round(STILL * task.spec.budget), 1)


def write_images(folder: str | Path, names: Iterable[str] | None = None) -> list[Path]:
    """Draw the pages' pictures, a still and a moving one of seed 0.

    They show lessons of ``shown_teacher``; of a network, a training with random coefficients.

    Args:
        folder: where NAME.png and NAME.webp go.
        names: the tasks (default: all).
    """
    paths = []
    for name in (*TASKS, *NEURAL_TASKS) if names is None else names:
        frames, still = _training(name) if name in NEURAL_TASKS else _lesson(name)
        paths += [Path(folder) / f"{name}.{kind}" for kind in ("webp", "png")]
        save_animation(frames, paths[-2], _FPS)
        with writing(paths[-1]) as file:
            Image.fromarray(still).quantize(_COLOURS, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
        print(f"{name}: {len(frames)} frames", flush=True)
    return paths


def _lesson(name: str) -> tuple[list[Frame], Frame]:
    """Frames of a lesson, and its still picture."""
    task = make_task(name)
    label = shown_teacher(task)
    teacher, every = make_teacher(label), max(1, round(task.spec.budget / _FRAMES))
    frames = animate(task, *lesson(task, teacher, [0]), name=name, teacher=label, size=IMAGE_SIZE, every=every)
    steps = still_step(task)
    still = animate(task, *lesson(task, teacher, [0], steps=steps), name=name, teacher=label, every=task.spec.budget)
    return frames, still[-1]


def _training(name: str) -> tuple[list[Frame], Frame]:
    """Frames of a network's training, shortened by ``SHORTENED``, and its last one as the still picture."""
    env: Any = gym.make(env_id(name), render_mode="rgb_array", **SHORTENED)
    env.reset(seed=0)
    env.action_space.seed(0)
    frames, over, every = [env.render()], False, env.unwrapped.trainings.horizon // _FRAMES
    for step in itertools.count(1):
        over = env.step(env.action_space.sample())[2]
        if step % every == 0 or over:
            frames.append(env.render())
        if over:
            break
    small = [np.asarray(Image.fromarray(f).resize(IMAGE_SIZE, Image.Resampling.LANCZOS)) for f in frames]
    return small, frames[-1]
