"""The settings of a training run of a network, and the methods by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from teach_gym.core.updates import Update
from teach_gym.errors import lookup_name, number, positive, shown
from teach_gym.neural.networks import NETWORKS
from teach_gym.neural.teaching import PLAIN, Teaching

METHODS = {
    "sgd": PLAIN,
    "random": Teaching(policy="random"),
    "performative": Teaching(),
    "performative_batch": Teaching(objective="batch"),
    "performative_accumulate": Teaching(accumulate_encoder_gradient=True),
    "sgd_encoder_x6": Teaching(policy="none", encoder_scale=6.0),
}
"""How each method teaches: DHT Table 2's three columns (the last in three readings) and a control without teaching."""
PRECISIONS = {"float32": None, "bf16": torch.bfloat16}


def torch_device(name: str) -> Any:
    """The torch device of a name; ``auto`` is a GPU if torch finds one, else the CPU.

    Raises:
        TypeError: no text.
        ValueError: no such device, or no GPU is available.
    """
    if not isinstance(name, str):
        raise TypeError(f"device must be a text, got {shown(name)}")
    found = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if found else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"unknown device {shown(name)}; allowed: auto, cpu, cuda, cuda:0, ...") from error
    if device.type == "cuda" and not found:
        raise ValueError(f"device {name!r}: torch finds no GPU here; use cpu or auto")
    return device


@dataclass(frozen=True)
class ImageTrainingSettings:
    """The settings of a training run; the defaults are those of DHT's MNIST row (section 5.2).

    Args:
        pool: an image pool, see ``teach_gym.neural.image_files.load_pool``.
        pool_options: its options.
        network: ``mlp``, ``cnn3``, ``cnn6``, ``cnn9`` or ``cnn15``.
        network_options: its options.
        method: one of ``METHODS``.
        teaching: changes to the method, by field name of ``Teaching``.
        teach_between: first iteration with teaching and the first one after it (None: always); steps outside are plain.
        target_images: estimate w* on this many training images, redrawn at each iteration and encoded in evaluation
            mode (0: on the mini-batch).
        seeds: one learner per seed, all trained at once.
        iterations: steps.
        batch_size: images per step and learner.
        learning_rate: at the start.
        milestones: iterations at which the learning rate is multiplied by ``factor``.
        factor: see ``milestones``.
        momentum: in [0, 1).
        weight_decay: l2 coefficient, on all parameters.
        augment: random crops and flips.
        validation: measure accuracy on this many images taken out of the training set, not on the test set.
        images: train on this many of the training images that are left (0: on all).
        label_noise: share of these that get a wrong label.
        eval_every: iterations between measurements.
        checkpoint_every: iterations between checkpoints.
        device: a torch device, or ``auto``: a GPU if torch finds one, else the CPU.
        precision: of the encoder: ``float32`` or ``bf16``.
        channels_last: memory format of the encoder, faster for CNNs. For one seed; on a CPU, several always use it.

    Raises:
        ValueError: an unknown name or a value out of range.
        TypeError: a value of the wrong type.
    """

    pool: str = "mnist"
    pool_options: Mapping[str, Any] = field(default_factory=dict)
    network: str = "mlp"
    network_options: Mapping[str, Any] = field(default_factory=dict)
    method: str = "sgd"
    teaching: Mapping[str, Any] = field(default_factory=dict)
    teach_between: tuple[int, int] | None = None
    target_images: int = 0
    seeds: tuple[int, ...] = (0,)
    iterations: int = 39_000
    batch_size: int = 128
    learning_rate: float = 0.001
    milestones: tuple[int, ...] = ()
    factor: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 1e-4
    augment: bool = False
    validation: int = 0
    images: int = 0
    label_noise: float = 0.0
    eval_every: int = 1000
    checkpoint_every: int = 2000
    device: str = "cpu"
    precision: str = "float32"
    channels_last: bool = False

    def __post_init__(self) -> None:
        lookup_name("network", self.network, NETWORKS)
        lookup_name("precision", self.precision, PRECISIONS)
        for name in ("iterations", "batch_size", "eval_every", "checkpoint_every"):
            positive(name, getattr(self, name), integer=True)
        positive("factor", self.factor)
        Update(self.learning_rate, self.momentum, weight_decay=self.weight_decay)  # checks all three
        for name in ("seeds", "milestones", "teach_between"):
            for value in getattr(self, name) or ():
                number(name, value, integer=True)
                if value < 0:
                    raise ValueError(f"{name} must be >= 0, got {shown(getattr(self, name))}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must be different and at least one, got {shown(self.seeds)}")
        if self.channels_last and len(self.seeds) > 1:
            raise ValueError(f"channels_last works with one seed at a time, got seeds {self.seeds!r}")
        number("label_noise", self.label_noise)
        if not 0.0 <= self.label_noise < 1.0:
            raise ValueError(f"label_noise must be in [0, 1), got {shown(self.label_noise)}")
        for name in ("validation", "target_images", "images"):
            number(name, getattr(self, name), integer=True)
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be >= 0, got {shown(getattr(self, name))}")
        self.place()
        self.taught()

    def taught(self) -> Teaching:
        """The method with its changes."""
        base = lookup_name("method", self.method, METHODS)
        allowed = {f.name: f for f in dataclasses.fields(Teaching)}
        for name in self.teaching:
            lookup_name("option of teaching", name, allowed)
        return dataclasses.replace(base, **self.teaching)

    def place(self) -> Any:
        """The torch device.

        Raises:
            ValueError: no such device, or no GPU is available.
        """
        return torch_device(self.device)

    def rate(self, t: int) -> float:
        """The learning rate of iteration t = 0, 1, ...."""
        return self.learning_rate * self.factor ** sum(t >= milestone for milestone in self.milestones)
