"""Small tasks of every flavour with states, actions and comparisons of states."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import VARIANTS, streams, variant

from teach_gym.core.build import make_task
from teach_gym.core.state import Task, TeachState
from teach_gym.core.task import reset, step

B = 5
every = pytest.mark.parametrize("which", VARIANTS)


def started(which: str, n: int = B, **changes: Any) -> tuple[Task, TeachState]:
    task = make_task(**variant(which, **changes))
    return task, reset(task, streams(n))


def actions(task: Task, rng: np.random.Generator, n: int = B) -> np.ndarray:
    if not task.spec.continuous:
        return rng.integers(task.n_actions, size=n)
    low, high = task.medium.low, task.medium.high
    return rng.uniform(low, high, size=(n, *low.shape))


def random_steps(task: Task, state: TeachState, n: int, rng: np.random.Generator) -> TeachState:
    for _ in range(n):
        state = step(task, state, actions(task, rng, len(state.t))).state
    return state


def close(a: TeachState, b: TeachState, atol: float) -> None:
    for name, x, y in zip(TeachState._fields, a, b, strict=True):
        assert (x is None) == (y is None), name
        if x is not None:
            x, y = (v.detach().numpy() if isinstance(v, torch.Tensor) else v for v in (x, y))
            np.testing.assert_allclose(x, y, atol=atol, err_msg=name)
