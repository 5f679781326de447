"""DHT Figure 4: the unrolled data transformation policy on half-moons and MNIST 3/5."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from teach_gym.papers.claims import Claim, Comparison
from teach_gym.papers.dht_protocol import HALF_MOONS, MNIST, protocol_cohorts, protocol_task
from teach_gym.papers.engine import Experiment, Result, Unit
from teach_gym.papers.figures import panels_figure
from teach_gym.papers.greedy import Cohort, method, panel_units, run_unit, unit_teachers
from teach_gym.papers.tasks import SMALL_DIGITS
from teach_gym.teachers import Teacher

LEARNED_MNIST: dict[str, Any] = {**MNIST, "pool_options": {**MNIST["pool_options"], "n_holdout": 200, "binary": True}}
"""The protocol's MNIST for learned teachers: pixels in {0, 1} and 200 rows to test."""
PANELS = ("half moons", "MNIST 3/5")
VARIANTS: dict[str, dict[str, Any]] = {
    "unrolled, detached, loss": {"alpha": 1.0, "detach": True},
    "unrolled, loss": {"alpha": 1.0},
    "unrolled, detached": {"alpha": 0.0, "detach": True},
    "unrolled": {"alpha": 0.0},
}
"""With and without the auxiliary loss (at weight 1), with and without back-propagation through time."""
METHODS = {
    "SGD": method("passive"),
    "IMT": method("imt"),
    "DHT": method("dht:box='global',label_source=uniform"),
    **{name: {**method("unrolled"), "train": how} for name, how in VARIANTS.items()},
}


def train(unit: Unit, taught: Sequence[Cohort]) -> list[Teacher]:
    """The teachers of a unit's cohorts; a learned one is trained for each run, from its start to its target.

    Every run's teacher sees the same first learner in all iterations of its training (DHT 3.3.1: "initialized at
    w^0"), with other examples each time.
    """
    if "train" not in unit.settings:
        return unit_teachers(unit, taught)
    from teach_gym.teachers.learned.fit import TrainingSettings
    from teach_gym.teachers.learned.unrolled import train_unrolled

    tasks = [dataclasses.replace(cohort.task, target=target) for cohort in taught for target in cohort.state.target]
    starts = np.concatenate([cohort.state.w for cohort in taught])
    how = TrainingSettings(**unit.settings["training"], **unit.settings["train"])
    trained = train_unrolled(
        tasks, unit.seeds, how, normalize=True, starts=starts, progress=False, **unit.settings["network"]
    )
    return [trained.teacher()] if len(taught) == 1 else [trained.teacher(i) for i in range(len(taught))]


def run(unit: Unit) -> Result:
    """Carry out a unit of work by the protocol."""
    return run_unit(unit, make_cohorts=protocol_cohorts, make_teachers=train)


def panel(
    pool: dict[str, Any], budget: int, passes: int, iterations: int, hidden: Sequence[int] | None = None
) -> dict[str, Any]:
    """A panel: one-output sigmoid learners, and teachers trained on 40 steps of two learners at once.

    Two learners are the fewest for which batch normalisation has something to normalise.

    Args:
        pool: pool of the task.
        budget: teaching steps.
        passes: over the train rows, for w*.
        iterations: of the teachers' training.
        hidden: hidden layers without batch normalisation (None: the paper's network).
    """
    return {
        "task": protocol_task(pool, "logistic", budget, medium="perturb", medium_options={}),
        "methods": METHODS,
        "passes": passes,
        "training": {"iterations": iterations, "steps": 40, "learners": 2},
        "network": {} if hidden is None else {"hidden": list(hidden), "batch_norm": False},
    }


def _nearer(first: str, *others: str) -> tuple[Comparison, ...]:
    return tuple(
        Comparison(first, "below", other, metric="normalized_distance", panel=name, at=(0.1, 0.5, 1.0))
        for name in PANELS
        for other in others
    )


_SAID = {
    "unrolled, detached, loss": "auxiliary loss of weight 1, no back-propagation through time: the released settings",
    "unrolled, loss": "auxiliary loss of weight 1, full back-propagation: the paper's formula",
    "unrolled, detached": "no auxiliary loss, no back-propagation through time",
    "unrolled": "no auxiliary loss, full back-propagation",
}


def _claims() -> tuple[Claim, ...]:
    found = []
    for name, said in _SAID.items():
        found += [
            Claim(f"The learned policy outperforms SGD and IMT. [{said}]", _nearer(name, "SGD", "IMT")),
            Claim(f"The learned policy converges faster than the greedy policy. [{said}]", _nearer(name, "DHT")),
        ]
    for suffix, said in ((", loss", "auxiliary loss of weight 1"), ("", "no auxiliary loss")):
        statement = f"Full back-propagation converges faster than detached steps (not in the paper). [{said}]"
        found.append(Claim(statement, _nearer(f"unrolled{suffix}", f"unrolled, detached{suffix}")))
    return tuple(found)


FIG4 = Experiment(
    name="dht-fig4",
    title="The unrolled data transformation policy against SGD, IMT and greedy DHT",
    source="DHT, Figure 4",
    notes="The protocol is that of the authors' released settings: one-output sigmoid learner without bias; MNIST "
    "pixels binarised (at half brightness) and 200 test rows; the policy sees w / ||w||, its difference to "
    "w* / ||w*||, x and the label, its output is not constrained; 40 updates from w0, Adam 0.002. The auxiliary loss "
    "is the formula's sum over the 40 steps at weight 1: with the learning rate 0.001 a change of an example moves "
    "||w - w*||^2 far less than it moves that sum, so the policy is drawn to examples without loss, and those teach "
    "nothing; the same policies without that term are shown beside it. Greedy DHT draws labels "
    "uniformly and keeps x in one interval for all features, as in Figure 3. Policies are trained for 40 steps and "
    "teach 299. They are trained for the paper's 1,000 iterations. Its MNIST networks of 128-256-512-512-1024 units "
    "with batch normalisation are those of the paper scale; the laptop scale has 64-64 units.",
    scales={
        "smoke": {
            "seeds": 2,
            "panels": {
                PANELS[0]: panel({**HALF_MOONS, "pool_options": {**HALF_MOONS["pool_options"], "n": 50}}, 4, 2, 2),
                PANELS[1]: panel(SMALL_DIGITS, 4, 2, 2, (8,)),
            },
        },
        "laptop": {
            "seeds": 10,
            "panels": {
                PANELS[0]: panel(HALF_MOONS, 299, 29, 1000),
                PANELS[1]: panel(LEARNED_MNIST, 299, 29, 1000, (64, 64)),
            },
        },
        "paper": {
            "seeds": 10,
            "panels": {
                PANELS[0]: panel(HALF_MOONS, 299, 29, 1000),
                PANELS[1]: panel(LEARNED_MNIST, 299, 29, 1000),
            },
        },
    },
    units=panel_units,
    run=run,
    claims=_claims(),
    draw=panels_figure(
        "normalized_distance", "distance", "test_accuracy", logarithmic={"normalized_distance": False, "distance": True}
    ),
)
