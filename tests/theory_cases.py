"""Tasks and states for the theorems of the papers."""

from __future__ import annotations

from typing import Any

import numpy as np
from conftest import streams

from teach_gym.core.build import make_task
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.core.task import learn, reset

D = 3


def plain_task(learner: str, target: Any, **changes: Any) -> Task:
    """A task whose only purpose is its learner, target and learning rate; examples are given from outside."""
    pool = {"pool": "linear_regression", "pool_options": {"d": D}} if learner == "least_squares" else {}
    if learner != "least_squares":
        pool = {"pool": "gaussian_clusters", "pool_options": {"d": D}}
    spec = {"target": "given", "target_options": {"w": [float(v) for v in target]}, "tolerance": 0.0, "budget": 1000}
    return make_task(learner=learner, medium="select", **{**pool, **spec, **changes})


def start(task: Task, n: int, radius: float, seed: int = 0) -> TeachState:
    """n runs that start at distance ``radius`` of the target."""
    state = reset(task, streams(n, seed))
    away = state.w / np.linalg.norm(state.w, axis=1, keepdims=True)
    return moved(state, task.target + radius * away)


def moved(state: TeachState, w: np.ndarray) -> TeachState:
    difference = state.target - w
    distance = np.linalg.norm(difference, axis=1)
    return state._replace(w=w, difference=difference, distance=distance)


def given(state: TeachState, task: Task, x: np.ndarray, y: np.ndarray) -> TeachState:
    """The state after the learner was shown x (B, m, d) with labels y (B, m, K)."""
    return moved(state, learn(task, state, Example(x, y))[0])


def predict(task: Task, state: TeachState, x: np.ndarray) -> np.ndarray:
    return task.learner.predict(state.w, x)
