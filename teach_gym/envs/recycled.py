"""Arrays for results that are used again once nobody holds them: fresh memory costs more than filling it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from teach_gym.core.backend import Array

_KEPT = 4
"""Number of sets that are kept for use."""


class Recycled:
    """Sets of arrays of given types and shapes; a set is used again when nobody else holds an array or a view of it.

    What is handed out therefore never changes while anyone can see it. A view counts as a reference to its array.

    Args:
        kinds: the type and the shape of each array of a set.
    """

    def __init__(self, kinds: Sequence[tuple[Any, tuple[int, ...]]]) -> None:
        self._kinds = list(kinds)
        self._sets: list[list[Array]] = []

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_sets": []}

    def take(self) -> list[Array]:
        """A set of arrays with any values."""
        for found in self._sets:
            if _ALONE > 0 and _most_held(found) <= _ALONE:
                return list(found)
        made = [np.empty(shape, dtype) for dtype, shape in self._kinds]
        self._sets = [*self._sets[1 - _KEPT :], made]
        return list(made)


def _most_held(arrays: list[Array]) -> int:
    """The largest number of references to an array of a list."""
    return max(map(sys.getrefcount, arrays))


_ALONE = _most_held([np.empty(1)]) if hasattr(sys, "getrefcount") else -1
"""What ``_most_held`` says of arrays that only the list holds."""
