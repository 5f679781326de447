"""Networks split into an encoder (images -> features) and a linear head: an MLP and the CNNs of DHT Table 3."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from teach_gym.errors import lookup_name, positive

_FILTERS, _FEATURES, _HIDDEN = (64, 128, 256), 256, 128


class Network(NamedTuple):
    """A network in two parts, of one learner or of several (then with a leading axis S everywhere).

    Attributes:
        encoder: images (..., n, C, H, W) -> features (..., n, d).
        head: the linear classifier, with ``weight`` (..., K, d) and ``bias`` (..., K) or None.
    """

    encoder: nn.Module
    head: nn.Module

    def parameters(self) -> list[Tensor]:
        """The parameters of both."""
        return [*self.encoder.parameters(), *self.head.parameters()]

    def logits(self, images: Tensor) -> Tensor:
        """Images (..., n, C, H, W) -> logits (..., n, K)."""
        return self.head(self.encoder(images))


def mlp(image: Sequence[int], n_classes: int, *, bias: bool = False, hidden: int = _HIDDEN) -> Network:
    """A perceptron with one hidden layer (DHT appendix B): inputs - 128 - classes.

    Args:
        image: (C, H, W).
        n_classes: K.
        bias: whether its layers have a bias.
        hidden: units.
    """
    n_inputs = image[0] * image[1] * image[2]
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(n_inputs, hidden, bias=bias), nn.ReLU())
    return Network(encoder, nn.Linear(hidden, n_classes, bias=bias))


def cnn(
    depth: int,
    image: Sequence[int],
    n_classes: int,
    *,
    bias: bool = True,
    filters: Sequence[int] = _FILTERS,
    features: int = _FEATURES,
    batch_norm: bool = True,
) -> Network:
    """A CNN of DHT Table 3: three blocks of 3x3 convolutions (64, 128, 256 filters), then a 256-d feature layer.

    Each convolution is followed by batch norm and ReLU, each block by 2x2 max pooling. The feature layer is linear, so
    that features have both signs; the paper does not specify it.

    Args:
        depth: convolutions per block: 1, 2, 3 or 5 for CNN-3, 6, 9 and 15.
        image: (C, H, W), at least 8 pixels high and wide.
        n_classes: K.
        bias: whether the two linear layers have a bias.
        filters: filters of the three blocks.
        features: units of the feature layer.
        batch_norm: False leaves batch norm out; the convolutions then have a bias.
    """
    layers: list[nn.Module] = []
    channels = image[0]
    for width in filters:
        for _ in range(depth):
            layers.append(nn.Conv2d(channels, width, 3, padding=1, bias=not batch_norm))
            layers += [nn.BatchNorm2d(width), nn.ReLU()] if batch_norm else [nn.ReLU()]
            channels = width
        layers[-1:] = _pooled()
    flat = channels * (image[1] // 8) * (image[2] // 8)
    layers += [nn.Flatten(), nn.Linear(flat, features, bias=bias)]
    return Network(nn.Sequential(*layers), nn.Linear(features, n_classes, bias=bias))


def _pooled() -> list[nn.Module]:
    """ReLU and 2x2 max pooling, in the order that computes a quarter as many ReLUs; the outputs are the same."""
    return [nn.MaxPool2d(2), nn.ReLU()]


def simple(image: Sequence[int], n_classes: int, *, filters: Sequence[int] = (16, 32), features: int = 128) -> Network:
    """A simple CNN for DHT Table 1, whose own is not specified.

    Two 3x3 convolutions, each with ReLU and 2x2 max pooling, and a hidden layer; no batch norm.

    Args:
        image: (C, H, W), at least 8 pixels high and wide.
        n_classes: K.
        filters: filters of the two convolutions.
        features: units of the hidden layer.
    """
    first, second = filters
    layers = [nn.Conv2d(image[0], first, 3, padding=1), *_pooled()]
    layers += [nn.Conv2d(first, second, 3, padding=1), *_pooled()]
    layers += [nn.Flatten(), nn.Linear(second * (image[1] // 4) * (image[2] // 4), features), nn.ReLU()]
    return Network(nn.Sequential(*layers), nn.Linear(features, n_classes))


NETWORKS: dict[str, Callable[..., Network]] = {
    "mlp": mlp,
    "simple": simple,
    "cnn3": partial(cnn, 1),
    "cnn6": partial(cnn, 2),
    "cnn9": partial(cnn, 3),
    "cnn15": partial(cnn, 5),
}
"""The networks by name; those of DHT Table 3 with their convolutions per block."""


def make_network(name: str, image: Sequence[int], n_classes: int, **options: Any) -> Network:
    """Make a network by name.

    Args:
        name: ``mlp``, ``simple``, ``cnn3``, ``cnn6``, ``cnn9`` or ``cnn15``.
        image: (C, H, W) of its inputs.
        n_classes: K.
        **options: see ``mlp``, ``simple`` and ``cnn``.

    Raises:
        ValueError: unknown name, or images that do not fit.
    """
    maker = lookup_name("network", name, NETWORKS)
    positive("n_classes", n_classes, integer=True)
    if len(image) != 3 or (name != "mlp" and min(image[1:]) < 8):
        raise ValueError(f"image must be (C, H, W), for CNNs at least 8 high and wide, got {tuple(image)}")
    return maker(image, n_classes, **options)


class Stacked(nn.Module):
    """Several modules of one architecture with their parameters stacked, called as one.

    Inputs, outputs, parameters and buffers have a leading axis S. Training mode and running statistics work as in the
    single module. All modules are computed at once with ``torch.func.vmap``, except for CNNs on a CPU: there one after
    the other, with the channels last in memory, takes about half the time of convolutions in groups.

    Args:
        modules: S modules that differ in their parameters only.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        parameters, buffers = stack_module_state(list(modules))
        self._names = {name: name.replace(".", "/") for name in (*parameters, *buffers)}
        for name, value in parameters.items():
            self.register_parameter(self._names[name], nn.Parameter(value.detach().clone()))
        for name, value in buffers.items():
            self.register_buffer(self._names[name], value.clone())
        self._single = [modules[0]]  # in a list, so that its own parameters are not registered here
        self._convolves = any(isinstance(part, nn.Conv2d) for part in modules[0].modules())

    def forward(self, x: Tensor) -> Tensor:
        """(S, n, ...) -> (S, n, ...)."""
        single = self._single[0].train(self.training)
        state = {name: getattr(self, ours) for name, ours in self._names.items()}
        if not (self._convolves and x.device.type == "cpu"):
            return vmap(lambda values, rows: functional_call(single, values, (rows,)))(state, x)
        parts = {name: value.unbind() for name, value in state.items()}  # views, which running statistics are put into
        found = []
        for s, images in enumerate(x):
            own = {name: values[s] for name, values in parts.items()}
            found.append(functional_call(single, own, (images.contiguous(memory_format=torch.channels_last),)))
        return torch.stack(found)


class StackedLinear(nn.Module):
    """S linear layers: weight (S, K, d), bias (S, K) or None, inputs (S, n, d).

    Args:
        layers: S linear layers of one shape.
    """

    def __init__(self, layers: Sequence[Any]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))
        biases = [layer.bias for layer in layers]
        self.bias = None if biases[0] is None else nn.Parameter(torch.stack([bias.detach() for bias in biases]))

    def forward(self, x: Tensor) -> Tensor:
        """(S, n, d) -> (S, n, K)."""
        z = x @ self.weight.mT
        return z if self.bias is None else z + self.bias[:, None, :]


def seeded(make: Callable[[], Network], seeds: Sequence[int]) -> Network:
    """A network for each seed: a plain one for one seed, stacked ones for several.

    Args:
        make: makes a network with torch's default initialisation.
        seeds: determine the initial parameters; those of a seed do not depend on the others.
    """
    networks = []
    for seed in seeds:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            networks.append(make())
    if len(networks) == 1:
        return networks[0]
    return Network(Stacked([one.encoder for one in networks]), StackedLinear([one.head for one in networks]))
