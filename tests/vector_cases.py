"""Vector environments with episodes that end at different steps, beside Gymnasium's, and how steps are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import VARIANTS, continuous_variants, variant
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from teach_gym.envs.base import TeachEnv
from teach_gym.envs.vector import TeachVectorEnv

MODES = ["next_step", "same_step", "disabled"]
modes = pytest.mark.parametrize("mode", MODES)
FLAVOURS = [(which, False) for which in VARIANTS] + [(which, True) for which in continuous_variants()]
STAGGERED: dict[str, Any] = {"tolerance": 2.0, "learning_rate": 1.0, "budget": 7}
"""With these, episodes end at different steps, by the tolerance or by the budget."""


def staggered(which: str = "label-grid", **changes: Any) -> dict[str, Any]:
    return variant(which, **{**STAGGERED, **changes})


def pair(mode: str, n: int = 5, which: str = "label-grid", **changes: Any) -> tuple[TeachVectorEnv, SyncVectorEnv]:
    kwargs = staggered(which, **changes)
    theirs = SyncVectorEnv([lambda: TeachEnv(**kwargs) for _ in range(n)], autoreset_mode=AutoresetMode[mode.upper()])
    return TeachVectorEnv(num_envs=n, autoreset_mode=mode, **kwargs), theirs


def same_info(mine: dict[str, Any], theirs: dict[str, Any], n: int) -> None:
    """The same keys, masks and, where the masks say so, values."""
    for key in set(mine) | set(theirs):
        if key.startswith("_"):
            nothing = np.zeros(n, dtype=bool)
            np.testing.assert_array_equal(mine.get(key, nothing), theirs.get(key, nothing), err_msg=key)
            assert np.asarray(mine.get(key, nothing)).dtype == np.bool_
        elif key == "final_info":
            same_info(mine[key], theirs[key], n)
        else:
            assert f"_{key}" in mine, key
            for i in np.flatnonzero(mine[f"_{key}"]):
                value = np.broadcast_to(mine[key], (n, *np.shape(mine[key])[1:]))[i]
                np.testing.assert_allclose(value, theirs[key][i], rtol=1e-6, atol=1e-9, err_msg=key)


def same_step(mine: tuple[Any, ...], theirs: tuple[Any, ...], n: int) -> None:
    np.testing.assert_allclose(mine[0], theirs[0], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(mine[1], theirs[1], atol=1e-9)
    for a, b in zip(mine[2:4], theirs[2:4], strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == np.bool_ and a.shape == (n,)
    same_info(mine[4], theirs[4], n)
