"""``TaskSpec``: everything that defines a task, in plain JSON values."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from teach_gym.errors import number, positive

INITS = ("normal", "uniform", "zeros", "perturbed")
DTYPES = ("float64", "float32")


@dataclass(frozen=True)
class TaskSpec:
    """Everything that defines a task, in plain JSON values; the keyword arguments of the environments.

    Attributes:
        learner: name of the learner (``teach_gym.learners.LEARNERS``).
        pool: name of the pool (``teach_gym.pools.POOLS``).
        medium: name of the medium (``teach_gym.media.MEDIA``).
        target: how w* is found: ``optimum``, ``trained`` or ``given``.
        budget: teaching steps H per episode.
        learning_rate: the learner's step size.
        momentum: the learner's momentum in [0, 1).
        nesterov: Nesterov momentum.
        weight_decay: the learner's l2 coefficient.
        batch_size: rows m per step.
        bias: whether the learner has a bias.
        continuous: Box instead of Discrete actions.
        reward: ``progress``, ``distance`` or ``decrease``.
        observation: which observation (``omniscient``).
        init: initial learner: ``normal`` (entries N(0, init_scale^2)), ``uniform`` (init_scale times torch's
            default), ``zeros``, or ``perturbed`` (start of the target's training + N(0, init_scale^2)).
        init_scale: scale of the initial learner.
        tolerance: the episode ends when ||w - w*|| falls below it.
        pool_seed: seed of the pool's splits and draws.
        dtype: ``float64`` or ``float32`` arithmetic.
        learner_options: options of the learner.
        pool_options: options of the pool.
        medium_options: options of the medium.
        target_options: options of the target.

    Raises:
        TypeError: a value of the wrong type.
        ValueError: a value out of range.
    """

    learner: str = "logistic"
    pool: str = "half_moons"
    medium: str = "label"
    target: str = "optimum"
    budget: int = 60
    learning_rate: float = 0.5
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    batch_size: int = 1
    bias: bool = False
    continuous: bool = False
    reward: str = "progress"
    observation: str = "omniscient"
    init: str = "normal"
    init_scale: float = 1.0
    tolerance: float = 1e-3
    pool_seed: int = 0
    dtype: str = "float64"
    learner_options: Mapping[str, Any] = field(default_factory=dict)
    pool_options: Mapping[str, Any] = field(default_factory=dict)
    medium_options: Mapping[str, Any] = field(default_factory=dict)
    target_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        positive("budget", self.budget, integer=True)
        positive("batch_size", self.batch_size, integer=True)
        positive("init_scale", self.init_scale)
        for name in ("nesterov", "bias", "continuous"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be a bool, got {getattr(self, name)!r}")
        if isinstance(self.pool_seed, bool) or not isinstance(self.pool_seed, int) or self.pool_seed < 0:
            raise ValueError(f"pool_seed must be an integer >= 0, got {self.pool_seed!r}")
        number("tolerance", self.tolerance)
        if not 0.0 <= self.tolerance < math.inf:
            raise ValueError(f"tolerance must be >= 0 and finite, got {self.tolerance!r}")
        for name in ("learner_options", "pool_options", "medium_options", "target_options"):
            if not isinstance(getattr(self, name), Mapping):
                raise TypeError(f"{name} must be a mapping of names to values, got {getattr(self, name)!r}")
        for name, allowed in (("init", INITS), ("dtype", DTYPES)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        for name in ("learning_rate", "momentum", "weight_decay"):
            number(name, getattr(self, name))
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be finite, got {getattr(self, name)!r}")
        try:
            json.dumps(dataclasses.asdict(self), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise TypeError(f"a task is made of plain JSON values: {error}") from error

    def to_json(self) -> str:
        """The task as a JSON object; ``from_json`` gives it back."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> TaskSpec:
        """Read a task from ``to_json``'s text.

        Raises:
            TypeError: a key that is no attribute of a task.
        """
        return cls(**json.loads(text))
