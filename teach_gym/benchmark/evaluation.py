"""Scores of single teachers: fixed evaluation seeds, paired with the passive teacher and the greedy oracle."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from teach_gym.benchmark.score import Paired, task_score
from teach_gym.benchmark.suite import PASSIVE, REFERENCE, cached_task, evaluation_seeds, task_spec
from teach_gym.core.state import Task
from teach_gym.files import write_text
from teach_gym.teachers import Teacher, make_teacher, teach_episodes
from teach_gym.teachers.weights import read_kind

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TeacherScore:
    """A teacher's score on a task: 0 is the passive teacher, 1 the greedy oracle (``teach_gym.benchmark.score``).

    Attributes:
        score: teaching score of the final distances.
        low: lower end of its 95 % bootstrap interval; NaN for one seed.
        high: upper end of the interval.
        seeds: the evaluation seeds, S of them.
        distances: (S,) distances to the target at the end of the teacher's episodes, +inf where the learner diverged.
        distances_passive: (S,) the same of the passive teacher.
        distances_greedy: (S,) the same of the greedy oracle.
    """

    score: float
    low: float
    high: float
    seeds: tuple[int, ...]
    distances: Floats
    distances_passive: Floats
    distances_greedy: Floats

    @property
    def distance(self) -> float:
        """Mean distance to the target at the end of the teacher's episodes."""
        return float(self.distances.mean())

    @property
    def distance_passive(self) -> float:
        """The same of the passive teacher."""
        return float(self.distances_passive.mean())

    @property
    def distance_greedy(self) -> float:
        """The same of the greedy oracle."""
        return float(self.distances_greedy.mean())

    def __repr__(self) -> str:
        return (
            f"TeacherScore(score={self.score:.3f}, low={self.low:.3f}, high={self.high:.3f}, "
            f"distance={self.distance:.4g}, distance_passive={self.distance_passive:.4g}, "
            f"distance_greedy={self.distance_greedy:.4g}, {len(self.seeds)} seeds)"
        )


class Evaluation:
    """Scores teachers on one task's evaluation episodes; the two references teach them once.

    The greedy oracle tries the discrete actions even on a continuous task, where finer actions therefore make a score
    above 1 easier.

    Args:
        task: the task.
        seeds: number S of evaluation seeds, those of the benchmark, or the seeds themselves.

    Raises:
        TypeError: seeds that are no integers.
        ValueError: no seed, a negative one, one given twice, or too many.
    """

    def __init__(self, task: Task, seeds: int | Iterable[int]) -> None:
        self.task, self.seeds = task, evaluation_seeds(seeds)
        self.references = {name: self.final_distances(make_teacher(name)) for name in (PASSIVE, REFERENCE)}

    def final_distances(self, teacher: Teacher) -> Floats:
        """||w - w*|| at the end of each evaluation episode; +inf for a learner that diverged: (S,)."""
        return np.asarray(teach_episodes(self.task, teacher, self.seeds)[1], dtype=np.float64)

    def score(self, teacher: Teacher) -> TeacherScore:
        """The teacher's score with its interval, and the distances it is taken of.

        Raises:
            ValueError: the teacher cannot teach the task.
        """
        ends = self.final_distances(teacher)
        passive, greedy = self.references[PASSIVE], self.references[REFERENCE]
        found = task_score(Paired(passive, greedy, ends))
        return TeacherScore(*found, self.seeds, ends, passive, greedy)

    def __call__(self, teacher: Teacher) -> dict[str, float]:
        """The score with its interval and the mean final distances, as scalars for a training's records."""
        found = self.score(teacher)
        return {
            "score": found.score,
            "score_low": found.low,
            "score_high": found.high,
            "distance_passive": found.distance_passive,
            "distance_greedy": found.distance_greedy,
            "distance_agent": found.distance,
        }


def evaluate(teacher: str | Path | Teacher, task: str | Task, seeds: int | Iterable[int] = 10) -> TeacherScore:
    """Score a teacher on a task: 0 is plain SGD on random examples, 1 the greedy oracle of the task's medium.

    >>> evaluate("greedy", "LabelMoons", 3).score
    1.0

    Args:
        teacher: a teacher; its name, with options if need be, as in ``last:constraint=soft``; or its file, or the name
            of a pretrained one such as ``ppo/LabelMoons-v0``.
        task: a task, or its name, with changes if need be, as in ``LabelMoons:budget=100``.
        seeds: number of evaluation seeds, those of the benchmark, or the seeds themselves.

    Returns:
        The score with its 95 % interval and the final distances, paired by seed.

    Raises:
        ValueError: an unknown name, a teacher that cannot teach the task, or bad seeds.
        TypeError: an option the teacher does not have, or a field the task does not have.
        FileNotFoundError: no such file, or the task's data is not there.
    """
    made = cached_task(task_spec(task)[1]) if isinstance(task, str) else task
    if isinstance(teacher, Path):
        teacher = make_teacher(read_kind(teacher), path=teacher)
    elif isinstance(teacher, str):
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
    print("{task}: score {score:.3f} [{score_low:.3f}, {score_high:.3f}], {seconds:.0f} s of training".format(**about))
