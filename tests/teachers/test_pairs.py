"""Every registered task with every teacher that needs no file: a run's choice does not depend on its neighbours."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from conftest import names, streams
from teacher_cases import MADE, OPTIONS

from teach_gym.core.batch import put, take
from teach_gym.core.build import make_task
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.core.task import reset
from teach_gym.registration import task_kwargs
from teach_gym.teachers import Choice, Teacher, follow, make_teacher

BUDGET = 6


@functools.lru_cache(maxsize=1)
def short(name: str) -> Task:
    """A registered task with a short budget."""
    return make_task(**{**task_kwargs(name), "budget": BUDGET})


@functools.lru_cache(maxsize=1)
def staggered(name: str) -> TeachState:
    """Runs at the steps 0, 2, 4, 5 of their episodes, as a vector environment has them after some ended early."""
    task, ages = short(name), (0, 2, 4, BUDGET - 1)
    state, passive = reset(task, streams(len(ages))), make_teacher("passive")
    moving = state
    for t in range(1, BUDGET):
        moving = follow(task, moving, passive).state
        rows = np.flatnonzero(np.array(ages) == t)
        state = put(state, rows, take(moving, rows)) if len(rows) else state
    assert tuple(state.t) == ages
    return state


def fitting(task: Task, name: str) -> list[Teacher]:
    """A teacher of a name with each set of options, those that fit the task."""
    found = []
    for options in OPTIONS.get(name, [{}]):
        teacher = make_teacher(name, **options)
        try:
            teacher.check(task)
        except ValueError:
            continue
        found.append(teacher)
    return found


def parts(choice: Choice) -> tuple[Any, ...]:
    return tuple(choice) if isinstance(choice, Example) else (choice,)


@pytest.mark.parametrize("teacher_name", MADE)
@pytest.mark.parametrize("name", names())
def test_a_choice_does_not_depend_on_the_neighbours(name: str, teacher_name: str) -> None:
    task = short(name)
    teachers = fitting(task, teacher_name)
    if not teachers:
        pytest.skip(f"{teacher_name} does not fit {name}")
    state, tolerance = staggered(name), 1e-3 if task.spec.dtype == "float32" else 1e-6
    for teacher in teachers:
        together = parts(teacher(task, state))
        for i in range(len(state.t)):
            alone = parts(teacher(task, take(state, np.array([i]))))
            for a, b in zip(alone, together, strict=True):
                np.testing.assert_allclose(a[0], b[i], rtol=tolerance, atol=tolerance)
