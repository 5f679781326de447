"""Generative teaching policies as networks (DHT 3.3.2): they make teaching examples from a label and noise.

``gan``: a generator sees the learner, the label and noise and gives the features, or an image that a pool's projection
turns into features (DHT C.5, C.7). ``vae``: a policy sees the learner and the offered row and gives mean and variance
of a latent, whose sample a frozen decoder turns into features or an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

try:
    import torch
    from torch import nn
except ImportError as error:
    raise ImportError("teach_gym.teachers.learned.generator needs torch: pip install 'teach_gym[torch]'") from error

from teach_gym.core.backend import Array, as_array, as_tensor, namespace
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.teachers.base import draws
from teach_gym.teachers.learned.architecture import sizes_of
from teach_gym.teachers.learned.convolution import ImageDecoder, ImageGenerator
from teach_gym.teachers.learned.design import Design
from teach_gym.teachers.learned.networks import TeachingNetworks, generators, mlp
from teach_gym.teachers.learned.policy import inputs


class GenerativePolicy(TeachingNetworks):
    """S generative policies of one design; run b is taught by policy b // (B / S).

    Args:
        arch: the design.
        projections: (S, side^2, d), or None where it makes features (or if it will be loaded).
        seeds: S seeds of the initial weights.
        decoder: the decoders of a ``vae`` policy, pre-trained and frozen (None: to be loaded).
    """

    projection: torch.Tensor

    def __init__(
        self, arch: Design, projections: Array | None, seeds: Sequence[int], decoder: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.arch = arch
        own = generators(seeds)
        if arch.kind == "vae":
            self.net = mlp((arch.seen, *arch.hidden, 2 * arch.noise), own)
            self.decoder = make_decoder(arch, own) if decoder is None else decoder
            self.decoder.requires_grad_(False)
        elif arch.side:
            self.net = ImageGenerator(
                arch.seen - arch.embedded + arch.noise, arch.embedded, arch.side, arch.width, own, arch.pixels
            )
        else:
            self.net = mlp((arch.seen + arch.noise, *arch.hidden, arch.d), own)
        if arch.projected:
            table = np.zeros((len(seeds), arch.side**2, arch.d)) if projections is None else projections
            self.register_buffer("projection", torch.tensor(np.asarray(table), dtype=torch.float32))

    def inputs(self, task: Task, state: TeachState) -> Array:
        """What it sees, numpy or torch as the state: learner, row (if it sees one) and label; (B, m, entries)."""
        seen = inputs(task, state, normalize=self.arch.normalize)
        if self.arch.sees_x:
            return seen
        learner = self.arch.seen - self.arch.embedded
        return namespace(seen).concat([seen[..., :learner], seen[..., learner + self.arch.d :]], axis=-1)

    def generate(self, seen: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features or pixels (B, m, size), and the quantity that the terms of the objective use.

        The latter is the same for a GAN, and mean and log variance of the latent (B, m, 2 noise) for a VAE.

        Args:
            seen: (B, m, entries), from ``inputs``.
            noise: (B, m, noise).
        """
        arch, shape = self.arch, seen.shape[:-1]
        rows, noise = (a.reshape(self.n, -1, a.shape[-1]) for a in (seen, noise))
        label = rows[..., arch.seen - arch.embedded :]
        if arch.kind == "vae":
            latent = self.net(rows)
            mean, log_variance = latent.chunk(2, dim=-1)
            made = self.decoder(mean + torch.exp(0.5 * log_variance) * noise, label)
            return made.reshape(*shape, -1), latent.reshape(*shape, -1)
        if arch.side:
            made = self.net(torch.cat([rows[..., : arch.seen - arch.embedded], noise], dim=-1), label)
        else:
            made = self.net(torch.cat([rows, noise], dim=-1))
        made = made.reshape(*shape, -1)
        return made, made

    def raw(self, *seen: torch.Tensor) -> torch.Tensor:
        """The networks' outputs for inputs and noise: (B, m, entries), (B, m, noise) -> (B, m, size)."""
        return self.generate(*seen)[0]

    def example(self, task: Task, state: TeachState, out: Array) -> Example:
        """The teaching examples, numpy or torch: images are projected, labels are the offered ones."""
        if self.arch.projected:
            projection = namespace(out).asarray(as_array(self.projection))
            out = (out.reshape((self.n, -1, out.shape[-1])) @ projection).reshape((*out.shape[:-1], -1))
        return Example(out, state.y[:, 0])

    def forward(self, task: Task, state: TeachState, noise: torch.Tensor) -> tuple[Example, torch.Tensor]:
        """The teaching examples of B runs, in torch, and the quantity that the terms of the objective use."""
        made, measured = self.generate(as_tensor(self.inputs(task, state)), noise)
        return self.example(task, state, as_array(made)), measured

    def made(self, task: Task, state: TeachState) -> Array:
        """The networks' outputs for a numpy state, features or pixels before the projection: (B, m, size)."""
        noise = draws(state).normal(state.x.shape[-2], self.arch.noise)
        return self.outputs(self.inputs(task, state), noise)

    def choose(self, task: Task, state: TeachState) -> Example:
        """The teaching examples of B runs for a numpy state, without gradients."""
        return self.example(task, state, self.made(task, state))

    def facts(self, task: Task) -> tuple[dict[str, Any], dict[str, Any]]:
        """The tasks the networks fit, and the properties of a task: see ``teach_gym.teachers.from_file``."""
        here = sizes_of(task)
        return {name: getattr(self.arch, name) for name in here}, here


class NoisyEpisodes(nn.Module):
    """A generative policy with the noise of whole episodes, for unrolling.

    Args:
        policy: the policy.
        noise: (v, B, m, noise) of every step.

    Attributes:
        measured: by step, the quantity that the terms of the objective use, (B, m, entries); from the first call for a
            step if steps are recomputed.
    """

    def __init__(self, policy: GenerativePolicy, noise: torch.Tensor) -> None:
        super().__init__()
        self.policy, self.noise = policy, noise
        self.measured: dict[int, torch.Tensor] = {}

    def forward(self, task: Task, state: TeachState) -> Example:
        """The teaching examples of B runs, in torch: x (B, m, d), y (B, m, K)."""
        t = int(state.t[0])
        example, measured = self.policy(task, state, self.noise[t])
        self.measured.setdefault(t, measured)
        return example


class VectorDecoder(nn.Module):
    """S decoders of features, perceptrons from latent and label (DHT C.5)."""

    def __init__(self, arch: Design, draws: Sequence[torch.Generator]) -> None:
        super().__init__()
        self.net = mlp((arch.noise + arch.embedded, *arch.decoder, arch.d), draws)

    def forward(self, latent: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Features: (S, L, noise), (S, L, embedded) -> (S, L, d)."""
        return self.net(torch.cat([latent, label], dim=-1))


def make_decoder(arch: Design, draws: Sequence[torch.Generator]) -> Any:
    """S decoders of a design, untrained."""
    if arch.side:
        return ImageDecoder(arch.embedded, arch.noise, arch.side, arch.width, draws, arch.pixels)
    return VectorDecoder(arch, draws)
