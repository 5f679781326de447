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
from teach_gym.core.costtogo import CostToGo, Floats, Form, grams
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


class Prospects(NamedTuple):
    """Costs at the end of the budget, exp(log_scale) relative + untaught.

    Relative costs never leave the range of numbers; they are below zero only by rounding or by the error of a fit.

    Attributes:
        alone: (B,) relative cost after a step that leaves the learner alone.
        relative: (..., B) relative cost after a step with a teaching example.
        log_scale: (B,).
        untaught: (B,) what no example changes.
    """

    alone: Floats
    relative: Floats
    log_scale: Floats
    untaught: Floats


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
        for (rest, forms), k, runs in self.groups(state, np.maximum(self.task.spec.budget - state.t, 0)):
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
            relative: ``Prospects.relative`` instead, which differs by what all examples for a run share.
        """
        found = self.prospects(state, example)
        if relative:
            return found.relative
        return np.exp(found.log_scale) * np.maximum(found.relative, 0.0) + found.untaught

    def prospects(self, state: TeachState, example: Example | None = None) -> Prospects:
        """What a step changes of the cost.

        Args:
            state: B runs.
            example: x (..., B, m, d) and y (..., B, m, K) of teaching examples (None: those of all discrete actions).
        """
        task, left = self.task, np.maximum(self.task.spec.budget - state.t - 1, 0)
        if example is None:
            example = compose(task, state, task.medium.candidates[:, None])
        residual = task.learner.output.residual(task.learner.logits(state.w, example.x), example.y)
        change, n = np.empty(residual.shape[:-2]), len(state.t)
        alone, log_scale, untaught = np.empty(n), np.empty(n), np.empty(n)
        step = self.step_size(state)
        for runs, form, z, mean, alignment, gram in self._responses(state, example.x, left):
            u = -step[runs] * residual[..., runs, :, :]
            bend = gram * u if u.shape[-2] == 1 else gram @ u
            change[..., runs] = ((2.0 * alignment + bend) * u).sum((-1, -2))
            alone[runs] = form.shape_at(z) + form.constant
            log_scale[runs], untaught[runs] = form.log_scale, self._untaught(mean)
        return Prospects(alone, alone + change, log_scale, untaught)

    def pull(self, state: TeachState, x: Array, left: Array) -> Pull:
        """The cost after an update on x, up to its scale and a constant, as a quadratic in the residuals.

        Args:
            state: B runs.
            x: (B, m, d) features of the teaching examples.
            left: (B,) steps to go after this one.
        """
        alignment = np.empty((*x.shape[:2], self.task.k))
        gram = np.empty((*x.shape[:2], x.shape[1]))
        for runs, _, _, _, *part in self._responses(state, x, left):
            alignment[runs], gram[runs] = part
        return Pull(alignment, gram, self.step_size(state))

    def _responses(
        self, state: TeachState, x: Array, left: Array
    ) -> Iterator[tuple[Runs, Form, Floats, Floats | None, Floats, Floats]]:
        """What examples x change, for groups of runs.

        Yields the runs, the form, resting points and mean after a step without teaching, X (P z + q) (..., B, m, K) and
        X P X^T (..., B, m, m), with X in the coordinates of the resting points.
        """
        task = self.task
        blocks = blocks_of(task, state, *task.update(state.w, state.velocity, np.zeros_like(state.w), state.rate))
        for (rest, forms), k, runs in self.groups(state, left):
            form, turn = forms[k], rest.axes * rest.push[k]
            z, mean = resting(task, rest, k, [block[runs] for block in blocks])
            slope = (z.reshape(-1, z.shape[-1]) @ form.matrix @ turn.T).reshape(z.shape) + form.linear @ turn.T
            rows, matrix = with_bias(task, x[..., runs, :, :]), turn @ form.matrix @ turn.T
            response = (rows.reshape(-1, rows.shape[-1]) @ matrix).reshape(rows.shape)
            yield runs, form, z, mean, np.einsum("...md,...kd->...mk", rows, slope), grams(rows, response, matrix)

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
