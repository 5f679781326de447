"""``TaskSpec``: everything that defines a task, in plain JSON values."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from teach_gym.arguments import Count, NonNegative, Positive, Seed, Within, checked_fields, conform
from teach_gym.core.updates import Momentum
from teach_gym.errors import RUN_MEMORY, affordable, check_known, shown

if TYPE_CHECKING:
    from typing_extensions import Self, TypeIs

BLACK_BOX = ("black_box", "black_box_trial")
"""The observations that do not show the learner's parameters and w*."""
RANGES = ("learning_rate", "init_scale")
"""The fields that may be a range [low, high]."""

MOST_POOLS = 1_000
"""Maximum number of pools to draw from."""

SCHEDULED_ROW = 16
"""Bytes for each row of the schedule while it is drawn."""

Dtype = Literal["float64", "float32"]
N = TypeVar("N", int, float)


def is_drawn(value: N | Sequence[N]) -> TypeIs[Sequence[N]]:
    """Whether a field's value is a range or a list of seeds to draw from at each reset."""
    return isinstance(value, Sequence)


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
        holdout_rows: maximum number of hold-out rows, the first of the split, for black-box observations and hold-out
            rewards.
        probes: number of hold-out rows on which a black-box agent sees the learner's predictions.
        zeta: hold-out accuracy at which an episode with the reward ``steps_to_accuracy`` ends.
        debug: allow a black-box task to report the distance in ``info``, to show the target in pictures, and to use
            rewards based on the distance.
        init: initial learner: ``normal`` (entries N(0, init_scale^2)), ``uniform`` (init_scale times torch's
            default), ``zeros``, or ``perturbed`` (start of the target's training + N(0, init_scale^2)).
        init_scale: scale of the initial learner; or [low, high], drawn anew at each reset, log-uniformly.
        tolerance: the episode ends when ||w - w*|| falls below it.
        pool_seed: seed of the pool's splits and draws; or a list of seeds, one of which is drawn at each reset, with
            its own pool and target (the medium and the pictures are those of the first).
        dtype: ``float64`` or ``float32`` arithmetic.
        learner_options: options of the learner.
        pool_options: options of the pool.
        medium_options: options of the medium.
        target_options: options of the target.

    Raises:
        TypeError: an unknown field, or a value of the wrong type.
        ValueError: a value out of range.
        TooLargeError: episodes that do not fit in memory.
    """

    learner: str = "logistic"
    pool: str = "half_moons"
    medium: str = "label"
    target: str = "optimum"
    budget: Count = 60
    learning_rate: Positive | Sequence[Positive] = 0.5
    momentum: Momentum = 0.0
    nesterov: bool = False
    weight_decay: NonNegative = 0.0
    batch_size: Count = 1
    bias: bool = False
    continuous: bool = False
    reward: str = "progress"
    observation: str = "omniscient"
    holdout_rows: Count = 200
    probes: Count = 10
    zeta: Annotated[float, Within(0.0, 1.0, open_low=True)] = 0.9
    debug: bool = False
    init: Literal["normal", "uniform", "zeros", "perturbed"] = "normal"
    init_scale: Positive | Sequence[Positive] = 1.0
    tolerance: NonNegative = 1e-3
    pool_seed: Seed | Sequence[Seed] = 0
    dtype: Dtype = "float64"
    learner_options: Mapping[str, Any] = field(default_factory=dict)
    pool_options: Mapping[str, Any] = field(default_factory=dict)
    medium_options: Mapping[str, Any] = field(default_factory=dict)
    target_options: Mapping[str, Any] = field(default_factory=dict)

    def __new__(cls, *args: Any, **fields: Any) -> Self:
        """Check the names of the fields."""
        check_known("a task", fields, [part.name for part in dataclasses.fields(cls)])
        return super().__new__(cls)

    def __post_init__(self) -> None:
        checked_fields(self)
        for name in RANGES:
            value = getattr(self, name)
            if is_drawn(value) and (len(value) != 2 or value[0] > value[1]):
                raise ValueError(f"{name} must be a number or a range [low, high] with low <= high, got {shown(value)}")
        if is_drawn(self.pool_seed) and not 1 <= len(self.pool_seed) <= MOST_POOLS:
            n = len(self.pool_seed)
            raise ValueError(f"pool_seed must be a seed or a list of 1 to {MOST_POOLS} seeds, got a list of {n}")
        rows = self.budget * self.batch_size
        affordable(f"the schedule of {rows:,} rows (budget x batch_size)", SCHEDULED_ROW * rows, RUN_MEMORY)

    @property
    def drawn(self) -> tuple[str, ...]:
        """The fields that are drawn anew at each reset."""
        return tuple(name for name in (*RANGES, "pool_seed") if is_drawn(getattr(self, name)))

    @property
    def first_pool_seed(self) -> int:
        """The pool's seed, the first one of a list."""
        return self.pool_seed[0] if is_drawn(self.pool_seed) else self.pool_seed

    def settled(self) -> list[TaskSpec]:
        """The specs without draws, one for each pool seed: ranges are replaced by their geometric means."""
        ranges = [name for name in RANGES if name in self.drawn]
        middle: dict[str, Any] = {name: math.sqrt(math.prod(getattr(self, name))) for name in ranges}
        seeds = self.pool_seed if is_drawn(self.pool_seed) else [self.pool_seed]
        return [dataclasses.replace(self, pool_seed=seed, **middle) for seed in seeds]

    def to_json(self) -> str:
        """The spec as a JSON object, which ``from_json`` reads."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> TaskSpec:
        """Read a task from ``to_json``'s text.

        Raises:
            TypeError: an unknown key.
        """
        return cls(**conform("a task", json.loads(text), Mapping[str, Any]))
