"""The array primitives against plain loops and scipy, in numpy and in torch."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.special
import torch

from teach_gym.core import backend

BACKENDS = {"numpy": np.asarray, "torch": torch.as_tensor}
backends = pytest.mark.parametrize("to", BACKENDS.values(), ids=BACKENDS.keys())


def loop_matmul(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """x (m, d), w (d, K) by explicit sums."""
    return np.array([[sum(a * b for a, b in zip(row, column, strict=True)) for column in w.T] for row in x])


@backends
@pytest.mark.parametrize("m", [1, 5, 40], ids="m={}".format)
def test_matmul_and_outer_sum_equal_loops(to: Any, m: int, rng: np.random.Generator) -> None:
    x, w, r = rng.standard_normal((4, m, 3)), rng.standard_normal((4, 3, 2)), rng.standard_normal((4, m, 2))
    expected = np.stack([loop_matmul(a, b) for a, b in zip(x, w, strict=True)])
    np.testing.assert_allclose(np.asarray(backend.matmul(to(x), to(w))), expected, atol=1e-12)
    outer = np.stack([sum(np.outer(a, b) for a, b in zip(xs, rs, strict=True)) for xs, rs in zip(x, r, strict=True)])
    np.testing.assert_allclose(np.asarray(backend.outer_sum(to(x), to(r))), outer, atol=1e-12)


@backends
@pytest.mark.parametrize("m", [1, 5, 40], ids="m={}".format)
@pytest.mark.parametrize("lead", [(), (4,), (3, 4)], ids=str)
def test_matmul_with_a_shared_table(to: Any, m: int, lead: tuple[int, ...], rng: np.random.Generator) -> None:
    x, w = rng.standard_normal((m, 3)), rng.standard_normal((*lead, 3, 2))
    found = np.asarray(backend.matmul(to(x), to(w)))
    assert found.shape == (*lead, m, 2)
    for index in np.ndindex(*lead):
        np.testing.assert_allclose(found[index], loop_matmul(x, w[index]), atol=1e-12)


@backends
@pytest.mark.parametrize("m", [1, 40])
def test_matmul_and_outer_sum_broadcast(to: Any, m: int, rng: np.random.Generator) -> None:
    x, w = rng.standard_normal((5, 1, m, 3)), rng.standard_normal((4, 3, 2))
    found = np.asarray(backend.matmul(to(x), to(w)))
    assert found.shape == (5, 4, m, 2)
    np.testing.assert_allclose(found[2, 3], loop_matmul(x[2, 0], w[3]), atol=1e-12)
    r = rng.standard_normal((5, 4, m, 2))
    outer = np.asarray(backend.outer_sum(to(x[0, :1]), to(r)))
    assert outer.shape == (5, 4, 3, 2)
    np.testing.assert_allclose(outer[4, 1], loop_matmul(x[0, 0].T, r[4, 1]), atol=1e-12)


@backends
def test_dot_norm_combine(to: Any, rng: np.random.Generator) -> None:
    a, b = rng.standard_normal((2, 5, 3))
    np.testing.assert_allclose(np.asarray(backend.dot(to(a), to(b))), [sum(p * q) for p, q in zip(a, b, strict=True)])
    np.testing.assert_allclose(np.asarray(backend.norm(to(a))), [np.sqrt(sum(p * p)) for p in a])
    weights, sources = rng.standard_normal((7, 1, 4)), rng.standard_normal((5, 4, 2, 3))
    found = np.asarray(backend.combine(to(weights), to(sources)))
    assert found.shape == (7, 5, 2, 3)
    expected = sum(weights[6, 0, s] * sources[3, s] for s in range(4))
    np.testing.assert_allclose(found[6, 3], expected, atol=1e-12)


Z = np.array([-1e4, -800.0, -40.0, -1.3, 0.0, 1e-9, 0.7, 35.0, 800.0, 1e4])


@backends
def test_logistic_functions_do_not_overflow(to: Any) -> None:
    with np.errstate(all="raise", under="ignore"):
        sigmoid, softplus = (np.asarray(f(to(Z))) for f in (backend.sigmoid, backend.softplus))
    np.testing.assert_allclose(sigmoid, scipy.special.expit(Z), atol=1e-15)
    np.testing.assert_allclose(softplus, np.logaddexp(0.0, Z), rtol=1e-14)


@backends
def test_softmax_and_logsumexp_equal_scipy(to: Any, rng: np.random.Generator) -> None:
    z = np.concatenate([30 * rng.standard_normal((20, 4)), [[1e4, -1e4, 0, 1e4]], [[-1e4] * 4]])
    with np.errstate(all="raise", under="ignore"):
        p, lse = (np.asarray(f(to(z))) for f in (backend.softmax, backend.logsumexp))
    np.testing.assert_allclose(p, scipy.special.softmax(z, axis=-1), atol=1e-14)
    assert lse.shape == (22, 1)
    np.testing.assert_allclose(lse[:, 0], scipy.special.logsumexp(z, axis=-1), rtol=1e-14)


def test_softplus_gradient_is_right_at_zero() -> None:
    z = torch.tensor([0.0, -3.0, 5.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(backend.softplus(z).sum(), z)
    np.testing.assert_allclose(slope, scipy.special.expit([0.0, -3.0, 5.0]), atol=1e-14)


@backends
@pytest.mark.parametrize("shape", [(6,), (6, 2), (6, 2, 3)], ids=str)
def test_gather_and_lookup_are_fancy_indexing(to: Any, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    table, rows = np.asfortranarray(rng.standard_normal((11, 4))), rng.integers(11, size=shape)
    found = np.asarray(backend.gather(to(table), to(rows)))
    assert found.shape == (*shape, 4)
    np.testing.assert_array_equal(found, table[rows])
    candidates, index = rng.standard_normal((5, 2, 3)), rng.integers(5, size=9)
    np.testing.assert_array_equal(np.asarray(backend.lookup(to(candidates), to(index))), candidates[index])


def test_gather_gives_a_fresh_array_with_the_batch_axis_fastest(rng: np.random.Generator) -> None:
    table = np.asfortranarray(rng.standard_normal((11, 4)))
    found = backend.gather(table, np.array([[1, 2], [3, 4], [5, 6]]))
    assert found.strides[0] == found.itemsize
    assert not np.shares_memory(found, table)


def test_namespace_refuses_other_types() -> None:
    assert backend.namespace(np.zeros(2)) is np
    assert backend.namespace(np.float64(1.0)) is np
    assert backend.namespace(torch.zeros(2)) is not np
    with pytest.raises(TypeError):
        backend.namespace([1.0, 2.0])


class Pair(NamedTuple):
    a: Any
    b: Any


@dataclasses.dataclass(frozen=True)
class Nest:
    array: np.ndarray
    pair: Pair
    text: str
    nothing: None = None


def test_to_torch_walks_nests_and_copies(rng: np.random.Generator) -> None:
    array = rng.standard_normal((3, 4)).T
    array.setflags(write=False)
    nest = Nest(array, Pair((array, 3), np.arange(3)), "text")
    copy = backend.to_torch(nest, dtype=torch.float32)
    assert isinstance(copy.pair, Pair) and isinstance(copy.pair.a, tuple)
    assert copy.text == "text" and copy.nothing is None and copy.pair.a[1] == 3
    assert copy.array.dtype == torch.float32 and copy.pair.b.dtype == torch.int64
    np.testing.assert_array_equal(copy.array, array.astype(np.float32))
    copy.array[:] = 0.0
    assert array.any()
    assert backend.to_torch(nest).array.dtype == torch.float64
