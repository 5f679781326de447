"""Policies that do not see w*: their inputs, and how their outputs become values of a task's medium.

A policy sees, for every row of the mini-batch, the learner (its parameters, DHT C.8, or its predictions on
representative rows, LAST 4 and DHT 4.1) and the offered examples with their labels. Its output is turned into a value
of the medium inside the medium's own constraint set, so that one policy serves label synthesis (BLAST), label
smoothing and distillation (mu in [0.5, 1]), Mixup and data transformation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from teach_gym.core.backend import Array, as_array, as_tensor, namespace, sigmoid, softmax
from teach_gym.core.medium import LabelGrid, Perturb
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.core.task import compose
from teach_gym.errors import lookup_name, number, positive, shown
from teach_gym.teachers.learned.architecture import default_hidden
from teach_gym.teachers.learned.networks import ACTIVATIONS, TeachingNetworks, generators, mlp
from teach_gym.teachers.learned.policy import embed_labels

SPACES = dict.fromkeys(("medium", "free", "choice"))
SEES = dict.fromkeys(("weights", "predictions"))


@dataclass(frozen=True)
class BlackBoxArchitecture:
    """A black-box policy's network, in plain JSON values.

    Attributes:
        medium: the class of the tasks' medium.
        reference: what its labels are mixed with, or None.
        inputs: numbers it sees for each row.
        entries: outputs for each row; for ``choice`` the number of actions.
        hidden: units of the hidden layers.
        space: ``medium`` (values inside the medium's constraint set), ``free`` (any label or features: DHT's full
            teaching space) or ``choice`` (scores of the discrete actions, for policy gradient).
        alpha: the value is alpha times the no-help value plus 1 - alpha times the network's: LAST 4's residual label
            alpha y + (1 - alpha) y'.
        sees: ``weights`` or ``predictions`` (on the hold-out rows a black-box task queries, and the elapsed budget).
        batch_norm: 1-d batch normalisation of the hidden layers.
        activation: a key of ``teach_gym.teachers.learned.networks.ACTIVATIONS``.

    Raises:
        TypeError: a value of the wrong type.
        ValueError: a value out of range.
    """

    medium: str
    reference: str | None
    inputs: int
    entries: int
    hidden: tuple[int, ...]
    space: str = "medium"
    alpha: float = 0.0
    sees: str = "weights"
    batch_norm: bool = False
    activation: str = "relu"

    def __post_init__(self) -> None:
        for name in ("inputs", "entries"):
            positive(name, getattr(self, name), integer=True)
        for size in self.hidden:
            positive("hidden", size, integer=True)
        lookup_name("space", self.space, SPACES)
        lookup_name("kind of input", self.sees, SEES)
        lookup_name("activation", self.activation, ACTIVATIONS)
        number("alpha", self.alpha)
        if not 0.0 <= self.alpha < 1.0:
            raise ValueError(f"alpha must lie in [0, 1), got {shown(self.alpha)}")
        if self.alpha and self.space == "choice":
            raise ValueError(f"space 'choice' takes the medium's own actions; alpha must be 0, got {shown(self.alpha)}")
        if not isinstance(self.batch_norm, bool):
            raise TypeError(f"batch_norm must be a bool, got {shown(self.batch_norm)}")


def black_box_architecture(
    task: Task, *, hidden: Sequence[int] | None = None, batch_norm: bool | None = None, **options: Any
) -> BlackBoxArchitecture:
    """The architecture for a task.

    Args:
        task: the task.
        hidden: units of the hidden layers (None: DHT's, by the number of features).
        batch_norm: None: with DHT's layers for 24 features and more.
        **options: ``space``, ``alpha``, ``sees`` and ``activation`` of ``BlackBoxArchitecture``.

    Raises:
        ValueError: a medium without continuous values, one that shows w*, or options that do not fit the task.
        TypeError: an unknown option or one of the wrong type.
    """
    medium, space = task.medium, options.get("space", "medium")
    if medium.reference == "target":
        raise ValueError("a black-box teacher must not mix with the target's predictions: medium option p='target'")
    if space != "choice" and medium.low is None:
        raise ValueError(f"medium {medium.name!r} has no continuous values; allowed: label, mixup, perturb")
    if space == "free" and not isinstance(medium, LabelGrid | Perturb):
        raise ValueError(f"space 'free' needs label kind 'grid' or medium 'perturb', got {type(medium).__name__}")
    if options.get("sees") == "predictions" and not task.remembers:
        raise ValueError("sees='predictions' needs a task with observation='black_box' or a hold-out reward")
    entries = task.n_actions if space == "choice" else 1 if medium.low.ndim == 1 else medium.low.shape[-1]  # type: ignore[union-attr]
    return BlackBoxArchitecture(
        medium=type(medium).__name__,
        reference=medium.reference,
        inputs=_n_inputs(task, options.get("sees", "weights")),
        entries=int(entries),
        hidden=tuple(default_hidden(task.d) if hidden is None else hidden),
        batch_norm=(hidden is None and task.d >= 24) if batch_norm is None else batch_norm,
        **options,
    )


def _n_inputs(task: Task, sees: str) -> int:
    sources = task.medium.n_sources
    rows = sources * (task.d + (task.pool.n_classes or task.k))
    if sees == "weights":
        return rows + task.size * (2 if task.update.momentum else 1)
    return rows + task.k * (len(task.holdout.probes) + sources) + 1


def seen_by_black_box(task: Task, state: TeachState, sees: str) -> Array:
    """What a black-box policy sees of each row, numpy or torch as the state: (B, m, inputs).

    Args:
        task: the task, of the state's kind of arrays.
        state: B runs.
        sees: ``weights`` or ``predictions``.
    """
    xp, w = namespace(state.w), state.w
    x, y = state.x, embed_labels(task, state.y)
    b, m, sources = len(w), x.shape[2], range(x.shape[1])
    parts = [part for j in sources for part in (x[:, j], y[:, j])]
    if sees == "weights":
        learner = [w] if state.velocity is None else [w, state.velocity]
    else:
        probed = task.learner.predict(w, task.holdout.probes).reshape((b, -1))
        elapsed = xp.astype(state.t, w.dtype)[:, None] / task.spec.budget
        learner = [probed, xp.clip(elapsed, None, 1.0)]
        parts += [task.learner.predict(w, x[:, j]) for j in sources]
    known = xp.concat(learner, axis=-1)[:, None, :]
    return xp.concat([xp.broadcast_to(known, (b, m, known.shape[-1])), *parts], axis=-1)


def continuous_action(arch: BlackBoxArchitecture, task: Task, state: TeachState, out: Array) -> Array:
    """The continuous action for a network's outputs, of space ``medium``: (B, m, entries) -> (B, *Box shape)."""
    medium = task.medium
    passive = medium.passive_continuous(state.x, state.y)
    if isinstance(medium, LabelGrid) and task.k > 1:
        action = softmax(out)
    else:
        squashed = sigmoid(out)
        squashed = squashed[..., 0] if passive.ndim == 2 else squashed
        xp = namespace(out)
        low, high = (xp.asarray(bound, dtype=out.dtype) for bound in medium.box)
        action = low + (high - low) * squashed
    return arch.alpha * passive + (1.0 - arch.alpha) * action if arch.alpha else action


def black_box_example(arch: BlackBoxArchitecture, task: Task, state: TeachState, out: Array) -> Example:
    """The teaching examples for a network's outputs (B, m, entries), numpy or torch."""
    medium, xp = task.medium, namespace(out)
    if arch.space == "choice":
        return compose(task, state, medium.decode(xp.argmax(xp.mean(out, axis=1), axis=-1)))
    if arch.space == "medium":
        return compose(task, state, medium.project(continuous_action(arch, task, state, out)))
    label = isinstance(medium, LabelGrid)
    if arch.alpha:
        out = arch.alpha * (state.y[:, 0] if label else state.x[:, 0]) + (1.0 - arch.alpha) * out
    return compose(task, state, out if label else xp.concat([xp.zeros_like(out[..., :1]), out], axis=-1))


class BlackBoxPolicy(TeachingNetworks):
    """S black-box policies of one architecture, one for each teacher; run b is taught by policy b // (B / S).

    Args:
        arch: the architecture.
        seeds: S seeds of the initial weights.
    """

    def __init__(self, arch: BlackBoxArchitecture, seeds: Sequence[int]) -> None:
        super().__init__()
        self.arch = arch
        sizes = (arch.inputs, *arch.hidden, arch.entries)
        self.net = mlp(sizes, generators(seeds), activation=arch.activation, batch_norm=arch.batch_norm)

    def inputs(self, task: Task, state: TeachState) -> Array:
        """What the networks see, numpy or torch as the state: (B, m, inputs)."""
        return seen_by_black_box(task, state, self.arch.sees)

    def forward(self, task: Task, state: TeachState) -> Example:
        """The teaching examples of B runs, in torch: x (B, m, d), y (B, m, K)."""
        return black_box_example(self.arch, task, state, as_array(self.raw(as_tensor(self.inputs(task, state)))))

    def choose(self, task: Task, state: TeachState) -> Array | Example:
        """The actions (space ``choice``) or teaching examples of B runs for a numpy state, without gradients."""
        out = self.outputs(self.inputs(task, state))
        if self.arch.space == "choice" and not task.spec.continuous:
            return np.asarray(out.mean(1).argmax(-1))
        return black_box_example(self.arch, task, state, out)

    def facts(self, task: Task) -> tuple[dict[str, Any], dict[str, Any]]:
        """The tasks the networks fit, and the properties of a task: see ``teach_gym.teachers.from_file``."""
        same = {name: getattr(self.arch, name) for name in ("hidden", "space", "alpha", "sees", "activation")}
        names, here = ("medium", "reference", "inputs", "entries"), black_box_architecture(task, **same)
        return {name: getattr(self.arch, name) for name in names}, {name: getattr(here, name) for name in names}
