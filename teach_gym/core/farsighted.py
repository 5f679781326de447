"""Far-sighted teaching of linear learners: what a state will cost at the end of the budget, in closed form.

In the coordinates of ``teach_gym.core.resting`` free labels are the inputs of a linear-quadratic problem with random
input vectors, whose cost-to-go (``teach_gym.core.costtogo``) is the least expected squared distance to w* at the end.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from teach_gym.core.backend import Array
from teach_gym.core.costtogo import CostToGo, Floats, Form, Reach, reach
from teach_gym.core.learner import MLPLearner
from teach_gym.core.resting import Rest, blocks_of, input_batches, rest_of, resting, with_bias
from teach_gym.core.spec import is_drawn
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.core.task import compose
from teach_gym.errors import within

RATES = 9
"""Where a drawn learning rate matters to the cost-to-go, it is computed at this many rates of the range."""

Runs = Array | slice
"""Runs of a batch, by index."""


class Pull(NamedTuple):
    """A quadratic objective in the residuals r of a mini-batch, s^2 r^T G r - 2 s a^T r.

    Attributes:
        alignment: (..., B, m, K) a.
        gram: (..., B, m, K, m, K) G, or (..., B, m, m) where it is the same for all outputs and none between them.
        s: (B, 1, 1) step sizes over the batch size.
    """

    alignment: Array
    gram: Array
    s: Array


class Outlook(NamedTuple):
    """What belongs to one pool and one learning rate: where learners come to rest, and what that costs."""

    rest: Rest
    forms: CostToGo | Sequence[Form]


@dataclass(frozen=True, eq=False)
class Farsight:
    """The cost-to-go of a task's states.

    Attributes:
        task: the task.
        outlooks: for each pool that a run may be on, and for each of ``rates``.
        rates: learning rates; a run takes the outlook of the nearest.
    """

    task: Task
    outlooks: tuple[tuple[Outlook, ...], ...]
    rates: Floats

    def cost(self, state: TeachState) -> Floats:
        """Expected squared distance to the target at the end of the budget: (B,)."""
        blocks = blocks_of(self.task, state, state.w, state.velocity)
        found = np.empty(len(state.t))
        for (rest, forms), k, runs in self.groups(state, self.task.spec.budget - state.t):
            z, mean = resting(self.task, rest, k, [block[runs] for block in blocks])
            found[runs] = forms[k].at(z) + self._untaught(mean)
        return found

    def outcomes(self, state: TeachState, relative: bool = False) -> Floats:
        """The cost after each discrete action: (A, B); see ``after``."""
        return self.after(state, compose(self.task, state, self.task.medium.candidates[:, None]), relative)

    def after(self, state: TeachState, example: Example, relative: bool = False) -> Floats:
        """The cost after a step with given teaching examples: (..., B).

        Args:
            state: B runs.
            example: x (..., B, m, d) and y (..., B, m, K).
            relative: without the scale and the constant that all examples for a run share, which may be beyond the
                range of numbers.
        """
        task, left = self.task, np.maximum(self.task.spec.budget - state.t - 1, 0)
        residual = task.learner.output.residual(task.learner.logits(state.w, example.x), example.y)
        found, step = np.empty(residual.shape[:-2]), self.step_size(state)
        for runs, form, z, mean, part in self._responses(state, example.x, left):
            u = -step[runs] * residual[..., runs, :, :]
            pulled = np.einsum("...mk,...mk->...", 2.0 * self._alignment(part, z) + part.gram @ u, u)
            if relative:
                found[..., runs] = form.shape_at(z) + pulled
            else:
                base = form.shape_at(z) + form.constant
                found[..., runs] = np.exp(form.log_scale) * np.maximum(base + pulled, 0.0) + self._untaught(mean)
        return found

    def pull(self, state: TeachState, x: Array, left: Array) -> Pull:
        """The cost after an update on x, up to its scale and a constant, as a quadratic in the residuals.

        Args:
            state: B runs.
            x: (B, m, d) features of the teaching examples.
            left: (B,) steps to go after this one.
        """
        alignment = np.empty((*x.shape[:2], self.task.k))
        gram = np.empty((*x.shape[:2], x.shape[1]))
        for runs, _, z, _, part in self._responses(state, x, left):
            alignment[runs], gram[runs] = self._alignment(part, z), part.gram
        return Pull(alignment, gram, self.step_size(state))

    def _responses(
        self, state: TeachState, x: Array, left: Array
    ) -> Iterator[tuple[Runs, Form, Floats, Floats | None, Reach]]:
        """For groups of runs: form, resting points and mean after a step without teaching, what examples x change."""
        task = self.task
        blocks = blocks_of(task, state, *task.update(state.w, state.velocity, np.zeros_like(state.w), state.rate))
        for (rest, forms), k, runs in self.groups(state, left):
            z, mean = resting(task, rest, k, [block[runs] for block in blocks])
            rows = rest.inputs(with_bias(task, x[..., runs, :, :]), k)
            yield runs, forms[k], z, mean, reach(rows, forms[k])

    @staticmethod
    def _alignment(part: Reach, z: Floats) -> Floats:
        """X (P z + q): (..., B, m, K)."""
        return part.response @ np.swapaxes(z, -1, -2) + part.linear

    def step_size(self, state: TeachState) -> Array:
        """Step sizes over the batch size: (B, 1, 1)."""
        rate = np.full(len(state.t), self.task.update.learning_rate) if state.rate is None else state.rate
        return rate[:, None, None] / self.task.spec.batch_size

    def _untaught(self, mean: Floats | None) -> Floats | float:
        """The cost of the mean over a softmax learner's outputs, which teaching leaves alone."""
        return 0.0 if mean is None else self.task.k * np.einsum("...d,...d->...", mean, mean)

    def groups(self, state: TeachState, left: Array) -> list[tuple[Outlook, int, Runs]]:
        """The runs that share pool, rate and steps to go (B,), with what belongs to these."""
        pool = rate = np.zeros(len(left), dtype=np.int64)
        if self.task.variants is not None:
            pool = state.schedule[:, 0, 0, 0] // self.task.variants.rows
        if len(self.rates) > 1 and state.rate is not None:
            rate = np.abs(np.log(state.rate[:, None] / self.rates)).argmin(1)
        shape = (len(self.outlooks), len(self.rates), self.task.spec.budget + 1)
        kinds = np.ravel_multi_index((pool, rate, left), shape)
        found: list[tuple[Outlook, int, Runs]] = []
        for kind in np.unique(kinds):
            p, r, k = np.unravel_index(kind, shape)
            same = kinds == kind
            found.append((self.outlooks[p][r], int(k), slice(None) if same.all() else np.flatnonzero(same)))
        return found


def check_linear(task: Task, who: str) -> None:
    """Raise a ``ValueError`` for a learner with a hidden layer, whose cost-to-go has no closed form."""
    if isinstance(task.learner, MLPLearner):
        raise ValueError(f"{who} needs a learner without a hidden layer, this one is {task.learner.name!r}")


def rate_matters(task: Task, drift: float = 0.0, curvature: float = 0.0) -> bool:
    """Whether the cost-to-go depends on a learning rate that is drawn at reset."""
    return is_drawn(task.spec.learning_rate) and bool(drift or curvature or task.update.weight_decay)


@functools.lru_cache(maxsize=32)
def farsight(task: Task, damping: float = 1.0, drift: float = 0.0, curvature: float = 0.0) -> Farsight:
    """The cost-to-go of a task's states; with the default arguments that of free labels, exactly.

    Where a drawn learning rate matters, the nearest of ``RATES`` rates is used, which is not exact.

    Args:
        task: a task with a linear learner.
        damping: s in [0, 1], the share of the gain of free labels that is counted on; with 0 the learner is left alone.
        drift: share in [0, 1] of the gradient at w* on given labels that is counted on.
        curvature: share in [0, 1] of the loss's curvature at w* that is counted on.

    Raises:
        ValueError: a learner with a hidden layer, or a number out of its range.
    """
    check_linear(task, "the cost-to-go")
    for what, value in (("damping", damping), ("drift", drift), ("curvature", curvature)):
        within(what, value, "[0, 1]")
    rates = np.array([task.update.learning_rate])
    if rate_matters(task, drift, curvature):
        low, high = np.asarray(task.spec.learning_rate, dtype=np.float64)
        rates = np.geomspace(low, high, RATES)
    outlooks = []
    for pool in range(1 if task.variants is None else len(task.variants.targets)):
        rows = input_batches(task, pool)
        rests = [rest_of(task, pool, float(rate), drift, curvature) for rate in rates]
        outlooks.append(tuple(Outlook(r, CostToGo(rows @ r.axes, r.push[:-1], task.k, damping)) for r in rests))
    return Farsight(task, tuple(outlooks), rates)
