"""The large plot of a frame: the data, the learner, the target and the teaching example, in two dimensions."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import numpy as np

from teach_gym.core.backend import Array
from teach_gym.core.learner import MLPLearner
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.render.canvas import (
    ACCENT,
    CLASSES,
    INK,
    MUTED,
    RULE,
    TARGET,
    WHITE,
    Axes,
    Canvas,
    Colour,
    Floats,
    Rect,
    blend,
    cells,
    class_colour,
    contour,
    short,
    ticks,
)
from teach_gym.render.film import Film
from teach_gym.render.origin import origin

PLOT = Rect(16, 36, 306, 326)
"""Position of the large plot in the frame."""

_POINTS = 400
_SCATTER_POINTS = 200
_GRID = 64
_SHOWN_ROWS = 16
"""Maximum number of rows of a mini-batch that are drawn."""


def mixed_colours(task: Task, y: Array) -> Array:
    """Colours of labels or predictions on the labels' scale: (..., K) -> (..., 3) uint8."""
    if task.pool.n_classes == 0:
        return np.broadcast_to(np.array(class_colour(0), dtype=np.uint8), (*y.shape[:-1], 3))
    if task.k > 1:
        return blend(y, [class_colour(c) for c in range(task.k)])
    low, high = task.learner.output.label_low or 0.0, task.learner.output.label_high or 1.0
    share = np.clip((y[..., 0] - low) / (high - low), 0.0, 1.0)
    return blend(np.stack([1.0 - share, share], axis=-1), CLASSES[:2])


def label_colour(task: Task, y: Array) -> Colour:
    """Colour of one label (K,)."""
    red, green, blue = mixed_colours(task, y).tolist()
    return (red, green, blue)


def logits(task: Task, w: Array, x: Array) -> Array | None:
    """Logits (n, K) of one learner w (P,) on rows x (n, d); None where they are not finite."""
    with np.errstate(all="ignore"):
        z = task.learner.logits(w[None], x)[0]
    return z if np.isfinite(z).all() else None


@dataclass(eq=False)
class PlaneView:
    """Classes in the plane: the features themselves, or their first two principal components.

    The boundaries drawn are the learner's, restricted to the plane through the train rows' mean.

    Attributes:
        axes: the plot.
        centre: (d,) the point of the plane drawn at (0, 0).
        basis: (2, d) the plane's axes, orthonormal.
        grid: (n * n, d) points of the plane, row by row from the lower left corner.
        layer: the pool's points and, unless the task hides it, the target's boundary; drawn once.
    """

    axes: Axes
    centre: Floats
    basis: Floats
    grid: Floats
    layer: Canvas

    @classmethod
    def of(cls, task: Task) -> PlaneView:
        """The view of a task."""
        x = task.x.astype(np.float64)
        centre, basis = np.zeros(2), np.eye(2)
        if task.d != 2:
            centre = x.mean(0)
            basis = np.linalg.svd(x - centre, full_matrices=False)[2][:2]
            basis = np.concatenate([basis, np.zeros((2 - len(basis), task.d))])
        points = (x - centre) @ basis.T
        low, high = points.min(0), points.max(0)
        half = 0.56 * max(float((high - low).max()), 1e-6)
        axes = Axes(PLOT, (low + high) / 2 - half, (low + high) / 2 + half)
        sides = [np.linspace(axes.low[i], axes.high[i], _GRID) for i in (0, 1)]
        mesh = np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 2)
        view = cls(axes, centre, basis, centre + mesh @ basis, Canvas(1, 1, None))
        view.layer = view._background(task, points)
        return view

    def _background(self, task: Task, points: Floats) -> Canvas:
        layer = Canvas(round(PLOT.right), round(PLOT.bottom), None)
        shown = _subsample(len(points))
        colours = mixed_colours(task, task.y[shown])
        for (px, py), colour in zip(self.axes.clamped(points[shown]), colours.tolist(), strict=True):
            layer.dot(px, py, 2.3, tuple(colour), WHITE, 0.5)
        if task.tells_distance:
            layer.segments(self.axes.pixels(self.boundary(task, task.target)), TARGET, 3.0 if task.k <= 2 else 2.4)
        return layer

    def project(self, x: Array) -> Floats:
        """Plane coordinates: (..., d) -> (..., 2)."""
        return np.asarray((x - self.centre) @ self.basis.T)

    def boundary(self, task: Task, w: Array) -> Floats:
        """Decision boundary of a learner w (P,): (n, 2, 2) ends of segments in plane coordinates."""
        if not isinstance(task.learner, MLPLearner):
            corners = logits(task, w, self.centre + np.concatenate([np.zeros((1, task.d)), self.basis]))
            if corners is None:
                return np.empty((0, 2, 2))
            if task.k == 1:  # against a class whose logit is zero
                corners = np.concatenate([np.zeros((3, 1)), corners], axis=1)
            return cells(corners[0], (corners[1:] - corners[0]).T, self.axes)
        z = logits(task, w, self.grid)
        if z is None:
            return np.empty((0, 2, 2))
        fields = [z[:, 0]] if task.k == 1 else [_lead(z, c) for c in range(1 if task.k == 2 else task.k)]
        return np.concatenate([contour(f.reshape(_GRID, _GRID), self.axes) for f in fields])

    def draw(self, canvas: Canvas, task: Task, state: TeachState, film: Film) -> None:
        """Draw the plot; a learner that is not finite is left out."""
        self._tint(canvas, task, state.w[0])
        canvas.overlay(self.layer, 0, 0)
        learner = self.boundary(task, state.w[0])
        canvas.segments(self.axes.pixels(learner), INK, 1.7)
        if film.example is not None:
            self._example(canvas, task, state, film.example)

    def _tint(self, canvas: Canvas, task: Task, w: Array) -> None:
        """Shade the plane by the learner's predictions."""
        from PIL import Image

        canvas.box(PLOT, WHITE)
        z = logits(task, w, self.grid)
        if z is None:
            return
        colours = mixed_colours(task, task.learner.output.predict(z)).reshape(_GRID, _GRID, 3)
        pale = (0.18 * colours[::-1] + 0.82 * 255.0).astype(np.uint8)
        canvas.paste(Image.fromarray(pale), PLOT, smooth=True, inset=0.5)

    def _example(self, canvas: Canvas, task: Task, state: TeachState, example: Example) -> None:
        step = min(max(int(state.t[0]) - 1, 0), state.schedule.shape[1] - 1)
        if task.medium.n_sources > 1:
            offered = task.x[state.schedule[0, step, :, :_SHOWN_ROWS].ravel()]
            for px, py in self.axes.clamped(self.project(offered)):
                canvas.dot(px, py, 4.5, None, INK, 1.0)
        for i in range(min(example.x.shape[1], _SHOWN_ROWS)):
            came = origin(task, state, example, i)
            at = self.axes.clamped(self.project(example.x[0, i]))
            for source in self.axes.clamped(self.project(task.x[list(came.rows)])) if came.moved else ():
                canvas.line([source, at], INK, 1.4)
                canvas.dot(source[0], source[1], 3.5, WHITE, INK, 1.2)
            taught(canvas, at[0], at[1], label_colour(task, example.y[0, i]))


def _subsample(n: int, most: int = _POINTS) -> Array:
    """At most ``most`` of n rows, evenly spaced (pools are shuffled)."""
    return np.linspace(0, n - 1, min(n, most)).astype(np.int64)


def _lead(z: Array, c: int) -> Array:
    """Margin of class c over the best other class: (n, K) -> (n,)."""
    return z[:, c] - np.delete(z, c, axis=1).max(axis=1)


def taught(canvas: Canvas, x: float, y: float, colour: Colour) -> None:
    """Draw the marker of a teaching example."""
    canvas.dot(x, y, 8.0, INK)
    canvas.dot(x, y, 6.6, WHITE)
    canvas.dot(x, y, 5.2, colour)


@dataclass(eq=False)
class ScatterView:
    """Regression: predictions of train rows against true values; those of a perfect learner lie on the diagonal.

    Attributes:
        axes: the plot; true value to the right, prediction upwards.
        shown: train rows drawn.
        layer: axes and, unless the task hides it, the target's predictions; drawn once.
    """

    axes: Axes
    shown: Array
    layer: Canvas

    @classmethod
    def of(cls, task: Task) -> ScatterView:
        """The view of a task."""
        y = task.y[:, 0].astype(np.float64)
        half = 0.6 * max(float(y.max() - y.min()), 1e-6)
        middle = float(y.max() + y.min()) / 2
        rect = Rect(PLOT.left + 26, PLOT.top, PLOT.right, PLOT.bottom - 24)
        axes = Axes(rect, np.full(2, middle - half), np.full(2, middle + half))
        shown = _subsample(len(y), _SCATTER_POINTS)
        return cls(axes, shown, _scatter_background(task, axes, shown))

    def draw(self, canvas: Canvas, task: Task, state: TeachState, film: Film) -> None:
        """Draw the plot; a learner that is not finite is left out."""
        canvas.box(self.axes.rect, WHITE)
        canvas.overlay(self.layer, 0, 0)
        predicted = logits(task, state.w[0], task.x[self.shown])
        if predicted is not None:
            for px, py in self.axes.clamped(np.stack([task.y[self.shown, 0], predicted[:, 0]], axis=-1)):
                canvas.dot(px, py, 2.2, class_colour(0), WHITE, 0.5)
        if film.example is None:
            return
        for i in range(min(film.example.x.shape[1], _SHOWN_ROWS)):
            came = origin(task, state, film.example, i)
            label = float(film.example.y[0, i, 0])
            true = float(task.y[came.rows[0], 0]) if came.rows else label
            start, end = self.axes.clamped([[true, true], [true, label]])
            canvas.line([start, end], INK, 1.4)
            canvas.dot(start[0], start[1], 3.5, WHITE, INK, 1.2)
            taught(canvas, end[0], end[1], class_colour(1))


def _scatter_background(task: Task, axes: Axes, shown: Array) -> Canvas:
    layer = Canvas(round(PLOT.right), round(PLOT.bottom), None)
    rect = axes.rect
    for value in ticks(axes.low[0], axes.high[0], 5):
        px, py = axes.pixels([value, value])
        layer.line([(px, rect.top), (px, rect.bottom)], RULE)
        layer.line([(rect.left, py), (rect.right, py)], RULE)
        layer.text(px, rect.bottom + 8, short(value), 10, MUTED, "mm")
        layer.text(rect.left - 4, py, short(value), 10, MUTED, "rm")
    layer.text(rect.right - 5, rect.bottom - 9, "true value", 10, MUTED, "rm")
    layer.text(rect.left + 5, rect.top + 9, "prediction", 10, MUTED, "lm")
    ideal = logits(task, task.target, task.x[shown]) if task.tells_distance else None
    if ideal is not None:
        for px, py in axes.clamped(np.stack([task.y[shown, 0], ideal[:, 0]], axis=-1)):
            layer.dot(px, py, 2.2, TARGET, WHITE, 0.5)
    layer.line(axes.pixels([axes.low, axes.high]), ACCENT, 1.0)
    return layer


View = PlaneView | ScatterView
_VIEWS: weakref.WeakKeyDictionary[Task, View] = weakref.WeakKeyDictionary()


def view_of(task: Task) -> View:
    """The view of a task, made once per task."""
    if task not in _VIEWS:
        _VIEWS[task] = PlaneView.of(task) if task.pool.n_classes else ScatterView.of(task)
    return _VIEWS[task]
