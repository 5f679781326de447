"""Mixup teaching of image learners (DHT 4.1): trainings in which every mini-batch is mixed by a chosen coefficient.

Several trainings run at once as a stack with a leading axis S. ``start`` is the only function that draws: the learner's
first parameters and the rows of the whole training follow from a run's seed and from nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.func import functional_call

from teach_gym.errors import positive
from teach_gym.neural.images import ImagePool, Images, blocks, scale
from teach_gym.neural.mixup_spec import MixupSpec
from teach_gym.neural.networks import Stacked, StackedLinear, make_network, seeded

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Learners(nn.Module):
    """S networks as one: images (S, n, C, H, W) -> logits (S, n, K)."""

    def __init__(self, spec: MixupSpec, pool: ImagePool, seeds: Sequence[int]) -> None:
        super().__init__()

        def make() -> Any:
            return make_network(spec.network, pool.image, len(pool.classes), **spec.network_options)

        made = [seeded(make, [seed]) for seed in seeds]
        self.encoder = Stacked([one.encoder for one in made])
        self.head = StackedLinear([one.head for one in made])

    def forward(self, x: Tensor) -> Tensor:
        """(S, n, C, H, W) -> (S, n, K)."""
        return self.head(self.encoder(x))


class Adam:
    """Adam (Kingma and Ba, 2015) on parameters with a leading axis S, each entry with a step count of its own.

    Args:
        parameters: tensors (S, ...), changed in place.
        learning_rate: step size.
        betas: decay of the two running means.
        epsilon: see the paper.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        learning_rate: float,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        self.parameters, self.learning_rate, self.betas, self.epsilon = parameters, learning_rate, betas, epsilon
        self.means = [torch.zeros_like(p) for p in parameters]
        self.squares = [torch.zeros_like(p) for p in parameters]
        self.count = torch.zeros(len(parameters[0]), device=parameters[0].device)

    def forget(self, rows: Tensor) -> None:
        """Reset the state of some entries of the leading axis."""
        for buffer in (*self.means, *self.squares, self.count):
            buffer[rows] = 0.0

    def tensors(self) -> dict[str, Any]:
        """The state, with which ``load`` continues."""
        return {"means": self.means, "squares": self.squares, "count": self.count}

    def load(self, tensors: Mapping[str, Any]) -> None:
        """Continue from a state of ``tensors``."""
        found = (*tensors["means"], *tensors["squares"], tensors["count"])
        for ours, theirs in zip((*self.means, *self.squares, self.count), found, strict=True):
            ours.copy_(theirs)

    def step(self, gradients: Sequence[Tensor]) -> None:
        """One step: w <- w - lr m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + epsilon)."""
        self.count += 1.0
        first, second = (1.0 - beta**self.count for beta in self.betas)
        with torch.no_grad():
            for p, g, mean, square in zip(self.parameters, gradients, self.means, self.squares, strict=True):
                shape = (-1, *[1] * (p.ndim - 1))
                mean.lerp_(g, 1.0 - self.betas[0])
                square.mul_(self.betas[1]).addcmul_(g, g, value=1.0 - self.betas[1])
                p.sub_(
                    self.learning_rate
                    * (mean / first.view(shape))
                    / ((square / second.view(shape)).sqrt() + self.epsilon)
                )


class Trainings:
    """S trainings at once; the state that the environments and the methods of Table 1 share.

    Attributes:
        t: (S,) steps taken.
        loss: (S,) loss on the last mini-batch; ``mean_loss`` the mean over the training so far (0 before).
        validation_loss, accuracy: (S,) at the last validation; ``best_loss`` the lowest, ``initial_loss`` the first.

    Args:
        spec: the training.
        pool: its training images and, as ``held_out``, its validation images; nothing else is used.
        n: number S of trainings.
    """

    def __init__(self, spec: MixupSpec, pool: ImagePool, n: int) -> None:
        positive("the number of trainings", n, integer=True)
        self.spec, self.pool, self.n = spec, pool, n
        self.device = pool.train.labels.device
        self.n_batches = len(pool.train) // spec.batch_size
        self.horizon = spec.epochs * self.n_batches
        self.learners = Learners(spec, pool, range(n)).to(self.device)
        self.names = [name for name, _ in self.learners.named_parameters()]
        self.optimizer = Adam([p for _, p in self.learners.named_parameters()], spec.learning_rate)
        self.schedule = torch.zeros((n, self.horizon, 2, spec.batch_size), dtype=torch.int32, device=self.device)
        self.t: Ints = np.zeros(n, dtype=np.int64)
        self.loss, self.mean_loss, self.validation_loss, self.accuracy, self.best_loss, self.initial_loss = np.zeros(
            (6, n)
        )

    def start(self, rows: Sequence[int], seeds: Sequence[int]) -> None:
        """Start new trainings at some places of the stack, each determined by a seed."""
        at = torch.as_tensor(list(rows), device=self.device)
        fresh = Learners(self.spec, self.pool, seeds).state_dict()
        for name, value in self.learners.state_dict().items():
            value[at] = fresh[name].to(self.device)
        self.optimizer.forget(at)
        for row, seed in zip(rows, seeds, strict=True):
            self.schedule[row] = self._draw(seed).to(self.device)
        self.t[rows], self.loss[rows], self.mean_loss[rows] = 0, 0.0, 0.0
        loss, accuracy = self.look()
        for found, now in ((self.initial_loss, loss), (self.best_loss, loss), (self.validation_loss, loss)):
            found[rows] = now[rows]
        self.accuracy[rows] = accuracy[rows]

    def _draw(self, seed: int) -> Tensor:
        """The rows of a training (H, 2, m): two independent orders of the training images in each epoch."""
        n, used = len(self.pool.train), self.n_batches * self.spec.batch_size
        generator = torch.Generator().manual_seed(seed)
        orders = [torch.randperm(n, generator=generator)[:used] for _ in range(2 * self.spec.epochs)]
        grouped = torch.stack(orders).reshape(self.spec.epochs, 2, self.n_batches, self.spec.batch_size)
        return grouped.transpose(1, 2).reshape(self.horizon, 2, self.spec.batch_size).to(torch.int32)

    def batch(self) -> tuple[Tensor, Tensor]:
        """The two mini-batches of this step: images (S, 2, m, C, H, W) in [-1, 1], classes (S, 2, m)."""
        t = torch.as_tensor(np.minimum(self.t, self.horizon - 1), device=self.device)
        pixels, labels = self.pool.train.take(self.schedule[torch.arange(self.n, device=self.device), t].long())
        return scale(pixels), labels

    def taught(self, i: int, n: int) -> npt.NDArray[np.uint8]:
        """The first n images of the two mini-batches that training i was shown last: (2, n, H, W, C)."""
        rows = self.schedule[i, max(int(self.t[i]) - 1, 0), :, :n].long()
        pixels: npt.NDArray[np.uint8] = self.pool.train.pixels[rows].permute(0, 1, 3, 4, 2).cpu().numpy()
        return pixels

    def mixed_loss(
        self, coefficient: Tensor, batch: tuple[Tensor, Tensor], parameters: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Loss on c x1 + (1 - c) x2 with the labels c y1 + (1 - c) y2 (DHT Eq. 7).

        Args:
            coefficient: c, (S,).
            batch: as returned by ``batch``.
            parameters: the learners' parameters by name (default: the current ones).

        Returns:
            Mean over the mini-batch, (S,).
        """
        (x, y), c = batch, coefficient.view(-1, 1, 1, 1, 1)
        logits = functional_call(self.learners, dict(parameters or {}), (c * x[:, 0] + (1.0 - c) * x[:, 1],))
        first, second = (cross_entropy(logits, y[:, part]) for part in (0, 1))
        return coefficient * first + (1.0 - coefficient) * second

    def step(self, coefficient: Any) -> None:
        """One step of every training on its mixed mini-batch; coefficients (S,).

        Raises:
            FloatingPointError: a training's loss is not finite.
        """
        c = torch.as_tensor(coefficient, dtype=torch.float32, device=self.device)
        losses = self.mixed_loss(c, self.batch())
        self.optimizer.step(torch.autograd.grad(losses.sum(), self.optimizer.parameters))
        self.t += 1
        self.loss = losses.detach().double().cpu().numpy()
        if not np.isfinite(self.loss).all():
            run = int(np.flatnonzero(~np.isfinite(self.loss))[0])
            raise FloatingPointError(
                f"the loss of training {run} became non-finite at step {self.t[run]}; "
                f"a learning_rate below {self.spec.learning_rate} may help"
            )
        self.mean_loss = self.mean_loss + (self.loss - self.mean_loss) / self.t
        due = (self.t % self.spec.look_every == 0) | (self.t == self.horizon)
        if due.any():
            loss, accuracy = self.look()
            self.validation_loss = np.where(due, loss, self.validation_loss)
            self.accuracy = np.where(due, accuracy, self.accuracy)
            self.best_loss = np.where(due, np.minimum(self.best_loss, loss), self.best_loss)

    def look(self, images: Images | None = None) -> tuple[Floats, Floats]:
        """Loss and accuracy (a fraction) on images, by default those held out for validation: (S,), (S,)."""
        images = self.pool.held_out if images is None else images
        loss, right = np.zeros(self.n), np.zeros(self.n)
        self.learners.eval()
        with torch.no_grad():
            for shown, labels in blocks(images, self.n):
                logits, wanted = self.learners(shown), labels.expand(self.n, -1)
                loss += len(labels) * cross_entropy(logits, wanted).double().cpu().numpy()
                right += (logits.argmax(-1) == wanted).sum(-1).cpu().numpy()
        self.learners.train()
        return loss / len(images), right / len(images)

    def observation(self) -> npt.NDArray[np.float32]:
        """Iteration fraction, mean training loss, best validation loss as a share of the first (DHT B): (S, 3)."""
        parts = (self.t / self.horizon, self.mean_loss, self.best_loss / self.initial_loss)
        return np.stack(parts, axis=-1).astype(np.float32)

    def teach(self, coefficient: Any) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """``step``, with the rewards (S,) and whether trainings are over (S,)."""
        before = self.validation_loss.copy()
        self.step(coefficient)
        over = self.t >= self.horizon
        if self.spec.reward == "steps_to_accuracy":
            over = over | (self.accuracy >= self.spec.zeta)
        return REWARDS[self.spec.reward](self, before), over

    def line(self, i: int) -> str:
        """The progress of training i as a line of text.

        Raises:
            RuntimeError: it has not been started.
        """
        if not self.initial_loss[i]:
            raise RuntimeError("call reset() before render()")
        return (
            f"step {self.t[i]}/{self.horizon}  loss {self.loss[i]:.4f}  best validation loss "
            f"{self.best_loss[i] / self.initial_loss[i]:.3f} of the first  accuracy {self.accuracy[i]:.3f}"
        )


def mixing(coefficient: Any) -> Floats:
    """How much coefficients mix, 4 c (1 - c): 1 where all is mixed half and half, 0 where nothing is mixed; (S,)."""
    c = torch.as_tensor(coefficient)
    found: Floats = 4.0 * (c * (1.0 - c)).double().cpu().numpy()
    return found


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over n of the loss of logits (S, n, K) at classes (S, n): (S,)."""
    return (
        nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape).mean(1)
    )


def _holdout_accuracy(trainings: Trainings, before: Floats) -> Floats:
    return np.where(trainings.t >= trainings.horizon, trainings.accuracy, 0.0)


def _holdout_progress(trainings: Trainings, before: Floats) -> Floats:
    return 100.0 * (before - trainings.validation_loss) / trainings.initial_loss


def _holdout_log_progress(trainings: Trainings, before: Floats) -> Floats:
    floor = 0.02 * trainings.initial_loss
    found: Floats = 10.0 * np.log((before + floor) / (trainings.validation_loss + floor))
    return found


def _steps_to_accuracy(trainings: Trainings, before: Floats) -> Floats:
    return np.full(trainings.n, -1.0)


REWARDS: dict[str, Callable[[Trainings, Floats], Floats]] = {
    "holdout_accuracy": _holdout_accuracy,
    "holdout_progress": _holdout_progress,
    "holdout_log_progress": _holdout_log_progress,
    "steps_to_accuracy": _steps_to_accuracy,
}
"""Validation accuracy after the last step; per cent of the first validation loss removed since the last validation; 10
times the decrease of its logarithm; minus one per step until a validation reaches the accuracy zeta. As in
``teach_gym.core.rewards.HOLDOUT_REWARDS``."""
