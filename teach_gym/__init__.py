"""teach_gym: iterative machine teaching as a suite of Gymnasium environments.

Importing the package registers the environments ``teach_gym/<Name>-v0`` and loads nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from teach_gym.registration import TASKS, env_id, register_all
from teach_gym.versions import __version__

if TYPE_CHECKING:
    from teach_gym.core.build import make_task
    from teach_gym.core.spec import TaskSpec
    from teach_gym.core.state import Task, TeachState
    from teach_gym.teachers import make_teacher
    from teach_gym.teachers.agent import load_teacher

__all__ = [
    "TASKS",
    "Task",
    "TaskSpec",
    "TeachState",
    "__version__",
    "env_id",
    "load_teacher",
    "make_task",
    "make_teacher",
]

_LAZY = {
    "Task": "teach_gym.core.task",
    "TaskSpec": "teach_gym.core.spec",
    "TeachState": "teach_gym.core.task",
    "load_teacher": "teach_gym.teachers.agent",
    "make_task": "teach_gym.core.build",
    "make_teacher": "teach_gym.teachers",
}


def __getattr__(name: str) -> Any:
    """Load the public names that need numpy code on first use."""
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'teach_gym' has no attribute {name!r}")


register_all()
