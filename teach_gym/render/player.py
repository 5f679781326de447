"""The lesson player: taught episodes in one self-contained HTML page with play, pause, step and scrub controls.

``record`` turns the transitions of a lesson into plain numbers in the coordinates of a frame (``views``);
``write_player`` puts any number of lessons into a page. The page only draws; it does not compute the learner.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from teach_gym.core.backend import Array
from teach_gym.core.describe import sentence
from teach_gym.core.metrics import METRICS
from teach_gym.core.state import Example, Task, TeachState, Transition
from teach_gym.files import write_text
from teach_gym.render.canvas import class_colour
from teach_gym.render.film import curve_title, curve_value
from teach_gym.render.origin import origin
from teach_gym.render.panels import class_name, label_text, label_word, mixture_text
from teach_gym.render.views import (
    PlaneView,
    label_colour,
    logits,
    mixed_colours,
    view_of,
)

Record = dict[str, Any]
"""A recorded lesson in plain JSON values."""

MOST_LESSONS = 3
"""Maximum number of lessons shown side by side at first."""
_TINT = 14
_SHOWN_ROWS = 4
_DIGITS = 4


def record(task: Task, teacher: str, first: TeachState, transitions: Iterable[Transition]) -> Record:
    """Record the lesson of one run.

    Args:
        task: the task.
        teacher: the teacher's display name.
        first: the state at reset, one run.
        transitions: the steps that follow, such as those of ``teach_gym.teachers.lesson``.

    Returns:
        The teacher's name and a list ``steps``: the first entry holds the learner before teaching; each later one holds
        the learner after a step, the example it was shown, and the curves' values.

    Raises:
        ValueError: a state of more than one run.
    """
    if len(first.t) != 1:
        raise ValueError(f"the player shows one run, got a state of {len(first.t)}; take() one of them first")
    steps = [step_of(task, first, None)]
    steps += [step_of(task, transition.state, transition.example) for transition in transitions]
    return {"teacher": teacher, "steps": steps}


def scene(task: Task, name: str) -> Record:
    """The data shared by all lessons of a task: the points, the target, the classes and the curves' titles."""
    view, spec = view_of(task), task.spec
    regression = task.pool.n_classes == 0
    about: Record = {
        "name": name,
        "about": sentence(spec),
        "medium": spec.medium,
        "learner": spec.learner.replace("_", " "),
        "pool": spec.pool.replace("_", " "),
        "budget": spec.budget,
        "regression": regression,
        "classes": [
            {"name": class_name(task, c), "colour": class_colour(c)} for c in range(max(task.pool.n_classes, 1))
        ],
        "curves": [title for title, _ in _curves(task)],
        "tint": 0 if regression else _TINT,
        "low": _round(view.axes.low),
        "high": _round(view.axes.high),
        "target": None,
    }
    if isinstance(view, PlaneView):
        shown = np.linspace(0, len(task.x) - 1, min(len(task.x), 300)).astype(np.int64)
        about["points"] = _round(view.project(task.x[shown]))
        about["colours"] = mixed_colours(task, task.y[shown]).tolist()
        if task.tells_distance:
            about["target"] = _round(view.boundary(task, task.target))
    else:
        about["points"], about["colours"] = [], []
        ideal = logits(task, task.target, task.x[view.shown])
        if ideal is not None and task.tells_distance:
            about["target"] = _round(np.stack([task.y[view.shown, 0], ideal[:, 0]], axis=-1))
    return about


Lessons = Sequence[tuple[Record, Mapping[int, Sequence[Record]]]]
"""For each task, its ``scene`` and, for each seed, the ``record`` of each teacher's lesson."""


def write_player(path: str | Path, lessons: Lessons) -> None:
    """Write a page with the lessons of one or more tasks; the file is written atomically.

    Args:
        path: the HTML file.
        lessons: the lessons the reader can choose from; the first ``MOST_LESSONS`` of a seed are shown at first.

    Raises:
        ValueError: no lessons.
    """
    if not lessons or not all(seeds and all(seeds.values()) for _, seeds in lessons):
        raise ValueError("no lessons to write; give at least one")
    write_text(Path(path), page(lessons))


def page(lessons: Lessons) -> str:
    """The HTML that ``write_player`` writes."""
    content = [
        {"scene": about, "seeds": [{"seed": seed, "lessons": list(records)} for seed, records in seeds.items()]}
        for about, seeds in lessons
    ]
    return fill("teach_gym.render", "player.html", data=embed(content), most=MOST_LESSONS)


def _asset(name: str) -> str:
    return files("teach_gym.render").joinpath(name).read_text(encoding="utf-8")


def embed(content: Any) -> str:
    """JSON that is safe inside a ``<script>`` element, whatever strings it contains."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")


def fill(package: str, template: str, **values: Any) -> str:
    """A page from a package's template, with the style, the drawing script and the player of lessons."""
    shared = {"style": _asset("lesson.css"), "script": _asset("lesson.js"), "player": _asset("player.js")}
    environment = Environment(loader=PackageLoader(package, ""), autoescape=True, undefined=StrictUndefined)
    return environment.get_template(template).render(**shared, **values)


def step_of(task: Task, state: TeachState, example: Example | None) -> Record:
    """One step of a record: the current learner, the example it was just shown (None: none yet), the curves' values."""
    view = view_of(task)
    found: Record = {"curves": [_number(value(state)) for _, value in _curves(task)]}
    if isinstance(view, PlaneView):
        found["line"] = _round(view.boundary(task, state.w[0]))
        found["tint"] = _tint(task, view, state.w[0])
    else:
        predicted = logits(task, state.w[0], task.x[view.shown])
        points = [] if predicted is None else _round(np.stack([task.y[view.shown, 0], predicted[:, 0]], axis=-1))
        found["dots"] = points
    if example is not None:
        count = min(example.x.shape[1], _SHOWN_ROWS)
        found["shown"] = [shown_row(task, state, example, i) for i in range(count)]
        found["rows"] = example.x.shape[1]
    return found


def _curves(task: Task) -> list[tuple[str, Any]]:
    """Title and value (state -> number) of the curves below the plots."""
    accuracy = "mean squared error" if task.pool.n_classes == 0 else "hold-out accuracy"
    sign = -1.0 if task.pool.n_classes == 0 else 1.0
    second = accuracy, lambda state: sign * float(METRICS["holdout_accuracy"](task, state)[0])
    return [(curve_title(task), lambda state: float(curve_value(task, state)[0])), second]


def shown_row(task: Task, state: TeachState, example: Example, i: int) -> Record:
    """Row i of the teaching example shown last: its position, the rows it was made from, its label and its pictures."""
    view, came = view_of(task), origin(task, state, example, i)
    x, y = example.x[0, i], example.y[0, i]
    offered = [label_text(task, task.y[row]) for row in came.rows]
    found: Record = {
        "colour": label_colour(task, y),
        "given": " and ".join(offered) or "outside the pool",
        "taught": label_text(task, y),
        "word": label_word(task),
        "moved": came.moved,
    }
    if came.share is not None:
        found["mixture"] = mixture_text(came.share)
    if isinstance(view, PlaneView):
        found["at"] = _round(view.project(x))
        found["from"] = _round(view.project(task.x[list(came.rows)])) if came.moved else []
    else:
        true = float(task.y[came.rows[0], 0]) if came.rows else float(y[0])
        found["at"], found["from"] = _round(np.array([true, float(y[0])])), [_round(np.array([true, true]))]
    if task.pool.image_shape is not None:
        found["images"] = [_picture(task, task.x[row]) for row in (came.rows[:2] if came.moved else ())]
        found["images"].append(_picture(task, x))
        found["shape"] = list(task.pool.image_shape)
    return found


def _picture(task: Task, x: Array) -> str:
    """Features (d,) as grey levels, one byte per pixel, in base64."""
    back = task.pool.to_image
    pixels = np.clip(np.nan_to_num(np.asarray(x if back is None else x @ back, dtype=np.float64)), -1.0, 1.0)
    return base64.b64encode(np.rint((pixels + 1.0) * 127.5).astype(np.uint8).tobytes()).decode()


def _tint(task: Task, view: PlaneView, w: Array) -> str:
    """The learner's predictions on a coarse grid over the plot, from the top row down: RGB bytes in base64."""
    sides = [np.linspace(view.axes.low[i], view.axes.high[i], _TINT) for i in (0, 1)]
    mesh = np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 2)
    z = logits(task, w, view.centre + mesh @ view.basis)
    if z is None:
        return ""
    colours = mixed_colours(task, task.learner.output.predict(z)).reshape(_TINT, _TINT, 3)[::-1]
    return base64.b64encode(np.ascontiguousarray(colours, dtype=np.uint8).tobytes()).decode()


def _number(value: float) -> float | None:
    return float(f"{value:.5g}") if np.isfinite(value) else None


def _round(values: Array) -> Any:
    """Numbers with ``_DIGITS`` digits of the largest one, which is more than a screen resolves."""
    found = np.asarray(values, dtype=np.float64)
    largest = np.abs(found).max(initial=0.0, where=np.isfinite(found))
    digits = _DIGITS - 1 - int(np.floor(np.log10(largest))) if largest > 0 else 0
    return np.round(found, min(digits, 300)).tolist()
