"""A perceptron that begins as an oracle: training improves on the oracle instead of finding it first.

With ``observation="farsighted"`` an agent sees by how much the cost of each action exceeds that of the best, as the
oracle ``lqr`` sees it; with ``"lookahead"`` as ``greedy`` sees it (with momentum, ``anticipating``); with
``"black_box_trial"``, where nothing tells of w*, as ``holdout_rehearsal`` sees it. The first hidden units of every
layer pass these shortfalls on, and the last layer gives each action a score that falls with its own. The best action's
score is therefore the highest from the start. In the continuous flavour an agent sees the action that the oracle aims
at, which is passed on likewise. All weights are then trained as usual.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from teach_gym.core.backend import Array
from teach_gym.core.layout import layout, observe
from teach_gym.core.randomness import Streams, draw_keys
from teach_gym.core.state import Task, TeachState, Transition
from teach_gym.core.task import reset, step
from teach_gym.teachers.perceptron import Floats

Doubles = npt.NDArray[np.float64]

EPISODES = 128
"""Lessons of the oracle whose observations give the statistics for normalising."""
PRICED = 32
"""Lessons of the oracle in which other actions are tried, to find what they cost in reward."""
SHARPNESS = 8.0
"""How fast scores fall with the shortfall, which is in units of the mean shortfall of a step."""
ADVANTAGE = 0.3
"""The same for scores that are expected rewards. Normalised rewards are divided such that it is their ``price``."""
LESSONS = 1e9
"""Weight of the statistics of these lessons, against one for each observation of the training."""
_WORD = 0x57A27
_SLOPES = {"Tanh": 0.5, "ReLU": 1.0}
"""Slope of the units that pass shortfalls on, for each activation; those of tanh saturate at large shortfalls."""
_DISCRETE = "observation='farsighted', 'lookahead' or 'black_box_trial'"
_STRAIGHT = 0.05
"""Slope of units of tanh that pass continuous actions on, so small that they are almost linear."""


class Shown(NamedTuple):
    """What an agent is shown of the oracle's choice.

    Attributes:
        entries: the observation's entries: each action's shortfall, or each coordinate of a continuous action.
        lowest: their least value.
        slope: an output's slope in its entry.
    """

    entries: slice
    lowest: float
    slope: float


def shown(task: Task, sharpness: float = SHARPNESS) -> Shown:
    """What the observation shows of the choice of ``lqr``, ``holdout_rehearsal`` or ``greedy``.

    Args:
        task: the task.
        sharpness: how fast the scores of discrete actions fall with their shortfall.

    Raises:
        ValueError: the observation is neither ``farsighted`` nor ``lookahead`` nor, with discrete actions,
            ``black_box_trial``; or the task has no teaching state.
    """
    if not isinstance(task, Task):
        raise ValueError("a start at the oracle needs a task with a teaching state, which a network's training has not")
    names = ("aim",) if task.spec.continuous else ("farsight", "trial", "outlook")
    blocks = {block.name: block for block in layout(task)}
    found = next((blocks[name] for name in names if name in blocks), None)
    if found is None:
        allowed = "observation='farsighted' or 'lookahead'" if task.spec.continuous else _DISCRETE
        raise ValueError(f"a start at the oracle needs {allowed}; the task has {task.spec.observation!r}")
    end = found.start + found.size
    if task.spec.continuous:
        return Shown(slice(found.start, end), found.low, 1.0)
    return Shown(slice(end - task.n_actions, end), 0.0, -sharpness)


def oracle_observations(task: Task, seed: int, episodes: int = EPISODES) -> Floats:
    """What the oracle sees while it teaches: (N, O).

    Args:
        task: a task whose observation shows the oracle's choice.
        seed: determines the lessons.
        episodes: number of lessons.
    """
    return np.concatenate([lesson.observation[lesson.running] for lesson in _lessons(task, seed, episodes)])


def price(task: Task, seed: int) -> float:
    """What a mean shortfall costs in reward: the median over the steps of the oracle's lessons.

    In every step another action is tried, drawn at random. The median, since a few steps decide most of an episode's
    reward; a mean is theirs alone.

    Args:
        task: a task with discrete actions whose observation shows the oracle's choice.
        seed: determines the lessons.

    Raises:
        ValueError: the reward does not pay for the oracle's choices.
    """
    rng, entries, rows, found = np.random.default_rng([_WORD, seed, 1]), shown(task).entries, np.arange(PRICED), []
    for lesson in _lessons(task, seed, PRICED):
        action = rng.integers(task.n_actions, size=PRICED)
        shortfall = lesson.observation[rows, entries.start + action]
        cost = lesson.taken.reward - step(task, lesson.state, action).reward
        use = lesson.running & (shortfall > 0)
        found.append(cost[use] / shortfall[use])
    typical = float(np.median(np.concatenate(found)))
    if not typical > 0:
        raise ValueError(f"reward {task.spec.reward!r} pays no more for the oracle's choices than for others")
    return typical


class _Step(NamedTuple):
    """A step of the oracle's lessons, those that are over included."""

    state: TeachState
    observation: Floats
    taken: Transition
    running: npt.NDArray[np.bool_]


def _lessons(task: Task, seed: int, episodes: int) -> Iterator[_Step]:
    blocks, entries = layout(task), shown(task).entries
    state = reset(task, Streams(draw_keys(np.random.default_rng([_WORD, seed]), episodes)))
    running = np.ones(episodes, dtype=np.bool_)
    for _ in range(task.spec.budget):
        observation = observe(task, state, blocks)
        action: Array = observation[:, entries].argmin(1)
        if task.spec.continuous:
            action = observation[:, entries].reshape(-1, *task.medium.box[0].shape).astype(task.spec.dtype)
        taken = step(task, state, action)
        yield _Step(state, observation, taken, running)
        state, running = taken.state, running & ~taken.terminated


def statistics(task: Task, seed: int) -> tuple[Doubles, Doubles]:
    """Mean and variance of what the oracle sees, by which to normalise observations: (O,) each.

    The entries that show its choice keep their zero and have one scale.
    """
    seen, entries = oracle_observations(task, seed), shown(task).entries
    mean, var = seen.mean(0, dtype=np.float64), seen.var(0, dtype=np.float64)
    mean[entries], var[entries] = 0.0, np.mean(seen[:, entries] ** 2, dtype=np.float64)
    return mean, var


def begin_at_oracle(layers: Sequence[Any], choice: Shown, unit: float) -> None:
    """Set the weights of a perceptron over normalised observations so that it chooses as the oracle does.

    Its outputs are ``slope`` times the entries that are shown. Units of tanh bend the scores of discrete actions, which
    keeps their order, and continuous actions by about one per cent.

    Args:
        layers: its linear layers and the activations between them, ``nn.ReLU`` or ``nn.Tanh``.
        choice: what the observation shows, one entry for each output.
        unit: what these entries are divided by.

    Raises:
        ValueError: another activation, or hidden layers with fewer units than there are entries.
    """
    linear, between = layers[::2], layers[1::2]
    n, kinds = choice.entries.stop - choice.entries.start, {type(layer).__name__ for layer in between}
    least = min(layer.out_features for layer in linear)
    if not kinds <= set(_SLOPES) or len(kinds) > 1 or least < n:
        raise ValueError(
            f"a start at the oracle needs at least {n} units in every layer and activations {' or '.join(_SLOPES)}, "
            f"got layers with {least} or more units and {', '.join(sorted(kinds)) or 'none'}"
        )
    slope, lowest = _SLOPES[next(iter(kinds), "ReLU")], choice.lowest
    if kinds == {"Tanh"} and choice.slope > 0:
        slope, lowest = _STRAIGHT, 0.0
    with torch.no_grad():
        linear[-1].weight.zero_()
        linear[-1].bias.zero_()
        for i, layer in enumerate(linear[:-1]):
            layer.weight[:n] = 0.0
            layer.bias[:n] = 0.0 if i else -slope * lowest / unit
            layer.weight[:n, slice(n) if i else choice.entries] = torch.eye(n) * (1.0 if i else slope)
        hidden = len(linear) > 1
        place, gain = (slice(n), unit / slope) if hidden else (choice.entries, unit)
        linear[-1].weight[:, place] = torch.eye(n) * (choice.slope * gain)
        linear[-1].bias += choice.slope * lowest if hidden else 0.0


def linear_and_between(*parts: nn.Module) -> list[nn.Module]:
    """The layers of a perceptron in order, without ``nn.Flatten`` and ``nn.Identity``."""
    found = [m for part in parts for m in (part if isinstance(part, nn.Sequential) else [part])]
    return [m for m in found if not isinstance(m, nn.Flatten | nn.Identity)]
