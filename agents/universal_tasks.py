"""The tasks that universal teachers are trained on: random synthetic pools, learners and update rules.

None of the registered tasks is among them, nor any of their pools. Task i of a medium follows from its seed alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from teach_gym.core.build import make_task
from teach_gym.core.spec import TaskSpec
from teach_gym.core.state import Task
from teach_gym.files import writing
from teach_gym.teachers import make_teacher, teach_episodes

MEDIA = ("label", "select", "mixup", "perturb")
TRAINING, HELD_OUT = 10_000, 20_000
"""Training task i has the seed ``TRAINING`` + i, held-out task i the seed ``HELD_OUT`` + i."""
TRIES = 30
PROBES = range(1_000_000, 1_000_040)
"""Episode seeds on which a drawn task is tried."""


def drawn(medium: str, seed: int, folder: Path) -> Task:
    """A random task of a medium, on which the greedy oracle teaches visibly better than plain SGD.

    Args:
        medium: one of ``MEDIA``.
        seed: the seed; the first of its draws that qualifies is taken.
        folder: where the files of generated pools are written.

    Raises:
        RuntimeError: no draw qualifies.
    """
    rng = np.random.default_rng([MEDIA.index(medium), seed])
    for _ in range(TRIES):
        task = make_task(**_fields(medium, rng, folder))
        start, greedy = teach_episodes(task, make_teacher("greedy"), PROBES)
        passive = teach_episodes(task, make_teacher("passive"), PROBES)[1]
        if np.isfinite(passive).all() and (passive - greedy).mean() > 0.05 * start.mean():
            return task
    raise RuntimeError(f"none of {TRIES} drawn tasks for {medium} with seed {seed} can be taught")


def _fields(medium: str, rng: np.random.Generator, folder: Path) -> dict[str, Any]:
    """The fields of one random task."""
    kind = str(rng.choice(["moons", "clusters", "spectrum", "spectrum", "regression"]))
    fields: dict[str, Any] = {
        "moons": _moons,
        "clusters": _clusters,
        "spectrum": _spectrum,
        "regression": _regression,
    }[kind](rng, folder)
    probe = make_task(medium="label", observation="omniscient", target_options={"l2": 1.0}, **fields)
    squares = (probe.pool.train.x**2).sum(1).mean() + fields["bias"]
    momentum = float(rng.choice([0.0, 0.0, 0.0, round(rng.uniform(0.5, 0.9), 2)]))
    pace = _log_uniform(rng, 0.1, 0.5) if fields["learner"] == "least_squares" else _log_uniform(rng, 0.2, 6.0)
    return {
        **fields,
        "medium": medium,
        "medium_options": _options(medium, probe, float(squares), rng),
        "target_options": {"l2": _log_uniform(rng, 0.005, 0.1)},
        "learning_rate": pace * (1 - momentum) / float(squares),
        "momentum": momentum,
        "weight_decay": float(rng.choice([0.0, 0.0, 0.0, _log_uniform(rng, 1e-4, 1e-2)])),
        "budget": int(rng.integers(20, 121)),
        "init_scale": _log_uniform(rng, 0.05, 1.0) * float(np.sqrt(2.0 / squares)),
        "observation": "universal",
    }


def _options(medium: str, probe: Task, squares: float, rng: np.random.Generator) -> dict[str, Any]:
    """Options of a medium for a task's data."""
    if medium == "label":
        if probe.spec.learner == "least_squares":
            return {"n": int(rng.integers(3, 8)), "radius": _log_uniform(rng, 0.5, 4.0)}
        if probe.k > 1:
            return {"kind": str(rng.choice(["grid", "mix"]))}
        return {"n": int(rng.integers(2, 10))}
    if medium == "select":
        return {"n_sources": int(rng.integers(3, 13))}
    if medium == "mixup":
        return {"n": int(rng.integers(3, 10))}
    radius = _log_uniform(rng, 0.2, 0.8) * float(np.sqrt(squares))
    return {"radius": radius, "axes": int(rng.integers(1, probe.d + 1))}


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(f"{np.exp(rng.uniform(np.log(low), np.log(high))):.4g}")


def _learner(n_classes: int, rng: np.random.Generator) -> dict[str, Any]:
    learner = "softmax" if n_classes > 2 else str(rng.choice(["logistic", "logistic", "softmax"]))
    return {"learner": learner, "bias": bool(rng.random() < 0.3)}


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(10**4, 10**6))


def _noise(rng: np.random.Generator) -> float:
    return float(rng.choice([0.0, 0.0, round(rng.uniform(0.02, 0.25), 3)]))


def _moons(rng: np.random.Generator, folder: Path) -> dict[str, Any]:
    noise = round(rng.uniform(0.05, 0.4), 3)
    options = {"n": int(rng.integers(150, 700)), "noise": noise, "label_noise": _noise(rng)}
    return {
        "pool": "half_moons",
        "pool_seed": _seed(rng),
        "pool_options": options,
        **_learner(2, rng),
    }


def _clusters(rng: np.random.Generator, folder: Path) -> dict[str, Any]:
    classes = int(rng.choice([2, 2, 3, 4, 6]))
    options = {
        "d": int(rng.integers(2, 21)),
        "n": int(rng.integers(200, 700)),
        "n_classes": classes,
        "separation": round(rng.uniform(0.6, 3.0), 3),
        "label_noise": _noise(rng),
    }
    return {
        "pool": "gaussian_clusters",
        "pool_seed": _seed(rng),
        "pool_options": options,
        **_learner(classes, rng),
    }


def _regression(rng: np.random.Generator, folder: Path) -> dict[str, Any]:
    if rng.random() < 0.5:
        return {**_spectrum(rng, folder, classes=0), "learner": "least_squares"}
    options = {
        "d": int(rng.integers(2, 16)),
        "n": int(rng.integers(100, 600)),
        "noise": round(rng.uniform(0.2, 2.0), 3),
    }
    seed = _seed(rng)
    return {
        "pool": "linear_regression",
        "pool_seed": seed,
        "pool_options": options,
        "learner": "least_squares",
        "bias": False,
    }


def _spectrum(rng: np.random.Generator, folder: Path, classes: int | None = None) -> dict[str, Any]:
    """Features whose variances fall with a power of their rank, around a mean; labels of a random linear concept."""
    classes = int(rng.choice([2, 2, 2, 3, 5])) if classes is None else classes
    seed = _seed(rng)
    draw = np.random.default_rng(seed)
    n, d = int(draw.integers(150, 600)), int(draw.integers(3, 31))
    scales = np.arange(1, d + 1) ** -draw.uniform(0.0, 1.5)
    x = draw.standard_normal((n, d)) * scales + draw.standard_normal(d) * draw.uniform(0.0, 2.0) * np.sqrt(
        (scales**2).mean()
    )
    x = x @ np.linalg.qr(draw.standard_normal((d, d)))[0] * np.exp(draw.uniform(-1.0, 1.5))
    centred = x - x.mean(0)
    values = centred @ draw.standard_normal((d, max(classes, 1)))
    values = values / values.std(0) + draw.uniform(0.1, 1.0) * draw.standard_normal(values.shape)
    y = values[:, 0] if classes == 0 else values.argmax(1) if classes > 2 else (values[:, 0] > values[:, 1]).astype(int)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"spectrum-{seed}-{classes}.npz"
    if not path.exists():
        save_rows(path, x, y)
    options: dict[str, Any] = {"path": str(path)}
    if classes:
        options["label_noise"] = _noise(rng)
    return {"pool": "array", "pool_options": options, **_learner(classes or 2, rng)}


def save_rows(path: Path, x: Any, y: Any) -> None:
    """Write a user's file of rows, whole or not at all."""
    with writing(path) as file:
        np.savez(file, X=x, y=y)


def saved_spec(medium: str) -> TaskSpec:
    """The task that the file of a universal teacher names: it stands for all, and needs no file."""
    options = {"d": 4, "n": 300, "separation": 1.0}
    return TaskSpec(
        medium=medium, pool="gaussian_clusters", pool_seed=TRAINING, pool_options=options, observation="universal"
    )
