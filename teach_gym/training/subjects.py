"""What agents are trained on: a task with a teaching state, or the training of a network.

Trainers only need a task's vector environment. How a policy is scored and saved depends on the kind of task.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from teach_gym.benchmark.evaluation import Evaluation
from teach_gym.benchmark.suite import cached_task, task_spec
from teach_gym.calls import format_call, parse_call
from teach_gym.core.spec import TaskSpec
from teach_gym.errors import quoted
from teach_gym.registration import NEURAL_TASKS, short_name, task_kwargs
from teach_gym.teachers.agent import Agent, save_agent
from teach_gym.teachers.perceptron import Network

if TYPE_CHECKING:
    from teach_gym.neural.mixup_spec import MixupSpec

Score = Callable[[Network], dict[str, float]]
"""Scores a policy: ``score`` with its interval ``score_low`` and ``score_high``, and what it is taken of."""


class Subject(Protocol):
    """A task that agents are trained on, in its canonical spelling, with its arguments."""

    @property
    def name(self) -> str:
        """The task as text."""

    @property
    def spec(self) -> Any:
        """The task's fields; ``continuous`` is one of them."""

    @property
    def recorded(self) -> TaskSpec | None:
        """The spec that a ``RunLog`` keeps, if it is a ``TaskSpec``."""

    @property
    def settings(self) -> dict[str, Any]:
        """What a run's settings must tell of the task besides."""

    @property
    def episodes(self) -> int:
        """The usual number of evaluation seeds."""

    def evaluation(self, episodes: int, task: Any = None) -> Score:
        """What scores policies on so many evaluation episodes.

        Args:
            episodes: their number.
            task: the task as an environment built it, if there is one.
        """

    def save(self, path: str | Path, network: Network, **card: Any) -> None:
        """Write a policy with a description to a file, whole or not at all."""

    def usage(self, path: str | Path) -> str:
        """What to do with the file of a policy, in one line."""


class StateTask(NamedTuple):
    """A task with a teaching state; see ``Subject``."""

    name: str
    spec: TaskSpec

    @property
    def recorded(self) -> TaskSpec | None:
        """The spec."""
        return self.spec

    @property
    def settings(self) -> dict[str, Any]:
        """Nothing besides the spec."""
        return {}

    @property
    def episodes(self) -> int:
        """Evaluation episodes take little time here."""
        return 200

    def evaluation(self, episodes: int, task: Any = None) -> Score:
        """The teaching score of the task."""
        evaluation = Evaluation(cached_task(self.spec.to_json()) if task is None else task, episodes)
        return lambda network: evaluation(Agent(policy=network, spec=self.spec))

    def save(self, path: str | Path, network: Network, **card: Any) -> None:
        """Write an ``Agent``."""
        save_agent(path, network, self.spec, **card)

    def usage(self, path: str | Path) -> str:
        """How to add it to a report."""
        return f"teach-gym bench --tasks {self.name.partition(':')[0]} --teachers agent:{path}"


class NetworkTask(NamedTuple):
    """A training of a network; see ``Subject``."""

    name: str
    spec: MixupSpec

    @property
    def recorded(self) -> TaskSpec | None:
        """None: it is no ``TaskSpec``."""
        return None

    @property
    def settings(self) -> dict[str, Any]:
        """The spec."""
        return {"training": dataclasses.asdict(self.spec)}

    @property
    def episodes(self) -> int:
        """Each evaluation episode trains a network."""
        return 10

    def evaluation(self, episodes: int, task: Any = None) -> Score:
        """The score by the return, between plain training and random mixup."""
        from teach_gym.benchmark.neural import NeuralEvaluation
        from teach_gym.teachers.mixup_agent import MixupAgent

        evaluation = NeuralEvaluation(self.spec, episodes)
        return lambda network: evaluation(MixupAgent(network, self.spec))

    def save(self, path: str | Path, network: Network, **card: Any) -> None:
        """Write a ``MixupAgent``."""
        from teach_gym.teachers.mixup_agent import MixupAgent

        MixupAgent(network, self.spec).save(path, **card)

    def usage(self, path: str | Path) -> str:
        """How to read it."""
        return f"teach_gym.teachers.mixup_agent.MixupAgent.read({quoted(path)})(observation)"


def subject_of(text: str) -> Subject:
    """The task written as text, such as ``LabelMoons:budget=40``.

    Raises:
        ValueError: unknown task, or a value out of range.
        TypeError: unknown field, or a value of the wrong type.
        ImportError: the task needs torch, which is not installed.
    """
    name, changes = parse_call(text, "task")
    short = short_name(name)
    if short not in NEURAL_TASKS:
        canonical, spec = task_spec(text)
        return StateTask(canonical, TaskSpec.from_json(spec))
    from teach_gym.neural.mixup_spec import MixupSpec

    return NetworkTask(format_call(short, changes), MixupSpec(**{**task_kwargs(short), **changes}))
