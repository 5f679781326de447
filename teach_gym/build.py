"""Building a task from its spec: the parts, fitted to each other."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from teach_gym.backend import Array
from teach_gym.errors import lookup_name
from teach_gym.learners import Learner, make_learner
from teach_gym.media import Setting, make_medium
from teach_gym.medium import Medium
from teach_gym.observe import OBSERVATIONS
from teach_gym.outputs import IDENTITY, MARGIN, SOFTMAX
from teach_gym.pools import Pool, Split, make_pool
from teach_gym.rewards import REWARDS
from teach_gym.spec import TaskSpec
from teach_gym.targets import make_target
from teach_gym.task import Task
from teach_gym.updates import Update


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


def make_task(**spec: Any) -> Task:
    """Build a task from keyword arguments, those of ``TaskSpec``.

    Raises:
        TypeError: unknown argument or a value of the wrong type.
        ValueError: unknown name, a value out of range, or parts that do not fit each other.
        DataNotFoundError: the pool's data is not there.
    """
    return build(TaskSpec(**spec))


def build(spec: TaskSpec) -> Task:
    """Build the task a spec describes; see ``make_task``."""
    reward = lookup_name("reward", spec.reward, REWARDS)
    lookup_name("observation", spec.observation, OBSERVATIONS)
    learner = make_learner(spec.learner, bias=spec.bias, **spec.learner_options)
    update = Update(spec.learning_rate, spec.momentum, spec.nesterov, spec.weight_decay)
    pool = make_pool(spec.pool, spec.pool_seed, **spec.pool_options)
    y = encode_labels(learner, pool.train, pool.n_classes)
    setting = Setting(pool.train.x, y.shape[1], learner.output, spec.batch_size, spec.continuous)
    medium = make_medium(spec.medium, setting, **spec.medium_options)
    target, start = make_target(spec.target, learner, pool.train.x, y, spec.pool_seed, **spec.target_options)
    soft = _soft_labels(medium, learner, pool, target)

    rows = np.concatenate([pool.train.x, y] if soft is None else [pool.train.x, y, soft], axis=1)
    return Task(
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
    )


def _cast_medium(medium: Medium, dtype: str) -> Medium:
    changes: dict[str, Any] = {"candidates": medium.candidates.astype(dtype)}
    inner = getattr(medium, "label", None)
    if inner is not None:
        changes["label"] = _cast_medium(inner, dtype)
    return dataclasses.replace(medium, **changes)


def _soft_labels(medium: Medium, learner: Learner, pool: Pool, target: Array) -> Array | None:
    if medium.reference == "target":
        return learner.predict(target[None], pool.train.x)[0]
    if medium.reference != "given":
        return None
    soft = pool.train.soft
    if soft is None:
        raise ValueError(f"p='given' needs a pool with soft labels; pool {pool.name!r} has none")
    low, high = learner.output.label_low, learner.output.label_high
    if learner.output == SOFTMAX or low is None or high is None:
        return soft
    return low + (high - low) * soft[:, 1:]  # one output: the probability of class 1 on the scale of the labels
