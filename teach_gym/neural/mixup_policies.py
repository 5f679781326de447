"""Policies that choose the mixup coefficients: the baselines, unrolling and policy gradient of DHT Table 1.

A policy is called with the trainings and gives a coefficient for each of them, (S,). It has a generator per seed, so
that a seed's results never depend on the others.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from teach_gym.errors import positive
from teach_gym.neural.images import scale
from teach_gym.neural.mixup import Adam, Trainings, cross_entropy
from teach_gym.neural.networks import StackedLinear
from teach_gym.records.runlog import RunLog

Policy = Callable[[Trainings], Tensor]
TEACH, LEARN, ACT, VALIDATE, WEIGHTS = range(5)
"""Purposes of random words."""
_STATE, _HIDDEN = 3, 128
_STEP = 0.01
"""Length of the step of DARTS' finite difference (Liu et al., 2019, Eq. 8)."""


def word(*key: int) -> int:
    """A random seed below 2^63 that follows from some numbers."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]) >> 1


def generators(seeds: Sequence[int], purpose: int) -> list[Any]:
    """A torch generator on the CPU for each seed."""
    return [torch.Generator().manual_seed(word(seed, purpose)) for seed in seeds]


def teach(trainings: Trainings, seeds: Sequence[int], policy: Policy, watch: Callable[[Tensor], None]) -> None:
    """One whole training per seed; all methods of a seed start from the same learner and get the same mini-batches.

    Args:
        trainings: a stack of S trainings.
        seeds: S seeds.
        policy: chooses the coefficients.
        watch: called after each step with the coefficients (S,).
    """
    trainings.start(range(len(seeds)), [word(seed, TEACH) for seed in seeds])
    for _ in range(trainings.horizon):
        coefficient = policy(trainings)
        trainings.step(coefficient)
        watch(coefficient)


def erm(trainings: Trainings) -> Tensor:
    """No mixing: c = 1 (ERM)."""
    return torch.ones(trainings.n)


def cmixup(seeds: Sequence[int], alpha: float = 1.0) -> Policy:
    """cMixup: c ~ Beta(alpha, alpha), drawn for each mini-batch.

    Raises:
        ValueError: alpha is not positive.
    """
    positive("alpha", alpha)
    rngs = [np.random.default_rng(word(seed, ACT)) for seed in seeds]
    return lambda trainings: torch.tensor([rng.beta(alpha, alpha) for rng in rngs], dtype=torch.float32)


def dmixup(seeds: Sequence[int]) -> Policy:
    """dMixup: c uniform over the coefficients of the discrete actions."""
    rngs = [np.random.default_rng(word(seed, ACT)) for seed in seeds]
    return lambda trainings: torch.tensor([rng.choice(trainings.spec.coefficients) for rng in rngs])


class CoefficientNetwork(nn.Module):
    """S networks 3 - 128 - A with ReLU and dropout (DHT B): states (S, n, 3) -> (S, n, A).

    Args:
        seeds: determine the weights.
        n_outputs: A.
        dropout: share of hidden units that are dropped where masks are given.
    """

    def __init__(self, seeds: Sequence[int], n_outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        pairs = []
        for seed in seeds:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(word(seed, WEIGHTS))
                pairs.append((nn.Linear(_STATE, _HIDDEN), nn.Linear(_HIDDEN, n_outputs)))
        self.hidden, self.out = (StackedLinear(layers) for layers in zip(*pairs, strict=True))
        self.dropout = dropout

    def masks(self, n: int, draws: Sequence[Any]) -> Tensor:
        """Factors of the hidden units, (S, n, 128): zero, or one over the share kept."""
        kept = [torch.rand((n, _HIDDEN), generator=generator) >= self.dropout for generator in draws]
        return torch.stack(kept) / (1.0 - self.dropout)

    def forward(self, state: Tensor, masks: Tensor | float = 1.0) -> Tensor:
        """(S, n, 3) -> (S, n, A)."""
        return self.out(torch.relu(self.hidden(state)) * masks)


def hypergradient(
    trainings: Trainings, coefficient: Tensor, held: tuple[Tensor, Tensor], rate: float, *, exact: bool
) -> Tensor:
    """d/dc L_val(w - rate grad_w L_train(w, c)), the gradient that unrolling follows (DHT B, after DARTS): (S,).

    Args:
        trainings: the learners w and this step's mini-batches.
        coefficient: c, (S,).
        held: validation images (S, n, C, H, W) in [-1, 1] and classes (S, n).
        rate: xi.
        exact: differentiate through the gradient step (second order) instead of DARTS' finite difference, which takes
            gradients only. With xi = 0, what DARTS calls first order, the gradient is zero: the validation loss depends
            on the teacher through the learner alone.
    """
    c = coefficient.detach().to(trainings.device).requires_grad_()
    batch, learners = trainings.batch(), trainings.learners
    buffers = {name: value.clone() for name, value in learners.named_buffers()}  # batch norm counts real steps only
    now = [p.detach().requires_grad_() for p in learners.parameters()]

    def train(parameters: Sequence[Tensor]) -> Tensor:
        named = dict(zip(trainings.names, parameters, strict=True))
        return trainings.mixed_loss(c, batch, {**named, **buffers}).sum()

    def validate(parameters: Sequence[Tensor]) -> Tensor:
        named = dict(zip(trainings.names, parameters, strict=True))
        return cross_entropy(functional_call(learners, {**named, **buffers}, (held[0],)), held[1]).sum()

    gradients = torch.autograd.grad(train(now), now, create_graph=exact)
    after = [p - rate * g for p, g in zip(now, gradients, strict=True)]
    if exact:
        return torch.autograd.grad(validate(after), c)[0]
    after = [p.detach().requires_grad_() for p in after]
    vectors = torch.autograd.grad(validate(after), after)
    norm = torch.stack([v.flatten(1).square().sum(1) for v in vectors]).sum(0).sqrt()
    length = _STEP / norm.clamp(min=1e-12)
    slopes = []
    for sign in (1.0, -1.0):
        shifts = [sign * length.view(-1, *[1] * (v.ndim - 1)) * v for v in vectors]
        moved = [p.detach() + shift for p, shift in zip(now, shifts, strict=True)]
        slopes.append(torch.autograd.grad(train(moved), c)[0])
    return -rate * (slopes[0] - slopes[1]) / (2.0 * length)


class Unrolling:
    """A teacher that follows ``hypergradient`` while the learner trains: one Adam step of the teacher before each step.

    Args:
        seeds: one teacher per seed.
        learning_rate: the teacher's.
        exact: see ``hypergradient``.
        rate: xi (None: the learner's learning rate, as in DARTS).
    """

    def __init__(
        self, seeds: Sequence[int], learning_rate: float = 1e-3, exact: bool = True, rate: float | None = None
    ) -> None:
        self.teacher, self.exact, self.rate = CoefficientNetwork(seeds, 1), exact, rate
        self.parameters = list(self.teacher.parameters())
        self.optimizer = Adam(self.parameters, learning_rate)
        self.draws = generators(seeds, VALIDATE)

    def __call__(self, trainings: Trainings) -> Tensor:
        """The coefficients of this step, (S,)."""
        state = torch.from_numpy(trainings.observation())[:, None]
        held, size = trainings.pool.held_out, (trainings.spec.batch_size,)
        rows = torch.stack([torch.randint(len(held), size, generator=draw) for draw in self.draws])
        pixels, labels = held.take(rows.to(trainings.device))
        c = torch.sigmoid(self.teacher(state)[:, 0, 0])
        rate = trainings.spec.learning_rate if self.rate is None else self.rate
        slope = hypergradient(trainings, c, (scale(pixels), labels), rate, exact=self.exact)
        self.optimizer.step(torch.autograd.grad(c, self.parameters, slope.to(c.device)))
        with torch.no_grad():
            return torch.sigmoid(self.teacher(state)[:, 0, 0])


class Sampling:
    """Samples the discrete actions from a teacher's distribution.

    Args:
        teacher: S teachers.
        draws: a generator for each.
        each: trainings per teacher; the stack of trainings has S x each.
        keep: keep states, dropout masks and actions in ``kept``, which also switches dropout on.
    """

    def __init__(self, teacher: CoefficientNetwork, draws: Sequence[Any], each: int = 1, keep: bool = False) -> None:
        self.teacher, self.draws, self.each, self.keep = teacher, draws, each, keep
        self.kept: list[tuple[Tensor, Tensor, Tensor]] = []

    def __call__(self, trainings: Trainings) -> Tensor:
        """The coefficients of this step, (S x each,)."""
        state = torch.from_numpy(trainings.observation()).view(-1, self.each, _STATE)
        masks: Any = self.teacher.masks(self.each, self.draws) if self.keep else 1.0
        with torch.no_grad():
            chances = torch.softmax(self.teacher(state, masks), -1)
        rows = [torch.multinomial(p, 1, generator=draw) for p, draw in zip(chances, self.draws, strict=True)]
        action = torch.stack(rows)[..., 0]
        if self.keep:
            self.kept.append((state, masks, action))
        return torch.tensor(trainings.spec.coefficients, dtype=torch.float32)[action].flatten()


def policy_loss(teacher: CoefficientNetwork, kept: Sequence[tuple[Tensor, Tensor, Tensor]], returns: Tensor) -> Tensor:
    """Minus the mean over steps and trainings of log pi(a_t | s_t) times the weight of the training (DHT 4.1): (S,).

    The weight is the terminal reward R minus its mean over a teacher's trainings, divided by their standard deviation.

    Args:
        teacher: S teachers.
        kept: state (S, n, 3), dropout masks (S, n, 128) and actions (S, n) of every step.
        returns: R, (S, n).
    """
    states, masks, actions = (torch.cat(parts, dim=1) for parts in zip(*kept, strict=True))  # (S, H n, ...)
    chances = torch.log_softmax(teacher(states, masks), -1)
    chosen = chances.gather(-1, actions[..., None])[..., 0].view(len(states), len(kept), -1)
    weights = returns - returns.mean(-1, keepdim=True)
    weights = weights / (returns.std(-1, keepdim=True) + 1e-8)
    return -(chosen * weights[:, None]).mean((1, 2))


def learn_policy(
    make: Callable[[int], Trainings],
    seeds: Sequence[int],
    *,
    updates: int,
    episodes: int,
    learning_rate: float = 1e-2,
    dropout: float = 0.1,
    folder: Path | None = None,
) -> Policy:
    """Policy gradient (DHT 4.1): whole trainings with sampled actions, the validation accuracy at their end as reward.

    Args:
        make: makes a stack of the given number of trainings.
        seeds: one policy per seed; its learners differ from those ``teach`` starts.
        updates: Adam steps of the policy.
        episodes: trainings per policy and step, at least 2.
        learning_rate: Adam's.
        dropout: of the policy, while it learns.
        folder: for a checkpoint after each step of the policy, from which an interrupted training resumes (None: none).

    Returns:
        The policies, which still sample their actions but without dropout.

    Raises:
        ValueError: a value out of range, or the folder holds a training with other settings.
    """
    positive("updates", updates, integer=True)
    if episodes < 2:
        raise ValueError(f"episodes must be >= 2, got {episodes}: they are compared with each other")
    trainings = make(len(seeds) * episodes)
    teacher, draws = CoefficientNetwork(seeds, len(trainings.spec.coefficients), dropout), generators(seeds, LEARN)
    parameters = list(teacher.parameters())
    optimizer = Adam(parameters, learning_rate)
    config = {"seeds": list(seeds), "episodes": episodes, "learning_rate": learning_rate, "dropout": dropout}
    config |= {"training": dataclasses.asdict(trainings.spec)}
    with contextlib.ExitStack() as stack:
        log, done = None, 0
        if folder is not None:
            log = stack.enter_context(RunLog(folder, config, resume=(folder / "config.json").is_file()))
            if log.restored is not None:
                done, found = log.restored.step, log.restored.tensors
                teacher.load_state_dict(found["teacher"])
                optimizer.load(found["optimizer"])
                for draw, state in zip(draws, found["draws"], strict=True):
                    draw.set_state(state)
        for update in range(done, updates):
            words = [word(seed, LEARN, update, k) for seed in seeds for k in range(episodes)]
            trainings.start(range(trainings.n), words)
            policy = Sampling(teacher, draws, episodes, keep=True)
            for _ in range(trainings.horizon):
                trainings.step(policy(trainings))
            returns = torch.from_numpy(trainings.accuracy).float().view(len(seeds), episodes)
            loss = policy_loss(teacher, policy.kept, returns)
            optimizer.step(torch.autograd.grad(loss.sum(), parameters))
            if log is not None:
                log.log(update + 1, accuracy=float(returns.mean()))
                states = [draw.get_state() for draw in draws]
                tensors = {"teacher": teacher.state_dict(), "optimizer": optimizer.tensors(), "draws": states}
                log.checkpoint(update + 1, tensors)
    return Sampling(teacher, generators(seeds, ACT))
