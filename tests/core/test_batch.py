"""Choosing, replacing and checking runs of a batch."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from conftest import streams
from task_cases import close, random_steps, started

from teach_gym.core.backend import to_torch
from teach_gym.core.batch import DIVERGED, diverged, put, take
from teach_gym.core.task import reset


@pytest.mark.parametrize("which", ["select", "momentum", "label-mix-target"])
@pytest.mark.parametrize("to", [lambda s: s, to_torch], ids=["numpy", "torch"])
def test_take_and_put(which: str, to: Any, rng: np.random.Generator) -> None:
    task, state = started(which)
    other = random_steps(task, reset(task, streams(2, seed=90)), 1, rng)
    before = copy.deepcopy(state)
    rows = np.array([3, 1])
    merged = put(to(state), rows, to(other))
    close(to(state), to(before), atol=0.0)
    close(take(merged, rows), other, atol=0.0)
    rest = np.array([0, 2, 4])
    close(take(merged, rest), take(state, rest), atol=0.0)
    mask = np.array([True, False, True, False, False])
    close(take(state, mask), take(state, np.array([0, 2])), atol=0.0)


def test_a_diverged_learner_is_noticed() -> None:
    _, state = started("select")
    assert not diverged(state).any()
    distance = state.distance.copy()
    for bad in (np.nan, np.inf, 1.01 * DIVERGED):
        distance[2] = bad
        assert diverged(state._replace(distance=distance)).tolist() == [False, False, True, False, False]
