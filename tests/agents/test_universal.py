"""The training of universal teachers: the tasks it draws, what it measures on them, and what the page says."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

sys.path.insert(0, str(Path(__file__).parents[2] / "agents"))

import torch
import universal
import universal_page
from universal_tasks import HELD_OUT, MEDIA, TRAINING, drawn

from teach_gym.benchmark.evaluation import Evaluation
from teach_gym.benchmark.score import Estimate
from teach_gym.core.randomness import Streams
from teach_gym.core.task import reset
from teach_gym.core.views import VIEWS
from teach_gym.registration import TASKS
from teach_gym.teachers import make_teacher, teach_episodes
from teach_gym.teachers.agent import Agent


@pytest.mark.parametrize("medium", MEDIA)
def test_drawn_tasks_follow_from_their_seeds_and_are_not_registered(medium: str, tmp_path: Path) -> None:
    tasks = [drawn(medium, seed, tmp_path).spec for seed in (TRAINING, TRAINING + 1, HELD_OUT)]
    again = drawn(medium, TRAINING, tmp_path).spec
    assert again == tasks[0] and len({spec.to_json() for spec in tasks}) == 3
    for spec in tasks:
        assert spec.medium == medium and spec.observation == "universal"
        pool = {"pool": spec.pool, "pool_options": dict(spec.pool_options)}
        assert all(kwargs.get("pool_options", {}) != pool["pool_options"] for kwargs in TASKS.values())
        assert spec.pool in ("half_moons", "gaussian_clusters", "linear_regression", "array")


def test_costs_are_those_of_the_oracle_with_each_assumption(tmp_path: Path) -> None:
    task = drawn("label", HELD_OUT, tmp_path)
    seeds = range(universal.EPISODES, universal.EPISODES + 5)
    found = universal.costs(task, 5)
    evaluation = Evaluation(task, seeds)
    for i in (0, 3, 6):
        oracle = make_teacher("lqr", **VIEWS[i]._asdict())
        ends = universal.ends(task, reset(task, Streams.from_seeds(seeds)), i)
        np.testing.assert_allclose(ends, teach_episodes(task, oracle, seeds)[1], rtol=1e-9)
        assert found.scores[i] == pytest.approx(evaluation.score(oracle).score)
    assert found.seen.shape == (len(found.costs), universal.SHARED) and len(found.costs) <= 5 * len(universal.STOPS)
    np.testing.assert_allclose(found.costs[:5], np.broadcast_to(found.costs[0], (5, len(VIEWS))))
    order = np.argsort(found.scores)
    assert found.costs[0, order[-1]] < found.costs[0, order[0]], "a better score costs less"


def test_members_together_are_one_perceptron_with_their_mean() -> None:
    torch.manual_seed(0)
    members = universal.Members(3)
    for part in members.parameters():
        torch.nn.init.normal_(part)
    seen = torch.randn(4, universal.SHARED)
    expected = (
        universal.FIRMNESS
        * sum(
            torch.tanh(seen @ members.inner[i] + members.shift[i]) @ members.outer[i] + members.last[i]
            for i in range(universal.MEMBERS)
        )
        / universal.MEMBERS
    )
    torch.testing.assert_close(members.together()(seen), expected, rtol=1e-4, atol=1e-4)


def test_a_network_learns_which_assumption_to_trust() -> None:
    """Where the first shared entry says which of two is right, it is trusted."""
    rng = np.random.default_rng(0)
    tasks = []
    for _ in range(15):
        seen = rng.normal(size=(20, universal.SHARED)).astype(np.float32)
        prices = np.ones((20, len(VIEWS)))
        prices[seen[:, 0] > 0, 2], prices[seen[:, 0] <= 0, 5] = -1.0, -1.0
        tasks.append(universal.Costs(seen, prices, np.zeros(len(VIEWS))))
    network = universal.trained(tasks[:10], 8, 80, seed=1)
    best = np.concatenate([network.perceptron(task.seen).argmax(1) for task in tasks[10:]])
    right = np.concatenate([np.where(task.seen[:, 0] > 0, 2, 5) for task in tasks[10:]])
    assert (best == right).mean() > 0.9
    assert universal.cost_of(network, tasks[10:]) == pytest.approx((best != right).mean() * 2 - 1)


@pytest.mark.slow
def test_a_teacher_is_trained_and_saved_and_its_costs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    args = universal.Args(out=tmp_path, tasks=2, held_out=1, runs=4, quick=True)
    agent, row = universal.Study("select", args).train()
    task = drawn("select", HELD_OUT, tmp_path / "pools")
    again = Evaluation(task, range(universal.EPISODES, universal.EPISODES + 4)).score(
        Agent(path=tmp_path / "select.safetensors")
    )
    assert float(row[3]) == pytest.approx(again.score, abs=1e-3) and agent.card["medium"] == "select"
    monkeypatch.setattr(universal, "costs", None)
    assert universal.Study("select", args).train()[1][:-1] == row[:-1]


def test_the_page_says_which_aims_are_reached() -> None:
    sure = Estimate(1.1, 1.05, 1.2)
    rows = [
        universal_page.Row("label", "A", sure, sure, 1.05, True),
        universal_page.Row("label", "B", Estimate(0.98, 0.9, 1.1), sure, 1.0, False),
        universal_page.Row("select", "C", sure, sure, None, False),
    ]
    text = universal_page.page(rows, rows[2:], "choices", 10, 3, 2)
    assert (
        "On **1 of 2** label tasks" in text
        and "B by 0.020" in text
        and "**1 of 2** (A)" in text
        and "is reached" in text
    )
    assert "**2 of 3** tasks of all media" in text and "on **1 of 1**" in text and "{" not in text
    assert "| label | B | 0.980 [0.900, 1.100] | **1.100 [1.050, 1.200]** | 1.000 \\* |" in text


def test_specialists_are_those_of_the_agents_page() -> None:
    found = universal_page.specialists()
    text = universal_page.AGENTS_PAGE.read_text(encoding="utf-8")
    for name in ("LabelMNIST", "SelectMoons", "LabelRegression"):
        line = next(line for line in text.splitlines() if line.startswith(f"| {name} |"))
        assert found[name] == float(re.findall(r"\d\.\d+", line)[0])
    assert set(universal_page.registered(["label"])) <= set(found)
    assert json.dumps(found)


def test_own_data_are_five_of_scikit_learn_and_a_users_file(tmp_path: Path) -> None:
    found = dict(universal_page.own_data("label", tmp_path))
    assert len(found) == 6 and {task.pool.n_classes for task in found.values()} == {0, 2, 3, 4}
    assert not {task.spec.pool_options["path"] for task in found.values()} - {str(p) for p in tmp_path.glob("*.npz")}
