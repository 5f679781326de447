"""What DHT Table 2 compares: methods, learners and data sets, their settings, and the paper's accuracies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ACCURACY = "test_accuracy"
"""Per cent of held-out images classified correctly; of validation images in the panels whose name says so."""
SGD, RANDOM, SAMPLE, BATCH = "SGD", "random policy", "performative", "performative (batch)"
ACCUMULATED, CONTROL = "performative (accumulated)", "SGD, encoder x6"
TUNED_SGD, TUNED = "SGD, tuned", "performative, rate of tuned SGD"

METHODS: dict[str, dict[str, Any]] = {
    SGD: {"method": "sgd"},
    RANDOM: {"method": "random"},
    SAMPLE: {"method": "performative"},
    BATCH: {"method": "performative_batch"},
    ACCUMULATED: {"method": "performative_accumulate"},
    CONTROL: {"method": "sgd_encoder_x6"},
}
VALIDATION = " (validation)"
"""The end of the names of panels whose accuracies are those of validation images."""
MNIST, NARROW, HALF = "MNIST, MLP", "CIFAR-10, narrow CNN-3", "CIFAR-10, CNN-3 of half the width"
RATES_PANEL = MNIST + VALIDATION
CNNS = {"CNN-3": "cnn3", "CNN-6": "cnn6", "CNN-9": "cnn9", "CNN-15": "cnn15"}
POOLS = {"CIFAR-10": "cifar10_jpeg", "CIFAR-100": "cifar100"}
_CNN_PUBLISHED = {
    "CIFAR-10": ((87.30, 87.17, 88.77), (90.34, 90.20, 91.61), (91.10, 91.12, 92.30), (91.85, 91.67, 92.44)),
    "CIFAR-100": ((62.10, 62.04, 62.69), (65.02, 64.96, 66.81), (67.05, 67.19, 69.23), (68.39, 68.49, 68.96)),
}
PUBLISHED = {MNIST: (92.45, 92.47, 95.02)} | {
    f"{pool}, {name}": row for pool, rows in _CNN_PUBLISHED.items() for name, row in zip(CNNS, rows, strict=True)
}
"""Test accuracies of SGD, random policy and performative teaching in the paper."""
TUNED_RATES = {MNIST: 0.1, NARROW: 0.07}
"""The rates of ``RATES`` with the best validation accuracy of plain SGD at the laptop scale."""
RATES = {MNIST: (0.01, 0.03, 0.1, 0.3, 1.0), NARROW: (0.03, 0.05, 0.07, 0.1, 0.14, 0.2)}
"""The learning rates of plain SGD that are tried on validation images."""


def rate_name(rate: float) -> str:
    """Name of plain SGD with a learning rate."""
    return f"SGD, rate {rate:g}"


def tuned_panels(panel: str, train: Mapping[str, Any], tuning: Mapping[str, Any], first_seeds: int) -> dict[str, Any]:
    """All methods and controls on a panel, and the validation runs that its tuned rate comes from.

    Args:
        panel: a key of ``RATES``.
        train: arguments of ``teach_gym.neural.settings.ImageTrainingSettings`` that all methods share.
        tuning: those of the validation runs, ``validation`` among them.
        first_seeds: how many of the seeds these use.
    """
    rate = TUNED_RATES[panel]
    tuned = {
        TUNED_SGD: {"method": "sgd", "learning_rate": rate},
        TUNED: {"method": "performative", "learning_rate": rate},
    }
    rates = {rate_name(rate): {"method": "sgd", "learning_rate": rate} for rate in RATES[panel]}
    return {
        panel: {"train": dict(train), "methods": METHODS | tuned},
        panel + VALIDATION: {"train": dict(tuning), "methods": rates, "first_seeds": first_seeds},
    }


def mnist_panels(train: Mapping[str, Any], tuning: Mapping[str, Any]) -> dict[str, Any]:
    """The MNIST row; see ``tuned_panels``."""
    return tuned_panels(MNIST, train, tuning, 1)


_PAPER: dict[str, Any] = {
    "iterations": 42_500,
    "learning_rate": 0.1,
    "milestones": [20_000, 30_000, 37_500],
    "weight_decay": 5e-4,
    "augment": True,
    "eval_every": 2500,
    "checkpoint_every": 2500,
}
"""The trainings of CNNs (DHT 5.2); the size of the weight decay is not in the paper.

Nor is momentum. With 0.9, performative teaching of CNN-3 at half width becomes non-finite within 20 iterations.
"""


def schedule(iterations: int) -> dict[str, Any]:
    """The iterations of a training, and where its rate falls: at the shares of the paper's 42,500."""
    whole = _PAPER["iterations"]
    return {"iterations": iterations, "milestones": [round(at * iterations / whole) for at in _PAPER["milestones"]]}


def of_width(filters: int) -> dict[str, Any]:
    """Options of a CNN whose first block has so many filters, with 8 features for each.

    The paper's has 64 and 256 features: a narrower network keeps more features for its filters.
    """
    return {"filters": [filters, 2 * filters, 4 * filters], "features": 8 * filters}


def small_training(iterations: int, **changes: Any) -> dict[str, Any]:
    """A training of a CNN-3 for a laptop: that of DHT 5.2 in fewer steps of 64 images, without its learning rate."""
    return {
        "pool": POOLS["CIFAR-10"],
        "network": CNNS["CNN-3"],
        **schedule(iterations),
        "batch_size": 64,
        "weight_decay": _PAPER["weight_decay"],
        "augment": True,
        "eval_every": iterations,
        "checkpoint_every": max(iterations // 10, 1),
        **changes,
    }


def narrow_panels(iterations: int, validation: int, **changes: Any) -> dict[str, Any]:
    """CNN-3 with an eighth of the paper's filters at the paper's rate; see ``small_training``."""
    own = {"network_options": of_width(8), "learning_rate": _PAPER["learning_rate"]}
    train = small_training(iterations, **{**own, **changes})
    return tuned_panels(NARROW, train, {**train, "validation": validation}, 3)


def half_panel() -> dict[str, Any]:
    """CNN-3 with half the paper's filters to the end of the paper's schedule, for a CPU: smaller batches, one seed."""
    train = {
        **_PAPER,
        "pool": POOLS["CIFAR-10"],
        "network": CNNS["CNN-3"],
        "network_options": of_width(32),
        "batch_size": 64,
        "channels_last": True,
    }
    methods = {name: METHODS[name] for name in (SGD, SAMPLE)}
    return {HALF: {"train": train, "methods": methods, "first_seeds": 1}}


def cnn_panels() -> dict[str, Any]:
    """The rows of the CNNs, on a GPU."""
    train = {**_PAPER, "device": "cuda", "precision": "bf16"}
    return {
        f"{pool}, {name}": {"train": {**train, "pool": reader, "network": network}, "methods": METHODS}
        for pool, reader in POOLS.items()
        for name, network in CNNS.items()
    }
