"""Frames of an image learner's training with mixup: pictures of the last mini-batch, and the losses so far."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from teach_gym.render.canvas import INK, MUTED, RULE, Canvas, Rect, short
from teach_gym.render.film import SIZE
from teach_gym.render.panels import draw_budget, draw_curve, draw_headline, draw_value
from teach_gym.render.views import PLOT

Pixels = npt.NDArray[np.uint8]
PAIRS = 4
"""Pairs of images that a frame shows."""

_PICTURE, _GAP = 62.0, 40.0
_TOP = PLOT.top + 26
_MIDDLE = 178.0
"""Where the plot of the training loss ends, in frame pixels."""


@dataclass
class Reel:
    """The history of one training.

    Attributes:
        horizon: steps of the training.
        training: loss on the mini-batch of each step; the first entry, at reset, is nan.
        validation: validation loss at reset and after each step, as measured last.
        accuracy: validation accuracy as measured last, a fraction.
        coefficient: the Mixup coefficient of the last step, None before the first.
        images: the first images of the last pair of mini-batches, (2, n, rows, columns, channels), one or three
            channels; None before the first step.
        task: the task's name, empty if it has none.
        learner: what is trained.
    """

    horizon: int
    training: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    accuracy: float = 0.0
    coefficient: float | None = None
    images: Pixels | None = None
    task: str = ""
    learner: str = ""

    def add(self, training: float, validation: float, accuracy: float) -> None:
        """Add the losses and the accuracy at reset or after a step."""
        self.training.append(training)
        self.validation.append(validation)
        self.accuracy = accuracy


def draw_training(reel: Reel, size: tuple[int, int] = SIZE) -> Pixels:
    """Draw a training: uint8 (height, width, 3).

    Args:
        reel: its history.
        size: width and height; of another shape than 16 to 9, the image has margins.
    """
    canvas = Canvas(*SIZE)
    draw_headline(canvas, reel.task or "Mixup teaching", [reel.learner])
    draw_budget(canvas, len(reel.training) - 1, reel.horizon)
    draw_value(canvas, f"{reel.accuracy:.3f}", "validation accuracy")
    _draw_pairs(canvas, reel)
    draw_curve(canvas, reel.training, "training loss", reel.horizon, 60.0, _MIDDLE)
    draw_curve(canvas, reel.validation, "validation loss", reel.horizon, _MIDDLE + 18.0)
    return canvas.array(size)


def _draw_pairs(canvas: Canvas, reel: Reel) -> None:
    """Draw a column of pairs of images and what the learner was shown."""
    canvas.box(PLOT, None, RULE)
    if reel.images is None or reel.coefficient is None:
        canvas.text((PLOT.left + PLOT.right) / 2, (PLOT.top + PLOT.bottom) / 2, "nothing shown yet", 11, MUTED, "mm")
        return
    c = reel.coefficient
    first, second = reel.images[0], reel.images[1]
    mixed = np.rint(c * first.astype(np.float64) + (1.0 - c) * second).astype(np.uint8)
    lefts = [PLOT.left + 12 + column * (_PICTURE + _GAP) for column in range(3)]
    for left, title in zip(lefts, (f"{short(c)} of", f"{short(1.0 - c)} of", "shown"), strict=True):
        canvas.text(left + _PICTURE / 2, PLOT.top + 14, title, 11, INK, "mm")
    for row, images in enumerate(zip(first, second, mixed, strict=True)):
        top = _TOP + row * (_PICTURE + 3)
        for left, pixels in zip(lefts, images, strict=True):
            image = Image.fromarray(pixels if pixels.shape[-1] == 3 else pixels[..., 0]).convert("RGB")
            canvas.paste(image, Rect(left, top, left + _PICTURE, top + _PICTURE))
        middle = top + _PICTURE / 2
        canvas.text(lefts[1] - _GAP / 2, middle, "+", 14, MUTED, "mm")
        canvas.arrow(lefts[2] - _GAP + 10, lefts[2] - 10, middle)
