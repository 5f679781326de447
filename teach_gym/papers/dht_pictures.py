"""DHT Figures 6 and 7: the examples generative teachers show while they teach, half-moons and digits."""

from __future__ import annotations

from typing import Any

import numpy as np

from teach_gym.core.backend import Array
from teach_gym.core.batch import take
from teach_gym.core.state import TeachState, Transition
from teach_gym.papers.claims import Claim, Comparison
from teach_gym.papers.curves import rows_of
from teach_gym.papers.dht_generative import DIGITS, MOONS, SWEPT, learned, scales, train
from teach_gym.papers.dht_protocol import protocol_cohorts
from teach_gym.papers.engine import Arrays, Experiment, Record, Result, Unit
from teach_gym.papers.figures import new_figure
from teach_gym.papers.greedy import FIGURE_METRICS, Cohort, panel_units, roll
from teach_gym.papers.last_moons import draw_line

ITERATIONS = (10 / 299, 150 / 299, 290 / 299)
"""Iterations that are drawn, as fractions of the budget."""
SAMPLES = 200
"""Examples generated for each learner at each of these iterations, and real rows they are compared with."""
METRIC = "energy_distance"
_SHOWN = 4
_CLASS_COLORS = ("#0072b2", "#d55e00")


def energy_distance(a: Array, b: Array) -> float:
    """2 E||a - b|| - E||a - a'|| - E||b - b'|| over rows (n, c), (n', c), in units of the last term.

    It is zero if and only if both have the same distribution (Székely and Rizzo, 2013).
    """
    from scipy.spatial.distance import cdist, pdist

    across, within_a, within_b = cdist(a, b).mean(), pdist(a).mean(), pdist(b).mean()
    return float((2.0 * across - within_a - within_b) / within_b)


def sample(cohort: Cohort, teacher: Any, state: TeachState, seed: int) -> tuple[Array, Array, Array, Array]:
    """Examples that each run's teacher generates for its learner now, each for a different random train row.

    Returns:
        The examples (B, n, size), their classes (B, n), and as many real rows (B, n, size) with theirs (B, n).
    """
    from teach_gym.teachers.learned.design import real_rows

    task, b = cohort.task, len(state.w)
    rng = np.random.default_rng([seed, 7])
    labels = np.asarray(task.pool.train.labels)
    rows, others = (rng.integers(len(labels), size=(b, SAMPLES)) for _ in range(2))
    flat = rows.ravel()
    many = take(state, np.repeat(np.arange(b), SAMPLES))
    fresh = rng.integers(2**63, size=b * SAMPLES)  # separate noise for every example
    many = many._replace(x=task.x[flat][:, None, None], y=task.y[flat][:, None, None], key=fresh)
    made = teacher.policy.made(task, many)[:, 0].reshape(b, SAMPLES, -1)
    real = np.asarray(real_rows(task, teacher.policy.arch).rows)
    return made, labels[rows], real[others], labels[others]


def _distances(made: Array, classes: Array, real: Array, others: Array) -> list[float]:
    """The energy distance of each run's samples from real rows, averaged over classes."""
    found = []
    for a, ka, b, kb in zip(made, classes, real, others, strict=True):
        found.append(np.mean([energy_distance(a[ka == k], b[kb == k]) for k in np.unique(ka)]))
    return [float(value) for value in found]


def run(unit: Unit) -> Result:
    """Teach; at each drawn iteration generate examples for every learner and compare them with real rows."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        cohorts = protocol_cohorts(unit)
        teachers = train(unit, cohorts)
        budget = cohorts[0].task.spec.budget
        due = sorted({max(round(fraction * budget), 1) for fraction in ITERATIONS})
        parts = [_watched(c, t, due, i) for i, (c, t) in enumerate(zip(cohorts, teachers, strict=True))]
    iterations = parts[0][0]
    tables = {name: np.concatenate([values[name] for _, values, _, _ in parts]) for name in parts[0][1]}
    rows = [r for n, v in tables.items() for r in rows_of(unit.label, unit.method, n, unit.seeds, iterations, v)]
    far = np.concatenate([found for _, _, found, _ in parts])
    rows += rows_of(unit.label, unit.method, METRIC, unit.seeds, due, far)
    return Result(rows, parts[0][3])


def _watched(
    cohort: Cohort, teacher: Any, due: list[int], which: int
) -> tuple[list[int], dict[str, Array], Array, Arrays]:
    """Curves of a cohort, energy distances (B, T), and arrays of its first run for the pictures."""
    far, kept = [], []

    def watch(before: TeachState, transition: Transition) -> None:
        t = int(transition.state.t[0])
        if t in due:
            found = sample(cohort, teacher, transition.state, 1000 * which + t)
            far.append(_distances(*found))
            kept.append((transition.state.w[0], found[0][0], found[1][0]))

    iterations, values = roll(cohort, teacher, FIGURE_METRICS, watch)
    w, made, classes = (np.stack(parts) for parts in zip(*kept, strict=True))
    arrays = {"w": w, "made": made, "classes": classes, "iterations": np.array(due)}
    arrays["target"] = cohort.state.target[0]
    arrays["x"], arrays["truth"] = np.asarray(cohort.task.x), np.asarray(cohort.task.pool.train.labels)
    return iterations, values, np.array(far).T, arrays


def _firsts(record: Record) -> dict[str, Arrays]:
    """The arrays of the first seeds by method, without those that only the maps need."""
    return {unit.method: arrays for unit, arrays in reversed(record.arrays) if unit.method not in SWEPT}


def draw_moons(record: Record) -> dict[str, Any]:
    """Figure 6: a row for each teacher, a column for each iteration, for the first seed."""
    found = _firsts(record)
    columns = max(len(arrays["iterations"]) for arrays in found.values())
    figure, grid = new_figure(columns, len(found), (3.2, 2.7))
    for row, (name, arrays) in zip(grid, found.items(), strict=True):
        low, high = arrays["x"].min(0) - 0.6, arrays["x"].max(0) + 0.6
        for axes, t, w, made, classes in zip(
            row, arrays["iterations"], arrays["w"], arrays["made"], arrays["classes"], strict=True
        ):
            for k, color in enumerate(_CLASS_COLORS):
                axes.scatter(*arrays["x"][arrays["truth"] == k].T, s=5, color=color, linewidths=0, alpha=0.15)
                axes.scatter(*made[classes == k].T, s=9, color=color, linewidths=0, alpha=0.9)
            draw_line(axes, arrays["target"], color="#e69f00", linewidth=1.8)
            draw_line(axes, w, color="#009e73", linestyle="--", linewidth=1.8)
            inside = ((made >= low) & (made <= high)).all(1).mean()
            axes.set_xlim(low[0], high[0])
            axes.set_ylim(low[1], high[1])
            axes.set_title(f"{name}, iteration {t}" + ("" if inside == 1 else f" ({inside:.0%} inside)"), fontsize=9)
            axes.set_xticks([])
            axes.set_yticks([])
    figure.suptitle("orange: target, dashed green: learner, faint: data", fontsize=9)
    return {"samples": figure}


def draw_digits(record: Record) -> dict[str, Any]:
    """Figure 7: a row for each teacher, some digits of each class at each iteration, for the first seed."""
    found = _firsts(record)
    names = [name for name in ("VAE", "GAN") if name in found]
    per = 2 * _SHOWN
    columns = max(len(arrays["iterations"]) for arrays in found.values())
    figure, grid = new_figure(columns * per, len(names), (0.8, 1.15))
    for row, name in zip(grid, names, strict=True):
        arrays = found[name]
        side = round(arrays["made"].shape[-1] ** 0.5)
        for i, t in enumerate(arrays["iterations"]):
            classes = arrays["classes"][i]
            chosen = np.concatenate([np.flatnonzero(classes == k)[:_SHOWN] for k in (0, 1)])
            for axes, index in zip(row[i * per :], chosen, strict=False):
                axes.imshow(arrays["made"][i][index].reshape(side, side), cmap="gray")
            row[i * per].set_title(f"{name}, iteration {t}", fontsize=8, loc="left")
    for axes in grid.flat:
        axes.set_axis_off()
    figure.suptitle("left of each group: 3, right: 5", fontsize=8)
    return {"digits": figure}


def _nearer(panel: str) -> Claim:
    statement = f"The VAE-based teacher's examples are closer to the data than the GAN-based one's. [{panel}]"
    return Claim(statement, (Comparison("VAE", "below", "GAN", metric=METRIC, panel=panel, at=(0.0, 0.5, 1.0)),))


_SAID = (
    "At the drawn iterations every learner's teacher generates 200 examples; 'close to the data' is measured by the "
    "energy distance of these from 200 real rows of the same class (0: the same distribution; in units of the mean "
    "distance of two real rows). Teachers and weights are those of dht-fig5; pictures show the first seed and, "
    "of the weights, those of its figure."
)

FIG6 = Experiment(
    name="dht-fig6",
    title="Examples that generative teachers show half-moon learners at iterations 10, 150 and 290",
    source="DHT, Figures 6, 19 and 20",
    notes=_SAID,
    scales=scales(learned, (MOONS,)),
    units=panel_units,
    run=run,
    claims=(_nearer(MOONS),),
    draw=draw_moons,
)

FIG7 = Experiment(
    name="dht-fig7",
    title="Digits that generative teachers show learners of MNIST 3/5",
    source="DHT, Figure 7",
    notes=_SAID + " Distances are those of pixels.",
    scales=scales(learned, (DIGITS,)),
    units=panel_units,
    run=run,
    claims=(_nearer(DIGITS),),
    draw=draw_digits,
)
