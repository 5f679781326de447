"""Built-in teachers, each a callable on (task, state); see ``teach_gym.teachers.base.Teacher``."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

from teach_gym.errors import lookup_name
from teach_gym.teachers.base import Choice, Teacher, example_of, follow, lesson, teach_episodes

__all__ = [
    "TEACHERS",
    "Choice",
    "Teacher",
    "example_of",
    "follow",
    "lesson",
    "make_teacher",
    "teach_episodes",
    "teacher_class",
]

TEACHERS: dict[str, str] = {
    "random": "teach_gym.teachers.oracles.baselines:Random",
    "passive": "teach_gym.teachers.oracles.baselines:Passive",
    "label_smoothing": "teach_gym.teachers.oracles.baselines:LabelSmoothing",
    "distillation": "teach_gym.teachers.oracles.baselines:Distillation",
    "self_training": "teach_gym.teachers.oracles.baselines:SelfTraining",
    "greedy": "teach_gym.teachers.oracles.greedy:Greedy",
    "adversarial": "teach_gym.teachers.oracles.greedy:Adversarial",
    "anticipating": "teach_gym.teachers.oracles.greedy:Anticipating",
    "planning": "teach_gym.teachers.oracles.planning:Planning",
    "last": "teach_gym.teachers.oracles.last:GreedyLAST",
    "imt": "teach_gym.teachers.oracles.selection:IMT",
    "mixed": "teach_gym.teachers.oracles.selection:MixedTeaching",
    "gradmatch": "teach_gym.teachers.oracles.coresets:GradMatch",
    "craig": "teach_gym.teachers.oracles.coresets:CRAIG",
    "dht": "teach_gym.teachers.oracles.dht:GreedyDHT",
    "agent": "teach_gym.teachers.agent:Agent",
    "unrolled": "teach_gym.teachers.learned.unrolled:Unrolled",
    "gan": "teach_gym.teachers.learned.generative:GAN",
    "vae": "teach_gym.teachers.learned.generative:VAE",
    "private": "teach_gym.teachers.learned.generative:Private",
    "holdout_greedy": "teach_gym.teachers.oracles.holdout_greedy:HoldoutGreedy",
    "cmixup": "teach_gym.teachers.oracles.mixing:ContinuousMixup",
    "dmixup": "teach_gym.teachers.oracles.mixing:DiscreteMixup",
    "black_box": "teach_gym.teachers.learned.black_box:BlackBox",
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
