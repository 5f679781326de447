"""LAST Figure 9: the one-hot labels that greedy synthesis gives the half-moons while it teaches."""

from __future__ import annotations

from typing import Any

import numpy as np

from teach_gym.core.backend import Array
from teach_gym.core.batch import take
from teach_gym.core.state import Example, Task, TeachState, Transition
from teach_gym.papers.claims import Claim, Comparison
from teach_gym.papers.curves import rows_of
from teach_gym.papers.engine import Arrays, Experiment, Record, Result, Unit
from teach_gym.papers.figures import new_figure
from teach_gym.papers.greedy import (
    FIGURE_METRICS,
    Cohort,
    cohorts,
    method,
    panel_units,
    recorded_iterations,
    roll,
    same_methods,
    unit_teacher,
)
from teach_gym.papers.tasks import paper_task
from teach_gym.teachers import Teacher

PICTURES = (0.02, 0.1, 1.0)
"""Iterations that are drawn, as fractions of the budget."""
RATES = (0.7, 0.14, 0.014)
"""Learning rates: that of Figure 8 here, a fifth and a fiftieth of it."""
METHOD = "LAST one-hot"


def labels_of_all_rows(task: Task, state: TeachState, teacher: Teacher, run: int) -> Array:
    """The label the teacher would give each train row if it were offered to a run's learner now: (N,)."""
    n = len(task.x)
    many = take(state, np.full(n, run))._replace(x=task.x[:, None, None], y=task.y[:, None, None])
    example = teacher(task, many)
    assert isinstance(example, Example)
    return example.y[:, 0, 0]


def parted_share(x: Array, positive: Array) -> float:
    """Share of rows on their side of the line (hyperplane) of least total slack, found by linear programming.

    It is 1 if and only if the two groups are linearly separable: minimise sum(slack) subject to
    s_i (<u, x_i> + b) >= 1 - slack_i; if no line separates the groups, some slack is at least 1.

    Args:
        x: (N, d) rows.
        positive: (N,) bool, which group a row is in.

    Raises:
        RuntimeError: the linear programme could not be solved.
    """
    from scipy.optimize import linprog

    signs = np.where(positive, 1.0, -1.0)
    signed = signs[:, None] * np.concatenate([x, np.ones((len(x), 1))], axis=1)
    # the dual has d + 1 equations instead of N inequalities: max sum(a), signed^T a = 0, 0 <= a <= 1
    found = linprog(-np.ones(len(x)), A_eq=signed.T, b_eq=np.zeros(signed.shape[1]), bounds=(0.0, 1.0), method="highs")
    if found.status != 0:
        raise RuntimeError(f"the test of linear separability failed: {found.message}")
    return float((signed @ -found.eqlin.marginals > 1e-7).mean())


def run(unit: Unit) -> Result:
    """Teach with one-hot labels; at each recorded iteration label all rows and test whether a line separates them."""
    cohort: Cohort = cohorts(unit)[0]
    task, teacher, budget = cohort.task, unit_teacher(unit), cohort.task.spec.budget
    due = recorded_iterations(budget)
    drawn = [min(due, key=lambda t: abs(t - fraction * budget)) for fraction in PICTURES]
    share: list[list[float]] = [[] for _ in unit.seeds]
    kept: list[tuple[Array, Array]] = []

    def look(state: TeachState) -> None:
        t = int(state.t[0])
        if t not in due:
            return
        for run in range(len(unit.seeds)):
            labels = labels_of_all_rows(task, state, teacher, run)
            share[run].append(parted_share(task.x, labels > 0.5))
            if run == 0 and t in drawn:
                kept.append((state.w[0], labels))

    def watch(before: TeachState, transition: Transition) -> None:
        look(transition.state)

    look(cohort.state)
    iterations, values = roll(cohort, teacher, FIGURE_METRICS, watch)
    values["parted_share"] = np.array(share)
    values["separable"] = (values["parted_share"] == 1.0).astype(float)
    rows = [
        row
        for name, table in values.items()
        for row in rows_of(unit.label, unit.method, name, unit.seeds, iterations, table)
    ]
    arrays = {
        "x": np.asarray(task.x),
        "truth": np.asarray(task.y[:, 0]),
        "target": np.asarray(task.target),
        "w": np.stack([w for w, _ in kept]),
        "labels": np.stack([labels for _, labels in kept]),
        "iterations": np.unique(drawn),
    }
    return Result(rows, arrays)


def draw_line(axes: Any, w: Array, **style: Any) -> None:
    """The decision boundary <w, x> = 0 in the plane."""
    normal = w / max(float(np.hypot(*w)), 1e-30)
    ends = 10.0 * np.array([[-normal[1], normal[0]], [normal[1], -normal[0]]])
    axes.plot(ends[:, 0], ends[:, 1], **style)


def _picture(arrays: Arrays, title: str) -> Any:
    panels = [("ground truth", arrays["truth"], None)]
    panels += [
        (f"LAST, iteration {t}", labels, w)
        for t, labels, w in zip(arrays["iterations"], arrays["labels"], arrays["w"], strict=True)
    ]
    figure, grid = new_figure(len(panels), 1, (3.2, 2.9))
    x = arrays["x"]
    for axes, (name, labels, w) in zip(grid[0], panels, strict=True):
        for value, color in ((0, "#0072b2"), (1, "#d55e00")):
            axes.scatter(*x[labels == value].T, s=5, color=color, linewidths=0, alpha=0.7)
        draw_line(axes, arrays["target"], color="#009e73", linestyle=":", linewidth=2.2)
        if w is not None:
            draw_line(axes, w, color="#6a3d9a", linewidth=1.8)
        axes.set_xlim(x[:, 0].min() - 0.2, x[:, 0].max() + 0.2)
        axes.set_ylim(x[:, 1].min() - 0.2, x[:, 1].max() + 0.2)
        axes.set_title(name, fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.suptitle(f"{title} (purple: learner, dotted green: target)", fontsize=9)
    return figure


def draw(record: Record) -> dict[str, Any]:
    """A picture of the first seed's labels for each panel."""
    first = {unit.panel: arrays for unit, arrays in reversed(record.arrays)}
    return {f"labels-{panel.replace(', ', '-').replace(' ', '-')}": _picture(a, panel) for panel, a in first.items()}


def _panel(rate: float) -> str:
    return f"learning rate {rate:g}"


def settings(seeds: int, budget: int, n: int = 1000) -> dict[str, Any]:
    """Settings of Figure 9: half-moons at three learning rates."""
    tasks = {
        _panel(rate): paper_task("LabelMoons", budget=budget, pool_options={"n": n}, learning_rate=rate)
        for rate in RATES
    }
    return same_methods(seeds, tasks, {METHOD: method("last:constraint=one_hot")})


def _claims() -> tuple[Claim, ...]:
    found = []
    for panel in map(_panel, RATES):
        always = Comparison(METHOD, "always", 1.0, metric="separable", panel=panel)
        nearly = Comparison(METHOD, "above", 0.98, metric="parted_share", panel=panel, at=(0.02, 0.1, 1.0))
        found.append(Claim(f"The synthesised labels are always linearly separable. [{panel}]", (always,)))
        found.append(Claim(f"They are linearly separable except for less than 2 % of the rows. [{panel}]", (nearly,)))
    return tuple(found)


FIG9 = Experiment(
    name="last-fig9",
    title="One-hot labels synthesised for the half-moons while the learner is taught",
    source="LAST, Figure 9",
    notes="At each recorded iteration every train row gets the label it would get if it were offered now; a linear "
    "programme finds the line of least slack and the rows on the wrong side of it. The greedy label is 1 where "
    "<w* - w, x> > rate ||x||^2 (1/2 - p(x)): far from the target, with small steps, the boundary of the labels is "
    "nearly the straight line <w* - w, x> = 0; near the target the right side matters and the labels change inside a "
    "curve (see the pictures at the larger rates), so that no line separates them.",
    scales={"smoke": settings(2, 4, 60), "laptop": settings(10, 300), "paper": settings(30, 600)},
    units=panel_units,
    run=run,
    claims=_claims(),
    draw=draw,
)
