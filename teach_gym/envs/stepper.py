"""One teaching run, stepped by a compiled program if there is one, otherwise by array calls."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from teach_gym.core.backend import Array, gather
from teach_gym.core.layout import Block, bounded, observe
from teach_gym.core.randomness import Streams
from teach_gym.core.state import Task, TeachState
from teach_gym.core.task import decode, reset, step
from teach_gym.envs.fuse import Program, trace

Observation = npt.NDArray[np.float32]
StepResult = tuple[Observation, float, bool, Any, Array, Array]
"""Observation, reward, terminated, distance, and the teaching example's x (m, d) and y (m, K).

The distance and the example have the task's dtype."""

_WIDE = 1e38
"""Up to this sum of their sizes, the entries of an observation are taken for numbers that float32 has."""


class Stepper(Protocol):
    """Carries out the episodes of one run."""

    @property
    def state(self) -> TeachState:
        """The state as a batch of one run."""

    def start(self, rng: Streams) -> tuple[Observation, Any]:
        """Start an episode; returns the observation and the distance."""

    def step(self, action: Any) -> StepResult:
        """One step by a valid action."""


def make_stepper(task: Task, blocks: list[Block]) -> Stepper:
    """The fastest stepper available for a task; ``blocks`` is the layout of its observation."""
    program = trace(task, blocks)
    return ArrayStepper(task, blocks) if program is None else ProgramStepper(task, blocks, program)


class ArrayStepper:
    """Keeps the run as a batch of one and steps it by ``teach_gym.core.task.step``."""

    def __init__(self, task: Task, blocks: list[Block]) -> None:
        self.task, self.blocks = task, blocks
        self._state: TeachState | None = None

    @property
    def state(self) -> TeachState:
        """The state as a batch of one run."""
        if self._state is None:
            raise RuntimeError("call reset() first: no episode was started")
        return self._state

    def start(self, rng: Streams) -> tuple[Observation, Any]:
        """Start an episode."""
        self._state = reset(self.task, rng)
        return observe(self.task, self._state, self.blocks)[0], self._state.distance[0]

    def step(self, action: Any) -> StepResult:
        """One step by a valid action."""
        with np.errstate(over="ignore", invalid="ignore"):  # a learner that diverges
            after, reward, terminated, example = step(self.task, self.state, np.asarray(action)[None])
        self._state = after
        observation = observe(self.task, after, self.blocks)[0]
        return observation, float(reward[0]), bool(terminated[0]), after.distance[0], example.x[0], example.y[0]


class ProgramStepper:
    """Keeps the run as Python floats and steps it by a compiled program.

    Pickles hold no code: the program is compiled again when a pickle is loaded.
    """

    def __init__(self, task: Task, blocks: list[Block], program: Program) -> None:
        self.task, self.blocks = task, blocks
        self._compiled(program)
        self._first: TeachState | None = None
        self._dtype = np.dtype(task.spec.dtype)
        self._values = [_flat(v) for v in task.medium.candidates]
        self._target = _flat(task.target)

    def _compiled(self, program: Program) -> None:
        self._function = program.function
        self._x_shape, self._y_shape = program.shapes["x"], program.shapes["y"]

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_function"}

    def __setstate__(self, fields: dict[str, Any]) -> None:
        self.__dict__.update(fields)
        program = trace(self.task, self.blocks)
        assert program is not None
        self._compiled(program)

    @property
    def state(self) -> TeachState:
        """The state as a batch of one run."""
        if self._first is None:
            raise RuntimeError("call reset() first: no episode was started")
        first, row = self._first, min(self._t, self.task.spec.budget - 1)

        def batch(entries: Any, like: Array | None) -> Any:
            return None if like is None else np.array(entries, dtype=like.dtype).reshape(like.shape)

        return first._replace(
            w=batch(self._w, first.w),
            t=np.array([self._t]),
            x=batch(self._xs[row], first.x),
            y=batch(self._ys[row], first.y),
            soft=batch(self._softs[row], first.soft),
            difference=batch(self._difference, first.difference),
            distance=batch([self._distance], first.distance),
            velocity=batch(self._velocity, first.velocity),
        )

    def start(self, rng: Streams) -> tuple[Observation, Any]:
        """Start an episode."""
        task = self.task
        first = reset(task, rng)
        rows = first.schedule[0]
        self._first, self._t = first, 0
        self._xs, self._ys = (gather(table, rows).reshape(len(rows), -1).tolist() for table in (task.x, task.y))
        self._softs: list[Any] = [()] * len(rows)
        if task.soft is not None:
            self._softs = gather(task.soft, rows).reshape(len(rows), -1).tolist()
        self._w, self._difference = _flat(first.w), _flat(first.difference)
        self._velocity = () if first.velocity is None else _flat(first.velocity)
        self._distance, self._initial_distance = float(first.distance[0]), float(first.initial_distance[0])
        return observe(task, first, self.blocks)[0], first.distance[0]

    def step(self, action: Any) -> StepResult:
        """One step by a valid action."""
        spec, t = self.task.spec, self._t
        value = _flat(decode(self.task, action[None])) if spec.continuous else self._values[action]
        row = t + 1 if t + 1 < spec.budget else t
        self._w, self._velocity, self._difference, self._distance, reward, terminated, x, y, observation = (
            self._function(
                self._w,
                self._target,
                self._velocity,
                self._difference,
                self._xs[t],
                self._ys[t],
                self._softs[t],
                (self._distance,),
                (self._initial_distance,),
                (t,),
                value,
                self._xs[row],
                self._ys[row],
                self._softs[row],
            )
        )
        self._t = t + 1
        return (
            _observed(observation),
            reward,
            terminated,
            self._dtype.type(self._distance),
            np.array(x, dtype=self._dtype).reshape(self._x_shape),
            np.array(y, dtype=self._dtype).reshape(self._y_shape),
        )


def _observed(entries: tuple[float, ...]) -> Observation:
    """An observation as an array of finite numbers."""
    if sum(map(abs, entries)) < _WIDE:
        return np.array(entries, dtype=np.float32)
    with np.errstate(over="ignore"):
        return bounded(np.array(entries, dtype=np.float32))


def _flat(array: Array) -> tuple[float, ...]:
    return tuple(np.ravel(array).tolist())
