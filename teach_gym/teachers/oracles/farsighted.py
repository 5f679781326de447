"""The far-sighted oracle: the action with the least cost-to-go, for any medium of a linear learner."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numpy as np

from teach_gym.core.backend import Array
from teach_gym.core.farsighted import Farsight, check_linear, farsight
from teach_gym.core.foresight import Settings, settings
from teach_gym.core.learner import MLPLearner
from teach_gym.core.medium import LabelOffset
from teach_gym.core.outputs import SOFTMAX
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.core.task import compose, decode
from teach_gym.errors import within
from teach_gym.teachers.actions import nearest_action
from teach_gym.teachers.base import Choice, Teacher, check_settled
from teach_gym.teachers.oracles.fitted import fit
from teach_gym.teachers.oracles.labels import Constraint, greedy_labels
from teach_gym.teachers.oracles.tangent import Measured, iterate

_GRID = 17
_ZOOMS = 4
_MOST_COORDINATES = 16


@functools.lru_cache(maxsize=8)
def _fitted(task: Task, chosen: Settings, rounds: int) -> Farsight:
    return fit(farsight(task, *chosen), rounds)


@functools.lru_cache(maxsize=8)
def _measured(task: Task, rounds: int) -> Measured:
    return iterate(task, rounds)


@dataclass
class FarSighted(Teacher):
    """The far-sighted oracle: the action after which the least cost is to be expected at the end of the budget.

    The cost-to-go is that of free labels (``teach_gym.core.farsighted``). Where later control is weaker, as with every
    medium, its gain is damped; media that keep the given label let the learner move on its own, on which the teacher
    counts too. Without options these three settings are those recorded for the task, found on tuning episodes (for
    unknown tasks, for the medium). With damping 0, drift 0 and curvature 0 this is the greedy teacher, and for a
    learner with momentum the anticipating one.

    In the continuous flavour the labels of one row are exact for the cost-to-go; other actions are the best discrete
    one or better, by a search along the coordinates where there are at most 16.

    Args:
        damping: s in [0, 1], the share of the gain of free labels that is counted on.
        drift: share in [0, 1] of the gradient at w* on given labels that is counted on.
        curvature: share in [0, 1] of the loss's curvature at w* that is counted on.
        fitted: rounds of fitted value iteration on simulated episodes (``teach_gym.teachers.oracles.fitted``), once for
            each task, seconds to minutes; 0 for none. Learners with a hidden layer have no closed form and need at
            least one round, which measures the cost-to-go of the policy before it
            (``teach_gym.teachers.oracles.tangent``).

    Raises:
        ValueError: a number out of its range.
    """

    damping: float | None = None
    drift: float | None = None
    curvature: float | None = None
    fitted: int = 0
    name: str = field(default="lqr", init=False)

    def __post_init__(self) -> None:
        for what in Settings._fields:
            value = getattr(self, what)
            if value is not None:
                within(what, value, "[0, 1]")
        within("fitted", self.fitted, "[0, 1000]", integer=True)

    def check(self, task: Task) -> None:
        """Raise a ``ValueError`` for a learner with a hidden layer without ``fitted``.

        Fitting needs one pool and learning rate.
        """
        if not self.fitted:
            check_linear(task, f"teacher {self.name!r} without fitted=1")
        else:
            check_settled(task, self.name, "learning_rate", "pool_seed")

    def farsight(self, task: Task) -> Farsight | Measured:
        """The cost-to-go this teacher goes by."""
        if isinstance(task.learner, MLPLearner) and self.fitted:
            return _measured(task, self.fitted)
        found = settings(task.spec)
        own = {what: getattr(self, what) for what in Settings._fields if getattr(self, what) is not None}
        chosen = found._replace(**own)
        return _fitted(task, chosen, self.fitted) if self.fitted else farsight(task, *chosen)

    def __call__(self, task: Task, state: TeachState) -> Choice:
        """The actions of the task's flavour: (B,) or (B, *Box shape)."""
        far = self.farsight(task)
        best = far.outcomes(state, relative=True).argmin(0)
        return _continuous(far, state, best) if task.spec.continuous else best

    def gradient_evaluations(self, task: Task) -> int:
        """One per row, for every action."""
        return task.n_actions * task.spec.batch_size


def _continuous(far: Farsight | Measured, state: TeachState, best: Array) -> Array:
    """Continuous actions (B, *Box shape) at least as good as discrete ones (B,)."""
    task, x = far.task, state.x[:, 0]
    action = nearest_action(task, state, compose(task, state, task.medium.decode(best)))
    if task.spec.medium == "label" and isinstance(far, Farsight):
        left = np.maximum(task.spec.budget - state.t - 1, 0)
        free = greedy_labels(task, state, x, state.y[:, 0], Constraint(), pull=far.pull(state, x, left))
        nearest = nearest_action(task, state, Example(x, free))
        uneven = task.learner.output == SOFTMAX and isinstance(task.medium, LabelOffset)
        if task.spec.batch_size == 1 and task.learner.output.linear and not uneven:
            return nearest  # the cost-to-go grows with the distance of the label to the free one
        action = _better(far, state, action, nearest)
    return _searched(far, state, action)


def _cost(far: Farsight | Measured, state: TeachState, action: Array) -> Array:
    """Cost-to-go after continuous actions (..., B, *Box shape), relative: (..., B)."""
    return far.after(state, compose(far.task, state, decode(far.task, action)), relative=True)


def _better(far: Farsight | Measured, state: TeachState, first: Array, second: Array) -> Array:
    wins = _cost(far, state, second) < _cost(far, state, first)
    return np.where(wins.reshape(-1, *(1,) * (first.ndim - 1)), second, first)


def _searched(far: Farsight | Measured, state: TeachState, action: Array) -> Array:
    """Cyclic search along the coordinates of the Box on ever finer grids, never to a higher cost: (B, *Box shape)."""
    low, high = far.task.medium.low, far.task.medium.high
    assert low is not None and high is not None
    if low.size > _MOST_COORDINATES:
        return action
    runs, shape, action = np.arange(len(action)), action.shape, action.reshape(len(action), -1).copy()
    for zoom in range(_ZOOMS):
        for i, (a, b) in enumerate(zip(low.ravel(), high.ravel(), strict=True)):
            steps = (b - a) * 0.25**zoom * np.linspace(-1.0, 1.0, _GRID)[:, None]
            tried = np.repeat(action[None], _GRID, axis=0)
            tried[..., i] = np.clip(action[:, i] + steps, a, b)
            costs = _cost(far, state, tried.reshape(_GRID, *shape))
            action = tried[costs.argmin(0), runs]
    return action.reshape(shape)
