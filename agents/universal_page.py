"""Scores of the universal teachers on tasks they never saw, and the page that tells them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from trainings import DISCRETE, words
from universal_tasks import PROBES, save_rows

from teach_gym import pretrained
from teach_gym.benchmark.evaluation import Evaluation
from teach_gym.benchmark.score import Estimate
from teach_gym.core.build import make_task
from teach_gym.core.state import Task
from teach_gym.markdown import markdown_table
from teach_gym.registration import TASKS
from teach_gym.teachers import Teacher, make_teacher, teach_episodes
from teach_gym.teachers.agent import Agent

HERE = Path(__file__).parent
AGENTS_PAGE = HERE.parent / "docs" / "results" / "agents.md"
FIRST_SEED = 4_200_000
"""The evaluation seeds start here."""
OWN_FIRST_SEED = 4_300_000
"""Those on other data start here."""
PACES = (0.125, 0.25, 0.5, 1.0, 2.0)
SMALL = 8
"""Learners with at most this many parameters get four times as many evaluation episodes."""


class Row(NamedTuple):
    """The scores on one task.

    Attributes:
        medium: the task's medium.
        name: the task's name, or that of its data.
        universal: the universal teacher of the medium.
        far: the far-sighted oracle ``lqr``: as tuned for registered tasks, else with the settings of the medium.
        specialist: PPO trained on the task itself, where there is one.
        paired: whether the specialist was scored on the same seeds.
    """

    medium: str
    name: str
    universal: Estimate
    far: Estimate
    specialist: float | None
    paired: bool


def registered(media: Sequence[str]) -> list[str]:
    """The omniscient tasks of these media, in their order, whose learner is linear."""
    found = [name for name in DISCRETE if not TASKS[name]["learner"].startswith("mlp")]
    return [name for medium in media for name in found if TASKS[name]["medium"] == medium]


def own_data(medium: str, folder: Path) -> Iterator[tuple[str, Task]]:
    """Tasks of a medium on five data sets of scikit-learn and on one user's file, with the same plain settings.

    Features are standardised and the learner has a bias. Its step size, in units of one over the mean squared norm of
    the rows, is the one of ``PACES`` at which the greedy oracle gains most over plain SGD.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    pair = np.isin(digits.target, (4, 9))
    data = {
        "iris": load_iris(return_X_y=True),
        "wine": load_wine(return_X_y=True),
        "breast_cancer": load_breast_cancer(return_X_y=True),
        "digits 4 and 9": (digits.data[pair], (digits.target[pair] == 9).astype(int)),
        "diabetes": load_diabetes(return_X_y=True),
        "a user's `.npz`": _measurements(),
    }
    for name, (x, y) in data.items():
        classes = len(np.unique(y)) if y.dtype.kind in "iu" else 0
        if not classes:
            y = (y - y.mean()) / y.std()
        path = folder / f"{re.sub('[^a-z0-9]+', '-', name)}.npz"
        save_rows(path, x, y)
        tasks = [
            make_task(
                medium=medium,
                pool="array",
                pool_options={"path": str(path), "standardize": True},
                learner={0: "least_squares", 2: "logistic"}.get(classes, "softmax"),
                bias=True,
                target_options={"l2": 0.02},
                learning_rate=round(pace / (x.shape[1] + 1), 4),
                init_scale=0.2,
                budget=60,
            )
            for pace in PACES
        ]
        yield name, max(tasks, key=_room)


def _room(task: Task) -> float:
    """What the greedy oracle gains over plain SGD on the seeds of probes, as a share of the initial distance."""
    (start, greedy), (_, passive) = (teach_episodes(task, make_teacher(name), PROBES) for name in ("greedy", "passive"))
    return float(((passive - greedy) / start).mean())


def _measurements() -> tuple[Any, Any]:
    """Four classes in twelve correlated features of different scales: a stand-in for a user's measurements."""
    rng = np.random.default_rng(77)
    y = rng.integers(4, size=400)
    means = rng.normal(size=(4, 12))
    mixing = rng.normal(size=(12, 12)) * np.geomspace(3.0, 0.1, 12)[:, None]
    return (means[y] + rng.normal(size=(400, 12)) @ mixing) * np.geomspace(0.01, 100.0, 12), y


def specialists(page: Path = AGENTS_PAGE) -> dict[str, float]:
    """The scores of PPO trained on each task, from the first table of the agents' page."""
    text = page.read_text(encoding="utf-8").partition("## Discrete actions")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\w+) \| \**(-?[0-9.]+) \[", text, flags=re.MULTILINE)
    return {name: float(score) for name, score in rows}


def score(medium: str, name: str, task: Task, teacher: Teacher, episodes: int, first: int = FIRST_SEED) -> Row:
    """All scores on one task, on the same fresh seeds."""
    n = episodes * (4 if task.size <= SMALL else 1)
    evaluation = Evaluation(task, range(first, first + n))
    far, found = (_estimate(evaluation, one) for one in (make_teacher("lqr"), teacher))
    special = f"ppo/{name}-v0"
    if special in pretrained.index():
        return Row(medium, name, found, far, evaluation.score(Agent(path=special)).score, True)
    return Row(medium, name, found, far, specialists().get(name), False)


def _estimate(evaluation: Evaluation, teacher: Teacher) -> Estimate:
    found = evaluation.score(teacher)
    return Estimate(found.score, found.low, found.high)


def verdict(rows: Sequence[Row]) -> str:
    """Which of the aims the teacher of labels reaches on registered tasks, in sentences."""
    label = [row for row in rows if row.medium == "label"]
    if not label:
        return "No teacher of labels was scored."
    below = [row for row in label if row.universal.value < 1]
    compared = [row for row in label if row.specialist is not None]
    above = [row for row in compared if row.universal.value > float(row.specialist or 0)]
    reached = f"**{len(label) - len(below)} of {len(label)}** label tasks the universal teacher scores at or above 1.0"
    if below:
        parts = ", ".join(f"{row.name} by {1 - row.universal.value:.3f}" for row in below)
        reached += f"; it misses 1.0 on {parts}"
    enough = "reached" if 2 * len(above) >= len(compared) else "missed"
    names = f" ({', '.join(row.name for row in above)})" if above else ""
    return (
        f"On {reached}.\nIt is above the specialist on **{len(above)} of {len(compared)}**{names}; the aim was half of "
        f"them, and is {enough}.\nAll this compares values, also where they differ by less than the intervals."
    )


def table(rows: Sequence[Row], specialist: bool) -> str:
    """The scores as a table."""
    cells = []
    for row in rows:
        line = [row.medium, row.name, words(row.universal), words(row.far)]
        if specialist:
            mark = "" if row.paired else " \\*"
            line.append("" if row.specialist is None else f"{row.specialist:.3f}{mark}")
        cells.append(line)
    head = ["Medium", "Task" if specialist else "Data", "universal", "`lqr`"]
    return markdown_table([*head, "PPO, trained on the task"] if specialist else head, cells)


def registered_rows(teachers: Mapping[str, Teacher], episodes: int) -> list[Row]:
    """The scores of the universal teacher of each medium on the registered tasks."""
    media = {name: TASKS[name]["medium"] for name in registered(list(teachers))}
    return [score(medium, name, make_task(name), teachers[medium], episodes) for name, medium in media.items()]


def own_rows(teachers: Mapping[str, Teacher], episodes: int, folder: Path) -> list[Row]:
    """Their scores on other data, whose files are written to a folder."""
    return [
        score(medium, name, task, teacher, episodes, OWN_FIRST_SEED)
        for medium, teacher in teachers.items()
        for name, task in own_data(medium, folder)
    ]


def page(known: Sequence[Row], own: Sequence[Row], choices: str, episodes: int, tasks: int, held_out: int) -> str:
    """The page in Markdown.

    Args:
        known: scores on registered tasks.
        own: scores on other data.
        choices: a table of what was chosen on held-out training tasks.
        episodes: evaluation episodes of each task.
        tasks: number of training tasks of each medium.
        held_out: number of held-out training tasks of each medium.
    """
    fill = {
        "episodes": f"{episodes:,}",
        "first": f"{FIRST_SEED:,}",
        "own_first": f"{OWN_FIRST_SEED:,}",
        "paces": ", ".join(f"{pace:g}" for pace in PACES),
        "tasks": tasks,
        "held_out": held_out,
        "verdict": verdict(known),
        "others": f"{sum(row.universal.value >= 1 for row in known)} of {len(known)}",
        "own": f"{sum(row.universal.value >= 1 for row in own)} of {len(own)}",
        "own_below": ", ".join(f"{row.medium} on {row.name}" for row in own if not row.universal.value >= 1) or "none",
        "choices": choices,
        "known_table": table(known, specialist=True),
        "own_table": table(own, specialist=False),
    }
    return (HERE / "universal.md").read_text(encoding="utf-8").format(**fill)
