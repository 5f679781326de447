"""Reference scores of the environments' pages: the benchmark's figures, and a picture for every task."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from teach_gym.benchmark.store import read_rows
from teach_gym.benchmark.summary import display, number, summarize, with_interval
from teach_gym.cli import main
from teach_gym.registration import TASKS
from tools.reference import read_scores, section, write_curves

DOCS = Path(__file__).parents[2] / "docs"


def test_every_registered_task_has_scores_and_curves() -> None:
    scores = read_scores(DOCS / "results")
    assert set(scores) == set(TASKS)
    for name, rows in scores.items():
        assert [row[0] for row in rows[:2]] == ["passive", "greedy oracle"]
        text = (DOCS / "environments" / f"{name}.md").read_text(encoding="utf-8")
        assert "\n\n".join(section(name, scores, black_box=name.startswith("BlackBox"))) in text
        with Image.open(DOCS / "images" / "curves" / f"{name}.png") as image:
            assert image.width >= 480 and len(image.convert("L").getcolors() or range(300)) > 20


def test_scores_and_curves_are_those_of_the_benchmark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    tasks, teachers = ["LabelMoons", "BlackBoxLabelMoons"], ["passive", "greedy", "holdout_greedy", "random"]
    arguments = ["--tasks", *tasks, "--teachers", *teachers, "--seeds", "3", "--executor", "serial"]
    assert main(["bench", "smoke", *arguments, "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    (tmp_path / "report.md").rename(tmp_path / "benchmark.md")
    found = read_scores(tmp_path)
    entries = summarize(read_rows(tmp_path / "runs.jsonl")).entries
    told = {(task, row[0]): row[1:] for task, rows in found.items() for row in rows}
    assert len(told) == len(entries) > 6
    for entry in entries:
        score, end, loss, episodes = told[entry.task, display(entry.teacher)]
        assert score == with_interval(entry.score, entry.score_low, entry.score_high)
        assert end.split()[0] == number(entry.final_distance) and loss == number(entry.holdout_loss)
        assert int(episodes) == entry.seeds == 3
    assert [path.name for path in write_curves(tmp_path, tmp_path / "curves")] == [f"{task}.png" for task in tasks]
    with pytest.raises(FileNotFoundError, match="missing"):
        write_curves(tmp_path / "missing")
