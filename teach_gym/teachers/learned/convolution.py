"""Convolutional networks of S teachers computed as one: images of a GAN (DHT C.7) and of a variational autoencoder.

Rows of pixels are (S, L, side^2), as everywhere in learned teachers; between the layers the teachers are groups of
channels, (L, S C, height, width), so that one grouped convolution computes them all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

try:
    import torch
    from torch import nn
except ImportError as error:
    raise ImportError("teach_gym.teachers.learned.convolution needs torch: pip install 'teach_gym[torch]'") from error

from teach_gym.teachers.learned.networks import STATISTICS_RATE, BatchedLinear, BatchedNorm

Draws = Sequence[torch.Generator]

SIDES: dict[int, tuple[tuple[int, int, int], ...]] = {28: ((3, 2, 0), (4, 2, 1), (4, 2, 1)), 8: ((4, 2, 1), (3, 1, 0))}
"""Sides of images -> (kernel, stride, padding) of the generator's layers that lead there from 3 x 3."""


class BatchedConv(nn.Module):
    """S convolutions or transposed ones: (L, S n_in, height, width) -> (L, S n_out, height', width').

    Args:
        n_in: channels in.
        n_out: channels out.
        shape: kernel size, stride and padding.
        draws: S generators that the weights are drawn from.
        up: transposed.
    """

    def __init__(
        self, n_in: int, n_out: int, draws: Draws, shape: tuple[int, int, int] = (4, 2, 1), *, up: bool = False
    ) -> None:
        super().__init__()
        self.stride, self.padding, self.up = shape[1], shape[2], up
        bound = 1.0 / math.sqrt((n_out if up else n_in) * shape[0] ** 2)

        def uniform(*size: int) -> torch.Tensor:
            return torch.stack([bound * (2.0 * torch.rand(size, generator=g) - 1.0) for g in draws])

        channels = (n_in, n_out) if up else (n_out, n_in)
        self.weight = nn.Parameter(uniform(*channels, shape[0], shape[0]))
        self.bias = nn.Parameter(uniform(n_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve each teacher's channels with its own kernels."""
        call = nn.functional.conv_transpose2d if self.up else nn.functional.conv2d
        weight, bias = self.weight.flatten(0, 1), self.bias.flatten()
        out: torch.Tensor = call(x, weight, bias, stride=self.stride, padding=self.padding, groups=len(self.weight))
        return out


class ChannelNorm(BatchedNorm):
    """2-d batch normalisation for each of S teachers: (L, S C, height, width) -> the same shape."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise each channel over rows and pixels, scale and shift."""
        mean, var = self.mean, self.var
        if self.training and not self.tracking:
            mean, var = mean.clone(), var.clone()
        out: torch.Tensor = nn.functional.batch_norm(
            x, mean.view(-1), var.view(-1), self.weight.view(-1), self.bias.view(-1), self.training, STATISTICS_RATE
        )
        return out


def to_channels(rows: torch.Tensor, side: int = 1) -> torch.Tensor:
    """(S, L, C side^2) -> (L, S C, side, side)."""
    s, n, size = rows.shape
    return rows.transpose(0, 1).reshape(n, s * (size // side**2), side, side)


def to_rows(images: torch.Tensor, s: int) -> torch.Tensor:
    """(L, S C, height, width) -> (S, L, C height width)."""
    return images.reshape(len(images), s, -1).transpose(0, 1)


def join(a: torch.Tensor, b: torch.Tensor, s: int) -> torch.Tensor:
    """Concatenate the channels of two images: (L, S Ca, ...), (L, S Cb, ...) -> (L, S (Ca + Cb), ...)."""
    parts = [image.reshape(len(image), s, -1, *image.shape[2:]) for image in (a, b)]
    return torch.cat(parts, dim=2).flatten(1, 2)


def brightness(signed: torch.Tensor, pixels: tuple[float, float]) -> torch.Tensor:
    """Map [-1, 1] to the interval of the pixels."""
    low, high = pixels
    return low + 0.5 * (high - low) * (signed + 1.0)


class ImageGenerator(nn.Module):
    """S conditional generators of images (DHT C.7): blocks x and y to 3 x 3 maps, joined, block xy to the image.

    Args:
        n_in: entries of the feature (learner, offered row, noise).
        n_label: entries of the label embedding.
        side: side of the images, a key of ``SIDES``.
        width: channels of each 3 x 3 map (DHT: 128).
        draws: S generators that the weights are drawn from.
        pixels: values of the darkest and of the brightest pixel.
    """

    def __init__(
        self, n_in: int, n_label: int, side: int, width: int, draws: Draws, pixels: tuple[float, float] = (-1.0, 1.0)
    ) -> None:
        super().__init__()
        self.pixels = pixels
        s = len(draws)

        def block(n: int, out: int, shape: tuple[int, int, int]) -> list[nn.Module]:
            return [BatchedConv(n, out, draws, shape, up=True), ChannelNorm(s, out), nn.ReLU()]

        self.x = nn.Sequential(*block(n_in, width, (3, 1, 0)))
        self.y = nn.Sequential(*block(n_label, width, (3, 1, 0)))
        layers, channels = [], 2 * width
        *first, last = SIDES[side]
        for i, shape in enumerate(first):
            out = max(width // 2**i, 4)
            layers += block(channels, out, shape)
            channels = out
        self.xy = nn.Sequential(*layers, BatchedConv(channels, 1, draws, last, up=True), nn.Tanh())

    def forward(self, feature: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Pixels: (S, L, n_in), (S, L, n_label) -> (S, L, side^2)."""
        s = len(feature)
        made = to_rows(self.xy(join(self.x(to_channels(feature)), self.y(to_channels(label)), s)), s)
        return brightness(made, self.pixels)


class ImageDiscriminator(nn.Module):
    """S discriminators of labelled images (DHT C.7): blocks x and y to half the side, joined, block xy to one logit.

    Args:
        n_label: entries of the label embedding.
        side: side of the images.
        width: channels of each map (DHT: 32).
        draws: S generators that the weights are drawn from.
    """

    def __init__(self, n_label: int, side: int, width: int, draws: Draws) -> None:
        super().__init__()
        self.side = side
        self.x = nn.Sequential(BatchedConv(1, width, draws), nn.LeakyReLU(0.2))
        self.y = nn.Sequential(BatchedConv(n_label, width, draws), nn.LeakyReLU(0.2))
        self.xy = nn.Sequential(BatchedConv(2 * width, 2 * width, draws), nn.LeakyReLU(0.2))
        self.out = BatchedLinear(2 * width * (side // 4) ** 2, 1, draws)

    def forward(self, pixels: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Logits of being real: (S, L, side^2), (S, L, n_label) -> (S, L)."""
        s = len(pixels)
        maps = to_channels(label).expand(-1, -1, self.side, self.side)
        joined = join(self.x(to_channels(pixels, self.side)), self.y(maps), s)
        return self.out(to_rows(self.xy(joined), s))[..., 0]


class ImageEncoder(nn.Module):
    """S encoders of labelled images: two convolutions, then mean and log variance of the latent.

    Args:
        n_label: entries of the label embedding.
        latent: entries of the latent.
        side: side of the images, divisible by 4.
        width: channels of the first convolution; the second has twice as many.
        draws: S generators that the weights are drawn from.
    """

    def __init__(self, n_label: int, latent: int, side: int, width: int, draws: Draws) -> None:
        super().__init__()
        self.side = side
        self.maps = nn.Sequential(
            BatchedConv(1, width, draws), nn.ReLU(), BatchedConv(width, 2 * width, draws), nn.ReLU()
        )
        self.out = BatchedLinear(2 * width * (side // 4) ** 2 + n_label, 2 * latent, draws)

    def forward(self, pixels: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Mean and log variance: (S, L, side^2), (S, L, n_label) -> (S, L, 2 latent)."""
        rows = to_rows(self.maps(to_channels(pixels, self.side)), len(pixels))
        return self.out(torch.cat([rows, label], dim=-1))


class ImageDecoder(nn.Module):
    """S decoders of images: two transposed convolutions; arguments as ``ImageEncoder`` and ``ImageGenerator``."""

    def __init__(
        self, n_label: int, latent: int, side: int, width: int, draws: Draws, pixels: tuple[float, float] = (-1.0, 1.0)
    ) -> None:
        super().__init__()
        self.side, self.pixels = side, pixels
        self.first = nn.Sequential(BatchedLinear(latent + n_label, 2 * width * (side // 4) ** 2, draws), nn.ReLU())
        self.maps = nn.Sequential(
            BatchedConv(2 * width, width, draws, up=True), nn.ReLU(), BatchedConv(width, 1, draws, up=True), nn.Tanh()
        )

    def forward(self, latent: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Pixels: (S, L, latent), (S, L, n_label) -> (S, L, side^2)."""
        rows = self.first(torch.cat([latent, label], dim=-1))
        return brightness(to_rows(self.maps(to_channels(rows, self.side // 4)), len(latent)), self.pixels)
