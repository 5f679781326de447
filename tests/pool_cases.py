"""A user's data on disk, and the splits of a pool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from teach_gym.data.pool import Pool


def save(folder: Path, **arrays: Any) -> str:
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return str(path)


def splits(pool: Pool) -> list[Any]:
    return [pool.train, pool.holdout, pool.test]
