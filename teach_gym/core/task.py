"""Tasks and the teaching step: pure functions over a batch of teaching runs.

``reset`` is the only function that takes randomness: it draws the learners and the pool rows of the whole
episode. ``learn`` is the only caller of a learner's gradient. The environments, the oracles and the benchmark
call the functions of this module.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from teach_gym.core.backend import Array, at_step, gather, norm
from teach_gym.core.batch import diverged, needed
from teach_gym.core.holdout import accuracy, begin, remember
from teach_gym.core.learner import MLPLearner
from teach_gym.core.randomness import Streams
from teach_gym.core.spec import is_drawn
from teach_gym.core.state import Example, Sources, Task, TeachState, Transition


def reset(task: Task, rng: Streams) -> TeachState:
    """Start B episodes, one for each stream: draws the learners and the rows of the whole episode."""
    spec, n = task.spec, len(rng)
    which = np.zeros(n, dtype=np.int64) if task.variants is None else rng.integers(len(task.variants.targets))
    w = _initial(task, rng, which)
    shape = (spec.budget, task.medium.n_sources, spec.batch_size)
    if task.variants is None:
        schedule = rng.integers(len(task.x), *shape)
        target = np.repeat(task.target[:, None], n, axis=1).T
    else:
        schedule = rng.integers(task.variants.rows, *shape) + (which * task.variants.rows)[:, None, None, None]
        target = task.variants.targets.T[:, which].T
    t = np.zeros(n, dtype=np.int64)
    rate = _drawn(spec.learning_rate, rng).astype(spec.dtype) if is_drawn(spec.learning_rate) else None
    velocity = np.zeros_like(w) if task.update.momentum else None
    difference = target - w
    distance = norm(difference)
    offered = sources(task, schedule, t)
    state = TeachState(
        w=w,
        target=target,
        schedule=schedule,
        t=t,
        x=offered.x,
        y=offered.y,
        soft=offered.soft,
        difference=difference,
        distance=distance,
        initial_distance=np.maximum(distance, 1e-30),
        velocity=velocity,
        rate=rate,
        key=rng.bits(1)[:, 0].view(np.int64),
    )
    return begin(task, state) if task.remembers else state


def _drawn(bounds: Sequence[float], rng: Streams) -> Array:
    """Log-uniform draws between two bounds: (B,)."""
    low, high = np.log(bounds)
    return np.exp(low + (high - low) * rng.uniform())


def _initial(task: Task, rng: Streams, which: Array) -> Array:
    """Initial parameters (B, P), batch axis fastest, for runs on the task's variants ``which`` (B,)."""
    spec = task.spec
    scale = _drawn(spec.init_scale, rng)[:, None] if is_drawn(spec.init_scale) else spec.init_scale
    if spec.init == "normal":
        w = scale * rng.normal(task.size)
    elif spec.init == "uniform":
        w = scale * task.learner.init(rng, task.d, task.k)
    elif spec.init == "zeros":
        w = np.zeros((task.size, len(rng))).T
    else:
        start = task.start if task.variants is None else task.variants.starts[which]
        w = start.astype(np.float64) + scale * rng.normal(task.size)
    return w.astype(spec.dtype)


def sources(task: Task, schedule: Array, t: Array) -> Sources:
    """The examples offered at step t, by schedule (B, H, M, m) and t (B,).

    After the last step (the episode is over) the sources of the last step are returned.
    """
    rows = at_step(schedule, t)
    found, d, k = gather(task.rows, rows), task.d, task.k
    soft = None if task.soft is None else found[..., d + k :]
    return Sources(found[..., :d], found[..., d : d + k], soft)


def decode(task: Task, action: Array) -> Array:
    """The medium's value for actions of the task's flavour: (B,) indices, or (B, *Box shape)."""
    return task.medium.project(action) if task.spec.continuous else task.medium.decode(action)


def compose(task: Task, state: TeachState, value: Array) -> Example:
    """The teaching example for a value of the medium (leading axes of value and state broadcast)."""
    kind, reference = task.medium.reference, None
    if kind == "prediction":
        reference = task.learner.predict(state.w, state.x[..., 0, :, :])
    elif kind == "features":
        assert isinstance(task.learner, MLPLearner)
        reference = task.learner.features(state.w, state.x[..., 0, :, :])
    elif kind is not None:
        reference = needed(state.soft)[..., 0, :, :]
    return Example(*task.medium.compose(state.x, state.y, value, reference))


def learn(task: Task, state: TeachState, example: Example) -> tuple[Array, Array | None]:
    """The learner's update on a teaching example: (w', velocity').

    The only caller of the learner's gradient in the package.
    """
    gradient = task.learner.gradient(state.w, example.x, example.y)
    return task.update(state.w, state.velocity, gradient, state.rate)


def teach(task: Task, state: TeachState, value: Array) -> tuple[Array, Array | None]:
    """Compose, then learn: the learner after being shown the example of a value, (w', velocity').

    Value and state broadcast over leading axes, so all candidates of a batch are scored by one call.
    """
    return learn(task, state, compose(task, state, value))


def coast(task: Task, state: TeachState, w: Array, velocity: Array, horizon: int | None = None) -> Array:
    """Where learners with momentum come to rest if the gradient is zero after the next step: (..., B, P).

    In n steps without a gradient, a learner with velocity v moves by -learning_rate * c * v with
    c = momentum + ... + momentum^n (Nesterov: one power higher).

    Args:
        task: the task.
        state: the state before the next step.
        w: (..., B, P) the learners after it.
        velocity: (..., B, P) their momentum buffers.
        horizon: number of steps n (None: to the end of the budget).
    """
    mu, left = task.update.momentum, task.spec.budget - state.t - 1
    steps = left if horizon is None else left.clip(max=horizon)
    factor = mu * (1.0 - mu**steps) / (1.0 - mu) * (mu if task.update.nesterov else 1.0)
    rate = task.update.learning_rate if state.rate is None else state.rate
    return w - (rate * factor)[:, None] * velocity


def conclude(task: Task, state: TeachState, example: Example, t: Array, upcoming: Sources) -> tuple[TeachState, Array]:
    """The state at time t after learning from an example, with the next step's sources, and the reward (B,)."""
    w, velocity = learn(task, state, example)
    difference = state.target - w
    after = TeachState(
        w=w,
        target=state.target,
        schedule=state.schedule,
        t=t,
        x=upcoming.x,
        y=upcoming.y,
        soft=upcoming.soft,
        difference=difference,
        distance=norm(difference),
        initial_distance=state.initial_distance,
        velocity=velocity,
        rate=state.rate,
        key=state.key,
    )
    if task.remembers:
        after = remember(task, state, example, after)
    return after, task.reward(task, state, after)


def advance(task: Task, state: TeachState, example: Example) -> Transition:
    """One teaching step on a given example, which need not come from the medium."""
    t = state.t + 1
    after, reward = conclude(task, state, example, t, sources(task, state.schedule, t))
    return Transition(after, reward, over(task, after), example)


def arrived(task: Task, state: TeachState) -> Array:
    """Whether each run has reached its goal: (B,) bool.

    The goal is a distance to the target below ``tolerance``; with the reward ``steps_to_accuracy`` it is the hold-out
    accuracy zeta. A black-box task does not end by the distance, since that would reveal it.
    """
    if task.spec.reward == "steps_to_accuracy":
        return accuracy(task, state) >= task.spec.zeta
    if task.black_box:
        return state.t < 0
    return state.distance < task.spec.tolerance


def over(task: Task, state: TeachState) -> Array:
    """Whether each run's episode has ended: goal reached, budget spent, or the learner diverged, (B,) bool."""
    return arrived(task, state) | (state.t >= task.spec.budget) | diverged(state)


def step(task: Task, state: TeachState, action: Array) -> Transition:
    """One teaching step with an action: (B,) indices, or (B, *Box shape) for the continuous flavour."""
    return advance(task, state, compose(task, state, decode(task, action)))
