"""The random streams of ``randomness`` with a compiled loop for integers, most of what the start of episodes draws.

The loop is written from the source of the functions that array calls use, so the bits are the same.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from teach_gym.compiled import compiler
from teach_gym.core import randomness
from teach_gym.core.randomness import Streams


class CompiledStreams(Streams):
    """``Streams`` whose integers are drawn by a compiled loop."""

    def integers(self, high: int, *shape: int) -> npt.NDArray[np.int32]:
        """Uniform integers in [0, high): (B, *shape); those of ``Streams``.

        Raises:
            ValueError: ``high`` is not in [1, 2^31].
        """
        randomness.check_high(high)
        n = math.prod(shape)
        out = np.empty((2, (n + 1) // 2, len(self)), dtype=np.int32)
        _loop()(self.keys, self._drawn + 1, np.uint64(high), out)
        self._drawn += out.shape[1]
        return self._shaped(out.reshape(-1, len(self))[:n].T, shape)


@functools.cache
def _loop() -> Callable[..., Any]:
    return compiler.compiled(write(), "float64")


def write() -> str:
    """The loop's source: ``step`` takes keys (B,), the first counter, the bound and the array (2, n, B) to fill."""
    constants = {name: int(getattr(randomness, name)) for name in ("_GAMMA", "_MIX1", "_MIX2")}
    halves = (("0", "z >> np.uint64(32)"), ("1", "z & np.uint64(0xFFFFFFFF)"))
    lines = [
        "def step(keys, first, high, out):",
        *(f"    {name} = np.uint64({value})" for name, value in constants.items()),
        "    for i in range(out.shape[1]):",
        "        counter, upper, lower = np.uint64(first + i) * _GAMMA, out[0, i], out[1, i]",
        "        for j in range(keys.shape[0]):",
        "            z = keys[j] + counter",
        *_body(randomness._mixed),
    ]
    for half, word in halves:
        lines += [f"            word = {word}", *_body(randomness._below)]
        lines += [f"            {'lower' if half == '1' else 'upper'}[j] = np.int32(word)"]
    return "\n".join([*lines, ""])


def _body(function: Callable[..., Any]) -> list[str]:
    """The statements of a function, without its documentation and its result."""
    lines = inspect.getsource(function).splitlines()
    return [f"        {line}" for line in lines if line.startswith("    ") and "=" in line and '"""' not in line]
