"""The far-sighted oracle's settings for a task, found on tuning episodes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from teach_gym.benchmark.evaluation import task_of
from teach_gym.benchmark.measure import PASSIVE, REFERENCE
from teach_gym.benchmark.progress import Tally, track
from teach_gym.benchmark.score import Paired, teaching_score
from teach_gym.core.farsighted import check_linear
from teach_gym.core.foresight import Settings
from teach_gym.core.state import Task
from teach_gym.errors import positive
from teach_gym.teachers import make_teacher, teach_episodes
from teach_gym.teachers.oracles.farsighted import FarSighted

FIRST_SEED = 2_000_000
"""Tuning seeds start here, far from evaluation seeds."""
COARSE, FINE, FINALISTS = 100, 400, 10
"""Every setting teaches the first tuning episodes, the best of them the next ones, which decide."""
GRID = tuple(
    Settings(damping, *shares)
    for damping, shares in itertools.product(
        (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
        ((0.0, 0.0), (0.25, 0.0), (0.5, 0.0), (1.0, 0.0), (0.0, 1.0), (0.5, 0.5), (1.0, 0.5), (1.0, 1.0)),
    )
)
"""The settings that are tried; the first one is the greedy teacher."""


class Found(NamedTuple):
    """The best settings of a task, their score on the episodes that decided, and all scores on the first ones."""

    settings: Settings
    score: float
    coarse: npt.NDArray[np.float64]


def tune_lqr(
    task: str | Task, *, coarse: int = COARSE, fine: int = FINE, first_seed: int = FIRST_SEED, progress: bool = True
) -> FarSighted:
    """The far-sighted oracle ``lqr`` with the settings that are best for a task.

    The settings of registered tasks are recorded in the package; for any other task ``make_teacher("lqr")`` takes those
    that are best for its medium. This finds its own: 96 settings, among them that of the greedy teacher, teach
    ``coarse`` episodes; the ten best teach ``fine`` further ones, which decide.

    >>> tune_lqr("LabelMoons:budget=20", coarse=10, fine=10, progress=False).name
    'lqr'

    Args:
        task: a task, or its name, with changes if need be, as in ``LabelMoons:budget=100``.
        coarse: number of tuning episodes for all settings.
        fine: number of further ones for the best.
        first_seed: tuning seeds start here. Evaluate the teacher on other seeds.
        progress: show the progress on standard error.

    Raises:
        ValueError: an unknown task, a learner with a hidden layer, for which there is no closed form, or a number out
            of range.
        TypeError: a field the task does not have.
    """
    made = task_of(task)
    found = search(made, coarse=coarse, fine=fine, first_seed=first_seed, progress=progress)
    return FarSighted(**found.settings._asdict())


def search(
    task: Task,
    grid: Sequence[Settings] = GRID,
    *,
    coarse: int = COARSE,
    fine: int = FINE,
    first_seed: int = FIRST_SEED,
    progress: bool = False,
) -> Found:
    """The best of some settings; see ``tune_lqr``, also for errors."""
    check_linear(task, "tuning the teacher 'lqr'")
    for name, value in (("coarse", coarse), ("fine", fine)):
        positive(name, value, integer=True)
    first, second = range(first_seed, first_seed + coarse), range(first_seed + coarse, first_seed + coarse + fine)
    with track(len(grid) + min(FINALISTS, len(grid)), 0, unit="setting", label="lqr", shown=progress) as bar:
        all_scores = scores(task, grid, first, bar)
        finalists = [grid[i] for i in np.argsort(-all_scores, kind="stable")[:FINALISTS]]
        decided = scores(task, finalists, second, bar)
    best = int(decided.argmax())
    return Found(finalists[best], float(decided[best]), all_scores)


def scores(
    task: Task, grid: Sequence[Settings], seeds: Sequence[int], bar: Tally | None = None
) -> npt.NDArray[np.float64]:
    """Teaching score of each setting: 0 is plain SGD, 1 the greedy oracle."""
    passive, greedy = (teach_episodes(task, make_teacher(name), seeds)[1] for name in (PASSIVE, REFERENCE))
    found = []
    for chosen in grid:
        final = teach_episodes(task, FarSighted(**chosen._asdict()), seeds)[1]
        found.append(float(teaching_score(Paired(passive, greedy, final))))
        if bar is not None:
            bar.step(", ".join(f"{name} {value:g}" for name, value in chosen._asdict().items()))
    return np.array(found)
