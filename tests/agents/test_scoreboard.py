"""The scoreboard: which trainings it plans, that it carries them out once, and what the page says of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")

sys.path.insert(0, str(Path(__file__).parents[2] / "agents"))

from scoreboard import Board, page, words
from trainings import CONTINUOUS, DISCRETE, HEADLINE, Args, Training, carry_out, plan

from teach_gym.benchmark.score import Estimate, Paired, task_score
from teach_gym.benchmark.suite import cached_task, task_spec
from teach_gym.cli import main
from teach_gym.registration import TASKS
from teach_gym.teachers import make_teacher, teach_episodes
from teach_gym.teachers.agent import Agent
from teach_gym.training.args import TrainArgs
from teach_gym.training.program import chosen_hyperparams, chosen_task


def test_the_plan_has_every_task_and_several_seeds_of_ppo() -> None:
    found = plan(Args())
    assert len(found) == len(set(found)) == len({t.folder(Path()) for t in found})
    for algo in ("ppo", "dqn", "reinforce"):
        for task in DISCRETE:
            seeds = [t.seed for t in found if (t.algo, t.task, t.kind) == (algo, task, "")]
            assert seeds == list(range(1, 6 if algo == "ppo" else 2))
    assert {t.task for t in found if t.kind == "continuous"} == set(CONTINUOUS)
    assert {t.task for t in found if t.kind == "varied"} == set(HEADLINE)
    assert {t.task for t in found if t.kind == "blind"} == set(DISCRETE)
    assert not any(TASKS[t.task].get("observation") == "black_box" for t in found)


def test_what_the_kinds_show_and_how_they_begin() -> None:
    """The settings that each command leads to: the oracle's start only with what it needs."""
    for training in plan(Args()):
        words = training.command(Path())
        over = words[words.index("--set") + 1 : words.index("--out")] if "--set" in words else []
        args = TrainArgs(words[1], algo=training.algo, overrides=tuple(over))
        values = chosen_hyperparams(args)
        spec = chosen_task(training.algo, args.task, values.get("env_kwargs", {})).spec
        linear = not spec.learner.startswith("mlp")
        wanted = "omniscient" if training.kind == "blind" else "farsighted" if linear else "lookahead"
        assert spec.observation == wanted and spec.continuous == (training.kind == "continuous")
        assert (spec.reward == "farsighted_progress") == (wanted == "farsighted")
        begins = values.get("begin") == "oracle" or values.get("callback") is not None
        assert begins == (wanted != "omniscient")


def test_trainings_are_carried_out_once_and_scored_on_seeds_of_their_own(tmp_path: Path) -> None:
    args = Args(
        out=tmp_path, tasks=("LabelMoons",), algos=("reinforce",), other_seeds=2, episodes=20, quick=True, workers=2
    )
    first, _ = plan(args)
    assert main(first.command(tmp_path, quick=True)) == 0
    before = (first.folder(tmp_path) / "score.json").stat().st_mtime_ns
    carry_out(plan(args), args)
    scores = sorted(tmp_path.glob("*/*/score.json"))
    assert [path.parent.name for path in scores] == ["LabelMoons-1", "LabelMoons-2"]
    assert scores[0].stat().st_mtime_ns == before
    board = Board(args)
    task, seeds = (
        cached_task(task_spec("LabelMoons")[1]),
        range(3_000_000, 3_000_080),
    )  # four times the episodes, as the learner is small
    ends = {name: teach_episodes(task, make_teacher(name), seeds)[1] for name in ("passive", "greedy")}
    each = []
    for path in scores:
        taught = teach_episodes(task, Agent(path=path.with_name("policy.safetensors")), seeds)[1]
        each.append(task_score(Paired(ends["passive"], ends["greedy"], taught)).value)
    agents = board.agents(board.runs("reinforce", "LabelMoons"))
    assert board.score(agents, "LabelMoons").value == pytest.approx(np.mean(each))
    text = page(board, args)
    assert f"{np.mean(each):.3f}" in text and "| LabelMoons |" in text and "{" not in text
    steps = json.loads(scores[0].read_text())["steps"]
    assert steps == 5 * 16 * 60, "4,000 steps in whole updates"


def test_failed_trainings_are_named(tmp_path: Path) -> None:
    args = Args(out=tmp_path, quick=True, workers=1)
    with pytest.raises(RuntimeError, match=r"1 trainings failed.*Nothing"):
        carry_out([Training("reinforce", "LabelMoons", 1)._replace(algo="ppo", task="Nothing")], args)


def test_bold_means_above_one() -> None:
    assert words(Estimate(1.1, 1.01, 1.2)).startswith("**1.100")
    assert not words(Estimate(1.1, 0.99, 1.2)).startswith("*") and words(None) == ""
