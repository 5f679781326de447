"""A perceptron that begins as the far-sighted oracle: training improves on the oracle instead of finding it first.

With ``observation="farsighted"`` an agent sees by how much the cost of each action exceeds that of the best. The first
hidden units of every layer pass these shortfalls on, and the last layer gives each action a score that falls with its
own. The best action's score is therefore the highest from the start, whatever the other weights are. All weights are
then trained as usual.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from teach_gym.core.layout import layout, observe
from teach_gym.core.randomness import Streams, draw_keys
from teach_gym.core.state import Task
from teach_gym.core.task import reset, step
from teach_gym.teachers.perceptron import Floats

BLOCK = "farsight"
EPISODES = 128
"""Lessons of the oracle whose observations give the statistics for normalising."""
SHARPNESS = 8.0
"""How fast scores fall with the shortfall, which is in units of the mean shortfall of a step."""
LESSONS = 1e9
"""Weight of the statistics of these lessons, against one for each observation of the training."""
_WORD = 0x57A27
_SLOPES = {"Tanh": 0.5, "ReLU": 1.0}
"""Slope of the units that pass shortfalls on, for each activation; those of tanh saturate at large shortfalls."""


def shortfalls(task: Task) -> slice:
    """The entries of the observation that hold the shortfall of each action.

    Raises:
        ValueError: the task does not show them, or its actions are continuous.
    """
    found = next((block for block in layout(task) if block.name == BLOCK), None)
    if found is None or task.spec.continuous:
        kind = "continuous" if task.spec.continuous else task.spec.observation
        raise ValueError(f"a start at the oracle needs discrete actions and observation='farsighted', got {kind}")
    return slice(found.start + found.size - task.n_actions, found.start + found.size)


def oracle_observations(task: Task, seed: int, episodes: int = EPISODES) -> Floats:
    """What the far-sighted oracle sees while it teaches: (N, O).

    Args:
        task: a task with ``observation="farsighted"`` and discrete actions.
        seed: determines the lessons.
        episodes: number of lessons.
    """
    blocks, entries, seen = layout(task), shortfalls(task), []
    state = reset(task, Streams(draw_keys(np.random.default_rng([_WORD, seed]), episodes)))
    running = np.ones(episodes, dtype=np.bool_)
    for _ in range(task.spec.budget):
        observation = observe(task, state, blocks)
        seen.append(observation[running])
        taken = step(task, state, observation[:, entries].argmin(1))
        state, running = taken.state, running & ~taken.terminated
    return np.concatenate(seen)


def statistics(seen: Floats, entries: slice) -> tuple[Floats, Floats]:
    """Mean and variance by which to normalise observations: (O,) each.

    Shortfalls keep their zero, the best action, and have one scale.

    Args:
        seen: (N, O) observations.
        entries: the shortfalls among them.
    """
    mean, var = seen.mean(0, dtype=np.float64), seen.var(0, dtype=np.float64)
    mean[entries], var[entries] = 0.0, np.mean(seen[:, entries] ** 2, dtype=np.float64)
    return mean, var


def begin_at_oracle(layers: Sequence[Any], entries: slice, unit: float) -> None:
    """Set the weights of a perceptron over normalised observations so that its best action is the oracle's.

    Args:
        layers: its linear layers and the activations between them, ``nn.Tanh`` or ``nn.ReLU``.
        entries: the shortfalls in the observation, one for each output.
        unit: what shortfalls are divided by.

    Raises:
        ValueError: another activation, or layers with fewer units than there are actions.
    """
    linear, between = layers[::2], layers[1::2]
    n, kinds = entries.stop - entries.start, {type(layer).__name__ for layer in between}
    least = min(layer.out_features for layer in linear)
    if not kinds <= set(_SLOPES) or len(kinds) > 1 or least < n:
        raise ValueError(
            f"a start at the oracle needs at least {n} units in every layer and activations "
            f"{' or '.join(_SLOPES)}, got layers with {least} or more units and {', '.join(sorted(kinds)) or 'none'}"
        )
    slope = _SLOPES[next(iter(kinds), "ReLU")]
    with torch.no_grad():
        linear[-1].weight.zero_()
        linear[-1].bias.zero_()
        for i, layer in enumerate(linear[:-1]):
            layer.weight[:n] = 0.0
            layer.bias[:n] = 0.0
            layer.weight[:n, entries if i == 0 else slice(n)] = torch.eye(n) * (1.0 if i else slope)
        last = len(linear) == 1
        linear[-1].weight[:, entries if last else slice(n)] = torch.eye(n) * (
            -SHARPNESS * unit / (1.0 if last else slope)
        )


def linear_and_between(*parts: nn.Module) -> list[nn.Module]:
    """The layers of a perceptron in order, without ``nn.Flatten`` and ``nn.Identity``."""
    found = [m for part in parts for m in (part if isinstance(part, nn.Sequential) else [part])]
    return [m for m in found if not isinstance(m, nn.Flatten | nn.Identity)]
