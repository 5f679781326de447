"""The table of registered tasks: id -> the arguments of its ``TaskSpec``."""

from __future__ import annotations

import difflib
from typing import Any

NAMESPACE = "teach_gym"
VERSION = "v0"

_MOONS = {"pool": "half_moons", "learner": "logistic", }
_DIGITS = {"pool": "digits", "pool_options": {"classes": [3, 5]}, "learner": "logistic"}
_MNIST = {"pool": "mnist", "pool_options": {"classes": [3, 5]}, "learner": "logistic"}
_DIGITS10 = {"pool": "digits", "learner": "softmax"}

TASKS: dict[str, dict[str, Any]] = {
    "LabelRegression": {"medium": "label", "pool": "linear_regression", "learner": "least_squares"},
    "LabelMoons": {"medium": "label", **_MOONS},
    "LabelGaussian": {"medium": "label", "pool": "gaussian_clusters", "learner": "logistic", },
    "LabelDigits": {"medium": "label", **_DIGITS},
    "LabelDigits10": {"medium": "label", **_DIGITS10},
    "LabelDigitsMLP": {"medium": "label", **_DIGITS, "learner": "mlp_logistic"},
    "LabelMNIST": {"medium": "label", **_MNIST},
    "MixupMoons": {"medium": "mixup", **_MOONS},
    "MixupDigits10": {"medium": "mixup", **_DIGITS10},
    "PerturbMoons": {"medium": "perturb", **_MOONS},
    "PerturbDigits": {"medium": "perturb", **_DIGITS},
    "PerturbMNIST": {"medium": "perturb", **_MNIST},
    "SelectMoons": {"medium": "select", **_MOONS},
    "SelectDigits": {"medium": "select", **_DIGITS},
    "SelectMNIST": {"medium": "select", **_MNIST},
    "MixedMoons": {"medium": "mixed", **_MOONS},
    "MixedDigits": {"medium": "mixed", **_DIGITS},
    "LabelMomentum": {"medium": "label", **_MOONS, "momentum": 0.9, "learning_rate": 0.05},
    "SelectMomentum": {"medium": "select", **_MOONS, "momentum": 0.9, "learning_rate": 0.05},
}
"""Every registered task by its short name; ``teach_gym/<name>-v0`` is the id."""


def env_id(name: str) -> str:
    """The Gymnasium id of a task's short name."""
    return f"{NAMESPACE}/{name}-{VERSION}"


def task_kwargs(name: str) -> dict[str, Any]:
    """The task arguments of a short name or id, as a copy.

    Raises:
        ValueError: no such task; the message names the closest.
    """
    short = name.split(":")[-1].removeprefix(f"{NAMESPACE}/").removesuffix(f"-{VERSION}")
    if short not in TASKS:
        close = difflib.get_close_matches(short, TASKS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"unknown task {name!r}; allowed: {', '.join(TASKS)}{hint}")
    import copy

    return copy.deepcopy(TASKS[short])


def register_all() -> None:
    """Register every task with Gymnasium."""
    from gymnasium.envs.registration import register

    for name in TASKS:
        kwargs = task_kwargs(name)
        medium = kwargs["medium"]
        entry = f"teach_gym.envs.{medium}:{medium.capitalize()}"
        register(
            id=env_id(name),
            entry_point=f"{entry}Env",
            vector_entry_point=f"{entry}VectorEnv",
            kwargs=kwargs,
        )
