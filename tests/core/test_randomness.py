"""The random streams: the published generator, the distributions, and independence of the batch."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from teach_gym.core.randomness import Streams, draw_keys

MASK = 2**64 - 1
ALPHA = 1e-4
"""The draws are fixed, so a test at this level either always or never passes; a biased generator has p near 0."""


def splitmix64(seed: int, n: int) -> list[int]:
    """The reference implementation (Vigna, public domain) in Python integers."""
    out = []
    for _ in range(n):
        seed = (seed + 0x9E3779B97F4A7C15) & MASK
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        out.append(z ^ (z >> 31))
    return out


def test_bits_are_the_published_splitmix64_sequence() -> None:
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert Streams([1234567]).bits(5)[0].tolist() == published
    keys = [0, 1, MASK, 2**63 + 12345]
    assert Streams(keys).bits(20).tolist() == [splitmix64(key, 20) for key in keys]


def test_draws_go_on_where_the_last_call_ended() -> None:
    keys = draw_keys(np.random.default_rng(0), 3)
    parts, whole = Streams(keys), Streams(keys)
    drawn = np.concatenate([parts.bits(3), parts.bits(1), parts.bits(4)], axis=1)
    np.testing.assert_array_equal(drawn, whole.bits(8))
    a, b = Streams(keys), Streams(keys)
    first, second = a.normal(5), a.uniform(2)
    np.testing.assert_array_equal(b.normal(5), first)
    np.testing.assert_array_equal(b.uniform(2), second)
    assert not np.intersect1d(second, Streams(keys).uniform(2)).size


def calls(rng: Streams) -> list[np.ndarray]:
    return [rng.uniform(3, 2), rng.integers(17, 5), rng.normal(4), rng.integers(1000, 2, 3), rng.uniform()]


def test_a_stream_does_not_depend_on_its_batch() -> None:
    keys = draw_keys(np.random.default_rng(1), 9)
    together = calls(Streams(keys))
    for i in (0, 4, 8):
        for whole, alone in zip(together, calls(Streams(keys[i : i + 1])), strict=True):
            np.testing.assert_array_equal(whole[i], alone[0])
    for whole, turned in zip(together, calls(Streams(keys[::-1])), strict=True):
        np.testing.assert_array_equal(whole[::-1], turned)


def test_shapes_types_and_length() -> None:
    rng = Streams([3, 4])
    assert len(rng) == 2
    assert rng.uniform(3, 2).shape == (2, 3, 2) and rng.normal(0).shape == (2, 0) and rng.uniform().shape == (2,)
    whole = rng.integers(5, 4, 2, 3)
    assert whole.shape == (2, 4, 2, 3) and whole.dtype == np.int32
    assert whole.strides[0] == whole.itemsize


def test_scalars_are_one_stream() -> None:
    assert Streams(7).bits(2).tolist() == Streams([7]).bits(2).tolist()


@pytest.mark.parametrize("across", [False, True], ids=["along one stream", "across neighbouring keys"])
def test_uniform_is_uniform(across: bool) -> None:
    u = Streams(np.arange(100_000)).uniform(1) if across else Streams([5]).uniform(100_000)
    u = u.ravel()
    assert u.min() >= 0.0 and u.max() < 1.0
    assert scipy.stats.kstest(u, "uniform").pvalue > ALPHA
    pairs = np.histogram2d(u[:-1:2], u[1::2], bins=16, range=[[0, 1], [0, 1]])[0].ravel()
    assert scipy.stats.chisquare(pairs).pvalue > ALPHA
    last_bits = np.bincount((u * 2.0**53).astype(np.int64) & 15, minlength=16)
    assert scipy.stats.chisquare(last_bits).pvalue > ALPHA


@pytest.mark.parametrize("across", [False, True], ids=["along one stream", "across neighbouring keys"])
def test_normal_is_normal(across: bool) -> None:
    z = Streams(np.arange(50_000)).normal(2) if across else Streams([5]).normal(100_000)
    assert np.isfinite(z).all()
    assert scipy.stats.kstest(z.ravel(), "norm").pvalue > ALPHA
    tail = int((np.abs(z) > 3).sum())
    assert scipy.stats.binomtest(tail, z.size, 2 * scipy.stats.norm.sf(3)).pvalue > ALPHA
    if across:
        assert scipy.stats.pearsonr(z[:, 0], z[:, 1]).pvalue > ALPHA


@pytest.mark.parametrize("high", [1, 2, 7, 800])
def test_integers_are_uniform(high: int) -> None:
    drawn = Streams(np.arange(200)).integers(high, 251)
    assert drawn.min() >= 0 and drawn.max() < high
    counts = np.bincount(drawn.ravel(), minlength=high)
    assert high == 1 or scipy.stats.chisquare(counts).pvalue > ALPHA
    if high == 7:
        table = np.histogram2d(drawn[:, 0:250:2].ravel(), drawn[:, 1:250:2].ravel(), bins=7)[0]
        assert scipy.stats.chi2_contingency(table).pvalue > ALPHA


def test_integers_reach_both_ends_of_the_largest_range() -> None:
    drawn = Streams(np.arange(50)).integers(2**31, 2000).astype(np.int64)
    assert drawn.min() >= 0 and drawn.max() < 2**31
    assert drawn.min() < 2**31 / 10_000 and drawn.max() > 2**31 * (1 - 1e-4)


@pytest.mark.parametrize("high", [0, -3, 2**31 + 1])
def test_integers_refuse_a_bad_range(high: int) -> None:
    with pytest.raises(ValueError, match=rf"{high}"):
        Streams([0]).integers(high, 3)


def test_streams_differ_and_seeds_are_numpys() -> None:
    bits = Streams.from_seeds(range(500)).bits(4)
    assert len(np.unique(bits)) == bits.size
    key = np.random.default_rng(42).integers(2**64, size=1, dtype=np.uint64)
    np.testing.assert_array_equal(Streams.from_seeds([42]).bits(3), Streams(key).bits(3))


def test_keys_drawn_at_once_or_one_by_one_are_the_same() -> None:
    at_once = draw_keys(np.random.default_rng(3), 70)
    one_by_one = np.random.default_rng(3)
    assert at_once.tolist() == [int(draw_keys(one_by_one, 1)[0]) for _ in range(70)]


def test_streams_of_steps_are_fresh_and_independent_of_the_batch() -> None:
    keys, t = draw_keys(np.random.default_rng(2), 200).view(np.int64), np.arange(200) % 50
    together = Streams.at(keys, t)
    words = [splitmix64(int(key) & MASK, int(step) + 1)[-1] for key, step in zip(keys, t, strict=True)]
    assert together.keys.tolist() == words  # each stream is keyed by the word t of its key's stream
    drawn = together.uniform(40)
    np.testing.assert_array_equal(Streams.at(keys[7:8], t[7:8]).uniform(40)[0], drawn[7])
    np.testing.assert_array_equal(Streams.at(keys, t).uniform(40), drawn)
    assert np.unique(drawn).size == drawn.size
    over_steps = Streams.at(np.repeat(keys[:1], 5000), np.arange(5000)).uniform(2)
    assert scipy.stats.kstest(over_steps.ravel(), "uniform").pvalue > ALPHA
    assert abs(np.corrcoef(over_steps[:-1, 0], over_steps[1:, 0])[0, 1]) < 4 / 5000**0.5
