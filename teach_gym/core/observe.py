"""Observations: what an agent sees, laid out once for the space, the array and the documentation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from teach_gym.core.backend import Array, namespace, norm
from teach_gym.core.spec import TaskSpec, is_drawn
from teach_gym.core.state import Task, TeachState, needed
from teach_gym.core.task import coast, teach


class Block(NamedTuple):
    """A run of entries of the observation vector.

    Attributes:
        name: the block's name.
        start: its first entry.
        size: number of entries.
        low: lower bound of each entry.
        high: upper bound of each entry.
        meaning: what it holds.
        values: (task, state) -> (B, ...) array of B * size entries.
    """

    name: str
    start: int
    size: int
    low: float
    high: float
    meaning: str
    values: Callable[[Task, TeachState], Array]


def _w(task: Task, state: TeachState) -> Array:
    return state.w


def _difference(task: Task, state: TeachState) -> Array:
    return state.difference


def _features(task: Task, state: TeachState) -> Array:
    return state.x


def _label(task: Task, state: TeachState) -> Array:
    return state.y


def _velocity(task: Task, state: TeachState) -> Array:
    return needed(state.velocity)


def _rate(task: Task, state: TeachState) -> Array:
    return np.full(len(state.t), task.spec.learning_rate) if state.rate is None else state.rate


def _budget(task: Task, state: TeachState) -> Array:
    return (task.spec.budget - state.t) / task.spec.budget


Entry = tuple[str, int, float, float, str, Callable[[Task, TeachState], Array]]
"""A block without its place: name, size, low, high, meaning, values."""


def _label_bounds(task: Task) -> tuple[float, float]:
    """The lowest and the highest value a label may have."""
    low, high = task.learner.output.label_low, task.learner.output.label_high
    return -float("inf") if low is None else low, float("inf") if high is None else high


def omniscient(task: Task) -> list[Entry]:
    """The teacher sees learner, target and sample: the state features h(s) of LAST 4."""
    rows, size, inf = task.medium.n_sources * task.spec.batch_size, task.size, float("inf")
    low, high = _label_bounds(task)
    entries: list[Entry] = [
        ("w", size, -inf, inf, "learner parameters w", _w),
        ("difference", size, -inf, inf, "target minus learner, w* - w", _difference),
        ("features", rows * task.d, -inf, inf, "features x of the offered examples", _features),
        ("label", rows * task.k, low, high, "ground-truth labels y of the offered examples", _label),
    ]
    if task.update.momentum:
        entries.append(("velocity", size, -inf, inf, "the learner's momentum buffer", _velocity))
    return [*entries, *_end(task)]


def _logits(task: Task, state: TeachState) -> Array:
    return task.learner.logits(state.w[:, None], state.x)


def _gap(task: Task, state: TeachState) -> Array:
    return task.learner.logits(state.target[:, None], state.x) - _logits(task, state)


def _log_distance(task: Task, state: TeachState) -> Array:
    return namespace(state.w).log(state.distance / state.initial_distance + _LEAST_SHARE)


def _outlook(task: Task, state: TeachState) -> Array:
    w, velocity = teach(task, state, task.medium.candidates[:, None])
    ends = [w] if velocity is None else [w, coast(task, state, w, velocity)]
    return np.concatenate([_compared(state, norm(end - state.target)) for end in ends]).T


def _compared(state: TeachState, after: Array) -> Array:
    """The gain of the best action, then each action's shortfall, from the distances after them (A, B): (1 + A, B)."""
    best = after.min(0)
    gain = (state.distance - best) / (state.distance + _LEAST_SHARE * state.initial_distance)
    unit = after.mean(0) - best + 1e-9 * state.initial_distance
    return np.concatenate([gain[None], (after - best) / unit])


_LEAST_SHARE = 1e-4
"""Shares of the initial distance below this look alike to an agent."""


def lookahead(task: Task) -> list[Entry]:
    """What the best choice hangs on, in a few numbers that do not grow with the learner.

    All of it follows from the omniscient observation, but through products of its entries that a small network is slow
    to learn. With the outlook an agent starts from what the greedy oracle (for learners with momentum: and the
    anticipating one) knows, and has to learn what they miss.
    """
    inf, rows = float("inf"), task.medium.n_sources * task.spec.batch_size * task.k
    low, high = _label_bounds(task)
    size, outlook = 1 + task.n_actions, "gain of the best action by one step, as a share of the distance, then how much"
    outlook += " farther each action ends than the best, in units of their mean"
    if task.update.momentum:
        size, outlook = 2 * size, outlook + "; the same for where the momentum would carry the learner"
    entries: list[Entry] = [
        ("label", rows, low, high, "ground-truth labels y of the offered examples", _label),
        ("logits", rows, -inf, inf, "the learner's logits on the offered examples", _logits),
        ("gap", rows, -inf, inf, "the target's logits on them minus the learner's", _gap),
        ("log_distance", 1, -inf, inf, "log of the distance as a share of that at the start", _log_distance),
        ("outlook", size, -inf, inf, outlook, _outlook),
    ]
    return [*entries, *_end(task)]


def full(task: Task) -> list[Entry]:
    """The omniscient observation and, before its last blocks, what ``lookahead`` adds to it."""
    last = len(_end(task))
    added = [entry for entry in lookahead(task)[:-last] if entry[0] != "label"]
    return [*omniscient(task)[:-last], *added, *_end(task)]


def _end(task: Task) -> list[Entry]:
    """The last blocks of an observation: the learning rate, if it is drawn at reset, and the budget."""
    entries: list[Entry] = [("budget", 1, 0.0, 1.0, "share of the teaching budget that remains", _budget)]
    if is_drawn(task.spec.learning_rate):
        low, high = task.spec.learning_rate
        entries.insert(0, ("learning_rate", 1, low, high, "the learner's step size", _rate))
    return entries


def _predictions(task: Task, state: TeachState) -> Array:
    assert task.holdout is not None
    return task.learner.predict(state.w, task.holdout.probes)


def _loss(task: Task, state: TeachState) -> Array:
    return task.learner.output.loss(task.learner.logits(state.w[:, None], state.x), state.y)


def _elapsed(task: Task, state: TeachState) -> Array:
    return state.t / task.spec.budget


def _mean_loss(task: Task, state: TeachState) -> Array:
    return needed(state.mean_loss)


def _best_loss(task: Task, state: TeachState) -> Array:
    return needed(state.best_holdout_loss) / needed(state.initial_holdout_loss)


def black_box(task: Task) -> list[Entry]:
    """What can be had by querying the learner (LAST 4; DHT 4.1 and appendix B), with no trace of w*.

    Its predictions on a few representative hold-out rows, its loss on the examples offered, the share of the budget
    that is spent, the mean of its losses on the examples shown so far, its best hold-out loss so far as a share of
    that at the start, and the examples offered with their labels.
    """
    rows, inf = task.medium.n_sources * task.spec.batch_size, float("inf")
    low, high = _label_bounds(task)
    probes = task.k * (0 if task.holdout is None else len(task.holdout.probes))
    best = "best hold-out loss so far, as a share of that at the start"
    return [
        ("predictions", probes, low, high, "the learner's predictions on representative hold-out rows", _predictions),
        ("loss", rows, 0.0, inf, "the learner's loss on each offered row", _loss),
        ("elapsed", 1, 0.0, 1.0, "share of the teaching budget that is spent", _elapsed),
        ("mean_loss", 1, -inf, inf, "mean of the losses on the examples shown so far (0 at the start)", _mean_loss),
        ("best_loss", 1, 0.0, 1.0, best, _best_loss),
        ("features", rows * task.d, -inf, inf, "features x of the offered examples", _features),
        ("label", rows * task.k, low, high, "ground-truth labels y of the offered examples", _label),
    ]


OBSERVATIONS: dict[str, Callable[[Task], list[Entry]]] = {
    "omniscient": omniscient,
    "lookahead": lookahead,
    "full": full,
    "black_box": black_box,
}


def layout(task: Task, trained: TaskSpec | None = None) -> list[Block]:
    """The blocks of the task's observation, in order.

    Args:
        task: the task.
        trained: the task that an agent was trained on, to show it this one as it is used to: that task's kind of
            observation, with the learning rate in it if it was drawn there.
    """
    if trained is not None:
        used = {name: getattr(trained, name) for name in ("observation", "learning_rate")}
        task = dataclasses.replace(task, spec=dataclasses.replace(task.spec, **used))
    blocks: list[Block] = []
    for name, size, low, high, meaning, values in OBSERVATIONS[task.spec.observation](task):
        start = blocks[-1].start + blocks[-1].size if blocks else 0
        blocks.append(Block(name, start, size, low, high, meaning, values))
    return blocks


def bounds(blocks: list[Block]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Lower and upper bounds of the observation vector, (O,) each."""
    low = np.concatenate([np.full(b.size, b.low, dtype=np.float32) for b in blocks])
    high = np.concatenate([np.full(b.size, b.high, dtype=np.float32) for b in blocks])
    return low, high


def observe(task: Task, state: TeachState, blocks: list[Block]) -> npt.NDArray[np.float32]:
    """The observation (B, O) float32, a fresh array with the batch axis fastest in memory."""
    rows = []
    for block in blocks:
        values = block.values(task, state)
        if values.ndim == 2:
            rows.append(values.T)
        elif values.ndim == 1:
            rows.append(values[None])
        else:
            rows.append(values.transpose(*range(1, values.ndim), 0).reshape(block.size, -1))
    return np.concatenate(rows, dtype=np.float32, casting="same_kind").T
