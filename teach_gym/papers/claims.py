"""Claims: comparisons of two methods, tested paired over seeds, with a verdict: holds, does not hold, undecided or tie.

Differences below ``RESOLUTION`` of the start are ties: they decide nothing. On the logarithmic scale, smaller distances
and losses count as that share of the start, so learners that have reached the target are not ranked.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from teach_gym.benchmark.score import CONFIDENCE, RESAMPLES, Estimate, percentile_interval
from teach_gym.errors import lookup_name, shown
from teach_gym.papers.curves import Curve, Curves

Floats = npt.NDArray[np.float64]

HOLDS, FAILS, UNDECIDED, TIE, NOT_JUDGED = "holds", "does not hold", "undecided", "tie", "not judged"
LEAST_SEEDS = 10
"""With fewer paired seeds every claim is undecided."""
RESOLUTION = 0.01
"""Share of the start, for distances and losses."""
ROUNDING = 1e-9
"""Tolerance for values without a start and for numbers that are compared exactly."""

RELATIONS = {
    "below": "smaller values than",
    "above": "larger values than",
    "comparable": "values within a factor of",
    "not_worse": "values of at most a given multiple of those of",
    "always": "at every recorded iteration of every seed the value",
    "at_least": "at every recorded iteration of every seed at least the value",
}
EVERYWHERE = ("always", "at_least")
"""Relations to a number that a single counterexample refutes."""
WITHIN = ("comparable", "not_worse")
"""Relations that concern the ratio of two values."""
STATISTICS = {
    "mean": "bootstrap interval of the mean paired difference",
    "median": "bootstrap interval of the median paired difference",
    "sign": "two-sided sign test",
}


@dataclass(frozen=True)
class Comparison:
    """Compares a method with another, or with a number, in one metric of one panel.

    Attributes:
        first: the first method.
        relation: a key of ``RELATIONS``: what ``first`` is said to have.
        second: another method, or a number (``always`` and ``at_least`` need a number).
        metric: the metric.
        panel: the panel.
        at: iterations as fractions of the last one; the nearest recorded iteration is used.
        statistic: a key of ``STATISTICS``.
        scale: ``linear``, or ``log``: differences of logarithms (ratios), which weight small and large distances alike.
        factor: ratios between 1 / factor and factor count as ``comparable``, ratios up to the factor as
            ``not_worse``.

    Raises:
        ValueError: an unknown name, no iteration, or a value out of range.
    """

    first: str
    relation: str
    second: str | float
    metric: str = "distance"
    panel: str = ""
    at: tuple[float, ...] = (1.0,)
    statistic: str = "mean"
    scale: str = "linear"
    factor: float = 2.0

    def __post_init__(self) -> None:
        lookup_name("relation", self.relation, RELATIONS)
        lookup_name("statistic", self.statistic, STATISTICS)
        lookup_name("scale of differences", self.scale, {"linear": 0, "log": 0})
        if not self.at or not all(0.0 <= fraction <= 1.0 for fraction in self.at):
            raise ValueError(f"at must be fractions of the last iteration in [0, 1], got {shown(self.at)}")
        if self.relation in EVERYWHERE and isinstance(self.second, str):
            raise ValueError(f"{self.relation!r} compares with a number, got {shown(self.second)}")
        if not 1.0 < self.factor < math.inf:
            raise ValueError(f"factor must be > 1 and finite, got {shown(self.factor)}")


@dataclass(frozen=True)
class Claim:
    """A statement and the comparisons that test it.

    It holds if at least one of them holds and the others hold or are tied. It does not hold if one does not.

    Attributes:
        statement: the paper's statement in words.
        comparisons: what tests it.
        requires: what must hold (or be tied) for the claim to be judged at all, for example that a teacher is trained.
    """

    statement: str
    comparisons: tuple[Comparison, ...]
    requires: tuple[Comparison, ...] = ()


class Finding(NamedTuple):
    """The outcome of a comparison at one iteration.

    Attributes:
        comparison: what was compared.
        iteration: where (the last one for relations of ``EVERYWHERE``).
        n: paired seeds.
        first: mean of the first method.
        second: mean of the second method, or the number.
        difference: mean (median) over seeds of what must be positive for ``below`` and ``above``; the mean logarithm
            of the ratio for relations of ``WITHIN``; the share of cases for those of ``EVERYWHERE``.
        p: p-value of the two-sided sign test; nan for relations of ``WITHIN`` and ``EVERYWHERE``.
        verdict: ``holds``, ``does not hold``, ``undecided`` or ``tie``.
        remark: why the verdict differs from that of the interval, if it does.
    """

    comparison: Comparison
    iteration: int
    n: int
    first: float
    second: float
    difference: Estimate
    p: float
    verdict: str
    remark: str = ""


class Verdict(NamedTuple):
    """The verdict on a claim with its findings, including those on what it requires."""

    statement: str
    verdict: str
    findings: list[Finding]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; numbers that are not finite become None."""
        found = []
        for finding in self.findings:
            numbers = {**finding._asdict(), **{"difference": None, "low": None, "high": None, "comparison": None}}
            numbers.update(zip(("difference", "low", "high"), finding.difference, strict=True))
            numbers = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in numbers.items()}
            found.append({**numbers, "comparison": asdict(finding.comparison)})
        return {"statement": self.statement, "verdict": self.verdict, "findings": found}


def paired_interval(differences: npt.ArrayLike, statistic: str = "mean", seed: int = 0) -> Estimate:
    """Mean or median of paired differences (S,) with its percentile bootstrap interval over seeds.

    Args:
        differences: one per seed.
        statistic: ``mean`` or ``median``.
        seed: seed of the bootstrap.
    """
    values = np.asarray(differences, dtype=np.float64)
    centre: Callable[..., Any] = np.median if statistic == "median" else np.mean
    rows = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    with np.errstate(invalid="ignore"):
        return Estimate(float(centre(values)), *percentile_interval(centre(values[rows], axis=1)))


def sign_test(differences: npt.ArrayLike) -> float:
    """p-value of the two-sided sign test on paired differences (S,); ties are left out, 1 if all are tied."""
    from scipy.stats import binomtest

    values = np.asarray(differences, dtype=np.float64)
    wins, losses = int((values > 0).sum()), int((values < 0).sum())
    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def judge(claim: Claim, curves: Curves) -> Verdict:
    """Test a claim on the curves of an experiment.

    Raises:
        ValueError: a comparison names a curve that is not there.
    """
    required, findings = (
        [finding for comparison in comparisons for finding in compare(comparison, curves)]
        for comparisons in (claim.requires, claim.comparisons)
    )
    if any(finding.verdict not in (HOLDS, TIE) for finding in required):
        return Verdict(claim.statement, NOT_JUDGED, required + findings)
    verdicts = {finding.verdict for finding in findings}
    overall = next(verdict for verdict in (FAILS, UNDECIDED, HOLDS, TIE) if verdict in verdicts)
    return Verdict(claim.statement, overall, required + findings)


def compare(comparison: Comparison, curves: Curves) -> list[Finding]:
    """The findings of a comparison, one per iteration (one in all for relations of ``EVERYWHERE``)."""
    curve = curves.get(comparison.panel, comparison.first, comparison.metric)
    if comparison.relation in EVERYWHERE:
        return [_everywhere(comparison, curve.values, int(curve.iterations[-1]))]
    findings, start = [], _start(comparison, curve)
    for fraction in comparison.at:
        at = int(np.abs(curve.iterations - fraction * curve.iterations[-1]).argmin())
        t, first = int(curve.iterations[at]), dict(zip(curve.seeds, curve.values[:, at], strict=True))
        if isinstance(comparison.second, str):
            other = curves.get(comparison.panel, comparison.second, comparison.metric)
            where = np.flatnonzero(other.iterations == t)
            column = other.values[:, where[0]] if len(where) else np.full(len(other.seeds), np.nan)
            second = dict(zip(other.seeds, column, strict=True))
        else:
            second = dict.fromkeys(first, float(comparison.second))
        triples = np.array([[first[s], second[s], start[s]] for s in first if s in second]).reshape(-1, 3)
        findings.append(_finding(comparison, t, *triples[~np.isnan(triples).any(1)].T))
    return findings


def _start(comparison: Comparison, curve: Curve) -> dict[Any, float]:
    """The initial value of each seed for distances and losses; 0 for other metrics, which have no such scale."""
    known = comparison.metric.endswith(("distance", "loss")) and curve.iterations[0] == 0
    return dict(zip(curve.seeds, curve.values[:, 0] if known else np.zeros(len(curve.seeds)), strict=True))


def _everywhere(comparison: Comparison, values: Floats, last: int) -> Finding:
    cases = values[~np.isnan(values)]
    wanted = float(comparison.second)
    gaps = cases - wanted
    true = gaps >= -ROUNDING if comparison.relation == "at_least" else np.abs(gaps) <= ROUNDING
    share = float(true.mean()) if cases.size else float("nan")
    verdict, remark = (HOLDS if share == 1.0 else FAILS), ""
    n = len(values)
    if (share == 1.0 and n < LEAST_SEEDS) or math.isnan(share):
        verdict, remark = UNDECIDED, f"{n} seeds, at least {LEAST_SEEDS} are needed"
    mean = float(cases.mean()) if cases.size else float("nan")
    return Finding(comparison, last, n, mean, wanted, Estimate(share, share, share), float("nan"), verdict, remark)


def _finding(comparison: Comparison, t: int, first: Floats, second: Floats, start: Floats) -> Finding:
    """Test paired values (n,) of the two methods, which started from other values (n,)."""
    n, relation = len(first), comparison.relation
    mean_first, mean_second = (float(a.mean()) if n else float("nan") for a in (first, second))
    if n < 2:
        nothing = Estimate(float("nan"), float("nan"), float("nan"))
        return Finding(
            comparison, t, n, mean_first, mean_second, nothing, float("nan"), UNDECIDED, "fewer than 2 paired seeds"
        )
    a, b = (first, second) if relation in ("above", *WITHIN) else (second, first)
    differences = _differences(a, b, start, logarithms=comparison.scale == "log" or relation in WITHIN)
    statistic = "median" if comparison.statistic == "sign" else comparison.statistic
    estimate = paired_interval(differences, statistic)
    p, remark = sign_test(differences), ""
    if relation in WITHIN:
        verdict, p = _within(estimate, math.log(comparison.factor), relation == "comparable"), float("nan")
    elif not differences.any():
        verdict = TIE
    elif comparison.statistic == "sign" or not np.isfinite(differences).all():
        remark = "" if comparison.statistic == "sign" else "sign test: infinite values"
        wins = int((differences > 0).sum()) > int((differences < 0).sum())
        verdict = UNDECIDED if p >= 1.0 - CONFIDENCE else HOLDS if wins else FAILS
    else:
        verdict = HOLDS if estimate.low > 0 else FAILS if estimate.high < 0 else UNDECIDED
    if n < LEAST_SEEDS:
        verdict, remark = UNDECIDED, f"{n} seeds, at least {LEAST_SEEDS} are needed"
    return Finding(comparison, t, n, mean_first, mean_second, estimate, p, verdict, remark)


def _differences(a: Floats, b: Floats, start: Floats, *, logarithms: bool) -> Floats:
    """Paired differences a - b (n,), or those of logarithms; zero where values differ by too little to count."""
    least = RESOLUTION * start
    with np.errstate(invalid="ignore"):
        tied = (a == b) | (np.abs(a - b) < least)
        if logarithms:
            a, b = (np.log(np.maximum(values, np.maximum(least, ROUNDING))) for values in (a, b))
        return np.where(tied, 0.0, a - b)


def _within(estimate: Estimate, bound: float, two_sided: bool) -> str:
    """Whether an interval lies below a bound (and above its negative), outside, or across."""
    lower = -bound if two_sided else -math.inf
    if lower <= estimate.low and estimate.high <= bound:
        return HOLDS
    return FAILS if estimate.low > bound or estimate.high < lower else UNDECIDED
