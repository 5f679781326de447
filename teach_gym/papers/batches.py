"""Panels taught as one batch: those that differ only in where their learners start and how far these step.

Such panels, the cells of a map, share a task but for fields of each run, so that all their runs are taught at once:
a teaching step of 200 runs takes little longer than one of ten.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from teach_gym.core.batch import each
from teach_gym.core.state import TeachState
from teach_gym.papers.curves import Row
from teach_gym.papers.engine import PlainValues, Result, Unit

TOGETHER = ("task.learning_rate", "task.init_scale", "passes")
"""Fields in which panels of one batch may differ; ``passes`` are those for w* of the DHT protocol."""
_MOST = 400
"""Runs taught at once at most."""


def batch_units(name: str, settings: PlainValues, seeds: Sequence[int]) -> list[Unit]:
    """A unit of work for each method and set of panels that can be taught together; its panel is that of their map.

    Args:
        name: the experiment's name.
        settings: ``panels``, see ``teach_gym.papers.greedy.panel_units``, whose names start with that of their map.
        seeds: all seeds.
    """
    sets: dict[tuple[str, str], dict[str, PlainValues]] = {}
    for panel, content in settings["panels"].items():
        key = (panel.split(" | ")[0], json.dumps(_without(content, TOGETHER), sort_keys=True))
        sets.setdefault(key, {})[panel] = content
    most = max(_MOST // len(seeds), 1)
    units = []
    for (where, _), found in sets.items():
        for first in range(0, len(found), most):
            part = dict(list(found.items())[first : first + most])
            shared = next(iter(part.values()))
            for label, chosen in shared["methods"].items():
                batch = [_content(panel, content, chosen) for panel, content in part.items()]
                own = {**{k: v for k, v in shared.items() if k != "methods"}, **chosen}
                units.append(Unit(name, where, label, tuple(seeds), {**own, "task": batch[0]["task"], "batch": batch}))
    return units


def _content(panel: str, content: PlainValues, chosen: PlainValues) -> dict[str, Any]:
    """The settings of one panel of a batch for a method.

    Raises:
        ValueError: the method itself sets a field that the panels vary.
    """
    for field in TOGETHER:
        if field.removeprefix("task.") in chosen["task"]:
            raise ValueError(f"a method of panel {panel!r} sets {field}, so panels that vary it cannot be compared")
    rest = {k: v for k, v in content.items() if k != "methods"}
    return {"panel": panel, **rest, "task": {**content["task"], **chosen["task"]}}


def _without(content: PlainValues, fields: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = copy.deepcopy(dict(content))
    for field in fields:
        *way, last = field.split(".")
        place = found
        for name in way:
            place = place[name]
        place.pop(last, None)
    return found


def run_batch(run: Callable[[Unit], Result], unit: Unit) -> Result:
    """Run a unit of work of ``batch_units`` by a function that runs a unit of one panel.

    The function gets the runs numbered in the place of seeds, those of the first seed in all panels first.

    Args:
        run: makes its runs by ``runs_of``.
        unit: the unit of work.
    """
    batch = unit.settings["batch"]
    numbers = tuple(range(len(unit.seeds) * len(batch)))
    result = run(dataclasses.replace(unit, seeds=numbers, settings={**unit.settings, "seeds": list(unit.seeds)}))

    def named(row: Row) -> Row:
        seed, panel = divmod(row.seed, len(batch))
        return row._replace(seed=unit.seeds[seed], experiment=f"{unit.experiment}/{batch[panel]['panel']}")

    return Result([named(row) for row in result.rows], {})


def contents_of(unit: Unit) -> tuple[tuple[int, ...], list[Mapping[str, Any]]]:
    """The seeds of a unit of work, and the settings of each of its panels: its own, or those of its batch."""
    if "batch" not in unit.settings:
        return unit.seeds, [unit.settings]
    return tuple(unit.settings["seeds"]), unit.settings["batch"]


def joined(states: Sequence[TeachState], rates: Sequence[float]) -> TeachState:
    """The runs of several panels as one batch, those of the first seed in all panels first.

    Args:
        states: the panels' runs, S each.
        rates: the panels' learning rates.

    Returns:
        The S x panels runs with their learning rates; the only panel's state, if there is but one.
    """
    if len(states) == 1:
        return states[0]
    with_rates = [
        state._replace(rate=np.full_like(state.distance, rate)) for state, rate in zip(states, rates, strict=True)
    ]
    return each(lambda *parts: np.stack(parts, axis=1).reshape(-1, *parts[0].shape[1:]), *with_rates)
