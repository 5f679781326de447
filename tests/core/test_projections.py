"""The projections against scipy's SLSQP, brute force and the definition of a projection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from teach_gym.core import projections as p

RADIUS, TOTAL = 0.8, 2.5
SETS: dict[str, tuple[Callable[[Any], Any], list[dict[str, Any]], tuple[float | None, float | None]]] = {
    "simplex": (p.onto_simplex, [{"type": "eq", "fun": lambda v: v.sum() - 1}], (0, None)),
    "scaled simplex": (
        lambda v: p.onto_simplex(v, TOTAL),
        [{"type": "eq", "fun": lambda v: v.sum() - TOTAL}],
        (0, None),
    ),
    "ball": (lambda v: p.onto_ball(v, RADIUS), [{"type": "ineq", "fun": lambda v: RADIUS**2 - v @ v}], (None, None)),
    "cone and ball": (
        lambda v: p.onto_cone_ball(v, RADIUS),
        [{"type": "ineq", "fun": lambda v: RADIUS**2 - v @ v}],
        (0, None),
    ),
    "interval": (lambda v: p.onto_interval(v, -0.5, 0.7), [], (-0.5, 0.7)),
}
sets = pytest.mark.parametrize("name", SETS)


def cases(n: int = 120) -> Iterator[np.ndarray]:
    """Random points of 1 to 7 entries, near and far from the sets, with ties and zeros."""
    rng = np.random.default_rng(7)
    for i in range(n):
        v = rng.standard_normal(1 + i % 7) * 10.0 ** rng.uniform(-2, 1)
        yield np.round(v, 1) if i % 5 == 0 else v


@sets
def test_projection_is_the_nearest_point_by_slsqp(name: str) -> None:
    project, constraints, bounds = SETS[name]
    for v in cases():
        found = project(v)
        start = found * 0.5 + 0.1
        best = minimize(
            lambda q, v=v: ((q - v) ** 2).sum(),
            start,
            jac=lambda q, v=v: 2 * (q - v),
            method="SLSQP",
            bounds=[bounds] * len(v),
            constraints=constraints,
            options={"maxiter": 300, "ftol": 1e-14},
        )
        np.testing.assert_allclose(found, best.x, atol=2e-5 * (1 + np.abs(v).max()), err_msg=f"{name} {v}")


@sets
def test_projection_is_feasible_and_obtuse(name: str) -> None:
    """<v - Pv, q - Pv> <= 0 for every feasible q, which defines the projection on a convex set."""
    project, constraints, (low, high) = SETS[name]
    rng = np.random.default_rng(8)
    for v in cases():
        found = project(v)
        for c in constraints:
            value = c["fun"](found)
            assert value >= -1e-12 and (c["type"] == "ineq" or abs(value) < 1e-12), (name, v)
        assert (low is None or found.min() >= low) and (high is None or found.max() <= high)
        others = project(found + rng.standard_normal((50, len(v))))
        assert ((others - found) @ (v - found)).max() < 1e-9 * (1 + np.abs(v).max() ** 2)


@sets
def test_projection_is_idempotent_batched_and_the_same_in_torch(name: str, rng: np.random.Generator) -> None:
    project = SETS[name][0]
    v = 2 * rng.standard_normal((3, 5, 4))
    found = project(v)
    np.testing.assert_allclose(project(found), found, atol=1e-14)
    np.testing.assert_allclose(found[1, 2], project(v[1, 2]), atol=1e-15)
    tensor = project(torch.as_tensor(v))
    assert tensor.dtype == torch.float64
    np.testing.assert_allclose(tensor, found, atol=1e-14)
    half = project(v.astype(np.float32))
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, found, atol=1e-5)


def test_ball_around_a_centre(rng: np.random.Generator) -> None:
    v, centre = rng.standard_normal((2, 200, 3)) * 0.5
    found = p.onto_ball_around(v, centre, RADIUS)
    gap = np.linalg.norm(v - centre, axis=1)
    np.testing.assert_allclose(np.linalg.norm(found - centre, axis=1), np.minimum(gap, RADIUS), atol=1e-14)
    np.testing.assert_allclose(np.linalg.norm(v - found, axis=1), np.maximum(gap - RADIUS, 0), atol=1e-14)
    inside = gap < RADIUS
    assert inside.any()
    np.testing.assert_allclose(found[inside], v[inside], atol=1e-15)


def test_ball_of_the_zero_vector_is_the_zero_vector() -> None:
    assert p.onto_ball(np.zeros((2, 3)), 0.5).tolist() == [[0.0] * 3] * 2


def test_vertices_are_the_nearest_by_brute_force(rng: np.random.Generator) -> None:
    for k in (1, 2, 5):
        v = rng.standard_normal((100, k))
        corners = np.eye(k)
        nearest = corners[((v[:, None] - corners) ** 2).sum(-1).argmin(-1)]
        np.testing.assert_array_equal(p.onto_vertices(v), nearest)
        np.testing.assert_array_equal(p.onto_vertices(torch.as_tensor(v)), nearest)
    assert p.onto_vertices(np.ones((2, 3))).tolist() == [[1.0, 0.0, 0.0]] * 2


def test_interval_with_bounds_per_entry() -> None:
    low, high = np.array([-1.0, 0.0]), np.array([0.0, 3.0])
    found = p.onto_interval(np.array([[-5.0, -5.0], [5.0, 2.0]]), low, high)
    assert found.tolist() == [[-1.0, 0.0], [0.0, 2.0]]


@sets
def test_projection_works_on_another_device_than_the_cpu(name: str) -> None:
    assert SETS[name][0](torch.zeros((2, 3), device="meta")).device.type == "meta"
    assert p.onto_vertices(torch.zeros((2, 3), device="meta")).device.type == "meta"


def test_projection_passes_gradients() -> None:
    """Away from the faces the Jacobian of the projection on the simplex is that of v - mean(v) on the support."""
    v = torch.tensor([0.5, 0.4, -2.0], dtype=torch.float64, requires_grad=True)
    jacobian = torch.autograd.functional.jacobian(p.onto_simplex, v)
    np.testing.assert_allclose(jacobian, [[0.5, -0.5, 0.0], [-0.5, 0.5, 0.0], [0.0, 0.0, 0.0]], atol=1e-12)
