"""The table of pools, each built from a seed and options.

A pool is built by a function of plain JSON values. Its arrays are read-only and cached, so a thousand environments
share one copy.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

from teach_gym.arguments import Seed, chosen, conform
from teach_gym.data import datasets, user_file
from teach_gym.data.generated import gaussian_clusters, half_moons, linear_regression
from teach_gym.data.images import digits, mnist
from teach_gym.data.pool import Pool
from teach_gym.data.user_file import array

POOLS: dict[str, Callable[..., Pool]] = {
    f.__name__: f for f in (linear_regression, half_moons, gaussian_clusters, digits, mnist, array)
}


def content_digest(name: str, options: Mapping[str, Any]) -> str:
    """SHA-256 of the user's file that a pool reads, which its rows depend on besides name, seed and options.

    Empty for the other pools: their rows follow from the seed, or come from files with known content (MNIST).
    ``make_pool(name, seed, **options).digest`` is the digest of the content that was actually read.

    Args:
        name: a key of ``POOLS``.
        options: that pool's options.

    Raises:
        DataNotFoundError: the file is missing.
    """
    path = options.get("path") if name == "array" else None
    return user_file.digest(path) if isinstance(path, str) else ""


def make_pool(name: str, pool_seed: int = 0, /, **options: Any) -> Pool:
    """Make a pool by name, or return the cached one.

    Args:
        name: a key of ``POOLS``.
        pool_seed: the seed of its splits and draws.
        **options: the options of that pool's function.

    Raises:
        ValueError: unknown name or a value out of range.
        TypeError: an option the pool does not have, or a value of the wrong type.
        TooLargeError: more data than is allowed in memory.
        DataNotFoundError: its files are missing.
    """
    maker = chosen("pool", name, POOLS, options)
    if maker.func is mnist:
        maker.keywords["data_dir"] = str(datasets.data_dir(maker.keywords.get("data_dir")))
    key = json.dumps([conform("pool_seed", pool_seed, Seed), maker.keywords], sort_keys=True)
    return _cached(maker.func, key, content_digest(name, maker.keywords))


@functools.lru_cache(maxsize=32)
def _cached(maker: Callable[..., Pool], key: str, content: str) -> Pool:
    """The pool that a function builds from a JSON list of seed and options; ``content`` is its file's digest."""
    pool_seed, options = json.loads(key)
    pool = maker(pool_seed, **options)
    if pool.digest != content:
        raise RuntimeError(f"the file of pool {pool.name!r} changed while it was being read: {options}")
    return pool
