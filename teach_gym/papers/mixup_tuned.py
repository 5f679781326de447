"""Does a learned policy beat random mixup when every method has its own best learning rate?"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from teach_gym.files import write_text
from teach_gym.papers.claims import Claim
from teach_gym.papers.curves import Curves, Row, read_csv, rows_of, to_csv
from teach_gym.papers.dht_mixup import FINITE, LAPTOP, SMOKE, STACK, VALIDATION, methods, train
from teach_gym.papers.dht_performative import above, final
from teach_gym.papers.engine import Experiment, PlainValues, Result, Unit, groups
from teach_gym.papers.performative_panels import ACCURACY
from teach_gym.papers.tuning import at_best_rate, draw
from teach_gym.papers.tuning import table as tuned_table

RATES = (0.0003, 0.001, 0.003, 0.01)
"""Learning rates of Adam that every method tries."""
ERM, RANDOM = "ERM", ("cMixup", "dMixup")
LEARNED = ("Unrolling", FINITE, "Policy gradient")
FEW, MORE, ALL = "500 images of 16x16", "5,000 images of 32x32", "all images"
"""Panels: training images."""
QUICK = {"Policy gradient": {"updates": 2}}
"""Options by method while a rate is chosen, where learning a policy takes hours."""


def panel(
    training: Mapping[str, Any],
    rates: Sequence[float],
    learning: Mapping[str, Any],
    teacher_rate: float = 0.01,
    further: int = 2,
    quick: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Settings of a panel.

    Args:
        training: arguments of ``MixupSpec``.
        rates: learning rates to try.
        learning: ``updates`` and ``episodes`` of the policy gradient.
        teacher_rate: the unrolled teacher's learning rate.
        further: rates that may be tried beyond these, see ``teach_gym.papers.tuning.tuned``.
        quick: options of methods that are others while a rate is chosen, by method.
    """
    return {
        "training": dict(training),
        "rates": list(rates),
        "further": further,
        "methods": methods(learning, teacher_rate),
        "quick": dict(quick or {}),
    }


def settings(seeds: int, panels: Mapping[str, Any], tuning: int = 3) -> dict[str, Any]:
    """Settings of a scale.

    Args:
        seeds: default number of seeds.
        panels: see ``panel``.
        tuning: number of learners on which a rate is chosen.
    """
    return {"seeds": seeds, "tuning_seeds": [*range(tuning)], "panels": dict(panels)}


def units(name: str, chosen: PlainValues, seeds: Sequence[int]) -> list[Unit]:
    """A unit of work for each panel and method."""
    found = []
    for label, content in chosen["panels"].items():
        shared = {key: content[key] for key in ("training", "rates", "further")}
        shared["tuning_seeds"] = chosen["tuning_seeds"]
        for method, options in content["methods"].items():
            own = {"method": options, "quick": content["quick"].get(method, {})}
            found.append(Unit(name, label, method, tuple(seeds), {**shared, **own}))
    return found


def run(unit: Unit, folder: Path) -> Result:
    """Train at every rate, choose the rate that is best on the validation images, and train new learners with it.

    The learners on which the rate is chosen are others than those whose test accuracy counts.

    Args:
        unit: the unit of work.
        folder: for results so far; an interrupted run resumes from them.
    """
    chosen = unit.settings

    def trained(seeds: Sequence[int], rate: float, where: str, **options: Any) -> list[Row]:
        training, method = {**chosen["training"], "learning_rate": rate}, {**chosen["method"], **options}
        settings = {**chosen, "training": training, "method": method}
        part = dataclasses.replace(unit, seeds=tuple(seeds), settings=settings)
        path = folder / f"{where}.csv"
        if not path.is_file():
            write_text(path, to_csv(_trained(part, folder / where)))
        return read_csv(path)

    def score(rate: float) -> float:
        rows = trained(chosen["tuning_seeds"], rate, f"rate-{rate:g}", **chosen["quick"])
        return float(final(Curves(rows), unit.panel, unit.method, VALIDATION).mean())

    def at(rate: float) -> list[Row]:
        stacks = groups(unit.seeds, STACK)
        return [row for i, seeds in enumerate(stacks) for row in trained(seeds, rate, f"final-{i}")]

    return Result(at_best_rate(unit, score, at), {})


def _trained(unit: Unit, folder: Path) -> list[Row]:
    """``train``, measured at the end; if a training diverges, the accuracies are nan."""
    try:
        return train(unit, unit.settings["training"]["epochs"], folder)
    except FloatingPointError as error:
        warnings.warn(f"{unit.label}, {unit.method}: {error}", RuntimeWarning, stacklevel=1)
        lost = [[float("nan")]] * len(unit.seeds)
        metrics = (ACCURACY, VALIDATION)
        return [row for name in metrics for row in rows_of(unit.label, unit.method, name, unit.seeds, (0,), lost)]


def table(curves: Curves) -> str:
    """A Markdown table of the chosen rates and the test accuracies, with the difference from ERM."""
    return tuned_table(curves, ERM)


def _claims(where: str) -> tuple[Claim, ...]:
    """The claims on a panel: every method of a list is better than every one of another."""

    def claim(text: str, better: Sequence[str], worse: Sequence[str]) -> Claim:
        pairs = tuple(pair for one in better for other in worse for pair in above(one, other, [where]))
        return Claim(f"{text}, each at its best rate. [{where}]", pairs)

    return (
        claim("Mixup with random coefficients, continuous or discrete, beats ERM", RANDOM, (ERM,)),
        *(claim(f"{one} beats ERM", (one,), (ERM,)) for one in LEARNED),
        *(claim(f"{one} beats mixup with random coefficients", (one,), RANDOM) for one in LEARNED),
    )


_LEARNING = {"updates": 8, "episodes": 4}
_SMOKE = panel(SMOKE, RATES[2:3], {"updates": 2, "episodes": 2}, further=0, quick={"Policy gradient": {"updates": 1}})
_MORE = {**LAPTOP, "shrink": 1, "images": 5000, "epochs": 15}
_ALL = {"device": "cuda", "epochs": 50}
TUNED = Experiment(
    name="dht-table1-tuned",
    title="Does any learned policy beat random mixup?",
    source="beyond DHT, Table 1",
    notes="Each method takes the learning rate that is best on the validation images, on three other learners "
    "(where that is the largest or the smallest tried, further ones are tried); it is "
    "then trained with new learners and tested. Policies of unrolling and of the policy gradient also learn from the "
    "validation images. Networks and methods are those of dht-table1 at the laptop scale. The panel with ten times as "
    "many images, of full size, has 15 epochs in place of 30, five times as many steps; there the policy gradient "
    "takes 2 of its 8 updates while its learning rate is chosen. That panel takes about three hours on a CPU core "
    f"(`--panels '{FEW}'` leaves it out) and can be interrupted: learning rates, groups of learners and updates of the "
    "policy gradient that are finished are kept.",
    scales={
        "smoke": settings(2, {FEW: _SMOKE}, tuning=1),
        "laptop": settings(
            10, {FEW: panel(LAPTOP, RATES, _LEARNING), MORE: panel(_MORE, RATES[1:3], _LEARNING, quick=QUICK)}
        ),
        "paper": settings(10, {ALL: panel(_ALL, RATES, {"updates": 25, "episodes": 4}, 0.001)}),
    },
    units=units,
    run=run,
    claims=tuple(claim for where in (FEW, MORE, ALL) for claim in _claims(where)),
    draw=draw,
    table=table,
    checkpoints=True,
)
