"""What a teacher is, and how its choice becomes a teaching example."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from teach_gym.core.backend import Array, norm
from teach_gym.core.batch import DIVERGED, needed, take
from teach_gym.core.metrics import Metric, distance
from teach_gym.core.randomness import Streams
from teach_gym.core.state import Example, Task, TeachState, Transition
from teach_gym.core.task import advance, arrived, compose, decode, learn, reset
from teach_gym.errors import positive
from teach_gym.teachers.actions import legal_action

Choice = Array | Example
"""What a teacher returns for a batch of runs.

An integer array (B,) is an action of the discrete flavour; a float array (B, *Box shape) is an action of the
continuous flavour; an ``Example`` is a teaching example that need not come from the task's medium (a row of the
whole pool, a label outside the grid).
"""


class Teacher(ABC):
    """A privileged teacher: a callable on (task, state) that sees everything, for any batch of runs."""

    name: str = ""
    """The name it is looked up by."""

    table: ClassVar[Path | None] = None
    """A file of the package that its choices depend on."""
    _checked: Task | None = None
    """The task that ``act`` checked last."""

    def check(self, task: Task) -> None:
        """Raise a ``ValueError`` if this teacher cannot teach that task."""
        del task

    @abstractmethod
    def __call__(self, task: Task, state: TeachState) -> Choice:
        """Choose for every run of the batch, without changing the state.

        The choice for a run is a function of the task and of that run's state; a randomised teacher takes its random
        numbers from ``draws(state)``.
        """

    def act(self, env: Any) -> Any:
        """Choose for an environment: what ``env.step`` takes, for the episodes it is in.

        A choice that is an action is returned as it is; for a teaching example the nearest action is returned (see
        ``teach_gym.teachers.actions`` for what the media can express).

        Args:
            env: one of this package's environments, single or vector, in any wrappers that leave the actions alone.

        Returns:
            An action in ``env.action_space``: an integer or an array for a single environment, an array with a row for
            each sub-environment of a vector environment.

        Raises:
            TypeError: not an environment of this package with a task and a state.
            RuntimeError: the environment was not reset.
            ValueError: the teacher cannot teach the task, no action shows its example, or a wrapper changes the
                actions.
        """
        task, state, space = _watched(env)
        if task is not self._checked:
            self.check(task)
            self._checked = task
        action = legal_action(task, state, self(task, state))
        if task.spec.continuous:
            action = action.astype(space.dtype)
        if hasattr(env.unwrapped, "num_envs"):
            return action
        return action[0] if task.spec.continuous else int(action[0])

    def gradient_evaluations(self, task: Task) -> int:
        """Per-example gradients (or predictions) the teacher computes per step and run, the update not counted."""
        del task
        return 0


def _watched(env: Any) -> tuple[Task, TeachState, Any]:
    """An environment's task, state and action space."""
    inner = getattr(env, "unwrapped", env)
    task = getattr(inner, "task", None)
    if not isinstance(task, Task):
        raise TypeError(
            "teachers act in the environments of teach_gym that have a task and a state (made by gym.make or "
            f"gym.make_vec), got {type(inner).__name__}"
        )
    if inner.state is None:
        raise RuntimeError("call env.reset() before a teacher acts")
    if env.action_space != inner.action_space:
        raise ValueError(
            f"a wrapper changes the actions from {inner.action_space} to {env.action_space}; "
            "a teacher knows the environment's own: call act(env.unwrapped)"
        )
    return task, inner.state, inner.action_space


def draws(state: TeachState) -> Streams:
    """Random streams for what a teacher draws at this step, decided by each run's episode and step alone."""
    return Streams.at(needed(state.key), state.t)


def check_settled(task: Task, name: str, *fields: str) -> None:
    """Check that a task does not draw fields at reset that a teacher must know.

    Args:
        task: the task.
        name: the teacher's name, for the message.
        *fields: ``learning_rate`` or ``pool_seed`` or both.

    Raises:
        ValueError: one of them is drawn.
    """
    drawn = [field for field in fields if field in task.spec.drawn]
    if drawn:
        raise ValueError(
            f"teacher {name!r} needs the same {' and '.join(drawn)} for all runs; the task draws {', '.join(drawn)} at "
            "reset: settle it, or use passive, random or greedy"
        )


def example_of(task: Task, state: TeachState, choice: Choice) -> Example:
    """The teaching example of a teacher's choice."""
    if isinstance(choice, Example):
        return choice
    return compose(task, state, decode(task, choice))


def better_of(task: Task, state: TeachState, first: Example, second: Example) -> Example:
    """For each run, that of two teaching examples after which the learner is nearer to the target."""
    gaps = (norm(learn(task, state, example)[0] - state.target) for example in (first, second))
    wins = np.less(*gaps)[:, None, None]
    return Example(*(np.where(wins, a, b) for a, b in zip(first, second, strict=True)))


def follow(task: Task, state: TeachState, teacher: Teacher) -> Transition:
    """One teaching step with the teacher's choice."""
    return advance(task, state, example_of(task, state, teacher(task, state)))


@dataclass
class Clock:
    """Seconds that the steps of a lesson took.

    Attributes:
        teacher: choosing.
        learner: making the example and learning from it.
    """

    teacher: float = 0.0
    learner: float = 0.0


def transitions(
    task: Task, teacher: Teacher, state: TeachState, *, steps: int | None = None, clock: Clock | None = None
) -> Iterator[Transition]:
    """Teach B runs from a state on; the one loop of teaching steps, made as they are asked for.

    It ends with the budget, or as soon as every run has ended; a run that ended earlier continues to be taught, so
    whoever needs its last state keeps it. Overflow in a learner that diverges is not reported.

    Args:
        task: the task.
        teacher: a teacher that fits the task.
        state: where to start.
        steps: stop after this many steps (default: the budget).
        clock: the seconds are added here.

    Yields:
        The steps, one after the other.
    """
    clock, over = clock or Clock(), arrived(task, state)
    for _ in range(min(steps or task.spec.budget, task.spec.budget)):
        if over.all():
            return
        with np.errstate(over="ignore", invalid="ignore"):
            began = time.perf_counter()
            choice = teacher(task, state)
            chosen = time.perf_counter()
            transition = advance(task, state, example_of(task, state, choice))
            learnt = time.perf_counter()
        clock.teacher, clock.learner = clock.teacher + chosen - began, clock.learner + learnt - chosen
        yield transition
        state, over = transition.state, over | transition.terminated


def lesson(
    task: Task,
    teacher: Teacher,
    seeds: Sequence[int] | Streams,
    *,
    steps: int | None = None,
    clock: Clock | None = None,
) -> tuple[TeachState, Iterator[Transition]]:
    """Teach B episodes: the state at reset, and the ``transitions`` from there.

    Args:
        task: the task.
        teacher: the teacher, which is checked against the task.
        seeds: a seed for each run, as the benchmark's, or their random streams.
        steps: stop after this many steps (default: the budget).
        clock: the seconds of the steps are added here.

    Raises:
        ValueError: the teacher cannot teach the task, or ``steps`` is not positive.
    """
    if steps is not None:
        positive("steps", steps, integer=True)
    teacher.check(task)
    first = reset(task, seeds if isinstance(seeds, Streams) else Streams.from_seeds(seeds))
    return first, transitions(task, teacher, first, steps=steps, clock=clock)


def teach_episodes(task: Task, teacher: Teacher, seeds: Sequence[int]) -> tuple[Array, Array]:
    """Distances to the target before and after whole episodes, one for each seed: (S,) and (S,).

    Learners and offered examples are those of the benchmark's runs with these seeds. An episode's end keeps its
    distance; a learner that diverged has +inf.
    """
    first, taught = lesson(task, teacher, seeds)
    return first.distance, final_distances(task, first, taught)


def final_distances(task: Task, first: TeachState, taught: Iterable[Transition]) -> Array:
    """Distances to the target where the episodes that start at ``first`` end: (B,); +inf for a diverged learner."""
    final = final_values(task, first, taught, distance)[0]
    return np.where(final <= DIVERGED, final, np.inf)


def final_values(task: Task, first: TeachState, taught: Iterable[Transition], *metrics: Metric) -> list[Array]:
    """Metrics of the states where the episodes that start at ``first`` end, or where teaching stops: (B,) each."""
    state, over = first, arrived(task, first)
    found = [np.zeros(len(over)) for _ in metrics]

    def measure(runs: Array) -> None:
        for start in range(0, len(runs), _MEASURED):
            some = runs[start : start + _MEASURED]
            with np.errstate(over="ignore", invalid="ignore"):
                ends = take(state, some)
                for values, metric in zip(found, metrics, strict=True):
                    values[some] = metric(task, ends)

    measure(over.nonzero()[0])
    for transition in taught:
        state = transition.state
        measure((transition.terminated & ~over).nonzero()[0])
        over = over | transition.terminated
    measure((~over).nonzero()[0])
    return found


_MEASURED = 256
"""Runs whose metrics are taken at once: on many rows they need much memory."""
