"""Maps: where a claim holds, over two settings that the paper leaves open.

A map takes a panel of an experiment, changes two of its settings over a grid, runs cells that share a task with all
their seeds as one batch (see ``batches``), and judges in each cell the claims on that panel. It is itself an
experiment, whose panels are the cells, so it is resumed, drawn and written like any other.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from teach_gym.benchmark.score import Estimate
from teach_gym.files import write_text
from teach_gym.papers.batches import TOGETHER, merged, run_batch
from teach_gym.papers.claims import EVERYWHERE, FAILS, HOLDS, WITHIN, Claim, Finding, Verdict, judge
from teach_gym.papers.curves import Curves, Row, read_csv
from teach_gym.papers.engine import Experiment, PlainValues, Record, Unit, run_experiment
from teach_gym.papers.greedy import panel_units, recorded_iterations
from teach_gym.papers.grids import Cell, Map, Summary, cell_name, cells
from teach_gym.papers.map_figures import map_figure
from teach_gym.papers.regions import in_words

FILE = "map.json"
SUFFIX = "-map"
"""The folder of an experiment's maps is named after it with this."""
SEEDS = 10
"""Seeds of every cell."""
_SMOKE = 4
"""Teaching steps at the smoke scale."""


def template_claims(experiment: Experiment, panel: str) -> list[Claim]:
    """The experiment's claims as far as they are about a panel, without what their statements say about it."""
    found = []
    for claim in experiment.claims:
        own, required = (tuple(c for c in part if c.panel == panel) for part in (claim.comparisons, claim.requires))
        if own:
            found.append(Claim(re.sub(r" \[[^\]]*\]$", "", claim.statement), own, required))
    return found


def changed(panel: PlainValues, changes: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """A panel's settings with some fields changed.

    Raises:
        KeyError: a field on whose way there is nothing.
    """
    found: dict[str, Any] = copy.deepcopy(dict(panel))
    for field, value in changes:
        *way, last = field.split(".")
        place = found
        for name in way:
            place = place.setdefault(name, {}) if name.endswith("options") else place[name]
        place[last] = value
    return found


def _panels(experiment: Experiment, maps: Sequence[Map], scale: str) -> dict[str, Any]:
    """The settings of all cells of all maps, with the methods that the claims compare."""
    found = {}
    for chosen in maps:
        panel = experiment.scales["laptop"]["panels"][chosen.panel]
        asked = [
            c for claim in template_claims(experiment, chosen.panel) for c in (*claim.comparisons, *claim.requires)
        ]
        named = {name for c in asked for name in (c.first, c.second)}
        compared = {name: how for name, how in panel["methods"].items() if name in named}
        content = {**panel, "methods": compared or panel["methods"]}  # claims may be about parts of a method
        for values in cells(chosen)[: 2 if scale == "smoke" else None]:
            fields = [axis.field for axis in chosen.axes]
            changes = [*chosen.changes, *zip(fields, values, strict=True)]
            if scale == "smoke":
                changes.append(("task.budget", _SMOKE))
            found[cell_name(chosen, values)] = changed(content, changes)
    return found


def map_experiment(experiment: Experiment, maps: Sequence[Map]) -> Experiment:
    """The experiment whose panels are the cells of an experiment's maps.

    It has no claims of its own: ``judged`` tests those of the experiment in each cell.
    """
    claims = [claim for chosen in maps for claim in template_claims(experiment, chosen.panel)]

    def draw(record: Record) -> dict[str, Any]:
        return {
            f"map-{re.sub('[ /]', '-', chosen.name)}": map_figure(chosen, judged(experiment, chosen, record.curves))
            for chosen in maps
        }

    return dataclasses.replace(
        experiment,
        name=experiment.name + SUFFIX,
        title=f"where the claims of {experiment.name} hold",
        scales={
            scale: {"seeds": seeds, "panels": _panels(experiment, maps, scale)}
            for scale, seeds in (("smoke", 2), ("laptop", SEEDS))
        },
        units=_units,
        run=functools.partial(run_batch, experiment.run),
        claims=(),
        keep=functools.partial(_keep, _needed(claims)),
        draw=draw,
        table=lambda curves: table(experiment, maps, curves),
    )


def _units(name: str, settings: PlainValues, seeds: Sequence[int]) -> list[Unit]:
    """A unit of work for each method and set of cells that can be taught together."""
    return merged(panel_units(name, settings, seeds), TOGETHER)


def _keep(needed: Mapping[str, Sequence[float]], unit: Unit, row: Row) -> bool:
    """Whether a claim needs a row: of its metric, and at the start or at an iteration where it is tested.

    Args:
        needed: the metrics with the fractions of the last iteration, none for all iterations.
        unit: the unit of work.
        row: a row of its.
    """
    if row.metric not in needed:
        return False
    budget, fractions = unit.settings["task"]["budget"], needed[row.metric]
    recorded = np.array(recorded_iterations(budget))
    tested = [int(recorded[np.abs(recorded - fraction * budget).argmin()]) for fraction in fractions]
    return not fractions or row.iteration in (0, *tested)


def _needed(claims: Sequence[Claim]) -> dict[str, list[float]]:
    """The metrics that claims are about with the fractions where they are tested, none where everywhere."""
    asked = [c for claim in claims for c in (*claim.comparisons, *claim.requires)]
    everywhere = {c.metric for c in asked if c.relation in EVERYWHERE}
    found: dict[str, set[float]] = {c.metric: set() for c in asked}
    for comparison in asked:
        found[comparison.metric].update(() if comparison.metric in everywhere else comparison.at)
    return {metric: sorted(at) for metric, at in found.items()}


def _on(comparisons: Sequence[Any], panel: str) -> tuple[Any, ...]:
    return tuple(dataclasses.replace(comparison, panel=panel) for comparison in comparisons)


def judged(experiment: Experiment, chosen: Map, curves: Curves) -> dict[str, dict[tuple[Any, Any], Cell]]:
    """What each claim came to in the cells that were run: statement -> values of the axes -> cell."""
    there, found = set(curves.panels()), {}
    for claim in template_claims(experiment, chosen.panel):
        row = {}
        for values in cells(chosen):
            name = cell_name(chosen, values)
            if name in there:
                parts = (_on(part, name) for part in (claim.comparisons, claim.requires))
                row[values] = _cell(judge(Claim(claim.statement, *parts), curves), len(claim.comparisons))
        found[claim.statement] = row
    return found


def _cell(verdict: Verdict, n: int) -> Cell:
    """The outcome of a claim in a cell with the effect that supports it least."""
    own = [finding for finding in verdict.findings if not np.isnan(finding.difference.value)]
    effects = [_effect(finding) for finding in own]
    return Cell(verdict.verdict, min(effects, key=lambda effect: effect.value) if effects else Estimate(*[np.nan] * 3))


def _effect(finding: Finding) -> Estimate:
    """The difference of a finding, positive where it supports what was said."""
    asked, (value, low, high) = finding.comparison, finding.difference
    if asked.relation in WITHIN:
        bound = float(np.log(asked.factor))
        return Estimate(bound - value, bound - high, bound - low)
    return Estimate(value, low, high)


def summaries(experiment: Experiment, chosen: Map, curves: Curves) -> list[Summary]:
    """What the claims came to on a map that was run to its end."""
    found = []
    for statement, row in judged(experiment, chosen, curves).items():
        grids: dict[str, npt.NDArray[np.bool_]] = {}
        for verdict in (HOLDS, FAILS):
            flat = [values in row and row[values].verdict == verdict for values in cells(chosen)]
            grids[verdict] = np.reshape(flat, [len(axis.values) for axis in chosen.axes])
        region = f"{_sentence(chosen, grids)} {_paper(chosen, row)}"
        found.append(Summary(statement, int(grids[HOLDS].sum()), int(grids[FAILS].sum()), len(row), region))
    return found


def _sentence(chosen: Map, grids: dict[str, npt.NDArray[np.bool_]]) -> str:
    labels, values = [axis.label for axis in chosen.axes], [axis.values for axis in chosen.axes]
    holds, fails = (in_words(grids[verdict], labels, values) for verdict in (HOLDS, FAILS))
    return f"Holds {holds}; fails {fails}."


def _paper(chosen: Map, row: dict[tuple[Any, Any], Cell]) -> str:
    setting = tuple(axis.paper for axis in chosen.axes)
    if None in setting:
        unknown = " and ".join(axis.label for axis in chosen.axes if axis.paper is None)
        return f"The paper does not tell the {unknown}."
    return f"The paper's setting is {cell_name(chosen, setting)}: {row[setting].verdict}."


def table(experiment: Experiment, maps: Sequence[Map], curves: Curves) -> str:
    """A Markdown table: claim, map, share of the cells where it holds, the region."""
    lines = ["| claim | map | holds | region |", "| --- | --- | ---: | --- |"]
    for chosen in maps:
        for s in summaries(experiment, chosen, curves):
            lines.append(f"| {s.statement} | {chosen.name} | {s.holds} of {s.cells} | {s.region} |")
    return "\n".join(lines)


def run_maps(experiment: Experiment, maps: Sequence[Map], folder: Path, **how: Any) -> str:
    """Run an experiment's maps, see ``run_experiment``, and write their summaries to ``map.json``.

    Returns:
        A line of plain text for each claim on each map.
    """
    run_experiment(map_experiment(experiment, maps), folder, **how)
    curves = Curves(read_csv(folder / "curves.csv"))
    found = [
        {"experiment": experiment.name, "map": chosen.name, **summary._asdict()}
        for chosen in maps
        for summary in summaries(experiment, chosen, curves)
    ]
    write_text(folder / FILE, json.dumps(found, indent=1) + "\n")
    return "\n".join(f"{s['holds']:3} of {s['cells']:3}  {s['map']}: {s['statement']} {s['region']}" for s in found)
