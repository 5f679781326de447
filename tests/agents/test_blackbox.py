"""The scoreboard of agents without w*, and that of label noise: what they train, and what their pages say."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import genuine
from scipy.stats import ttest_rel

pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")

sys.path.insert(0, str(Path(__file__).parents[2] / "agents"))

import blackbox
import label_noise
from trainings import Args, Training

from teach_gym import evaluate, pretrained
from teach_gym.benchmark.score import Paired, task_score
from teach_gym.cli import main
from teach_gym.core.build import make_task
from teach_gym.core.metrics import METRICS
from teach_gym.core.randomness import Streams
from teach_gym.core.task import reset
from teach_gym.integrations.zoo import mapping
from teach_gym.registration import TASKS
from teach_gym.teachers import lesson, make_teacher
from teach_gym.teachers.agent import Agent
from teach_gym.teachers.base import final_values
from teach_gym.training.args import TrainArgs
from teach_gym.training.program import chosen_hyperparams, chosen_task


def test_every_black_box_task_is_planned_with_every_algorithm() -> None:
    found = blackbox.plan(Args(seeds=3, kinds=blackbox.KINDS))
    assert len(found) == len(set(found)) == len({t.folder(Path()) for t in found})
    tasks = {name for name, kwargs in TASKS.items() if kwargs.get("observation") == "black_box"}
    for task in tasks - set(blackbox.NOISY):
        for algo, kind, seeds in (
            ("ppo", "", 3),
            ("dqn", "", 1),
            ("reinforce", "", 1),
            ("ppo", "fresh", 1),
            ("ppo", "queries", 1),
        ):
            planned = sorted(t.seed for t in found if (t.algo, t.task, t.kind) == (algo, task, kind))
            assert planned == list(range(1, seeds + 1))


def test_what_agents_see_and_how_they_begin_is_what_the_page_says() -> None:
    for training in blackbox.plan(Args(seeds=1, kinds=blackbox.KINDS)):
        args = TrainArgs(training.task, algo=training.algo, overrides=training.settings())
        values = chosen_hyperparams(args)
        spec = chosen_task(training.algo, args.task, mapping("env_kwargs", values["env_kwargs"])).spec
        wanted = "black_box" if training.kind == "queries" else "black_box_trial"
        assert spec.observation == wanted and spec.reward == "holdout_log_progress"
        begins = values.get("begin") == "oracle" or values.get("callback") is not None
        assert begins == (training.kind == "")


def test_the_page_tells_the_scores_of_agents_and_oracles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blackbox, "with_section", lambda text: f"{text}\nthe section of network_mixup.py")
    args = Args(out=tmp_path, tasks=("BlackBoxLabelMoons",), algos=("reinforce",), other_seeds=2, episodes=20)
    args.kinds = blackbox.KINDS
    for training in blackbox.plan(args):
        assert main(training.command(tmp_path, quick=True)) == 0
    board = blackbox.Board(args)
    seeds = range(blackbox.FIRST_SEED, blackbox.FIRST_SEED + 20)
    each = [
        evaluate(t.folder(tmp_path) / blackbox.POLICY, "BlackBoxLabelMoons", seeds)
        for t in board.runs("REINFORCE", "BlackBoxLabelMoons")
    ]
    assert len(each) == 2
    row = board.row("REINFORCE", "BlackBoxLabelMoons")
    assert row is not None and row.score.value == pytest.approx(np.mean([score.score for score in each]))
    assert row.accuracy == pytest.approx(np.mean([score.beside["test_accuracy"].mean() for score in each]))
    greedy = evaluate("holdout_greedy", "BlackBoxLabelMoons", seeds)
    text = blackbox.page(board)
    line = next(line for line in text.splitlines() if line.startswith("| BlackBoxLabelMoons"))
    assert f"{row.score.value:.2f} [" in line and f"{greedy.score:.2f} [" in line
    assert "{" not in text and text.endswith("the section of network_mixup.py")
    losses = np.mean([score.ends for score in each], axis=0)
    found = [str(int(row.score.low > 0)), str(int(row.score.low > 1))]
    for oracle in ("holdout_greedy", "holdout_rehearsal"):
        other = evaluate(oracle, "BlackBoxLabelMoons", seeds).ends
        p = ttest_rel(losses, other, alternative="less").pvalue
        found.append(f"{int(p < 0.025)}, {int(p > 0.975)}")
    assert " | ".join(["| REINFORCE | 1", *found]) in text


def test_known_learns_from_correct_labels_only() -> None:
    task = make_task("BlackBoxNoisyDigits")
    state = reset(task, Streams.from_seeds(range(30)))
    example, train = label_noise.Known()(task, state), task.pool.train
    rows = state.schedule[:, 0, 0, 0]
    assert train.correct is not None
    right = train.labels[rows] == train.correct[rows]
    gap = np.abs(example.y - state.y[:, 0]).sum((1, 2))
    assert 0 < right.sum() < 30
    np.testing.assert_array_equal(gap < 1e-12, right)
    prediction = task.learner.predict(state.w, state.x[:, 0])
    np.testing.assert_allclose(example.y[~right], prediction[~right])


def test_baselines_are_tuned_over_options_and_rates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By hand on few seeds: the best of all options and rates, on the data with pool seed 0."""
    monkeypatch.setattr(label_noise, "TUNING_SEEDS", range(4))
    data = label_noise.Data("x", "BlackBoxNoisyDigits", {"budget": 60}, label_noise.Settings(out=tmp_path))
    found = {}
    for mu in (0.7, 0.9):
        for factor in itertools.chain(*label_noise.RATES):
            task = make_task("BlackBoxNoisyDigits", budget=60, learning_rate=round(0.022 * factor, 6))
            taught = lesson(task, make_teacher("label_smoothing", mu=mu), range(4))
            found[f"label_smoothing:mu={mu:g}", factor] = final_values(task, *taught, METRICS["test_accuracy"])[
                0
            ].mean()
    assert found[data.tuned("label_smoothing")] == max(found.values())
    spec = data.task(3, True).spec
    assert (spec.pool_seed, spec.budget, spec.observation) == (3, 60, "black_box")


def test_trainings_of_the_noise_page_are_those_of_both_tasks() -> None:
    found = label_noise.plan(label_noise.Settings(seeds=2))
    assert {t.task for t in found} == set(blackbox.NOISY) and len(set(found)) == 4
    assert all(isinstance(t, Training) and t.algo == "ppo" for t in found)


PUBLISHED = genuine(name for name in pretrained.index() if "BlackBox" in name)


@pytest.mark.parametrize("episodes", [5, pytest.param(40, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_agents_without_w_have_the_score_of_their_card(name: str, episodes: int) -> None:
    """Scored again on some of the card's seeds: an interval that meets the card's."""
    card = pretrained.index()[name]
    found = evaluate(
        name, name.partition("/")[2].removesuffix("-v0"), range(card["first_seed"], card["first_seed"] + episodes)
    )
    assert found.low <= card["high"] and found.high >= card["low"]
    assert json.dumps(card["task"]).count("black_box") == 1
    assert found.score == pytest.approx(task_score(Paired(found.ends_passive, found.ends_reference, found.ends)).value)
    assert isinstance(make_teacher(name), Agent)


def test_differences_are_paired_over_data_sets() -> None:
    from scipy.stats import ttest_rel

    rng = np.random.default_rng(0)
    level = rng.normal(70.0, 10.0, 12)
    agent, other = level + rng.normal(1.0, 0.2, 12), level + rng.normal(0.0, 0.2, 12)
    low, high = ttest_rel(agent, other).confidence_interval(0.95)
    mean, half = label_noise.interval(agent - other)
    assert mean - half == pytest.approx(low) and mean + half == pytest.approx(high)
    text = label_noise.ahead(agent, other)
    assert text == f"**{mean:+.1f} ± {half:.1f}**" and not label_noise.ahead(other, agent).startswith("*")
    assert label_noise.ahead(agent, agent) == ""
