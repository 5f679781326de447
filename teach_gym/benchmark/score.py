"""The teaching score, its aggregate over tasks, and their intervals.

The score of a teacher on a task is ``(D_passive - D) / (D_passive - D_reference)`` with D the mean over the seeds of
each teacher's runs: 0 is plain SGD on random examples, 1 the greedy oracle of that medium, and nothing is clipped. It
is a **ratio of means**, since the ratio of a single seed is huge where the reference happens to gain little. Seeds are
paired: run s of every teacher starts from the same learner and is offered the same examples. The interval is a
percentile bootstrap over the seeds that resamples all three teachers alike.

The score over several tasks is the **interquartile mean of the task scores**, with a stratified bootstrap: the seeds of
each task are resampled as above, and the interquartile mean of the resampled task scores is taken. So ``passive`` is
exactly 0 and the reference exactly 1 over tasks, too. Agarwal et al. ("Deep Reinforcement Learning at the Edge of the
Statistical Precipice", NeurIPS 2021) take the interquartile mean over single runs instead; with a scale that is itself
measured, this would give one teacher two scores that disagree.

Runs that end badly: a run that diverged, or whose distance is no finite number, has D = +inf. A teacher with such a run
has the score -inf. Where ``passive`` or the reference has one, or the reference gains nothing over ``passive``, there
is nothing to measure by: the score is NaN, and the task is left out of every aggregate. An interval is (NaN, NaN) if a
resample has no finite score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from teach_gym.errors import lookup_name, shown

Floats = npt.NDArray[np.float64]

KINDS = {
    "final": "distance to the target after the whole budget",
    "auc": "mean over iterations of the log distance (area under the log-distance curve)",
}
"""What D is, by name."""

RESAMPLES = 2000
_BLOCK = 2**18
"""Numbers drawn at a time for the bootstrap."""
CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """A value with its bootstrap interval; (nan, nan) where there is none."""

    value: float
    low: float
    high: float


class Paired(NamedTuple):
    """D of one task's runs, each (..., S) over the same S seeds."""

    passive: Floats
    reference: Floats
    teacher: Floats


def shortfall(curves: npt.ArrayLike, kind: str = "final", floor: float = 1e-12) -> Floats:
    """D of each run; smaller is better. It is +inf for a run whose distance at the end is no finite number.

    Args:
        curves: (..., H + 1) distances ||w - w*|| at iterations 0..H; None and NaN where they are no numbers.
        kind: ``final`` or ``auc``, see ``KINDS``.
        floor: distances below it count as equal to it, the task's tolerance; only ``auc`` needs it.

    Returns:
        (...).

    Raises:
        ValueError: unknown kind, or ``auc`` with a floor that is not positive.
    """
    lookup_name("score kind", kind, KINDS)
    distances = np.asarray(curves, dtype=np.float64)
    if kind == "final":
        found = distances[..., -1]
    elif floor > 0:
        found = np.log(np.maximum(distances, floor)).mean(-1)
    else:
        raise ValueError(f"floor must be > 0, got {shown(floor)}")
    return np.where(np.isfinite(found), found, np.inf)


def teaching_score(pairs: Paired) -> Floats:
    """The score, mean(D_passive - D) / mean(D_passive - D_reference): (..., S) -> (...).

    NaN where the mean gain of the reference is not a finite positive number.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        room = (pairs.passive - pairs.reference).mean(-1)
        gain = (pairs.passive - pairs.teacher).mean(-1)
        return np.asarray(np.where((room > 0) & np.isfinite(room), gain / room, np.nan))


def interquartile_mean(values: npt.ArrayLike) -> Floats:
    """Mean of what remains after cutting floor(n / 4) values at either end of the last axis: (..., n) -> (...).

    NaN where a value is NaN.
    """
    from scipy.stats import trim_mean  # takes half a second to import

    found = np.asarray(values, dtype=np.float64)
    return np.where(np.isnan(found).any(-1), np.nan, trim_mean(found, 0.25, axis=-1))


def resample(pairs: Paired, rng: np.random.Generator, resamples: int = RESAMPLES) -> Paired:
    """Bootstrap resamples of the seeds, the same for all three: (S,) -> (resamples, S)."""
    n = len(pairs.passive)
    rows = rng.integers(n, size=(resamples, n))
    return Paired(*(np.asarray(d)[rows] for d in pairs))


def resampled_scores(pairs: Paired, rng: np.random.Generator, resamples: int = RESAMPLES) -> Floats:
    """The teaching scores of ``resample``'s resamples, (resamples,), drawn a few at a time to spare memory."""
    few = max(1, _BLOCK // len(pairs.passive))
    sizes = [min(few, resamples - begin) for begin in range(0, resamples, few)]
    return np.concatenate([teaching_score(resample(pairs, rng, size)) for size in sizes])


def percentile_interval(samples: Floats, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Central percentiles of bootstrap samples (R,); (nan, nan) if any of them is not a finite number."""
    if not np.isfinite(samples).all():
        return float("nan"), float("nan")
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(samples, [tail, 100.0 - tail])
    return float(low), float(high)


def task_score(pairs: Paired, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """The teaching score of one task with its paired bootstrap interval over seeds.

    Args:
        pairs: D of the runs, (S,) each.
        resamples: number of bootstrap resamples.
        seed: seed of the bootstrap.
    """
    value = float(teaching_score(pairs))
    if len(pairs.passive) < 2:
        return Estimate(value, float("nan"), float("nan"))
    samples = resampled_scores(pairs, np.random.default_rng(seed), resamples)
    return Estimate(value, *percentile_interval(samples))


def training_score(pairs: Paired, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """The mean teaching score of an agent that was trained with several seeds.

    Its interval covers both sources of randomness: the bootstrap resamples training seeds and, alike for all of them,
    evaluation seeds.

    Args:
        pairs: D of the runs, (S,) of the references and (T, S) of the T trainings.
        resamples: number of bootstrap resamples.
        seed: seed of the bootstrap.
    """
    value = float(teaching_score(pairs).mean())
    trainings, n = np.shape(pairs.teacher)
    if n < 2:
        return Estimate(value, float("nan"), float("nan"))
    rng, samples = np.random.default_rng(seed), np.empty(resamples)
    for i in range(resamples):
        rows, chosen = rng.integers(n, size=n), rng.integers(trainings, size=trainings)
        drawn = Paired(pairs.passive[rows], pairs.reference[rows], pairs.teacher[chosen][:, rows].mean(0))
        samples[i] = teaching_score(drawn)
    return Estimate(value, *percentile_interval(samples))


def aggregate_score(tasks: Sequence[Paired], resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """The interquartile mean of the scores of several tasks, with its stratified bootstrap interval.

    Args:
        tasks: D of the runs of each task, (S,) each; the number of seeds may differ between tasks.
        resamples: number of bootstrap resamples.
        seed: seed of the bootstrap.

    Raises:
        ValueError: no task.
    """
    if not tasks:
        raise ValueError("aggregate_score needs at least one task, got none")
    value = float(interquartile_mean([teaching_score(pairs) for pairs in tasks]))
    if min(len(pairs.passive) for pairs in tasks) < 2:
        return Estimate(value, float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    drawn = np.stack([resampled_scores(pairs, rng, resamples) for pairs in tasks], axis=-1)
    return Estimate(value, *percentile_interval(interquartile_mean(drawn)))
