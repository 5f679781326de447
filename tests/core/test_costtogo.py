"""The cost-to-go against dynamic programming on grids, least squares and its own definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from teach_gym.core import costtogo
from teach_gym.core.costtogo import CostToGo, Form, backward, terminal

ROWS_2D = np.array([[1.0, 0.2], [0.3, -1.0], [1.0, 1.0], [0.0, 0.0], [-0.4, 0.9]])


def plain(rows: np.ndarray, horizon: int, damping: float = 1.0, outputs: int = 1) -> CostToGo:
    return CostToGo(rows[:, None] if rows.ndim == 2 else rows, np.ones((horizon, rows.shape[-1])), outputs, damping)


def absolute(form: Form) -> np.ndarray:
    return form.matrix * np.exp(form.log_scale)


def angular_programming(
    steps: int, outcomes: Any, end: np.ndarray, angles: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Dynamic programming for costs that are homogeneous of degree 2 in two state variables, on a grid of angles.

    Args:
        steps: number of steps.
        outcomes: (angles, u) -> next states (rows, angles, inputs, 2) for inputs u.
        end: (n,) cost at the end at the angles.
        angles: (n,) over the whole circle.
        weights: (rows,) probabilities.
    """
    inputs = np.tan(np.linspace(-1.5, 1.5, 2001))
    cost = end
    for _ in range(steps):
        after = outcomes(np.stack([np.cos(angles), np.sin(angles)], axis=1), inputs)
        where = np.arctan2(after[..., 1], after[..., 0])
        reached = (after**2).sum(-1) * np.interp(where, angles, cost, period=2 * np.pi)
        cost = weights @ reached.min(-1)
    return cost


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_two_dimensions_against_dynamic_programming_on_a_grid(steps: int) -> None:
    angles = np.linspace(-np.pi, np.pi, 721)[:-1]

    def outcomes(states: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        return states[None, :, None] + inputs[:, None] * ROWS_2D[:, None, None]

    weights = np.full(len(ROWS_2D), 1 / len(ROWS_2D))
    found = angular_programming(steps, outcomes, np.ones(720), angles, weights)
    z = np.stack([np.cos(angles), np.sin(angles)], axis=1)[:, None]
    np.testing.assert_allclose(plain(ROWS_2D, steps)[steps].at(z), found, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("steps", [1, 3])
def test_one_dimension_is_the_chance_that_no_row_says_anything(steps: int) -> None:
    rows = np.array([[2.0], [0.0], [0.0], [-1.0]])
    z = np.linspace(-3, 3, 7)[:, None, None]
    np.testing.assert_allclose(plain(rows, steps)[steps].at(z), 0.5**steps * z[:, 0, 0] ** 2, atol=1e-6)


def test_mini_batches_against_least_squares_and_minimisation() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((6, 2, 4))
    rows[1, 1] = rows[1, 0]  # a row shown twice
    z = rng.standard_normal((3, 1, 4))
    forms = plain(rows, 2)
    residuals = [[np.linalg.lstsq(x.T, -v[0], rcond=None)[0] @ x + v[0] for x in rows] for v in z]
    np.testing.assert_allclose(forms[1].at(z), (np.array(residuals) ** 2).sum(-1).mean(1), rtol=1e-7)
    first = absolute(forms[1])
    for v, cost in zip(z[:, 0], forms[2].at(z), strict=True):
        least = [minimize(lambda u, x=x, v=v: (v + u @ x) @ first @ (v + u @ x), np.zeros(2)).fun for x in rows]
        assert cost == pytest.approx(np.mean(least), rel=1e-5)


@pytest.mark.parametrize("outputs", [1, 3])
def test_forms_are_positive_symmetric_and_fall_with_steps_and_trust(outputs: int) -> None:
    rows = np.random.default_rng(1).standard_normal((40, 5)) * [1, 1, 0.3, 0.1, 2]
    full, half = plain(rows, 12, outputs=outputs), plain(rows, 12, 0.5, outputs)
    for k in range(12):
        for forms in (full, half):
            np.testing.assert_array_equal(forms[k].matrix, forms[k].matrix.T)
            assert np.linalg.eigvalsh(absolute(forms[k]) - absolute(forms[k + 1])).min() > -1e-12
            assert np.linalg.eigvalsh(absolute(forms[k])).min() > 0
        assert np.linalg.eigvalsh(absolute(half[k]) - absolute(full[k])).min() > -1e-12
    assert forms[0].linear.shape == (outputs, 5)


def test_a_linear_part_moves_the_minimum_and_nothing_else() -> None:
    """A form around c instead of the origin, z -> z - c, leads to the same form around c."""
    rng = np.random.default_rng(2)
    rows, root, centre = rng.standard_normal((20, 1, 3)), rng.standard_normal((3, 3)), rng.standard_normal((2, 3))
    matrix = root @ root.T * 3 / np.trace(root @ root.T)
    straight = Form(matrix, np.zeros((2, 3)), np.zeros(()), np.zeros(()))
    moved = Form(matrix, -centre @ matrix, np.einsum("ki,ij,kj->", centre, matrix, centre), np.zeros(()))
    z = rng.standard_normal((50, 2, 3))
    for damping in (1.0, 0.4):
        found, expected = backward(rows, moved, damping).at(z), backward(rows, straight, damping).at(z - centre)
        np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_a_batch_of_recursions_equals_single_ones() -> None:
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((4, 6, 2, 5))
    many = Form(*(np.broadcast_to(part, (4, *part.shape)) for part in terminal(2, 5)))
    one = [terminal(2, 5)] * 4
    for _ in range(3):
        many, one = backward(rows, many), [backward(r, f) for r, f in zip(rows, one, strict=True)]
    for i, form in enumerate(one):
        for a, b in zip(many, form, strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("horizon", [1, 10, 37])
def test_forms_that_are_not_kept_are_made_again(horizon: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(4).standard_normal((30, 4))
    kept = plain(rows, horizon)
    monkeypatch.setattr(costtogo, "MOST_BYTES", 0)
    remade = plain(rows, horizon)
    order = np.random.default_rng(5).permutation(horizon + 1)
    for k in [*order, *range(horizon + 1)]:
        np.testing.assert_array_equal(remade[int(k)].matrix, kept[int(k)].matrix)
    for k in (-1, horizon + 1):
        with pytest.raises(IndexError, match=f"0..{horizon}"):
            kept[k]


def test_very_long_horizons_stay_in_the_range_of_numbers() -> None:
    form = plain(ROWS_2D, 2000)[2000]
    assert form.log_scale < -800 and np.isfinite(form.matrix).all()
    assert np.trace(form.matrix) == pytest.approx(2) and np.linalg.cond(form.matrix) < 100
