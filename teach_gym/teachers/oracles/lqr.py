"""Free labels over a horizon: what the cost-to-go asks of a label, and what theory expects of whole episodes."""

from __future__ import annotations

import numpy as np

from teach_gym.core.backend import Array, gather
from teach_gym.core.batch import take
from teach_gym.core.costtogo import Floats, Form, backward, reach, terminal
from teach_gym.core.farsighted import Farsight, Pull, farsight
from teach_gym.core.resting import blocks_of, input_batches, resting, with_bias
from teach_gym.core.state import Task, TeachState
from teach_gym.teachers.base import check_settled


def foreseen_pull(far: Farsight, state: TeachState, x: Array, left: Array) -> Pull:
    """``Farsight.pull`` for a teacher that knows the rows to come, with which each run has a cost-to-go of its own.

    The recursion is run anew for each decision, in time proportional to the steps to go.
    """
    task, (n, m) = far.task, x.shape[:2]
    blocks = blocks_of(task, state, *task.update(state.w, state.velocity, np.zeros_like(state.w), state.rate))
    alignment, gram = np.empty((n, m, task.k)), np.empty((n, m, m))
    for (rest, _), k, runs in far.groups(state, left):
        own = state if isinstance(runs, slice) else take(state, runs)
        end = terminal(task.k, len(rest.axes))
        form = Form(*(np.broadcast_to(part, (len(own.t), *part.shape)) for part in end))
        for ahead in range(k, 0, -1):
            coming = own.schedule[np.arange(len(own.t)), own.t + ahead, 0]
            form = backward(rest.inputs(with_bias(task, gather(task.x, coming)), k - ahead)[:, None], form)
        z, _ = resting(task, rest, k, [block[runs] for block in blocks])
        part = reach(rest.inputs(with_bias(task, x[runs]), k)[:, None], form)
        alignment[runs] = part.response[:, 0] @ np.swapaxes(z, -1, -2)
        gram[runs] = part.gram[:, 0]
    return Pull(alignment, gram, far.step_size(state))


def _feedback(rows: Floats, gain: Form) -> Floats:
    """L (N, m, d): the inputs that are best for a form are u = -L z."""
    found = reach(rows, gain)
    return np.asarray(np.linalg.solve(found.gram, found.response), dtype=np.float64)


def spread(rows: Floats, gain: Form, second: Floats) -> Floats:
    """Second moments of the state one step later, E[F M F^T] with F = I - X^T L: (d, d).

    Args:
        rows: (N, m, d) mini-batches X, each as likely as the others.
        gain: the form whose best inputs are given.
        second: (d, d) M, the second moments before the step.
    """
    feedback, n = _feedback(rows, gain), len(rows)
    across = np.einsum("nmi,nmj->ij", rows, feedback, optimize=True) @ second / n
    inputs = feedback @ second @ np.swapaxes(feedback, 1, 2)
    return second - across - across.T + np.einsum("nmi,nmj->ij", rows, inputs @ rows, optimize=True) / n


def followed(rows: Floats, gain: Form, after: Floats) -> Floats:
    """The expected cost one step earlier with the best inputs for ``gain``, E[F^T Q F] with F = I - X^T L: (d, d).

    For greedy label synthesis ``gain`` is the form at the end. With P_k for both it is the recursion of P_k.

    Args:
        rows: (N, m, d) mini-batches X.
        gain: the form whose best inputs are given.
        after: (d, d) Q, the cost after the step.
    """
    feedback, n = _feedback(rows, gain), len(rows)
    across = np.einsum("nmi,nmj->ij", feedback, rows @ after, optimize=True) / n
    inner = rows @ after @ np.swapaxes(rows, 1, 2)
    return after - across - across.T + np.einsum("nmi,nmj->ij", feedback, inner @ feedback, optimize=True) / n


def expected_squares(task: Task, state: TeachState, horizon: int | None = None) -> Floats:
    """E||w - w*||^2 under free labels after t = 0 .. H steps, a mean over the runs of a state at reset: (H + 1,).

    Args:
        task: a task of one pool and one learning rate, whose learner has neither momentum nor weight decay.
        state: B runs at t = 0.
        horizon: how far the teacher sees, as in ``GreedyLAST`` (1: greedy; None: to the end of the budget).

    Raises:
        ValueError: a task of another kind.
    """
    check_settled(task, "expected_squares", "learning_rate", "pool_seed")
    if task.update.momentum or task.update.weight_decay:
        raise ValueError("expected_squares needs a learner without momentum and weight decay")
    rest, forms = farsight(task).outlooks[0][0]
    rows, steps = input_batches(task), task.spec.budget
    z, mean = resting(task, rest, 0, blocks_of(task, state, state.w, None))
    second = np.einsum("bki,bkj->ij", z, z) / len(z)
    untaught = 0.0 if mean is None else task.k * (mean**2).sum(-1).mean()
    curve = np.empty(steps + 1)
    for t in range(steps + 1):
        curve[t] = np.trace(second) + untaught
        left = steps - t - 1
        if left >= 0:
            second = spread(rows, forms[left if horizon is None else min(left, horizon - 1)], second)
    return curve
