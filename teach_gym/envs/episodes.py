"""The episodes of a single environment, drawn several at a time: one call for many costs hardly more than for one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from teach_gym.core.backend import Array
from teach_gym.core.batch import each
from teach_gym.core.layout import Block, observe
from teach_gym.core.randomness import Streams, draw_keys
from teach_gym.core.state import Task, TeachState
from teach_gym.core.task import reset

AHEAD = 16
"""Number of episodes that are drawn at once."""
_MOST_ROWS = 100_000
"""Maximum number of rows that the episodes drawn at once offer together."""


class Episodes:
    """Starts episodes. Each is determined by its key, so it does not matter when it is drawn.

    The keys of later episodes are read from a copy of the environment's generator, which draws each key when its
    episode starts. If the key is another one, as after a new seed, what was drawn ahead is dropped.

    Args:
        task: the task.
        blocks: the layout of its observation.
    """

    def __init__(self, task: Task, blocks: list[Block]) -> None:
        self.task, self.blocks = task, blocks
        rows = task.spec.budget * task.medium.n_sources * task.spec.batch_size
        self._ahead = max(1, min(AHEAD, _MOST_ROWS // rows))
        self._keys: npt.NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
        self._next = 0

    def __getstate__(self) -> dict[str, Any]:
        kept = {k: v for k, v in self.__dict__.items() if k not in ("_states", "_observations")}
        return {**kept, "_keys": self._keys[:0], "_next": 0}

    def start(self, rng: np.random.Generator, alone: bool) -> tuple[TeachState, npt.NDArray[np.float32]]:
        """The next episode as a batch of one run, and its observation.

        Args:
            rng: the environment's generator, which draws one key.
            alone: whether no further episode is expected with this generator.
        """
        key = draw_keys(rng, 1)
        if self._next == len(self._keys) or self._keys[self._next] != key[0]:
            self._draw(rng, key, 1 if alone else self._ahead)
        i = self._next
        self._next += 1
        state: TeachState = each(lambda a: a[i : i + 1], self._states)
        return state, self._observations[i].copy()

    def _draw(self, rng: np.random.Generator, key: Array, n: int) -> None:
        self._keys, self._next = key, 0
        if n > 1:
            copy = np.random.Generator(type(rng.bit_generator)(0))
            copy.bit_generator.state = rng.bit_generator.state
            self._keys = np.concatenate([key, draw_keys(copy, n - 1)])
        self._states = reset(self.task, Streams(self._keys))
        self._observations = observe(self.task, self._states, self.blocks)
