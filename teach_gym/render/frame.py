"""Frames of a teaching run: an image drawn with Pillow, or one line of text.

A frame names the task and, if it is known, the teacher. It shows the data with the current and the target boundary, the
teaching example just shown with what it was made from, its true label and the taught one, the distance curve and the
remaining budget. Unless ``TaskSpec.debug`` is set, frames of black-box tasks show neither the target nor the distance,
but the hold-out loss.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from teach_gym.core.state import Example, Task, TeachState, Transition
from teach_gym.errors import lookup_name, number, positive, quoted, shown
from teach_gym.files import writing
from teach_gym.render.canvas import RULE, Canvas, short
from teach_gym.render.film import SIZE, Film, curve_title, curve_value
from teach_gym.render.origin import Origin, origin
from teach_gym.render.panels import (
    draw_curve,
    draw_example,
    draw_headline,
    draw_legend,
    draw_status,
    label_change,
)
from teach_gym.render.views import PLOT, view_of

WIDTH, HEIGHT = SIZE


def render(task: Task, state: TeachState, film: Film, mode: str, size: tuple[int, int] = SIZE) -> Any:
    """Draw one teaching run.

    Args:
        task: the task.
        state: the run's current state, B = 1.
        film: its history and the example shown last.
        mode: ``rgb_array`` or ``ansi``.
        size: width and height of an image; of another shape than 16 to 9, it has margins.

    Returns:
        uint8 (height, width, 3), or one line of text.

    Raises:
        ValueError: unknown mode, or a state of more than one run.
    """
    modes: dict[str, Callable[[Task, TeachState, Film], Any]] = {"rgb_array": partial(_frame, size=size), "ansi": _line}
    draw = lookup_name("render mode", mode, modes)
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
    parts.append(label_change(task, [task.y[r] for r in came.rows], film.example.y[0, 0], "->"))
    return " | ".join([*parts, "shown " + _shown_text(task, film.example, came)])


def _shown_text(task: Task, example: Example, came: Origin) -> str:
    x, rows = example.x[0, 0], came.rows
    what = "an example from outside the pool"
    if came.share is not None:
        what = f"{short(came.share)} of row {rows[0]} and {short(1.0 - came.share)} of row {rows[1]}"
    elif rows:
        what = f"row {rows[0]}"
        if came.moved:
            what += f" moved by {np.linalg.norm(x - task.x[rows[0]]):.3g}"
    if task.d <= 2:
        what += " at (" + ", ".join(short(v) for v in x) + ")"
    more = example.x.shape[1] - 1
    return what + (f" (+ {more} more)" if more else "")


# ----------------------------------------------------------------------------------------------------------- frame


def _frame(task: Task, state: TeachState, film: Film, size: tuple[int, int] = SIZE) -> npt.NDArray[np.uint8]:
    canvas = Canvas(WIDTH, HEIGHT)
    spec = task.spec
    title = film.task or f"{spec.medium.capitalize()} teaching"
    draw_headline(canvas, title, [f"{spec.learner.replace('_', ' ')} on {spec.pool.replace('_', ' ')}"], film.teacher)
    view_of(task).draw(canvas, task, state, film)
    canvas.box(PLOT, None, RULE)
    draw_legend(canvas, task)
    draw_status(canvas, task, state)
    top = draw_example(canvas, task, state, film, 66.0)
    draw_curve(canvas, film.values, curve_title(task), task.spec.budget, top)
    return canvas.array(size)


# ------------------------------------------------------------------------------------------------------- animation


_FPS = (0.01, 50.0)
_KINDS = (".gif", ".webp", ".mp4", ".png")


def animate(
    task: Task,
    first: TeachState,
    transitions: Iterable[Transition],
    *,
    name: str = "",
    teacher: str = "",
    size: tuple[int, int] = SIZE,
    every: int = 1,
) -> list[npt.NDArray[np.uint8]]:
    """Frames of a lesson: one at reset, one after each step or every few steps, and one at the end.

    Args:
        task: the task.
        first: the state at reset, one run.
        transitions: the steps that follow, such as those of ``teach_gym.teachers.lesson``.
        name: the task's name.
        teacher: the teacher's name.
        size: width and height of the frames, see ``render``.
        every: steps from one frame to the next.

    Returns:
        uint8 arrays of shape (height, width, 3).
    """
    film = Film.of(task, first, name=name, teacher=teacher)
    positive("every", every, integer=True)
    state, frames, shown = first, [_frame(task, first, film, size)], 0
    for transition in transitions:
        state = transition.state
        film.add(task, state, transition.example)
        if (len(film.values) - 1) % every == 0:
            frames.append(_frame(task, state, film, size))
            shown = len(film.values) - 1
    if shown < len(film.values) - 1:
        frames.append(_frame(task, state, film, size))
    return frames


def check_animation(path: str | Path) -> None:
    """Check, before frames are drawn, that a file of them can be written.

    Raises:
        ValueError: a suffix other than .gif, .webp, .mp4 and .png.
        ImportError: .mp4, and the encoder is not installed; the message names the extra.
    """
    kind = Path(path).suffix
    if kind.lower() not in _KINDS:
        allowed = f"{', '.join(_KINDS[:-1])} or {_KINDS[-1]}"
        raise ValueError(f"cannot write {quoted(path)}: the suffix must be {allowed}, got {shown(kind)}")
    if kind.lower() == ".mp4":
        _encoder()


def _encoder() -> Any:
    """The module imageio-ffmpeg, which brings the encoder."""
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise ImportError("videos need imageio-ffmpeg: pip install 'teach_gym[video]'") from error
    return imageio_ffmpeg


def save_animation(frames: Sequence[npt.NDArray[np.uint8]], path: str | Path, fps: float = 10.0) -> None:
    """Write frames as a moving picture or a video, or the last one as a PNG; the file is written atomically.

    Args:
        frames: at least one uint8 array of shape (rows, columns, 3).
        path: the output file; its suffix, .gif, .webp (a third of the size), .mp4 or .png, selects the format. MP4
            needs the extra ``video``.
        fps: frames per second, from 0.01 to 50: GIF durations are in hundredths of a second, and viewers slow down
            faster ones.

    Raises:
        ValueError: another suffix, no frames, or ``fps`` out of range.
        ImportError: .mp4, and the encoder is not installed; the message names the extra.
    """
    path = Path(path)
    check_animation(path)
    kind = path.suffix.lower()
    if not frames:
        raise ValueError("no frames to write; give at least one")
    number("fps", fps)
    if not _FPS[0] <= fps <= _FPS[1]:
        raise ValueError(f"fps must lie in [{_FPS[0]:g}, {_FPS[1]:g}], got {shown(fps)}")
    encoded = _mp4(frames, fps) if kind == ".mp4" else b""
    with writing(path) as file:
        if kind == ".png":
            Image.fromarray(frames[-1]).save(file, "PNG", optimize=True)
        elif kind == ".gif":
            _write_gif(frames, file, fps)
        elif kind == ".webp":
            _write_webp(frames, file, fps)
        else:
            file.write(encoded)


def _mp4(frames: Sequence[npt.NDArray[np.uint8]], fps: float) -> bytes:
    """An H.264 video that browsers play; odd widths and heights lose a pixel."""
    rows, columns = (length - length % 2 for length in frames[0].shape[:2])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "video.mp4")
        options: dict[str, Any] = {"fps": fps, "macro_block_size": 2, "quality": 8, "ffmpeg_log_level": "error"}
        writer = _encoder().write_frames(str(path), (columns, rows), **options)
        writer.send(None)
        for frame in frames:
            writer.send(np.ascontiguousarray(frame[:rows, :columns]))
        writer.close()
        return path.read_bytes()


_WEBP_QUALITY = 50


def _write_webp(frames: Sequence[npt.NDArray[np.uint8]], file: Any, fps: float) -> None:
    images = [Image.fromarray(frame) for frame in frames]
    options = {"duration": round(1000 / fps), "loop": 0, "quality": _WEBP_QUALITY}
    images[0].save(file, "WEBP", save_all=True, append_images=images[1:], **options)


def _write_gif(frames: Sequence[npt.NDArray[np.uint8]], file: Any, fps: float) -> None:
    """All frames with one palette (that of the last frame), so that colours do not flicker."""
    palette = Image.fromarray(frames[-1]).quantize(255, dither=Image.Dither.NONE)
    images = [Image.fromarray(f).quantize(palette=palette, dither=Image.Dither.NONE) for f in frames]
    duration = round(1000 / fps)
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=duration, loop=0, optimize=False)
