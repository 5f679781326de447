"""Training iterations of black-box teachers, on hold-out rows instead of w*.

``HoldoutLoss`` is BLAST by unrolling (LAST Eq. 6), ``VirtualStep`` looks one step ahead (DHT appendix B),
``PolicyGradient`` takes discrete actions and a terminal reward (LAST 4, DHT 4.1). See ``blast.train_black_box``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

try:
    import torch
except ImportError as error:
    raise ImportError(
        "teach_gym.teachers.learned.holdout_training needs torch: pip install 'teach_gym[torch]'"
    ) from error

from teach_gym.core.backend import as_array, as_tensor, to_torch
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.core.task import compose
from teach_gym.errors import lookup_name, positive, shown
from teach_gym.teachers.learned.fit import TrainingSettings
from teach_gym.teachers.learned.objective import Measured, Objective, Training, Values, divergence
from teach_gym.teachers.learned.unroll import Episodes, Policy, Window, unroll
from teach_gym.teachers.learned.values import BlackBoxPolicy

REWARDS = dict.fromkeys(("accuracy", "loss"))


class HoldoutRows:
    """The hold-out rows that stand in for w*, of each teacher's task.

    Args:
        tasks: one task for all teachers, or one for each (in numpy).
        policy: the networks of S teachers.
        settings: how to train.
        device: a torch device.

    Attributes:
        x: (1 or S, 1, n, d).
        y: (1 or S, 1, n, K).
        labels: (1 or S, 1, n) classes, or real targets.

    Raises:
        ValueError: settings that need w* (``auxiliary="target"``) or the distance to it (``last_gap``).
    """

    def __init__(self, tasks: Sequence[Task], policy: BlackBoxPolicy, settings: TrainingSettings, device: str) -> None:
        if settings.loss == "target":
            raise ValueError("a teacher without w* cannot use its losses: auxiliary must be 'learner', got 'target'")
        if settings.last_gap:
            raise ValueError("last_gap concerns the distance to w*, which a teacher without w* does not know")
        self.learner, self.policy = tasks[0].learner, policy
        tables, dtype = [(task.holdout.x, task.holdout.y) for task in tasks], getattr(torch, settings.dtype)
        n = min(len(x) for x, _ in tables)
        self.x, self.y = (
            torch.tensor(np.stack([table[i][:n] for table in tables])[:, None], device=device, dtype=dtype)
            for i in range(2)
        )
        labels = np.stack([task.pool.holdout.labels[:n] for task in tasks])[:, None]
        self.labels = torch.tensor(labels, device=device)

    def loss(self, w: torch.Tensor) -> torch.Tensor:
        """Hold-out losses of the learners: (B, P) -> (S, L)."""
        return self.learner.loss(self.policy.by_teacher(w), self.x, self.y)

    def accuracy(self, w: torch.Tensor) -> torch.Tensor:
        """Hold-out accuracies of the learners: (B, P) -> (S, L)."""
        return self.learner.accuracy(self.policy.by_teacher(w), self.x, self.labels)


class HoldoutLoss(Objective):
    """BLAST by unrolling (LAST Eq. 6): the hold-out loss of w^v(theta), plus alpha sum_i loss_i.

    With truncated back-propagation the hold-out losses at the ends of all windows are summed. No gradient and no
    number of w* enters.

    Args:
        rows: the hold-out rows.
        settings: ``alpha`` of the training.
    """

    goal = "holdout_loss"

    def __init__(self, rows: HoldoutRows, settings: TrainingSettings) -> None:
        super().__init__()
        self.rows, self.settings = rows, settings

    def __call__(self, window: Window) -> Measured:
        """Hold-out loss after the window and losses in it."""
        held = self.rows.loss(as_tensor(window.state.w)).mean(1)
        loss = self.rows.policy.by_teacher(window.loss).mean(1)
        return Measured(held + self.settings.weighted(loss), held, loss)


class VirtualStep(Objective):
    """Mixup by unrolling as in DHT appendix B, after DARTS; windows are single steps.

    At each step of the learner the teacher descends on the hold-out loss after a *virtual* step of size xi,
    L_val(w - xi grad_w L_train(w, theta)), with w under stop-gradient; the learner then takes its own step. The
    gradient with respect to theta, -xi (d^2 L_train / d theta d w)^T grad L_val(w'), is exact (DARTS approximates it by
    a finite difference). The objective logged is the mean over the steps.

    With ``order=1``, xi = 0, the virtual step does not depend on theta, so the gradient would vanish: the teacher can
    only enter through L_val itself. The paper writes L_val(w, theta); it is taken as the learner's loss on examples
    that the teacher makes of random hold-out rows.

    Args:
        task: the task in torch.
        rows: the hold-out rows.
        settings: how to train.
        seeds: the teachers' seeds.
        order: 1 or 2.
        xi: size of the virtual step (None: the learner's step size).

    Raises:
        ValueError: a value out of range, or a task that does not fit.
    """

    goal = "holdout_loss"

    def __init__(
        self,
        task: Task,
        rows: HoldoutRows,
        settings: TrainingSettings,
        seeds: Sequence[int],
        *,
        order: int = 2,
        xi: float | None = None,
    ) -> None:
        super().__init__()
        if order not in (1, 2):
            raise ValueError(f"order must be 1 or 2, got {shown(order)}")
        if xi is not None:
            positive("xi", xi)
        if task.update.momentum or task.update.weight_decay:
            raise ValueError("method 'darts' needs a learner with plain gradient descent: momentum=0, weight_decay=0")
        if order == 1 and task.soft is not None:
            raise ValueError("order=1 teaches hold-out rows, which have no soft labels; use order=2")
        self.task, self.rows, self.settings, self.seeds = task, rows, settings, tuple(seeds)
        self.order, self.ratio = order, 1.0 if xi is None else xi / task.update.learning_rate
        self.before = self.drawn = torch.empty(0)
        self.steps = 0

    def begin(self, iteration: int, episodes: Episodes, policy: Any) -> Policy:
        """Draw the hold-out rows of every step, if these are taught."""
        self.before, self.steps = as_tensor(episodes.state.w), len(episodes.x)
        if self.order == 1:
            shape, n = (self.steps, self.settings.learners, *episodes.x.shape[2:4]), self.rows.x.shape[2]
            draws = [np.random.default_rng([seed, iteration, 1]).integers(n, size=shape) for seed in self.seeds]
            self.drawn = torch.tensor(np.stack(draws, axis=1), device=episodes.x.device)  # (v, S, L, M, m)
        return super().begin(iteration, episodes, policy)

    def __call__(self, window: Window) -> Measured:
        """The objective of a step, the hold-out loss after it, and the loss on the teaching example."""
        by_teacher = self.rows.policy.by_teacher
        after, loss = as_tensor(window.state.w), by_teacher(window.loss).mean(1)
        if self.order == 2:
            virtual = after if self.ratio == 1.0 else self.before + self.ratio * (after - self.before)
            value = self.rows.loss(virtual).mean(1)
        else:
            value = by_teacher(self._mixed_loss(window)).mean(1)
        self.before = after.detach()
        return Measured(value + self.settings.weighted(loss), self.rows.loss(self.before).mean(1), loss)

    def _mixed_loss(self, window: Window) -> torch.Tensor:
        """L_val(w, theta): the learners' losses on what the teacher makes of random hold-out rows, (B,)."""
        rows = self.drawn[window.start]
        s = torch.arange(len(rows), device=rows.device).clamp(max=len(self.rows.x) - 1)[:, None, None, None]
        x, y = (as_array(table[s, 0, rows].flatten(0, 1)) for table in (self.rows.x, self.rows.y))
        state = window.state._replace(w=as_array(self.before), t=window.state.t - 1, x=x, y=y)
        example: Example = self.rows.policy(self.task, state)
        return self.task.learner.loss(self.before, as_tensor(example.x), as_tensor(example.y))

    def finish(self, iteration: int, values: Values) -> Values:
        """The mean over the steps."""
        return {**values, "objective": values["objective"] / self.steps}


class PolicyGradient:
    """One iteration of black-box teaching by policy gradient (LAST 4, DHT 4.1): REINFORCE with a terminal reward.

    grad J = mean over episodes of sum_t grad log pi(a_t | s_t) (R - b), with R the hold-out accuracy (or minus the
    hold-out loss) of the learner at the episode's end. The papers have no baseline b; here it is the mean over a
    teacher's episodes, and the differences are divided by their deviation, which changes the noise but not the goal.

    Args:
        training: the task, the policy and its optimizer.
        rows: the hold-out rows.
        seeds: the teachers' seeds.
        reward: ``accuracy`` or ``loss``.

    Raises:
        ValueError: an unknown reward, or a single learner.
    """

    def __init__(
        self, training: Training, rows: HoldoutRows, seeds: Sequence[int], *, reward: str = "accuracy"
    ) -> None:
        lookup_name("reward", reward, REWARDS)
        self.task, self.settings, self.optimizer = training.task, training.settings, training.optimizer
        self.rows, self.policy, self.parts = rows, rows.policy, training.parts
        self.seeds, self.reward = tuple(seeds), reward
        if self.settings.learners < 2:
            raise ValueError(f"policy gradient needs at least two learners, got learners={self.settings.learners}")

    def __call__(self, iteration: int, episodes: Episodes) -> Values:
        """One step of Adam; objective (minus the mean reward) and last hold-out loss, (S,) each, before it."""
        shape = (len(episodes.x), self.settings.learners)
        draws = [np.random.default_rng([seed, iteration, 2]).uniform(size=shape) for seed in self.seeds]
        u = torch.tensor(np.concatenate(draws, axis=1), device=episodes.x.device)  # (v, B)
        seen, chosen, w = self._episodes(episodes, u)
        held = self.rows.loss(w)
        earned = -held if self.reward == "loss" else self.rows.accuracy(w)
        if not bool(torch.isfinite(held).all()):
            raise divergence(iteration, self.task, episodes, self.policy, self.settings, self.policy.n)
        weight = (earned - earned.mean(1, keepdim=True)) / (earned.std(1, keepdim=True) + 1e-8)
        self.optimizer.zero_grad(set_to_none=True)
        log_policy = torch.log_softmax(self.policy.raw(seen).mean(2), -1)  # (B, v, A)
        log_probability = log_policy.gather(-1, chosen[..., None])[..., 0].sum(1)
        (-(self.policy.by_teacher(log_probability) * weight).mean(1).sum()).backward()
        self.optimizer.step()
        return {"objective": -earned.mean(1), "holdout_loss": held.mean(1)}

    def _episodes(self, episodes: Episodes, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Teach with sampled actions: the inputs (B, v, m, inputs), the actions (B, v), the last learners (B, P)."""
        seen: list[torch.Tensor] = []
        chosen: list[torch.Tensor] = []

        def sampled(task: Task, state: TeachState) -> Example:
            seen.append(as_tensor(self.policy.inputs(task, state)))
            share = torch.softmax(self.policy.raw(seen[-1]).mean(1), -1).cumsum(-1)
            below = share[:, :-1] <= u[len(chosen)][:, None]
            chosen.append(below.sum(-1))
            return compose(task, state, task.medium.decode(as_array(chosen[-1])))

        with torch.no_grad():
            for window in unroll(self.task, episodes, sampled, window=1):
                w = window.state.w
        return torch.stack(seen, 1), torch.stack(chosen, 1), as_tensor(w)


def by_unrolling(
    tasks: Sequence[Task], policy: BlackBoxPolicy, settings: TrainingSettings, seeds: Sequence[int], device: str
) -> Training:
    """BLAST by unrolling (LAST Eq. 6)."""
    del seeds
    objective = HoldoutLoss(HoldoutRows(tasks, policy, settings, device), settings)
    return Training(tasks[0], policy, settings, objective, device=device)


def by_virtual_steps(
    tasks: Sequence[Task],
    policy: BlackBoxPolicy,
    settings: TrainingSettings,
    seeds: Sequence[int],
    device: str,
    **options: Any,
) -> Training:
    """DHT appendix B; options are ``order`` and ``xi`` of ``VirtualStep``."""
    rows = HoldoutRows(tasks, policy, settings, device)
    task = to_torch(tasks[0], device, getattr(torch, settings.dtype))
    objective = VirtualStep(task, rows, settings, seeds, **options)
    return Training(tasks[0], policy, settings, objective, device=device, window=1)


def by_policy_gradient(
    tasks: Sequence[Task],
    policy: BlackBoxPolicy,
    settings: TrainingSettings,
    seeds: Sequence[int],
    device: str,
    **options: Any,
) -> PolicyGradient:
    """LAST 4 and DHT 4.1; the option is ``reward`` of ``PolicyGradient``."""
    rows = HoldoutRows(tasks, policy, settings, device)
    return PolicyGradient(Training(tasks[0], policy, settings, device=device), rows, seeds, **options)


METHODS: dict[str, Callable[..., Any]] = {
    "unroll": by_unrolling,
    "darts": by_virtual_steps,
    "policy_gradient": by_policy_gradient,
}
"""Training methods of black-box teachers: each makes a training iteration, with the ``parts`` that it trains."""
