"""Scores of single teachers: fixed evaluation seeds, paired with the passive teacher and the reference."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from teach_gym.benchmark.measure import PASSIVE, best_reference, measure_of
from teach_gym.benchmark.score import Paired, task_score
from teach_gym.benchmark.suite import cached_task, evaluation_seeds, task_spec
from teach_gym.core.batch import DIVERGED
from teach_gym.core.metrics import METRICS
from teach_gym.core.state import Task
from teach_gym.files import write_text
from teach_gym.messages import show
from teach_gym.teachers import Teacher, lesson, make_teacher
from teach_gym.teachers.base import final_values
from teach_gym.teachers.weights import read_kind

Floats = npt.NDArray[np.float64]


def ends_of(task: Task, teacher: Teacher, seeds: Sequence[int]) -> dict[str, Floats]:
    """What a task is scored by, and what is told beside it, at the end of the episodes of S seeds: (S,) each.

    The first is +inf for a learner that diverged.

    Raises:
        ValueError: the teacher cannot teach the task.
    """
    measure = measure_of(task.spec.observation)
    names = dict.fromkeys((measure.metric, *measure.beside, "distance"))
    found = final_values(task, *lesson(task, teacher, seeds), *(METRICS[name] for name in names))
    ends = {name: np.asarray(values, dtype=np.float64) for name, values in zip(names, found, strict=True)}
    first, distance = ends[measure.metric], ends["distance"]
    ends[measure.metric] = np.where(np.isfinite(first) & (distance <= DIVERGED), first, np.inf)
    return {name: ends[name] for name in (measure.metric, *measure.beside)}


@dataclass(frozen=True, eq=False)
class TeacherScore:
    """A teacher's score on a task: 0 is the passive teacher, 1 the reference (``teach_gym.benchmark.score``).

    Attributes:
        score: teaching score of what the episodes' ends are measured by.
        low: lower end of its 95 % bootstrap interval; NaN for one seed.
        high: upper end of the interval.
        seeds: the evaluation seeds, S of them.
        metric: what the ends are measured by: ``distance`` to the target, or ``holdout_loss`` in black-box tasks.
        reference: the teacher whose score is 1: ``greedy``, or in black-box tasks ``holdout_greedy`` if that is better.
        ends: (S,) the metric at the end of the teacher's episodes, +inf where the learner diverged.
        ends_passive: (S,) the same of the passive teacher.
        ends_reference: (S,) the same of the reference.
        beside: other metrics at the end of the teacher's episodes, (S,) each: in black-box tasks ``test_accuracy`` and
            ``distance``.
    """

    score: float
    low: float
    high: float
    seeds: tuple[int, ...]
    metric: str
    reference: str
    ends: Floats
    ends_passive: Floats
    ends_reference: Floats
    beside: dict[str, Floats]

    @property
    def end(self) -> float:
        """Mean of the metric at the end of the teacher's episodes."""
        return float(self.ends.mean())

    @property
    def end_passive(self) -> float:
        """The same of the passive teacher."""
        return float(self.ends_passive.mean())

    @property
    def end_reference(self) -> float:
        """The same of the reference."""
        return float(self.ends_reference.mean())

    def __repr__(self) -> str:
        beside = "".join(f"{name}={values.mean():.4g}, " for name, values in self.beside.items())
        return (
            f"TeacherScore(score={self.score:.3f}, low={self.low:.3f}, high={self.high:.3f}, "
            f"{self.metric}={self.end:.4g}, passive={self.end_passive:.4g}, "
            f"{self.reference}={self.end_reference:.4g}, {beside}{len(self.seeds)} seeds)"
        )


class Evaluation:
    """Scores teachers on one task's evaluation episodes; the references teach them once.

    The references try the discrete actions even on a continuous task, where finer actions therefore make a score above
    1 easier.

    Args:
        task: the task.
        seeds: number S of evaluation seeds, those of the benchmark, or the seeds themselves.

    Raises:
        TypeError: seeds that are no integers.
        ValueError: no seed, a negative one, one given twice, or too many.
    """

    def __init__(self, task: Task, seeds: int | Iterable[int]) -> None:
        self.task, self.seeds, self.measure = task, evaluation_seeds(seeds), measure_of(task.spec.observation)
        marks = (PASSIVE, *self.measure.references)
        self.references = {name: self.ends(make_teacher(name))[self.measure.metric] for name in marks}

    def ends(self, teacher: Teacher) -> dict[str, Floats]:
        """What the task is scored by, and what is told beside it, at the end of each evaluation episode: (S,) each.

        The first is +inf for a learner that diverged.
        """
        return ends_of(self.task, teacher, self.seeds)

    def score(self, teacher: Teacher) -> TeacherScore:
        """The teacher's score with its interval, and the ends it is taken of.

        Raises:
            ValueError: the teacher cannot teach the task.
        """
        beside = self.ends(teacher)
        ends, passive = beside.pop(self.measure.metric), self.references[PASSIVE]
        name = best_reference(self.references, self.measure)
        reference = self.references[name]
        found = task_score(Paired(passive, reference, ends))
        return TeacherScore(*found, self.seeds, self.measure.metric, name, ends, passive, reference, beside)

    def __call__(self, teacher: Teacher) -> dict[str, float]:
        """The score with its interval and the mean ends, as scalars for a training's records."""
        found = self.score(teacher)
        return {
            "score": found.score,
            "score_low": found.low,
            "score_high": found.high,
            f"{found.metric}_passive": found.end_passive,
            f"{found.metric}_{found.reference}": found.end_reference,
            f"{found.metric}_agent": found.end,
            **{f"{name}_agent": float(values.mean()) for name, values in found.beside.items()},
        }


def task_of(task: str | Task) -> Task:
    """A task itself, or the one that a text names, as in ``LabelMoons:budget=100``; for errors see ``evaluate``."""
    return task if isinstance(task, Task) else cached_task(task_spec(task)[1])


def evaluate(teacher: str | Path | Teacher, task: str | Task, seeds: int | Iterable[int] = 10) -> TeacherScore:
    """Score a teacher on a task: 0 is plain SGD on random examples, 1 the greedy oracle of the task's medium.

    Black-box tasks are scored by the loss on the hold-out rows instead of the distance to the target, and 1 is the
    better of ``greedy`` and ``holdout_greedy``.

    >>> evaluate("greedy", "LabelMoons", 3).score
    1.0

    Args:
        teacher: a teacher; its name, with options if need be, as in ``last:constraint=soft``; or its file, or the name
            of a pretrained one such as ``ppo/LabelMoons-v0``.
        task: a task, or its name, with changes if need be, as in ``LabelMoons:budget=100``.
        seeds: number of evaluation seeds, those of the benchmark, or the seeds themselves.

    Returns:
        The score with its 95 % interval and what it is taken of, paired by seed.

    Raises:
        ValueError: an unknown name, a teacher that cannot teach the task, or bad seeds.
        TypeError: an option the teacher does not have, or a field the task does not have.
        FileNotFoundError: no such file, or the task's data is not there.
    """
    made = task_of(task)
    if isinstance(teacher, Path):
        teacher = make_teacher(read_kind(teacher), path=teacher)
    elif not isinstance(teacher, Teacher):
        teacher = make_teacher(teacher)
    return Evaluation(made, seeds).score(teacher)


def write_score(path: Path, about: dict[str, Any]) -> None:
    """Write the result of a training to a JSON file, whole or not at all, and print it.

    Args:
        path: the file.
        about: plain JSON values; among them ``task``, the entries of an ``Evaluation``, ``steps`` and ``seconds`` of
            training, the latter in CPU time.
    """
    write_text(path, json.dumps(about, indent=1) + "\n")
    show("{task}: score {score:.3f} [{score_low:.3f}, {score_high:.3f}], {seconds:.0f} s of training".format(**about))
