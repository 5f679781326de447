"""Episodes drawn several at a time are those drawn one by one."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from conftest import VARIANTS, variant

from teach_gym.core.build import make_task
from teach_gym.core.layout import layout, observe
from teach_gym.core.randomness import Streams, draw_keys
from teach_gym.core.task import reset
from teach_gym.envs.episodes import AHEAD, Episodes


@pytest.mark.parametrize("which", VARIANTS)
def test_episodes_and_generators_do_not_depend_on_what_is_drawn_ahead(which: str) -> None:
    task = make_task(**variant(which))
    episodes, blocks = Episodes(task, layout(task)), layout(task)
    mine, theirs = np.random.default_rng(1), np.random.default_rng(1)
    for i in range(2 * AHEAD):
        if i == 5:  # a new seed
            mine, theirs = np.random.default_rng(2), np.random.default_rng(2)
        if i == 9:
            episodes = pickle.loads(pickle.dumps(copy.deepcopy(episodes)))
        state, observation = episodes.start(mine, i in (0, 5))
        expected = reset(task, Streams(draw_keys(theirs, 1)))
        assert mine.bit_generator.state == theirs.bit_generator.state
        for a, b in zip(state, expected, strict=True):
            if b is not None:
                assert a.shape == b.shape and a.dtype == b.dtype
                np.testing.assert_allclose(a, b, rtol=1e-14)
        np.testing.assert_allclose(observation, observe(task, expected, blocks)[0], rtol=1e-6)


def test_what_is_drawn_ahead_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("teach_gym.envs.episodes._MOST_ROWS", 20)
    task = make_task(**variant("label-grid", budget=8))
    episodes = Episodes(task, layout(task))
    rng = np.random.default_rng(0)
    for _ in range(3):
        episodes.start(rng, False)
    assert len(episodes._keys) == 2
