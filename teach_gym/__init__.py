"""teach_gym: iterative machine teaching as a suite of Gymnasium environments.

Importing the package registers the environments ``teach_gym/<Name>-v0`` and loads nothing heavy; the names below are
loaded on first use. ``teach_gym.sb3`` holds what connects the environments to Stable-Baselines3.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from teach_gym.errors import closest
from teach_gym.registration import TASKS, env_id, register_all
from teach_gym.versions import __version__

if TYPE_CHECKING:
    from teach_gym.benchmark.evaluation import evaluate
    from teach_gym.benchmark.farsighted import tune_lqr
    from teach_gym.core.build import make_task
    from teach_gym.core.randomness import Streams
    from teach_gym.core.spec import TaskSpec
    from teach_gym.core.state import Example, Task, TeachState, Transition
    from teach_gym.core.task import reset, step
    from teach_gym.teachers import TEACHERS, Teacher, follow, lesson, make_teacher
    from teach_gym.teachers.agent import load_teacher

__all__ = [
    "TASKS",
    "TEACHERS",
    "Example",
    "Streams",
    "Task",
    "TaskSpec",
    "TeachState",
    "Teacher",
    "Transition",
    "__version__",
    "env_id",
    "evaluate",
    "follow",
    "lesson",
    "load_teacher",
    "make_task",
    "make_teacher",
    "reset",
    "step",
    "tune_lqr",
]

_LAZY = {
    "TEACHERS": "teach_gym.teachers",
    "Example": "teach_gym.core.state",
    "Streams": "teach_gym.core.randomness",
    "Task": "teach_gym.core.state",
    "TaskSpec": "teach_gym.core.spec",
    "TeachState": "teach_gym.core.state",
    "Teacher": "teach_gym.teachers",
    "Transition": "teach_gym.core.state",
    "evaluate": "teach_gym.benchmark.evaluation",
    "follow": "teach_gym.teachers",
    "lesson": "teach_gym.teachers",
    "load_teacher": "teach_gym.teachers.agent",
    "make_task": "teach_gym.core.build",
    "make_teacher": "teach_gym.teachers",
    "reset": "teach_gym.core.task",
    "step": "teach_gym.core.task",
    "tune_lqr": "teach_gym.benchmark.farsighted",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use."""
    if name not in _LAZY:
        raise AttributeError(f"module 'teach_gym' has no attribute {name!r}{closest(name, _LAZY)}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register_all()
