"""Which cost-to-go a task's far-sighted teacher, observation and reward go by.

How much of the gain of free labels can be counted on depends on the task. The settings are those recorded for it, found
on tuning episodes (for unknown tasks those of its medium), so a task stays plain JSON.
"""

from __future__ import annotations

import functools
import hashlib
import json
from importlib import resources
from typing import Any, NamedTuple

from teach_gym.core.farsighted import Farsight, check_linear, farsight
from teach_gym.core.spec import TaskSpec
from teach_gym.core.state import Task

RECORD = "farsighted.json"
"""The settings found on tuning episodes, beside this module; written by ``python -m tools.farsighted tune``."""
FARSIGHTED = {"observation": ("farsighted", "universal"), "reward": ("farsighted_progress",)}
"""The values of a task's fields that need a cost-to-go."""
DECIDING = (
    *("learner", "pool", "medium", "target", "budget", "learning_rate", "momentum", "nesterov", "weight_decay"),
    *("batch_size", "bias", "init", "init_scale"),
    *("learner_options", "pool_options", "medium_options", "target_options"),
)
"""The fields of a task that the settings hang on."""


class Settings(NamedTuple):
    """On what a far-sighted teacher counts; see ``teach_gym.core.farsighted.farsight``."""

    damping: float
    drift: float
    curvature: float


def settings(spec: TaskSpec) -> Settings:
    """The settings recorded for a task, or for its medium where there are none."""
    return recorded(spec) or Settings(**_record()["media"][spec.medium]["settings"])


def recorded(spec: TaskSpec) -> Settings | None:
    """The settings recorded for a task, whatever it shows and rewards; None for tasks that were not tuned."""
    key = digest(spec)
    found = (entry["settings"] for entry in _record()["tasks"].values() if entry["digest"] == key)
    return next((Settings(**values) for values in found), None)


def digest(spec: TaskSpec) -> str:
    """What the record knows a task by: a hash of the fields that decide its dynamics."""
    text = json.dumps({name: getattr(spec, name) for name in DECIDING}, sort_keys=True, default=dict)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=1)
def _record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(resources.files(__package__).joinpath(RECORD).read_text(encoding="utf-8"))
    return found


@functools.lru_cache(maxsize=32)
def foresight(task: Task) -> Farsight:
    """The cost-to-go that the observation ``farsighted`` and the reward ``farsighted_progress`` go by.

    Raises:
        ValueError: a learner with a hidden layer, which has no cost-to-go in closed form.
    """
    check_linear(task, "far-sighted teaching")
    return farsight(task, *settings(task.spec))
