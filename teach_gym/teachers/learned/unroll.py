"""The differentiable unroll: v steps of teaching in torch, through the task's own ``learn``.

``draw_episodes`` draws the learners and the sources of whole episodes as tensors, ``unroll`` teaches them with a
policy, any callable from (task, state) to an ``Example``, and yields windows of steps with what an objective needs:

    for window in unroll(task, episodes, policy, window=20, loss="learner"):
        (window.gap + alpha * window.loss).mean().backward()

Runs are those of S teachers with L learners each, in this order: B = S L, run s L + l is learner l of teacher s.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

try:
    import torch
    from torch.utils.checkpoint import checkpoint as recompute_later
except ImportError as error:
    raise ImportError("teach_gym.teachers.learned.unroll needs torch: pip install 'teach_gym[torch]'") from error

from teach_gym.core.backend import Array, as_array, as_tensor, dot, gather, norm, to_torch
from teach_gym.core.batch import each
from teach_gym.core.randomness import Streams, draw_keys
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.core.task import learn, reset
from teach_gym.teachers.learned.networks import frozen

AUXILIARY = ("learner", "target")
"""Whose losses on the teaching examples an objective may hold."""

Policy = Callable[[Task, TeachState], Example]
"""The policy to unroll: the teaching examples x (B, m, d), y (B, m, K) of a state, differentiable."""


class Episodes(NamedTuple):
    """Whole episodes of B runs as tensors.

    Attributes:
        state: the state at the first step.
        x: (v, B, M, m, d) the sources of every step.
        y: (v, B, M, m, K) their labels.
        soft: (v, B, M, m, K) their soft labels, or None where the medium needs none.
    """

    state: TeachState
    x: torch.Tensor
    y: torch.Tensor
    soft: torch.Tensor | None

    def at(self, t: int, state: TeachState) -> TeachState:
        """The state with the sources of step t."""
        soft = None if self.soft is None else as_array(self.soft[t])
        return state._replace(x=as_array(self.x[t]), y=as_array(self.y[t]), soft=soft)


class Window(NamedTuple):
    """The results of consecutive steps of an unroll.

    Attributes:
        start: the first step's number.
        gap: (B,) ||w - w*||^2 after the last of them.
        gaps: (B,) the sum of ||w - w*||^2 over all points at which gradients stop: ``gap``, unless the window stands
            for many (see ``detached.unroll_detached``).
        loss: (B,) the sum of the losses on the teaching examples (DHT 3.3.1), the learner's weights under
            stop-gradient; zero if it was not requested.
        examples: the teaching examples, x (k, B, m, d) and y (k, B, m, K).
        state: the state after them.
    """

    start: int
    gap: torch.Tensor
    gaps: torch.Tensor
    loss: torch.Tensor
    examples: Example
    state: TeachState


def longer(task: Task, steps: int) -> Task:
    """The task with episodes of ``steps`` steps."""
    return dataclasses.replace(task, spec=dataclasses.replace(task.spec, budget=steps))


def draw_episodes(
    tasks: Sequence[Task],
    seeds: Sequence[int],
    iteration: int,
    *,
    learners: int,
    steps: int,
    starts: Array | None = None,
    device: str = "cpu",
    dtype: Any = None,
) -> Episodes:
    """Draw the episodes of one iteration of training, those of a teacher from its seed and the iteration alone.

    Args:
        tasks: one task that all teachers share, or one for each (other pools and targets, the same shapes).
        seeds: S seeds, one for each teacher.
        iteration: which iteration's episodes.
        learners: number L of learners for each teacher.
        steps: steps v of an episode, whatever the task's budget.
        starts: (S, P) initial learners; None draws them as the task says.
        device: a torch device.
        dtype: the floating type (None: the task's).

    Returns:
        The episodes of S L runs.
    """
    keys = [draw_keys(np.random.default_rng([seed, iteration]), learners) for seed in seeds]
    if len(tasks) == 1:
        parts = [_drawn(tasks[0], np.concatenate(keys), steps)]
    else:
        parts = [_drawn(task, key, steps) for task, key in zip(tasks, keys, strict=True)]
    state, rows = parts[0]
    if len(parts) > 1:
        rows = np.concatenate([part[1] for part in parts])
        state = each(lambda *arrays: np.concatenate(arrays), *(part[0] for part in parts))
    if starts is not None:
        w = np.repeat(np.asarray(starts, dtype=state.w.dtype), learners, axis=0)
        state = state._replace(w=w, difference=state.target - w)
        distance = norm(state.difference)
        state = state._replace(distance=distance, initial_distance=np.maximum(distance, 1e-30))
    d, k = tasks[0].d, tasks[0].k
    table = as_tensor(to_torch(np.moveaxis(rows, 1, 0), device, dtype))
    soft = None if state.soft is None else table[..., d + k :]
    return Episodes(to_torch(state, device, dtype), table[..., :d], table[..., d : d + k], soft)


def _drawn(task: Task, keys: Array, steps: int) -> tuple[TeachState, Array]:
    """The first states of runs and the table rows of all their steps: (B, v, M, m, columns)."""
    state = reset(longer(task, steps), Streams(keys))
    return state, gather(task.rows, state.schedule)


def unroll(
    task: Task,
    episodes: Episodes,
    policy: Policy,
    *,
    window: int | None = None,
    recompute: int | None = None,
    every: int = 1,
    loss: str | None = None,
) -> Iterator[Window]:
    """Teach whole episodes with a policy, window by window.

    The gradient of a window's results flows through all its steps and stops at its start, so only one window's graph
    is in memory: ``window=None`` is full back-propagation through time, ``window=k`` truncates it, and ``window=1``
    detaches the weights between steps (the DHT authors' released version).

    Args:
        task: the task in torch; its pool and target are not used (they are in the episodes).
        episodes: from ``draw_episodes``.
        policy: gives the teaching examples; batch normalisation in it keeps one set of running statistics.
        window: steps k that the gradient flows through (None: all).
        recompute: keep the graph of this many steps at a time and recompute the others in the backward pass:
            the memory of v / k + k steps for about a third more time (None: keep all).
        every: the teacher sees the learner's parameters once in this many steps (v of GIT, LAST Eq. 7) and keeps using
            these in between.
        loss: whose sum of losses to compute: the ``learner``'s at the step or the ``target``'s (None: neither).

    Yields:
        The windows in order; take each one's gradient before the next.
    """
    n = len(episodes.x)
    k = n if window is None else min(window, n)
    state = seen = episodes.state
    for start in range(0, n, k):
        state, seen = _detached(state), _detached(seen)
        losses, examples = [], []
        size = min(recompute or k, k)
        for first in range(start, min(start + k, n), size):
            steps = range(first, min(first + size, start + k, n))
            run = _Steps(task, episodes, policy, steps, every, loss, again=k > 1)
            if recompute is None:
                state, seen, total, shown = run(state, seen)
            else:
                state, seen, total, shown = recompute_later(
                    run, state, seen, use_reentrant=False, context_fn=run.contexts, preserve_rng_state=True
                )
            losses.append(total)
            examples.append(shown)
        gap = as_tensor(dot(state.difference, state.difference))
        yield Window(start, gap, gap, torch.stack(losses).sum(0), _joined(torch.cat, examples), state)


@dataclasses.dataclass
class _Steps:
    """Consecutive steps of an unroll as one function, so that they can be recomputed."""

    task: Task
    episodes: Episodes
    policy: Policy
    steps: range
    every: int
    loss: str | None
    again: bool

    def __call__(self, state: TeachState, seen: TeachState) -> tuple[TeachState, TeachState, torch.Tensor, Example]:
        """The state after the steps, what the teacher saw last, the sum of losses (B,), and the examples."""
        total, examples = torch.zeros_like(as_tensor(state.distance)), []
        for t in self.steps:
            state = self.episodes.at(t, state)
            if t % self.every == 0:
                seen = state
            view = remembered(state, seen)
            example = self.policy(self.task, view)
            if self.loss:
                total = total + self._auxiliary(state, view, example)
            examples.append(example)
            w, velocity = learn(self.task, state, example)
            state = state._replace(w=w, velocity=velocity, difference=state.target - w, t=state.t + 1)
        return state, seen, total, _joined(torch.stack, examples)

    def _auxiliary(self, state: TeachState, view: TeachState, example: Example) -> torch.Tensor:
        """Loss on the teaching examples, no gradient through the learner, neither in the loss nor in the policy."""
        w = state.w if self.loss == "learner" else state.target
        if self.again:
            with frozen(_module(self.policy)):
                example = self.policy(self.task, _detached(view))
        return self.task.learner.loss(as_tensor(w).detach(), as_tensor(example.x), as_tensor(example.y))

    def contexts(self) -> tuple[Any, Any]:
        """The contexts of the first computation and of the one in the backward pass."""
        return contextlib.nullcontext(), frozen(_module(self.policy))


def remembered(state: TeachState, seen: TeachState) -> TeachState:
    """The state with the learner's parameters as the teacher saw them last."""
    if seen is state:
        return state
    return state._replace(w=seen.w, velocity=seen.velocity, difference=seen.difference, distance=seen.distance)


def _module(policy: Policy) -> torch.nn.Module | None:
    return policy if isinstance(policy, torch.nn.Module) else None


def _detached(state: TeachState) -> TeachState:
    """The state with the learner under stop-gradient."""
    velocity = None if state.velocity is None else _stopped(state.velocity)
    return state._replace(w=_stopped(state.w), velocity=velocity, difference=_stopped(state.difference))


def _stopped(array: Array) -> Array:
    return as_array(as_tensor(array).detach())


def _joined(join: Callable[[list[torch.Tensor]], torch.Tensor], examples: list[Example]) -> Example:
    """Several steps' teaching examples, concatenated along the first axis."""
    x, y = (as_array(join([as_tensor(a) for a in parts])) for parts in zip(*examples, strict=True))
    return Example(x, y)


def first_divergence(task: Task, episodes: Episodes, policy: Policy, *, every: int = 1) -> tuple[int, list[int]] | None:
    """The first step (from 1) after which learners are no longer finite, and these runs; None if all stay finite."""
    with torch.no_grad(), frozen(_module(policy)):
        for window in unroll(task, episodes, policy, window=1, every=every):
            bad = ~torch.isfinite(window.gap)
            if bad.any():
                return window.start + 1, torch.nonzero(bad)[:, 0].tolist()
    return None
