"""Synthetic images, for use without a data set."""

from __future__ import annotations

import numpy as np
import torch

from teach_gym.arguments import Count, Positive, Seed
from teach_gym.neural.images import Images


def patterns(
    folder: object = None,
    *,
    n: Count = 400,
    size: Count = 16,
    n_classes: Count = 4,
    noise: Positive = 60.0,
    seed: Seed = 0,
) -> tuple[Images, Images, tuple[str, ...]]:
    """Noisy copies of one smooth random colour pattern per class: training images, as many test images, class names.

    Args:
        folder: unused; other pools are read from it.
        n: training images.
        size: height and width, a multiple of 4.
        n_classes: K.
        noise: standard deviation of the noise on each pixel, in pixel values from 0 to 255.
        seed: determines all images.

    Raises:
        ValueError: a size that is not a multiple of 4.
    """
    if size % 4:
        raise ValueError(f"size must be a multiple of 4, got {size}")
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(40, 215, (n_classes, 3, 4, 4))
    means = coarse.repeat(size // 4, axis=2).repeat(size // 4, axis=3)

    def images() -> Images:
        labels = rng.integers(n_classes, size=n)
        pixels = means[labels] + noise * rng.standard_normal((n, 3, size, size))
        return Images(torch.tensor(pixels.clip(0, 255).astype(np.uint8)), torch.tensor(labels))

    return images(), images(), tuple(f"pattern {k}" for k in range(n_classes))
