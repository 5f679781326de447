"""A short form of the campaign against bad input, always with the same cases, and checks of its judgement."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("hypothesis")
pytest.importorskip("stable_baselines3")

from campaign import GOOD, NonsenseError, Target, attack, judge
from hypothesis import strategies as st
from targets import all_targets

from teach_gym.core.build import make_task
from teach_gym.errors import within

CALLS = 10
"""Calls of a target of weight one, at most three times as many."""
COSTLY = {"images": 6, "command line": 10, "report names": 1}
"""Calls of targets that take long."""
FOLDER = Path(__file__).parent


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    return {target.name: target for target in all_targets(tmp_path_factory.mktemp("fuzz"))}


NAMES = ["actions", "vector actions", "make_vec", "reset", "calls", "tasks", "teachers", "mixup", "data files"]
NAMES += ["policies", "index", "images", "results", "report names", "leaderboard", "records", "curves", "playground"]
NAMES += ["hyperparams", "command line", "texts"]


@pytest.mark.parametrize("name", NAMES)
def test_the_campaign_finds_nothing(name: str, targets: dict[str, Target]) -> None:
    target = targets[name]
    calls = COSTLY.get(name, round(CALLS * min(target.weight, 3)))
    findings = attack([target], calls, 0, lambda line: None)
    assert not sum(count for end, count in findings.total.items() if end not in GOOD), findings.table()


def test_every_target_has_a_short_form(targets: dict[str, Target]) -> None:
    assert set(targets) == set(NAMES)


def _warns() -> None:
    warnings.warn("overflow", RuntimeWarning, stacklevel=1)


def _nonsense() -> None:
    raise NonsenseError("nan")


def _ours() -> None:
    within("x", 3, "[0, 1]")


ENDS: dict[str, tuple[Callable[[], Any], bool | None, str]] = {
    "good": (lambda: 1, True, "fine"),
    "an error of ours": (_ours, None, "clean"),
    "an error of ours by a call": (lambda: make_task("LabelMoons", budget=0), False, "clean"),
    "an error though all was good": (_ours, True, "refused"),
    "nonsense accepted": (lambda: 1, False, "accepted"),
    "nonsense returned": (_nonsense, None, "accepted"),
    "an error of numpy": (lambda: np.ones(2) + np.ones(3), None, "foreign"),
    "an error of an operator": (lambda: operator.add(1, "a"), None, "foreign"),
    "an error in Python's code": (lambda: within("x", 1, "no interval"), None, "foreign"),
    "a lookup": (lambda: {}["a"], None, "ugly"),
    "a warning": (_warns, None, "ugly"),
}


@pytest.mark.parametrize("name", ENDS)
def test_calls_are_judged_by_how_they_end(name: str) -> None:
    call, sensible, end = ENDS[name]
    target = Target("x", st.none(), lambda case: call(), lambda case: sensible)
    assert judge(target, None).end == end


def test_the_same_seed_gives_the_same_cases() -> None:
    seen: list[list[Any]] = []
    for number in (1, 1, 2):
        seen.append([])
        attack([Target("x", st.integers(), seen[-1].append)], 30, number, lambda line: None)
    assert seen[0] == seen[1] != seen[2]
