"""Random integers by the compiled loop are those by array calls, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from kernels import interpreted

from teach_gym.compiled import compiler
from teach_gym.core import drawing
from teach_gym.core.randomness import Streams

KEYS = np.array([0, 1, 2**63, 2**64 - 1, 1234567890123456789], dtype=np.uint64)


def compare() -> None:
    mine, theirs = drawing.CompiledStreams(KEYS), Streams(KEYS)
    for high, shape in ((2, (3,)), (1000, ()), (2**31, (4, 2)), (7, (5, 1, 3))):
        a, b = mine.integers(high, *shape), theirs.integers(high, *shape)
        assert a.dtype == b.dtype and a.strides == b.strides
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(mine.uniform(2), theirs.uniform(2))
    for high in (0, 2**31 + 1):
        with pytest.raises(ValueError, match="high must lie in"):
            mine.integers(high)


def test_the_loop_draws_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "compiled", interpreted)
    drawing._loop.cache_clear()
    compare()
    drawing._loop.cache_clear()


@pytest.mark.slow
def test_machine_code_draws_the_same_bits() -> None:
    pytest.importorskip("numba")
    drawing._loop.cache_clear()
    compare()
