"""Fitted value iteration: the cost-to-go of teaching by a medium's own actions, from simulated episodes.

The closed form of ``teach_gym.core.farsighted`` counts on free labels later on. Here its forms are corrected, backwards
from the end, by what the medium can do. In states that the policy reaches with k steps to go, the least cost-to-go with
k - 1 steps to go over the actions, a mean over redrawn sources, is regressed on

    z^T P z + 2 q^T z + r,    P = P_{k-1} - s D + c D + sum_i a_i v_i v_i^T,

with D the gain from free labels, s the closed form's damping and v_i the principal axes of the input vectors. These are
a few hundred coefficients (c, a, q, r) at most, drawn to zero by a ridge. The forms found make a policy, whose episodes
are added to those before for the next round.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from teach_gym.core.costtogo import CostToGo, Floats, Form
from teach_gym.core.farsighted import Farsight, Outlook
from teach_gym.core.resting import blocks_of, resting
from teach_gym.core.state import TeachState
from teach_gym.core.task import sources
from teach_gym.teachers.oracles.tangent import episodes_of

EPISODES = 1000
"""Simulated episodes of a round; a sweep uses those of the last ``MEMORY`` rounds."""
MEMORY = 3
MOST_DRAWS = 16
"""Draws of the sources for each state; fewer where they would take more than ``WORK`` multiplications a step."""
WORK = 1e9
RIDGE = 1e-2
FIRST_SEED = 10_000_000
"""Episodes for fitting have seeds from here on, far from those of evaluation and tuning."""
_FLOOR = 1e-3
"""Least eigenvalue of a fitted matrix, as a share of the mean of the closed form's."""


def fit(far: Farsight, rounds: int, episodes: int = EPISODES) -> Farsight:
    """The forms of the round whose policy ends nearest to the target, in mean over validation episodes.

    Args:
        far: the closed form of a task of one pool and one learning rate; it is round zero.
        rounds: number of sweeps.
        episodes: number of simulated episodes for each, and for validation.
    """
    closed, validation = far.outlooks[0][0], range(FIRST_SEED - episodes, FIRST_SEED)
    best, least = far, episodes_of(far, validation)[-1].distance.mean()
    seen: list[list[TeachState]] = []
    for first in range(FIRST_SEED, FIRST_SEED + rounds * episodes, episodes):
        seen = [*seen, episodes_of(far, range(first, first + episodes))][-MEMORY:]
        far = dataclasses.replace(far, outlooks=((_swept(far, closed, seen),),))
        end = episodes_of(far, validation)[-1].distance.mean()
        if end < least:
            best, least = far, end
    return best


def _swept(far: Farsight, closed: Outlook, seen: list[list[TeachState]]) -> Outlook:
    """One sweep of value iteration, backwards through the states of episodes."""
    task, rest, prior, rng = far.task, closed.rest, closed.forms, np.random.default_rng(0)
    assert isinstance(prior, CostToGo)
    axes = np.linalg.eigh(np.einsum("nmd,nme->de", prior.rows, prior.rows))[1]
    forms = [prior[0]]
    fresh = dataclasses.replace(far, outlooks=((Outlook(rest, forms),),))
    for k in range(1, task.spec.budget + 1):
        guess, free = prior.before(k - 1, forms[-1]), prior.before(k - 1, forms[-1], 1.0)
        gain = guess.matrix - free.matrix * np.exp(free.log_scale - guess.log_scale)
        scale = np.exp(forms[-1].log_scale - guess.log_scale)
        points, costs = [], []
        for states in seen:
            state = states[task.spec.budget - k]
            points.append(resting(task, rest, k, blocks_of(task, state, state.w, state.velocity))[0])
            costs.append((_least_outcomes(fresh, state, rng) + forms[-1].constant) * scale)
        forms.append(_regressed(guess, gain, axes, np.concatenate(points), np.concatenate(costs)))
    return fresh.outlooks[0][0]


def _least_outcomes(far: Farsight, state: TeachState, rng: np.random.Generator) -> Floats:
    """The least cost over the actions after one more step, a mean over redrawn sources, relative: (B,)."""
    task, n = far.task, len(state.t)
    draws = int(np.clip(WORK / (n * task.n_actions * task.spec.batch_size * task.d**2), 2, MOST_DRAWS))
    total, now = np.zeros(n), np.zeros(n, dtype=np.int64)
    for _ in range(draws):
        x, y, soft = sources(task, rng.integers(len(task.x), size=(n, 1, *state.schedule.shape[2:])), now)
        total += far.outcomes(state._replace(x=x, y=y, soft=soft), relative=True).min(0) / draws
    return total


def _regressed(guess: Form, gain: Floats, axes: Floats, z: Floats, costs: Floats) -> Form:
    """The guess plus what it misses of the costs (B,) of states z (B, K, d), by weighted ridge regression."""
    linear = 2.0 * z.reshape(len(z), -1)
    diagonal = ((z @ axes) ** 2).sum(1)
    scalar = np.einsum("bkd,bkd->b", z @ gain, z)
    features = np.concatenate([linear, diagonal, scalar[:, None], np.ones((len(z), 1))], axis=1)
    weight = 1.0 / np.sqrt(np.maximum(costs, 0.1 * np.abs(costs).mean() + 1e-300))
    missing = (costs - guess.shape_at(z) - guess.constant) * weight
    features *= weight[:, None]
    unit = np.sqrt((features**2).mean(0)) + 1e-300
    features /= unit
    gram = features.T @ features / len(z) + RIDGE * np.diag(np.arange(len(unit)) < len(unit) - 1)
    found = np.linalg.solve(gram, features.T @ missing / len(z)) / unit
    q, a, (c, r) = np.split(found, [linear.shape[1], linear.shape[1] + diagonal.shape[1]])
    values, vectors = np.linalg.eigh(guess.matrix + c * gain + (axes * a) @ axes.T)
    matrix = (vectors * np.maximum(values, _FLOOR)) @ vectors.T
    return Form(matrix, guess.linear + q.reshape(guess.linear.shape), guess.constant + r, guess.log_scale)
