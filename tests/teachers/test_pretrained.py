"""Pretrained teachers: what the cards say is in the files, and holds when scored again."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import teach_gym
from teach_gym import pretrained
from teach_gym.benchmark.score import Paired, task_score
from teach_gym.benchmark.suite import cached_task, run_digests
from teach_gym.core.spec import TaskSpec
from teach_gym.errors import DamagedDataError
from teach_gym.registration import TASKS, env_id
from teach_gym.teachers import make_teacher, teach_episodes
from teach_gym.teachers.agent import publish

NAMES = tuple(pretrained.index())
UNIVERSAL = tuple(name for name in NAMES if name.startswith("universal/"))
HEADLINE = ("LabelMoons", "LabelDigits", "LabelMNIST", "SelectMoons", "PerturbMoons", "LabelMomentum", "SelectMomentum")
ROOT = Path(__file__).parents[2]


def task_of(name: str) -> str:
    return name.partition("/")[2].partition("-")[0]


def test_every_headline_task_has_one() -> None:
    assert {f"ppo/{env_id(task).partition('/')[2]}" for task in HEADLINE} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_cards_tell_what_the_files_are(name: str) -> None:
    card = pretrained.index()[name]
    path = pretrained.find(name)
    assert (
        hashlib.sha256(path.read_bytes()).hexdigest()
        == card["sha256"]
        == run_digests(TaskSpec().to_json(), name).teacher_file
    )
    assert path.stat().st_size < 200_000
    assert card["low"] <= card["score"] <= card["high"]
    words = card["command"].split()
    if name in UNIVERSAL:
        assert words[:2] == ["python", "agents/universal.py"] and words[-1] == "runs/universal"
        return
    assert task_of(name) in TASKS
    assert words[:3] == ["teach-gym", "train", task_of(name)]
    assert words[-1] == f"runs/agents/ppo/{task_of(name)}-1", "a machine's path"


@pytest.mark.parametrize("name", ["ppo/LabelMoons-v0", "ppo/SelectMomentum-v0", "ppo/LabelDigits-v0"])
def test_scored_again_they_have_the_published_score(name: str) -> None:
    """On the card's task and seeds the same score; on other seeds one whose interval meets the card's."""
    card = pretrained.index()[name]
    task = cached_task(TaskSpec(**card["task"]).to_json())
    agent = teach_gym.load_teacher(name)
    agent.check(task)
    for first, exact in ((card["first_seed"], True), (1000, False)):
        seeds = range(first, first + (card["episodes"] if exact else 400))
        ends = [
            teach_episodes(task, teacher, seeds)[1] for teacher in (*map(make_teacher, ("passive", "greedy")), agent)
        ]
        found = task_score(Paired(*ends))
        assert found.low <= card["high"] and found.high >= card["low"]
        if exact:
            assert found.value == pytest.approx(card["score"], abs=2e-3)


def test_they_need_no_torch() -> None:
    code = (
        "import sys, teach_gym; from teach_gym.teachers import teach_episodes; "
        "agent = teach_gym.load_teacher('ppo/LabelMoons-v0'); "
        "task = teach_gym.make_task(**teach_gym.TASKS['LabelMoons']); "
        "print(teach_episodes(task, agent, range(3))[1].max() < 1, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_unknown_and_changed_ones_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match="ppo/LabelMoons-v0"):
        teach_gym.load_teacher("ppo/Nothing-v0")
    source = pretrained.find("ppo/LabelMoons-v0").read_bytes()
    (tmp_path / "ppo").mkdir()
    (tmp_path / "ppo" / "LabelMoons-v0.safetensors").write_bytes(source[:-1] + b"x")
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    with pytest.raises(DamagedDataError, match="SHA-256"):
        pretrained.find("ppo/LabelMoons-v0")


def test_publishing_copies_the_file_and_writes_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = pretrained.find("ppo/LabelMoons-v0")
    (tmp_path / "index.json").write_text("{}")
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    pretrained.index.cache_clear()
    try:
        publish(source, "a/B-v0", score=1.0, low=0.9, high=1.1, command="python x")
        assert pretrained.find("a/B-v0").read_bytes() == source.read_bytes()
        card = json.loads((tmp_path / "index.json").read_text())["a/B-v0"]
        assert card["score"] == 1.0 and TaskSpec(**card["task"]).observation == "farsighted"
    finally:
        pretrained.index.cache_clear()


@pytest.mark.parametrize("name", ["../outside", "ppo/../../outside", "/absolute", "ppo/\0"])
def test_the_index_names_no_file_outside_the_package(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where a file with the right content lies there."""
    folder, source = tmp_path / "package", pretrained.find("ppo/LabelMoons-v0")
    (folder / "ppo").mkdir(parents=True)
    name = name.replace("/absolute", str(tmp_path / "outside"))
    (tmp_path / "outside.safetensors").write_bytes(source.read_bytes())
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    (folder / "index.json").write_text(json.dumps({name: {"sha256": digest}}))
    monkeypatch.setattr(pretrained, "FOLDER", folder)
    pretrained.index.cache_clear()
    try:
        for look in (pretrained.index, lambda: pretrained.find(name), lambda: teach_gym.load_teacher(name)):
            with pytest.raises(DamagedDataError, match="leads to"):
                look()
        (folder / "index.json").write_text("{}")
        with pytest.raises(DamagedDataError, match="leads to"):
            publish(source, name)
        assert json.loads((folder / "index.json").read_text()) == {}
    finally:
        pretrained.index.cache_clear()


@pytest.mark.parametrize("content", ["", "[]", "[1]", '{"a": 1}', '{"a": {}}', '{"a": {"sha256": 1}}', "[" * 100_000])
def test_a_damaged_index_is_named(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "index.json").write_text(content)
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    pretrained.index.cache_clear()
    try:
        with pytest.raises(DamagedDataError, match=r"index\.json is no index"):
            pretrained.index()
    finally:
        pretrained.index.cache_clear()
