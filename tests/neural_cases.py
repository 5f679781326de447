"""A small image pool for the tests of neural learners."""

from __future__ import annotations

import numpy as np
import torch

from teach_gym.neural.images import ImagePool, Images

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
