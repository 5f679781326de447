"""The tasks of the experiments that follow LAST, whose settings the paper leaves open.

They are like the registered tasks of the same names but have their own settings: a registered task is tuned so that
teaching can improve on plain SGD; an experiment varies what the paper does not specify.
"""

from __future__ import annotations

import copy
from typing import Any

from teach_gym.errors import lookup_name

SMALL_DIGITS: dict[str, Any] = {"pool": "digits", "pool_options": {"classes": [3, 5]}}
"""Digits 3 and 5 of scikit-learn, in place of MNIST at the smoke scale, so that it needs no data."""
SMALL_LOGISTIC: dict[str, Any] = {**SMALL_DIGITS, "target_options": {"l2": 0.1}}
"""The same for logistic learners, whose target is regularised because the classes are separable."""

_MOONS = {"medium": "label", "pool": "half_moons", "learner": "logistic", "learning_rate": 0.7, "budget": 60}
_BLACK_BOX = {"observation": "black_box", "reward": "holdout_progress"}
_MNIST = {"pool": "mnist", "pool_options": {"classes": [3, 5]}, "learning_rate": 0.05}

_TASKS: dict[str, dict[str, Any]] = {
    "LabelRegression": {
        "medium": "label",
        "medium_options": {"radius": 2.0},
        "pool": "linear_regression",
        "learner": "least_squares",
        "learning_rate": 0.02,
    },
    "LabelMoons": {**_MOONS, "target_options": {"l2": 0.02}},
    "LabelGaussian": {
        **_MOONS,
        "pool": "gaussian_clusters",
        "pool_options": {"separation": 1.2},
        "learning_rate": 0.5,
    },
    "LabelMNIST": {"medium": "label", **_MNIST, "learner": "logistic"},
    "LabelMNISTMLP": {
        "medium": "label",
        **_MNIST,
        "learner": "mlp_logistic",
        "target": "trained",
        "target_options": {"steps": 500, "learning_rate": 0.05},
        "init": "perturbed",
        "init_scale": 0.02,
    },
    "BlackBoxLabelMoons": {**_MOONS, **_BLACK_BOX, "learning_rate": 2.0, "budget": 30},
    "BlackBoxLabelDigits": {
        "medium": "label",
        **SMALL_DIGITS,
        **_BLACK_BOX,
        "learner": "logistic",
        "target_options": {"l2": 0.01},
        "learning_rate": 0.1,
        "init_scale": 0.05,
        "budget": 40,
    },
}


def paper_task(name: str, **changes: Any) -> dict[str, Any]:
    """A task in float64, with continuous labels and no tolerance: runs continue to the last iteration.

    Args:
        name: a name of the table here.
        **changes: fields of ``TaskSpec``; each replaces the table's.

    Raises:
        ValueError: unknown name.
    """
    content = copy.deepcopy(lookup_name("task", name, _TASKS))
    return {**content, "continuous": True, "tolerance": 0.0, "dtype": "float64", **changes}
