"""Independent random streams for a batch of teaching runs, drawn in one vectorised call.

numpy needs one generator object per stream: resetting 16,384 sub-environments with 16,384 generators
takes longer than the episode. Here a stream is a 64-bit key, and its n-th draw is a hash of (key, n):
SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014). The keys
come from one ``numpy.random.Generator`` per environment, so seeding follows Gymnasium.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import numpy.typing as npt

N = TypeVar("N", bound=np.generic)

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
_BLOCK = 1 << 15
"""Words hashed at once, so that they stay in the processor's cache."""


class Streams:
    """A batch of B random streams; every method draws the next values of each stream.

    A stream's values depend on its own key and on the calls made, never on the other streams.

    Args:
        keys: (B,) unsigned 64-bit keys.
    """

    def __init__(self, keys: npt.ArrayLike) -> None:
        self.keys = np.atleast_1d(np.asarray(keys, dtype=np.uint64))
        self._drawn = 0

    @classmethod
    def from_seeds(cls, seeds: npt.ArrayLike) -> Streams:
        """One stream per integer seed, keyed by ``numpy.random.default_rng(seed)``."""
        return cls([draw_keys(np.random.default_rng(seed), 1)[0] for seed in np.atleast_1d(seeds)])

    @classmethod
    def at(cls, keys: npt.ArrayLike, t: npt.ArrayLike) -> Streams:
        """A fresh stream for each key (B,) and step (B,), keyed by word t of that key's stream."""
        with np.errstate(over="ignore"):
            counters = (np.atleast_1d(np.asarray(t, dtype=np.uint64)) + np.uint64(1)) * _GAMMA
            return cls(_mixed(counters + np.atleast_1d(np.asarray(keys, dtype=np.uint64))))

    def __len__(self) -> int:
        return len(self.keys)

    def bits(self, n: int) -> npt.NDArray[np.uint64]:
        """Draw n words of 64 random bits per stream: (B, n), batch axis fastest in memory."""
        counters = np.arange(self._drawn + 1, self._drawn + n + 1, dtype=np.uint64)[:, None] * _GAMMA
        self._drawn += n
        out = np.empty((n, len(self)), dtype=np.uint64)
        rows = max(_BLOCK // len(self), 1)
        for start in range(0, n, rows):
            z = out[start : start + rows]
            _mixed(np.add(counters[start : start + rows], self.keys, out=z))
        return out.T

    def uniform(self, *shape: int) -> npt.NDArray[np.float64]:
        """Uniform on [0, 1) with 53 bits: (B, *shape)."""
        bits = self.bits(math.prod(shape)) >> np.uint64(11)
        return self._shaped(np.multiply(bits, 2.0**-53, dtype=np.float64), shape)

    def normal(self, *shape: int) -> npt.NDArray[np.float64]:
        """Standard normal by the Box-Muller transform: (B, *shape)."""
        n = math.prod(shape)
        pairs = (n + 1) // 2
        u = self.uniform(2 * pairs).T
        radius = np.sqrt(-2.0 * np.log1p(-u[:pairs]))
        angle = 2.0 * np.pi * u[pairs:]
        return self._shaped(np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:n].T, shape)

    def integers(self, high: int, *shape: int) -> npt.NDArray[np.int32]:
        """Uniform integers in [0, high): (B, *shape); the bias is below high / 2^32.

        Raises:
            ValueError: ``high`` is not in [1, 2^31].
        """
        if not 1 <= high <= 2**31:
            raise ValueError(f"high must lie in [1, 2**31], got {high}")
        n = math.prod(shape)
        words = self.bits((n + 1) // 2).T
        out = np.empty((2, *words.shape), dtype=np.int32)
        for half, word in ((0, words >> np.uint64(32)), (1, words & np.uint64(0xFFFFFFFF))):
            word *= np.uint64(high)
            word >>= np.uint64(32)
            out[half] = word
        return self._shaped(out.reshape(-1, len(self))[:n].T, shape)

    def _shaped(self, flat: npt.NDArray[N], shape: tuple[int, ...]) -> npt.NDArray[N]:
        """(B, n) with the batch axis fastest -> (B, *shape) with the same layout."""
        return np.moveaxis(flat.T.reshape(*shape, len(self)), -1, 0)


def _mixed(z: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's finalizer, in place."""
    z ^= z >> np.uint64(30)
    z *= _MIX1
    z ^= z >> np.uint64(27)
    z *= _MIX2
    z ^= z >> np.uint64(31)
    return z


def draw_keys(rng: np.random.Generator, n: int) -> npt.NDArray[np.uint64]:
    """Draw n stream keys; n draws of one key give the same keys as one draw of n."""
    return rng.integers(2**64, size=n, dtype=np.uint64)
