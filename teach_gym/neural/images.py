"""Image pools that live on a device: mini-batches, augmentation and evaluation without host work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from teach_gym.data.corruption import corrupted
from teach_gym.data.pool import Split
from teach_gym.errors import number

PADDING = 4
"""Width in pixels of the black border that crops may include."""
_BLOCK = 1000
"""Images per block when images are shrunk."""


class Images(NamedTuple):
    """Images and their classes on one device.

    Attributes:
        pixels: (N, C, H, W) uint8.
        labels: (N,) int64.
    """

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Tensor) -> Images:
        """The images at some rows (...): (..., C, H, W) and (...)."""
        return Images(self.pixels[rows], self.labels[rows])


@dataclass(frozen=True)
class ImagePool:
    """Images to train on and images to measure accuracy on.

    Args:
        name: their source.
        train: training images.
        held_out: the test images, or a validation split of the training images.
        classes: names of the K classes.
    """

    name: str
    train: Images
    held_out: Images
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        for part, images in (("train", self.train), ("held_out", self.held_out)):
            pixels, labels = images
            if pixels.ndim != 4 or pixels.dtype != torch.uint8 or labels.shape != pixels.shape[:1] or not len(labels):
                raise ValueError(
                    f"{part} must be pixels (N, C, H, W) uint8 and labels (N,), N > 0, "
                    f"got {tuple(pixels.shape)} {pixels.dtype} and {tuple(labels.shape)}"
                )
            if labels.dtype != torch.int64 or int(labels.min()) < 0 or int(labels.max()) >= len(self.classes):
                raise ValueError(f"labels of {part} must be int64 in [0, {len(self.classes)}), got {labels.dtype}")
        if self.train.pixels.shape[1:] != self.held_out.pixels.shape[1:]:
            sizes = [tuple(images.pixels.shape[1:]) for images in (self.train, self.held_out)]
            raise ValueError(f"train and held_out images must be of one size, got {sizes}")

    @property
    def image(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        c, h, w = self.train.pixels.shape[1:]
        return int(c), int(h), int(w)

    def to(self, device: str) -> ImagePool:
        """The pool on a device."""
        train, held_out = (Images(*(part.to(device) for part in images)) for images in (self.train, self.held_out))
        return replace(self, train=train, held_out=held_out)

    def validation(self, size: int, seed: int = 0) -> ImagePool:
        """The pool with the test images replaced by ``size`` training images taken out of the training set.

        Args:
            size: images held out.
            seed: determines which.

        Raises:
            ValueError: no image would be left to train on.
        """
        number("size", size, integer=True)
        n = len(self.train)
        if not 0 < size < n:
            raise ValueError(f"the size of the validation split must be in [1, {n - 1}], got {size}")
        order = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).to(self.train.labels.device)
        name = f"{self.name}, {size} training images held out"
        return replace(self, name=name, train=self.train.take(order[size:]), held_out=self.train.take(order[:size]))

    def fewer(self, size: int, seed: int = 0) -> ImagePool:
        """The pool with some of its training images.

        Args:
            size: training images to keep.
            seed: determines which.

        Raises:
            ValueError: there are not that many.
        """
        n = len(self.train)
        if not 0 < size <= n:
            raise ValueError(f"the number of training images must be in [1, {n}], got {size}")
        order = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).to(self.train.labels.device)
        return replace(self, name=f"{self.name}, {size} training images", train=self.train.take(order[:size]))

    def mislabelled(self, share: float, seed: int = 0) -> ImagePool:
        """The pool with a share of its training images in another class, drawn uniformly (``data.corruption``).

        Args:
            share: of all training images.
            seed: determines which, and their classes.
        """
        pixels, labels = self.train
        rows = Split(np.zeros((len(labels), 1)), labels.cpu().numpy())
        wrong = corrupted(rows, len(self.classes), seed, label_noise=share).labels
        train = Images(pixels, torch.tensor(wrong, device=labels.device))
        return replace(self, name=f"{self.name}, {share:.0%} of the labels wrong", train=train)


def scale(pixels: Tensor) -> Tensor:
    """Bytes to numbers in [-1, 1]: (...) uint8 -> (...) float32."""
    return pixels.float().mul_(2.0 / 255.0).sub_(1.0)


def crop_and_flip(pixels: Tensor, generators: Sequence[Any]) -> Tensor:
    """Shift each image by up to four pixels, filling with black, and mirror it with probability one half.

    Args:
        pixels: (n, C, H, W), or (S, n, C, H, W) with S generators.
        generators: torch generators on the images' device: one, or one for each entry of the leading axis.

    Returns:
        Images of the same shape.
    """
    n, device = pixels.shape[-4], pixels.device
    draws = [
        (
            torch.randint(0, 2 * PADDING + 1, (2, n), generator=generator, device=device),
            torch.rand(n, generator=generator, device=device) < 0.5,
        )
        for generator in generators
    ]
    shifts = torch.cat([shift for shift, _ in draws], dim=1)
    mirrored = torch.cat([mirror for _, mirror in draws])
    flat = pixels.reshape(-1, *pixels.shape[-3:])
    return _shifted(flat, shifts[0], shifts[1], mirrored).reshape(pixels.shape)


def _shifted(pixels: Tensor, down: Tensor, right: Tensor, mirrored: Tensor) -> Tensor:
    """Crops of the padded images (n, C, H, W) at (down, right), each (n,), mirrored where requested."""
    n, c, h, w = pixels.shape
    device = pixels.device
    padded = torch.nn.functional.pad(pixels, (PADDING,) * 4)
    columns = torch.arange(w, device=device).expand(n, w)
    columns = torch.where(mirrored[:, None], w - 1 - columns, columns) + right[:, None]
    rows = torch.arange(h, device=device) + down[:, None]
    image, channel = torch.arange(n, device=device), torch.arange(c, device=device)
    return padded[image[:, None, None, None], channel[:, None, None], rows[:, None, :, None], columns[:, None, None, :]]


def blocks(images: Images, runs: int | None = None, size: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
    """The images block by block: pixels in [-1, 1] (n, C, H, W), with ``runs`` repeated (S, n, C, H, W), classes (n,).

    By default they are small on a CPU, so that what the layers make of them stays in the cache: that is up to 2.5 times
    as fast.
    """
    size = size or (100 if images.labels.device.type == "cpu" else 1000)
    for start in range(0, len(images), size):
        pixels, labels = (part[start : start + size] for part in images)
        shown = scale(pixels)
        yield shown if runs is None else shown.expand(runs, *shown.shape), labels


def accuracy(logits: Any, images: Images, *, runs: int | None = None, block: int | None = None) -> list[float]:
    """Per cent of images classified correctly.

    Args:
        logits: a function of images (n, C, H, W) to logits (n, K); with ``runs``, of (S, n, ...) to (S, n, K).
        images: what to classify.
        runs: the number S of stacked learners (None: one learner, no leading axis).
        block: images at once (None: as many as are fast).

    Returns:
        One number per learner.
    """
    counts = []
    with torch.no_grad():
        for shown, labels in blocks(images, runs, block):
            counts.append((logits(shown).argmax(-1) == labels).sum(-1))
    right = torch.stack(counts).sum(0)
    return [100.0 * count / len(images) for count in right.reshape(-1).tolist()]


def shrunk(images: Images, factor: int) -> Images:
    """Images whose pixels are the means of squares of factor x factor pixels.

    Raises:
        ValueError: height or width is not a multiple of the factor.
    """
    size = tuple(images.pixels.shape[2:])
    if any(length % factor for length in size):
        raise ValueError(f"shrink must divide the height and width {size}, got {factor}")
    if factor == 1:
        return images
    means = [nn.functional.avg_pool2d(part.float(), factor) for part in images.pixels.split(_BLOCK)]
    return Images(torch.cat([block.round().to(torch.uint8) for block in means]), images.labels)
