"""``TaskSpec``: everything that defines a task, in plain JSON values."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from teach_gym.errors import number, positive

INITS = ("normal", "uniform", "zeros", "perturbed")
DTYPES = ("float64", "float32")
RANGES = ("learning_rate", "init_scale")
"""The fields that may be a range [low, high]."""


def is_drawn(value: Any) -> bool:
    """Whether a field's value is a range or a list of seeds, drawn from at each reset."""
    return isinstance(value, Sequence) and not isinstance(value, str)


@dataclass(frozen=True)
class TaskSpec:
    """Everything that defines a task, in plain JSON values; the keyword arguments of the environments.

    Attributes:
        learner: name of the learner (``teach_gym.core.learners.LEARNERS``).
        pool: name of the pool (``teach_gym.data.pools.POOLS``).
        medium: name of the medium (``teach_gym.core.media.MEDIA``).
        target: how w* is found: ``optimum``, ``trained`` or ``given``.
        budget: teaching steps H per episode.
        learning_rate: the learner's step size; or [low, high], drawn anew at each reset, log-uniformly.
        momentum: the learner's momentum in [0, 1).
        nesterov: Nesterov momentum.
        weight_decay: the learner's l2 coefficient.
        batch_size: rows m per step.
        bias: whether the learner has a bias.
        continuous: Box instead of Discrete actions.
        reward: what a step earns (``teach_gym.core.rewards.REWARDS``).
        observation: what the agent sees (``teach_gym.core.observe.OBSERVATIONS``).
        holdout_rows: most hold-out rows that black-box observations and hold-out rewards use, the first of the split.
        probes: number of hold-out rows on which a black-box agent sees the learner's predictions.
        zeta: hold-out accuracy at which an episode with the reward ``steps_to_accuracy`` ends.
        debug: let a black-box task give the distance in ``info``, show the target in pictures, and have rewards made of
            the distance.
        init: initial learner: ``normal`` (entries N(0, init_scale^2)), ``uniform`` (init_scale times torch's
            default), ``zeros``, or ``perturbed`` (start of the target's training + N(0, init_scale^2)).
        init_scale: scale of the initial learner; or [low, high], drawn anew at each reset, log-uniformly.
        tolerance: the episode ends when ||w - w*|| falls below it.
        pool_seed: seed of the pool's splits and draws; or a list of seeds, one of which is drawn at each reset with
            its pool and target (the medium and the pictures are those of the first).
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
    learning_rate: Any = 0.5
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    batch_size: int = 1
    bias: bool = False
    continuous: bool = False
    reward: str = "progress"
    observation: str = "omniscient"
    holdout_rows: int = 200
    probes: int = 10
    zeta: float = 0.9
    debug: bool = False
    init: str = "normal"
    init_scale: Any = 1.0
    tolerance: float = 1e-3
    pool_seed: Any = 0
    dtype: str = "float64"
    learner_options: Mapping[str, Any] = field(default_factory=dict)
    pool_options: Mapping[str, Any] = field(default_factory=dict)
    medium_options: Mapping[str, Any] = field(default_factory=dict)
    target_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        positive("budget", self.budget, integer=True)
        positive("batch_size", self.batch_size, integer=True)
        positive("holdout_rows", self.holdout_rows, integer=True)
        positive("probes", self.probes, integer=True)
        for name in ("nesterov", "bias", "continuous", "debug"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be a bool, got {getattr(self, name)!r}")
        self._check_drawn()
        number("zeta", self.zeta)
        if not 0.0 < self.zeta <= 1.0:
            raise ValueError(f"zeta must lie in (0, 1], got {self.zeta!r}")
        number("tolerance", self.tolerance)
        if not 0.0 <= self.tolerance < math.inf:
            raise ValueError(f"tolerance must be >= 0 and finite, got {self.tolerance!r}")
        for name in ("learner_options", "pool_options", "medium_options", "target_options"):
            if not isinstance(getattr(self, name), Mapping):
                raise TypeError(f"{name} must be a mapping of names to values, got {getattr(self, name)!r}")
        for name, allowed in (("init", INITS), ("dtype", DTYPES)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        for name in ("momentum", "weight_decay"):
            number(name, getattr(self, name))
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be finite, got {getattr(self, name)!r}")
        try:
            json.dumps(dataclasses.asdict(self), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise TypeError(f"a task is made of plain JSON values: {error}") from error

    def _check_drawn(self) -> None:
        """Check the fields that may be drawn at reset; ranges and lists become lists, as JSON gives them."""
        for name in RANGES:
            value = getattr(self, name)
            if not is_drawn(value):
                positive(name, value)
                continue
            if len(value) != 2:
                raise ValueError(f"{name} must be a number or a range [low, high], got {value!r}")
            for bound in value:
                positive(name, bound)
            if value[0] > value[1]:
                raise ValueError(f"{name} must be a number or a range [low, high] with low <= high, got {value!r}")
            object.__setattr__(self, name, list(value))
        seeds = list(self.pool_seed) if is_drawn(self.pool_seed) else [self.pool_seed]
        if not seeds or any(isinstance(s, bool) or not isinstance(s, int) or s < 0 for s in seeds):
            raise ValueError(f"pool_seed must be an integer >= 0 or a list of them, got {self.pool_seed!r}")
        if is_drawn(self.pool_seed):
            object.__setattr__(self, "pool_seed", seeds)

    @property
    def drawn(self) -> tuple[str, ...]:
        """The fields that are drawn anew at each reset."""
        return tuple(name for name in (*RANGES, "pool_seed") if is_drawn(getattr(self, name)))

    def settled(self) -> list[TaskSpec]:
        """The task without draws, one for each pool seed: ranges are replaced by their geometric means."""
        ranges = [name for name in RANGES if name in self.drawn]
        middle: dict[str, Any] = {name: math.sqrt(math.prod(getattr(self, name))) for name in ranges}
        seeds = self.pool_seed if "pool_seed" in self.drawn else [self.pool_seed]
        return [dataclasses.replace(self, pool_seed=seed, **middle) for seed in seeds]

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
