"""Scoring an agent while it trains: fixed evaluation seeds, paired with the passive teacher and the greedy oracle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from teach_gym.benchmark.score import Paired, task_score
from teach_gym.benchmark.suite import PASSIVE, REFERENCE, evaluation_seeds
from teach_gym.core.backend import Array
from teach_gym.core.state import Task
from teach_gym.files import write_text
from teach_gym.teachers import Teacher, make_teacher, teach_episodes


class Evaluation:
    """The teaching score of any teacher on one task's evaluation episodes; the two references teach them once.

    The greedy oracle tries the discrete actions, also of a continuous task, where finer actions make a score above 1
    easier.

    Args:
        task: the task.
        episodes: number S of evaluation seeds, those of the benchmark.
    """

    def __init__(self, task: Task, episodes: int) -> None:
        self.task, self.seeds = task, evaluation_seeds(episodes)
        self.references = {name: self.final_distances(make_teacher(name)) for name in (PASSIVE, REFERENCE)}

    def final_distances(self, teacher: Teacher) -> Array:
        """||w - w*|| at the end of each evaluation episode; +inf for a learner that diverged: (S,)."""
        return teach_episodes(self.task, teacher, self.seeds)[1]

    def __call__(self, teacher: Teacher) -> dict[str, float]:
        """The score with its interval (0: passive teacher, 1: greedy oracle) and the mean final distances."""
        ends = {**self.references, "agent": self.final_distances(teacher)}
        score = task_score(Paired(ends[PASSIVE], ends[REFERENCE], ends["agent"]))
        found = {"score": score.value, "score_low": score.low, "score_high": score.high}
        return found | {f"distance_{name}": float(end.mean()) for name, end in ends.items()}


def write_score(path: Path, about: dict[str, Any]) -> None:
    """Write the result of a training to a JSON file, whole or not at all, and print it.

    Args:
        path: the file.
        about: plain JSON values; among them ``task``, the entries of an ``Evaluation``, ``steps`` and ``seconds`` of
            training, the latter in CPU time.
    """
    write_text(path, json.dumps(about, indent=1) + "\n")
    print("{task}: score {score:.3f} [{score_low:.3f}, {score_high:.3f}], {seconds:.0f} s of training".format(**about))
