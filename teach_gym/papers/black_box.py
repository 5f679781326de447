"""Black-box teaching of small learners: teachers without w*, and plain SGD with a tuned step size."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from teach_gym.core.backend import Array
from teach_gym.core.metrics import METRICS, holdout_loss
from teach_gym.core.randomness import Streams
from teach_gym.core.state import TeachState, Transition
from teach_gym.core.task import reset
from teach_gym.papers.claims import Comparison
from teach_gym.papers.curves import rows_of
from teach_gym.papers.dht_protocol import protocol_cohorts
from teach_gym.papers.engine import Result, Unit
from teach_gym.papers.greedy import FIGURE_METRICS, Cohort, cohorts, method, roll, unit_teacher
from teach_gym.teachers import Teacher, make_teacher

REACHED = "iterations_to_accuracy"
SHARE = 0.95
"""The accuracy that must be reached, as a share of the test accuracy of w*."""
FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
"""Step sizes that tuned SGD tries, as multiples of the panel's."""


METRICS_HERE = {**FIGURE_METRICS, "holdout_loss": holdout_loss}


def black_box(method_name: str = "unroll", architecture: dict[str, Any] | None = None, **task: Any) -> dict[str, Any]:
    """Settings of a method that is trained without w*."""
    train = {"method": method_name, "architecture": architecture or {}}
    return {**method("black_box", **task), "train": train}


TUNED = {**method("passive"), "train": {"factors": list(FACTORS)}}


def learned(unit: Unit, taught: Sequence[Cohort]) -> list[Teacher]:
    """The teachers of a unit's cohorts, one per seed, trained on other learners and on hold-out rows."""
    from teach_gym.teachers.learned.blast import train_black_box
    from teach_gym.teachers.learned.fit import TrainingSettings

    train = unit.settings["train"]
    how = TrainingSettings(**{**unit.settings["training"], **unit.settings.get(train["method"], {})})
    tasks = [cohort.task for cohort in taught]
    shape = {**unit.settings["network"], **train["architecture"]}
    trained = train_black_box(tasks, unit.seeds, how, method=train["method"], architecture=shape, progress=False)
    return [trained.teacher()] if len(taught) == 1 else [trained.teacher(i) for i in range(len(taught))]


def tuned(cohort: Cohort, seeds: Sequence[int], factors: Sequence[float]) -> Cohort:
    """The cohort with the step size at which SGD has the lowest mean hold-out loss over whole episodes.

    It is chosen on other learners of the same pool; w* is unchanged.
    """
    found = []
    for factor in factors:
        rate = factor * cohort.task.update.learning_rate
        task = dataclasses.replace(cohort.task, update=dataclasses.replace(cohort.task.update, learning_rate=rate))
        rng = Streams.from_seeds([[seed, 2] for seed in seeds])
        _, values = roll(Cohort(task, reset(task, rng)), make_teacher("passive"), {"loss": holdout_loss})
        mean = float(values["loss"].mean())
        found.append((mean if np.isfinite(mean) else np.inf, rate, task))
    return cohort._replace(task=min(found, key=lambda entry: entry[:2])[2])


def teach(cohort: Cohort, teacher: Teacher) -> tuple[list[int], dict[str, Array]]:
    """Curves of a cohort, with the first iteration at which the required accuracy is reached (budget + 1: never)."""
    budget, accuracy = cohort.task.spec.budget, METRICS["test_accuracy"]
    wanted = SHARE * accuracy(cohort.task, cohort.state._replace(w=cohort.state.target))
    reached = np.where(accuracy(cohort.task, cohort.state) >= wanted, 0, budget + 1)

    def watch(before: TeachState, transition: Transition) -> None:
        state = transition.state
        now = accuracy(cohort.task, state) >= wanted
        reached[:] = np.where(now & (reached > budget), state.t, reached)

    iterations, values = roll(cohort, teacher, METRICS_HERE, watch)
    return iterations, {**values, REACHED: reached[:, None].astype(float)}


def run(unit: Unit) -> Result:
    """Run a unit of work: train its learned teachers, then teach its cohorts."""
    from threadpoolctl import threadpool_limits

    train = unit.settings.get("train")
    with threadpool_limits(limits=1):
        taught = protocol_cohorts(unit) if "passes" in unit.settings else cohorts(unit)
        if train is None or "factors" in train:
            teachers = [unit_teacher(unit) for _ in taught]
        else:
            teachers = learned(unit, taught)
        if train is not None and "factors" in train:
            taught = [tuned(cohort, unit.seeds, train["factors"]) for cohort in taught]
        found = [teach(cohort, teacher) for cohort, teacher in zip(taught, teachers, strict=True)]
    iterations = found[0][0]
    rows = []
    for name in found[0][1]:
        values = np.concatenate([curves[name] for _, curves in found])
        at = iterations[-1:] if name == REACHED else iterations
        rows += rows_of(unit.label, unit.method, name, unit.seeds, at, values)
    return Result(rows, {})


def each(panels: Sequence[str], first: str, *others: str, **options: Any) -> tuple[Comparison, ...]:
    """Compare a method with each of the others, on each panel."""
    return tuple(Comparison(first, panel=panel, second=second, **options) for panel in panels for second in others)
