"""What is run: named suites of tasks, teachers and evaluation seeds, as data.

A task is written ``name`` or ``name:field=value,...`` with fields of ``TaskSpec``, a teacher ``name`` or
``name:option=value,...``; values are Python literals or bare words, as in ``last:constraint=soft,radius=1.0``.
A teacher that is read from a file may be written ``name:PATH``, as in ``agent:runs/ppo/agent.safetensors``.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

from teach_gym.pretrained import find
from teach_gym.registration import TASKS, short_name, task_kwargs
from teach_gym.versions import __version__

if TYPE_CHECKING:
    from teach_gym.core.state import Task

PASSIVE = "passive"
REFERENCE = "greedy"
"""The teachers that mark 0 and 1 of the teaching score; every task of a suite has both."""

FIRST_SEED = 1000
"""Evaluation seeds start here, so that tuning on small seeds does not tune on them."""

_WORD = re.compile(r"[A-Za-z_][\w-]*")

FORMAT = 1
"""Version of the result rows; part of a run's id."""


def evaluation_seeds(n: int) -> tuple[int, ...]:
    """The first n evaluation seeds."""
    return tuple(range(FIRST_SEED, FIRST_SEED + n))


@dataclass(frozen=True)
class Suite:
    """Tasks x teachers x seeds.

    Attributes:
        name: the suite's name.
        tasks: tasks as text.
        teachers: teachers as text, for every task that they fit.
        seeds: evaluation seeds, the same for every task and teacher.
        extra: more teachers, by the task's medium or its name.
    """

    name: str
    tasks: tuple[str, ...]
    teachers: tuple[str, ...]
    seeds: tuple[int, ...]
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One run: a task, a teacher and a seed.

    Attributes:
        task: the task as text, in its canonical spelling.
        spec: the full task spec as canonical JSON.
        teacher: the teacher as text, in its canonical spelling.
        seed: the evaluation seed.
        digest: SHA-256 of the file that the teacher is read from, empty for other teachers.
    """

    task: str
    spec: str
    teacher: str
    seed: int
    digest: str = ""

    @property
    def id(self) -> str:
        """SHA-256 of what decides the run's result: spec, teacher with its file, seed, version of the package."""
        key = [FORMAT, __version__, json.loads(self.spec), self.teacher, self.seed, *filter(None, [self.digest])]
        return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()


_EMBEDDED = (
    "LabelRegression",
    "LabelMoons",
    "LabelGaussian",
    "LabelDigits",
    "LabelDigits10",
    "MixupMoons",
    "PerturbMoons",
    "SelectMoons",
    "SelectDigits",
    "MixedMoons",
    "LabelMomentum",
    "SelectMomentum",
)
_COMMON = (PASSIVE, "random", REFERENCE, "planning")
_EXTRA = {
    "label": ("label_smoothing", "distillation", "self_training", "last:constraint=soft", "last"),
    "perturb": ("dht",),
    "select": ("imt", "gradmatch", "craig"),
    "mixed": ("imt", "mixed:constraint=soft", "mixed"),
    "LabelMomentum": ("anticipating",),
    "SelectMomentum": ("anticipating",),
}

SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite("default", _EMBEDDED, _COMMON, evaluation_seeds(10), _EXTRA),
        Suite("full", tuple(TASKS), _COMMON, evaluation_seeds(20), _EXTRA),
        Suite("smoke", ("LabelMoons", "SelectMoons"), _COMMON[:3], evaluation_seeds(3)),
    )
}
"""The named suites: ``default`` needs no data on disk, ``full`` has every registered task."""


def parse_call(text: str, kind: str) -> tuple[str, dict[str, Any]]:
    """Split ``name:option=value,...``.

    Args:
        text: the text.
        kind: what it names, for messages.

    Raises:
        ValueError: not of that form.
    """
    name, colon, options = text.strip().partition(":")
    if not colon:
        return name, {}
    form = f"{kind} {text!r} must be written name or name:option=value,option=value"
    source = f"f({options})"
    try:
        call = ast.parse(source, mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"{form}; cannot read {options!r}") from error
    if not isinstance(call, ast.Call) or call.args or not call.keywords or any(k.arg is None for k in call.keywords):
        raise ValueError(f"{form}; cannot read {options!r}")
    return name, {str(k.arg): _literal(k.value, source, form) for k in call.keywords}


def _literal(node: ast.expr, source: str, form: str) -> Any:
    """The value of an option: a Python literal, or a bare word."""
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        word = ast.get_source_segment(source, node) or ""
        if _WORD.fullmatch(word):
            return word
        raise ValueError(f"{form}; {word!r} is neither a Python literal nor a word") from error


def format_call(name: str, options: dict[str, Any]) -> str:
    """The canonical spelling of a name with options, the inverse of ``parse_call``."""
    if not options:
        return name
    return f"{name}:" + ",".join(f"{key}={_spelling(options[key])}" for key in sorted(options))


def _spelling(value: Any) -> str:
    return value if isinstance(value, str) and _WORD.fullmatch(value) and not iskeyword(value) else repr(value)


def parse_teacher(text: str) -> tuple[str, dict[str, Any]]:
    """Split a teacher written as text into name and options; ``name:PATH`` is ``name:path="PATH"``.

    Raises:
        ValueError: not of that form.
    """
    name, _, rest = text.strip().partition(":")
    return (name, {"path": rest}) if rest and "=" not in rest else parse_call(text, "teacher")


def canonical_teacher(text: str) -> str:
    """The canonical spelling of a teacher written as text."""
    name, options = parse_teacher(text)
    path = options.get("path")
    if set(options) == {"path"} and isinstance(path, str) and "=" not in path:
        return f"{name}:{path}"
    return format_call(name, options)


def file_digest(options: Mapping[str, Any]) -> str:
    """SHA-256 of the file that a teacher with these options is read from; empty if there is none.

    Raises:
        FileNotFoundError: no such file.
    """
    path = options.get("path")
    return "" if path is None else hashlib.sha256(find(path).read_bytes()).hexdigest()


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read seeds: ``10`` is the first ten evaluation seeds, ``3,4,7`` (or ``3,``) these very seeds.

    Raises:
        ValueError: not of that form, negative, repeated or none.
    """
    try:
        numbers = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ValueError(f"seeds must be a number such as 10 or a list such as 3,4,7, got {text!r}") from error
    seeds = numbers if "," in text else evaluation_seeds(numbers[0]) if numbers else ()
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be one or more different integers >= 0, got {text!r}")
    return seeds


def task_spec(text: str) -> tuple[str, str]:
    """Canonical spelling and full spec (as canonical JSON) of a task written as text.

    Raises:
        ValueError: unknown task, or a field out of range.
        TypeError: unknown field.
    """
    from teach_gym.core.spec import TaskSpec

    name, changes = parse_call(text, "task")
    kwargs = task_kwargs(name)
    fields = {part.name for part in dataclasses.fields(TaskSpec)}
    if not set(changes) <= fields:
        raise TypeError(f"task {text!r} has no field {sorted(set(changes) - fields)}; allowed: {sorted(fields)}")
    return format_call(short_name(name), changes), TaskSpec(**{**kwargs, **changes}).to_json()


@functools.lru_cache(maxsize=8)
def cached_task(spec: str) -> Task:
    """The task of a spec in JSON, on one BLAS thread so that its target does not depend on their number."""
    from threadpoolctl import threadpool_limits

    from teach_gym.core.build import build
    from teach_gym.core.spec import TaskSpec

    with threadpool_limits(limits=1):
        return build(TaskSpec.from_json(spec))


def expand(suite: Suite, *, named: Sequence[str] = ()) -> list[Run]:
    """All runs of a suite, task by task; teachers that do not fit a task are left out for it.

    Args:
        suite: the suite; ``passive`` and ``greedy`` are added where it lacks them.
        named: teachers that were asked for by name: each must fit at least one of the tasks.

    Raises:
        ValueError: unknown name, a task with fields drawn at reset, or a named teacher that fits none of the tasks.
        FileNotFoundError: a teacher's file is not there.
        DataNotFoundError: the data of a task is missing.
    """
    from teach_gym.core.spec import TaskSpec
    from teach_gym.teachers import Teacher, make_teacher

    chosen: dict[str, Teacher] = {}
    digests: dict[str, str] = {}
    refusals: dict[str, str] = {}
    runs: list[Run] = []
    for text in suite.tasks:
        task, spec = task_spec(text)
        drawn = TaskSpec.from_json(spec).drawn
        if drawn:
            raise ValueError(f"a benchmark's task must be settled; {task!r} draws {', '.join(drawn)} at reset")
        name, medium = parse_call(task, "task")[0], json.loads(spec)["medium"]
        offered = (PASSIVE, REFERENCE, *suite.teachers, *suite.extra.get(medium, ()), *suite.extra.get(name, ()))
        for label in dict.fromkeys(map(canonical_teacher, offered)):
            if label not in chosen:
                teacher_name, options = parse_teacher(label)
                chosen[label] = make_teacher(teacher_name, **options)
                digests[label] = file_digest(options)
            try:
                chosen[label].check(cached_task(spec))
            except ValueError as error:
                refusals.setdefault(label, f"{task}: {error}")
                continue
            runs += [Run(task, spec, label, seed, digests[label]) for seed in suite.seeds]
    fitting = {run.teacher for run in runs}
    for label in map(canonical_teacher, named):
        if label not in fitting:
            raise ValueError(f"teacher {label!r} fits none of the chosen tasks; {refusals[label]}")
    return list(dict.fromkeys(runs))
