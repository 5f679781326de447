"""LAST Figure 11: digits whose synthesised one-hot label differs from the true one, and whether they are hard."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from teach_gym.core.backend import Array
from teach_gym.core.state import Task, TeachState, Transition
from teach_gym.data.pools import make_pool
from teach_gym.papers.claims import Claim, Comparison
from teach_gym.papers.curves import Row, rows_of
from teach_gym.papers.engine import Arrays, Experiment, Record, Result, Unit
from teach_gym.papers.figures import new_figure
from teach_gym.papers.greedy import cohorts, method, panel_units, roll, same_methods, unit_teacher
from teach_gym.papers.last_linear import perceptron_task
from teach_gym.papers.tasks import SMALL_DIGITS, SMALL_LOGISTIC, paper_task

NEAR = 0.25
"""A row is near the boundary if it belongs to this share of the train rows with the smallest |logit|."""
SHOWN = 12


class Shown(NamedTuple):
    """What was shown in one step to each of B runs.

    Attributes:
        row: (B,) train rows.
        label: (B,) synthesised labels.
        near_target: (B,) bool, near the target's decision boundary.
        near_learner: (B,) bool, near the boundary of the learner that was taught.
    """

    row: Array
    label: Array
    near_target: Array
    near_learner: Array


def near_boundary(task: Task, w: Array, rows: Array) -> Array:
    """Whether rows (B,) are among the ``NEAR`` of the train rows nearest to the boundary of w (B, P): (B,) bool."""
    margins = np.abs(task.learner.logits(w, task.x)[..., 0])
    limit = np.quantile(margins, NEAR, axis=1)
    return margins[np.arange(len(rows)), rows] <= limit


def run(unit: Unit) -> Result:
    """Teach with one-hot labels and record, step by step, which rows got which label."""
    cohort = cohorts(unit)[0]
    task = cohort.task
    shown: list[Shown] = []

    def watch(before: TeachState, transition: Transition) -> None:
        row = before.schedule[np.arange(len(before.t)), before.t, 0, 0]
        label = transition.example.y[:, 0, 0]
        near = (near_boundary(task, w, row) for w in (before.target, before.w))
        shown.append(Shown(row, label, *near))

    roll(cohort, unit_teacher(unit), {}, watch)
    steps = Shown(*(np.stack(part, axis=1) for part in zip(*shown, strict=True)))
    flipped = steps.label != task.y[steps.row, 0]
    return Result(_rows(unit, steps, flipped), _examples(task, steps, flipped))


def _rows(unit: Unit, steps: Shown, flipped: Array) -> list[Row]:
    """Shares over the whole episode of rows near each boundary, among flipped and among kept labels."""
    last = [flipped.shape[1]]
    rows = rows_of(unit.label, "flipped", "share", unit.seeds, last, flipped.mean(1)[:, None])
    for name, chosen in (("flipped", flipped), ("kept", ~flipped)):
        count = chosen.sum(1)
        for metric, near in (("near_target", steps.near_target), ("near_learner", steps.near_learner)):
            share = np.where(count > 0, (near & chosen).sum(1) / np.maximum(count, 1), np.nan)
            rows += rows_of(unit.label, name, metric, unit.seeds, last, share[:, None])
    return rows


def _examples(task: Task, steps: Shown, flipped: Array) -> Arrays:
    """Images of the first seed's flipped labels, evenly spread over the episode."""
    times = np.flatnonzero(flipped[0])
    times = times[np.unique(np.linspace(0, len(times) - 1, min(SHOWN, len(times))).round().astype(int))]
    rows = steps.row[0, times]
    options = dict(task.spec.pool_options)
    if task.pool.name == "mnist":  # the same rows before their projection
        options["projection"] = None
    pool = make_pool(task.spec.pool, task.spec.first_pool_seed, **options)
    classes = np.array([int(name) for name in pool.classes])
    assert pool.image_shape is not None
    return {
        "images": pool.train.x[rows].reshape(-1, *pool.image_shape),
        "iteration": times,
        "truth": classes[pool.train.labels[rows]],
        "label": classes[steps.label[0, times].astype(int)],
    }


def draw(record: Record) -> dict[str, Any]:
    """The digits of each panel's first seed, with both labels."""
    first = {unit.panel: arrays for unit, arrays in reversed(record.arrays)}
    return {f"digits-{panel}": _picture(arrays, panel) for panel, arrays in first.items()}


def _picture(arrays: Arrays, panel: str) -> Any:
    columns = SHOWN // 2
    figure, grid = new_figure(columns, 2, (1.15, 1.55))
    for axes in grid.ravel():
        axes.set_axis_off()
    fields = (arrays[name] for name in ("images", "iteration", "truth", "label"))
    for axes, (image, t, truth, label) in zip(grid.ravel(), zip(*fields, strict=True), strict=False):
        axes.imshow(image, cmap="gray")
        axes.set_title(f"iteration {t}\ntruth {truth}, LAST {label}", fontsize=6.5)
    figure.suptitle(f"{panel}: labels that differ from the truth", fontsize=8)
    return figure


def settings(seeds: int, budget: int, small: bool = False) -> dict[str, Any]:
    """Settings of Figure 11: a perceptron (Fig. 10) and a logistic learner on MNIST 3/5."""
    digits = SMALL_LOGISTIC if small else {}
    tasks = {
        "perceptron": perceptron_task(budget, SMALL_DIGITS if small else None),
        "logistic": paper_task("LabelMNIST", **{"budget": budget, **digits}),
    }
    return same_methods(seeds, tasks, {"LAST one-hot": method("last:constraint=one_hot")})


def _claims() -> tuple[Claim, ...]:
    found = []
    for panel, where in (("perceptron", ""), ("logistic", ", for linear learners too")):
        for metric, whose in (("near_target", "target's"), ("near_learner", "learner's")):
            kept = Comparison("flipped", "above", "kept", metric=metric, panel=panel)
            most = Comparison("flipped", "above", 0.5, metric=metric, panel=panel)
            said = f"hard samples near the {whose} decision boundary{where}"
            found += [
                Claim(f"Examples whose label is changed are more often {said}.", (kept,)),
                Claim(f"Most of the examples whose label is changed are {said}.", (most,)),
            ]
    return tuple(found)


FIG11 = Experiment(
    name="last-fig11",
    title="MNIST digits whose synthesised one-hot label differs from the true one",
    source="LAST, Figure 11",
    notes="'Near the boundary' means: among the quarter of the train rows with the smallest |logit|, of the "
    "target or of the learner being taught. The pictures show the first seed's changed labels, evenly spaced over the "
    "episode; none is picked by hand.",
    scales={"smoke": settings(2, 6, True), "laptop": settings(20, 600), "paper": settings(50, 600)},
    units=panel_units,
    run=run,
    claims=_claims(),
    draw=draw,
)
