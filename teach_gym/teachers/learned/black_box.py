"""Black-box teachers from files: they see the learner and the offered examples, and nothing of w*."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from teach_gym.core.spec import TaskSpec
from teach_gym.core.state import Task, TeachState
from teach_gym.teachers.actions import nearest_action
from teach_gym.teachers.base import Choice, Teacher
from teach_gym.teachers.weights import check_source, misfit, read_policy

if TYPE_CHECKING:
    from teach_gym.teachers.learned.values import BlackBoxPolicy

KIND = "black_box"


@dataclass
class BlackBox(Teacher):
    """A teacher trained on hold-out rows, without w* (LAST 4, DHT 4.1 and 5.2); see ``teachers.learned.blast``.

    Args:
        path: a file written by ``TrainedBlackBox.save``.
        give: ``example``: its very example. ``action``: the nearest action, for environments.
        policy: the networks themselves, instead of a file; run b of B is taught by network b // (B / S).
        spec: the task the policy was trained on, where it is given.

    Raises:
        FileNotFoundError: no such file.
        DamagedDataError: a damaged file.
        ValueError: a file of another kind, an unknown ``give``, or neither or both of path and policy.
    """

    path: str | Path | None = None
    give: str = "example"
    policy: BlackBoxPolicy | None = field(default=None, repr=False)
    spec: TaskSpec | None = field(default=None, repr=False)
    name: str = field(default="black_box", init=False)

    def __post_init__(self) -> None:
        check_source("black-box", self.give, self.path, self.policy)
        self.card: dict[str, Any] = {}
        if self.path is not None:
            self.policy, self.spec, self.card = load_black_box(self.path)
        assert self.policy is not None
        self.policy.eval()

    def check(self, task: Task) -> None:
        """Raise a ``ValueError`` that says in what the networks do not fit a task."""
        from teach_gym.teachers.learned.values import black_box_architecture

        assert self.policy is not None
        arch = self.policy.arch
        same = ("space", "alpha", "sees", "activation")
        wanted = black_box_architecture(task, hidden=arch.hidden, **{name: getattr(arch, name) for name in same})
        apart = [n for n in ("medium", "reference", "inputs", "entries") if getattr(arch, n) != getattr(wanted, n)]
        if apart:
            there, here = ({name: getattr(found, name) for name in apart} for found in (arch, wanted))
            raise misfit(self.spec, task, there, here)

    def __call__(self, task: Task, state: TeachState) -> Choice:
        """The teaching examples of B runs, or the nearest actions.

        Raises:
            ValueError: B is not a multiple of the number of networks.
        """
        from teach_gym.teachers.learned.values import black_box_example, continuous_action

        policy = self.policy
        assert policy is not None
        if len(state.w) % policy.n:
            raise ValueError(f"{policy.n} networks teach as many runs each; {len(state.w)} runs cannot be shared out")
        arch, out = policy.arch, policy.outputs(task, state)
        if self.give == "action" and arch.space == "choice" and not task.spec.continuous:
            return np.asarray(out.mean(1).argmax(-1))
        if self.give == "action" and arch.space == "medium" and task.spec.continuous:
            return np.asarray(continuous_action(arch, task, state, out))
        example = black_box_example(arch, task, state, out)
        return example if self.give == "example" else nearest_action(task, state, example)


def load_black_box(path: str | Path) -> tuple[BlackBoxPolicy, TaskSpec, dict[str, Any]]:
    """The policy in a file, the task it was trained on and the file's description; see ``BlackBox``."""
    from teach_gym.teachers.learned.values import BlackBoxArchitecture, BlackBoxPolicy

    return read_policy(path, KIND, lambda about: BlackBoxPolicy(BlackBoxArchitecture(**about), [0]))
