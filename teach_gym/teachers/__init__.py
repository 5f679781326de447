"""Built-in teachers, each a callable on (task, state); see ``teach_gym.teachers.base.Teacher``."""

from __future__ import annotations

import importlib
from typing import Any

from teach_gym.arguments import checked_values
from teach_gym.calls import format_call, parse_call
from teach_gym.errors import lookup_name, shown
from teach_gym.pretrained import SUFFIX, find, index
from teach_gym.teachers.base import (
    Choice,
    Clock,
    Teacher,
    example_of,
    follow,
    lesson,
    teach_episodes,
    transitions,
)
from teach_gym.teachers.weights import read_kind

__all__ = [
    "TEACHERS",
    "Choice",
    "Clock",
    "Teacher",
    "canonical_teacher",
    "example_of",
    "follow",
    "lesson",
    "make_teacher",
    "parse_teacher",
    "teach_episodes",
    "teacher_class",
    "transitions",
]

TEACHERS: dict[str, str] = {
    "random": "teach_gym.teachers.oracles.baselines:Random",
    "passive": "teach_gym.teachers.oracles.baselines:Passive",
    "tuned_sgd": "teach_gym.teachers.oracles.tuned:TunedSGD",
    "label_smoothing": "teach_gym.teachers.oracles.baselines:LabelSmoothing",
    "distillation": "teach_gym.teachers.oracles.baselines:Distillation",
    "self_training": "teach_gym.teachers.oracles.baselines:SelfTraining",
    "bootstrapping": "teach_gym.teachers.oracles.noisy_labels:Bootstrapping",
    "small_loss": "teach_gym.teachers.oracles.noisy_labels:SmallLoss",
    "holdout_sgd": "teach_gym.teachers.oracles.noisy_labels:HoldoutSGD",
    "greedy": "teach_gym.teachers.oracles.greedy:Greedy",
    "adversarial": "teach_gym.teachers.oracles.greedy:Adversarial",
    "anticipating": "teach_gym.teachers.oracles.greedy:Anticipating",
    "lqr": "teach_gym.teachers.oracles.farsighted:FarSighted",
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
    "holdout_rehearsal": "teach_gym.teachers.oracles.holdout_greedy:HoldoutRehearsal",
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


def parse_teacher(text: str) -> tuple[str, dict[str, Any]]:
    """Split a teacher written as text into its name and its options.

    Args:
        text: ``name``, ``name:option=value,...`` (see ``teach_gym.calls``), ``name:PATH`` for a teacher read from a
            file, or that file alone: its path or the name of a pretrained teacher.

    Raises:
        TypeError: no text.
        ValueError: not of that form.
        FileNotFoundError: no such file; the message lists the pretrained teachers.
        DamagedDataError: a file that holds no teacher.
    """
    if not isinstance(text, str):
        raise TypeError(f"a teacher must be a text, such as 'last:constraint=soft', got {shown(text)}")
    name, _, rest = text.strip().partition(":")
    if name not in TEACHERS and _is_file(text):
        return read_kind(find(text)), {"path": text}
    return (name, {"path": rest}) if rest and "=" not in rest else parse_call(text, "teacher")


def _is_file(text: str) -> bool:
    """Whether a text stands for a teacher's file, be it there or not."""
    return text in index() or text.endswith(SUFFIX) or "/" in text.partition(":")[0]


def canonical_teacher(text: str) -> str:
    """The canonical spelling of a teacher written as text."""
    name, options = parse_teacher(text)
    path = options.get("path")
    if set(options) == {"path"} and isinstance(path, str) and "=" not in path:
        return f"{name}:{path}"
    return format_call(name, options)


def make_teacher(text: str, **options: Any) -> Teacher:
    """Make a teacher by name.

    Args:
        text: a key of ``TEACHERS``, with options if need be, as in ``last:constraint=soft``; or a teacher's file or
            the name of a pretrained teacher. See ``parse_teacher``.
        **options: further arguments of its class.

    Raises:
        ValueError: unknown name, a value out of range, or a text that cannot be read.
        TypeError: an option the teacher does not have, or one given both ways.
    """
    name, written = parse_teacher(text)
    found = teacher_class(name)
    both = sorted(set(written) & set(options))
    if both:
        raise TypeError(f"teacher {shown(text)} is given {', '.join(both)} twice")
    given = {**written, **options}
    return found(**checked_values(f"teacher {shown(name)}", found, given))
