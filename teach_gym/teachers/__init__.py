"""Built-in teachers, each a callable on (task, state); see ``teach_gym.teachers.base.Teacher``."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

from teach_gym.errors import lookup_name
from teach_gym.teachers.base import Choice, Teacher, example_of, follow, teach_episodes

__all__ = ["TEACHERS", "Choice", "Teacher", "example_of", "follow", "make_teacher", "teach_episodes", "teacher_class"]

TEACHERS: dict[str, str] = {
    "random": "teach_gym.teachers.baselines:Random",
    "passive": "teach_gym.teachers.baselines:Passive",
    "label_smoothing": "teach_gym.teachers.baselines:LabelSmoothing",
    "distillation": "teach_gym.teachers.baselines:Distillation",
    "self_training": "teach_gym.teachers.baselines:SelfTraining",
    "greedy": "teach_gym.teachers.greedy:Greedy",
    "adversarial": "teach_gym.teachers.greedy:Adversarial",
    "anticipating": "teach_gym.teachers.greedy:Anticipating",
    "planning": "teach_gym.teachers.planning:Planning",
    "last": "teach_gym.teachers.last:GreedyLAST",
    "imt": "teach_gym.teachers.selection:IMT",
    "mixed": "teach_gym.teachers.selection:MixedTeaching",
    "dht": "teach_gym.teachers.dht:GreedyDHT",
    "agent": "teach_gym.teachers.agent:Agent",
    "unrolled": "teach_gym.teachers.unrolled:Unrolled",
    "gan": "teach_gym.teachers.generative:GAN",
    "vae": "teach_gym.teachers.generative:VAE",
    "private": "teach_gym.teachers.generative:Private",
    "holdout_greedy": "teach_gym.teachers.holdout_greedy:HoldoutGreedy",
    "cmixup": "teach_gym.teachers.mixing:ContinuousMixup",
    "dmixup": "teach_gym.teachers.mixing:DiscreteMixup",
    "black_box": "teach_gym.teachers.black_box:BlackBox",
}
"""Name -> ``module:class``; the classes are loaded on first use."""


def teacher_class(name: str) -> type[Teacher]:
    """The class of a teacher.

    Raises:
        ValueError: unknown name; the message lists the known ones.
    """
    module, _, attribute = lookup_name("teacher", name, TEACHERS).partition(":")
    found: type[Teacher] = getattr(importlib.import_module(module), attribute)
    return found


def make_teacher(name: str, **options: Any) -> Teacher:
    """Make a teacher by name.

    Args:
        name: a key of ``TEACHERS``.
        **options: the arguments of its class.

    Raises:
        ValueError: unknown name or a value out of range.
        TypeError: an option the teacher does not have.
    """
    found = teacher_class(name)
    allowed = {f.name for f in dataclasses.fields(found) if f.init}  # type: ignore[arg-type]
    if not set(options) <= allowed:
        unknown = ", ".join(sorted(set(options) - allowed))
        raise TypeError(f"teacher {name!r} has no option {unknown}; allowed: {', '.join(sorted(allowed)) or 'none'}")
    return found(**options)
