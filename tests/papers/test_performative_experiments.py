"""The experiments of performative teaching: settings, resumption, divergence and what the tables say."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from teach_gym.neural import train as training_module
from teach_gym.neural.networks import make_network
from teach_gym.neural.settings import ImageTrainingSettings
from teach_gym.papers import dht_performative, performative_panels, performative_search, performative_tuned
from teach_gym.papers.curves import Curves, rows_of
from teach_gym.papers.dht_performative import TABLE2, run
from teach_gym.papers.engine import Experiment, Record, Unit
from teach_gym.papers.performative_panels import ACCURACY, HALF, MNIST, SAMPLE, SGD
from teach_gym.papers.performative_search import CHOSEN, SEARCH, TEST, VALIDATION, at_rate, best_rate, training
from teach_gym.papers.performative_tuned import TUNED
from teach_gym.papers.tuning import draw, tuned

SMALL = {"pool": "patterns", "pool_options": {"n": 120, "size": 8}, "batch_size": 20, "learning_rate": 0.02}
BOTH = pytest.mark.parametrize("experiment", [TABLE2, SEARCH], ids=lambda e: e.name)


def unit_of(**training: Any) -> Unit:
    """A unit of work of two seeds on made-up images."""
    given = {**SMALL, "iterations": 8, "eval_every": 4, "checkpoint_every": 4, **training}
    return Unit("e", "p", "m", (3, 5), {"training": given})


@BOTH
def test_settings_of_every_scale_are_trainings(experiment: Experiment) -> None:
    for settings in experiment.scales.values():
        for unit in experiment.units(experiment.name, settings, range(7)):
            given = {**unit.settings["training"], "device": "cpu"}
            made = ImageTrainingSettings(**given, seeds=unit.seeds)
            assert made.iterations > 0 and 0 < len(unit.seeds) <= dht_performative.STACK
            assert (made.validation > 0) == ("validation" in unit.panel), "only validation panels hold images out"


def test_schedules_are_the_papers_in_their_own_length() -> None:
    """DHT 5.2: the rate is divided by ten after 20,000, 30,000 and 37,500 of 42,500 iterations."""
    shares = np.array([20_000, 30_000, 37_500]) / 42_500
    lengths = set()
    for name, panel in TUNED.scales["laptop"]["panels"].items():
        made = ImageTrainingSettings(**panel)
        lengths.add(made.iterations)
        if "constant rate" in name:
            assert not made.milestones
        else:
            assert np.array(made.milestones) / made.iterations == pytest.approx(shares, abs=0.5 / made.iterations)
    assert lengths == {400, 1200, 4000}
    half = ImageTrainingSettings(**TABLE2.scales["laptop"]["panels"][HALF]["train"])
    assert half.iterations == 42_500 and [*half.milestones] == [20_000, 30_000, 37_500]


def test_paper_scale_has_every_row_of_the_table() -> None:
    panels = TABLE2.scales["paper"]["panels"]
    assert set(performative_panels.PUBLISHED) < set(panels) and len(performative_panels.PUBLISHED) == 9
    assert ImageTrainingSettings(**panels[MNIST]["train"]) == ImageTrainingSettings(), (
        "the defaults are the paper's MNIST row"
    )


def test_every_learner_gets_what_it_gets_alone(tmp_path: Path) -> None:
    unit = unit_of(method="performative")
    together = Curves(run(unit, tmp_path / "both").rows)
    for i, seed in enumerate(unit.seeds):
        alone = Curves(run(dataclasses.replace(unit, seeds=(seed,)), tmp_path / str(seed)).rows)
        for metric in (ACCURACY, "train_loss"):
            curve = together.get("p", "m", metric)
            assert curve.iterations.tolist() == [4, 8]
            assert np.allclose(curve.values[i], alone.get("p", "m", metric).values[0], rtol=1e-4)


def test_a_unit_that_was_cut_short_goes_on_and_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unit, seen = unit_of(method="random"), []
    whole = run(unit, tmp_path / "whole").rows
    advance = training_module.Trainer.advance

    def broken(self: Any, t: int) -> Any:
        if t == 6:
            raise KeyboardInterrupt
        return advance(self, t)

    def counted(self: Any, t: int) -> Any:
        seen.append(t)
        return advance(self, t)

    monkeypatch.setattr(training_module.Trainer, "advance", broken)
    with pytest.raises(KeyboardInterrupt):
        run(unit, tmp_path / "cut")
    monkeypatch.setattr(training_module.Trainer, "advance", counted)
    assert run(unit, tmp_path / "cut").rows == whole and seen == [4, 5, 6, 7]


@pytest.mark.parametrize("validation", [0, 40])
def test_divergence_is_nan_and_said(validation: int, tmp_path: Path) -> None:
    diverging = {"learning_rate": 1e20, "weight_decay": 1.0, "iterations": 60, "checkpoint_every": 60}
    with pytest.warns(RuntimeWarning, match=r"e/p, m: the loss of seed .* became non-finite"):
        rows = run(unit_of(validation=validation, **diverging), tmp_path).rows
    found = Curves(rows).get("p", "m", ACCURACY)
    assert np.isnan(found.values).all() and found.iterations.tolist() == [60]
    text = dht_performative.table(Curves(rows))
    assert "| p | m | - | diverged | - |" in text


def test_a_variant_is_translated_at_its_rate() -> None:
    made = training({"teaching": {"epsilon": 0.2}, "target_rate_factor": 10.0, "taught_part": [0.5, 1.0]}, 0.03, 200)
    assert made["learning_rate"] == 0.03 and made["teach_between"] == [100, 200] and made["method"] == "performative"
    assert made["teaching"]["epsilon"] == 0.2 and made["teaching"]["target_rate"] == pytest.approx(0.3)
    for name, (variant, rate) in CHOSEN.items():
        assert variant in performative_search.CONTROLS | performative_search.VARIANTS
        assert rate in performative_search.RATES, f"{name} must be one of those that were tried"


def made_up(values: dict[tuple[str, str], list[float]], name: str) -> Curves:
    """Curves with given accuracies at the end, by panel and method."""
    rows = [
        row
        for (panel, method), found in values.items()
        for row in rows_of(f"{name}/{panel}", method, ACCURACY, range(len(found)), (9,), np.array(found)[:, None])
    ]
    return Curves(rows)


def test_the_table_gives_paired_differences_beside_the_papers_numbers() -> None:
    text = dht_performative.table(made_up({(MNIST, SGD): [90.0, 92.0], (MNIST, SAMPLE): [91.0, 93.5]}, "x"))
    assert f"| {MNIST} | {SGD} | 92.45 | 91.00 ± 1.41 | - |" in text
    assert f"| {MNIST} | {SAMPLE} | 95.02 | 92.25 ± 1.77 | +1.25 [+1.00, +1.50] |" in text
    text = dht_performative.table(made_up({(HALF, SGD): [80.0], (HALF, SAMPLE): [81.5]}, "x"))
    assert f"| {HALF} | {SAMPLE} | - | 81.50 | +1.50 (one seed) |" in text, "one seed has no interval"


def test_each_method_has_a_row_of_its_own_in_every_panel_of_the_figure() -> None:
    pytest.importorskip("matplotlib")
    values = {("a", SGD): [1.0, 3.0], ("a", "x"): [4.0, 6.0], ("a", SAMPLE): [7.0, 9.0]}
    fewer = {("b", method): found for (_, method), found in values.items() if method != "x"}
    figure = draw(Record({}, made_up({**values, **fewer}, "e"), []))["accuracies"]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert sorted(labels) == sorted([SGD, SAMPLE, "x"])
    for axes, means in zip(figure.axes, ({SGD: 2.0, "x": 5.0, SAMPLE: 8.0}, {SGD: 2.0, SAMPLE: 8.0}), strict=True):
        drawn = {line.get_ydata()[0]: line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2}
        assert {labels[int(row)]: values.mean() for row, values in drawn.items()} == means
        assert axes.get_ylim() == figure.axes[0].get_ylim()


def test_the_search_takes_the_best_validation_rate_and_never_a_diverged_one() -> None:
    values: dict[tuple[str, str], list[float]] = {}
    for variant in (*performative_search.CONTROLS, *performative_search.VARIANTS):
        for i, rate in enumerate(performative_search.RATES):
            values[VALIDATION, at_rate(variant, rate)] = [80.0 + i, 81.0 + i]
    _, middle, high, highest = performative_search.RATES
    for rate in (high, highest):
        values[VALIDATION, at_rate(SGD, rate)] = [float("nan")] * 2
    values |= {(TEST, name): [70.0, 71.0] for name in CHOSEN}
    curves = made_up(values, "x")
    assert best_rate(curves, SGD) == middle
    text = performative_search.table(curves)
    assert f"| {SGD} | 80.50 | **81.50** | diverged | diverged | +0.00 [+0.00, +0.00] |" in text
    assert "| SGD, tuned | 70.50 ± 0.71 |" in text


def test_each_method_takes_the_rate_that_is_best_on_held_out_images(tmp_path: Path) -> None:
    smoke = TUNED.scales["smoke"]
    content = {**next(iter(smoke["panels"].values())), "iterations": 12, "milestones": [], "eval_every": 12}
    chosen = {**smoke, "tuning_seeds": [0, 1, 2], "rates": [1e-6, 0.3], "panels": {"p": content}}
    [unit] = [unit for unit in performative_tuned.units("e", chosen, (7, 8)) if unit.method == SGD]
    found = Curves(performative_tuned.run(unit, tmp_path / "unit").rows)

    def accuracies(rate: float, seeds: tuple[int, ...], validation: int = 0) -> Any:
        made = {**unit.settings["training"], "learning_rate": rate, "seeds": seeds, "validation": validation}
        folder = tmp_path / f"{rate}-{validation}"
        return training_module.train(ImageTrainingSettings(**made), folder, progress=False)["accuracy"]

    held = {rate: np.mean(accuracies(rate, (0, 1, 2), 60)) for rate in (1e-6, 0.3)}
    assert held[0.3] > held[1e-6] and found.get("p", SGD, "chosen_rate").values.tolist() == [[0.3], [0.3]]
    assert found.get("p", SGD, ACCURACY).values[:, -1] == pytest.approx(accuracies(0.3, (7, 8)))
    assert "| p | SGD | 0.3 |" in performative_tuned.table(found)


@pytest.mark.parametrize(
    ("best", "further", "expected", "beyond"),
    [
        (0.09, 4, 0.1, []),  # inside: nothing more is tried
        (0.45, 4, 0.4, [0.4, 0.8]),
        (0.013, 4, 0.011, [0.018, 0.011, 0.0067]),
        (0.45, 1, 0.4, [0.4]),
        (9.0, 2, 0.8, [0.4, 0.8]),
    ],
)
def test_a_rate_at_the_edge_is_followed(best: float, further: int, expected: float, beyond: list[float]) -> None:
    tried: list[float] = []

    def score(rate: float) -> float:
        tried.append(rate)
        return -abs(np.log(rate / best))

    assert tuned((0.03, 0.05, 0.1, 0.2), score, further) == expected
    assert tried == [0.03, 0.05, 0.1, 0.2, *beyond]
    assert tuned((0.1, 0.2), lambda rate: float("nan") if rate > 0.2 else rate, 2) == 0.2, "diverged"
    assert tuned((0.1,), score) == 0.1


def test_a_cnn_without_batch_norm_has_biases_instead() -> None:
    found = make_network("cnn3", (3, 8, 8), 10, filters=[4, 4, 4], features=8, batch_norm=False).encoder
    kinds = [type(module).__name__ for module in found.modules()]
    assert "BatchNorm2d" not in kinds and sum(kind == "Conv2d" for kind in kinds) == 3
    assert all(module.bias is not None for module in found.modules() if type(module).__name__ == "Conv2d")
