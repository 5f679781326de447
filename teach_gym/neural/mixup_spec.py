"""The specification of a mixup training of an image learner (DHT 4.1), and its images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

import torch

from teach_gym.arguments import Count, Positive, Seed, Within, checked_fields
from teach_gym.core.rewards import HOLDOUT_REWARDS
from teach_gym.errors import check_known, lookup_name
from teach_gym.neural.image_files import READERS, kept_pool
from teach_gym.neural.images import ImagePool, Images
from teach_gym.neural.networks import NETWORKS
from teach_gym.neural.settings import torch_device

if TYPE_CHECKING:
    from typing_extensions import Self

Share = Annotated[float, Within(0.0, 1.0)]


@dataclass(frozen=True)
class MixupSpec:
    """A training whose mini-batches are mixed; the defaults are those of DHT's Table 1 where the paper gives them.

    Args:
        pool: an image pool, see ``teach_gym.neural.image_files.load_pool``.
        pool_options: its options.
        shrink: average this many pixels in each direction.
        images: number of training images (0: all that are not held out).
        validation: images taken out of the training set, on which the teacher measures the learner.
        pool_seed: determines which.
        network: one of ``teach_gym.neural.networks.NETWORKS``.
        network_options: its options.
        epochs: passes over the training images.
        batch_size: images per step.
        learning_rate: Adam's.
        look_every: steps between validations; one more validation follows the last step.
        coefficients: the discrete actions.
        continuous: any coefficient in [0, 1] instead.
        reward: one of ``teach_gym.core.rewards.HOLDOUT_REWARDS``.
        zeta: the validation accuracy at which ``steps_to_accuracy`` ends, as a fraction.
        device: a torch device, or ``auto``.

    Raises:
        ValueError: an unknown name or a value out of range.
        TypeError: a value of the wrong type.
    """

    pool: str = "cifar10_jpeg"
    pool_options: Mapping[str, Any] = field(default_factory=dict)
    shrink: Count = 1
    images: Annotated[int, Within(0, 2**31 - 1)] = 0
    validation: Count = 5000
    pool_seed: Seed = 0
    network: str = "simple"
    network_options: Mapping[str, Any] = field(default_factory=dict)
    epochs: Count = 50
    batch_size: Count = 128
    learning_rate: Positive = 1e-3
    look_every: Count = 100
    coefficients: Sequence[Share] = (0.0, 0.5, 1.0)
    continuous: bool = False
    reward: str = "holdout_accuracy"
    zeta: Share = 0.5
    device: str = "cpu"

    def __new__(cls, *args: Any, **fields: Any) -> Self:
        """Check the names of the fields."""
        check_known("a training with mixup", fields, [part.name for part in dataclasses.fields(cls)])
        return super().__new__(cls)

    def __post_init__(self) -> None:
        checked_fields(self)
        object.__setattr__(self, "coefficients", tuple(self.coefficients))
        lookup_name("pool", self.pool, READERS)
        lookup_name("network", self.network, NETWORKS)
        lookup_name("reward", self.reward, HOLDOUT_REWARDS)
        if not self.coefficients:
            raise ValueError("coefficients must be a list of one or more numbers in [0, 1], got an empty one")
        torch_device(self.device)


def load_images(spec: MixupSpec) -> tuple[ImagePool, Images]:
    """The images of a training: (training and validation images as ``train`` and ``held_out``, test images).

    Raises:
        ValueError: more images requested than there are.
        DataNotFoundError: no images; the message names the expected layout.
    """
    return split_images(kept_pool(spec.pool, spec.pool_options, shrink=spec.shrink), spec)


def split_images(pool: ImagePool, spec: MixupSpec) -> tuple[ImagePool, Images]:
    """Hold out validation images and keep the spec's number of training images; test images are passed through."""
    own = pool.validation(spec.validation, spec.pool_seed)
    if spec.images:
        if spec.images > len(own.train):
            raise ValueError(f"images must be <= {len(own.train)} (those not held out), got {spec.images}")
        own = replace(own, train=own.train.take(torch.arange(spec.images)))
    if len(own.train) < spec.batch_size:
        raise ValueError(f"batch_size must be <= {len(own.train)} training images, got {spec.batch_size}")
    device = torch_device(spec.device)
    return own.to(device), Images(*(part.to(device) for part in pool.held_out))
