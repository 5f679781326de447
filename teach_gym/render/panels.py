"""The panels next to and below a frame's large plot: budget, teaching example, label, distance curve, legend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from teach_gym.core.backend import Array
from teach_gym.core.state import Task, TeachState
from teach_gym.render.canvas import (
    ACCENT,
    INK,
    MUTED,
    RULE,
    TARGET,
    WHITE,
    Axes,
    Canvas,
    Rect,
    class_colour,
    log_ticks,
    short,
    ticks,
)
from teach_gym.render.film import Film, curve_title, curve_value
from teach_gym.render.origin import origin
from teach_gym.render.views import PLOT, label_colour, mixed_colours, taught

_LEFT, _RIGHT = 336.0, 624.0
_LOG_RATIO = 20.0
"""The distance axis is logarithmic once the distances span more than this factor."""


def label_text(task: Task, y: Array) -> str:
    """A label (K,) in a few characters: a number, or the heaviest class and its weight."""
    if task.pool.n_classes == 0:
        return short(float(y[0]))
    if task.k == 1:  # a label on the scale from class 0 to class 1
        low, high = label_scale(task)
        share = (float(y[0]) - low) / (high - low)
        y = np.array([1.0 - share, share])
    best = int(np.argmax(y))
    weight = float(y[best])
    if not np.isfinite(weight):
        return "not finite"
    return class_name(task, best) + ("" if abs(weight - 1.0) < 5e-4 else f" ({weight:.2f})")


def label_word(task: Task) -> str:
    """What a label names: a class, or in regression a number."""
    return "class" if task.pool.n_classes else "label"


def label_scale(task: Task) -> tuple[float, float]:
    """The labels of class 0 and class 1 of a learner with one output."""
    output = task.learner.output
    return output.label_low or 0.0, output.label_high or 1.0


def label_change(task: Task, offered: Sequence[Array], given: Array, arrow: str) -> str:
    """The labels that were offered and the one that was taught instead, such as "class 3 -> 5"."""
    before, after = " and ".join(label_text(task, y) for y in offered) or "?", label_text(task, given)
    return f"{label_word(task)} {before} {arrow} {after}"


def mixture_text(share: float) -> str:
    """A Mixup coefficient in words."""
    return f"{short(round(share, 3))} of the first, {short(round(1.0 - share, 3))} of the second"


def class_name(task: Task, index: int) -> str:
    """The name of a class, or its index if it has none."""
    return task.pool.classes[index] if index < len(task.pool.classes) else str(index)


def draw_headline(canvas: Canvas, title: str, beside: Sequence[str], teacher: str = "") -> None:
    """Draw a title, and behind it the teacher, or else the first text that there is room for."""
    texts = [f"taught by {teacher}", teacher] if teacher else beside
    title = _fitting(canvas, title, PLOT.width, 14)
    canvas.text(PLOT.left, 18, title, 14, INK)
    left = PLOT.left + canvas.text_width(title, 14) + 8
    room = PLOT.right - left
    if room > 30:
        text = next((text for text in texts if canvas.text_width(text, 11) <= room), texts[-1])
        canvas.text(left, 19, _fitting(canvas, text, room, 11), 11, MUTED)


def _fitting(canvas: Canvas, text: str, width: float, size: int) -> str:
    """A text, cut short if it is wider than so many pixels."""
    if canvas.text_width(text, size) <= width:
        return text
    while text and canvas.text_width(text + "...", size) > width:
        text = text[:-1]
    return text + "..."


def draw_legend(canvas: Canvas, task: Task) -> None:
    """Draw the legend of the large plot's lines and colours."""
    y, x = 343.0, PLOT.left
    regression = task.pool.n_classes == 0
    lines = [("learner", class_colour(0) if regression else INK)]
    if task.tells_distance:
        lines.append(("target", TARGET))
    for name, colour in lines:
        if regression:
            canvas.dot(x + 8, y, 3.5, colour)
        else:
            canvas.line([(x, y), (x + 16, y)], colour, 1.6 if colour == INK else 3.0)
        canvas.text(x + 20, y, name, 11, MUTED)
        x += 28 + canvas.text_width(name)
    if regression:
        taught(canvas, x + 8, y, class_colour(1))
        canvas.text(x + 20, y, "taught label", 11, MUTED)
        return
    if task.k > 1:  # the label's columns name the classes
        return
    for c in (1, 0):
        x = PLOT.right - 2 if c else x
        name = class_name(task, c)
        canvas.text(x, y, name, 11, MUTED, "rm")
        x -= canvas.text_width(name) + 6
        canvas.dot(x, y, 3.5, class_colour(c))
        x -= 12


def draw_status(canvas: Canvas, task: Task, state: TeachState) -> None:
    """Draw the step, the distance (or hold-out loss) and the budget bar."""
    draw_budget(canvas, int(state.t[0]), task.spec.budget)
    draw_value(canvas, f"{float(curve_value(task, state)[0]):.4g}", curve_title(task))


def draw_value(canvas: Canvas, value: str, name: str) -> None:
    """Draw a number and its name in the top right corner."""
    canvas.text(_RIGHT, 18, value, 14, INK, "rm")
    canvas.text(_RIGHT - canvas.text_width(value, 14) - 6, 19, name, 11, MUTED, "rm")


def draw_budget(canvas: Canvas, step: int, budget: int) -> None:
    """Draw the step and the bar of the budget left."""
    canvas.text(_LEFT, 18, f"step {step} / {budget}", 14)
    bar = Rect(_LEFT, 34, _RIGHT, 40)
    canvas.box(bar, RULE, None, 3)
    left = 1.0 - step / budget
    if left > 0.0:
        canvas.box(Rect(bar.left, bar.top, bar.left + max(left * bar.width, 6), bar.bottom), ACCENT, None, 3)
    canvas.text(_RIGHT, 49, f"budget left {100 * max(left, 0):.0f}%", 10, MUTED, "rm")


def draw_example(canvas: Canvas, task: Task, state: TeachState, film: Film, top: float) -> float:
    """Draw the teaching example: its pictures, if any, and its label; returns where the next panel starts."""
    pictures = 76.0 if task.pool.image_shape is not None else 0.0
    rows: tuple[int, ...] = ()
    title = "taught example"
    if film.example is not None:
        came = origin(task, state, film.example)
        rows, more = came.rows, film.example.x.shape[1] - 1
        if came.share is not None:
            title += f": {mixture_text(came.share)}"
        elif task.k > 1:
            title += ": " + label_change(task, [task.y[r] for r in rows], film.example.y[0, 0], "->")
        if more:
            canvas.text(_RIGHT, top, f"1 of {more + 1}", 10, MUTED, "rm")
    canvas.text(_LEFT, top, title, 11, MUTED)
    if pictures:
        _pictures(canvas, task, state, film, top + 12, pictures)
    y = top + 12 + (pictures + 8 if pictures else 0)
    offered = [task.y[r] for r in rows]
    given = None if film.example is None else film.example.y[0, 0]
    if task.k > 1:
        return _label_bars(canvas, task, offered, given, y)
    return _label_gauge(canvas, task, offered, given, y)


def _pictures(canvas: Canvas, task: Task, state: TeachState, film: Film, top: float, size: float) -> None:
    """Draw the taught image, after the images it was made from if the medium changed it."""
    if film.example is None:
        canvas.box(Rect(_LEFT, top, _LEFT + size, top + size), None, RULE)
        canvas.text(_LEFT + size / 2, top + size / 2, "none yet", 10, MUTED, "mm")
        return
    came = origin(task, state, film.example)
    x = _LEFT
    for row in came.rows[:2] if came.moved else ():
        _picture(canvas, task, task.x[row], Rect(x, top, x + size, top + size))
        x += size + 6
    if x > _LEFT:
        canvas.arrow(x, x + 16, top + size / 2)
        x += 24
    rect = Rect(x, top, x + size, top + size)
    _picture(canvas, task, film.example.x[0, 0], rect)
    frame = [(rect.left, rect.top), (rect.right, rect.top), (rect.right, rect.bottom), (rect.left, rect.bottom)]
    canvas.line([*frame, frame[0], frame[1]], label_colour(task, film.example.y[0, 0]), 2.0)


def _picture(canvas: Canvas, task: Task, x: Array, rect: Rect) -> None:
    """Draw features (d,) as an image; projected features are first mapped back to pixels."""
    shape, back = task.pool.image_shape, task.pool.to_image
    assert shape is not None
    pixels = np.asarray(x if back is None else x @ back, dtype=np.float64)
    grey = np.clip(np.nan_to_num(pixels), -1.0, 1.0).reshape(shape)
    canvas.paste(Image.fromarray(np.rint((grey + 1.0) * 127.5).astype(np.uint8)).convert("RGB"), rect)


def _label_gauge(canvas: Canvas, task: Task, offered: list[Array], given: Array | None, y: float) -> float:
    """One output: draw the true and the taught label as numbers, and on a scale from class 0 to class 1."""
    x = _LEFT
    if given is None:
        canvas.text(x, y + 6, "label", 11, MUTED)
    else:
        said = f"{label_word(task)} " + (" and ".join(label_text(task, o) for o in offered) or "?")
        canvas.text(x, y + 6, said, 12)
        x += canvas.text_width(said, 12) + 8
        canvas.arrow(x, x + 18, y + 6)
        canvas.text(x + 26, y + 6, label_text(task, given), 12)
    if task.pool.n_classes == 0:
        return y + 22
    bar = Rect(_LEFT + 8, y + 21, _RIGHT - 8, y + 29)
    low, high = label_scale(task)
    scale = mixed_colours(task, np.linspace(low, high, 64)[:, None])
    canvas.paste(Image.fromarray(scale[None]), bar, smooth=True)

    def at(label: Array) -> float:
        return bar.left + bar.width * min(max((float(label[0]) - low) / (high - low), 0.0), 1.0)

    for label in offered:
        canvas.dot(at(label), y + 25, 6.0, WHITE, INK, 1.4)
    if given is not None and np.isfinite(given).all():
        taught(canvas, at(given), y + 25, label_colour(task, given))
    for c, edge, anchor in ((0, bar.left - 8, "lm"), (1, bar.right + 8, "rm")):
        canvas.text(edge, y + 41, f"class {class_name(task, c)}", 10, MUTED, anchor)
    return y + 54


def _label_bars(canvas: Canvas, task: Task, offered: list[Array], given: Array | None, y: float) -> float:
    """Several outputs: draw a column per class, with the true label outlined and the taught one filled."""
    height, k = 30.0, task.k
    pitch = min((_RIGHT - _LEFT) / k, 29.0)
    base = y + height
    for c in range(k):
        left, right = _LEFT + c * pitch, _LEFT + (c + 1) * pitch - min(5.0, 0.3 * pitch)
        canvas.box(Rect(left, base, right, base + 3), class_colour(c))
        weight = 0.0 if given is None else float(np.nan_to_num(np.clip(given[c], 0.0, 1.0)))
        if weight * height >= 1.0:
            canvas.box(Rect(left, base - weight * height, right, base), class_colour(c))
        for label in offered:
            if float(label[c]) > 0.0:
                canvas.box(Rect(left, base - float(label[c]) * height, right, base), None, INK)
        if pitch >= 10.0:
            canvas.text((left + right) / 2, base + 11, class_name(task, c)[:4], 10, MUTED, "mm")
    return base + 25


def draw_curve(
    canvas: Canvas, series: Sequence[float], title: str, horizon: int, top: float, bottom: float = PLOT.bottom
) -> None:
    """Draw the values at steps 0, 1, ... on a linear or, for a wide range, a logarithmic axis.

    Args:
        canvas: the frame.
        series: the values; those that are not finite or not positive are left out.
        title: their name.
        horizon: the last step of the axis.
        top: where the panel starts.
        bottom: where its plot ends.
    """
    rect = Rect(_LEFT + 34, top + 20, _RIGHT, bottom)
    values = np.array(series, dtype=np.float64)
    steps = np.arange(len(values))
    kept = np.isfinite(values) & (values > 0.0)
    good = values[kept] if kept.any() else np.ones(1)
    log = good.max() / good.min() > _LOG_RATIO
    low, high = (good.min() / 1.3, good.max() * 1.3) if log else (0.0, 1.08 * good.max())
    marks = log_ticks(low, high) if log else ticks(low, high, max(int(rect.height // 24), 4))

    def height(v: npt.ArrayLike) -> Array:
        return np.asarray(np.log10(v) if log else v)

    horizon = max(horizon, int(steps[-1]), 1)
    axes = Axes(rect, np.array([0.0, height(low)]), np.array([float(horizon), height(high)]))
    canvas.box(rect, WHITE, RULE)
    for mark in marks:
        y = axes.pixels([0.0, float(height(mark))])[1]
        canvas.line([(rect.left, y), (rect.right, y)], RULE)
        canvas.text(rect.left - 4, y, short(mark), 10, MUTED, "rm")
    for mark in (m for m in ticks(0.0, horizon, 5) if float(m).is_integer()):
        x = axes.pixels([mark, float(height(low))])[0]
        canvas.text(x, rect.bottom + 9, short(mark), 10, MUTED, "mm")
    canvas.text(rect.right, rect.bottom + 22, "step", 10, MUTED, "rm")
    canvas.text(_LEFT, rect.top - 9, title + (" (log scale)" if log else ""), 11, MUTED)
    if not kept.any():
        return
    line = axes.clamped(np.stack([steps[kept], height(good)], axis=-1))
    if len(line) > 1:
        canvas.line(line, INK, 1.8)
    canvas.dot(line[-1, 0], line[-1, 1], 3.6, INK, WHITE, 1.0)
