"""DHT Table 1: mixup teaching of a simple CNN on CIFAR-10, by baselines, unrolling and policy gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from teach_gym.errors import lookup_name
from teach_gym.markdown import markdown_table
from teach_gym.papers.claims import Claim, Comparison, paired_interval
from teach_gym.papers.curves import Curves, Row, rows_of
from teach_gym.papers.engine import Experiment, PlainValues, Result, Unit, groups
from teach_gym.papers.figures import panels_figure
from teach_gym.papers.performative_panels import ACCURACY

if TYPE_CHECKING:
    from teach_gym.neural.images import ImagePool
    from teach_gym.neural.mixup_policies import Policy
    from teach_gym.neural.mixup_spec import MixupSpec

PUBLISHED = {"ERM": 61.75, "cMixup": 66.27, "dMixup": 65.80, "Unrolling": 65.18, "Policy gradient": 67.64}
"""DHT Table 1: test accuracy in per cent."""
FINITE = "Unrolling (finite difference)"
VALIDATION = "validation_accuracy"
STACK = 5
"""Seeds that are trained as one stack."""
SMOKE: dict[str, Any] = {
    "pool": "patterns",
    "pool_options": {"n": 200, "size": 8},
    "validation": 60,
    "epochs": 2,
    "batch_size": 20,
    "look_every": 5,
    "network_options": {"filters": [4, 4], "features": 8},
}
LAPTOP: dict[str, Any] = {
    "shrink": 2,
    "images": 500,
    "validation": 1000,
    "epochs": 30,
    "batch_size": 50,
    "learning_rate": 0.003,
    "network_options": {"filters": [8, 16], "features": 64},
}


def methods(learning: Mapping[str, Any], teacher_rate: float) -> dict[str, dict[str, Any]]:
    """The methods of Table 1; see ``settings``."""
    return {
        "ERM": {"policy": "erm"},
        "cMixup": {"policy": "cmixup", "alpha": 1.0},
        "dMixup": {"policy": "dmixup"},
        "Unrolling": {"policy": "unrolling", "exact": True, "learning_rate": teacher_rate},
        FINITE: {"policy": "unrolling", "exact": False, "learning_rate": teacher_rate},
        "Policy gradient": {"policy": "policy_gradient", "learning_rate": 0.01, "dropout": 0.1, **learning},
    }


def settings(
    seeds: int, training: Mapping[str, Any], record_epochs: int, learning: Mapping[str, Any], teacher_rate: float
) -> dict[str, Any]:
    """Settings of a scale.

    Args:
        seeds: default number of seeds.
        training: arguments of ``MixupSpec``.
        record_epochs: epochs between the points of the curves.
        learning: ``updates`` and ``episodes`` of the policy gradient.
        teacher_rate: the unrolled teacher's learning rate.
    """
    return {
        "seeds": seeds,
        "training": dict(training),
        "record_epochs": record_epochs,
        "methods": methods(learning, teacher_rate),
    }


def units(name: str, chosen: PlainValues, seeds: Sequence[int]) -> list[Unit]:
    """A unit of work for each method and group of seeds, which are trained as one stack."""
    shared = {key: chosen[key] for key in ("training", "record_epochs")}
    return [
        Unit(name, "", method, group, {**shared, "method": options})
        for group in groups(seeds, STACK)
        for method, options in chosen["methods"].items()
    ]


def make_policy(
    options: Mapping[str, Any], seeds: Sequence[int], spec: MixupSpec, pool: ImagePool, folder: Path
) -> Policy:
    """The policy of a method; that of policy gradient is trained first, with checkpoints in a folder.

    Raises:
        ValueError: unknown name.
    """
    from teach_gym.neural import mixup_policies as policies
    from teach_gym.neural.mixup import Trainings

    makers: dict[str, Callable[..., Policy]] = {
        "erm": lambda: policies.erm,
        "cmixup": lambda **given: policies.cmixup(seeds, **given),
        "dmixup": lambda: policies.dmixup(seeds),
        "unrolling": lambda **given: policies.Unrolling(seeds, **given),
        "policy_gradient": lambda **given: policies.learn_policy(
            lambda n: Trainings(spec, pool, n), seeds, folder=folder, **given
        ),
    }
    given = {name: value for name, value in options.items() if name != "policy"}
    return lookup_name("policy", options["policy"], makers)(**given)


def run(unit: Unit, folder: Path) -> Result:
    """Train one learner per seed; see ``train``."""
    return Result(train(unit, unit.settings["record_epochs"], folder), {})


def train(unit: Unit, record_epochs: int, folder: Path) -> list[Row]:
    """Train one learner per seed; rows of accuracies (per cent), losses and the amount of mixing.

    Args:
        unit: the unit of work.
        record_epochs: epochs between the points of the curves.
        folder: for checkpoints of the policy gradient.

    Raises:
        FloatingPointError: a training diverged.
    """
    from teach_gym.neural.mixup import Trainings, mixing
    from teach_gym.neural.mixup_policies import teach
    from teach_gym.neural.mixup_spec import MixupSpec, load_images

    spec = MixupSpec(**unit.settings["training"])
    pool, test = load_images(spec)
    policy = make_policy(unit.settings["method"], unit.seeds, spec, pool, folder)
    trainings = Trainings(spec, pool, len(unit.seeds))
    every = record_epochs * trainings.n_batches
    iterations: list[int] = []
    found: dict[str, list[Any]] = {name: [] for name in (ACCURACY, VALIDATION, "train_loss", "mixing")}
    losses, mixed = [], []

    def watch(coefficient: Any) -> None:
        losses.append(trainings.loss)
        mixed.append(mixing(coefficient))
        t = int(trainings.t[0])
        if t % every == 0 or t == trainings.horizon:
            iterations.append(t)
            found[ACCURACY].append(100.0 * trainings.look(test)[1])
            found[VALIDATION].append(100.0 * trainings.look()[1])
            for name, values in (("train_loss", losses), ("mixing", mixed)):
                found[name].append(np.mean(values, axis=0))
                values.clear()

    teach(trainings, unit.seeds, policy, watch)
    return [
        row
        for name, values in found.items()
        for row in rows_of(unit.label, unit.method, name, unit.seeds, iterations, np.transpose(values))
    ]


def table(curves: Curves) -> str:
    """A Markdown table of the final test accuracies and the paper's."""
    rows = []
    for method in curves.methods("", ACCURACY):
        mean, low, high = paired_interval(curves.get("", method, ACCURACY).values[:, -1])
        validation = curves.get("", method, VALIDATION).values[:, -1].mean()
        mixing = curves.get("", method, "mixing").values.mean()
        published = f"{PUBLISHED[method]:.2f}" if method in PUBLISHED else "-"
        rows.append((method, published, f"{mean:.2f} [{low:.2f}, {high:.2f}]", f"{validation:.2f}", f"{mixing:.2f}"))
    return markdown_table(("method", "DHT Table 1", "here (95 % interval)", "validation", "mixing"), rows, "l")


def _above(first: str, *others: str) -> tuple[Comparison, ...]:
    return tuple(Comparison(first, "above", second, metric=ACCURACY) for second in others)


TABLE1 = Experiment(
    name="dht-table1",
    title="Mixup teaching of a simple CNN on CIFAR-10",
    source="DHT, Table 1 and appendix B",
    notes="The paper does not give its CNN, learning rate, Beta parameter or validation split: here two 3x3 "
    "convolutions with max pooling and a hidden layer, Adam at 0.001 (0.003 at the laptop scale), c ~ Beta(1, 1), "
    "no augmentation; 5,000 training images are held out for validation at the paper scale. CIFAR-10 is the JPEG "
    "version, so absolute numbers differ a little. One coefficient per mini-batch mixes two mini-batches drawn "
    "independently, so c = 0 shows the second one. Unrolling is second order as the paper's, with DARTS' finite "
    "difference as a comparison (DARTS' first order, xi = 0, has no gradient here). The policy gradient takes "
    "an Adam step after `episodes` whole trainings per policy, whose final validation accuracies are compared "
    "with each other; the paper, whose accounts of this differ, takes a step after every two epochs. Learned "
    "policies are judged on learners they were not learned on. The laptop scale trains a narrower CNN on few "
    "images, halved in size, so it can show an order but not the paper's numbers. `mixing` is the mean of 4 c (1 "
    "- c): 1 where everything is mixed half and half, 0 where nothing is mixed.",
    scales={
        "smoke": settings(
            2,
            SMOKE,
            1,
            {"updates": 2, "episodes": 2},
            0.01,
        ),
        "laptop": settings(
            10,
            LAPTOP,
            5,
            {"updates": 8, "episodes": 4},
            0.01,
        ),
        "paper": settings(10, {"device": "cuda"}, 2, {"updates": 25, "episodes": 4}, 0.001),
    },
    units=units,
    run=run,
    claims=(
        Claim(
            "Mixup with random coefficients, continuous or discrete, beats ERM.",
            (*_above("cMixup", "ERM"), *_above("dMixup", "ERM")),
        ),
        Claim("Unrolling beats ERM.", _above("Unrolling", "ERM")),
        Claim(
            "Unrolling does not reach mixup with random coefficients.",
            (*_above("cMixup", "Unrolling"), *_above("dMixup", "Unrolling")),
        ),
        Claim(
            "Policy gradient is best.",
            _above("Policy gradient", "ERM", "cMixup", "dMixup", "Unrolling"),
        ),
    ),
    draw=panels_figure(ACCURACY, "train_loss", "mixing"),
    table=table,
    checkpoints=True,
)
