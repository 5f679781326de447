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
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from teach_gym.benchmark.score import Estimate
from teach_gym.files import write_text, writing
from teach_gym.markdown import markdown_table
from teach_gym.papers.batches import TOGETHER, merged, run_batch
from teach_gym.papers.claims import EVERYWHERE, FAILS, HOLDS, NOT_JUDGED, WITHIN, Claim, Comparison, Finding, judge
from teach_gym.papers.curves import Curves, Row, read_csv
from teach_gym.papers.engine import Experiment, PlainValues, Unit, run_experiment
from teach_gym.papers.greedy import panel_units, recorded_iterations
from teach_gym.papers.grids import Cell, Map, Summary, cell_name, cells
from teach_gym.papers.map_figures import map_figure
from teach_gym.papers.regions import in_words

FILE = "map.json"
SUFFIX = "-map"
"""The folder of an experiment's maps is named after it with this."""
SEEDS = 10
"""Seeds of every cell."""
_NOTHING = Estimate(np.nan, np.nan, np.nan)


def template_claims(experiment: Experiment, chosen: Map) -> list[Claim]:
    """The experiment's claims as far as a map is about them.

    Those are the claims on its panel and, where its cells are methods, about the methods that these replace. What the
    statements say in brackets about the panel is left out, and all of the bracket where the rest tells them apart.
    """
    replaced = {name for names in chosen.methods.values() for name in names}
    found = []
    for claim in experiment.claims:
        own, required = (
            tuple(c for c in part if c.panel == chosen.panel) for part in (claim.comparisons, claim.requires)
        )
        if own and all(c.first in replaced for c in own if replaced):
            found.append(Claim(claim.statement, own, required))
    short = [re.sub(r" \[[^\]]*\]$", "", claim.statement) for claim in found]
    texts = [
        text if short.count(text) == 1 else _elsewhere(claim.statement, chosen.panel)
        for text, claim in zip(short, found, strict=True)
    ]
    return [dataclasses.replace(claim, statement=text) for claim, text in zip(found, texts, strict=True)]


def _elsewhere(statement: str, panel: str) -> str:
    """A statement whose last bracket does not name the panel."""
    return statement.replace(f"[{panel}; ", "[").removesuffix(f" [{panel}]")


def _in_cell(claim: Claim, chosen: Map, values: tuple[Any, Any]) -> Claim:
    """A template claim in a cell of a map."""
    names = chosen.methods.get(values, {})
    panel = chosen.panel if chosen.methods else cell_name(chosen, values)
    settings = {axis.label: value for axis, value in zip(chosen.axes, values, strict=True)}

    def moved(c: Comparison) -> Comparison:
        key, known = (c.second, names) if isinstance(c.second, str) else (chosen.threshold, settings)
        second = known.get(key, c.second)
        return dataclasses.replace(c, panel=panel, first=names.get(c.first, c.first), second=second)

    return Claim(claim.statement, *(tuple(map(moved, part)) for part in (claim.comparisons, claim.requires)))


def _was_run(chosen: Map, values: tuple[Any, Any], curves: Curves) -> bool:
    if chosen.methods:
        own = {method for panel, method in curves.pairs() if panel == chosen.panel}
        return own >= {*chosen.methods[values].values()}
    return cell_name(chosen, values) in curves.panels()


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
        panel = experiment.scales[scale]["panels"][chosen.panel]
        asked = [c for claim in template_claims(experiment, chosen) for c in (*claim.comparisons, *claim.requires)]
        named = {name for c in asked for name in (c.first, c.second)}
        compared = {name: how for name, how in panel["methods"].items() if name in named}
        content = {**panel, "methods": compared or panel["methods"]}  # claims may be about parts of a method
        for values in cells(chosen)[: 2 if scale == "smoke" else None]:
            fields = [axis.field for axis in chosen.axes]
            changes = [*chosen.changes, *zip(fields, values, strict=True)]
            found[cell_name(chosen, values)] = changed(content, changes)
    return found


def map_experiment(experiment: Experiment, maps: Sequence[Map]) -> Experiment:
    """The experiment whose panels are the cells of an experiment's maps.

    It has no claims of its own: ``judged`` tests those of the experiment in each cell.
    """
    claims = [claim for chosen in maps for claim in template_claims(experiment, chosen)]

    def settings(scale: str, seeds: int) -> dict[str, Any]:
        own = {key: value for key, value in experiment.scales[scale].items() if key == "first_seed"}
        return {**own, "seeds": seeds, "panels": _panels(experiment, maps, scale)}

    return dataclasses.replace(
        experiment,
        name=experiment.name + SUFFIX,
        title=f"where the claims of {experiment.name} hold",
        scales={scale: settings(scale, seeds) for scale, seeds in (("smoke", 2), ("laptop", SEEDS))},
        units=functools.partial(_units, frozenset(chosen.name for chosen in maps if chosen.together)),
        run=functools.partial(run_batch, experiment.run),
        claims=(),
        keep=functools.partial(_keep, _needed(claims)),
        draw=lambda record: {f"map-{_file(chosen)}": figure(experiment, chosen, record.curves) for chosen in maps},
        table=lambda curves: table(experiment, maps, curves),
    )


def _file(chosen: Map) -> str:
    return re.sub("[ /]", "-", chosen.name)


def figure(experiment: Experiment, chosen: Map, curves: Curves) -> Any:
    """The heat maps of a map's claims."""
    return map_figure(chosen, judged(experiment, chosen, curves))


def _units(together: Collection[str], name: str, settings: PlainValues, seeds: Sequence[int]) -> list[Unit]:
    """A unit of work for each method and set of cells that can be taught together, on the maps where they are."""
    batches: list[Unit] = []
    others: list[Unit] = []
    for unit in panel_units(name, settings, seeds):
        (batches if unit.panel.split(" | ")[0] in together else others).append(unit)
    return [*merged(batches, TOGETHER), *others]


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


def judged(experiment: Experiment, chosen: Map, curves: Curves) -> dict[str, dict[tuple[Any, Any], Cell]]:
    """What each claim came to in the cells that were run: statement -> values of the axes -> cell."""
    there = [values for values in cells(chosen) if _was_run(chosen, values, curves)]
    return {
        claim.statement: {values: _cell(_in_cell(claim, chosen, values), curves) for values in there}
        for claim in template_claims(experiment, chosen)
    }


def _cell(claim: Claim, curves: Curves) -> Cell:
    """The outcome of a claim in a cell with the effect that supports it least, unless it is not judged."""
    verdict, findings = judge(claim, curves)[1:]
    if verdict == NOT_JUDGED:
        return Cell(verdict, _NOTHING)
    own = [f for f in findings if f.comparison in claim.comparisons and not np.isnan(f.difference.value)]
    if not own:
        return Cell(verdict, _NOTHING)
    least = min(own, key=lambda finding: _effect(finding).value)
    return Cell(verdict, _effect(least), least.comparison.relation in EVERYWHERE)


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
        for verdict in (HOLDS, FAILS, NOT_JUDGED):
            flat = [values in row and row[values].verdict == verdict for values in cells(chosen)]
            grids[verdict] = np.reshape(flat, [len(axis.values) for axis in chosen.axes])
        region = f"{_sentence(chosen, grids)} {_paper(chosen, row)}"
        found.append(Summary(statement, int(grids[HOLDS].sum()), int(grids[FAILS].sum()), len(row), region))
    return found


def _sentence(chosen: Map, grids: dict[str, npt.NDArray[np.bool_]]) -> str:
    labels, values = [axis.label for axis in chosen.axes], [axis.values for axis in chosen.axes]
    holds, fails, unjudged = (in_words(grids[verdict], labels, values) for verdict in (HOLDS, FAILS, NOT_JUDGED))
    return f"Holds {holds}; fails {fails}{f'; not judged {unjudged}' if grids[NOT_JUDGED].any() else ''}."


def _paper(chosen: Map, row: dict[tuple[Any, Any], Cell]) -> str:
    first, second = chosen.axes
    unknown = [axis.label for axis in chosen.axes if axis.paper is None]
    if len(unknown) == 2:
        return f"The paper gives neither the {unknown[0]} nor the {unknown[1]}."
    if unknown:
        return f"The paper does not give the {unknown[0]}."
    cell = row.get((first.paper, second.paper))
    setting = f"{first.label} {first.paper} and {second.label} {second.paper}"
    return f"In the paper's setting, {setting}: {'not run' if cell is None else cell.verdict}."


def table(experiment: Experiment, maps: Sequence[Map], curves: Curves) -> str:
    """A Markdown table: claim, map, share of the cells where it holds, the region."""
    rows = [
        (s.statement, chosen.name, f"{s.holds} of {s.cells}", s.region)
        for chosen in maps
        for s in summaries(experiment, chosen, curves)
    ]
    return markdown_table(("claim", "map", "holds", "region"), rows, "llrl")


def run_maps(experiment: Experiment, maps: Sequence[Map], folder: Path, **how: Any) -> str:
    """Run an experiment's maps, see ``run_experiment``, and write their summaries to ``map.json``.

    Maps whose cells are methods of the experiment take its own results, from the folder of its name beside the given
    one; it is run if these are not there.

    Returns:
        A line of plain text for each claim on each map.
    """
    run = [chosen for chosen in maps if not chosen.methods]
    found: list[tuple[Map, Curves]] = []
    if run:
        run_experiment(map_experiment(experiment, run), folder, **how)
        curves = Curves(read_csv(folder / "curves.csv"))
        found += [(chosen, curves) for chosen in run]
    if len(run) < len(maps):
        own = folder.parent / experiment.name
        if not (own / "curves.csv").is_file():
            run_experiment(experiment, own, **how)
        curves = Curves(read_csv(own / "curves.csv"))
        found += [(chosen, curves) for chosen in maps if chosen.methods and chosen.panel in curves.panels()]
        for chosen, _ in found[len(run) :]:
            with writing(folder / f"map-{_file(chosen)}.png") as file:
                figure(experiment, chosen, curves).savefig(file, format="png", dpi=110)
    lines = [
        {"experiment": experiment.name, "map": chosen.name, **summary._asdict()}
        for chosen, curves in found
        for summary in summaries(experiment, chosen, curves)
    ]
    write_text(folder / FILE, json.dumps(lines, indent=1) + "\n")
    return "\n".join(f"{s['holds']:3} of {s['cells']:3}  {s['map']}: {s['statement']} {s['region']}" for s in lines)
