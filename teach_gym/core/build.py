"""Building a task from its spec: makes the parts and checks that they fit together."""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import Any

import numpy as np

from teach_gym.arguments import chosen
from teach_gym.core.backend import Array, each_array
from teach_gym.core.farsighted import check_linear
from teach_gym.core.foresight import FARSIGHTED
from teach_gym.core.holdout import make_holdout
from teach_gym.core.learner import Learner, MLPLearner
from teach_gym.core.learners import LEARNERS, make_learner
from teach_gym.core.media import Setting, make_medium
from teach_gym.core.medium import Medium
from teach_gym.core.observe import OBSERVATIONS
from teach_gym.core.outputs import IDENTITY, MARGIN, SOFTMAX
from teach_gym.core.rewards import HOLDOUT_REWARDS, REWARDS
from teach_gym.core.spec import BLACK_BOX, SCHEDULED_ROW, TaskSpec, is_drawn
from teach_gym.core.state import Holdout, Task, Variants
from teach_gym.core.targets import TARGETS, make_target
from teach_gym.core.updates import Update
from teach_gym.data.pool import Pool, Split, frozen
from teach_gym.data.pools import make_pool
from teach_gym.errors import DATA_MEMORY, RUN_MEMORY, affordable, lookup_name, shown
from teach_gym.registration import spec_kwargs

_PRETRAINING = 100
"""Full-batch updates of the network that gives the soft labels of the label medium's ``p='pretrained'``."""

_COPIES = 64
"""Arrays of the learner's size that the search for the target keeps."""
_LAYERS = 4
"""Arrays of the hidden layer's size that the gradient on all rows keeps."""


def encode_labels(learner: Learner, split: Split, n_classes: int) -> Array:
    """A split's labels as the learner takes them: (n, K).

    One output in [0, 1] or +-1 for two classes, one-hot for softmax and for least squares on classes, the real
    targets for regression.

    Raises:
        ValueError: the learner does not fit the pool.
    """
    labels = split.labels
    if n_classes == 0:
        if learner.output != IDENTITY:
            raise ValueError(f"learner {learner.name!r} needs classes, the pool is for regression; use least_squares")
        return labels[:, None].astype(np.float64)
    if learner.output in (SOFTMAX, IDENTITY):
        return np.eye(n_classes)[labels]
    if n_classes != 2:
        raise ValueError(f"learner {learner.name!r} has one output and needs 2 classes, the pool has {n_classes}")
    low, high = (-1.0, 1.0) if learner.output == MARGIN else (0.0, 1.0)
    return np.where(labels == 1, high, low)[:, None]


def make_task(name: str | None = None, /, **changes: Any) -> Task:
    """Build a task: a registered one with changes, or one defined by its fields alone.

    >>> make_task("LabelMoons", learning_rate=0.1).spec.learning_rate
    0.1

    Args:
        name: a registered task's short name or id (None: ``changes`` on top of the defaults of ``TaskSpec``).
        **changes: fields of ``TaskSpec``; each replaces the value of the registered task.

    Raises:
        TypeError: unknown argument or a value of the wrong type.
        ValueError: unknown name, a value out of range, or parts that do not fit together.
        DataNotFoundError: the pool's data is missing.
    """
    registered = {} if name is None else spec_kwargs(name)
    return build(TaskSpec(**{**registered, **changes}))


def build(spec: TaskSpec) -> Task:
    """Build the task a spec describes; see ``make_task``. Its arrays are read-only: environments share tasks."""
    return each_array(_drawn_at_reset(spec) if spec.drawn else _built(spec), frozen)


def _built(spec: TaskSpec) -> Task:
    reward = lookup_name("reward", spec.reward, REWARDS)
    lookup_name("observation", spec.observation, OBSERVATIONS)
    _check_black_box(spec)
    remembers = spec.observation in BLACK_BOX or spec.reward in HOLDOUT_REWARDS
    learner = chosen("learner", spec.learner, LEARNERS, spec.learner_options)(spec.learner, spec.bias)
    assert not is_drawn(spec.learning_rate)
    update = Update(spec.learning_rate, spec.momentum, spec.nesterov, spec.weight_decay)
    pool = make_pool(spec.pool, spec.first_pool_seed, **spec.pool_options)
    hidden = learner.hidden if isinstance(learner, MLPLearner) and learner.offsets else 0
    _check_memory(spec, learner, pool, hidden)
    y = encode_labels(learner, pool.train, pool.n_classes)
    pool = _with_offsets(pool, hidden) if hidden else pool
    setting = Setting(pool.train.x, y.shape[1], learner.output, spec.batch_size, spec.continuous, hidden)
    medium = make_medium(spec.medium, setting, **spec.medium_options)
    shown = spec.budget * medium.n_sources * spec.batch_size
    affordable(f"the schedule of {shown:,} rows (budget x sources x batch_size)", SCHEDULED_ROW * shown, RUN_MEMORY)
    options = chosen("target", spec.target, TARGETS, spec.target_options).keywords
    target, start = _target(learner, pool, spec.target, spec.first_pool_seed, json.dumps(options))
    soft = _soft_labels(medium, learner, pool, target)

    rows = np.concatenate([pool.train.x, y] if soft is None else [pool.train.x, y, soft], axis=1)
    task = Task(
        spec=spec,
        learner=learner,
        update=update,
        pool=pool,
        medium=_cast_medium(medium, spec.dtype),
        reward=reward,
        rows=np.asfortranarray(rows, dtype=spec.dtype),
        k=y.shape[1],
        target=target.astype(spec.dtype),
        start=start.astype(spec.dtype),
        holdout=_holdout(spec, learner, pool, remembers),
        remembers=remembers,
    )
    for field, values in FARSIGHTED.items():
        if getattr(spec, field) in values:
            check_linear(task, f"{field} {getattr(spec, field)!r}")
    return task


def _check_memory(spec: TaskSpec, learner: Learner, pool: Pool, hidden: int) -> None:
    """Check what the table of rows, finding the target, and one run's mini-batch will need.

    Raises:
        TooLargeError: more than is allowed.
    """
    k = pool.n_classes if learner.output in (SOFTMAX, IDENTITY) else 1
    n, d, columns = len(pool.train), pool.d + hidden, pool.d + hidden + 2 * max(k, 1)
    affordable(f"the table of {n:,} rows with {columns:,} columns", 8 * n * columns, DATA_MEMORY)
    parameters = learner.size(d, max(k, 1))
    affordable(f"a learner with {parameters:,} parameters", 8 * _COPIES * parameters, DATA_MEMORY)
    units = learner.hidden if isinstance(learner, MLPLearner) else 0
    affordable(f"a learner with {units:,} hidden units on {n:,} rows", 8 * _LAYERS * n * units, DATA_MEMORY)
    affordable(f"a mini-batch of {spec.batch_size:,} rows", 8 * spec.batch_size * columns, RUN_MEMORY)


@functools.lru_cache(maxsize=32)
def _target(learner: Learner, pool: Pool, name: str, seed: int, options: str) -> tuple[Array, Array]:
    """The target (P,) of correct labels and the start (P,) of its search, which tasks with the same data share.

    ``options`` is the JSON text of the target's options. Finding the target takes most of the time of ``make_task``.
    """
    concept = encode_labels(learner, pool.train.corrected(), pool.n_classes)
    return make_target(name, learner, pool.train.x, concept, seed, **json.loads(options))


@functools.lru_cache(maxsize=8)
def _with_offsets(pool: Pool, hidden: int) -> Pool:
    """The pool with a zero offset for each hidden unit appended to the features of every row; pictures omit them."""

    def wider(split: Split) -> Split:
        return dataclasses.replace(split, x=np.asfortranarray(np.pad(split.x, ((0, 0), (0, hidden)))))

    image, projection = pool.to_image, pool.projection
    if pool.image_shape is not None:
        image = np.pad(np.eye(pool.d) if image is None else image, ((0, hidden), (0, 0)))
    return dataclasses.replace(
        pool,
        train=wider(pool.train),
        holdout=wider(pool.holdout),
        test=wider(pool.test),
        to_image=image,
        projection=None if projection is None else np.pad(projection, ((0, 0), (0, hidden))),
    )


def _drawn_at_reset(spec: TaskSpec) -> Task:
    """A task whose learning rate, initial scale or pool is drawn at each reset; one table holds the rows of all pools.

    Raises:
        ValueError: the pools differ in size, or the learner is measured on the hold-out rows of several pools.
    """
    parts = [_built(settled) for settled in spec.settled()]
    first, sizes = parts[0], {part.rows.shape for part in parts}
    if "pool_seed" not in spec.drawn:
        return dataclasses.replace(first, spec=spec)
    if len(sizes) > 1:
        raise ValueError(f"pools drawn at reset must have the same size, got {sizes} for pool_seed {spec.pool_seed}")
    if first.remembers:
        raise ValueError(f"pool_seed must be one number where hold-out rows are used, got {spec.pool_seed}")
    targets, starts = (np.stack([getattr(part, name) for part in parts]) for name in ("target", "start"))
    rows = np.asfortranarray(np.concatenate([part.rows for part in parts]))
    return dataclasses.replace(first, spec=spec, rows=rows, variants=Variants(targets, starts, len(first.rows)))


def _check_black_box(spec: TaskSpec) -> None:
    if spec.observation not in BLACK_BOX or spec.debug:
        return
    if spec.reward not in HOLDOUT_REWARDS:
        raise ValueError(
            f"a black-box task must not tell the distance to the target: reward must be one of "
            f"{', '.join(sorted(HOLDOUT_REWARDS))}, got {shown(spec.reward)} (debug=True allows it)"
        )
    if spec.medium_options.get("p") == "target":
        raise ValueError(
            "a black-box task must not show the target's predictions: the label medium's p must be uniform, given, "
            "prediction or pretrained, got 'target' (debug=True allows it)"
        )


def _holdout(spec: TaskSpec, learner: Learner, pool: Pool, remembers: bool) -> Holdout:
    """The hold-out rows a task measures the learner on."""
    if spec.reward == "steps_to_accuracy" and pool.n_classes == 0:
        raise ValueError(f"reward 'steps_to_accuracy' needs classes; pool {pool.name!r} is for regression")
    y = encode_labels(learner, pool.holdout, pool.n_classes)
    return make_holdout(pool.holdout, y, spec.holdout_rows, spec.probes if remembers else 0, spec.dtype)


def _cast_medium(medium: Medium, dtype: str) -> Medium:
    changes: dict[str, Any] = {"candidates": medium.candidates.astype(dtype)}
    inner = getattr(medium, "label", None)
    if inner is not None:
        changes["label"] = _cast_medium(inner, dtype)
    return dataclasses.replace(medium, **changes)


def _soft_labels(medium: Medium, learner: Learner, pool: Pool, target: Array) -> Array | None:
    if medium.reference == "target":
        return learner.predict(target[None], pool.train.x)[0]
    if medium.reference not in ("given", "pretrained"):
        return None
    soft = _pretrained(pool) if medium.reference == "pretrained" else pool.train.soft
    if soft is None:
        raise ValueError(f"p='given' needs a pool with soft labels; pool {pool.name!r} has none")
    low, high = learner.output.label_low, learner.output.label_high
    if learner.output == SOFTMAX or low is None or high is None:
        return soft
    return low + (high - low) * soft[:, 1:]  # one output: the probability of class 1 on the scale of the labels


@functools.lru_cache(maxsize=8)
def _pretrained(pool: Pool) -> Array:
    """Soft labels (N, K) of the train rows from a two-layer perceptron trained on them, whatever the task's learner."""
    network = make_learner("mlp", bias=True, hidden=32)
    y = encode_labels(network, pool.train, pool.n_classes)
    w, _ = make_target("trained", network, pool.train.x, y, 0, steps=_PRETRAINING, learning_rate=0.5)
    return network.predict(w[None], pool.train.x)[0]
