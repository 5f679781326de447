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
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from teach_gym.core.backend import Array
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.errors import DamagedDataError, lookup_name
from teach_gym.teachers.base import draws
from teach_gym.teachers.learned.unrolled import Trained, Unrolled
from teach_gym.teachers.weights import check_source, misfit

if TYPE_CHECKING:
    from teach_gym.teachers.learned.fit import TrainingSettings
    from teach_gym.teachers.learned.generator import Design
    from teach_gym.teachers.learned.pretrain import Perception, Pretraining
    from teach_gym.teachers.learned.terms import Privacy


@dataclass
class _Generative(Unrolled):
    """Base of the teachers here; their arguments are those of ``Unrolled``.

    Attributes:
        perception: the perceptual distance it was trained with, or None.
    """

    perception: Perception | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        check_source(self.name, self.give, self.path, self.policy)
        self.card: dict[str, Any] = {}
        if self.path is not None:
            self._load(self.path)
        if self.every is None:
            self.every = self.card.get("settings", {}).get("every", 1)
        assert self.policy is not None
        self.policy.eval()

    def _load(self, path: str | Path) -> None:
        """Read networks, task and description from a file of ``TrainedGenerative.save``."""
        import torch

        from teach_gym.teachers.weights import read_teacher

        saved = read_teacher(path, self.name)
        try:
            parts: dict[str, dict[str, Any]] = {"policy": {}, "perception": {}}
            for key, tensor in saved.tensors.items():
                part, _, name = key.partition(".")
                parts[part][name] = tensor
            if not all(bool(torch.isfinite(tensor).all()) for tensor in saved.tensors.values()):
                raise ValueError("weights that are not finite numbers")
            self.policy = _empty_policy(self.name, saved.card["architecture"])
            dtype = next(iter(parts["policy"].values())).dtype
            self.policy.load_state_dict(parts["policy"])
            self.policy.to(dtype)
            if parts["perception"]:
                self.perception = _empty_perception(parts["perception"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise DamagedDataError(f"{path} is damaged: {error}") from error
        self.spec, self.card = saved.spec, saved.card

    def perceptual_distance(self, example: Example) -> Array:
        """Least squared perceptual distance of each example from the privacy set: x (B, m, d) -> (B, m).

        Raises:
            ValueError: the teacher was trained without ``privacy``.
        """
        import torch

        if self.perception is None:
            raise ValueError(f"this {self.name} teacher was trained without privacy: it has no perceptual distance")
        with torch.no_grad():
            x = torch.tensor(np.array(example.x, order="C"), dtype=self.perception.private.dtype)
            return np.asarray(self.perception.distance(x).numpy())


@dataclass
class _FromNoise(_Generative):
    """Base of the teachers that draw noise at every step."""

    def check(self, task: Task) -> None:
        """Raise a ``ValueError`` that names both tasks if the networks do not fit a task."""
        from teach_gym.teachers.learned.generator import design

        policy: Any = self.policy
        arch: Design = policy.arch
        wanted = design(task, arch.kind, images=False)
        names = ("d", "k", "parameters", "classes", "momentum")
        apart = [name for name in names if getattr(arch, name) != getattr(wanted, name)]
        if apart:
            there, here = ({name: getattr(found, name) for name in apart} for found in (arch, wanted))
            raise misfit(self.spec, task, there, here)

    def _example(self, task: Task, state: TeachState) -> Example:
        self._draw_noise(state)
        return super()._example(task, state)

    def made(self, task: Task, state: TeachState) -> Array:
        """What the networks make, features or pixels in [-1, 1] before the projection: (B, m, size)."""
        import torch

        assert self.policy is not None
        self._draw_noise(state)
        seen = torch.tensor(np.array(self.policy.inputs(task, state), order="C"))
        with torch.no_grad():
            return np.asarray(self.policy.raw(seen.to(next(self.policy.parameters()).dtype)).numpy())

    def _draw_noise(self, state: TeachState) -> None:
        policy: Any = self.policy
        noise = draws(state).normal(state.x.shape[-2], policy.arch.noise)
        policy.draw = lambda _: noise


@dataclass
class GAN(_FromNoise):
    """A generator of teaching examples, trained against a discriminator (DHT 3.3.2), read from a file.

    Args:
        path: a file written by ``TrainedGenerative.save``.
        give: ``example``: its very features. ``action``: the action whose example is nearest to that.
        policy: the networks themselves, instead of a file; run b of B is taught by network b // (B / S).
        spec: the task the policy was trained on, where it is given.
        every: the teacher sees the learner's parameters at every so-many-th step (None: as it was trained).

    Raises:
        FileNotFoundError: no such file.
        DamagedDataError: a damaged file.
        ValueError: a file of another kind, an unknown ``give``, or neither or both of path and policy.
    """

    name: str = field(default="gan", init=False)


@dataclass
class VAE(_FromNoise):
    """A policy in the latent space of a variational autoencoder (DHT 3.3.2); arguments and errors as ``GAN``."""

    name: str = field(default="vae", init=False)


@dataclass
class Private(_Generative):
    """A data transformation that keeps away from a privacy set (DHT Eq. 10); arguments and errors as ``GAN``."""

    name: str = field(default="private", init=False)


_CLASSES: dict[str, type[_Generative]] = {"gan": GAN, "vae": VAE, "private": Private}


def _empty_policy(kind: str, about: dict[str, Any]) -> Any:
    """A policy of one teacher for the card's architecture, its weights to be loaded."""
    from teach_gym.teachers.learned.generator import Design, GenerativePolicy
    from teach_gym.teachers.learned.policy import Architecture, NetworkPolicy

    about = {name: tuple(value) if isinstance(value, list) else value for name, value in about.items()}
    if kind == "private":
        return NetworkPolicy(Architecture(**about), None, [0])
    return GenerativePolicy(Design(**about), None, [0])


def _empty_perception(tensors: dict[str, Any]) -> Perception:
    from teach_gym.teachers.learned.pretrain import Perception

    weights = [tensor for name, tensor in tensors.items() if name.endswith(".weight")]
    hidden = [weight.shape[-1] for weight in weights[:-1]]
    private = tensors["private"]
    made = Perception(weights[0].shape[1], weights[-1].shape[-1], private.shape[1], [0], hidden)
    made.load_state_dict(tensors)
    return made.to(private.dtype)


@dataclass
class TrainedGenerative(Trained):
    """What ``train_generative`` gives; see ``Trained``.

    Attributes:
        kind: ``gan``, ``vae`` or ``private``.
        perception: the perceptual distances of the S teachers, or None.
        pretraining: losses of the pre-trained networks by name, (steps, S) each.
        terms: weights of the objective's terms.
    """

    kind: str = "gan"
    perception: Perception | None = None
    pretraining: dict[str, Array] = field(default_factory=dict)
    terms: dict[str, Any] = field(default_factory=dict)

    def teacher(self, index: int | None = None, *, give: str = "example") -> _Generative:
        """One teacher; None: all of them, each teaching its share of the runs."""
        from teach_gym.teachers.learned.networks import pick

        def part(module: Any) -> Any:
            return module if module is None or index is None else pick(module, index)

        made = _CLASSES[self.kind](
            policy=part(self.policy), give=give, spec=self.task(index or 0).spec, every=self.settings.every
        )
        made.perception = part(self.perception)
        return made

    def tensors(self, one: Any) -> dict[str, Any]:
        """The networks of a teacher, and its perceptual distance."""
        parts = {"policy": one.policy, "perception": one.perception}
        return {
            f"{part}.{name}": tensor
            for part, module in parts.items()
            if module is not None
            for name, tensor in module.state_dict().items()
        }

    def about(self) -> dict[str, Any]:
        """The terms of the objective."""
        return {"terms": self.terms}


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
) -> TrainedGenerative:
    """Train generative or private teachers by unrolling their learners, all at once.

    Args:
        kind: ``gan``, ``vae`` or ``private``.
        tasks: one task for all teachers, or one for each (other pools and targets).
        seeds: one for each teacher: its first weights, its noise, its learners and their data.
        settings: how to train (None: DHT's settings).
        adversarial: weight of the adversarial term of a ``gan``.
        saturating: see ``teach_gym.teachers.learned.terms.AdversarialTerm``.
        dropout: see there.
        kl: weight of the divergence of a ``vae``.
        privacy: keep examples away from a privacy set (``private`` needs it).
        pretraining: how autoencoders and perceptual distances are trained (None: the defaults).
        device: a torch device.
        records: ``out``, ``resume``, ``starts``, ``progress`` and further arguments of
            ``teach_gym.teachers.learned.fit.fit``.
        **architecture: of ``teach_gym.teachers.learned.generator.design``; for ``private`` of
            ``teach_gym.teachers.learned.policy.architecture``.

    Raises:
        DivergedError: a learner or a network is no longer finite; the message names the step.
        ValueError: an unknown kind, a task that no such policy fits, or other bad arguments.
    """
    from teach_gym.teachers.learned.fit import TrainingSettings, check_tasks, fit
    from teach_gym.teachers.learned.generator import GenerativePolicy
    from teach_gym.teachers.learned.pretrain import Pretraining
    from teach_gym.teachers.learned.recipes import Recipe

    lookup_name("kind of teacher", kind, _CLASSES)
    settings = settings or TrainingSettings()
    check_tasks(tasks, seeds, None)
    weights = {"adversarial": adversarial, "saturating": saturating, "dropout": dropout, "kl": kl}
    recipe = Recipe(kind, tasks, seeds, settings, weights, privacy, pretraining or Pretraining(), device)
    training, arch = recipe.training(architecture)
    config = {"kind": kind, "architecture": dataclasses.asdict(arch), "terms": recipe.card()}
    history = fit(training, training.parts, tasks, seeds, settings, config=config, device=device, **(records or {}))
    policy = training.policy.to("cpu").eval()
    if isinstance(policy, GenerativePolicy):
        policy.draw = policy.trace = None
    perception = None if recipe.perception is None else recipe.perception.to("cpu")
    given = (policy, tuple(seeds), tuple(tasks), settings, history)
    return TrainedGenerative(*given, kind, perception, recipe.losses, recipe.card())
