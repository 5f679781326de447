"""The page about far-sighted teaching: its record against the registry, its tables against the record, its commands."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from teach_gym.benchmark.evaluation import Evaluation
from teach_gym.core.build import make_task
from teach_gym.core.foresight import digest
from teach_gym.core.spec import TaskSpec
from teach_gym.registration import TASKS
from teach_gym.teachers import make_teacher
from tools import farsighted, farsighted_page

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "far-sighted.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DOCS / farsighted_page.RECORD).read_text(encoding="utf-8"))
    return found


def test_the_record_is_of_the_registered_tasks_and_the_page_of_the_record(record: dict[str, Any]) -> None:
    assert list(record["scores"]) == farsighted_page.scored_tasks()
    for name, row in record["scores"].items():
        task_digest = digest(TaskSpec(**TASKS[name]))
        assert all(entry["task"] == task_digest for entry in row.values()), name
    parts = {"scores": farsighted_page.score_table(record["scores"])}
    parts["curves"] = farsighted_page.curve_table(record["curves"])
    assert farsighted_page.filled(PAGE, parts) == PAGE


def test_theory_lies_within_the_simulated_intervals(record: dict[str, Any]) -> None:
    """Widened from 1.96 to 5 standard errors; in two dimensions only the first half, later rare episodes decide."""
    for panel, curves in record["curves"].items():
        for found in curves.values():
            if found["theory"] is not None:
                mean, half, theory = (np.array(found[key]) for key in ("mean", "half", "theory"))
                steps = slice(None, len(mean) // 2 if panel == "Gaussian clusters" else None)
                assert (np.abs(mean - theory)[steps] <= 5 / 1.96 * half[steps] + 1e-9).all(), panel
        assert curves["optimal"]["theory"][-1] <= curves["greedy LAST"]["theory"][-1]


def test_the_commands_and_the_code_of_the_page_run(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    monkeypatch.setattr(farsighted, "tune", lambda names, out: called.append("tune"))
    monkeypatch.setattr(farsighted_page, "measured", lambda path, again: {})
    monkeypatch.setattr(farsighted_page, "write", lambda docs, found: called.append("page"))
    commands = re.findall(r"`python -m tools\.farsighted (.*?)`", PAGE)
    for command in commands:
        assert farsighted.main(shlex.split(command)) == 0
    assert sorted(called) == sorted(commands) == ["page", "tune"]
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(block, names)
    assert names["expected"].shape == (3,)


def test_the_tests_and_pages_that_the_page_names_are_there() -> None:
    for file in re.findall(r"`(tests/\S+\.py|docs/\S+)`", PAGE):
        assert (DOCS.parent / file).is_file(), file
    for file in re.findall(r"\]\(([^)#:]+)\)", PAGE):
        assert (DOCS / file).is_file(), file


def test_scores_are_those_of_an_evaluation_and_known_ones_are_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(farsighted_page, "EPISODES", 12)
    monkeypatch.setattr(farsighted_page, "TEACHERS", ("greedy", "planning", "lqr", "last:horizon=budget"))
    monkeypatch.setattr(farsighted_page, "CURVES", {})
    path = tmp_path / "record.json"
    found = farsighted_page.measured(path, ["LabelMoons"])
    task = make_task("LabelMoons")
    evaluation = Evaluation(task, range(farsighted_page.FIRST_SEED, farsighted_page.FIRST_SEED + 12))
    for teacher, entry in found["scores"]["LabelMoons"].items():
        expected = evaluation.score(make_teacher(teacher))
        assert entry["score"] == pytest.approx([expected.score, expected.low, expected.high], abs=1e-4)
    assert json.loads(path.read_text()) == found
    monkeypatch.setattr(farsighted_page, "ends", None)
    assert farsighted_page.measured(path, ["LabelMoons"]) == found
    monkeypatch.setattr(farsighted_page, "EPISODES", 13)
    with pytest.raises(TypeError):
        farsighted_page.measured(path, ["LabelMoons"])


def test_free_labels_are_scored_where_labels_are_set_and_closed_forms_where_there_are_any() -> None:
    assert farsighted_page.taught(make_task("LabelMoons")) == list(farsighted_page.TEACHERS)
    assert "last" not in farsighted_page.taught(make_task("SelectMoons"))
    assert "lqr:fitted=2" not in farsighted_page.taught(make_task("SelectDigits"))


def test_the_figure_has_a_panel_for_each_pool(record: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for _ in range(2):
        farsighted_page.figure(record["curves"], tmp_path / "drawn.svg")
    drawn = (tmp_path / "drawn.svg").read_text(encoding="utf-8")
    for text in (*record["curves"], "theory", "plain SGD"):
        assert f">{text}<" in drawn
    assert drawn.count('<g id="axes_') == len(farsighted_page.CURVES)


@pytest.mark.parametrize("text", ["nothing", "<!-- a -->\n<!-- /a --><!-- /a -->", "<!-- /a --> <!-- a -->"])
def test_a_page_without_its_marks_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="once each"):
        farsighted_page.filled(text, {"a": "x"})
