"""Look-ahead teachers: search over the actions of the next steps, on the known or on an imagined future."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from teach_gym.core.backend import Array
from teach_gym.core.batch import take
from teach_gym.core.state import Task, TeachState
from teach_gym.core.task import sources, step
from teach_gym.errors import positive
from teach_gym.teachers.base import Choice, Teacher, check_settled, draws, follow
from teach_gym.teachers.oracles.greedy import Greedy


@dataclass
class Planning(Teacher):
    """Look ahead L steps and take the first action of the best plan; never worse than greedy on that objective.

    ``clairvoyant=True`` reads the rows of the next steps from the schedule and runs a beam search over action
    sequences for the smallest distance after L steps (exact if the beam holds all of them; the greedy sequence
    always stays in the beam). Otherwise the teacher is honest: the future rows are drawn afresh, and an action is
    judged by the mean distance after L steps, over ``samples`` futures, if the greedy teacher follows it.

    Args:
        horizon: number of steps L.
        clairvoyant: whether the teacher knows the rows to come.
        beam: nodes kept per depth (clairvoyant).
        samples: imagined futures (honest).

    Raises:
        ValueError: a number that is not positive.
    """

    horizon: int = 3
    clairvoyant: bool = False
    beam: int = 32
    samples: int = 8
    name: str = field(default="planning", init=False)

    def __post_init__(self) -> None:
        for what in ("horizon", "beam", "samples"):
            positive(what, getattr(self, what), integer=True)

    def check(self, task: Task) -> None:
        """Raise a ``ValueError`` for the continuous flavour, and for pools drawn at reset."""
        check_settled(task, self.name, "pool_seed")
        if task.spec.continuous:
            raise ValueError(f"teacher {self.name!r} plans discrete actions; the task has continuous=True")

    def __call__(self, task: Task, state: TeachState) -> Choice:
        """The first action of the best plan, no longer than the run's own budget allows: (B,)."""
        depths = np.clip(task.spec.budget - state.t, 1, self.horizon)
        best = np.empty(len(depths), dtype=np.int64)
        for depth in np.unique(depths):
            runs = depths == depth
            some = state if runs.all() else take(state, runs)
            best[runs] = (
                self.plan(task, some, depth)[:, 0] if self.clairvoyant else self.outlook(task, some, depth).argmin(0)
            )
        return best

    def plan(self, task: Task, state: TeachState, depth: int) -> Array:
        """Best action sequence of the given length on the known schedule: (B, depth).

        The node in slot 0 of each run's beam is the greedy one; the others are the nearest to the target.
        """
        n, a = len(state.t), task.n_actions
        nodes, plans, width = state, np.zeros((n, 1, 0), dtype=np.int64), 1
        for level in range(depth):
            actions = np.tile(np.arange(a), n * width)
            children = step(task, take(nodes, np.repeat(np.arange(n * width), a)), actions).state
            distance = children.distance.reshape(n, width * a)
            keep = min(self.beam + 1, width * a) if level < depth - 1 else 1
            order = np.argsort(distance, axis=1, kind="stable")[:, :keep]
            if level < depth - 1:
                order = _with_first(order, distance[:, :a].argmin(1))
            parents, taken = order // a, order % a
            plans = np.concatenate([np.take_along_axis(plans, parents[..., None], axis=1), taken[..., None]], axis=2)
            nodes = take(children, (np.arange(n)[:, None] * width * a + order).ravel())
            width = order.shape[1]
        return plans[:, 0]

    def outlook(self, task: Task, state: TeachState, depth: int) -> Array:
        """Mean distance after ``depth`` steps over imagined futures, for each first action: (A, B)."""
        n, a = len(state.t), task.n_actions
        future = draws(state).integers(len(task.x), self.samples, depth - 1, *state.schedule.shape[2:])
        runs = take(state, np.repeat(np.arange(n), self.samples * a))
        future = np.repeat(future.reshape(n * self.samples, *future.shape[2:]), a, axis=0)
        greedy = Greedy()
        nodes = step(task, runs, np.tile(np.arange(a), n * self.samples)).state
        for level in range(depth - 1):
            start = np.zeros(len(nodes.t), dtype=np.int64)
            x, y, soft = sources(task, future[:, level : level + 1], start)
            nodes = nodes._replace(x=x, y=y, soft=soft)
            nodes = follow(task, nodes, greedy).state
        return nodes.distance.reshape(n, self.samples, a).mean(1).T

    def gradient_evaluations(self, task: Task) -> int:
        """Learner updates tried per step, for every row of the mini-batch."""
        a, m = task.n_actions, task.spec.batch_size
        if self.clairvoyant:
            widths, total = 1, 0
            for _ in range(self.horizon):
                total += widths * a
                widths = min(self.beam + 1, widths * a)
            return total * m
        return self.samples * a * (1 + (self.horizon - 1) * (a + 1)) * m


def _with_first(order: Array, first: Array) -> Array:
    """Put ``first`` (B,) in front of the indices ``order`` (B, W), in place of itself or of the last one."""
    n, width = order.shape
    found = order == first[:, None]
    drop = np.where(found.any(1), found.argmax(1), width - 1)
    rest = order[np.arange(width) != drop[:, None]].reshape(n, width - 1)
    return np.concatenate([first[:, None], rest], axis=1)
