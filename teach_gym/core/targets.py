"""Targets: the parameters w* the teacher leads the learner to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np

from teach_gym.arguments import NonNegative, Positive, Within, chosen
from teach_gym.core.backend import Array
from teach_gym.core.learner import Learner
from teach_gym.core.randomness import Streams
from teach_gym.errors import shown

Steps = Annotated[int, Within(1, 1_000_000)]


def optimum(learner: Learner, x: Array, y: Array, start: Array, *, l2: NonNegative = 0.0) -> Array:
    """The minimiser of the mean loss + l2 / 2 ||w||^2 on the train rows, by L-BFGS (scipy).

    Use ``l2 > 0`` where the classes are separable: the loss alone then has no minimiser.

    Args:
        learner: the learner.
        x: (N, d) train features.
        y: (N, K) train labels, as the learner takes them.
        start: (P,) where the search starts.
        l2: coefficient of the penalty.

    Returns:
        (P,) parameters.

    Raises:
        ValueError: no convergence (separable classes with l2 = 0).
    """
    from scipy.optimize import minimize

    def objective(w: Array) -> tuple[float, Array]:
        value = learner.loss(w[None], x, y)[0] + 0.5 * l2 * float(w @ w)
        return float(value), learner.gradient(w[None], x[None], y[None])[0] + l2 * w

    options = {"maxiter": 20_000, "maxfun": 40_000, "gtol": 1e-9, "ftol": 1e-15, "maxcor": 30}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
    escaping = l2 == 0.0 and objective(2.0 * found.x)[0] < found.fun  # at a minimum, doubling never helps
    if escaping or not np.isfinite(found.x).all() or np.abs(found.jac).max() > 1e-4:
        raise ValueError(
            f"no finite optimum of {learner.name} found with l2={shown(l2)} ({found.message}); "
            "where the classes are separable, use a positive l2, such as target_options={'l2': 0.01}"
        )
    return np.asarray(found.x)


def trained(
    learner: Learner, x: Array, y: Array, start: Array, *, steps: Steps = 2000, learning_rate: Positive = 0.5
) -> Array:
    """Parameters after full-batch gradient descent from the start (DHT, appendix C).

    Args:
        learner: the learner.
        x: (N, d) train features.
        y: (N, K) train labels.
        start: (P,) initial parameters.
        steps: number of updates.
        learning_rate: step size of this training, not that of the task.

    Returns:
        (P,) parameters.

    Raises:
        ValueError: training diverged.
    """
    w = start[None]
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(steps):
            w = w - learning_rate * learner.gradient(w, x[None], y[None])
    if not np.isfinite(w).all():
        raise ValueError(f"training the target diverged with learning_rate={shown(learning_rate)}; use a smaller one")
    return np.asarray(w[0])


def given(learner: Learner, x: Array, y: Array, start: Array, *, w: Sequence[float]) -> Array:
    """The parameters given as a list of P numbers.

    Raises:
        ValueError: the list does not hold P numbers.
    """
    if len(w) != start.size:
        raise ValueError(f"the given target must hold {start.size} numbers, got {len(w)}")
    return np.asarray(w, dtype=np.float64)


TARGETS: dict[str, Callable[..., Array]] = {"optimum": optimum, "trained": trained, "given": given}


def make_target(
    name: str, learner: Learner, x: Array, y: Array, pool_seed: int, /, **options: Any
) -> tuple[Array, Array]:
    """Find the target of a learner on train rows.

    Args:
        name: ``optimum``, ``trained`` or ``given``.
        learner: the learner.
        x: (N, d) train features.
        y: (N, K) train labels.
        pool_seed: seeds the start of the search or training.
        **options: options of that target's function.

    Returns:
        the target (P,) and the parameters (P,) the search started from.

    Raises:
        ValueError: unknown name, an option out of range, or the target could not be found.
        TypeError: an option the target does not have, or a value of the wrong type.
    """
    maker = chosen("target", name, TARGETS, options)
    start = learner.init(Streams.from_seeds([pool_seed]), x.shape[1], y.shape[1])[0]
    return maker(learner, x, y, start), start
