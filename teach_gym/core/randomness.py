"""Independent random streams for a batch of teaching runs, drawn in one vectorised call.

numpy needs one generator object per stream: resetting 16,384 sub-environments with 16,384 generators
takes longer than the episode. Here a stream is a 64-bit key, and its n-th draw is a hash of (key, n):
SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014). The keys
come from one ``numpy.random.Generator`` per environment, so seeding follows Gymnasium.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from teach_gym.errors import is_number, number, shown

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
        """One stream per seed, an integer or a list of them, keyed by ``numpy.random.default_rng(seed)``.

        Raises:
            TypeError: seeds that are no integers.
            ValueError: no seed, or a negative one.
        """
        listed: Any = [seeds] if is_number(seeds) else seeds
        if not isinstance(listed, Sequence) and not (isinstance(listed, np.ndarray) and listed.ndim):
            raise TypeError(f"seeds must be a list of integers >= 0, got {shown(seeds)}")
        for seed in listed:
            for word in seed if isinstance(seed, list | tuple) else (seed,):
                number("a seed", word, integer=True)
                if word < 0:
                    raise ValueError(f"seeds must be >= 0, got {shown(seed)}")
        if not len(listed):
            raise ValueError("seeds must be a list of one or more integers, got an empty one")
        return cls([draw_keys(np.random.default_rng(seed), 1)[0] for seed in listed])

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
        out = np.empty((n, len(self)), dtype=np.uint64)
        for rows, words in self._blocks(n):
            out[rows] = words
        return out.T

    def _blocks(self, n: int) -> Iterator[tuple[slice, npt.NDArray[np.uint64]]]:
        """Draw n words per stream in blocks: consecutive words' numbers, and the words (numbers, B)."""
        counters = np.arange(self._drawn + 1, self._drawn + n + 1, dtype=np.uint64)[:, None] * _GAMMA
        self._drawn += n
        size = max(_BLOCK // len(self), 1)
        for start in range(0, n, size):
            rows = slice(start, min(start + size, n))
            yield rows, _mixed(counters[rows] + self.keys)

    def uniform(self, *shape: int) -> npt.NDArray[np.float64]:
        """Uniform on [0, 1) with 53 bits: (B, *shape)."""
        out = np.empty((math.prod(shape), len(self)))
        for rows, words in self._blocks(len(out)):
            words >>= np.uint64(11)
            np.multiply(words, 2.0**-53, out=out[rows])
        return self._shaped(out.T, shape)

    def normal(self, *shape: int) -> npt.NDArray[np.float64]:
        """Standard normal by the Box-Muller transform: (B, *shape)."""
        n = math.prod(shape)
        pairs = (n + 1) // 2
        u = self.uniform(2 * pairs).T
        radius, angle = u[:pairs], u[pairs:]  # computed in place: fresh arrays cost more than the arithmetic
        np.sqrt(np.multiply(-2.0, np.log1p(np.negative(radius, out=radius), out=radius), out=radius), out=radius)
        angle *= 2.0 * np.pi
        cosine = np.cos(angle)
        np.sin(angle, out=angle)
        angle *= radius
        radius *= cosine
        return self._shaped(u[:n].T, shape)

    def integers(self, high: int, *shape: int) -> npt.NDArray[np.int32]:
        """Uniform integers in [0, high): (B, *shape); the bias is below high / 2^32.

        Raises:
            ValueError: ``high`` is not in [1, 2^31].
        """
        check_high(high)
        n = math.prod(shape)
        out = np.empty((2, (n + 1) // 2, len(self)), dtype=np.int32)
        for rows, words in self._blocks(out.shape[1]):
            for half, word in ((0, words >> np.uint64(32)), (1, words & np.uint64(0xFFFFFFFF))):
                out[half, rows] = _below(word, np.uint64(high))
        return self._shaped(out.reshape(-1, len(self))[:n].T, shape)

    def _shaped(self, flat: npt.NDArray[N], shape: tuple[int, ...]) -> npt.NDArray[N]:
        """(B, n) with the batch axis fastest -> (B, *shape) with the same layout."""
        return flat.T.reshape(*shape, len(self)).transpose(len(shape), *range(len(shape)))


def _mixed(z: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's finalizer, in place."""
    z ^= z >> np.uint64(30)
    z *= _MIX1
    z ^= z >> np.uint64(27)
    z *= _MIX2
    z ^= z >> np.uint64(31)
    return z


def _below(word: npt.NDArray[np.uint64], high: np.uint64) -> npt.NDArray[np.uint64]:
    """Integers in [0, high) from words of 32 bits, in place."""
    word *= high
    word >>= np.uint64(32)
    return word


def check_high(high: int) -> None:
    """Raise a ``ValueError`` for a bound of random integers that is not in [1, 2^31]."""
    if not 1 <= high <= 2**31:
        raise ValueError(f"high must lie in [1, 2**31], got {high}")


def draw_keys(rng: np.random.Generator, n: int) -> npt.NDArray[np.uint64]:
    """Draw n stream keys; n draws of one key give the same keys as one draw of n."""
    return rng.integers(2**64, size=n, dtype=np.uint64)
