"""The kinds of observations that an agent can see."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from teach_gym.core import outlook, queries, trial
from teach_gym.core.aim import best_action
from teach_gym.core.backend import Array, namespace
from teach_gym.core.batch import needed
from teach_gym.core.farsighted import check_linear
from teach_gym.core.foresight import foresight
from teach_gym.core.spec import is_drawn
from teach_gym.core.state import Task, TeachState
from teach_gym.core.views import LEAST_SHARE, VIEWS, judged, viewed


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
"""A block without its position: name, size, low, high, meaning, values."""


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
    return namespace(state.w).log(state.distance / state.initial_distance + LEAST_SHARE)


def lookahead(task: Task) -> list[Entry]:
    """What determines the best choice, in a few numbers whose count does not grow with the learner.

    All of it follows from the omniscient observation, but through products of its entries that a small network learns
    slowly. The outlook gives an agent what the greedy oracle knows (and, for learners with momentum, the anticipating
    oracle); the agent only has to learn what these miss. The continuous flavour also shows the action to which the
    outlook points.
    """
    aim = [_aimed(task, "after the step", outlook.near_aim)] if task.spec.continuous else []
    return [*_outlooks(task), *aim, *_end(task)]


def _aimed(task: Task, when: str, aim: Callable[[Task, TeachState], Array]) -> Entry:
    """The block of the continuous action that the outcomes of the discrete ones point to."""
    low, high = task.medium.box
    text = f"the continuous action of least distance {when}, as far as the outcomes of the discrete actions tell"
    return "aim", low.size, float(low.min()), float(high.max()), text, aim


def _outlooks(task: Task) -> list[Entry]:
    """The blocks of ``lookahead`` that both flavours have, without the last ones."""
    inf, rows = float("inf"), task.medium.n_sources * task.spec.batch_size * task.k
    low, high = _label_bounds(task)
    size, text = 1 + task.n_actions, "gain of the best action by one step, as a share of the distance, then how much"
    text += " farther each action ends than the best, in units of their mean"
    if task.update.momentum:
        size, text = 2 * size, text + "; the same for where the momentum would carry the learner"
    return [
        ("label", rows, low, high, "ground-truth labels y of the offered examples", _label),
        ("logits", rows, -inf, inf, "the learner's logits on the offered examples", _logits),
        ("gap", rows, -inf, inf, "the target's logits on them minus the learner's", _gap),
        ("log_distance", 1, -inf, inf, "log of the distance as a share of the initial distance", _log_distance),
        ("outlook", size, -inf, inf, text, outlook.outlook),
    ]


def full(task: Task) -> list[Entry]:
    """The omniscient observation with the additional blocks of ``lookahead`` inserted before its last blocks."""
    last = len(_end(task))
    added = [entry for entry in lookahead(task)[:-last] if entry[0] != "label"]
    return [*omniscient(task)[:-last], *added, *_end(task)]


def farsighted(task: Task) -> list[Entry]:
    """``lookahead``, and what each action leads to at the end of the budget, as the far-sighted oracle sees it.

    The cost-to-go is that of free labels (``teach_gym.core.farsighted``), in closed form, so the learner needs to be
    linear. The costs of all actions follow from one product with its matrix. The continuous flavour shows the action
    that they point to, in place of the one that the outlook points to.

    Raises:
        ValueError: a learner with a hidden layer.
    """
    check_linear(task, "the observation 'farsighted'")
    text = "log of the distance to be expected at the end if this step teaches nothing, as a share of the initial one; "
    text += "what the best action gains of it; how much farther each action ends than the best, in units of their mean"
    entries: list[Entry] = [("farsight", 2 + task.n_actions, -float("inf"), float("inf"), text, _farsight)]
    if task.spec.continuous:
        entries.append(_aimed(task, "to be expected at the end", _far_aim))
    return [*_outlooks(task), *entries, *_end(task)]


def _far_aim(task: Task, state: TeachState) -> Array:
    return best_action(task, state, foresight(task).outcomes(state, relative=True))


def _farsight(task: Task, state: TeachState) -> Array:
    found = judged(foresight(task), state)
    return np.stack([found.expected, found.gain, *found.shortfalls], axis=1)


def universal(task: Task) -> list[Entry]:
    """What an agent needs that is to teach tasks it never saw: numbers that mean the same in every task.

    The costs of all actions under several assumptions about later control (``teach_gym.core.views``). The first entries
    are the same for all actions; the last ones are those of each action, which an agent may judge one by one
    (``teach_gym.teachers.perceptron.Network``, form ``each``), whatever their number.

    Raises:
        ValueError: a learner with a hidden layer.
    """
    check_linear(task, "the observation 'universal'")
    inf, views = float("inf"), len(VIEWS)
    text = f"for each of {views} assumptions about later control the log of the distance to be expected at the end if "
    text += "this step teaches nothing, as a share of the present one, and what the best action gains of it; then for "
    text += "each assumption how much farther each action ends than the best, in units of their mean"
    return [
        ("log_distance", 1, -inf, inf, "log of the distance as a share of the initial distance", _log_distance),
        ("budget", 1, 0.0, 1.0, "share of the teaching budget that remains", _budget),
        ("views", views * (2 + task.n_actions), -inf, inf, text, viewed),
    ]


def _end(task: Task) -> list[Entry]:
    """The last blocks of an observation: the learning rate, if it is drawn at reset, and the budget."""
    entries: list[Entry] = [("budget", 1, 0.0, 1.0, "share of the teaching budget that remains", _budget)]
    if is_drawn(task.spec.learning_rate):
        low, high = task.spec.learning_rate
        entries.insert(0, ("learning_rate", 1, low, high, "the learner's step size", _rate))
    return entries


def black_box(task: Task) -> list[Entry]:
    """What querying the learner reveals, without any information about w* (LAST 4; DHT 4.1 and appendix B).

    A few numbers whose count does not grow with the data: the learner's predictions on the offered rows and its loss on
    each action's teaching example, its losses on the hold-out rows (overall, and for the true and the predicted class),
    statistics of past steps, and the remaining budget.
    """
    inf, m = float("inf"), task.medium.n_sources
    entries: list[Entry] = [
        ("loss", task.n_actions, -inf, inf, "the learner's loss on the teaching example of each action", queries.loss),
        ("size", m, 0.0, inf, "squared norm of each offered row's features, in units of the pool's mean", queries.size),
    ]
    if task.soft is not None:
        meaning = "probability that the soft label to mix with gives to the label"
        entries.append(("reference", m, 0.0, 1.0, meaning, queries.reference))
    if m > 1:
        meaning = "cosine of each further offered row with the first, then the overlap of their labels"
        entries.append(("likeness", 2 * (m - 1), -inf, inf, meaning, queries.likeness))
    return [*_predicted(task), *entries, *_remembered(task), *_end(task)]


def _predicted(task: Task) -> list[Entry]:
    """The learner's predictions on the offered rows, and hold-out statistics of the true and the predicted class."""
    inf, m = float("inf"), task.medium.n_sources
    if not task.pool.n_classes:
        return [("residual", m, -inf, inf, "label of each offered row minus the prediction", queries.residual)]
    return [
        ("agreement", m, 0.0, 1.0, "the learner's probability of each offered row's label", queries.agreement),
        ("margin", m, -inf, inf, "log odds of that label against the most probable other one", queries.margin),
        ("confidence", m, 0.0, 1.0, "the learner's highest probability on each offered row", queries.confidence),
        (
            "given_class",
            3 * m,
            -inf,
            inf,
            "for the label's class on the hold-out rows: loss minus mean loss, recall, excess of its probability",
            queries.given_class,
        ),
        (
            "predicted_class",
            2 * m,
            -inf,
            inf,
            "for the predicted class on the hold-out rows: precision, excess of its probability",
            queries.predicted_class,
        ),
    ]


def _remembered(task: Task) -> list[Entry]:
    """Overall hold-out statistics of the learner, and statistics of past steps."""
    inf = float("inf")
    standing = "hold-out accuracy, hold-out loss, log of that loss as a share of the first one and of the best so far"
    gains = (
        "share of the hold-out loss that the last step removed, its running mean, share of the budget since the best"
    )
    shown = "mean loss on the examples shown, over all steps and over the last ones"
    return [
        ("standing", 4, -inf, inf, standing, queries.standing),
        ("gains", 3, -inf, inf, gains, queries.gains),
        ("losses_shown", 2, -inf, inf, shown, queries.losses_shown),
    ]


def black_box_trial(task: Task) -> list[Entry]:
    """``black_box``, and the hold-out losses of copies of the learner after being taught each action's example.

    It needs a learner that can be copied. The first outlook is what ``holdout_greedy`` uses; the second, after
    rehearsal, is what ``holdout_rehearsal`` uses. They cost a teaching step, three mean gradients over 100 pool rows
    and two hold-out evaluations per action.
    """
    text = "gain in hold-out loss by the best action, as a share of it, then how much worse than the best each action"
    text += " ends, in units of their mean; the same once the copies have rehearsed on pool rows"
    entry: Entry = ("trial", 2 + 2 * task.n_actions, -float("inf"), float("inf"), text, _trial)
    last = len(_end(task))
    return [*black_box(task)[:-last], entry, *_end(task)]


def _trial(task: Task, state: TeachState) -> Array:
    past, w = needed(state.memory), trial.copies(task, state)
    found = [trial.losses(task, w), trial.rehearsed(task, state, w)]
    return np.concatenate([outlook.compared(past.now.loss, past.initial, after) for after in found]).T


OBSERVATIONS: dict[str, Callable[[Task], list[Entry]]] = {
    "omniscient": omniscient,
    "lookahead": lookahead,
    "farsighted": farsighted,
    "universal": universal,
    "full": full,
    "black_box": black_box,
    "black_box_trial": black_box_trial,
}
