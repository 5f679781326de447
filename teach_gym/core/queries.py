"""What can be had by querying the learner, with no trace of w*: the parts of black-box observations.

Every function takes a task and a state and gives (B, n) numbers. Rows of a mini-batch are averaged, so their number
depends on the sources a step offers and on the actions, not on the data.
"""

from __future__ import annotations

from teach_gym.core.backend import Array, dot, namespace
from teach_gym.core.holdout import class_probabilities
from teach_gym.core.state import Task, TeachState, needed
from teach_gym.core.task import compose

LEAST = 1e-4
"""Probabilities below this, and shares of the first hold-out loss, look alike to an agent."""


def given(task: Task, y: Array) -> Array:
    """Labels of sources as entries for each class: (B, M, m, K) -> (B, M, m, C)."""
    return class_probabilities(task.learner.output, y)


def probabilities(task: Task, state: TeachState) -> Array:
    """The learner's prediction of each class on the offered rows: (B, M, m, C)."""
    return class_probabilities(task.learner.output, task.learner.predict(state.w[:, None], state.x))


def agreement(task: Task, state: TeachState) -> Array:
    """The learner's probability of the given label (regression: the label less the prediction): (B, M)."""
    p, y = probabilities(task, state), given(task, state.y)
    xp = namespace(p)
    return xp.mean(dot(p, y) if task.pool.n_classes else xp.sum(y - p, axis=-1), axis=-1)


def margin(task: Task, state: TeachState) -> Array:
    """Log odds of the given label against the likeliest other one: (B, M)."""
    p, y = probabilities(task, state), given(task, state.y)
    xp = namespace(p)
    other = xp.max(p * (1.0 - y), axis=-1)
    return xp.mean(xp.log((dot(p, y) + LEAST) / (other + LEAST)), axis=-1)


def confidence(task: Task, state: TeachState) -> Array:
    """The learner's highest probability: (B, M)."""
    p = probabilities(task, state)
    xp = namespace(p)
    return xp.mean(xp.max(p, axis=-1), axis=-1)


def loss(task: Task, state: TeachState) -> Array:
    """The learner's loss on the teaching example of each action: (B, A)."""
    example = compose(task, state, task.medium.candidates[:, None])
    return task.learner.loss(state.w, example.x, example.y).T


def reference(task: Task, state: TeachState) -> Array:
    """Probability that the given soft label, which the medium mixes with, gives to the label: (B, M)."""
    xp = namespace(state.w)
    return xp.mean(dot(given(task, state.soft), given(task, state.y)), axis=-1)


def size(task: Task, state: TeachState) -> Array:
    """Squared norm of the offered features as a share of the mean over the pool's: (B, M)."""
    xp = namespace(state.x)
    return xp.mean(task.learner.squared_norms(state.x), axis=-1) / xp.mean(task.squared_norms)


def likeness(task: Task, state: TeachState) -> Array:
    """Cosine of each further source's features with the first's, and whether the labels are the same: (B, 2 (M - 1))."""
    x, y, xp = state.x, given(task, state.y), namespace(state.x)
    first, norms = x[:, :1], xp.sqrt(dot(x, x)) + 1e-30
    cosine = dot(x, first) / (norms * norms[:, :1])
    same = dot(y, y[:, :1])
    return xp.concat([xp.mean(a[:, 1:], axis=-1) for a in (cosine, same)], axis=-1)


def classes(task: Task, state: TeachState) -> Array:
    """What the hold-out rows tell of the given label's class and of the class predicted: (B, 5 M).

    Of the given class: its loss less the mean loss, its recall and its excess; of the predicted one: its precision and
    excess (see ``Measured``).
    """
    now, y = needed(state.memory).now, given(task, state.y)
    xp = namespace(y)
    p = probabilities(task, state)
    named = xp.astype(p == xp.max(p, axis=-1, keepdims=True), p.dtype)

    def mean(stat: Array, weights: Array) -> Array:
        return xp.mean(dot(weights, stat[:, None, None]), axis=-1)

    parts = [
        mean(now.class_loss - now.loss[:, None], y),
        mean(now.recall, y),
        mean(now.excess, y),
        mean(now.precision, named),
        mean(now.excess, named),
    ]
    return xp.concat(parts, axis=-1)


def standing(task: Task, state: TeachState) -> Array:
    """Hold-out accuracy, loss, and log of the loss as a share of the first and of the best so far: (B, 4)."""
    past, xp = needed(state.memory), namespace(state.w)
    now = past.now.loss
    ratios = [xp.log(now / past.initial + LEAST), xp.log((now + LEAST) / (past.best + LEAST))]
    return xp.stack([past.now.accuracy, now, *ratios], axis=-1)


def progress(task: Task, state: TeachState) -> Array:
    """Hold-out gain of the last step and its running mean, and the share of the budget since the best loss: (B, 3)."""
    past, xp = needed(state.memory), namespace(state.w)
    return xp.stack([past.gain, past.mean_gain, past.stale / task.spec.budget], axis=-1)


def experience(task: Task, state: TeachState) -> Array:
    """Mean loss on the examples shown, over all steps so far and over the last ones: (B, 2)."""
    past = needed(state.memory)
    return namespace(state.w).stack([past.mean_loss, past.recent_loss], axis=-1)
