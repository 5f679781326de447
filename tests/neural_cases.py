"""A small image pool and small mixup trainings for the tests of neural learners."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from teach_gym.neural.images import ImagePool, Images
from teach_gym.neural.mixup import Trainings
from teach_gym.neural.mixup_spec import MixupSpec, load_images

CLASSES = 3


def made_pool(n: int = 96, size: int = 8, channels: int = 3, seed: int = 0) -> ImagePool:
    """Noisy images of three classes, told apart by their brightest channel or quarter."""
    rng = np.random.default_rng(seed)

    def images(count: int) -> Images:
        labels = rng.integers(CLASSES, size=count)
        pixels = rng.integers(0, 120, (count, channels, size, size))
        for k in range(CLASSES):
            pixels[labels == k, k % channels, k : k + 4] += 100
        return Images(torch.tensor(pixels, dtype=torch.uint8), torch.tensor(labels))

    return ImagePool("made", images(n), images(60), tuple("abc"))


SMALL_MIXUP: dict[str, Any] = {
    "pool": "patterns",
    "pool_options": {"n": 104, "size": 8},
    "validation": 40,
    "epochs": 2,
    "batch_size": 16,
    "look_every": 3,
    "network_options": {"filters": [4, 4], "features": 8},
}
HORIZON = 2 * (64 // 16)


def spec(**changes: Any) -> MixupSpec:
    return MixupSpec(**{**SMALL_MIXUP, **changes})


def trainings(n: int, **changes: Any) -> Trainings:
    own = spec(**changes)
    return Trainings(own, load_images(own)[0], n)


def close(a: Any, b: Any, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)
