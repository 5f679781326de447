"""Units of work merged into one batch: those that differ only in fields of each run.

The cells of a map differ in where the learners start and how far they step, some methods in the weight of a loss. Their
runs are taught at once: a teaching step of 200 runs takes little longer than one of ten.
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


def merged(units: Sequence[Unit], fields: Sequence[str]) -> list[Unit]:
    """Units of work whose settings differ only in some fields as one, of at most 400 runs.

    A merged unit has the settings of its first with ``batch``, those of all its members with their panel and method.
    Only panels of one map are merged, those whose names start with the same text before " | ".

    Args:
        units: the units of work.
        fields: the fields, with dots.

    Raises:
        ValueError: two members of a unit are the same.
    """
    sets: dict[str, list[Unit]] = {}
    for unit in units:
        where = unit.panel.split(" | ")[0]
        key = json.dumps([where, unit.seeds, _without(unit.settings, fields)], sort_keys=True)
        sets.setdefault(key, []).append(unit)
    found = []
    for members in sets.values():
        most = max(_MOST // len(members[0].seeds), 1)
        found += [_merged(members[i : i + most]) for i in range(0, len(members), most)]
    return found


def _merged(units: Sequence[Unit]) -> Unit:
    first, *others = units
    for i, unit in enumerate(units):
        for other in units[:i]:
            if unit.settings == other.settings:
                names = [f"{one.panel} {one.method}".strip() for one in (other, unit)]
                raise ValueError(f"two members of a batch are the same: {names[0]!r} and {names[1]!r}")
    batch = [{"panel": unit.panel, "method": unit.method, **unit.settings} for unit in units]
    methods = list(dict.fromkeys(unit.method for unit in units))
    name = methods[0] if len(methods) == 1 else f"{methods[0]} and {len(methods) - 1} more"
    where = first.panel.split(" | ")[0] if others else first.panel
    return dataclasses.replace(first, panel=where, method=name, settings={**first.settings, "batch": batch})


def _without(content: PlainValues, fields: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = copy.deepcopy(dict(content))
    for field in fields:
        *way, last = field.split(".")
        place = found
        for name in way:
            place = place.get(name, {})
        place.pop(last, None)
    return found


def run_batch(run: Callable[[Unit], Result], unit: Unit) -> Result:
    """Run a unit of work, one of ``merged`` or any other, by a function that runs a unit of one panel and method.

    For a merged one the function gets the runs numbered in the place of seeds, those of the first seed in all members
    first.

    Args:
        run: makes its runs by ``contents_of`` and ``joined``.
        unit: the unit of work.
    """
    if "batch" not in unit.settings:
        return run(unit)
    batch = unit.settings["batch"]
    numbers = tuple(range(len(unit.seeds) * len(batch)))
    result = run(dataclasses.replace(unit, seeds=numbers, settings={**unit.settings, "seeds": list(unit.seeds)}))

    def named(row: Row) -> Row:
        seed, member = divmod(row.seed, len(batch))
        own = dataclasses.replace(unit, panel=batch[member]["panel"], method=batch[member]["method"])
        method = own.method if row.method == unit.method else row.method  # a run may name parts of its method
        return row._replace(seed=unit.seeds[seed], experiment=own.label, method=method)

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
