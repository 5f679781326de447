"""Generative and privacy-preserving teachers (DHT 3.3.2, 5.3): trained by unrolling, with further terms.

    trained = train_generative("gan", [task], seeds=range(10), settings=TrainingSettings(alpha=0.0), adversarial=0.1)
    trained = train_generative("vae", [task], seeds=range(10), kl=0.1)
    trained = train_generative("private", [task], seeds=range(10), privacy=Privacy(epsilon=0.1), output="box")
    trained.save("teachers")             # teachers/0.safetensors, ...
    teacher = trained.teacher(3)         # for the benchmark and the environments
    make_teacher("gan", path="teachers/3.safetensors")

``gan`` and ``vae`` make features for tasks of any medium; ``private`` is the data transformation of
``teach_gym.teachers.learned.unrolled`` in ``perturb`` tasks. Each takes ``privacy``. Networks: ``generator``
(policies), ``convolution`` (images), ``pretrain`` (autoencoders, perceptual distances); objectives: ``terms``.
This module itself needs no torch until a teacher is made or trained.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from teach_gym.core.backend import Array
from teach_gym.core.state import Example, Task
from teach_gym.errors import lookup_name
from teach_gym.teachers.from_file import FromFile
from teach_gym.teachers.learned.trained import Trained
from teach_gym.teachers.weights import Loaded, read_policy

if TYPE_CHECKING:
    from teach_gym.teachers.learned.fit import TrainingSettings
    from teach_gym.teachers.learned.networks import TeachingNetworks
    from teach_gym.teachers.learned.pretrain import Perception, Pretraining
    from teach_gym.teachers.learned.terms import Privacy


@dataclass(eq=False)
class GAN(FromFile):
    """A generator of teaching examples, trained against a discriminator (DHT 3.3.2), read from a file.

    Args:
        see ``teach_gym.teachers.from_file.FromFile``, also for errors.
    """

    name: str = field(default="gan", init=False)

    def read(self, path: Path) -> Loaded:
        """Read the networks."""
        return read_policy(path, self.name, _empty_generator)


@dataclass(eq=False)
class VAE(FromFile):
    """A policy in the latent space of a variational autoencoder (DHT 3.3.2).

    Args:
        see ``teach_gym.teachers.from_file.FromFile``, also for errors.
    """

    name: str = field(default="vae", init=False)

    def read(self, path: Path) -> Loaded:
        """Read the networks."""
        return read_policy(path, self.name, _empty_generator)


@dataclass(eq=False)
class Private(FromFile):
    """A data transformation that stays away from a privacy set (DHT Eq. 10).

    Args:
        see ``teach_gym.teachers.from_file.FromFile``, also for errors.
    """

    name: str = field(default="private", init=False)

    def read(self, path: Path) -> Loaded:
        """Read the networks."""
        return read_policy(path, self.name, _empty_transformation)


KINDS = dict.fromkeys(("gan", "vae", "private"))
"""The kinds of teachers trained here."""


def perceptual_distance(teacher: FromFile, example: Example) -> Array:
    """Least squared perceptual distance of each example from the privacy set: x (B, m, d) -> (B, m).

    Raises:
        ValueError: the teacher was trained without ``privacy``.
    """
    import torch

    perception: Perception | None = teacher.policy.perception
    if perception is None:
        raise ValueError(f"this {teacher.name} teacher was trained without privacy: it has no perceptual distance")
    with torch.no_grad():
        x = torch.tensor(np.array(example.x, order="C"), dtype=perception.private.dtype)
        return np.asarray(perception.distance(x).numpy())


def _empty_generator(about: dict[str, Any], tensors: Mapping[str, Any]) -> TeachingNetworks:
    from teach_gym.teachers.learned.design import Design
    from teach_gym.teachers.learned.generator import GenerativePolicy

    return _with_perception(GenerativePolicy(Design(**about), None, [0]), tensors)


def _empty_transformation(about: dict[str, Any], tensors: Mapping[str, Any]) -> TeachingNetworks:
    from teach_gym.teachers.learned.policy import empty_policy

    return _with_perception(empty_policy(about, tensors), tensors)


def _with_perception(policy: TeachingNetworks, tensors: Mapping[str, Any]) -> TeachingNetworks:
    """Add a perceptual distance of the tensors' sizes, if they have one; its weights are loaded later."""
    from teach_gym.teachers.learned.pretrain import Perception

    prefix = "perception."
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    if own:
        weights = [tensor for name, tensor in own.items() if name.endswith(".weight")]
        hidden = [weight.shape[-1] for weight in weights[:-1]]
        policy.perception = Perception(weights[0].shape[1], weights[-1].shape[-1], own["private"].shape[1], [0], hidden)
    return policy


def train_generative(
    kind: str,
    tasks: Sequence[Task],
    seeds: Sequence[int],
    settings: TrainingSettings | None = None,
    *,
    adversarial: float = 1.0,
    saturating: bool = False,
    dropout: float = 0.3,
    kl: float = 1.0,
    privacy: Privacy | None = None,
    pretraining: Pretraining | None = None,
    device: str = "cpu",
    records: dict[str, Any] | None = None,
    **architecture: Any,
) -> Trained:
    """Train generative or private teachers by unrolling their learners, all at once.

    Args:
        kind: ``gan``, ``vae`` or ``private``.
        tasks: one task for all teachers, or one for each (different pools and targets).
        seeds: one for each teacher; it determines the initial weights, the noise, the learners and their data.
        settings: how to train (None: DHT's settings).
        adversarial: weight of the adversarial term of a ``gan``.
        saturating: see ``teach_gym.teachers.learned.terms.AdversarialTerm``.
        dropout: see ``teach_gym.teachers.learned.adversarial.AdversarialTerm``.
        kl: weight of the divergence of a ``vae``.
        privacy: keep examples away from a privacy set (``private`` needs it).
        pretraining: how autoencoders and perceptual distances are trained (None: the defaults).
        device: a torch device.
        records: ``out``, ``resume``, ``starts``, ``progress`` and further arguments of
            ``teach_gym.teachers.learned.fit.fit``.
        **architecture: of ``teach_gym.teachers.learned.generator.design``; for ``private`` of
            ``teach_gym.teachers.learned.architecture.architecture``.

    Raises:
        DivergedError: a learner or a network is no longer finite; the message names the step.
        ValueError: an unknown kind, a task that no such policy fits, or other bad arguments.
    """
    from teach_gym.teachers.learned.fit import TrainingSettings, check_tasks, fit
    from teach_gym.teachers.learned.pretrain import Pretraining
    from teach_gym.teachers.learned.recipes import Recipe

    lookup_name("kind of teacher", kind, KINDS)
    settings = settings or TrainingSettings()
    check_tasks(tasks, seeds, None)
    weights = {"adversarial": adversarial, "saturating": saturating, "dropout": dropout, "kl": kl}
    recipe = Recipe(kind, tasks, seeds, settings, weights, privacy, pretraining or Pretraining(), device)
    training, arch = recipe.training(architecture)
    config = {"kind": kind, "architecture": dataclasses.asdict(arch), "terms": recipe.card()}
    history = fit(training, training.parts, tasks, seeds, settings, config=config, device=device, **(records or {}))
    policy = training.policy.to("cpu").eval()
    policy.perception = None if recipe.perception is None else recipe.perception.to("cpu")
    return Trained(kind, policy, tuple(seeds), tuple(tasks), settings, history, {"terms": recipe.card()}, recipe.losses)
