"""Claims on made-up curves whose verdict is known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from teach_gym.benchmark.score import RESAMPLES
from teach_gym.papers.claims import (
    FAILS,
    HOLDS,
    NOT_JUDGED,
    RELATIONS,
    RESOLUTION,
    TIE,
    UNDECIDED,
    Claim,
    Comparison,
    compare,
    judge,
    paired_interval,
    sign_test,
)
from teach_gym.papers.curves import Curves, Row, rows_of

Floats = npt.NDArray[np.float64]


def curves(
    methods: dict[str, Floats], iterations: Iterable[int] = (0, 10), panel: str = "", metric: str = "distance"
) -> Curves:
    """Curves of methods with values (S,) at every iteration, or (S, T)."""
    rows: list[Row] = []
    times = list(iterations)
    for name, values in methods.items():
        table = np.repeat(values[:, None], len(times), axis=1) if values.ndim == 1 else values
        label = f"made-up/{panel}" if panel else "made-up"
        rows += rows_of(label, name, metric, range(len(values)), times, table)
    return Curves(rows)


def verdict(first: Floats, second: Floats, relation: str = "below", **options: Any) -> str:
    [finding] = compare(Comparison("a", relation, "b", **options), curves({"a": first, "b": second}))
    return finding.verdict


@pytest.fixture
def seeds(rng: np.random.Generator) -> Floats:
    """What twelve seeds have in common, much larger than the differences tested."""
    return np.asarray(rng.uniform(10.0, 100.0, 12))


@pytest.mark.parametrize("options", [{}, {"statistic": "median"}, {"statistic": "sign"}, {"scale": "log"}])
def test_a_difference_in_every_seed_holds_and_its_opposite_does_not(
    seeds: Floats, rng: np.random.Generator, options: dict[str, Any]
) -> None:
    lower = seeds * rng.uniform(0.9, 0.98, len(seeds))
    assert verdict(lower, seeds, **options) == HOLDS
    assert verdict(seeds, lower, **options) == FAILS
    assert verdict(seeds, lower, "above", **options) == HOLDS
    assert verdict(lower, seeds, "above", **options) == FAILS


@pytest.mark.parametrize("statistic", ["mean", "median", "sign"])
def test_differences_of_both_signs_are_undecided(seeds: Floats, statistic: str) -> None:
    balanced = np.resize([3.0, -3.0], len(seeds))
    for relation in ("below", "above"):
        assert verdict(seeds + balanced, seeds, relation, statistic=statistic) == UNDECIDED


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_differences_below_a_hundredth_of_the_start_are_ties(seeds: Floats, scale: str) -> None:
    """Learners start at ``seeds`` and are then at a share of that, with a gap of a little less or more."""

    def found(gap: float, share: float, metric: str = "distance") -> str:
        a, b = (np.stack([seeds, level * seeds], axis=1) for level in (share, share + gap))
        [finding] = compare(
            Comparison("a", "below", "b", metric=metric, scale=scale), curves({"a": a, "b": b}, metric=metric)
        )
        return finding.verdict

    for share in (0.8, 1e-4):
        assert found(0.9 * RESOLUTION, share) == TIE
        assert found(1.1 * RESOLUTION, share) == HOLDS
    assert found(0.9 * RESOLUTION, 0.8, "train_loss") == TIE
    assert found(0.9 * RESOLUTION, 0.8, "test_accuracy") == HOLDS, "accuracies have no start to be measured by"
    assert verdict(seeds, seeds) == TIE


def test_small_values_count_as_a_hundredth_of_the_start_on_the_log_scale(seeds: Floats) -> None:
    a, b = (np.stack([seeds, level * seeds], axis=1) for level in (1e-9, 0.1))
    [finding] = compare(Comparison("a", "below", "b", scale="log"), curves({"a": a, "b": b}))
    assert finding.difference.value == pytest.approx(math.log(10.0))


def test_not_worse_is_one_sided(seeds: Floats, rng: np.random.Generator) -> None:
    noise = rng.uniform(0.98, 1.02, len(seeds))
    for share, expected in ((0.01, HOLDS), (1.0, HOLDS), (1.9, HOLDS), (2.2, FAILS)):
        assert verdict(share * noise * seeds, seeds, "not_worse") == expected
    assert verdict(np.resize([1.0, 4.0], len(seeds)) * seeds, seeds, "not_worse") == UNDECIDED


def test_a_claim_whose_requirement_fails_is_not_judged(seeds: Floats) -> None:
    found = curves({"low": 0.5 * seeds, "mid": seeds, "high": 2.0 * seeds})
    claim = Comparison("low", "below", "mid")
    for required, expected in (("below", HOLDS), ("above", NOT_JUDGED)):
        outcome = judge(Claim("x", (claim,), requires=(Comparison("mid", required, "high"),)), found)
        assert outcome.verdict == expected and len(outcome.findings) == 2


def test_few_seeds_decide_nothing() -> None:
    nine = np.arange(9.0)
    assert verdict(nine, nine + 1.0) == UNDECIDED
    assert verdict(np.arange(10.0), np.arange(10.0) + 1.0) == HOLDS
    [finding] = compare(Comparison("a", "below", "b"), curves({"a": nine, "b": nine + 1.0}))
    assert finding.remark == "9 seeds, at least 10 are needed" and finding.n == 9
    [finding] = compare(Comparison("a", "below", "b"), curves({"a": nine[:1], "b": nine[:1]}))
    assert finding.verdict == UNDECIDED and math.isnan(finding.difference.value)


def test_the_interval_is_scipys_percentile_bootstrap(rng: np.random.Generator) -> None:
    from scipy.stats import bootstrap

    values = rng.exponential(1.0, 15) - 0.4
    for statistic, function in (("mean", np.mean), ("median", np.median)):
        found = paired_interval(values, statistic)
        assert found.value == pytest.approx(function(values))
        draw = bootstrap(
            (values,), function, method="percentile", n_resamples=20_000, random_state=np.random.default_rng(1)
        )
        width = draw.confidence_interval.high - draw.confidence_interval.low
        assert found.low == pytest.approx(draw.confidence_interval.low, abs=0.1 * width)
        assert found.high == pytest.approx(draw.confidence_interval.high, abs=0.1 * width)


def test_the_interval_covers_the_truth_as_often_as_bootstraps_do(rng: np.random.Generator) -> None:
    """95 % intervals of 20 normal differences: coverage of the percentile bootstrap is about 93 %."""
    hits = [f.low <= 0.3 <= f.high for f in (paired_interval(rng.normal(0.3, 1.0, 20)) for _ in range(300))]
    assert 0.88 <= np.mean(hits) <= 0.98 and RESAMPLES >= 1000


def test_the_sign_test_counts_coin_tosses(rng: np.random.Generator) -> None:
    for wins, losses, ties in ((10, 0, 0), (9, 1, 3), (7, 5, 0), (3, 9, 1), (0, 0, 5)):
        n = wins + losses
        likelihood = [math.comb(n, k) / 2.0**n for k in range(n + 1)]
        expected = sum(p for p in likelihood if p <= likelihood[wins] * (1 + 1e-9)) if n else 1.0
        values = np.concatenate([rng.uniform(1, 2, wins), -rng.uniform(1, 2, losses), np.zeros(ties)])
        assert sign_test(values) == pytest.approx(expected)


def test_comparable_means_within_a_factor(seeds: Floats, rng: np.random.Generator) -> None:
    noise = rng.uniform(0.98, 1.02, len(seeds))
    assert verdict(1.5 * noise * seeds, seeds, "comparable") == HOLDS
    assert verdict(seeds / 1.5 * noise, seeds, "comparable") == HOLDS
    assert verdict(3.0 * noise * seeds, seeds, "comparable") == FAILS
    assert verdict(seeds / 3.0 * noise, seeds, "comparable") == FAILS
    assert verdict(3.0 * noise * seeds, seeds, "comparable", factor=4.0) == HOLDS
    wide = np.resize([1.0, 4.0], len(seeds))
    assert verdict(wide * seeds, seeds, "comparable") == UNDECIDED


def test_at_least_is_refuted_by_one_value_below() -> None:
    values = np.full((12, 2), 3.0)
    values[3, 1] = 2.0
    asked = Comparison("a", "at_least", 2.0)
    assert compare(asked, curves({"a": values}))[0].verdict == HOLDS
    assert compare(asked, curves({"a": values[:9]}))[0].verdict == UNDECIDED
    values[3, 1] = 1.99
    [finding] = compare(asked, curves({"a": values}))
    assert finding.verdict == FAILS and finding.difference.value == pytest.approx(23 / 24)
    with pytest.raises(ValueError, match="'at_least' compares with a number"):
        Comparison("a", "at_least", "b")


def test_always_is_about_every_seed_and_iteration() -> None:
    values = np.ones((11, 3))
    asked = Comparison("a", "always", 1.0)
    [finding] = compare(asked, curves({"a": values}, (0, 5, 9)))
    assert finding.verdict == HOLDS and finding.difference.value == 1.0 and finding.iteration == 9
    values[4, 1] = 0.0
    [finding] = compare(asked, curves({"a": values}, (0, 5, 9)))
    assert finding.verdict == FAILS and finding.difference.value == pytest.approx(32 / 33)
    [finding] = compare(asked, curves({"a": values[:3]}, (0, 5, 9)))
    assert finding.verdict == UNDECIDED


def test_a_number_can_be_compared_with(seeds: Floats) -> None:
    found = curves({"a": seeds}, metric="value")
    for number, expected in ((seeds.min() - 1.0, FAILS), (seeds.max() + 1.0, HOLDS), (seeds.mean(), UNDECIDED)):
        assert compare(Comparison("a", "below", float(number), metric="value"), found)[0].verdict == expected


def test_iterations_are_the_recorded_ones_nearest_to_the_fractions(seeds: Floats) -> None:
    times = (0, 6, 12, 18, 24, 30)
    falling = seeds[:, None] * np.linspace(1.0, 0.5, len(times))
    found = compare(
        Comparison("a", "below", "b", at=(0.0, 0.41, 1.0)),
        curves({"a": falling, "b": np.repeat(seeds[:, None], len(times), axis=1)}, times),
    )
    assert [finding.iteration for finding in found] == [0, 12, 30]
    assert [finding.verdict for finding in found] == [TIE, HOLDS, HOLDS]
    assert found[1].first == pytest.approx(falling[:, 2].mean())


def test_seeds_are_paired_by_number_not_by_place(seeds: Floats) -> None:
    rows = [Row("made-up", "a", s, 0, "distance", v) for s, v in enumerate(seeds)]
    rows += [Row("made-up", "b", s, 0, "distance", seeds[s] + 1.5) for s in reversed(range(len(seeds)))]
    rows += [Row("made-up", "b", 99, 0, "distance", 0.0)]
    [finding] = compare(Comparison("a", "below", "b"), Curves(rows))
    assert finding.n == len(seeds) and finding.difference.value == pytest.approx(1.5)
    assert finding.difference.low == pytest.approx(1.5)


def test_diverged_learners_count_as_infinitely_far(seeds: Floats) -> None:
    diverged = seeds.copy()
    diverged[:] = np.inf
    [finding] = compare(Comparison("a", "below", "b"), curves({"a": seeds, "b": diverged}))
    assert finding.verdict == HOLDS and finding.remark == "sign test: infinite values"
    assert verdict(diverged, diverged) == TIE
    assert json.loads(
        json.dumps(
            judge(Claim("x", (Comparison("a", "below", "b"),)), curves({"a": seeds, "b": diverged})).to_json(),
            allow_nan=False,
        )
    )


def test_missing_values_are_left_out(seeds: Floats) -> None:
    holes = seeds - 2.0
    holes[3] = np.nan
    [finding] = compare(Comparison("a", "below", "b"), curves({"a": holes, "b": seeds}))
    assert finding.n == len(seeds) - 1 and finding.verdict == HOLDS


def test_rounding_errors_are_no_difference_on_the_log_scale(seeds: Floats) -> None:
    asked: dict[str, Any] = {"metric": "value", "scale": "log"}
    for low, high, expected in ((1e-17, 1e-13, TIE), (1e-13, 1e-6, HOLDS)):
        found = curves({"a": low * seeds, "b": high * seeds}, metric="value")
        assert compare(Comparison("a", "below", "b", **asked), found)[0].verdict == expected


def test_a_claim_holds_if_all_its_comparisons_do(seeds: Floats) -> None:
    mixed = seeds + np.resize([3.0, -3.0], len(seeds))
    found = curves({"low": seeds - 2.0, "mid": seeds, "same": seeds, "high": seeds + 2.0, "mixed": mixed})
    holds, fails = Comparison("low", "below", "mid"), Comparison("high", "below", "mid")
    tied, open_ = Comparison("mid", "below", "same"), Comparison("mixed", "below", "mid")
    cases: list[tuple[tuple[Comparison, ...], str]] = [
        ((holds,), HOLDS),
        ((holds, tied), HOLDS),
        ((tied,), TIE),
        ((holds, tied, open_), UNDECIDED),
        ((holds, open_, fails), FAILS),
        ((fails,), FAILS),
    ]
    for comparisons, expected in cases:
        assert judge(Claim("x", comparisons), found).verdict == expected


def test_unknown_curves_are_named() -> None:
    found = curves({"a": np.ones(10)}, panel="moons")
    with pytest.raises(ValueError, match=r"unknown curve 'moons \| aa \| distance'.*did you mean"):
        compare(Comparison("aa", "below", 1.0, panel="moons"), found)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Comparison("a", "under", "b"), "unknown relation 'under'.*above, always, at_least, below, comparable"),
        (lambda: Comparison("a", "below", "b", statistic="mode"), "unknown statistic 'mode'"),
        (lambda: Comparison("a", "below", "b", scale="cubic"), "unknown scale of differences 'cubic'"),
        (lambda: Comparison("a", "below", "b", at=()), "at must be fractions"),
        (lambda: Comparison("a", "below", "b", at=(300.0,)), "at must be fractions.*300"),
        (lambda: Comparison("a", "always", "b"), "compares with a number, got 'b'"),
        (lambda: Comparison("a", "comparable", "b", factor=1.0), "factor must be > 1"),
    ],
)
def test_comparisons_that_make_no_sense(build: Callable[[], Comparison], message: str) -> None:
    assert "under" not in RELATIONS
    with pytest.raises(ValueError, match=message):
        build()
