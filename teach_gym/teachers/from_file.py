"""What all teachers that are read from files share: their arguments, their fit to tasks, their actions."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from teach_gym.core.batch import needed
from teach_gym.core.spec import TaskSpec
from teach_gym.core.state import Task, TeachState
from teach_gym.errors import lookup_name, positive, shown
from teach_gym.pretrained import find
from teach_gym.teachers.actions import legal_action
from teach_gym.teachers.base import Choice, Teacher
from teach_gym.teachers.weights import Loaded, damage_named

GIVES = dict.fromkeys(("example", "action"))
"""What a teacher of teaching examples gives: the example as it is, or the action whose example is nearest to it."""
_UNSEEN = (
    "budget",
    "reward",
    "observation",
    "tolerance",
    "dtype",
    "continuous",
    "holdout_rows",
    "probes",
    "zeta",
    "debug",
)

Facts = dict[str, Any]
"""What networks and tasks must agree in, by name."""


@dataclass(eq=False)
class FromFile(Teacher):
    """Base of the teachers that are read from files; ``policy`` holds their networks.

    The policy of learned teachers is a torch module with two methods that this class calls: ``facts(task)``, what the
    networks are for and what the task is, and ``choose(task, state)``, the choices for numpy states.

    Args:
        path: a file, or the name of a pretrained teacher.
        give: ``example``: the teaching example as it is. ``action``: the action whose example is nearest to it.
        policy: the networks, instead of a file; with those of S teachers, run b of B is taught by teacher b // (B / S).
        spec: the task that the policy was trained on, where it is given.
        every: the teacher sees the learner's parameters at every so-many-th step (None: as it was trained).

    Raises:
        FileNotFoundError: no such file.
        DamagedDataError: a damaged file.
        ValueError: a file of another kind, an unknown ``give``, or neither or both of path and policy.
        TypeError: a policy that is none.
    """

    path: str | Path | None = None
    give: str = "example"
    policy: Any = field(default=None, repr=False)
    spec: TaskSpec | None = field(default=None, repr=False)
    every: int | None = None
    card: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _seen: TeachState | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        lookup_name("give", self.give, GIVES)
        if (self.path is None) == (self.policy is None):
            raise ValueError(
                f'teacher {self.name!r} is read from a file: give path="FILE.safetensors" (or a policy, not both)'
            )
        if self.policy is not None and not hasattr(self.policy, "facts") and not callable(self.policy):
            raise TypeError(f"policy must hold the networks of a teacher, got {shown(self.policy)}")
        if self.path is not None:
            self.policy, self.spec, self.card = self.read(find(self.path))
            with damage_named(self.path):
                self.every = self.every or self.card.get("settings", {}).get("every", 1)
                positive("every", self.every, integer=True)
        self.every = self.every or 1

    @abstractmethod
    def read(self, path: Path) -> Loaded:
        """Read the networks, the task they were trained on and the file's description."""

    def facts(self, task: Task) -> tuple[Facts, Facts]:
        """What the networks are for, and what the task is; in a task that they fit both are equal."""
        found: tuple[Facts, Facts] = self.policy.facts(task)
        return found

    def choose(self, task: Task, state: TeachState) -> Choice:
        """The choices of the networks for B runs."""
        found: Choice = self.policy.choose(task, state)
        return found

    def check(self, task: Task) -> None:
        """Raise a ``ValueError`` that says in what a task is not one for these networks."""
        there, here = self.facts(task)
        apart = [name for name in there if there[name] != here[name]]
        if apart:
            known = self.spec is not None
            raise ValueError(
                f"this teacher is for tasks with {_in_words(there, apart)}; the task has {_in_words(here, apart)}"
                + (f". In the task it was trained on, {_changes(self._changed(task))}" if known else "")
            )

    def __call__(self, task: Task, state: TeachState) -> Choice:
        """The choices for B runs, or the nearest actions.

        Raises:
            ValueError: B is not a multiple of the number of teachers, or (``give="action"``) an example that no action
                shows.
            RuntimeError: with ``every`` above one, the runs' first steps were not seen.
        """
        choice = self.choose(task, self._remembered(state))
        return legal_action(task, state, choice) if self.give == "action" else choice

    def differences(self, task: Task) -> dict[str, tuple[Any, Any]]:
        """In what a task differs from the one trained on: field -> (there, here); those that change the learning.

        What the teacher does not see (budget, reward, observation, tolerance, dtype, flavour of the actions) is left
        out. The step size, the pool, the target, the initial learner and the update rule matter.
        """
        return {name: both for name, both in self._changed(task).items() if name not in _UNSEEN}

    def _changed(self, task: Task) -> dict[str, tuple[Any, Any]]:
        """The fields in which a task differs from the one trained on: field -> (there, here)."""
        if self.spec is None:
            return {}
        there, here = (json.loads(spec.to_json()) for spec in (self.spec, task.spec))
        return {name: (there.get(name), here[name]) for name in here if there.get(name) != here[name]}

    def _remembered(self, state: TeachState) -> TeachState:
        """The state with each learner as it was at the last step at which the teacher sees it."""
        if self.every == 1:
            return state
        fresh, seen = state.t % self.every == 0, self._seen
        known = seen is not None and len(seen.t) == len(fresh) and (fresh | (seen.key == state.key)).all()
        if seen is None or not known:
            if not fresh.all():
                raise RuntimeError(f"this teacher remembers what it saw: teach from the first step, every={self.every}")
            seen = state
        w, velocity = np.where(fresh[:, None], state.w, seen.w), None
        if state.velocity is not None:
            velocity = np.where(fresh[:, None], state.velocity, needed(seen.velocity))
        self._seen = state._replace(w=w, velocity=velocity, difference=state.target - w)
        return self._seen


def _changes(changed: Mapping[str, tuple[Any, Any]]) -> str:
    """Fields with their values in the task trained on and in the task at hand."""
    parts = [f"{name} was {shown(there)} (here {shown(here)})" for name, (there, here) in changed.items()]
    return ", ".join(parts) or "all was the same"


def _in_words(facts: Mapping[str, Any], names: list[str]) -> str:
    return ", ".join(f"{name}={facts[name]}" for name in names)
