from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from teach_gym.benchmark.score import (
    Paired,
    aggregate_score,
    interquartile_mean,
    percentile_interval,
    resample,
    resampled_scores,
    shortfall,
    task_score,
    teaching_score,
    training_score,
)


def pairs(passive: list[float], reference: list[float], teacher: list[float]) -> Paired:
    return Paired(*(np.array(values, dtype=float) for values in (passive, reference, teacher)))


def normal_pairs(rng: np.random.Generator, n: int, score: float) -> Paired:
    """Runs of a task on which the true score is ``score``; luck is shared by the runs of a seed."""
    luck = rng.normal(0.0, 1.0, n)
    passive = 10.0 + luck + rng.normal(0.0, 0.3, n)
    reference = 6.0 + luck + rng.normal(0.0, 0.3, n)
    teacher = 10.0 - 4.0 * score + luck + rng.normal(0.0, 0.3, n)
    return Paired(passive, reference, teacher)


def test_score_by_hand() -> None:
    # gains 1 and 5 of the teacher, 2 and 4 of the reference: (1 + 5) / (2 + 4)
    given = pairs([4, 6], [2, 2], [3, 1])
    assert teaching_score(given) == pytest.approx(1.0)
    assert teaching_score(pairs([4, 6], [2, 2], [4, 6])) == 0.0
    assert teaching_score(pairs([4, 6], [2, 2], [2, 2])) == 1.0
    assert teaching_score(pairs([4, 6], [2, 2], [8, 8])) == pytest.approx(-1.0), "nothing is clipped"


def test_one_unlucky_seed_does_not_blow_the_score_up() -> None:
    # on the second seed the reference gains next to nothing: the per-seed ratios are 1 and 1e6
    given = pairs([2, 1], [1, 1 - 1e-6], [1, 0])
    assert teaching_score(given) == pytest.approx(2.0, rel=1e-5)


def test_score_is_undefined_where_the_reference_gains_nothing() -> None:
    assert np.isnan(teaching_score(pairs([1, 1], [1, 1], [0, 0])))
    estimate = task_score(pairs([1, 1], [2, 1], [0, 0]))
    assert np.isnan(estimate.value) and np.isnan(estimate.low)


def test_a_teacher_with_a_diverged_run_has_the_score_minus_infinity() -> None:
    given = pairs([2, 2, 2, 2, 2], [1, 1, 1, 1, 1], [1, 1, 1, 1, np.inf])
    assert task_score(given).value == -np.inf
    assert np.isnan(task_score(given).low)
    good = pairs([2, 2], [1, 1], [1, 1])
    assert aggregate_score([given, good, good, good]).value == 1.0, "the interquartile mean cuts one task of four"
    assert aggregate_score([given, good]).value == -np.inf


@pytest.mark.parametrize("lost", ["passive", "reference"])
def test_there_is_no_score_where_a_run_that_scores_are_measured_by_diverged(lost: str) -> None:
    given = pairs([2, 2, 2], [1, 1, 1], [1, 1, 1])
    given = given._replace(**{lost: np.array([2.0, np.inf, 1.0])})
    assert np.isnan(teaching_score(given)) and np.isnan(task_score(given)).all()
    assert np.isnan(aggregate_score([given, pairs([2, 2], [1, 1], [1, 1])]).value)


def test_a_distance_that_is_no_number_counts_as_infinite() -> None:
    curves = [[2.0, 1.0], [2.0, None], [2.0, float("nan")], [2.0, float("inf")]]
    assert shortfall(curves) == pytest.approx([1.0, np.inf, np.inf, np.inf])
    assert shortfall(curves, "auc") == pytest.approx([np.log(2.0) / 2, np.inf, np.inf, np.inf])


def test_shortfall() -> None:
    curves = np.array([[np.e**2, np.e, 1.0], [1.0, 1e-9, 0.0]])
    assert shortfall(curves) == pytest.approx([1.0, 0.0])
    assert shortfall(curves, "auc", floor=np.e**-3) == pytest.approx([1.0, (0 - 3 - 3) / 3])
    with pytest.raises(ValueError, match=r"unknown score kind 'fnal'.*did you mean 'final'"):
        shortfall(curves, "fnal")
    with pytest.raises(ValueError, match="floor must be > 0"):
        shortfall(curves, "auc", floor=0.0)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 8, 40, 121])
def test_interquartile_mean_is_scipys(n: int, rng: np.random.Generator) -> None:
    values = rng.standard_t(2, (6, n))
    assert interquartile_mean(values) == pytest.approx([stats.trim_mean(row, 0.25) for row in values])


def test_interquartile_mean_of_nan_is_nan() -> None:
    values = np.array([[1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 2.0, np.nan, 4.0, 5.0]])
    assert interquartile_mean(values)[0] == 3.0 and np.isnan(interquartile_mean(values)[1])


def test_a_task_whose_room_some_resamples_lose_has_no_interval() -> None:
    narrow = pairs([2, 2, 2, 2], [1, 1, 1, 4], [1, 1, 2, 2])
    assert task_score(narrow).value == 2.0 and np.isnan(task_score(narrow).low)
    assert np.isnan(aggregate_score([narrow, narrow]).low) and aggregate_score([narrow, narrow]).value == 2.0


def test_task_interval_is_scipys_paired_percentile_bootstrap(rng: np.random.Generator) -> None:
    given = normal_pairs(rng, 12, 0.7)

    def ratio(p: np.ndarray, g: np.ndarray, t: np.ndarray, axis: int = -1) -> np.ndarray:
        return (p - t).mean(axis) / (p - g).mean(axis)

    theirs = stats.bootstrap(given, ratio, paired=True, method="percentile", n_resamples=20_000, rng=1)
    ours = task_score(given, resamples=20_000)
    assert ours.value == pytest.approx(ratio(*given))
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.06 * width)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.06 * width)


def test_aggregate_is_the_trimmed_mean_of_the_task_scores_resampled_within_tasks(rng: np.random.Generator) -> None:
    tasks = [normal_pairs(rng, n, score) for n, score in ((10, 0.2), (6, 0.9), (8, 1.5), (9, -3.0), (7, 0.7))]

    def ratio(given: Paired, rows: np.ndarray | slice) -> float:
        p, r, t = (d[rows] for d in given)
        return float((p - t).mean() / (p - r).mean())

    def over_tasks(scores: list[float]) -> float:
        return float(stats.trim_mean(scores, 0.25))

    samples = [
        over_tasks([ratio(g, rng.integers(len(g.passive), size=len(g.passive))) for g in tasks]) for _ in range(2000)
    ]
    low, high = np.percentile(samples, [2.5, 97.5])
    ours = aggregate_score(tasks, resamples=4000)
    assert ours.value == pytest.approx(over_tasks([ratio(g, slice(None)) for g in tasks]))
    assert ours.low == pytest.approx(low, abs=0.1 * (high - low))
    assert ours.high == pytest.approx(high, abs=0.1 * (high - low))


def test_over_tasks_too_the_passive_teacher_is_0_and_the_reference_1(rng: np.random.Generator) -> None:
    tasks = [normal_pairs(rng, 10, 0.5) for _ in range(6)]
    for name, score in (("passive", 0.0), ("reference", 1.0)):
        same = [given._replace(teacher=getattr(given, name)) for given in tasks]
        assert aggregate_score(same) == pytest.approx((score, score, score))


@pytest.mark.parametrize("score", [0.0, 0.8])
def test_intervals_cover_the_true_score_about_as_often_as_they_say(score: float, rng: np.random.Generator) -> None:
    covered = 0
    for _ in range(400):
        estimate = task_score(normal_pairs(rng, 30, score), resamples=400)
        covered += estimate.low <= score <= estimate.high
    # 95 % nominal; the percentile bootstrap of 30 seeds is a little short; 4 standard errors are 0.044
    assert 0.88 <= covered / 400 <= 0.985


def test_intervals_repeat_and_narrow_with_the_number_of_seeds(rng: np.random.Generator) -> None:
    few, many = normal_pairs(rng, 10, 0.5), normal_pairs(rng, 160, 0.5)
    assert task_score(few) == task_score(few) != task_score(few, seed=1)
    width = [estimate.high - estimate.low for estimate in (task_score(few), task_score(many))]
    assert width[1] < 0.5 * width[0]


def test_resampling_keeps_seeds_paired(rng: np.random.Generator) -> None:
    passive = rng.normal(size=9)
    drawn = resample(Paired(passive, passive - 1.0, passive - 2.0), rng, 50)
    assert drawn.passive.shape == (50, 9)
    assert drawn.passive - drawn.reference == pytest.approx(np.ones((50, 9)))
    assert drawn.passive - drawn.teacher == pytest.approx(np.full((50, 9), 2.0))
    assert set(drawn.passive.ravel()) <= set(passive)


def test_many_seeds_are_resampled_a_few_times_at_a_time_with_the_same_result(rng: np.random.Generator) -> None:
    many = normal_pairs(rng, 30_001, 0.5)
    at_once = teaching_score(resample(many, np.random.default_rng(3), 20))
    assert np.array_equal(resampled_scores(many, np.random.default_rng(3), 20), at_once)


def test_one_seed_has_no_interval_and_no_task_no_aggregate() -> None:
    single = pairs([2], [1], [1.5])
    assert task_score(single).value == pytest.approx(0.5)
    assert np.isnan(task_score(single).low) and np.isnan(aggregate_score([single]).high)
    with pytest.raises(ValueError, match="at least one task"):
        aggregate_score([])


def test_percentile_interval() -> None:
    assert percentile_interval(np.arange(101.0)) == pytest.approx((2.5, 97.5))
    assert all(np.isnan(percentile_interval(np.array([1.0, np.nan]))))


def test_training_score_is_the_mean_over_trainings_and_covers_both_sources_of_chance(rng: np.random.Generator) -> None:
    """Against the score of each training by itself, and a two-way random-effects model whose truth is known."""
    given = normal_pairs(rng, 200, 0.5)
    teachers = np.stack([given.teacher + shift for shift in (-0.4, 0.0, 0.4)])
    found = training_score(Paired(given.passive, given.reference, teachers))
    each = [task_score(Paired(given.passive, given.reference, t)).value for t in teachers]
    assert found.value == pytest.approx(np.mean(each))
    one = training_score(Paired(given.passive, given.reference, teachers[1:2]))
    assert one.low == pytest.approx(task_score(given).low, abs=0.02) and one.value == pytest.approx(each[1])
    covered = 0
    for _ in range(200):
        runs = normal_pairs(rng, 50, 0.8)
        many = runs.teacher + rng.normal(0.0, 0.5, (12, 1))
        estimate = training_score(Paired(runs.passive, runs.reference, many), resamples=300)
        covered += estimate.low <= 0.8 <= estimate.high
    assert 0.85 <= covered / 200 <= 0.99
