"""One teaching run, stepped by machine code or by a compiled program if there is one, otherwise by array calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from teach_gym.compiled import native
from teach_gym.core.backend import Array, gather
from teach_gym.core.layout import Block, bounded, observe
from teach_gym.core.state import Task, TeachState
from teach_gym.core.task import decode, step
from teach_gym.envs.fuse import Program, Record, record, trace
from teach_gym.envs.machine import Memory

Observation = npt.NDArray[np.float32]
StepResult = tuple[Observation, float, bool, Any, Array, Array]
"""Observation, reward, terminated, distance, and the teaching example's x (m, d) and y (m, K).

The distance and the example have the task's dtype."""

NATIVE_LIMIT = 10_000
"""Maximum number of operations of machine code; one of 8,387 (``LabelDigitsMLP``) is made in a second."""
_WIDE = 1e38
"""Up to this sum of their sizes, the entries of an observation are taken for numbers that float32 has."""


class Stepper(Protocol):
    """Carries out the episodes of one run."""

    @property
    def state(self) -> TeachState:
        """The state as a batch of one run."""

    def start(self, first: TeachState) -> None:
        """Start an episode from its first state, a batch of one run."""

    def step(self, action: Any) -> StepResult:
        """One step by a valid action."""


def make_stepper(task: Task, blocks: list[Block]) -> Stepper:
    """The fastest stepper available for a task; ``blocks`` is the layout of its observation."""
    if native.installed():
        step = record(task, blocks, NATIVE_LIMIT)
        if step is not None:
            return MachineStepper(task, step)
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

    def start(self, first: TeachState) -> None:
        """Start an episode."""
        self._state = first

    def step(self, action: Any) -> StepResult:
        """One step by a valid action."""
        with np.errstate(over="ignore", invalid="ignore"):  # a learner that diverges
            after, reward, terminated, example = step(self.task, self.state, np.asarray(action)[None])
        self._state = after
        observation = observe(self.task, after, self.blocks)[0]
        return observation, float(reward[0]), bool(terminated[0]), after.distance[0], example.x[0], example.y[0]


class RecordedStepper(ABC):
    """The base of the steppers that keep the run's numbers themselves and make a state of them when it is asked for."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._first: TeachState | None = None
        self._dtype, self._t = np.dtype(task.spec.dtype), 0

    @property
    def state(self) -> TeachState:
        """The state as a batch of one run."""
        if self._first is None:
            raise RuntimeError("call reset() first: no episode was started")
        first, task = self._first, self.task
        rows = gather(task.rows, first.schedule[:, min(self._t, task.spec.budget - 1)])
        found = {name: getattr(first, name) for name in ("w", "difference", "distance", "velocity")}
        if self._t:
            numbers = self._numbers(found)
            found = {
                name: None if like is None else np.array(numbers[name], dtype=like.dtype).reshape(like.shape)
                for name, like in found.items()
            }
        return first._replace(
            t=np.array([self._t]),
            x=rows[..., : task.d],
            y=rows[..., task.d : task.d + task.k],
            soft=None if first.soft is None else rows[..., task.d + task.k :],
            **found,
        )

    @abstractmethod
    def _numbers(self, names: Iterable[str]) -> dict[str, Any]:
        """What the run's parts are now, for those of the names that the task has."""

    def start(self, first: TeachState) -> None:
        """Start an episode."""
        self._first, self._t = first, 0


class ProgramStepper(RecordedStepper):
    """Keeps the run as Python floats and steps it by a compiled program.

    Pickles hold no code: the program is compiled again when a pickle is loaded.
    """

    def __init__(self, task: Task, blocks: list[Block], program: Program) -> None:
        super().__init__(task)
        self.blocks = blocks
        self._compiled(program)
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

    def _numbers(self, names: Iterable[str]) -> dict[str, Any]:
        return {name: getattr(self, f"_{name}") for name in names}

    def start(self, first: TeachState) -> None:
        """Start an episode."""
        super().start(first)
        task, rows = self.task, first.schedule[0]
        self._xs, self._ys = (gather(table, rows).reshape(len(rows), -1).tolist() for table in (task.x, task.y))
        self._softs: list[Any] = [()] * len(rows)
        if task.soft is not None:
            self._softs = gather(task.soft, rows).reshape(len(rows), -1).tolist()
        self._w, self._difference = _flat(first.w), _flat(first.difference)
        self._velocity = () if first.velocity is None else _flat(first.velocity)
        self._distance, self._initial_distance = float(first.distance[0]), float(first.initial_distance[0])

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


class MachineStepper(RecordedStepper):
    """Keeps the run in a block of memory and steps it by machine code, which is made at the first step."""

    def __init__(self, task: Task, step: Record) -> None:
        super().__init__(task)
        self._block = Memory(task, step)

    def _numbers(self, names: Iterable[str]) -> dict[str, Any]:
        return {name: self._block.parts[name] for name in names if name in self._block.parts}

    def start(self, first: TeachState) -> None:
        """Start an episode."""
        super().start(first)
        parts = self._block.parts
        for name in ("w", "difference", "velocity", "distance", "initial_distance"):
            if name in parts:
                parts[name][...] = getattr(first, name)[0]
        parts["rows"][:] = gather(self.task.rows, first.schedule[0]).reshape(len(parts["rows"]), -1)

    def step(self, action: Any) -> StepResult:
        """One step by a valid action."""
        block, t = self._block, self._t
        if self.task.spec.continuous:
            block.parts["value"][0] = decode(self.task, action[None]).reshape(-1)
            action = 0
        block.take(t, action)
        self._t = t + 1
        distance, reward, terminated = block.numbers.tolist()
        observation: Observation = block.observation.copy()
        if not observation.dot(observation) < np.inf:
            bounded(observation)
        x, y = block.x.astype(self._dtype), block.y.astype(self._dtype)
        return observation, reward, terminated != 0.0, self._dtype.type(distance), x, y


def _observed(entries: tuple[float, ...]) -> Observation:
    """An observation as an array of finite numbers."""
    if sum(map(abs, entries)) < _WIDE:
        return np.array(entries, dtype=np.float32)
    with np.errstate(over="ignore"):
        return bounded(np.array(entries, dtype=np.float32))


def _flat(array: Array) -> tuple[float, ...]:
    return tuple(np.ravel(array).tolist())
