"""The geometry of plots: borders, contours, ticks."""

from __future__ import annotations

import numpy as np
import pytest

from teach_gym.render.canvas import Axes, Rect, cells, contour, log_ticks, ticks

UNIT = Axes(Rect(0, 0, 100, 100), np.array([-1.0, -1.0]), np.array([1.0, 1.0]))


def test_cells_against_brute_force(rng: np.random.Generator) -> None:
    """On the border between two regions their functions tie for the largest; and no border is missed."""
    for _ in range(100):
        k = int(rng.integers(2, 8))
        offsets, normals = rng.normal(size=k), 2.0 * rng.normal(size=(k, 2))
        ends = cells(offsets, normals, UNIT)
        points = np.concatenate([(1 - s) * ends[:, 0] + s * ends[:, 1] for s in (0.01, 0.5, 0.99)])
        values = np.sort(offsets + points @ normals.T, axis=-1)
        np.testing.assert_allclose(values[:, -1], values[:, -2], atol=1e-9)
        assert (np.abs(points) <= 1 + 1e-9).all()
        x = np.linspace(-1, 1, 4001)
        for y in (-0.37, 0.61):
            winner = (offsets + np.stack([x, np.full_like(x, y)], -1) @ normals.T).argmax(-1)
            changes = x[:-1][np.diff(winner) != 0]
            crossing = (ends[:, 0, 1] - y) * (ends[:, 1, 1] - y) < 0
            share = (y - ends[crossing, 0, 1]) / (ends[crossing, 1, 1] - ends[crossing, 0, 1])
            at = np.sort(ends[crossing, 0, 0] + share * (ends[crossing, 1, 0] - ends[crossing, 0, 0]))
            if len(np.unique(changes.round(2))) == len(changes):
                np.testing.assert_allclose(at, changes, atol=1.1e-3)


def test_cells_without_a_border() -> None:
    assert len(cells([0.0, 0.0], np.zeros((2, 2)), UNIT)) == 0
    assert len(cells([0.0, 9.0], [[0.0, 0.0], [1.0, 1.0]], UNIT)) == 0


def test_contour_of_a_circle() -> None:
    xs = np.linspace(-1, 1, 64)
    ends = contour(xs[None] ** 2 + xs[:, None] ** 2 - 0.49, UNIT)
    np.testing.assert_allclose(np.linalg.norm(ends, axis=-1), 0.7, atol=2e-3)
    length = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=-1).sum()
    assert length == pytest.approx(2 * np.pi * 0.7, rel=0.01)
    assert contour(np.ones((5, 5)), UNIT).shape == (0, 2, 2)


def test_ticks_are_round_and_inside() -> None:
    for low, high in ((0.0, 3.1), (-2.7, 2.7), (0.0, 1e-4), (10.0, 1234.0), (0.0, 60.0)):
        found = ticks(low, high)
        assert 2 <= len(found) <= 8 and low <= min(found) and max(found) <= high * (1 + 1e-9)
        step = f"{found[1] - found[0]:.0e}"[0]
        assert step in "125"
    for low, high in ((0.01, 5.0), (1e-6, 1e3), (0.3, 9.0)):
        found = log_ticks(low, high)
        assert 2 <= len(found) <= 7 and low <= min(found) and max(found) <= high
