"""Far-sighted teaching of learners with a hidden layer: fitted policy iteration with tangent features.

An example moves such a learner along the rows of its Jacobian d logits / d w, which change with w, so that the
cost-to-go has no closed form. It is measured instead. In simulated episodes of a policy, the squared distance to w* at
the end is regressed on what the learner's difference delta was with k steps to go,

    V_k = a_k ||delta||^2 + sum_i (b_ki c_i + e_ki c_i^2) + const,    c = U^T delta,

with U the principal axes of the steps taken, each of which is J^T r with a residual r. The coefficients shrink towards
zero by a ridge. The next policy takes the action with the least V_k; the first one is greedy. With momentum, delta is
taken where the learner would come to rest without further gradients.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from teach_gym.core.backend import Array
from teach_gym.core.costtogo import Floats
from teach_gym.core.randomness import Streams
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.core.task import advance, coast, compose, learn, reset

EPISODES, VALIDATION = 600, 200
"""Simulated episodes of a round, and those that decide between rounds."""
AXES = 100
"""Greatest number r of axes."""
RIDGE = 0.3
"""In units of the features' variance."""
FIRST_SEED = 11_000_000
"""Episodes for fitting have seeds from here on, those for validation below, far from those of evaluation and tuning."""
_STEPS = 6000
"""Steps whose principal axes are taken."""


class Policy(Protocol):
    """A cost-to-go of the task's states."""

    @property
    def task(self) -> Task:
        """The task."""

    def outcomes(self, state: TeachState, relative: bool = ...) -> Floats:
        """The cost after each discrete action, (A, B), relative: up to what all actions share."""


@dataclass(frozen=True, eq=False)
class Measured:
    """The cost-to-go of a policy, up to a constant, as regressed on its episodes.

    Attributes:
        task: the task.
        axes: (P, r) U.
        weights: (H + 1, 1 + 2 r) weights of the features with k = 0 .. H steps to go.
    """

    task: Task
    axes: Floats
    weights: Floats

    def outcomes(self, state: TeachState, relative: bool = True) -> Floats:
        """The cost after each discrete action: (A, B)."""
        return self.after(state, compose(self.task, state, self.task.medium.candidates[:, None]), relative)

    def after(self, state: TeachState, example: Example, relative: bool = True) -> Floats:
        """The cost after a step with teaching examples x (..., B, m, d), y (..., B, m, K): (..., B).

        Args:
            state: B runs.
            example: the teaching examples.
            relative: only the constant that all examples share is missing; it always is.
        """
        w, velocity = learn(self.task, state, example)
        left = np.maximum(self.task.spec.budget - state.t - 1, 0)
        found = features(self.axes, rest(self.task, state, w, velocity) - state.target)
        return np.einsum("...bf,bf->...b", found, self.weights[left])


def rest(task: Task, before: TeachState, w: Array, velocity: Array | None) -> Array:
    """Where learners w (..., B, P) come to rest after the next step of states ``before``."""
    return w if velocity is None else coast(task, before, w, velocity)


def features(axes: Floats, delta: Array) -> Floats:
    """||delta||^2, c and c^2 of differences (..., P): (..., 1 + 2 r)."""
    c = delta @ axes
    return np.concatenate([(delta**2).sum(-1)[..., None], c, c**2], axis=-1)


def greedy(task: Task) -> Measured:
    """The policy of round zero."""
    return Measured(task, np.zeros((task.size, 0)), np.ones((task.spec.budget + 1, 1)))


def iterate(task: Task, rounds: int, episodes: int = EPISODES) -> Measured:
    """The policy of the round that ends nearest to the target, in mean over validation episodes; greedy included.

    Args:
        task: a task of one pool and one learning rate.
        rounds: number of rounds.
        episodes: number of simulated episodes for each.
    """
    validation = range(FIRST_SEED - VALIDATION, FIRST_SEED)
    best = policy = greedy(task)
    least = episodes_of(policy, validation)[-1].distance.mean()
    for first in range(FIRST_SEED, FIRST_SEED + rounds * episodes, episodes):
        policy = _measured(task, episodes_of(policy, range(first, first + episodes)))
        end = episodes_of(policy, validation)[-1].distance.mean()
        if end < least:
            best, least = policy, end
    return best


def episodes_of(policy: Policy, seeds: range) -> list[TeachState]:
    """The states at t = 0 .. H of episodes in which the discrete action of least cost is taken."""
    task = policy.task
    states = [reset(task, Streams.from_seeds(seeds))]
    for _ in range(task.spec.budget):
        with np.errstate(over="ignore", invalid="ignore"):
            action = policy.outcomes(states[-1], relative=True).argmin(0)
            example = compose(task, states[-1], task.medium.decode(action))
            states.append(advance(task, states[-1], example).state)
    return states


def _measured(task: Task, states: list[TeachState]) -> Measured:
    """The cost-to-go of the policy whose episodes went through these states."""
    axes, ends = _axes(states), np.asarray(states[-1].distance, dtype=np.float64) ** 2
    weights = np.zeros((task.spec.budget + 1, 1 + 2 * axes.shape[1]))
    weights[0, 0] = 1.0
    for k in range(1, task.spec.budget + 1):
        state = states[task.spec.budget - k]
        ahead = rest(task, state._replace(t=state.t - 1), state.w, state.velocity) - state.target
        found = features(axes, np.asarray(ahead, dtype=np.float64))
        found -= found.mean(0)
        unit = np.sqrt((found**2).mean(0)) + 1e-300
        found /= unit
        gram = found.T @ found / len(found) + RIDGE * np.eye(len(unit))
        weights[k] = np.linalg.solve(gram, found.T @ (ends - ends.mean()) / len(found)) / unit
    return Measured(task, axes, weights)


def _axes(states: list[TeachState]) -> Floats:
    """Principal axes of steps taken, those of the largest variance first: (P, r)."""
    per_step = max(_STEPS // (len(states) - 1), 1)
    steps = [np.asarray(b.w - a.w, dtype=np.float64)[:per_step] for a, b in itertools.pairwise(states)]
    flat = np.concatenate(steps)
    return np.ascontiguousarray(np.linalg.eigh(flat.T @ flat)[1][:, ::-1][:, :AXES])
