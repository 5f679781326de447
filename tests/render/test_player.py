"""The lesson player: what it records of a lesson, and that its page plays in a browser."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from teach_gym.cli import main
from teach_gym.core.build import make_task
from teach_gym.core.metrics import METRICS
from teach_gym.core.state import Task
from teach_gym.render.player import page, record, scene, write_player
from teach_gym.render.views import view_of
from teach_gym.teachers import lesson, make_teacher

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def made(task: Task, *teachers: str, seed: int = 3) -> list[dict]:
    return [record(task, name, *lesson(task, make_teacher(name), [seed])) for name in teachers]


def test_every_task_can_be_recorded(name: str) -> None:
    task = make_task(name, budget=3)
    (found,) = made(task, "passive")
    about = scene(task, name)
    assert len(found["steps"]) == 4 and "shown" not in found["steps"][0]
    assert all(len(step["curves"]) == len(about["curves"]) == 2 for step in found["steps"])
    assert len(json.dumps([about, found], allow_nan=False)) < 200_000
    assert (about["target"] is None) == (task.black_box and not task.spec.debug)


def test_records_hold_the_lesson_as_it_was() -> None:
    task = make_task("PerturbDigits", budget=6)
    _, transitions = lesson(task, make_teacher("greedy"), [3])
    steps = list(transitions)
    (found,) = made(task, "greedy")
    view = view_of(task)
    for transition, kept in zip(steps, found["steps"][1:], strict=True):
        distance, accuracy = kept["curves"]
        assert distance == pytest.approx(float(transition.state.distance[0]), rel=1e-4)
        assert accuracy == pytest.approx(float(METRICS["holdout_accuracy"](task, transition.state)[0]), rel=1e-4)
        (shown,) = kept["shown"]
        np.testing.assert_allclose(
            shown["at"], view.project(transition.example.x[0, 0]), atol=5e-4 * np.abs(shown["at"]).max()
        )
        pixels = np.frombuffer(base64.b64decode(shown["images"][-1]), dtype=np.uint8).reshape(shown["shape"])
        assert pixels.shape == (8, 8) and len(shown["images"]) == 1 + shown["moved"]
        assert len(base64.b64decode(kept["tint"])) == 3 * scene(task, "x")["tint"] ** 2


def test_a_learner_that_diverged_is_still_shown() -> None:
    task = make_task("LabelMoons", learning_rate=1e200, budget=5)
    text = page([(scene(task, "x"), {0: made(task, "random")})])
    assert "NaN" not in re.search(r'id="data">(.*?)</script>', text, re.S)[1]


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    task = make_task("LabelMoons", budget=4)
    about = {**scene(task, "</script><b>"), "name": "</script><b>"}
    write_player(tmp_path / "lesson.html", [(about, {0: made(task, "passive"), 1: made(task, "greedy", seed=1)})])
    text = (tmp_path / "lesson.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=|https?://", text) and "</script><b>" not in text
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
    assert data[0]["scene"]["name"] == "</script><b>" and [s["seed"] for s in data[0]["seeds"]] == [0, 1]
    with pytest.raises(ValueError, match="no lessons"):
        write_player(tmp_path / "none.html", [(about, {})])
    assert not (tmp_path / "none.html").exists()


def test_the_command_writes_a_page_for_several_teachers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "lesson.html"
    assert main(["render", "LabelMoons:budget=5", "passive", "greedy", "--seed", "0", "1", "--out", str(out)]) == 0
    assert "4 lessons" in capsys.readouterr().out and out.stat().st_size > 20_000
    assert main(["render", "LabelMoons:budget=5", "passive", "greedy", "--out", str(tmp_path / "a.gif")]) == 2
    assert "one teacher and one seed" in capsys.readouterr().err and not (tmp_path / "a.gif").exists()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium")
def test_the_page_draws_in_a_browser(tmp_path: Path) -> None:
    task = make_task("LabelMoons", budget=20)
    out = tmp_path / "lesson.html"
    write_player(out, [(scene(task, "LabelMoons"), {0: made(task, "passive", "greedy", seed=0)})])
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=2000", "--dump-dom"]
    done = subprocess.run([*command, f"file://{out}#t=7"], capture_output=True, text=True, timeout=120)
    assert "step 7 / 20" in done.stdout and done.stdout.count('class="pane"') == 2
