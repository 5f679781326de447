"""Compiled loops without numba."""

from __future__ import annotations

from typing import Any

import numpy as np

from teach_gym.compiled import elementary


def interpreted(source: str, dtype: str) -> Any:
    """A loop's function, run by Python."""
    single = dtype == "float32"
    scope = {"np": np, "sqrt": np.sqrt, "power": np.power, "real": np.float32 if single else np.float64}
    scope |= {name: getattr(elementary, name + "32" * single) for name in ("exp", "tanh", "log", "log1p")}
    scope["large"] = scope["real"](3e38 if single else 1e76)
    exec(source, scope)

    def step(*arguments: Any) -> Any:
        with np.errstate(all="ignore"):  # in the lanes of the last tile that hold no run
            return scope["step"](*arguments)

    return step
