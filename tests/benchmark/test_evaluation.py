"""``evaluate``: any teacher on any task in one call, against the benchmark's own rows."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import names

from teach_gym import pretrained
from teach_gym.benchmark.evaluation import Evaluation, TeacherScore, evaluate
from teach_gym.benchmark.execute import execute
from teach_gym.benchmark.score import Paired, task_score
from teach_gym.benchmark.suite import evaluation_seeds, plan
from teach_gym.core.build import make_task
from teach_gym.registration import TASKS
from teach_gym.teachers import lesson, make_teacher
from teach_gym.teachers.base import Teacher


def equal(a: TeacherScore, b: TeacherScore) -> bool:
    return (a.score, a.low, a.high) == (b.score, b.low, b.high) and np.array_equal(a.ends, b.ends)


def test_it_is_the_score_of_the_benchmarks_rows() -> None:
    seeds, task, teacher = (3, 5, 9), "LabelMoons:budget=12", "last:constraint=soft"
    ends = {}
    for name in ("passive", "greedy", teacher):
        ends[name] = np.array([execute(run)["curves"]["distance"][-1] for run in plan(task, name, seeds)])
    expected = task_score(Paired(ends["passive"], ends["greedy"], ends[teacher]))
    found = evaluate(teacher, task, seeds)
    assert (found.score, found.low, found.high) == pytest.approx(tuple(expected))
    np.testing.assert_allclose(found.ends, ends[teacher], rtol=1e-12)
    np.testing.assert_allclose(found.ends_passive, ends["passive"], rtol=1e-12)
    np.testing.assert_allclose(found.ends_reference, ends["greedy"], rtol=1e-12)
    assert found.end == pytest.approx(statistics.fmean(ends[teacher])) and found.seeds == seeds
    assert found.end_passive == pytest.approx(statistics.fmean(ends["passive"]))
    assert found.end_reference == pytest.approx(statistics.fmean(ends["greedy"]))
    assert repr(found).startswith(f"TeacherScore(score={found.score:.3f}, low=") and len(repr(found)) < 200


def test_every_way_to_name_a_teacher_and_a_task() -> None:
    name, budget = "ppo/LabelMoons-v0", {"budget": 12}
    task = make_task("LabelMoons", **budget)
    path = pretrained.find(name)
    expected = evaluate(make_teacher("agent", path=name), task, evaluation_seeds(4))
    teachers: list[str | Path | Teacher] = [name, f"agent:{name}", path, str(path)]
    for teacher in teachers:
        assert equal(evaluate(teacher, "LabelMoons:budget=12", 4), expected)
    assert equal(Evaluation(task, 4).score(make_teacher(name)), expected)


@pytest.mark.parametrize("name", names())
def test_every_task_gives_the_references_0_and_1(name: str) -> None:
    black_box = TASKS[name].get("observation") == "black_box"
    short = f"{name}:budget=5,tolerance=0.0"
    reference = evaluate("greedy", short, 3).reference
    assert reference in (("greedy", "holdout_greedy") if black_box else ("greedy",))
    for teacher, score in (("passive", 0.0), (reference, 1.0)):
        found = evaluate(teacher, short, 3)
        assert found.score == score or math.isnan(found.score)
        assert np.isfinite(found.ends).all()


def test_a_black_box_task_is_scored_by_the_loss_on_its_holdout_rows() -> None:
    """By hand from the states where the episodes end; 1 is whichever oracle ends lower, the rest stands beside it."""
    task, seeds, ends, beside = make_task("BlackBoxLabelMoons", budget=12), range(20), {}, {}
    for name in ("passive", "greedy", "holdout_greedy", "random"):
        _, transitions = lesson(task, make_teacher(name), seeds)
        *_, last = transitions
        z = last.state.w @ task.holdout.x.T
        ends[name] = np.mean(np.log1p(np.exp(-np.where(task.holdout.labels == 1, z, -z))), axis=1)
        accuracy = np.mean((last.state.w @ task.pool.test.x.T > 0) == task.pool.test.labels, axis=1)
        beside[name] = {"test_accuracy": accuracy, "distance": np.linalg.norm(last.state.w - task.target, axis=1)}
    lower = min(("greedy", "holdout_greedy"), key=lambda name: ends[name].mean())
    found = Evaluation(task, seeds).score(make_teacher("random"))
    assert (found.metric, found.reference) == ("holdout_loss", lower) and found.score < 0
    expected = task_score(Paired(ends["passive"], ends[lower], ends["random"]))
    assert (found.score, found.low, found.high) == pytest.approx(tuple(expected))
    np.testing.assert_allclose(found.ends, ends["random"], rtol=1e-9)
    for metric, values in beside["random"].items():
        np.testing.assert_allclose(found.beside[metric], values, rtol=1e-9)


def test_the_scalars_of_a_training_are_the_same_numbers() -> None:
    evaluation = Evaluation(make_task("LabelMoons", budget=12), 4)
    found, scalars = evaluation.score(make_teacher("random")), evaluation(make_teacher("random"))
    assert scalars == {
        "score": found.score,
        "score_low": found.low,
        "score_high": found.high,
        "distance_passive": found.end_passive,
        "distance_greedy": found.end_reference,
        "distance_agent": found.end,
    }


def test_a_diverged_learner_is_infinitely_far() -> None:
    found = evaluate("last", "LabelRegression:learning_rate=30.0,budget=300", 2)
    assert np.isinf(found.ends_passive).all() and math.isnan(found.score)


@pytest.mark.parametrize(
    ("seeds", "error", "message"),
    [
        (0, ValueError, "number of seeds must be > 0"),
        (2.5, TypeError, "number of seeds must be an integer"),
        (10**12, ValueError, "at most 100,000"),
        (True, TypeError, "number of seeds must be an integer"),
        ([], ValueError, "one or more different integers"),
        ([1, 1], ValueError, "one or more different integers"),
        ([-1], ValueError, "one or more different integers"),
        ([0.5], TypeError, "a seed must be an integer"),
        ("ten", TypeError, "a seed must be an integer"),
    ],
)
def test_bad_seeds(seeds: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        evaluate("greedy", "LabelMoons", seeds)


def test_bad_names() -> None:
    with pytest.raises(ValueError, match="did you mean 'LabelMoons'"):
        evaluate("greedy", "LabelMoon")
    with pytest.raises(ValueError, match="did you mean 'greedy'"):
        evaluate("gredy", "LabelMoons")
    with pytest.raises(ValueError, match="distillation"):
        evaluate("distillation", "LabelRegression", 2)
