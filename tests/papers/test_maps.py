"""Maps of where claims hold: made-up experiments whose region is known, and the words for regions."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from teach_gym.papers import EXPERIMENTS, MAPS, experiment, experiment_maps
from teach_gym.papers.batches import TOGETHER, merged, run_batch
from teach_gym.papers.claims import HOLDS, NOT_JUDGED, Claim, Comparison
from teach_gym.papers.curves import Curves, Row, read_csv, rows_of
from teach_gym.papers.engine import Experiment, Result, Unit
from teach_gym.papers.greedy import method, panel_units
from teach_gym.papers.grids import Axis, Map, cells
from teach_gym.papers.map_figures import map_figure
from teach_gym.papers.maps import FILE, changed, judged, map_experiment, run_maps, summaries, template_claims
from teach_gym.papers.regions import in_words, rectangles
from teach_gym.papers.report import write_report

RATES, SCALES = (0.1, 0.2, 0.4), (1.0, 2.0)
GRID = Map("grid", "p", (Axis("rate", "task.rate", RATES), Axis("scale", "task.options.scale", SCALES)))
EFFECT = {values: 10.0 * (values[0] - 0.2) * values[1] for values in itertools.product(RATES, SCALES)}
"""What method a gains over b in each cell: negative, nothing, positive."""


def worker(unit: Unit) -> Result:
    """Distances of two methods, which depend on the cell as ``EFFECT`` says."""
    task = unit.settings["task"]
    gap = EFFECT[task["rate"], task["options"]["scale"]] if unit.method == "b" else 0.0
    values = [[100.0, 50.0 + seed, 50.0 + seed + gap] for seed in range(len(unit.seeds))]
    rows = rows_of(unit.label, unit.method, "distance", unit.seeds, (0, 5, 10), values)
    return Result(rows + rows_of(unit.label, unit.method, "seconds", unit.seeds, (10,), [[1.0]] * len(unit.seeds)), {})


def made_up_methods() -> dict[str, Any]:
    return {name: method(name) for name in "abc"}


def made_up(**changes: Any) -> Experiment:
    panel = {"task": {"rate": 0.0, "budget": 10}, "methods": made_up_methods()}
    claims = (
        Claim("A beats B. [panel p]", (Comparison("a", "below", "b", panel="p"),)),
        Claim("It does so elsewhere.", (Comparison("a", "below", "b", panel="q"),)),
    )
    content = {"panels": {"p": panel, "q": panel}}
    settings = {"laptop": {"seeds": 20, **content}, "smoke": {"seeds": 2, **content}}
    return Experiment("made-up", "t", "s", "n", settings, panel_units, worker, claims, lambda record: {}, **changes)


def test_a_map_finds_the_region_where_a_claim_holds(tmp_path: Path) -> None:
    text = run_maps(made_up(), (GRID,), tmp_path, progress=False)
    region = "Holds where the rate is 0.4; fails where the rate is 0.1. The paper gives neither the rate nor the scale."
    assert text == f"  2 of   6  grid: A beats B. {region}"
    [summary] = json.loads((tmp_path / FILE).read_text())
    assert summary == {
        "experiment": "made-up",
        "map": "grid",
        "statement": "A beats B.",
        "holds": 2,
        "fails": 2,
        "cells": 6,
        "region": region,
    }
    curves = Curves(read_csv(tmp_path / "curves.csv"))
    found = judged(made_up(), GRID, curves)["A beats B."]
    assert {values: cell.effect.value for values, cell in found.items()} == pytest.approx(EFFECT)
    assert (tmp_path / "map-grid.png").is_file()


def test_a_map_whose_cells_are_methods_takes_the_experiments_own_results(tmp_path: Path) -> None:
    names = {(0.1, 1): {"a": "a"}, (0.1, 2): {"a": "b"}}
    axes = (Axis("rate", "", (0.1,)), Axis("scale", "", (1, 2)))
    chosen = Map("methods", "p", axes, methods=names)
    found = made_up()
    panels = {
        name: {"task": {"rate": 0.4, "options": {"scale": 1.0}, "budget": 10}, "methods": content["methods"]}
        for name, content in found.scales["laptop"]["panels"].items()
    }
    claim = Claim("It beats B. [a]", (Comparison("a", "not_worse", "b", panel="p", factor=1.01),))
    found = dataclasses.replace(found, claims=(claim,), scales={"laptop": {"seeds": 10, "panels": panels}})
    run_maps(found, (chosen,), tmp_path / "made-up-map", progress=False)
    [summary] = json.loads((tmp_path / "made-up-map" / FILE).read_text())
    assert summary["statement"] == "It beats B." and summary["holds"] == summary["cells"] == 2
    assert (tmp_path / "made-up" / "curves.csv").is_file() and (tmp_path / "made-up-map" / "map-methods.png").is_file()
    own = judged(found, chosen, Curves(read_csv(tmp_path / "made-up" / "curves.csv")))["It beats B."]
    assert own[0.1, 1].effect.value > own[0.1, 2].effect.value == pytest.approx(np.log(1.01))


def test_a_cell_may_replace_both_methods_of_a_claim(tmp_path: Path) -> None:
    """A beats B is asked of every pair, among them a method against itself."""
    axes = (Axis("first", "", ("a", "b")), Axis("second", "", ("b", "c")))
    chosen = Map("pairs", "p", axes, methods={(i, j): {"a": i, "b": j} for i, j in itertools.product("ab", "bc")})
    panel = {"task": {"rate": 0.4, "options": {"scale": 1.0}, "budget": 10}, "methods": made_up_methods()}
    found = dataclasses.replace(made_up(), scales={"laptop": {"seeds": 10, "panels": {"p": panel}}})
    run_maps(found, (chosen,), tmp_path / "made-up-map", progress=False)
    own = judged(found, chosen, Curves(read_csv(tmp_path / "made-up" / "curves.csv")))["A beats B."]
    gain = EFFECT[0.4, 1.0]  # b is farther than a and c by this
    effects = {values: cell.effect.value for values, cell in own.items()}
    assert effects == pytest.approx({("a", "b"): gain, ("a", "c"): 0.0, ("b", "b"): 0.0, ("b", "c"): -gain})


def test_a_claim_may_compare_with_the_value_of_an_axis() -> None:
    """The least distance of b is 49 at the smallest rate and 50 at the others; its bound is that of the cell."""
    axes = (GRID.axes[0], Axis("least distance", "task.options.least", (48.5, 49.5, 50.5)))
    chosen = Map("bounds", "p", axes, (("task.options.scale", 1.0),), threshold="least distance")
    claim = Claim("It stays away.", (Comparison("b", "at_least", 7.0, panel="p"),))
    found = dataclasses.replace(made_up(), claims=(claim,))
    mapped = map_experiment(found, (chosen,))
    units = mapped.units("made-up", mapped.scales["laptop"], tuple(range(10)))
    rows = [row for unit in units for row in run_batch(worker, unit).rows]
    outcomes = judged(found, chosen, Curves(rows))["It stays away."]
    held = {values for values, cell in outcomes.items() if cell.verdict == HOLDS}
    assert held == {(0.1, 48.5), (0.2, 48.5), (0.2, 49.5), (0.4, 48.5), (0.4, 49.5)} and len(outcomes) == 9
    texts = [text.get_text() for text in map_figure(chosen, {claim.statement: outcomes}).axes[0].texts]
    shares = [text.removesuffix("\nof cases")[2:] for text in texts[:3]]
    assert shares == ["100%", "96.6%", "90%"], "rounded down: none, 1 and 3 of 30 distances are smaller"


def test_a_map_names_what_tells_its_claims_apart() -> None:
    claims = (
        Claim(
            "A wins. [p; at once]", (Comparison("a", "below", "b", panel="p"), Comparison("c", "below", "b", panel="p"))
        ),
        Claim("A wins. [p; later]", (Comparison("a", "below", "b", panel="p", at=(0.5,)),)),
        Claim("C wins. [p; later]", (Comparison("c", "below", "b", panel="p"),)),
        Claim("It is fast. [a]", (Comparison("a", "below", "b", panel="p"),)),
    )
    found = dataclasses.replace(made_up(), claims=claims)
    named = {claim.statement: len(claim.comparisons) for claim in template_claims(found, GRID)}
    assert named == {"A wins. [at once]": 2, "A wins. [later]": 1, "C wins.": 1, "It is fast.": 1}


def test_cells_are_taught_together_unless_teachers_are_trained_for_each() -> None:
    changed_rate = (Axis("rate", "task.learning_rate", (0.1, 0.2)), Axis("scale", "task.init_scale", (1.0, 2.0)))
    for together, units in ((True, 2), (False, 8)):
        made = map_experiment(made_up(), (dataclasses.replace(GRID, axes=changed_rate, together=together),))
        found = made.units(made.name, made.scales["laptop"], (1, 2))
        assert len(found) == units and all(("batch" in unit.settings) == together for unit in found)


def test_cells_run_the_methods_and_keep_the_rows_that_their_claims_need(tmp_path: Path) -> None:
    made = map_experiment(made_up(), (GRID,))
    panels = made.scales["laptop"]["panels"]
    assert len(panels) == 6 and all(set(content["methods"]) == {"a", "b"} for content in panels.values())
    assert {(c["task"]["rate"], c["task"]["options"]["scale"]) for c in panels.values()} == set(EFFECT)
    run_maps(made_up(), (GRID,), tmp_path, progress=False)
    rows = read_csv(tmp_path / "curves.csv")
    assert {(row.metric, row.iteration) for row in rows} == {("distance", 0), ("distance", 10)}
    assert len(rows) == 6 * 2 * 10 * 2


def test_the_papers_cell_is_named_where_it_is_known() -> None:
    axes = (Axis("rate", "task.rate", RATES, paper=0.4), Axis("scale", "task.options.scale", SCALES, paper=2.0))
    known = Map("grid", "p", axes)
    rows = [
        Row(f"made-up-map/grid | rate {r} | scale {s}", name, seed, t, "distance", 100.0 - t * (name == "a"))
        for (r, s), name, seed, t in itertools.product(cells(known), "ab", range(10), (0, 10))
    ]
    [summary] = summaries(made_up(), known, Curves(rows))
    assert summary.holds == 6 and summary.region.endswith("In the paper's setting, rate 0.4 and scale 2.0: holds.")


@pytest.mark.parametrize("seed", range(20))
def test_rectangles_cover_the_cells_and_nothing_else(seed: int) -> None:
    mask = np.random.default_rng(seed).uniform(size=(5, 4)) < 0.6
    covered = np.zeros_like(mask)
    for (top, bottom), (left, right) in rectangles(mask):
        covered[top : bottom + 1, left : right + 1] = True
    np.testing.assert_array_equal(covered, mask)


def test_regions_in_words() -> None:
    labels, values = ("rate", "scale"), ((0.1, 0.2, 0.4), (1, 2))
    full = np.ones((3, 2), dtype=bool)
    lower, corner, middle = full.copy(), ~full, ~full
    lower[2] = corner[0, 0] = middle[1] = False
    corner[0, 0] = middle[1] = True
    assert in_words(full, labels, values) == "everywhere" and in_words(~full, labels, values) == "nowhere"
    assert in_words(lower, labels, values) == "where the rate is at most 0.2"
    assert in_words(corner, labels, values) == "where the rate is 0.1 and the scale is 1"
    assert in_words(middle, labels, values) == "where the rate is 0.2"
    corners = np.array([[True, False], [False, True], [True, False]])
    assert in_words(corners, labels, values) == (
        "where the rate is 0.1 and the scale is 1, where the rate is 0.2 and the scale is 2, "
        "or where the rate is 0.4 and the scale is 1"
    )


@pytest.mark.parametrize("name", MAPS)
def test_the_papers_maps_change_fields_that_their_tasks_have(name: str) -> None:
    from teach_gym.core.spec import TaskSpec

    found = experiment(name)
    maps = experiment_maps(name)
    for chosen in maps:
        assert template_claims(found, chosen), "no claim is about the panel"
        assert all(list(axis.values) == sorted(axis.values) for axis in chosen.axes)
        assert chosen.threshold in ("", *(axis.label for axis in chosen.axes))
        methods = found.scales["laptop"]["panels"][chosen.panel]["methods"]
        assert not chosen.methods or set(chosen.methods) == set(cells(chosen)), "a method for each cell"
        assert {name for names in chosen.methods.values() for pair in names.items() for name in pair} <= set(methods)
    run = [chosen for chosen in maps if not chosen.methods]
    panels = map_experiment(found, run).scales["laptop"]["panels"]
    assert all(content["methods"] for content in panels.values())
    different = {json.dumps(content, sort_keys=True) for content in panels.values()}
    assert len(different) == len(panels) == sum(len(cells(chosen)) for chosen in run)
    for content in panels.values():
        TaskSpec(**content["task"])


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "dht-fig8" else pytest.mark.slow) for name in MAPS]
)
def test_every_map_runs_at_the_smoke_scale(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    folder = tmp_path / f"{name}-map"
    text = run_maps(experiment(name), experiment_maps(name), folder, scale="smoke", progress=False)
    lines = json.loads((folder / FILE).read_text())
    assert {line["map"] for line in lines} == {chosen.name for chosen in experiment_maps(name)}
    assert len(text.splitlines()) == len(lines) and all(line["cells"] >= 2 for line in lines)
    assert len([*folder.glob("map-*.png")]) == len(experiment_maps(name))


SMALL: dict[str, Any] = {"task.budget": 5}
DIGITS: dict[str, Any] = {**SMALL, "task.pool": "digits", "task.pool_options": {"classes": [3, 5]}}
BATCHES = {
    "last-fig8": ("half moons", SMALL, {"task.learning_rate": (0.01, 0.7), "task.init_scale": (0.3, 3.0)}),
    "last-fig10": ("MNIST 3/5", DIGITS, {"task.learning_rate": (0.001, 0.05), "task.init_scale": (0.01, 0.1)}),
    "last-fig9": ("learning rate 0.7", SMALL, {"task.learning_rate": (0.01, 0.7), "task.init_scale": (0.3, 3.0)}),
    "last-git": ("momentum", {**DIGITS, "task.target_options": {"l2": 0.1}}, {"task.learning_rate": (0.001, 0.01)}),
    "last-fig11": ("logistic", {**DIGITS, "task.target_options": {"l2": 0.1}}, {"task.learning_rate": (0.001, 0.1)}),
    "dht-fig3": (
        "half moons",
        {**SMALL, "task.pool_options.n": 50},
        {"task.learning_rate": (0.001, 0.1), "passes": (6, 7)},
    ),
}


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_of_panels_gives_what_each_panel_gives_alone(name: str) -> None:
    panel, changes, axes = BATCHES[name]
    found = experiment(name)
    content = found.scales["laptop"]["panels"][panel]
    panels = {
        f"map | {values}": changed(content, [*changes.items(), *zip(axes, values, strict=True)])
        for values in itertools.product(*axes.values())
    }
    seeds = (1000, 1001, 1002)
    alone = [row for unit in panel_units("e", {"panels": panels}, seeds) for row in found.run(unit).rows]
    units = merged(panel_units("e", {"panels": panels}, seeds), TOGETHER)
    assert len(units) == len(content["methods"]), "one batch for each method"
    together = [row for unit in units for row in run_batch(found.run, unit).rows]
    one, other = ({row[:-1]: row.value for row in rows if row.metric != "seconds"} for rows in (alone, together))
    assert one.keys() == other.keys() and one
    for key, value in one.items():
        assert other[key] == pytest.approx(value, rel=1e-6, abs=1e-9, nan_ok=True), key


def test_a_method_that_sets_what_a_batch_varies_is_refused() -> None:
    how = {"a": method("passive", learning_rate=0.2)}
    panels = {f"map | {rate}": {"task": {"learning_rate": rate}, "methods": how} for rate in (0.1, 0.3)}
    with pytest.raises(ValueError, match=r"two members of a batch are the same: 'map \| 0\.1 a' and 'map \| 0\.3 a'"):
        merged(panel_units("e", {"panels": panels}, (1,)), TOGETHER)


def test_the_code_of_an_experiment_within_a_map_counts() -> None:
    from teach_gym.versions import modules_of

    made = map_experiment(experiment("last-fig9"), experiment_maps("last-fig9"))
    assert set(modules_of(made.run)) == {"teach_gym.papers.batches", "teach_gym.papers.last_moons"}


def test_maps_of_an_experiment_without_any_are_refused() -> None:
    assert set(MAPS) <= set(EXPERIMENTS)
    with pytest.raises(ValueError, match=r"unknown experiment with maps 'dht-table1'; allowed: .*last-fig9"):
        experiment_maps("dht-table1")


def test_the_page_opens_with_the_table_of_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from teach_gym.papers.engine import run_experiment

    found = experiment("last-fig9")
    run_experiment(found, tmp_path / "last-fig9", scale="smoke", progress=False)
    run_maps(found, experiment_maps("last-fig9"), tmp_path / "last-fig9-map", scale="smoke", progress=False)
    write_report(tmp_path, tmp_path / "page.md", "command", names=["last-fig9", "last-git"])
    text = (tmp_path / "page.md").read_text()
    assert "## Not run" in text and "| last-git | Generalized iterative teaching" in text
    head, _, rest = text.partition("## The claims at one setting")
    assert "| last-fig9 | The synthesised labels are always linearly separable. | half moons | 0 of 2 (0%) |" in head
    assert "![last-fig9: map-half-moons](page/last-fig9-map-half-moons.png)" in rest
    assert (tmp_path / "page" / "last-fig9-map-half-moons.png").is_file()
    (tmp_path / "last-fig9-map" / FILE).write_text("[{}]")
    with pytest.raises(ValueError, match="holds no results of teach-gym reproduce --map"):
        write_report(tmp_path, tmp_path / "page.md", "command", names=["last-fig9"])


def made_up_curves() -> Curves:
    settings = [{"rate": rate, "options": {"scale": scale}} for rate, scale in cells(GRID)]
    panels = [f"grid | rate {rate} | scale {scale}" for rate, scale in cells(GRID)]
    units = [
        Unit("e", panel, name, tuple(range(10)), {"task": task})
        for panel, task in zip(panels, settings, strict=True)
        for name in "ab"
    ]
    return Curves([row for unit in units for row in worker(unit).rows])


def test_the_picture_marks_every_cell() -> None:
    figure = map_figure(GRID, judged(made_up(), GRID, made_up_curves()))
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert len(texts) == 6 and sum(text.startswith("+") for text in texts) == 2
    assert any("[2, 2]" in text for text in texts) and "A beats B." in figure.axes[0].get_title(loc="left")


def test_what_a_claim_requires_is_no_effect_of_it() -> None:
    loses, wins = (Comparison(first, "below", second, panel="p") for first, second in ("ba", "ab"))
    claims = (Claim("judged", (loses,), (wins,)), Claim("not required", (loses,)))
    experiment = dataclasses.replace(made_up(), claims=claims)
    found = judged(experiment, GRID, made_up_curves())
    for values, cell in found["judged"].items():
        if EFFECT[values] > 0:
            assert cell == found["not required"][values] and cell.effect.value == pytest.approx(-EFFECT[values])
        elif EFFECT[values] < 0:
            assert cell.verdict == NOT_JUDGED and np.isnan(cell.effect.value)
    told = summaries(experiment, GRID, made_up_curves())[0].region
    assert told.startswith("Holds nowhere; fails where the rate is 0.4; not judged where the rate is 0.1.")
    texts = [text.get_text() for text in map_figure(GRID, found).axes[0].texts]
    assert texts.count(NOT_JUDGED) == sum(effect < 0 for effect in EFFECT.values()) == 2


def test_a_cell_with_values_that_are_infinite_has_no_effect() -> None:
    whole = dataclasses.replace(GRID, axes=tuple(dataclasses.replace(a, values=a.values[:1]) for a in GRID.axes))
    panel = "e/grid | rate 0.1 | scale 1.0"
    values = {"a": [[1.0, 2.0]] * 10, "b": [[1.0, np.inf]] * 10}
    rows = [row for name, own in values.items() for row in rows_of(panel, name, "distance", range(10), (0, 10), own)]
    found = judged(made_up(), whole, Curves(rows))
    [cell] = found["A beats B."].values()
    assert cell.verdict == HOLDS and not np.isfinite(cell.effect.value)
    assert [text.get_text() for text in map_figure(whole, found).axes[0].texts] == ["+\nby counts"]
