"""What is run: named suites of tasks, teachers and evaluation seeds, as data.

A task is written ``name`` or ``name:field=value,...`` with fields of ``TaskSpec``; see ``teach_gym.calls``. A teacher
is written as ``teach_gym.teachers.make_teacher`` takes it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teach_gym.benchmark.measure import PASSIVE, REFERENCE, measure_of
from teach_gym.benchmark.rows import Digests, run_id
from teach_gym.calls import format_call, parse_call
from teach_gym.errors import check_known, number, positive, shown
from teach_gym.files import sha256
from teach_gym.pretrained import find
from teach_gym.registration import TASKS, short_name, spec_kwargs
from teach_gym.teachers import Teacher, canonical_teacher, make_teacher, parse_teacher, teacher_class
from teach_gym.teachers.oracles.tuned import tuned_rate
from teach_gym.versions import code_digest

if TYPE_CHECKING:
    from teach_gym.core.state import Task

TUNED = "tuned_sgd"
"""The row added to tasks that are known not to have plain SGD's best learning rate, so that 0 is too easy a mark."""

FIRST_SEED = 1000
"""Evaluation seeds start here, so that tuning on small seeds does not tune on them."""


MOST_SEEDS = 100_000


def evaluation_seeds(seeds: int | Iterable[int]) -> tuple[int, ...]:
    """Evaluation seeds: as they are given, or the first ones of that number.

    Raises:
        TypeError: not an integer, or not integers.
        ValueError: a number that is not positive or above ``MOST_SEEDS``; no seed, a negative one, or one given twice.
    """
    if not isinstance(seeds, Iterable) or getattr(seeds, "ndim", 1) == 0:
        count: Any = seeds
        number("the number of seeds", count, integer=True)
        if count > MOST_SEEDS:
            raise ValueError(f"the number of seeds must be at most {MOST_SEEDS:,}, got {shown(count)}")
        positive("the number of seeds", count, integer=True)
        return tuple(range(FIRST_SEED, FIRST_SEED + int(count)))
    found = tuple(seeds)
    for seed in found:
        number("a seed", seed, integer=True)
    if not found or min(found) < 0 or len(set(found)) < len(found):
        listed = shown(list(found)) if found else "none"
        raise ValueError(f"seeds must be one or more different integers >= 0, got {listed}")
    return tuple(int(seed) for seed in found)


@dataclass(frozen=True)
class Suite:
    """Tasks x teachers x seeds.

    Attributes:
        name: the suite's name.
        tasks: tasks as text.
        teachers: teachers as text; each teaches the tasks it fits.
        seeds: evaluation seeds, the same for every task and teacher.
        extra: further teachers, by the task's medium or name.
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
        digests: digests of the code and the files that decide its result.
    """

    task: str
    spec: str
    teacher: str
    seed: int
    digests: Digests

    @property
    def id(self) -> str:
        """SHA-256 of everything that decides the run's result."""
        return run_id(json.loads(self.spec), self.teacher, self.seed, self.digests)


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
_COMMON = (PASSIVE, "random", REFERENCE, "lqr", "planning")
_NOISY = ("bootstrapping", "small_loss", "holdout_sgd")
_EXTRA = {
    "label": ("label_smoothing", "distillation", "self_training", "last:constraint=soft", "last"),
    "perturb": ("dht",),
    "select": ("imt", "gradmatch", "craig"),
    "mixed": ("imt", "mixed:constraint=soft", "mixed"),
    "LabelMomentum": ("anticipating",),
    "SelectMomentum": ("anticipating",),
    "BlackBoxNoisyDigits": _NOISY,
    "BlackBoxNoisyMNIST": _NOISY,
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


_TASK_CODE = ("teach_gym.core.build", "teach_gym.benchmark.episode")


def run_digests(spec: str, teacher: str) -> Digests:
    """Digests of the code and the files that decide the results of a teacher on a task.

    Args:
        spec: the full task spec as JSON.
        teacher: the teacher as text.

    Raises:
        ValueError: unknown teacher.
        FileNotFoundError: a file is not there.
    """
    name, options = parse_teacher(teacher)
    kind = teacher_class(name)
    path = options.get("path", kind.table)
    return Digests(
        task_code=code_digest(*_TASK_CODE),
        teacher_code=code_digest(kind.__module__),
        teacher_file="" if path is None else _file_digest(find(path)),
        data_file=_data_digest(spec),
    )


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return sha256(file)


def _data_digest(spec: str) -> str:
    from teach_gym.data.pools import content_digest

    fields = json.loads(spec)
    return content_digest(fields["pool"], fields["pool_options"])


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read seeds: ``10`` is the first ten evaluation seeds, ``3,4,7`` (or ``3,``) exactly these.

    Raises:
        ValueError: not of that form, negative, repeated or none.
    """
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise ValueError(f"seeds must be a number such as 10 or a list such as 3,4,7, got {shown(text)}") from error
    return evaluation_seeds(numbers if "," in text or not numbers else numbers[0])


def task_spec(text: str) -> tuple[str, str]:
    """Canonical spelling and full spec (as canonical JSON) of a task written as text.

    Raises:
        ValueError: unknown task, or a field out of range.
        TypeError: unknown field.
    """
    from teach_gym.core.spec import TaskSpec

    name, changes = parse_call(text, "task")
    kwargs = spec_kwargs(name)
    check_known(f"task {shown(text)}", changes, [part.name for part in dataclasses.fields(TaskSpec)])
    return format_call(short_name(name), changes), TaskSpec(**{**kwargs, **changes}).to_json()


def cached_task(spec: str) -> Task:
    """The task of a spec in JSON, from the cache if it was built before; a changed data file is read again.

    It is built on one BLAS thread, so that its target does not depend on their number.
    """
    return _built(spec, _data_digest(spec))


@functools.lru_cache(maxsize=8)
def _built(spec: str, data_file: str) -> Task:
    from threadpoolctl import threadpool_limits

    from teach_gym.core.build import build
    from teach_gym.core.spec import TaskSpec

    with threadpool_limits(limits=1):
        task = build(TaskSpec.from_json(spec))
    if task.pool.digest != data_file:
        raise RuntimeError(f"the data file of pool {task.spec.pool!r} was changed while it was read")
    return task


def plan(task: str, teacher: str, seeds: Sequence[int]) -> list[Run]:
    """The runs of one teacher on one task.

    Args:
        task: the task as text.
        teacher: the teacher as text.
        seeds: the evaluation seeds.

    Raises:
        ValueError: unknown name, or a task with fields drawn at reset.
        TypeError: unknown field.
        FileNotFoundError: a file is not there.
    """
    from teach_gym.core.spec import TaskSpec

    label, spec = task_spec(task)
    if drawn := TaskSpec.from_json(spec).drawn:
        raise ValueError(f"a benchmark's task must be settled; {shown(label)} draws {', '.join(drawn)} at reset")
    teacher = canonical_teacher(teacher)
    digests = run_digests(spec, teacher)
    return [Run(label, spec, teacher, seed, digests) for seed in seeds]


def expand(suite: Suite, *, named: Sequence[str] = ()) -> list[Run]:
    """All runs of a suite, task by task; teachers that do not fit a task are left out for it.

    Args:
        suite: the suite; ``passive`` and ``greedy`` are added where it lacks them, and ``tuned_sgd`` to tasks whose
            learning rate is not plain SGD's best one.
        named: teachers that were asked for by name: each must fit at least one of the tasks.

    Raises:
        ValueError: unknown name, a task with fields drawn at reset, or a named teacher that fits none of the tasks.
        TypeError: a task has no such field, or a teacher no such option.
        FileNotFoundError: a teacher's file is not there.
        DataNotFoundError: the data of a task is missing.
    """
    chosen: dict[str, Teacher] = {}
    refusals: dict[str, str] = {}
    planned: list[Run] = []
    for text in suite.tasks:
        for label in dict.fromkeys(map(canonical_teacher, _offered(suite, text))):
            runs = plan(text, label, suite.seeds)
            if label not in chosen:
                chosen[label] = make_teacher(label)
            try:
                chosen[label].check(cached_task(runs[0].spec))
            except ValueError as error:
                refusals.setdefault(label, f"{text}: {error}")
            else:
                planned += runs
    fitting = {run.teacher for run in planned}
    for label in map(canonical_teacher, named):
        if label not in fitting:
            raise ValueError(f"teacher {shown(label)} fits none of the chosen tasks; {refusals[label]}")
    return list(dict.fromkeys(planned))


def _offered(suite: Suite, task: str) -> tuple[str, ...]:
    """The teachers that a suite has for a task, as text."""
    label, spec = task_spec(task)
    fields = json.loads(spec)
    tuned = () if tuned_rate(fields) in (None, fields["learning_rate"]) else (TUNED,)
    keys = (fields["medium"], parse_call(label, "task")[0])
    measure = measure_of(fields["observation"])
    extra = (name for key in keys for name in suite.extra.get(key, ()))
    return PASSIVE, *tuned, *measure.references, *suite.teachers, *measure.rivals, *extra
