"""A small anti-aliased drawing surface on Pillow, and plot geometry: axes, ticks, clipped lines, contours."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, ImageOps

Floats = npt.NDArray[np.float64]
Colour = tuple[int, int, int]

SCALE = 3
"""Everything is drawn this many times larger and then averaged down."""

PAPER: Colour = (250, 250, 248)
WHITE: Colour = (255, 255, 255)
INK: Colour = (32, 36, 46)
MUTED: Colour = (112, 119, 132)
RULE: Colour = (222, 225, 230)
ACCENT: Colour = (70, 84, 110)
TARGET: Colour = (20, 150, 96)
CLASSES: tuple[Colour, ...] = (
    (59, 111, 212),
    (238, 132, 52),
    (142, 91, 201),
    (214, 76, 127),
    (43, 166, 181),
    (201, 162, 39),
    (122, 139, 60),
    (150, 85, 50),
    (120, 125, 135),
    (224, 70, 70),
)
"""Colours of the classes; they repeat after ten."""


class Rect(NamedTuple):
    """A rectangle in frame pixels."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Width in pixels."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Height in pixels."""
        return self.bottom - self.top


class Axes(NamedTuple):
    """A plot area: data limits on the two axes, mapped linearly to a rectangle (y grows upwards).

    Attributes:
        rect: position of the plot in the frame.
        low: (2,) data coordinates of the lower left corner.
        high: (2,) data coordinates of the upper right corner.
    """

    rect: Rect
    low: Floats
    high: Floats

    def pixels(self, points: npt.ArrayLike) -> Floats:
        """Frame pixels of data points: (..., 2) -> (..., 2)."""
        share = (np.asarray(points, dtype=np.float64) - self.low) / (self.high - self.low)
        corner = np.array([self.rect.left, self.rect.bottom])
        return np.asarray(corner + share * np.array([self.rect.width, -self.rect.height]))

    def clamped(self, points: npt.ArrayLike) -> Floats:
        """Like ``pixels``, with points outside the plot moved to its border."""
        low, high = (self.rect.left, self.rect.top), (self.rect.right, self.rect.bottom)
        return np.asarray(np.clip(self.pixels(points), low, high))


@functools.cache
def font(size: int) -> Any:
    """Pillow's default font at a size in drawing pixels."""
    return ImageFont.load_default(size)


class Canvas:
    """A drawing surface in frame pixels, drawn ``SCALE`` times larger.

    Args:
        width: frame columns.
        height: frame rows.
        background: the background colour; None makes a transparent layer.
    """

    def __init__(self, width: int, height: int, background: Colour | None = PAPER) -> None:
        size = (SCALE * width, SCALE * height)
        if background is None:
            self.image = Image.new("RGBA", size, (255, 255, 255, 0))
        else:
            self.image = Image.new("RGB", size, background)
        self._draw = ImageDraw.Draw(self.image)

    def array(self, size: tuple[int, int] | None = None) -> npt.NDArray[np.uint8]:
        """The frame, averaged down: (rows, columns, 3) uint8.

        Args:
            size: its width and height; of another shape than the canvas, it has margins.
        """
        if size is None or (SCALE * size[0], SCALE * size[1]) == self.image.size:
            return np.array(self.image.reduce(SCALE), dtype=np.uint8)
        return np.asarray(ImageOps.pad(self.image, size, Image.Resampling.LANCZOS, color=PAPER), dtype=np.uint8)

    def text(self, x: float, y: float, text: str, size: int = 11, fill: Colour = INK, anchor: str = "lm") -> None:
        """Draw one line of text; ``anchor`` is Pillow's (l, m, r and t, m, b)."""
        self._draw.text((SCALE * x, SCALE * y), text, fill=fill, font=font(SCALE * size), anchor=anchor)

    def text_width(self, text: str, size: int = 11) -> float:
        """Width of a line of text in frame pixels."""
        return float(font(SCALE * size).getlength(text)) / SCALE

    def line(self, points: npt.ArrayLike, fill: Colour, width: float = 1.0) -> None:
        """Draw a polyline through points (n, 2)."""
        flat = (SCALE * np.asarray(points, dtype=np.float64)).ravel().tolist()
        self._draw.line(flat, fill=fill, width=max(round(SCALE * width), 1), joint="curve")

    def segments(self, ends: npt.ArrayLike, fill: Colour, width: float = 1.0) -> None:
        """Draw separate segments: ends (n, 2, 2)."""
        thick = max(round(SCALE * width), 1)
        for pair in (SCALE * np.asarray(ends, dtype=np.float64)).reshape(-1, 4).tolist():
            self._draw.line(pair, fill=fill, width=thick)

    def dot(
        self, x: float, y: float, radius: float, fill: Colour | None, outline: Colour | None = None, width: float = 1.0
    ) -> None:
        """Draw a disc or a ring."""
        x, y, radius = SCALE * x, SCALE * y, SCALE * radius
        box = (x - radius, y - radius, x + radius, y + radius)
        self._draw.ellipse(box, fill=fill, outline=outline, width=max(round(SCALE * width), 1))

    def box(self, rect: Rect, fill: Colour | None = None, outline: Colour | None = None, radius: float = 0.0) -> None:
        """Draw a rectangle, with rounded corners if ``radius`` is positive."""
        edges = tuple(SCALE * v for v in rect)
        self._draw.rounded_rectangle(edges, SCALE * radius, fill=fill, outline=outline, width=SCALE)

    def polygon(self, points: npt.ArrayLike, fill: Colour) -> None:
        """Fill a polygon with corners (n, 2)."""
        self._draw.polygon((SCALE * np.asarray(points, dtype=np.float64)).ravel().tolist(), fill=fill)

    def arrow(self, x0: float, x1: float, y: float, fill: Colour = MUTED) -> None:
        """Draw a short arrow to the right."""
        self.line([(x0, y), (x1 - 4, y)], fill, 1.2)
        self.polygon([(x1, y), (x1 - 5, y - 3.2), (x1 - 5, y + 3.2)], fill)

    def paste(self, image: Image.Image, rect: Rect, *, smooth: bool = False, inset: float = 0.0) -> None:
        """Scale an image into a rectangle.

        Args:
            image: the image.
            rect: its position in the frame.
            smooth: bilinear instead of nearest-neighbour scaling.
            inset: pixels of the image to leave out on each side (0.5 puts pixel centres on the border).
        """
        size = (round(SCALE * rect.width), round(SCALE * rect.height))
        kind = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
        inner = (inset, inset, image.width - inset, image.height - inset)
        self.image.paste(image.resize(size, kind, box=inner), (round(SCALE * rect.left), round(SCALE * rect.top)))

    def overlay(self, layer: Canvas, left: int, top: int) -> None:
        """Put a transparent layer on top, its corner at (left, top)."""
        self.image.paste(layer.image, (SCALE * left, SCALE * top), layer.image)


def class_colour(index: int) -> Colour:
    """Colour of a class."""
    return CLASSES[index % len(CLASSES)]


def blend(weights: npt.ArrayLike, colours: Sequence[Colour]) -> npt.NDArray[np.uint8]:
    """Mix colours: weights (..., K), non-negative (negative ones count as 0) -> (..., 3) uint8."""
    shares = np.maximum(np.asarray(weights, dtype=np.float64), 0.0)
    shares = shares / np.maximum(shares.sum(-1, keepdims=True), 1e-12)
    return np.asarray(np.rint(shares @ np.array(colours, dtype=np.float64)), dtype=np.uint8)


_FLAT = 1e-12
"""Slopes below this count as zero, for functions of order one."""


def cells(offsets: npt.ArrayLike, normals: npt.ArrayLike, axes: Axes) -> Floats:
    """Borders between the regions where each of several affine functions is the largest, inside the axes.

    Two functions are equal on a line; the border is the part of that line inside the plot where no other function is
    larger (Cyrus-Beck clipping).

    Args:
        offsets: (K,) values at the origin.
        normals: (K, 2) slopes.
        axes: the plot.

    Returns:
        (n, 2, 2) ends of the border segments in data coordinates.
    """
    f = np.column_stack([np.asarray(offsets, dtype=np.float64), np.asarray(normals, dtype=np.float64)])
    f /= np.abs(f).max() or 1.0
    one, other = np.triu_indices(len(f), 1)
    lead = f[one] - f[other]
    size = np.hypot(lead[:, 1], lead[:, 2])
    one, lead = one[size > _FLAT], (lead / np.maximum(size, _FLAT)[:, None])[size > _FLAT]
    start, along = -lead[:, :1] * lead[:, 1:], np.stack([-lead[:, 2], lead[:, 1]], axis=-1)  # of the line lead = 0
    (x0, y0), (x1, y1) = axes.low, axes.high
    sides = np.array([[-x0, 1, 0], [-y0, 0, 1], [x1, -1, 0], [y1, 0, -1]])
    rules = np.concatenate([f[one][:, None] - f, np.broadcast_to(sides, (len(one), 4, 3))], axis=1)
    value = rules[..., 0] + (rules[..., 1:] @ start[..., None])[..., 0]  # value + t slope >= 0 on the border
    slope = (rules[..., 1:] @ along[..., None])[..., 0]
    flat = np.abs(slope) <= _FLAT
    t = -value / np.where(flat, 1.0, slope)
    low = np.where(~flat & (slope > 0.0), t, -np.inf).max(-1)
    high = np.where(~flat & (slope < 0.0), t, np.inf).min(-1)
    seen = (low < high) & (~flat | (value >= -_FLAT)).all(-1)
    ends = np.stack([low, high], axis=-1)[seen]
    return np.asarray(start[seen][:, None] + ends[..., None] * along[seen][:, None])


def contour(values: Floats, axes: Axes) -> Floats:
    """Zero level set of a function known on a grid that spans the axes.

    Args:
        values: (rows, columns); row 0 is the lowest y, column 0 the lowest x.
        axes: the plot the grid spans.

    Returns:
        (n, 2, 2) ends of segments in data coordinates.
    """
    from contourpy import LineType, contour_generator

    x, y = (np.linspace(axes.low[i], axes.high[i], n) for i, n in enumerate(values.shape[::-1]))
    lines: Any = contour_generator(x, y, values, line_type=LineType.Separate).lines(0.0)
    return np.concatenate([np.empty((0, 2, 2)), *(np.stack([line[:-1], line[1:]], axis=1) for line in lines)])


def ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers in [low, high], about ``wanted`` of them, 1, 2 or 5 times a power of ten apart."""
    raw = (high - low) / max(wanted, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten in [low, high] (both positive), with their multiples by 2 and 5 if there are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for multiples in ((1.0,), (1.0, 2.0, 5.0)):
        found = [m * 10.0**p for p in powers for m in multiples if low <= m * 10.0**p <= high]
        if len(found) >= 3:
            stride = math.ceil(len(found) / 6)
            return found[::stride]
    return found


def short(value: float) -> str:
    """A number in few characters."""
    text = f"{value:.3g}"
    return "0" if text == "-0" else text
