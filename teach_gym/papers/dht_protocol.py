"""The protocol of the DHT figures, taken from the authors' released settings.

Half-moons: scikit-learn's two moons, 1,000 points, noise 0.2, random_state 0 for every seed, no scaling, rows 0-799 to
train. MNIST 3/5: training-file images, pixels in [-1, 1], a shuffle and a Gaussian projection for each seed, 1,000
rows to train and 100 to test. The learner starts uniformly in +-1/sqrt(d), again if its test accuracy is above 0.6;
w* is the learner after 29 passes over the train rows in order.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from teach_gym.benchmark.suite import cached_task
from teach_gym.core.backend import Array, norm
from teach_gym.core.learner import layer
from teach_gym.core.metrics import METRICS
from teach_gym.core.randomness import Streams
from teach_gym.core.spec import TaskSpec
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.core.task import learn, reset
from teach_gym.core.updates import Update
from teach_gym.markdown import markdown_table
from teach_gym.papers.batches import contents_of, joined
from teach_gym.papers.curves import Curves
from teach_gym.papers.engine import PlainValues, Unit
from teach_gym.papers.figures import LABELS
from teach_gym.papers.greedy import TABULATED, Cohort

HALF_MOONS: dict[str, Any] = {"pool": "half_moons", "pool_options": {"n": 1000, "noise": 0.2, "standardize": False}}
MNIST: dict[str, Any] = {
    "pool": "mnist",
    "pool_options": {"classes": [3, 5], "n_train": 1000, "n_holdout": 100, "projection": 24},
}
RATE, PASSES = 0.001, 29
"""Learning rate, and passes over the train rows for w*."""
_DRAWS = 10_000


def protocol_task(pool: dict[str, Any], learner: str = "softmax", budget: int = 299, **changes: Any) -> dict[str, Any]:
    """Task arguments of the protocol: learning rate 0.001, batch 1, no bias; targets follow later, one per run."""
    return {
        **pool,
        "learner": learner,
        "medium": "label",
        "medium_options": {"kind": "grid"},
        "continuous": True,
        "learning_rate": RATE,
        "budget": budget,
        "init": "uniform",
        "tolerance": 0.0,
        "target": "trained",
        "target_options": {"steps": 1},
        **changes,
    }


def starts(task: Task, seeds: Sequence[int], ceiling: float = 0.6) -> Array:
    """Initial learners (S, P), drawn again while their test accuracy is above the ceiling.

    Raises:
        ValueError: a run has no acceptable start in thousands of draws.
    """
    rng = Streams.from_seeds([[seed, 1] for seed in seeds])  # not the random streams of the schedule
    found = np.full((len(seeds), task.size), np.nan)
    state = reset(task, Streams.from_seeds(seeds))
    for _ in range(_DRAWS):
        w = task.learner.init(rng, task.d, task.k).astype(task.spec.dtype)
        accepted = METRICS["test_accuracy"](task, state._replace(w=w)) <= ceiling
        new = accepted & np.isnan(found[:, 0])
        found[new] = w[new]
        if not np.isnan(found).any():
            return found
    raise ValueError(f"no start with a test accuracy of at most {ceiling!r} in {_DRAWS} draws")


def trained_in_order(
    tasks: Sequence[Task], state: TeachState, *, passes: int = PASSES, slow_passes: int = 5, slow_rate: float = 1e-4
) -> Array:
    """Targets (B, P): passes over the train rows in order from each run's w, the last ones at a smaller rate.

    Args:
        tasks: one for all runs, or one for each (other pools of the same size).
        state: B runs.
        passes: passes over the train rows.
        slow_passes: how many of these, the last ones, are at the smaller rate.
        slow_rate: the smaller rate.
    """
    task, slow = tasks[0], dataclasses.replace(tasks[0], update=Update(slow_rate))
    x, y = (np.stack([getattr(own, name) for own in tasks], axis=1)[:, :, None] for name in ("x", "y"))
    for done in range(passes):
        taught = slow if done >= passes - slow_passes else task
        for rows in zip(x, y, strict=True):
            state = state._replace(w=learn(taught, state, Example(*rows))[0])
    return state.w


def protocol_cohorts(unit: Unit) -> list[Cohort]:
    """The runs of a unit of work: one batch on the half-moons, on MNIST one for each seed's pool.

    A unit of ``batches.merged`` has the runs of all its panels.
    """
    seeds, contents = contents_of(unit)
    shared = unit.settings["task"]["pool"] == HALF_MOONS["pool"]
    pools = (0,) if shared else seeds
    found = [_start_and_target(_key(content), pools, seeds, content.get("passes", PASSES)) for content in contents]
    if shared:
        return [_cohort(contents, 0, seeds, found)]
    return [
        _cohort(contents, seed, (seed,), [(w[i : i + 1], target[i : i + 1]) for w, target in found])
        for i, seed in enumerate(seeds)
    ]


def _task(settings: PlainValues) -> Task:
    """A task of the protocol; MNIST is tested on the hold-out rows, which come from the training file.

    Tasks that use the hold-out rows in teaching are tested on the test file.
    """
    task = cached_task(TaskSpec(**settings).to_json())
    if task.pool.name != MNIST["pool"] or task.remembers:
        return task
    return dataclasses.replace(task, pool=dataclasses.replace(task.pool, test=task.pool.holdout))


def _cohort(
    contents: Sequence[PlainValues], pool_seed: int, seeds: tuple[int, ...], found: Sequence[tuple[Array, Array]]
) -> Cohort:
    """The runs on one pool, with the starts and targets of each panel."""
    states = []
    for content, (w, target) in zip(contents, found, strict=True):
        difference = target - w
        distance = norm(difference)
        state = reset(_task({**content["task"], "pool_seed": pool_seed}), Streams.from_seeds(seeds))
        states.append(
            state._replace(
                w=w.copy(), target=target, difference=difference, distance=distance, initial_distance=distance
            )
        )
    rates = [content["task"]["learning_rate"] for content in contents]
    return Cohort(_task({**contents[0]["task"], "pool_seed": pool_seed}), joined(states, rates))


def _key(content: PlainValues) -> str:
    """The task that starts and targets come from: at the protocol's rate, whatever the rate of teaching."""
    return json.dumps({**content["task"], "budget": 1, "learning_rate": RATE}, sort_keys=True)


@functools.lru_cache(maxsize=16)
def _start_and_target(
    task_settings: str, pools: tuple[int, ...], seeds: tuple[int, ...], passes: int
) -> tuple[Array, Array]:
    """Starts and targets (S, P) of the runs, on one pool or on one for each; all methods share them."""
    tasks = [_task({**json.loads(task_settings), "pool_seed": pool}) for pool in pools]
    parts = [seeds] if len(tasks) == 1 else [(seed,) for seed in seeds]
    w = np.concatenate([starts(task, part) for task, part in zip(tasks, parts, strict=True)])
    return w, trained_in_order(tasks, reset(tasks[0], Streams.from_seeds(seeds))._replace(w=w), passes=passes)


def spectral_distance(task: Task, state: TeachState) -> Array:
    """Squared spectral norm of the difference of the weights divided by their Frobenius norms: (B,).

    What the authors plot for the two-output learner; with one output it equals ``normalized_distance``.
    """
    w, target = (layer(flat, task.d, False)[0] for flat in (state.w, state.target))
    unit_w, unit_target = (a / np.linalg.norm(a, "fro", axis=(-2, -1), keepdims=True) for a in (w, target))
    return np.asarray(np.linalg.norm(unit_w - unit_target, 2, axis=(-2, -1)) ** 2)


def protocol_table(metric: str) -> Callable[[Curves], str]:
    """A table of a metric at ``TABULATED`` iterations, mean and deviation over seeds, for ``Experiment.table``.

    Args:
        metric: the metric.
    """

    def table(curves: Curves) -> str:
        rows = []
        for panel in curves.panels():
            for name in curves.methods(panel, metric):
                curve = curves.get(panel, name, metric)
                cells = [_cell(curve.values[:, curve.iterations == t]) for t in TABULATED]
                rows.append((panel, name, *cells))
        head = ("panel", "method", *(f"iteration {t}" for t in TABULATED))
        return f"{LABELS[metric]}, mean ± standard deviation over seeds:\n\n{markdown_table(head, rows, 'llr')}"

    return table


def _cell(values: Array) -> str:
    return f"{values.mean():.3g} ± {values.std(ddof=1):.2g}" if values.size > 1 else ""
