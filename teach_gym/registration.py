"""The table of registered tasks: id -> the arguments of its ``TaskSpec``."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from teach_gym.errors import lookup_name, shown

NAMESPACE = "teach_gym"
VERSION = "v0"
MAX_EPISODE_STEPS = 1_000_000
"""Steps after which a registered environment truncates. It exceeds any budget, so episodes end earlier; it exists for
libraries that require a number. Pass ``max_episode_steps`` to ``gym.make`` to change it."""
THRESHOLDS_FILE = Path(__file__).with_name("thresholds.json")

_MOONS: dict[str, Any] = {
    "pool": "half_moons",
    "learner": "logistic",
    "target_options": {"l2": 0.02},
    "learning_rate": 0.25,
    "budget": 60,
}
_MOMENTUM = {**_MOONS, "momentum": 0.9, "learning_rate": 0.02}
_DIGITS: dict[str, Any] = {
    "pool": "digits",
    "pool_options": {"classes": [3, 5]},
    "learner": "logistic",
    "target_options": {"l2": 0.1},
    "learning_rate": 0.04,
    "init_scale": 0.05,
    "budget": 100,
}
_MISLABELLED = {**_DIGITS, "pool_options": {"classes": [3, 5], "label_noise": 0.1}}
_DIGITS10 = {
    **_DIGITS,
    "pool_options": {},
    "learner": "softmax",
    "init_scale": 0.02,
}
_MLP = {
    **_DIGITS,
    "learner": "mlp_logistic",
    "target": "trained",
    "target_options": {"steps": 100, "learning_rate": 0.5},
    "learning_rate": 0.055,
    "init": "perturbed",
    "init_scale": 0.02,
}
_MNIST: dict[str, Any] = {
    "pool": "mnist",
    "pool_options": {"classes": [3, 5]},
    "learner": "logistic",
    "learning_rate": 0.05,
    "budget": 100,
    "dtype": "float32",
}
_BLACK_BOX: dict[str, Any] = {"observation": "black_box", "reward": "holdout_progress"}
_RELATIVE = {"kind": "mix", "least": -1.0, "n": 5}
"""Labels relative to the given one, from the other class to it."""
_TRUST = {"kind": "mix", "p": "prediction", "least": 0.0, "n": 5}
"""How much to trust the given label against the learner's own prediction."""
_BLACK_MIXUP = {"medium": "mixup", "medium_options": {"n": 3}, **_BLACK_BOX}
_BLACK_MLP: dict[str, Any] = {
    "learner": "mlp",
    "learner_options": {"hidden": 32},
    "bias": True,
    "target": "trained",
    "target_options": {"steps": 300, "learning_rate": 0.5},
    "init": "perturbed",
    "init_scale": 0.02,
    "batch_size": 2,
    "budget": 100,
}
_NOISY: dict[str, Any] = {
    **_DIGITS10,
    **_BLACK_BOX,
    "medium_options": _TRUST,
    "target_options": {"l2": 0.01},
    "learning_rate": 0.022,
    "holdout_rows": 50,
}
"""Wrong labels, and a few clean hold-out rows to judge them by."""

TASKS: dict[str, dict[str, Any]] = {
    "LabelRegression": {
        "medium": "label",
        "medium_options": {"radius": 2.0},
        "pool": "linear_regression",
        "pool_options": {"noise": 1.0},
        "learner": "least_squares",
        "learning_rate": 0.055,
        "budget": 50,
    },
    "LabelMoons": {"medium": "label", **_MOONS},
    "LabelGaussian": {
        "medium": "label",
        **_MOONS,
        "pool": "gaussian_clusters",
        "pool_options": {"separation": 1.2},
    },
    "LabelDigits": {"medium": "label", **_MISLABELLED},
    "LabelDigits10": {
        "medium": "label",
        "medium_options": {"kind": "grid"},
        **_DIGITS10,
        "pool_options": {"label_noise": 0.2},
        "target_options": {"l2": 0.03},
        "learning_rate": 0.06,
    },
    "LabelDigitsMLP": {"medium": "label", **_MLP, "pool_options": _MISLABELLED["pool_options"]},
    "LabelMNIST": {"medium": "label", **_MNIST},
    "MixupMoons": {"medium": "mixup", **_MOONS},
    "MixupDigits10": {"medium": "mixup", **_DIGITS10, "pool_options": {"label_noise": 0.1}},
    "PerturbMoons": {"medium": "perturb", **_MOONS},
    "PerturbDigits": {"medium": "perturb", "medium_options": {"radius": 3.0, "axes": 24}, **_DIGITS},
    "PerturbMNIST": {
        "medium": "perturb",
        "medium_options": {"radius": 4.0, "axes": 8},
        **_MNIST,
    },
    "PerformativeDigits": {
        "medium": "performative",
        "medium_options": {"epsilon": 0.6},
        **_MLP,
        "pool_options": {},
        "learner": "mlp",
        "learner_options": {"offsets": True},
        "learning_rate": 0.06,
    },
    "SelectMoons": {"medium": "select", **_MOONS},
    "SelectDigits": {"medium": "select", **_DIGITS},
    "SelectMNIST": {"medium": "select", **_MNIST},
    "MixedMoons": {"medium": "mixed", **_MOONS},
    "MixedDigits": {"medium": "mixed", "medium_options": {"n_sources": 8}, **_DIGITS},
    "LabelMomentum": {"medium": "label", **_MOMENTUM},
    "SelectMomentum": {"medium": "select", **_MOMENTUM, "learning_rate": 0.025, "budget": 40},
    "BlackBoxLabelMoons": {
        "medium": "label",
        "medium_options": _RELATIVE,
        **_MOONS,
        **_BLACK_BOX,
        "target_options": {},
        "learning_rate": 0.65,
        "budget": 30,
    },
    "BlackBoxLabelDigits": {
        "medium": "label",
        "medium_options": _RELATIVE,
        **_DIGITS,
        **_BLACK_BOX,
        "pool_options": {"classes": [3, 5], "standardize": True},
        "target_options": {"l2": 0.01},
        "learning_rate": 0.15,
        "budget": 40,
    },
    "BlackBoxLabelDigits10": {
        "medium": "label",
        "medium_options": _TRUST,
        **_DIGITS10,
        **_BLACK_BOX,
        "pool_options": {"standardize": True},
        "target_options": {"l2": 0.01},
        "learning_rate": 0.06,
    },
    "BlackBoxLabelMNIST": {
        "medium": "label",
        "medium_options": _RELATIVE,
        **_MNIST,
        **_BLACK_BOX,
        "pool_options": {"classes": [3, 5], "standardize": True},
        "learning_rate": 0.07,
        "init_scale": 0.1,
        "budget": 60,
    },
    "BlackBoxMixupDigits10": {
        **_BLACK_MIXUP,
        **_DIGITS10,
        "pool_options": {"standardize": True},
        "target_options": {"l2": 0.01},
        "learning_rate": 0.08,
        "budget": 60,
    },
    "BlackBoxMixupDigits10MLP": {
        **_BLACK_MIXUP,
        **_BLACK_MLP,
        "pool": "digits",
        "pool_options": {"standardize": True},
        "learning_rate": 0.1,
    },
    "BlackBoxMixupMNIST": {
        **_BLACK_MIXUP,
        **_BLACK_MLP,
        "pool": "mnist",
        "pool_options": {"standardize": True},
        "learning_rate": 0.115,
        "dtype": "float32",
    },
    "BlackBoxNoisyDigits": {
        "medium": "label",
        **_NOISY,
        "pool": "digits",
        "pool_options": {"standardize": True, "label_noise": 0.4},
        "budget": 200,
    },
    "BlackBoxNoisyMNIST": {
        "medium": "label",
        **_NOISY,
        "pool": "mnist",
        "pool_options": {"standardize": True, "label_noise": 0.4, "projection": 50, "n_holdout": 50},
        "budget": 300,
    },
}
"""Every registered task by its short name; ``teach_gym/<name>-v0`` is the id.

Omniscient tasks have the learning rate at which plain SGD ends nearest to the target (``python -m tools.tune_sgd``).
"""

NEURAL_TASKS: dict[str, dict[str, Any]] = {"BlackBoxMixupCIFAR10": {"pool": "cifar10_jpeg", "epochs": 50}}
"""The tasks whose learner is a neural network (they need torch): short name -> arguments of ``NeuralMixupEnv``."""


def env_id(name: str) -> str:
    """The Gymnasium id of a task's short name."""
    return f"{NAMESPACE}/{name}-{VERSION}"


def short_name(name: str) -> str:
    """The short name of a task given by its short name or id, with or without namespace, module and version.

    Raises:
        TypeError: no text.
        ValueError: no such task; the message names the closest one.
    """
    if not isinstance(name, str):
        raise TypeError(f"a task's name must be a text, such as 'LabelMoons', got {shown(name)}")
    short = name.split(":")[-1].removeprefix(f"{NAMESPACE}/").removesuffix(f"-{VERSION}")
    lookup_name("task", short, TASKS | NEURAL_TASKS)
    return short


def task_kwargs(name: str) -> dict[str, Any]:
    """A copy of the environment's arguments for a short name or id; see ``short_name``."""
    short = short_name(name)
    return copy.deepcopy((TASKS | NEURAL_TASKS)[short])


def spec_kwargs(name: str) -> dict[str, Any]:
    """A copy of the ``TaskSpec`` fields for a short name or id.

    Raises:
        ValueError: no such task, or its learner is a neural network, which ``TaskSpec`` does not describe.
    """
    short = short_name(name)
    if short in NEURAL_TASKS:
        raise ValueError(
            f"the learner of {short!r} is a network: it has no teaching state, which make_task, the oracles and the "
            f"benchmark need. Make its environment with gym.make({env_id(short)!r}); `teach-gym train {short}` trains "
            "an agent, and `teach-gym reproduce dht-table1` compares teachers of such learners"
        )
    return task_kwargs(short)


def reward_thresholds() -> dict[str, float]:
    """The mean return of the greedy oracle by short name, measured by ``python -m tools.thresholds``."""
    found: dict[str, float] = json.loads(THRESHOLDS_FILE.read_text(encoding="utf-8"))
    return found


def register_all() -> None:
    """Register every task with Gymnasium."""
    from gymnasium.envs.registration import register

    thresholds = reward_thresholds()
    for name in (*TASKS, *NEURAL_TASKS):
        kwargs = task_kwargs(name)
        medium = kwargs.get("medium")
        entry = f"{medium}:{medium.capitalize()}" if medium else "neural_mixup:NeuralMixup"
        register(
            id=env_id(name),
            entry_point=f"teach_gym.envs.{entry}Env",
            vector_entry_point=f"teach_gym.envs.{entry}VectorEnv",
            kwargs=kwargs,
            max_episode_steps=MAX_EPISODE_STEPS,
            reward_threshold=thresholds.get(name),
        )
