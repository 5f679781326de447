"""The objective of unrolled teachers and one iteration of its minimisation (LAST Eq. 5, DHT 3.3.1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

try:
    import torch
except ImportError as error:
    raise ImportError("teach_gym.teachers.learned.objective needs torch: pip install 'teach_gym[torch]'") from error

from teach_gym.core.backend import to_torch
from teach_gym.core.state import Task
from teach_gym.teachers.learned.fit import DivergedError, TrainingSettings
from teach_gym.teachers.learned.networks import deferred
from teach_gym.teachers.learned.unroll import Episodes, Policy, Window, first_divergence, unroll

if TYPE_CHECKING:
    from teach_gym.teachers.learned.generator import GenerativePolicy
    from teach_gym.teachers.learned.policy import NetworkPolicy
    from teach_gym.teachers.learned.values import BlackBoxPolicy


P = TypeVar("P", bound="NetworkPolicy | BlackBoxPolicy | GenerativePolicy")


class Training(Generic[P]):
    """One iteration of training S policies: min over theta of ||w^v(theta) - w*||^2 + alpha sum_i loss_i.

    With truncated back-propagation the squared distances at the ends of all windows are summed: without gradients
    across windows, the last distance alone would teach the last window only. Each teacher's objective is the mean over
    its learners.

    Args:
        task: the task (in numpy).
        policy: the networks.
        settings: how to train.
        device: a torch device.

    Raises:
        ValueError: batch normalisation with one row only.
    """

    def __init__(self, task: Task, policy: P, settings: TrainingSettings, device: str = "cpu") -> None:
        if policy.arch.batch_norm and settings.learners * task.spec.batch_size < 2:
            raise ValueError(
                "batch normalisation needs two rows at least for each teacher: "
                f"learners={settings.learners}, batch_size={task.spec.batch_size}"
            )
        dtype = getattr(torch, settings.dtype)
        self.task = to_torch(task, device, dtype)
        self.policy, self.settings = policy, settings
        policy.to(device, dtype).train()
        self.optimizer = torch.optim.Adam(policy.parameters(), lr=settings.learning_rate)
        self.parts = {"policy": self.policy, "optimizer": self.optimizer}

    def __call__(self, iteration: int, episodes: Episodes) -> dict[str, torch.Tensor]:
        """One step of Adam; objective, last squared distance and loss, (S,) each, before it."""
        self.optimizer.zero_grad(set_to_none=True)
        with deferred(self.policy):
            windows = [self.backward(window) for window in self.windows(episodes)]
        objective, gap, loss = (torch.stack(values) for values in zip(*windows, strict=True))
        objective, gap, loss = objective.sum(0), gap[-1], loss.sum(0)
        if not bool(torch.isfinite(objective).all()):
            raise self.diverged(iteration, episodes)
        if self.settings.max_grad_norm is not None:
            clip_each(self.policy.parameters(), self.settings.max_grad_norm)
        self.optimizer.step()
        return {"objective": objective, "gap": gap, "loss": loss}

    def windows(self, episodes: Episodes) -> Iterator[Window]:
        """The unroll of the episodes."""
        how = self.settings
        options = {"window": how.window, "recompute": how.recompute, "every": how.every, "loss": how.alpha > 0}
        return unroll(self.task, episodes, self.policy, **options)  # type: ignore[arg-type]

    def backward(self, window: Window) -> tuple[torch.Tensor, ...]:
        """Add a window's gradient; its objective, squared distance and loss, (S,) each."""
        gap, loss = self.per_teacher(window.gap), self.per_teacher(window.loss)
        objective = gap + self.settings.alpha * loss if self.settings.alpha else gap
        objective.sum().backward()
        return objective.detach(), gap.detach(), loss.detach()

    def per_teacher(self, values: torch.Tensor) -> torch.Tensor:
        """Mean over each teacher's learners: (B,) -> (S,)."""
        return values.reshape(self.policy.n, -1).mean(1)

    def diverged(self, iteration: int, episodes: Episodes) -> DivergedError:
        """What went wrong in an iteration, and where."""
        return divergence(iteration, self.task, episodes, self.policy, self.settings, self.policy.n)


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
