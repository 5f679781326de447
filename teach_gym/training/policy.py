"""A stochastic policy over discrete actions, and the batches of episodes it teaches."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from teach_gym.core.state import Task
from teach_gym.envs.autoreset import AutoresetVectorEnv
from teach_gym.integrations.perceptrons import network_of_modules
from teach_gym.integrations.start import LESSONS, begin_at_oracle, shown, statistics
from teach_gym.teachers.perceptron import Network, Normalization

CLIP, EPSILON = 10.0, 1e-8
"""How observations are normalised, as SB3 does it."""


class Policy(nn.Module):
    """The teacher: observations (B, O) -> logits (B, A), with the statistics that observations are scaled by."""

    mean: torch.Tensor  # (O,) float64
    var: torch.Tensor  # (O,) float64
    count: torch.Tensor  # () float64

    def __init__(self, n_inputs: int, n_actions: int, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.logits, self.value = mlp(n_inputs, sizes, n_actions), mlp(n_inputs, sizes, 1)
        for name, start in (("mean", 0.0), ("var", 1.0)):
            self.register_buffer(name, torch.full((n_inputs,), start, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def scale(self, observation: torch.Tensor) -> torch.Tensor:
        """Shift, scale and clip observations: (..., O) -> (..., O) float32."""
        return ((observation - self.mean) / (self.var + EPSILON).sqrt()).clamp(-CLIP, CLIP).float()

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """The logits of the actions: (..., O) -> (..., A)."""
        return self.logits(self.scale(observation))

    def network(self) -> Network:
        """The deterministic policy."""
        statistics = Normalization(self.mean.tolist(), self.var.tolist(), CLIP, EPSILON)
        return network_of_modules([self.logits], "scores", statistics)

    def begin_at_oracle(self, task: Task, seed: int) -> None:
        """Begin as an oracle, with the statistics of its lessons, which then stay nearly as they are.

        Raises:
            ValueError: an observation that does not show the oracle's choice (``teach_gym.integrations.start``), or
                layers with fewer units than there are actions.
        """
        choice = shown(task)
        mean, var = statistics(task, seed)
        self.mean.copy_(torch.from_numpy(mean))
        self.var.copy_(torch.from_numpy(var))
        self.count.fill_(LESSONS)
        begin_at_oracle(list(self.logits), choice, math.sqrt(var[choice.entries.start] + EPSILON))

    def see(self, observations: torch.Tensor) -> None:
        """Add observations (n, O) to the running statistics."""
        rows = observations.double()
        n, mean, var = len(rows), rows.mean(0), rows.var(0, correction=0)
        total, shift = self.count + n, mean - self.mean
        self.var.copy_((self.var * self.count + var * n + shift**2 * self.count * n / total) / total)
        self.mean += shift * (n / total)
        self.count += n


def mlp(n_inputs: int, sizes: tuple[int, ...], n_outputs: int) -> nn.Sequential:
    """Hidden layers with tanh, and a last layer with small weights: all actions start about equally likely."""
    layers: list[nn.Module] = []
    for size in sizes:
        layers += [nn.Linear(n_inputs, size), nn.Tanh()]
        n_inputs = size
    last = nn.Linear(n_inputs, n_outputs)
    with torch.no_grad():
        last.weight *= 0.01
    return nn.Sequential(*layers, last)


class Batch(NamedTuple):
    """B whole episodes of up to H steps."""

    observations: torch.Tensor  # (H, B, O)
    actions: torch.Tensor  # (H, B)
    rewards: torch.Tensor  # (H, B), zero after an episode's end
    mask: torch.Tensor  # (H, B), 1 for a step of an episode, 0 after its end


def roll_out(
    env: AutoresetVectorEnv, policy: Policy, rng: np.random.SeedSequence, terminal: bool, device: str
) -> Batch:
    """Teach one episode in every sub-environment, with actions sampled from the policy.

    Learners and actions follow from ``rng``. Sub-environments whose episode ends early start another one, which is
    masked. ``terminal`` is the setting of that name.
    """
    words = [int(word) >> 1 for word in rng.generate_state(env.num_envs + 1, np.uint64)]
    generator = torch.Generator().manual_seed(words.pop())
    seeds: list[int | None] = [*words]
    observation, _ = env.reset(seed=seeds)
    alive = np.ones(env.num_envs, dtype=np.bool_)
    steps: list[tuple[torch.Tensor, ...]] = []
    while len(steps) < env.horizon and alive.any():
        seen = torch.tensor(observation)
        with torch.no_grad():
            probabilities = torch.softmax(policy(seen.to(device)), -1).cpu()
        actions = torch.multinomial(probabilities, 1, generator=generator)[:, 0]
        observation, reward, over, _, _ = env.step(actions.numpy())
        steps.append((seen, actions, torch.tensor(np.where(alive, reward, 0.0)), torch.tensor(alive).float()))
        alive &= ~over
    batch = Batch(*(torch.stack(parts).to(device) for parts in zip(*steps, strict=True)))
    if terminal:
        ends = batch.mask - torch.cat([batch.mask[1:], torch.zeros_like(batch.mask[:1])])  # 1 at the last step
        batch = batch._replace(rewards=ends * batch.rewards.sum(0))
    return batch
