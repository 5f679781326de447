"""How black-box teachers are learned: iterations of their training, on hold-out rows instead of w*.

``HoldoutTraining`` is BLAST by unrolling (LAST Eq. 6), ``DartsTraining`` looks one virtual step ahead (DHT appendix B),
``PolicyGradient`` takes discrete actions and a terminal reward (LAST 4, DHT 4.1). See ``blast.train_black_box``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

try:
    import torch
except ImportError as error:
    raise ImportError(
        "teach_gym.teachers.learned.holdout_training needs torch: pip install 'teach_gym[torch]'"
    ) from error

from teach_gym.core.backend import as_array, as_tensor
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.core.task import compose
from teach_gym.errors import lookup_name, positive
from teach_gym.teachers.learned.fit import TrainingSettings
from teach_gym.teachers.learned.objective import Training
from teach_gym.teachers.learned.unroll import Episodes, Window, unroll
from teach_gym.teachers.learned.values import BlackBoxPolicy
from teach_gym.teachers.oracles.holdout_greedy import holdout_table

REWARDS = dict.fromkeys(("accuracy", "loss"))


class HoldoutTraining(Training[BlackBoxPolicy]):
    """One iteration of BLAST by unrolling (LAST Eq. 6): min over theta of the hold-out loss of w^v(theta).

    With truncated back-propagation the hold-out losses at the ends of all windows are summed. No gradient and no
    number of w* enters.

    Args:
        tasks: one task for all teachers, or one for each (in numpy).
        policy: the networks.
        settings: how to train.
        seeds: the teachers' seeds.
        device: a torch device.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        policy: BlackBoxPolicy,
        settings: TrainingSettings,
        seeds: Sequence[int],
        device: str,
    ) -> None:
        super().__init__(tasks[0], policy, settings, device)
        self.seeds = tuple(seeds)
        dtype = getattr(torch, settings.dtype)
        tables = [holdout_table(task) for task in tasks]
        n = min(len(x) for x, _ in tables)
        self.x, self.y = (
            torch.tensor(np.stack([table[i][:n] for table in tables])[:, None], device=device, dtype=dtype)
            for i in range(2)
        )
        """(1 or S, 1, n, d) and (1 or S, 1, n, K)."""
        labels = np.stack([task.pool.holdout.labels[:n] for task in tasks])[:, None]
        self.labels = torch.tensor(labels, device=device)

    def __call__(self, iteration: int, episodes: Episodes) -> dict[str, torch.Tensor]:
        """One step of Adam; objective, last hold-out loss and loss on the teaching examples, (S,) each, before it."""
        values = super().__call__(iteration, episodes)
        return {"objective": values["objective"], "holdout_loss": values["gap"], "loss": values["loss"]}

    def backward(self, window: Window) -> tuple[torch.Tensor, ...]:
        """Add a window's gradient; its objective, hold-out loss and loss on the teaching examples, (S,) each."""
        held, loss = self.holdout_loss(as_tensor(window.state.w)).mean(1), self.per_teacher(window.loss)
        objective = held + self.settings.alpha * loss if self.settings.alpha else held
        objective.sum().backward()
        return objective.detach(), held.detach(), loss.detach()

    def holdout_loss(self, w: torch.Tensor) -> torch.Tensor:
        """Hold-out losses of the learners: (B, P) -> (S, L)."""
        return self.task.learner.loss(self.grouped(w), self.x, self.y)

    def grouped(self, w: torch.Tensor) -> torch.Tensor:
        """Learners by teacher: (B, ...) -> (S, L, ...)."""
        return w.reshape(self.policy.n, -1, *w.shape[1:])


class DartsTraining(HoldoutTraining):
    """One iteration of Mixup by unrolling as in DHT appendix B, after DARTS.

    At each step of the learner the teacher descends on the hold-out loss after a *virtual* step of size xi,
    L_val(w - xi grad_w L_train(w, theta)), with w under stop-gradient; the learner then takes its own step. The
    gradient with respect to theta, -xi (d^2 L_train / d theta d w)^T grad L_val(w'), is exact (DARTS approximates it by
    a finite difference). Its objective is the mean over the steps.

    With ``order=1``, xi = 0, the virtual step does not depend on theta, so the gradient would vanish: the teacher can
    only enter through L_val itself. The paper writes L_val(w, theta); it is taken as the learner's loss on examples
    that the teacher makes of random hold-out rows.

    Args:
        order: 1 or 2.
        xi: size of the virtual step (None: the learner's step size).
        **others: arguments of ``HoldoutTraining``.
    """

    def __init__(self, *args: Any, order: int = 2, xi: float | None = None) -> None:
        super().__init__(*args)
        if order not in (1, 2):
            raise ValueError(f"order must be 1 or 2, got {order!r}")
        if xi is not None:
            positive("xi", xi)
        update = self.task.update
        if update.momentum or update.weight_decay:
            raise ValueError("method 'darts' needs a learner with plain gradient descent: momentum=0, weight_decay=0")
        if order == 1 and self.task.soft is not None:
            raise ValueError("order=1 teaches hold-out rows, which have no soft labels; use order=2")
        self.order, self.ratio = order, 1.0 if xi is None else xi / update.learning_rate
        self.before: torch.Tensor | None = None
        self.rows: torch.Tensor | None = None

    def __call__(self, iteration: int, episodes: Episodes) -> dict[str, torch.Tensor]:
        """One step of Adam; see ``HoldoutTraining``."""
        self.before, steps = as_tensor(episodes.state.w), len(episodes.x)
        if self.order == 1:
            shape = (steps, self.settings.learners, *episodes.x.shape[2:4])
            draws = [np.random.default_rng([s, iteration, 1]).integers(self.x.shape[2], size=shape) for s in self.seeds]
            self.rows = torch.tensor(np.stack(draws, axis=1), device=episodes.x.device)  # (v, S, L, M, m)
        values = super().__call__(iteration, episodes)
        return {**values, "objective": values["objective"] / steps}

    def windows(self, episodes: Episodes) -> Any:
        """The unroll, one step at a time."""
        return unroll(self.task, episodes, self.policy, window=1, loss=self.settings.alpha > 0)

    def backward(self, window: Window) -> tuple[torch.Tensor, ...]:
        """Add a step's gradient; its objective, the hold-out loss after it, and the loss on the teaching example."""
        assert self.before is not None
        after, loss = as_tensor(window.state.w), self.per_teacher(window.loss)
        if self.order == 2:
            virtual = after if self.ratio == 1.0 else self.before + self.ratio * (after - self.before)
            value = self.holdout_loss(virtual).mean(1)
        else:
            value = self.per_teacher(self._mixed_loss(window))
        objective = value + self.settings.alpha * loss if self.settings.alpha else value
        objective.sum().backward()
        self.before = after.detach()
        return objective.detach(), self.holdout_loss(self.before).mean(1), loss.detach()

    def _mixed_loss(self, window: Window) -> torch.Tensor:
        """L_val(w, theta): the learners' losses on what the teacher makes of random hold-out rows, (B,)."""
        assert self.rows is not None and self.before is not None
        rows = self.rows[window.start]
        s = torch.arange(len(rows), device=rows.device).clamp(max=len(self.x) - 1)[:, None, None, None]
        x, y = (as_array(table[s, 0, rows].flatten(0, 1)) for table in (self.x, self.y))
        state = window.state._replace(w=as_array(self.before), t=window.state.t - 1, x=x, y=y)
        example: Example = self.policy(self.task, state)
        return self.task.learner.loss(self.before, as_tensor(example.x), as_tensor(example.y))


class PolicyGradient(HoldoutTraining):
    """One iteration of black-box teaching by policy gradient (LAST 4, DHT 4.1): REINFORCE with a terminal reward.

    grad J = mean over episodes of sum_t grad log pi(a_t | s_t) (R - b), with R the hold-out accuracy (or minus the
    hold-out loss) of the learner at the episode's end. The papers have no baseline b; here it is the mean over a
    teacher's episodes, and the differences are divided by their deviation, which changes the noise and not the goal.

    Args:
        reward: ``accuracy`` or ``loss``.
        **others: arguments of ``HoldoutTraining``.
    """

    def __init__(self, *args: Any, reward: str = "accuracy") -> None:
        super().__init__(*args)
        self.reward = reward
        lookup_name("reward", reward, REWARDS)
        if self.settings.learners < 2:
            raise ValueError(f"policy gradient needs two learners at least, got learners={self.settings.learners}")

    def __call__(self, iteration: int, episodes: Episodes) -> dict[str, torch.Tensor]:
        """One step of Adam; objective (minus the mean reward) and last hold-out loss, (S,) each, before it."""
        shape = (len(episodes.x), self.settings.learners)
        draws = [np.random.default_rng([seed, iteration, 2]).uniform(size=shape) for seed in self.seeds]
        u = torch.tensor(np.concatenate(draws, axis=1), device=episodes.x.device)  # (v, B)
        seen, chosen, w = self._episodes(episodes, u)
        held = self.holdout_loss(w)
        earned = -held if self.reward == "loss" else self.accuracy(w)
        if not bool(torch.isfinite(held).all()):
            raise self.diverged(iteration, episodes)
        weight = (earned - earned.mean(1, keepdim=True)) / (earned.std(1, keepdim=True) + 1e-8)
        self.optimizer.zero_grad(set_to_none=True)
        log_policy = torch.log_softmax(self.policy.raw(seen).mean(2), -1)  # (B, v, A)
        log_probability = log_policy.gather(-1, chosen[..., None])[..., 0].sum(1)
        (-(self.grouped(log_probability) * weight).mean(1).sum()).backward()
        self.optimizer.step()
        return {"objective": -earned.mean(1), "holdout_loss": held.mean(1)}

    def _episodes(self, episodes: Episodes, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Teach with sampled actions: what was seen (B, v, m, inputs), the actions (B, v), the last learners (B, P)."""
        seen: list[torch.Tensor] = []
        chosen: list[torch.Tensor] = []

        def sampled(task: Task, state: TeachState) -> Example:
            seen.append(as_tensor(self.policy.seen(task, state)))
            share = torch.softmax(self.policy.raw(seen[-1]).mean(1), -1).cumsum(-1)
            below = share[:, :-1] <= u[len(chosen)][:, None]
            chosen.append(below.sum(-1))
            return compose(task, state, task.medium.decode(as_array(chosen[-1])))

        with torch.no_grad():
            for window in unroll(self.task, episodes, sampled, window=1):
                w = window.state.w
        return torch.stack(seen, 1), torch.stack(chosen, 1), as_tensor(w)

    def accuracy(self, w: torch.Tensor) -> torch.Tensor:
        """Hold-out accuracies of the learners: (B, P) -> (S, L)."""
        return self.task.learner.accuracy(self.grouped(w), self.x, self.labels)
