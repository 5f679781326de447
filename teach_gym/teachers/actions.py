"""Legal actions for what teachers choose: as they are, or nearest to a teaching example that the medium can make.

A medium can make an example if the teacher changed nothing but what the medium changes:

=============  =====================================================================================================
medium         examples for which there is a nearest action
=============  =====================================================================================================
label          the first offered features with any labels
perturb        the first offered labels with any features
performative   the first offered example with any offset of the hidden units
mixup          points of the line through both offered examples, one for each row
select         one of the offered examples
mixed          the features of one of the offered examples with any labels
=============  =====================================================================================================

The nearest action is the one whose example has the smallest squared distance, features and labels taken together (for
``mixed``: among the actions that choose the source). It is exact where the example itself is legal.
"""

from __future__ import annotations

import math

import numpy as np

from teach_gym.core.backend import Array, dot, norm
from teach_gym.core.medium import LabelGrid, LabelMix, LabelOffset, Mixed, Mixup, Perturb, PerturbHidden, Select
from teach_gym.core.projections import onto_ball
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.core.task import compose

_CLOSE = 1e-5
"""Two examples are the same if no entry differs by more than this share of the sources' largest entry (or of one)."""
_CAN = {
    "label": "sets the labels of the first offered example",
    "perturb": "moves the features of the first offered example",
    "performative": "moves the hidden units of the first offered example",
    "mixup": "mixes the two offered examples",
    "select": "shows one of the offered examples",
    "mixed": "shows one of the offered examples with another label",
}


def legal_action(task: Task, state: TeachState, choice: Array | Example) -> Array:
    """The actions of the task's flavour for a teacher's choice.

    Args:
        task: the task.
        state: B runs.
        choice: actions, which are returned as they are (clipped to the bounds), or the examples wanted, for which the
            nearest actions are. A run whose choice is not finite, as for a learner that diverged, gets the no-help
            action.

    Returns:
        (B,) integers, or (B, *Box shape).

    Raises:
        ValueError: an example that the medium cannot make, or actions of the other flavour.
    """
    if isinstance(choice, Example):
        return nearest_action(task, state, choice)
    action, continuous = np.asarray(choice), task.spec.continuous
    if continuous != (action.dtype.kind == "f"):
        wanted = "actions of the continuous flavour (floats)" if continuous else "actions by their index (integers)"
        raise ValueError(f"the task takes {wanted}, got an array of {action.dtype}")
    if not continuous:
        return action
    return _bounded(task, np.where(np.isfinite(action), action, task.medium.passive_continuous(state.x, state.y)))


def nearest_action(task: Task, state: TeachState, example: Example) -> Array:
    """The actions of the task's flavour whose teaching examples are nearest to the wanted ones.

    Args:
        task: the task.
        state: B runs.
        example: the wanted x (B, m, d), y (B, m, K).

    Returns:
        (B,) indices, or (B, *Box shape) inside the bounds.

    Raises:
        ValueError: an example that the medium cannot make; see the module's table.
    """
    offered = Example(state.x[:, 0], state.y[:, 0])
    finite = np.all([np.isfinite(a).all((1, 2), keepdims=True) for a in example], axis=0)
    example = Example(*(np.where(finite, a, b) for a, b in zip(example, offered, strict=True)))
    _check_reach(task, state, example)
    if task.spec.continuous:
        return _bounded(task, _nearest_value(task, state, example))
    made = compose(task, state, task.medium.candidates[:, None])
    far = _squared(made.x - example.x)
    if isinstance(task.medium, Mixed):
        far = np.where(far > far.min(0), np.inf, 0.0)
    return np.broadcast_to(far + _squared(made.y - example.y), (task.n_actions, len(state.w))).argmin(0)


def _squared(gap: Array) -> Array:
    return (gap**2).sum((-1, -2))


def _bounded(task: Task, action: Array) -> Array:
    """Clip continuous actions to the bounds, in the task's dtype."""
    low, high = task.medium.low, task.medium.high
    assert low is not None and high is not None
    return np.clip(action, low, high).astype(task.spec.dtype)


def _check_reach(task: Task, state: TeachState, example: Example) -> None:
    """Raise a ``ValueError`` where a teacher changed what the medium does not change."""
    nearest = _reachable(task, state, example)
    scale = _CLOSE * max(1.0, float(np.abs(state.x).max()), float(np.abs(state.y).max()))
    for part, ours, wanted in zip(("features", "labels"), nearest, example, strict=True):
        apart = np.flatnonzero(~(np.abs(ours - wanted).max((1, 2)) <= scale))
        if len(apart):
            name = task.medium.name
            raise ValueError(
                f"no action shows the example wanted for run {apart[0]}: its {part} are not what medium {name!r} can "
                f"make of the offered ones ({name} {_CAN[name]}); teach without an environment by "
                "follow(task, state, teacher), or take a teacher that chooses actions, such as greedy"
            )


def _reachable(task: Task, state: TeachState, example: Example) -> Example:
    """The nearest example that the medium would make if its values had no bounds."""
    medium, x, y = task.medium, state.x[:, 0], state.y[:, 0]
    if isinstance(medium, Perturb):
        return Example(example.x, y)
    if isinstance(medium, PerturbHidden):
        hidden = medium.candidates.shape[-1]
        return Example(np.concatenate([x[..., :-hidden], example.x[..., -hidden:]], axis=-1), y)
    if isinstance(medium, Mixup):
        c = _coefficient(state, example)[..., None]
        return Example(*(c * a[:, 0] + (1.0 - c) * a[:, 1] for a in (state.x, state.y)))
    if isinstance(medium, Select | Mixed):
        far = _squared(state.x - example.x[:, None])
        if isinstance(medium, Select):
            far = far + _squared(state.y - example.y[:, None])
        runs, chosen = np.arange(len(far)), far.argmin(1)
        return Example(state.x[runs, chosen], state.y[runs, chosen] if isinstance(medium, Select) else example.y)
    return Example(x, example.y)


def _coefficient(state: TeachState, example: Example) -> Array:
    """The place of each row on the line through its two sources: one at the first, zero at the second, (B, m)."""
    first, second, wanted = (
        np.concatenate(parts, axis=-1)
        for parts in ((state.x[:, 0], state.y[:, 0]), (state.x[:, 1], state.y[:, 1]), example)
    )
    return _share(wanted, second, first)


def _share(wanted: Array, start: Array, end: Array) -> Array:
    """How far along from one point to another the nearest point of their line is: (..., n) each -> (...)."""
    way = end - start
    return dot(wanted - start, way) / np.maximum(dot(way, way), 1e-12)


def _nearest_value(task: Task, state: TeachState, example: Example) -> Array:
    """The continuous action for an example that the medium can make, not yet inside the bounds."""
    medium, truth = task.medium, state.y[:, 0]
    if isinstance(medium, LabelGrid):
        return medium.project(example.y)
    if isinstance(medium, Perturb):
        return example.x if medium.region == "box" else onto_ball((example.x - state.x[:, 0]) / medium.radius, 1.0)
    if isinstance(medium, Mixup):
        return _coefficient(state, example)
    if isinstance(medium, PerturbHidden):
        return _turn(task, medium, state, example)
    if isinstance(medium, LabelMix):
        other = compose(task, state, np.zeros((1, 1), dtype=truth.dtype)).y
        return _share(example.y, other, truth)
    assert isinstance(medium, LabelOffset)
    nothing = np.zeros((1, 1, 1 + task.k), dtype=truth.dtype)
    prediction = compose(task, state, nothing).y  # the truth where that is the centre
    gate = np.clip(_share(example.y, prediction, truth), 0.0, 1.0)[..., None]
    centre = gate * truth + (1.0 - gate) * prediction
    return medium.project(np.concatenate([gate, example.y - centre], axis=-1))


def _turn(task: Task, medium: PerturbHidden, state: TeachState, example: Example) -> Array:
    """The turn of the hidden units that leads nearest to the offset wanted: (B, m, h) in the unit ball."""
    hidden = medium.candidates.shape[-1]
    centre = task.learner.features(state.w, state.x[:, 0])  # type: ignore[attr-defined]  # an MLP's
    wanted = centre + example.x[..., -hidden:]
    along = dot(wanted, centre) / np.maximum(norm(centre), 1e-30)
    across = wanted - _share(wanted, np.zeros_like(centre), centre)[..., None] * centre
    angle = np.arctan2(norm(across), along) / (2.0 * math.asin(0.5 * medium.epsilon))
    return onto_ball(across * (angle / np.maximum(norm(across), 1e-30))[..., None], 1.0)
