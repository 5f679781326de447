"""The leaderboard: entries are what was scored, replays confirm them, and every change is noticed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from teach_gym import pretrained
from teach_gym.benchmark import leaderboard
from teach_gym.benchmark.leaderboard import SEEDS, read_entry, submit, table, verify
from teach_gym.cli import main
from teach_gym.core.build import make_task
from teach_gym.errors import DamagedDataError
from teach_gym.registration import TASKS
from teach_gym.teachers import make_teacher, teach_episodes
from tools import leaderboard as tool

CODE = """
import numpy as np
import teach_gym

class Second(teach_gym.Teacher):
    name = "second"

    def __call__(self, task, state):
        return np.ones(len(state.w), dtype=np.int64)
"""
AGENT = "ppo/LabelMoons-v0"


@pytest.fixture(autouse=True)
def few_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaderboard, "SEEDS", SEEDS[:12])


def task_of(name: str) -> str:
    return name.split("/")[1].removesuffix("-v0")


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    return submit(pretrained.find(AGENT), task_of(AGENT), "mine", tmp_path / "board")[0]


def test_an_entry_holds_the_episodes_and_is_confirmed(entry: Path) -> None:
    about = read_entry(entry)
    task = make_task(task_of(AGENT))
    ends = teach_episodes(task, make_teacher("agent", path=AGENT), SEEDS[:12])[1]
    np.testing.assert_array_equal([float.fromhex(d) for d in about["ends"]], ends)
    assert entry.with_name(about["teacher"]["file"]).read_bytes() == pretrained.find(AGENT).read_bytes()
    assert verify(entry) == []
    with pytest.raises(FileExistsError, match="choose another name"):
        submit(pretrained.find(AGENT), task_of(AGENT), "mine", entry.parent)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("ends", None, "1 of 12 final values differ"),
        ("score", 9.9, "score is "),
        ("teacher", None, "the teacher is another one"),
        ("spec", None, "the task LabelMoons has changed since: budget"),
    ],
)
def test_what_differs_is_said(entry: Path, key: str, value: Any, says: str) -> None:
    about = json.loads(entry.read_text())
    if key == "ends":
        about[key][3] = float(np.nextafter(float.fromhex(about[key][3]), 1.0)).hex()
    elif key == "teacher":
        about[key]["sha256"] = "0" * 64
    elif key == "spec":
        about[key]["budget"] += 1
    else:
        about[key] = value
    entry.write_text(json.dumps(about))
    found = " | ".join(verify(entry)).replace(task_of(AGENT), "LabelMoons")
    assert says in found


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"seeds": [0, 12]},
        {"ends": ["0x1p0"]},
        {"ends": ["x"] * 12},
        {"score": "high"},
        {"spec": {"bogus": 1}},
        {"seeds": 3},
    ],
)
def test_damaged_entries(entry: Path, change: dict[str, Any]) -> None:
    entry.write_text(json.dumps({**json.loads(entry.read_text()), **change}))
    with pytest.raises(DamagedDataError, match="no entry of the leaderboard"):
        verify(entry)
    entry.write_text("[]")
    with pytest.raises(DamagedDataError):
        read_entry(entry)


def test_teachers_in_python_run_only_when_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_teachers.py").write_text(CODE)
    try:
        assert main(["submit", "my_teachers:Second", "SelectMoons:budget=5", "--folder", "board"]) == 0
        path = tmp_path / "board" / "SelectMoons-Second.json"
        assert "score" in capsys.readouterr().out and path.is_file()
        assert main(["verify", str(path)]) == 2
        assert "--run-code" in capsys.readouterr().err
        assert main(["verify", str(path), "--run-code"]) == 0
        assert "confirmed bit for bit" in capsys.readouterr().out
        (tmp_path / "my_teachers.py").write_text(CODE + "\n# changed\n")
        assert main(["verify", str(path), "--run-code"]) == 1
        assert "another one" in capsys.readouterr().out
    finally:
        sys.modules.pop("my_teachers", None)
    for wrong in ("my_teachers:Third", "json:dumps"):
        with pytest.raises(ValueError, match="no class of teachers"):
            submit(wrong, "SelectMoons", "x", tmp_path)
    with pytest.raises(FileNotFoundError, match="module:Class"):
        submit("nowhere.safetensors", "SelectMoons", "x", tmp_path)
    with pytest.raises(ValueError, match="an entry's name"):
        submit("my_teachers:Second", "SelectMoons", "../x", tmp_path)
    assert not (tmp_path / "x.json").exists()
    sys.modules.pop("my_teachers", None)


def test_the_table_orders_entries_by_task_and_score(entry: Path) -> None:
    about = json.loads(entry.read_text())
    entry.with_name("other.json").write_text(json.dumps({**about, "name": "other", "score": 99.0}))
    entry.with_name("first.json").write_text(json.dumps({**about, "name": "first", "task": next(iter(TASKS))}))
    first, second = table(entry.parent).split("\n## ")
    assert first.startswith(f"## {next(iter(TASKS))}\n") and "| first |" in first
    lines = second.splitlines()
    assert lines[0] == about["task"] and [line.split(" | ")[0] for line in lines[4:]] == ["| other", "| mine"]


@pytest.mark.parametrize("teacher", ["last:constraint=soft", "greedy", AGENT])
def test_teachers_of_the_package_enter_by_their_names(teacher: str, tmp_path: Path) -> None:
    task = task_of(teacher) if "/" in teacher else "LabelMoons"
    assert main(["submit", teacher, task, "--folder", str(tmp_path)]) == 0
    (path,) = tmp_path.iterdir()
    about = read_entry(path)
    assert about["teacher"]["builtin"] == teacher and path.stem == about["name"]
    ends = teach_episodes(make_task(task), make_teacher(teacher), SEEDS[:12])[1]
    np.testing.assert_array_equal([float.fromhex(d) for d in about["ends"]], ends)
    assert verify(path) == [] and f"`{teacher}`" in table(tmp_path)
    about["teacher"]["builtin"] = "passive"
    path.write_text(json.dumps(about))
    assert any("final values differ" in problem for problem in verify(path))


def test_an_unknown_teacher_gets_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="did you mean 'greedy'"):
        submit("gredy", "LabelMoons", "x", tmp_path)


def test_entries_of_the_package_are_written_renewed_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tool, "SEEDS", SEEDS[:12])
    monkeypatch.setattr(tool, "ORACLES", ("greedy", "imt", "last"))
    oracles, agents = ("greedy", "imt", "last"), ("ppo-LabelMoons-v0", "universal-label")
    assert {path.stem for path in tool.renew(tmp_path, ["LabelMoons"])} == {f"LabelMoons-{n}" for n in oracles + agents}
    assert tool.renew(tmp_path, ["LabelMoons"]) == []
    path = tmp_path / "LabelMoons-last.json"
    whole = path.read_text()
    path.write_text(json.dumps({**json.loads(whole), "score": 7.0}))
    assert tool.renew(tmp_path, ["LabelMoons"]) == [path] and path.read_text() == whole
    monkeypatch.setattr(tool, "ORACLES", ("greedy",))
    assert tool.renew(tmp_path, ["LabelMoons"]) == [] and not path.exists()


BOARD = sorted((Path(__file__).parents[2] / "leaderboard").glob("*.json"))


def test_the_committed_entries_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaderboard, "SEEDS", SEEDS)
    entries = [read_entry(path) for path in BOARD]
    assert [entry["name"] for entry in entries] == [path.stem for path in BOARD]
    assert {entry["task"].partition(":")[0] for entry in entries} == set(TASKS), "run: make leaderboard"
    trained = {entry["teacher"]["sha256"] for entry in entries if "/" in entry["teacher"].get("builtin", "")}
    assert trained <= {card["sha256"] for card in pretrained.index().values()}, "run: make leaderboard"


@pytest.mark.slow
@pytest.mark.parametrize("path", BOARD, ids=lambda path: path.stem)
def test_the_committed_entries_are_confirmed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaderboard, "SEEDS", SEEDS)
    assert verify(path) == []
