"""Experiments that compare teachers on tasks: all seeds of a method are taught as one batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from teach_gym.benchmark.episode import evaluation_iterations
from teach_gym.benchmark.suite import cached_task
from teach_gym.core.backend import Array
from teach_gym.core.batch import diverged
from teach_gym.core.metrics import METRICS
from teach_gym.core.randomness import Streams
from teach_gym.core.spec import TaskSpec
from teach_gym.core.state import Task, TeachState, Transition
from teach_gym.core.task import reset
from teach_gym.papers.batches import contents_of, joined
from teach_gym.papers.curves import rows_of
from teach_gym.papers.engine import PlainValues, Result, Unit, groups
from teach_gym.teachers import Clock, Teacher, make_teacher, transitions

Metric = Callable[[Task, TeachState], Array]

FIGURE_METRICS: dict[str, Metric] = {
    name: METRICS[name] for name in ("distance", "normalized_distance", "train_loss", "test_accuracy")
}
"""What every experiment records, in addition to ``seconds``."""


TABULATED = (9, 49, 99, 199, 299)
"""The iterations in the DHT authors' released records; every experiment records them too."""


def recorded_iterations(budget: int) -> list[int]:
    """Iterations at which curves are recorded: those of the benchmark, and ``TABULATED``."""
    return sorted({*evaluation_iterations(budget), *(t for t in TABULATED if t <= budget)})


class Cohort(NamedTuple):
    """Runs that share a task and are taught as one batch.

    Attributes:
        task: the task (its pool, at least; targets may differ from run to run).
        state: the B runs at iteration 0.
    """

    task: Task
    state: TeachState


def method(teacher: str, every: int = 1, **task: Any) -> dict[str, Any]:
    """Settings of a method: a teacher as text, how often it acts, and what it changes in the panel's task."""
    return {"teacher": teacher, "every": every, "task": task}


def same_methods(seeds: int, tasks: Mapping[str, PlainValues], methods: PlainValues) -> dict[str, Any]:
    """Settings of a scale with a panel for each task, all with the same methods; see ``panel_units``."""
    return {"seeds": seeds, "panels": {name: {"task": task, "methods": methods} for name, task in tasks.items()}}


def panel_units(name: str, settings: PlainValues, seeds: Sequence[int]) -> list[Unit]:
    """A unit of work for each panel, method and group of seeds.

    Args:
        name: the experiment's name.
        settings: ``panels``: by name, the ``task`` (arguments of ``TaskSpec``) and the ``methods`` (see ``method``).
        seeds: all seeds.
    """
    units = []
    for panel, content in settings["panels"].items():
        for label, chosen in content["methods"].items():
            task = {**content["task"], **chosen["task"]}
            own = {**content, **chosen, "task": task}
            del own["methods"]
            units += [Unit(name, panel, label, group, own) for group in groups(seeds)]
    return units


def cohorts(unit: Unit) -> list[Cohort]:
    """One batch of runs on the unit's task, learners and examples as in the benchmark's runs with these seeds.

    A unit of ``batches.merged`` has the runs of all its panels.
    """
    seeds, contents = contents_of(unit)
    specs = [TaskSpec(**content["task"]) for content in contents]
    task = cached_task(specs[0].to_json())
    rates = [float(spec.learning_rate) for spec in specs if not isinstance(spec.learning_rate, Sequence)]
    states = [reset(dataclasses.replace(task, spec=spec), Streams.from_seeds(seeds)) for spec in specs]
    return [Cohort(task, joined(states, rates))]


def unit_teacher(unit: Unit) -> Teacher:
    """The teacher of a unit of work, with the interval at which it acts."""
    from teach_gym.teachers.oracles.interval import EverySteps

    teacher = make_teacher(unit.settings["teacher"])
    every = unit.settings.get("every", 1)
    return teacher if every == 1 else EverySteps(teacher, every)


def roll(
    cohort: Cohort,
    teacher: Teacher,
    metrics: Mapping[str, Metric],
    watch: Callable[[TeachState, Transition], None] | None = None,
) -> tuple[list[int], dict[str, Array]]:
    """Teach a cohort for the whole budget.

    Args:
        cohort: the runs.
        teacher: the teacher.
        metrics: what to record.
        watch: called with the state before and the transition of each step.

    Returns:
        The recorded iterations (T,), and (B, T) values of each metric. ``seconds`` is the time that the whole batch
        took in teacher and learner. The distance of a learner that diverged is inf; its other metrics are nan.
    """
    task, state = cohort
    teacher.check(task)
    iterations, clock = recorded_iterations(task.spec.budget), Clock()
    values: dict[str, list[Array]] = {name: [] for name in (*metrics, "seconds")}

    def record(t: int) -> None:
        if t in iterations:
            for name, metric in metrics.items():
                values[name].append(_recorded(name, metric(task, state), state))
            values["seconds"].append(np.full(len(state.t), clock.teacher + clock.learner))

    with np.errstate(over="ignore", invalid="ignore"):
        record(0)
        t = 0
        for t, transition in enumerate(transitions(task, teacher, state, clock=clock), 1):
            if watch is not None:
                watch(state, transition)
            state = transition.state
            record(t)
        for later in range(t + 1, task.spec.budget + 1):  # all episodes have ended: the learners stay where they are
            record(later)
    return iterations, {name: np.stack(found, axis=1) for name, found in values.items()}


def _recorded(name: str, value: Array, state: TeachState) -> Array:
    return np.where(diverged(state), np.inf if name.endswith("distance") else np.nan, value)


def unit_teachers(unit: Unit, taught: Sequence[Cohort]) -> list[Teacher]:
    """The same teacher for every cohort of a unit of work."""
    return [unit_teacher(unit) for _ in taught]


def run_unit(
    unit: Unit,
    *,
    metrics: Mapping[str, Metric] = FIGURE_METRICS,
    make_cohorts: Callable[[Unit], list[Cohort]] = cohorts,
    make_teachers: Callable[[Unit, Sequence[Cohort]], list[Teacher]] = unit_teachers,
) -> Result:
    """Run a unit of work: teach its cohorts, each with its teacher, and return their curves."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        taught = make_cohorts(unit)
        teachers = make_teachers(unit, taught)
        found = [roll(cohort, teacher, metrics) for cohort, teacher in zip(taught, teachers, strict=True)]
    iterations = found[0][0]
    curves = {name: np.concatenate([values[name] for _, values in found]) for name in found[0][1]}
    rows = [
        row
        for name, values in curves.items()
        for row in rows_of(unit.label, unit.method, name, unit.seeds, iterations, values)
    ]
    return Result(rows, {})
