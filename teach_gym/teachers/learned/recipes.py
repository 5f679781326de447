"""Assembling a generative or private teacher's training: pre-trained networks, policy, terms."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from teach_gym.errors import shown

try:
    import torch
except ImportError as error:
    raise ImportError("teach_gym.teachers.learned.recipes needs torch: pip install 'teach_gym[torch]'") from error

from teach_gym.core.backend import Array
from teach_gym.core.state import Task
from teach_gym.teachers.learned.adversarial import AdversarialTerm
from teach_gym.teachers.learned.architecture import Architecture
from teach_gym.teachers.learned.architecture import architecture as network_architecture
from teach_gym.teachers.learned.design import Design, design, real_rows
from teach_gym.teachers.learned.fit import TrainingSettings
from teach_gym.teachers.learned.generator import GenerativePolicy
from teach_gym.teachers.learned.objective import Distance, Training
from teach_gym.teachers.learned.policy import NetworkPolicy, embed_labels
from teach_gym.teachers.learned.pretrain import Perception, Pretraining, pretrain_perception, pretrain_vae
from teach_gym.teachers.learned.terms import (
    DistanceAndTerms,
    LatentTerm,
    Privacy,
    PrivacyTerm,
    Term,
    check_weight,
)


class Recipe:
    """The parts of a training of S teachers.

    Args:
        kind: ``gan``, ``vae`` or ``private``.
        tasks: one for all teachers or one for each.
        seeds: the teachers' seeds.
        settings: how to train.
        weights: ``adversarial``, ``saturating``, ``dropout`` and ``kl``.
        privacy: the privacy set's distance and penalty, or None.
        pretraining: how autoencoders and perceptual distances are trained.
        device: a torch device.

    Raises:
        ValueError: ``private`` without privacy, or a weight out of range.
    """

    def __init__(
        self,
        kind: str,
        tasks: Sequence[Task],
        seeds: Sequence[int],
        settings: TrainingSettings,
        weights: dict[str, Any],
        privacy: Privacy | None,
        pretraining: Pretraining,
        device: str,
    ) -> None:
        if kind == "private" and privacy is None:
            raise ValueError("a private teacher needs privacy=Privacy(epsilon=...)")
        for name in ("adversarial", "kl"):
            check_weight(name, weights[name])
        if not 0.0 <= weights["dropout"] < 1.0:
            raise ValueError(f"dropout must lie in [0, 1), got {shown(weights['dropout'])}")
        self.kind, self.seeds, self.settings = kind, list(seeds), settings
        self.tasks = list(tasks) if len(tasks) > 1 else [tasks[0]] * len(self.seeds)
        self.weights, self.privacy, self.pretraining, self.device = weights, privacy, pretraining, device
        self.dtype = getattr(torch, settings.dtype)
        self.perception: Perception | None = None
        self.losses: dict[str, Array] = {}

    def card(self) -> dict[str, Any]:
        """The terms of the objective in plain JSON values."""
        names = {"gan": ("adversarial", "saturating", "dropout"), "vae": ("kl",)}.get(self.kind, ())
        found = {name: self.weights[name] for name in names}
        found["privacy"] = None if self.privacy is None else dataclasses.asdict(self.privacy)
        if self.kind == "vae" or self.privacy is not None:
            found["pretraining"] = dataclasses.asdict(self.pretraining)
        return found

    def training(self, options: dict[str, Any]) -> tuple[Training, Design | Architecture]:
        """The training and the policy's architecture, for options of the latter."""
        policy: Any
        arch: Design | Architecture
        terms: list[Term] = []
        if self.kind == "private":
            arch = self._transformation(options)
            policy = NetworkPolicy(arch, self.tasks, self.seeds)
        else:
            arch = made = design(self.tasks[0], self.kind, **options)
            policy = self._generative(made)
        policy = policy.to(self.device, self.dtype)
        task = self.tasks[0]
        if self.kind == "gan":
            real = self._real(policy.arch)
            terms.append(AdversarialTerm(task, policy, real, self.seeds, self.settings, self._weight(), **self._how()))
        elif self.kind == "vae":
            terms.append(LatentTerm(policy, self.weights["kl"], self.settings.steps))
        if self.privacy is not None:
            self.perception = self._perceive(self.privacy)
            terms.append(PrivacyTerm(policy, self.perception, self.privacy))
        objective = DistanceAndTerms(Distance(policy, self.settings), terms, self.seeds)
        return Training(task, policy, self.settings, objective, device=self.device), arch

    def _weight(self) -> float:
        return float(self.weights["adversarial"])

    def _how(self) -> dict[str, Any]:
        return {name: self.weights[name] for name in ("saturating", "dropout")}

    def _transformation(self, options: dict[str, Any]) -> Architecture:
        task = self.tasks[0]
        if task.spec.medium != "perturb":
            raise ValueError(
                f"a private teacher transforms features and fits the medium perturb; the task's is {task.spec.medium!r}"
            )
        return network_architecture(task, **options)

    def _generative(self, arch: Design) -> GenerativePolicy:
        decoder = None
        if arch.kind == "vae":
            decoder, losses = pretrain_vae(arch, *self._real(arch), self.seeds, self.pretraining)
            self.losses["vae"] = losses.cpu().numpy()
        projections = None
        if arch.projected:
            projections = np.stack([np.asarray(task.pool.projection) for task in self.tasks])
        return GenerativePolicy(arch, projections, self.seeds, decoder)

    def _real(self, arch: Design) -> tuple[torch.Tensor, torch.Tensor]:
        """Real rows (S, N, size) and their label embeddings (S, N, embedded)."""
        found = [real_rows(task, arch) for task in self.tasks]
        return self._stack([r.rows for r in found]), self._labels()

    def _labels(self) -> torch.Tensor:
        return self._stack([embed_labels(task, np.asarray(task.y)) for task in self.tasks])

    def _stack(self, tables: Sequence[Array]) -> torch.Tensor:
        """Tables of the teachers, copied if all share one: (S, N, c)."""
        if all(table is tables[0] for table in tables):
            one = torch.tensor(np.array(tables[0], order="C"), device=self.device, dtype=self.dtype)
            return one.expand(len(tables), *one.shape)
        return torch.tensor(np.stack(tables), device=self.device, dtype=self.dtype)

    def _perceive(self, privacy: Privacy) -> Perception:
        rows = self._stack([task.x for task in self.tasks])
        n = rows.shape[1] if privacy.rows is None else privacy.rows
        if n > rows.shape[1]:
            raise ValueError(f"a privacy set of {n} rows was requested, the pool has {rows.shape[1]} train rows")
        made, losses = pretrain_perception(rows, self._labels(), rows[:, :n], self.seeds, self.pretraining)
        self.losses["perception"] = losses.cpu().numpy()
        return made
