"""Frames of a teaching run: an image drawn with Pillow, or one line of text.

A frame shows the data with the current and the target boundary, the teaching example just shown, its true label and
the taught one, the distance curve and the remaining budget. Unless ``TaskSpec.debug`` is set, frames of black-box
tasks show neither the target nor the distance, but the hold-out loss.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from teach_gym.core.state import Example, Task, TeachState, Transition
from teach_gym.errors import lookup_name, number
from teach_gym.files import writing
from teach_gym.render.canvas import INK, MUTED, RULE, Canvas, short
from teach_gym.render.film import Film, curve_title, curve_value
from teach_gym.render.panels import draw_curve, draw_example, draw_legend, draw_status, label_text
from teach_gym.render.views import PLOT, origin, view_of

WIDTH, HEIGHT = 640, 360


def render(task: Task, state: TeachState, film: Film, mode: str) -> Any:
    """Draw one teaching run.

    Args:
        task: the task.
        state: the run's current state, B = 1.
        film: its history and the example shown last.
        mode: ``rgb_array`` or ``ansi``.

    Returns:
        uint8 (360, 640, 3), or one line of text.

    Raises:
        ValueError: unknown mode, or a state of more than one run.
    """
    draw = lookup_name("render mode", mode, {"rgb_array": _frame, "ansi": _line})
    if len(state.t) != 1:
        raise ValueError(f"render draws one run, got a state of {len(state.t)}; take() one of them first")
    return draw(task, state, film)


# -------------------------------------------------------------------------------------------------------- one line


def _line(task: Task, state: TeachState, film: Film) -> str:
    value, first = float(curve_value(task, state)[0]), film.values[0]
    parts = [f"step {int(state.t[0])}/{task.spec.budget}", f"{curve_title(task)} {value:.4g}"]
    if first > 0 and math.isfinite(value):
        parts[-1] += f" ({100 * (1 - value / first):.1f}% removed)"
    if film.example is None:
        return " | ".join([*parts, "nothing shown yet"])
    came = origin(task, state, film.example)
    offered = " and ".join(label_text(task, task.y[r]) for r in came.rows) or "?"
    parts.append(f"label {offered} -> {label_text(task, film.example.y[0, 0])}")
    return " | ".join([*parts, "shown " + _shown_text(task, film.example, came.rows, came.moved)])


def _shown_text(task: Task, example: Example, rows: Sequence[int], moved: bool) -> str:
    x = example.x[0, 0]
    what = "an example from outside the pool"
    if len(rows) > 1:
        what = "a mix of rows " + " and ".join(str(r) for r in rows)
    elif rows:
        what = f"row {rows[0]}"
        if moved:
            what += f" moved by {np.linalg.norm(x - task.x[rows[0]]):.3g}"
    if task.d <= 2:
        what += " at (" + ", ".join(short(v) for v in x) + ")"
    more = example.x.shape[1] - 1
    return what + (f" (+ {more} more)" if more else "")


# ----------------------------------------------------------------------------------------------------------- frame


def _frame(task: Task, state: TeachState, film: Film) -> npt.NDArray[np.uint8]:
    canvas = Canvas(WIDTH, HEIGHT)
    spec = task.spec
    canvas.text(PLOT.left, 18, f"{spec.medium.capitalize()} teaching", 14, INK)
    after = PLOT.left + canvas.text_width(f"{spec.medium.capitalize()} teaching", 14) + 8
    canvas.text(after, 19, f"{spec.learner.replace('_', ' ')} on {spec.pool.replace('_', ' ')}", 11, MUTED)
    view_of(task).draw(canvas, task, state, film)
    canvas.box(PLOT, None, RULE)
    draw_legend(canvas, task)
    draw_status(canvas, task, state)
    top = draw_example(canvas, task, state, film, 66.0)
    draw_curve(canvas, task, film, top)
    return canvas.array()


# ------------------------------------------------------------------------------------------------------- animation


_FPS = (0.01, 50.0)


def animate(task: Task, first: TeachState, transitions: Iterable[Transition]) -> list[npt.NDArray[np.uint8]]:
    """Frames of a lesson: one at reset and one after each step.

    Args:
        task: the task.
        first: the state at reset, one run.
        transitions: the steps that follow, such as those of ``teach_gym.teachers.lesson``.

    Returns:
        uint8 arrays of shape (360, 640, 3).
    """
    film = Film.of(task, first)
    frames = [_frame(task, first, film)]
    for transition in transitions:
        film.add(task, transition.state, transition.example)
        frames.append(_frame(task, transition.state, film))
    return frames


def save_animation(frames: Sequence[npt.NDArray[np.uint8]], path: str | Path, fps: float = 10.0) -> None:
    """Write frames as a GIF, or the last one as a PNG; the file is written atomically.

    Args:
        frames: at least one uint8 array of shape (rows, columns, 3).
        path: the output file; its suffix, .gif or .png, selects the format.
        fps: frames per second (GIF), from 0.01 to 50: GIF durations are in hundredths of a second, and viewers slow
            down faster ones.

    Raises:
        ValueError: another suffix, no frames, or ``fps`` out of range.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (".gif", ".png"):
        raise ValueError(f"cannot write {str(path)!r}: the suffix must be .gif or .png, got {path.suffix!r}")
    if not frames:
        raise ValueError("no frames to write; give at least one")
    number("fps", fps)
    if not _FPS[0] <= fps <= _FPS[1]:
        raise ValueError(f"fps must lie in [{_FPS[0]:g}, {_FPS[1]:g}], got {fps!r}")
    with writing(path) as file:
        if kind == ".png":
            Image.fromarray(frames[-1]).save(file, "PNG", optimize=True)
        else:
            _write_gif(frames, file, fps)


def _write_gif(frames: Sequence[npt.NDArray[np.uint8]], file: Any, fps: float) -> None:
    """All frames with one palette (that of the last frame), so that colours do not flicker."""
    palette = Image.fromarray(frames[-1]).quantize(255, dither=Image.Dither.NONE)
    images = [Image.fromarray(f).quantize(palette=palette, dither=Image.Dither.NONE) for f in frames]
    duration = round(1000 / fps)
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=duration, loop=0, optimize=False)
