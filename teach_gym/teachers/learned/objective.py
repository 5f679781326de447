"""One iteration of a teacher's training: unroll, add the objective's gradient window by window, step (LAST Eq. 5).

``Objective`` is the quantity minimised; ``Distance`` is that of unrolled teachers (DHT 3.3.1).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, NamedTuple

try:
    import torch
except ImportError as error:
    raise ImportError("teach_gym.teachers.learned.objective needs torch: pip install 'teach_gym[torch]'") from error

from teach_gym.core.backend import to_torch
from teach_gym.core.state import Task
from teach_gym.teachers.learned.detached import unroll_detached
from teach_gym.teachers.learned.fit import DivergedError, TrainingSettings
from teach_gym.teachers.learned.networks import BatchedNorm, TeachingNetworks, deferred
from teach_gym.teachers.learned.unroll import (
    Episodes,
    Policy,
    Window,
    first_divergence,
    unroll,
)

Values = dict[str, torch.Tensor]
"""Named values (S,), one for each teacher."""


class Measured(NamedTuple):
    """An objective in a window, (S,) each.

    Attributes:
        objective: what is minimised, differentiable.
        goal: the quantity the teacher is to reduce, such as the squared distance to w*.
        loss: the sum of the learner's losses on the teaching examples.
    """

    objective: torch.Tensor
    goal: torch.Tensor
    loss: torch.Tensor


class Objective(ABC):
    """The quantity that a training minimises.

    Attributes:
        goal: the name under which the goal after the last window is logged.
        sums: whether its value for a window of ``unroll_detached`` is the sum over the windows that this stands for.
        parts: what the objective trains itself, by name, for the checkpoints.
    """

    goal: str = "gap"
    sums: bool = False
    parts: dict[str, Any]

    def __init__(self) -> None:
        self.parts = {}

    def begin(self, iteration: int, episodes: Episodes, policy: Any) -> Policy:
        """Prepare an iteration and return what to unroll in it, by default the policy."""
        del iteration, episodes
        unrolled: Policy = policy
        return unrolled

    @abstractmethod
    def __call__(self, window: Window) -> Measured:
        """Measure a window; its gradient is taken before the next window begins."""

    def finish(self, iteration: int, values: Values) -> Values:
        """After the policy's step: the values to log, from those of the windows."""
        del iteration
        return values


class Distance(Objective):
    """||w^v - w*||^2 + alpha sum_i loss_i (DHT 3.3.1), each teacher's mean over its learners.

    With truncated back-propagation the squared distances at the ends of all windows are summed: without gradients
    across windows, the last distance alone would train on the last window only (as ``last_gap`` does).

    Args:
        policy: the networks.
        settings: ``alpha``, ``last_gap`` and ``steps`` of the training.
    """

    def __init__(self, policy: TeachingNetworks, settings: TrainingSettings) -> None:
        super().__init__()
        self.policy, self.settings = policy, settings

    sums = True

    def __call__(self, window: Window) -> Measured:
        """Squared distance after the window and losses in it."""
        gap, gaps, loss = (self.policy.by_teacher(part).mean(1) for part in (window.gap, window.gaps, window.loss))
        end = window.start + len(window.examples.x)
        counted = (gap if end == self.settings.steps else torch.zeros_like(gap)) if self.settings.last_gap else gaps
        return Measured(counted + self.settings.weighted(loss), gap, loss)


class Training:
    """One iteration of training S policies: min over theta of an objective of w^v(theta).

    Args:
        task: the task (in numpy).
        policy: the networks.
        settings: how to train.
        objective: what is minimised (None: ``Distance``).
        device: a torch device.
        window: steps that gradients flow through (None: those of the settings).

    Raises:
        ValueError: batch normalisation with a single row.
    """

    def __init__(
        self,
        task: Task,
        policy: TeachingNetworks,
        settings: TrainingSettings,
        objective: Objective | None = None,
        *,
        device: str = "cpu",
        window: int | None = None,
    ) -> None:
        if policy.arch.batch_norm and settings.learners * task.spec.batch_size < 2:
            raise ValueError(
                "batch normalisation needs at least two rows for each teacher: "
                f"learners={settings.learners}, batch_size={task.spec.batch_size}"
            )
        dtype = getattr(torch, settings.dtype)
        self.task = to_torch(task, device, dtype)
        self.policy, self.settings = policy.to(device, dtype).train(), settings
        self.objective = objective or Distance(policy, settings)
        self.optimizer = torch.optim.Adam(
            policy.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.parts = {"policy": self.policy, "optimizer": self.optimizer, **self.objective.parts}
        self.unrolling: dict[str, Any] = {
            "window": window or settings.window,
            "recompute": settings.recompute,
            "every": settings.every,
            "loss": settings.loss,
        }

    def __call__(self, iteration: int, episodes: Episodes) -> Values:
        """One step of Adam; objective, goal after the last step and loss, (S,) each, before it."""
        unrolled = self.objective.begin(iteration, episodes, self.policy)
        self.optimizer.zero_grad(set_to_none=True)
        with deferred(self.policy):
            windows = [self._backward(self.objective(window)) for window in self._windows(episodes, unrolled)]
        objective, goal, loss = (torch.stack(values) for values in zip(*windows, strict=True))
        values = {"objective": objective.sum(0), self.objective.goal: goal[-1], "loss": loss.sum(0)}
        if not bool(torch.isfinite(values["objective"]).all()):
            raise divergence(iteration, self.task, episodes, unrolled, self.settings, self.policy.n)
        if self.settings.max_grad_norm is not None:
            clip_each(self.policy.parameters(), self.settings.max_grad_norm)
        self.optimizer.step()
        return self.objective.finish(iteration, values)

    def _windows(self, episodes: Episodes, unrolled: Policy) -> Iterable[Window]:
        """The windows of an unroll, as one where no gradient flows between the steps and the objective allows it."""
        normalised = any(isinstance(part, BatchedNorm | torch.nn.Dropout) for part in self.policy.modules())
        how = self.unrolling
        if how["window"] == 1 and unrolled is self.policy and self.objective.sums and not normalised:
            return [unroll_detached(self.task, episodes, self.policy, every=how["every"], loss=how["loss"])]
        return unroll(self.task, episodes, unrolled, **how)

    def _backward(self, measured: Measured) -> tuple[torch.Tensor, ...]:
        """Add a window's gradient; return the measured values, detached."""
        if measured.objective.requires_grad:
            measured.objective.sum().backward()
        return tuple(values.detach() for values in measured)


def divergence(
    iteration: int, task: Task, episodes: Episodes, policy: Policy, settings: TrainingSettings, n: int
) -> DivergedError:
    """An error that names the step at which an iteration's learners of n teachers diverged."""
    found = first_divergence(task, episodes, policy, every=settings.every)
    where = f"teacher iteration {iteration + 1}"
    if found is None:
        return DivergedError(f"the objective of {where} is not finite")
    step, runs = found
    teachers = sorted({run // settings.learners for run in runs})
    return DivergedError(
        f"the unroll diverged at step {step} of {settings.steps} in {where}, teachers {teachers} of {n}; "
        "lower the learner's step size or the steps, or use output='residual', 'soft' or 'box', or max_grad_norm"
    )


def clip_each(parameters: Iterable[torch.nn.Parameter], largest: float) -> None:
    """Scale the gradient of every teacher (first axis of all parameters) down to the largest norm."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients]).norm(dim=0)
    scale = (largest / (norms + 1e-12)).clamp(max=1.0)
    for g in gradients:
        g.mul_(scale.reshape(-1, *[1] * (g.ndim - 1)))
