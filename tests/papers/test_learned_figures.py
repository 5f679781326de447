"""The figures with learned teachers: what they rest on, against independent implementations."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from process_cases import without

from teach_gym.core.state import Task, TeachState
from teach_gym.core.task import advance
from teach_gym.data.datasets import load_mnist
from teach_gym.data.pools import make_pool
from teach_gym.papers import dht_unrolled, last_learned
from teach_gym.papers.curves import Curves
from teach_gym.papers.dht_protocol import HALF_MOONS, protocol_cohorts
from teach_gym.papers.engine import Unit
from teach_gym.papers.greedy import panel_units
from teach_gym.papers.last_learned import LEARNED, PANEL, RowByRow
from teach_gym.papers.last_linear import SMALL_DIGITS
from teach_gym.teachers import Teacher, example_of, make_teacher
from teach_gym.teachers.agent import Agent
from teach_gym.teachers.learned import unrolled as unrolled_module
from teach_gym.teachers.learned.unrolled import Unrolled

MOONS = {"pool": "half_moons", "pool_options": {"n": 50}, "learning_rate": 0.7, "target_options": {"l2": 0.02}}


def units(settings: dict[str, Any], seeds: tuple[int, ...] = (4, 9)) -> dict[str, Unit]:
    return {unit.method: unit for unit in panel_units("e", settings, seeds)}


def small(budget: int = 12, iterations: int = 2, updates: int = 1, **digits: Any) -> dict[str, Unit]:
    return units(
        last_learned.settings(2, budget, iterations, {"updates": updates, "n_envs": 16}, 8, {**MOONS, **digits})
    )


# -------------------------------------------------------------------------------------------------- LAST, Figure 12


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_imt_row_by_row_gives_the_examples_of_imt(momentum: float) -> None:
    unit = small(momentum=momentum)[last_learned.ROWS]
    for task, state in last_learned.single_cohorts(unit):
        fast, slow = make_teacher("imt"), RowByRow()
        for _ in range(6):
            wanted, found = example_of(task, state, fast(task, state)), slow(task, state)
            assert np.array_equal(found.x, wanted.x) and np.array_equal(found.y, wanted.y)
            assert found.x.shape == (1, 1, task.d) and found.y.shape == (1, 1, task.k)
            state = advance(task, state, found).state


def test_row_by_row_of_a_batch_is_that_of_its_runs() -> None:
    unit = small()[last_learned.ROWS]
    [both] = last_learned.cohorts(unit)
    found = RowByRow()(both.task, both.state)
    for i, (task, state) in enumerate(last_learned.single_cohorts(unit)):
        alone = RowByRow()(task, state)
        assert np.array_equal(found.x[i], alone.x[0]) and np.array_equal(found.y[i], alone.y[0])


def test_every_seed_has_a_teacher_of_its_own_of_the_right_kind() -> None:
    for name, unit in small().items():
        taught = last_learned.single_cohorts(unit)
        assert [len(cohort.state.t) for cohort in taught] == [1, 1]
        teachers = last_learned.make_teachers(unit, taught)
        assert len(teachers) == 2 and len({id(teacher) for teacher in teachers}) == 2
        if name in LEARNED:
            kind = Agent if name == "policy gradient" else Unrolled
            assert all(isinstance(teacher, kind) for teacher in teachers)
            first, second = (weights(teacher) for teacher in teachers)
            assert first.shape == second.shape and not np.allclose(first, second)
            for teacher in teachers:
                spec = teacher.spec
                assert (spec.pool, spec.budget, spec.learning_rate) == ("half_moons", 12, 0.7)
        for teacher, cohort in zip(teachers, taught, strict=True):
            teacher.check(cohort.task)


def weights(teacher: Teacher) -> np.ndarray:
    """The first layer's weights."""
    if isinstance(teacher, Agent):
        assert teacher.network is not None
        return teacher.network.layers[0][0]
    assert isinstance(teacher, Unrolled) and teacher.policy is not None
    return teacher.policy.net[0].weight.detach().numpy()


def test_learned_teachers_beat_sgd() -> None:
    chosen = small(budget=20, iterations=80, updates=60)
    final = {}
    for name in ("SGD", "unrolled 20", "policy gradient"):
        curves = Curves(last_learned.run(chosen[name]).rows)
        final[name] = curves.get(PANEL, name, "distance").values[:, -1]
    for name in ("unrolled 20", "policy gradient"):
        assert final[name].mean() < 0.8 * final["SGD"].mean(), final


class Slow(Teacher):
    """SGD with a clock of its own: every call takes a second."""

    name = "slow"

    def __call__(self, task: Task, state: TeachState) -> Any:
        Slow.now += 1.0
        return make_teacher("passive")(task, state)


Slow.now = 0.0  # type: ignore[attr-defined]


def test_seconds_to_the_target_are_those_of_the_first_iteration_that_meets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = small(budget=30)["SGD"]
    monkeypatch.setattr("teach_gym.teachers.base.time.perf_counter", lambda: Slow.now)
    monkeypatch.setattr(last_learned, "make_teachers", lambda unit, taught: [Slow() for _ in taught])
    curves = Curves(last_learned.run(unit).rows)
    distance = curves.get(PANEL, "SGD", "distance").values
    found = curves.get(PANEL, "SGD", "seconds_to_target").values[:, 0]
    for curve, seconds in zip(distance, found, strict=True):
        first = next((t for t, value in enumerate(curve) if value <= 0.8 * curve[0]), np.inf)
        assert seconds == first
    assert np.isfinite(found).any() and "training_seconds" not in {row.metric for row in last_learned.run(unit).rows}


def test_without_torch_the_extra_is_named() -> None:
    code = without("torch") + (
        "from teach_gym.papers import experiment\n"
        "found = experiment('last-fig12')\n"
        "units = found.units(found.name, found.scales['smoke'], [1])\n"
        "found.run(next(unit for unit in units if unit.method == 'policy gradient'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: training with reinforce needs torch: pip install 'teach_gym[torch]'" in done.stderr


# ---------------------------------------------------------------------------------------------------- DHT, Figure 4


def moons(**changes: Any) -> dict[str, Unit]:
    pool = {**HALF_MOONS, "pool_options": {**HALF_MOONS["pool_options"], "n": 50}}
    panel = {**dht_unrolled.panel(pool, (6, 2, 3), dht_unrolled.RELEASED_MOONS), **changes}
    return units({"panels": {"half moons": panel}})


@pytest.mark.parametrize("pool", [HALF_MOONS, SMALL_DIGITS], ids=["one pool", "a pool for each seed"])
def test_teachers_are_trained_from_their_runs_starts_to_their_targets(
    pool: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}
    original = unrolled_module.train_unrolled

    def watched(tasks: Any, seeds: Any, settings: Any, **options: Any) -> Any:
        seen.update(tasks=tasks, seeds=seeds, settings=settings, **options)
        return original(tasks, seeds, settings, **options)

    monkeypatch.setattr(unrolled_module, "train_unrolled", watched)
    panel = dht_unrolled.panel(pool, (4, 1, 2), {}, (8,))
    unit = units({"panels": {"p": panel}})["target's loss, weight 1"]
    taught = protocol_cohorts(unit)
    teachers = dht_unrolled.train(unit, taught)
    assert len(teachers) == len(taught) == (1 if pool is HALF_MOONS else 2) and seen["seeds"] == [4, 9]
    target = np.concatenate([cohort.state.target for cohort in taught])
    assert np.array_equal(np.stack([task.target for task in seen["tasks"]]), target)
    assert np.array_equal(seen["starts"], np.concatenate([cohort.state.w for cohort in taught]))
    how = seen["settings"]
    assert (how.steps, how.learning_rate, how.loss, how.detach) == (40, 0.002, "target", True) and seen["normalize"]
    assert set(how.alphas) == {1.0}
    for cohort, teacher in zip(taught, teachers, strict=True):
        example = example_of(cohort.task, cohort.state, teacher(cohort.task, cohort.state))
        assert np.array_equal(example.y, cohort.state.y[:, 0]) and not np.allclose(example.x, cohort.state.x[:, 0])


def test_the_papers_network_sees_eight_numbers_of_half_moons() -> None:
    unit = moons()["no auxiliary loss"]
    [teacher] = dht_unrolled.train(unit, protocol_cohorts(unit))
    assert isinstance(teacher, Unrolled) and teacher.policy is not None
    arch = teacher.policy.arch
    assert arch.sizes == (8, 32, 16, 2) and arch.output == "free" and not arch.batch_norm
    [cohort] = protocol_cohorts(unit)
    w, target = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (cohort.state.w, cohort.state.target))
    label = np.eye(2)[cohort.state.y[:, 0, 0, 0].astype(int)]
    wanted = np.concatenate([w, w - target, cohort.state.x[:, 0, 0], label], axis=1)
    assert teacher.policy.inputs(cohort.task, cohort.state)[:, 0] == pytest.approx(wanted)


def test_teachers_of_a_shared_batch_keep_to_their_own_runs() -> None:
    unit = moons()["no auxiliary loss"]
    both = Curves(dht_unrolled.run(unit).rows).get("half moons", unit.method, "distance").values
    for i, seed in enumerate(unit.seeds):
        alone = dataclasses.replace(unit, seeds=(seed,))
        values = Curves(dht_unrolled.run(alone).rows).get("half moons", unit.method, "distance").values
        assert values[0] == pytest.approx(both[i], rel=1e-5)


def test_without_an_auxiliary_loss_the_policy_goes_to_the_target_and_the_learners_draws_it_away() -> None:
    found = {}
    training = {"iterations": 60, "steps": 20, "learners": 2}
    for name in ("SGD", "no auxiliary loss, detached", "learner's loss, weight 1"):
        unit = moons(training=training, task={**moons()["SGD"].settings["task"], "budget": 40})[name]
        curves = Curves(dht_unrolled.run(unit).rows)
        found[name] = curves.get("half moons", name, "distance").values[:, -1]
    for other in ("SGD", "learner's loss, weight 1"):
        assert (found["no auxiliary loss, detached"] < found[other]).all(), found


@pytest.mark.parametrize("pool", [HALF_MOONS, SMALL_DIGITS], ids=["one pool", "a pool for each seed"])
def test_teachers_of_all_weights_trained_at_once_are_those_trained_alone(pool: dict[str, Any]) -> None:
    panel = dht_unrolled.panel(pool, (4, 1, 3), {}, (8,))
    chosen = ["learner's loss, weight 0.1", "learner's loss, weight 1", "target's loss, weight 1"]
    settings = {"panels": {"p": {**panel, "methods": {name: panel["methods"][name] for name in chosen}}}}
    both, single = dht_unrolled.units("e", settings, (4, 9))
    assert [len(unit.settings["batch"]) for unit in (both, single)] == [2, 1]
    together = Curves([row for unit in (both, single) for row in dht_unrolled.run(unit).rows])
    alone = Curves([row for unit in panel_units("e", settings, (4, 9)) for row in dht_unrolled.run(unit).rows])
    for name in chosen:
        one, other = (curves.get("p", name, "distance") for curves in (together, alone))
        assert one.seeds.tolist() == [4, 9] and one.values == pytest.approx(other.values, rel=1e-5)
        assert np.ptp(one.values[:, -1]) > 0


def test_the_losses_are_those_of_the_formula_and_of_the_released_code() -> None:
    made = dht_unrolled.methods(dht_unrolled.RELEASED_IMAGES)
    for weight in dht_unrolled.WEIGHTS:
        formula, released = (made[dht_unrolled.variant(loss, weight)]["train"] for loss in dht_unrolled.LOSSES)
        assert formula == {"alpha": weight}
        assert released == {"alpha": weight, "detach": True, "auxiliary": "target"}
    assert (
        made[dht_unrolled.RELEASED]["train"]["last_gap"] and made[dht_unrolled.RELEASED]["network"]["output"] == "image"
    )
    compared = {c.first for claim in dht_unrolled.FIG4.claims for c in claim.comparisons}
    assert compared <= set(made) and {dht_unrolled.RELEASED, dht_unrolled.FORMULA} <= compared


def test_binary_mnist_is_the_same_rows_with_pixels_zero_or_one() -> None:
    options = {"classes": [3, 5], "n_train": 40, "n_holdout": 20, "n_test": 10, "projection": None}
    plain, binary = (make_pool("mnist", 3, **options, binary=flag) for flag in (False, True))
    for part in ("train", "holdout", "test"):
        a, b = getattr(plain, part), getattr(binary, part)
        assert np.array_equal(b.x, (np.round((a.x + 1) * 127.5) >= 128).astype(float)) and set(np.unique(b.x)) == {0, 1}
        assert np.array_equal(a.labels, b.labels)
    pool, rng = make_pool("mnist", 3, **{**options, "projection": 24}, binary=True), np.random.default_rng(3)
    for train in (True, False):
        rng.permutation(int(np.isin(load_mnist(train=train)[1], (3, 5)).sum()))
    assert pool.train.x == pytest.approx(binary.train.x @ (0.1 * rng.standard_normal((784, 24))))
