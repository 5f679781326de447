"""Training a network on an image pool: plain, randomly perturbed or performatively taught, for several seeds at once.

Every draw is seeded by (seed, purpose, iteration or epoch), so a run killed at any moment and resumed from its last
checkpoint gives the same numbers to the last bit on the CPU, and a seed's data do not depend on the other seeds.
"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from teach_gym.errors import quoted
from teach_gym.files import write_text
from teach_gym.neural.image_files import load_pool
from teach_gym.neural.images import ImagePool, accuracy, crop_and_flip, scale
from teach_gym.neural.networks import make_network, seeded
from teach_gym.neural.performative import Step, performative_step
from teach_gym.neural.settings import PRECISIONS, ImageTrainingSettings
from teach_gym.neural.teaching import PLAIN
from teach_gym.records.runlog import RunLog

_ORDER, _AUGMENT, _POLICY, _TARGET = range(4)
_LOOK = 50
"""Iterations between checks of the losses, each of which waits for the device."""


class Trainer:
    """The learners of a run: network, optimizer and images; ``advance`` takes one step.

    Args:
        settings: the run.
        pool: its images, on the CPU or on the device.
    """

    def __init__(self, settings: ImageTrainingSettings, pool: ImagePool) -> None:
        self.settings, self.device = settings, settings.place()
        pool = pool.validation(settings.validation) if settings.validation else pool
        pool = pool.fewer(settings.images) if settings.images else pool
        self.pool = (pool.mislabelled(settings.label_noise) if settings.label_noise else pool).to(self.device)
        self.n_batches = len(self.pool.train) // settings.batch_size
        if not self.n_batches:
            raise ValueError(f"batch_size must be <= {len(self.pool.train)} images, got {settings.batch_size}")
        options = settings.network_options
        made = seeded(lambda: make_network(settings.network, pool.image, len(pool.classes), **options), settings.seeds)
        self.network = made._replace(encoder=made.encoder.to(self.device), head=made.head.to(self.device))
        if settings.channels_last:
            self.network.encoder.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(),
            settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            fused=True,  # in place: copies of the weights cost as much as their gradients
        )
        self.teaching = settings.taught()
        self.generators = [torch.Generator(self.device) for _ in settings.seeds]
        self.epoch, self.order = -1, torch.empty(0)

    def encode(self, images: Tensor) -> Tensor:
        """Images (..., n, C, H, W) -> features (..., n, d) float32."""
        if self.settings.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        lower = PRECISIONS[self.settings.precision]
        with torch.autocast(self.device.type, dtype=lower, enabled=lower is not None):
            return self.network.encoder(images).float()

    def draws(self, purpose: int, index: int) -> list[Any]:
        """A generator per seed, seeded by (seed, purpose, index)."""
        for seed, generator in zip(self.settings.seeds, self.generators, strict=True):
            word = np.random.SeedSequence([seed, purpose, index]).generate_state(1, np.uint64)[0]
            generator.manual_seed(int(word) >> 1)
        return self.generators

    def batch(self, t: int) -> tuple[Tensor, Tensor]:
        """The mini-batches of iteration t: images (..., n, C, H, W) in [-1, 1] and classes (..., n).

        Each epoch goes through the training set in a new order; an incomplete last mini-batch is dropped.
        """
        epoch, place = divmod(t, self.n_batches)
        if epoch != self.epoch:
            n, generators = len(self.pool.train), self.draws(_ORDER, epoch)
            orders = [torch.randperm(n, generator=generator, device=self.device) for generator in generators]
            self.epoch, self.order = epoch, torch.stack(orders) if len(orders) > 1 else orders[0]
        size = self.settings.batch_size
        pixels, labels = self.pool.train.take(self.order[..., place * size : (place + 1) * size])
        if self.settings.augment:
            pixels = crop_and_flip(pixels, self.draws(_AUGMENT, t))
        return scale(pixels), labels

    def targets(self, t: int) -> tuple[Tensor, Tensor]:
        """Features (..., n, d) and classes (..., n) that w* is estimated on at iteration t (see ``target_images``)."""
        n, generators, size = len(self.pool.train), self.draws(_TARGET, t), (self.settings.target_images,)
        drawn = [torch.randint(0, n, size, generator=generator, device=self.device) for generator in generators]
        pixels, labels = self.pool.train.take(torch.stack(drawn) if len(drawn) > 1 else drawn[0])
        self.network.encoder.eval()
        with torch.no_grad():
            features = self.encode(scale(pixels))
        self.network.encoder.train()
        return features, labels

    def advance(self, t: int) -> Step:
        """Iteration t of all learners."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.rate(t)
        between = self.settings.teach_between
        teaching = self.teaching if between is None or between[0] <= t < between[1] else PLAIN
        data = self.batch(t)  # before the policy's draws: it seeds the same generators
        generators = self.draws(_POLICY, t) if teaching.policy == "random" else None
        targets = self.targets(t) if self.settings.target_images and teaching.policy == "greedy" else None
        return performative_step(
            self.encode,
            self.network.head,
            data,
            self.optimizer,
            teaching=teaching,
            generators=generators,
            target_data=targets,
        )

    def accuracy(self) -> list[float]:
        """Per cent of held-out images classified correctly, for each seed."""
        runs = len(self.settings.seeds) if len(self.settings.seeds) > 1 else None
        self.network.encoder.eval()
        found = accuracy(lambda x: self.network.head(self.encode(x)), self.pool.held_out, runs=runs)
        self.network.encoder.train()
        return found

    def tensors(self) -> dict[str, Any]:
        """The content of a checkpoint."""
        encoder, head = self.network.encoder.state_dict(), self.network.head.state_dict()
        return {"encoder": encoder, "head": head, "optimizer": self.optimizer.state_dict()}

    def load(self, tensors: dict[str, Any]) -> None:
        """Resume from a checkpoint."""
        self.network.encoder.load_state_dict(tensors["encoder"])
        self.network.head.load_state_dict(tensors["head"])
        self.optimizer.load_state_dict(tensors["optimizer"])


class Losses:
    """The mean training losses since the last measurement, and the first iteration with a non-finite one."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.total = torch.zeros(len(trainer.settings.seeds), device=trainer.device)
        self.broken = torch.full_like(self.total, -1, dtype=torch.int64)
        self.count = 0

    def add(self, t: int, loss: Tensor) -> None:
        """Add the losses of iteration t, without waiting for the device."""
        loss = loss.reshape(-1)
        self.total = self.total + loss
        self.broken = torch.where((self.broken < 0) & ~torch.isfinite(loss), t, self.broken)
        self.count += 1

    def check(self, folder: Path, *, parameters: bool = False) -> None:
        """Raise a ``FloatingPointError`` if a loss (or a parameter, if asked) is not finite."""
        settings = self.trainer.settings
        first = [(t, seed) for t, seed in zip(self.broken.tolist(), settings.seeds, strict=True) if t >= 0]
        if first:
            what = f"the loss of seed {min(first)[1]} became non-finite at iteration {min(first)[0]}"
        elif parameters and not all(bool(torch.isfinite(p).all()) for p in self.trainer.network.parameters()):
            what = "the learner's parameters became non-finite"
        else:
            return
        kept = sorted((folder / "checkpoints").glob("*.pt"))
        where = f"the last good checkpoint is {quoted(kept[-1])}" if kept else "there was no checkpoint yet"
        raise FloatingPointError(f"{what}; {where}. A learning_rate below {settings.learning_rate} may help")

    def mean(self) -> list[float]:
        """The means, one per seed; resets them."""
        found: list[float] = (self.total / max(self.count, 1)).tolist()
        self.total, self.count = torch.zeros_like(self.total), 0
        return found


def train(
    settings: ImageTrainingSettings,
    folder: str | Path,
    *,
    pool: ImagePool | None = None,
    data_dir: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    stop_after: int | None = None,
) -> dict[str, Any]:
    """Train one learner per seed; the run's records are in ``folder`` (see ``RunLog``), ``result.json`` at the end.

    Args:
        settings: the run.
        folder: its folder.
        pool: the images (default: the pool ``settings.pool``, read from disk).
        data_dir: the folder they are read from.
        resume: resume from the last checkpoint in the folder.
        progress: show a progress bar.
        stop_after: stop after this many iterations of this call, with a checkpoint, to resume later.

    Returns:
        ``settings``, ``curve`` (rows of iteration, mean training losses and accuracies in per cent, one per seed),
        ``accuracy`` at the end (None when stopped early), and ``seconds`` of training.

    Raises:
        FloatingPointError: a loss became non-finite; the message names the iteration and the last good checkpoint.
        FileExistsError: the folder holds a run and ``resume`` is False.
        ValueError: the run in the folder has other settings.
        DataNotFoundError: no images; the message names the expected layout.
    """
    folder = Path(folder)
    if pool is None:
        pool = load_pool(settings.pool, data_dir, **settings.pool_options)
    trainer = Trainer(settings, pool)
    config: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(settings)))
    with RunLog(folder, config, resume=resume) as log:
        state = _iterate(trainer, log, progress, stop_after)
        over = bool(state["curve"]) and state["curve"][-1]["iteration"] == settings.iterations
        result = {"settings": config, **state, "accuracy": state["curve"][-1]["accuracy"] if over else None}
        del result["count"]
        result |= {"pool": trainer.pool.name, "seconds": round(state["seconds"], 2)}
        if over:
            write_text(folder / "result.json", json.dumps(result, indent=1) + "\n")
    return result


def _iterate(trainer: Trainer, log: RunLog, progress: bool, stop_after: int | None) -> dict[str, Any]:
    """Run the iterations after the last checkpoint; return the state at the end."""
    settings, losses, start = trainer.settings, Losses(trainer), 0
    state: dict[str, Any] = {"curve": [], "seconds": 0.0, "count": 0}
    if log.restored is not None:
        trainer.load(log.restored.tensors)
        start, state = log.restored.step, log.restored.state
        losses.total, losses.count = log.restored.tensors["loss"].to(trainer.device), state["count"]
    end = settings.iterations if stop_after is None else min(settings.iterations, start + stop_after)
    clock = time.perf_counter() - state["seconds"]
    with tqdm(total=settings.iterations, initial=start, disable=not progress) as bar:
        for t in range(start, end):
            losses.add(t, trainer.advance(t).loss)
            done = t + 1
            if done % _LOOK == 0 or done == end:
                losses.check(log.folder)
                bar.update(done - bar.n)
            if done % settings.eval_every == 0 or done == settings.iterations:
                state["curve"].append(_measure(trainer, losses, log, done))
                bar.set_postfix_str(f"accuracy {np.mean(state['curve'][-1]['accuracy']):.2f}", refresh=False)
            if done % settings.checkpoint_every == 0 or done == end:
                losses.check(log.folder, parameters=True)
                state |= {"seconds": time.perf_counter() - clock, "count": losses.count}
                log.checkpoint(done, {**trainer.tensors(), "loss": losses.total}, **state)
    return state


def _measure(trainer: Trainer, losses: Losses, log: RunLog, done: int) -> dict[str, Any]:
    """A row of the curve, also logged."""
    losses.check(log.folder)
    means, found = losses.mean(), trainer.accuracy()
    for name, values in (("loss", means), ("accuracy", found)):
        log.log(done, **{f"{name}_{s}": v for s, v in zip(trainer.settings.seeds, values, strict=True)})
    return {"iteration": done, "loss": means, "accuracy": found}
