from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import teach_gym.teachers
from teach_gym.backend import Array
from teach_gym.benchmark import summary as summaries
from teach_gym.benchmark.report import to_csv, to_html, to_markdown, write_report
from teach_gym.benchmark.run import EVALUATIONS, RunError, evaluation_iterations, execute, run_suite
from teach_gym.benchmark.score import Paired, task_score
from teach_gym.benchmark.store import Store, read_rows
from teach_gym.benchmark.suite import (
    FIRST_SEED,
    SUITES,
    Run,
    Suite,
    canonical_teacher,
    evaluation_seeds,
    expand,
    format_call,
    parse_call,
    parse_seeds,
    task_spec,
)
from teach_gym.build import make_task
from teach_gym.errors import DamagedDataError
from teach_gym.registration import TASKS, task_kwargs
from teach_gym.task import Task, TeachState
from teach_gym.teachers import TEACHERS, Teacher

Row = dict[str, Any]
SHORT = "LabelMoons:budget=12"
SUITE = Suite("test", (SHORT, "SelectMoons:budget=8"), ("passive", "random", "greedy"), (3, 5, 9))


@dataclass
class Broken(Teacher):
    """Raises in the middle of a run."""

    name: str = field(default="broken", init=False)

    def __call__(self, task: Task, state: TeachState) -> Array:
        if state.t[0] == 3:
            raise RuntimeError("the chalk broke")
        return task.medium.passive(state.y)


def lasting(row: Row) -> Row:
    """A row without what differs from one time to the next."""
    return {key: value for key, value in row.items() if key != "timing"}


def by_id(rows: list[Row]) -> dict[str, Row]:
    return {row["id"]: lasting(row) for row in rows}


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    return expand(SUITE)


@pytest.fixture(scope="module")
def rows(runs: list[Run], tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    return run_suite(runs, tmp_path_factory.mktemp("bench") / "runs.jsonl", executor="serial", progress=False)


# ---------------------------------------------------------------------------------------------------------- suites


def test_suites_name_registered_tasks_and_teachers() -> None:
    for suite in SUITES.values():
        assert set(suite.tasks) <= set(TASKS)
        offered = {*suite.teachers, *(t for extra in suite.extra.values() for t in extra)}
        assert {parse_call(text, "teacher")[0] for text in offered} <= set(TEACHERS)
        media = {TASKS[name]["medium"] for name in TASKS}
        assert set(suite.extra) <= media | set(TASKS)
    assert not [name for name in SUITES["default"].tasks if TASKS[name]["pool"] == "mnist"]
    assert set(SUITES["full"].tasks) == set(TASKS)
    assert len(SUITES["default"].seeds) >= 10 and min(SUITES["default"].seeds) >= FIRST_SEED


def test_the_default_suite_has_every_task_with_passive_and_greedy_and_only_fitting_teachers() -> None:
    suite = dataclasses.replace(SUITES["default"], seeds=(1,))
    found: dict[str, set[str]] = {}
    for run in expand(suite):
        found.setdefault(run.task, set()).add(run.teacher)
    assert set(found) == set(suite.tasks)
    assert all({"passive", "greedy"} <= teachers for teachers in found.values())
    assert "distillation" in found["LabelMoons"] and "distillation" not in found["LabelRegression"]
    assert "imt" in found["SelectMoons"] and "imt" not in found["LabelMoons"]


def test_passive_and_greedy_are_added_and_nothing_is_doubled() -> None:
    suite = Suite("x", (SHORT, SHORT), ("last:radius=1.0,constraint=soft", "last:constraint='soft',radius=1.0"), (0,))
    assert [run.teacher for run in expand(suite)] == ["passive", "greedy", "last:constraint=soft,radius=1.0"]


def test_a_named_teacher_must_fit_some_task() -> None:
    suite = Suite("x", ("LabelRegression",), ("distillation",), (0,))
    assert {run.teacher for run in expand(suite)} == {"passive", "greedy"}
    with pytest.raises(
        ValueError, match=r"'distillation' fits none of the chosen tasks; LabelRegression.*least_squares"
    ):
        expand(suite, named=suite.teachers)


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("greedy", "greedy", {}),
        ("last:constraint=soft", "last", {"constraint": "soft"}),
        ("last:constraint='soft',radius=2", "last", {"constraint": "soft", "radius": 2}),
        ("a:x=-1.5e3,y=[1, (2, 3)],t=True", "a", {"x": -1500.0, "y": [1, (2, 3)], "t": True}),
        ("a:z={'k': None}", "a", {"z": {"k": None}}),
        ("a:word=one-hot", "a", {"word": "one-hot"}),
        ("a:word='True',other='1'", "a", {"word": "True", "other": "1"}),
    ],
)
def test_parse_call(text: str, name: str, options: dict[str, Any]) -> None:
    assert parse_call(text, "teacher") == (name, options)
    assert parse_call(format_call(name, options), "teacher") == (name, options)


@pytest.mark.parametrize("text", ["a:", "a:x", "a:x=", "a:x=f(1)", "a:**{}", "a:x=1)", "a:x=1;y=2", "a:x=1+y"])
def test_parse_call_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"teacher '.*' must be written name or name:option=value"):
        parse_call(text, "teacher")


def test_parse_seeds() -> None:
    assert parse_seeds("3") == evaluation_seeds(3) == (FIRST_SEED, FIRST_SEED + 1, FIRST_SEED + 2)
    assert parse_seeds("3,") == (3,)
    assert parse_seeds("7, 1,3") == (7, 1, 3)
    for wrong in ("", "0", "x", "1,1", "-1,", "1.5", ","):
        with pytest.raises(ValueError, match="seeds must be"):
            parse_seeds(wrong)


def test_task_text() -> None:
    assert task_spec("teach_gym/LabelMoons-v0") == task_spec("LabelMoons")
    label, spec = task_spec("LabelMoons:budget=12,learning_rate=0.25")
    assert label == "LabelMoons:budget=12,learning_rate=0.25"
    expected = make_task(**{**task_kwargs("LabelMoons"), "budget": 12, "learning_rate": 0.25}).spec
    assert json.loads(spec) == json.loads(expected.to_json())
    with pytest.raises(ValueError, match="did you mean 'LabelMoons'"):
        task_spec("LabelMoon")
    with pytest.raises(TypeError, match=r"has no field \['bugdet'\]"):
        task_spec("LabelMoons:bugdet=3")


def test_ids_depend_on_everything_that_decides_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run("LabelMoons", task_spec("LabelMoons")[1], "greedy", 3)
    others = [
        dataclasses.replace(run, seed=4),
        dataclasses.replace(run, teacher="passive"),
        dataclasses.replace(run, spec=task_spec("LabelMoons:budget=61")[1]),
    ]
    assert len({run.id, *(other.id for other in others)}) == 4
    assert dataclasses.replace(run, task="another label").id == run.id
    before = run.id
    monkeypatch.setattr(teach_gym, "__version__", "9.9.9")
    assert run.id != before


# ------------------------------------------------------------------------------------------------------------ runs


def test_a_row_repeats_what_the_environment_does(runs: list[Run], rows: list[Row]) -> None:
    run, row = next((a, b) for a, b in zip(runs, rows, strict=True) if a.teacher == "passive" and a.seed == 5)
    env = gym.make("teach_gym/LabelMoons-v0", budget=12)
    _, info = env.reset(seed=5)
    distances, over = [info["distance"]], False
    teacher = teach_gym.teachers.make_teacher("passive")
    while not over:
        action = teacher(env.unwrapped.task, env.unwrapped.state)[0]
        _, _, over, _, info = env.step(action)
        distances.append(info["distance"])
    assert row["curves"]["distance"] == pytest.approx(distances, rel=1e-12)
    assert row["steps"] == 12 and row["finished"] and row["error"] is None
    assert row["spec"] == json.loads(run.spec) and row["id"] == run.id


def test_a_row_is_complete_plain_json(rows: list[Row]) -> None:
    for row in rows:
        assert json.loads(json.dumps(row, allow_nan=False)) == row
        budget = row["spec"]["budget"]
        assert row["iterations"] == list(range(budget + 1))
        assert all(len(curve) == budget + 1 for curve in row["curves"].values())
        assert set(row["versions"]) == {"teach_gym", "numpy", "gymnasium", "python"}
        assert row["timing"]["teacher_seconds_per_step"] > 0
    gradients = {row["teacher"]: row["gradient_evaluations"] for row in rows if row["task"] == SHORT}
    assert gradients == {"passive": 0, "random": 0, "greedy": 5}


def test_costly_metrics_are_taken_at_first_and_last_iteration() -> None:
    assert evaluation_iterations(7) == list(range(8))
    for budget in (EVALUATIONS, EVALUATIONS + 1, 333, 10_000):
        points = evaluation_iterations(budget)
        assert points[0] == 0 and points[-1] == budget and len(points) == EVALUATIONS + 1
        assert max(np.diff(points)) - min(np.diff(points)) <= 1


def test_a_run_that_arrives_keeps_its_last_value() -> None:
    label, spec = task_spec("LabelMoons:budget=70,tolerance=0.5")
    row = execute(Run(label, spec, "greedy", 0))
    steps, curve = row["steps"], row["curves"]["distance"]
    assert 0 < steps < 70 and len(curve) == 71
    assert curve[steps - 1] >= 0.5 > curve[steps] and set(curve[steps:]) == {curve[steps]}
    assert len(row["curves"]["test_accuracy"]) == len(row["iterations"]) < 71
    before = max(t for t in row["iterations"] if t <= steps)
    assert row["curves"]["train_loss"][-1] == row["curves"]["train_loss"][row["iterations"].index(before)]


def test_a_diverged_learner_is_recorded_and_reported(tmp_path: Path) -> None:
    suite = Suite("x", ("LabelRegression:learning_rate=30.0,budget=300",), ("last",), (0, 1))
    rows = run_suite(expand(suite), tmp_path / "runs.jsonl", executor="serial", progress=False)
    failed = [row for row in rows if row["teacher"] == "passive"]
    assert len(failed) == 2 and not any(row["finished"] for row in failed)
    for row in failed:
        assert re.search(r"diverged at step \d+", row["error"]) and row["steps"] < 300
        assert len(row["curves"]["distance"]) == row["steps"], "up to the last finite learner"
    assert read_rows(tmp_path / "runs.jsonl") == rows
    summary = summaries.summarize(rows)
    entry = next(entry for entry in summary.entries if entry.teacher == "passive")
    assert entry.diverged == 2 and np.isnan(entry.final_distance)
    assert "2 (2 diverged)" in to_markdown(summary)


def test_an_exception_stops_one_run_only_and_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TEACHERS, "broken", f"{__name__}:Broken")
    runs = expand(Suite("x", (SHORT,), ("broken", "random"), (0, 1)))
    with pytest.raises(RunError, match=r"2 of 8 runs .* broken seed 0: RuntimeError: the chalk broke"):
        run_suite(runs, tmp_path / "runs.jsonl", executor="serial", progress=False)
    assert {row["teacher"] for row in read_rows(tmp_path / "runs.jsonl")} == {"passive", "greedy", "random"}
    monkeypatch.setitem(TEACHERS, "broken", "teach_gym.teachers.baselines:Passive")
    rows = run_suite(runs, tmp_path / "runs.jsonl", executor="serial", progress=False)
    assert len(rows) == 8 and [row["id"] for row in rows] == [run.id for run in runs]
    assert len(read_rows(tmp_path / "runs.jsonl")) == 8


def test_unknown_executor_and_workers(runs: list[Run], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown executor 'serail'.*process, serial; did you mean 'serial'"):
        run_suite(runs, tmp_path / "runs.jsonl", executor="serail")
    with pytest.raises(ValueError, match="workers must be > 0"):
        run_suite(runs, tmp_path / "runs.jsonl", workers=0)
    assert not list(tmp_path.iterdir())


# -------------------------------------------------------------------------------------------------------- resuming


@pytest.mark.parametrize("cut", [1, 7, 400, -1])
def test_a_last_line_cut_short_is_repaired(cut: int, runs: list[Run], rows: list[Row], tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    lines = [json.dumps(row).encode() + b"\n" for row in rows]
    path.write_bytes(b"".join(lines[:4]) + lines[4][:cut])
    assert read_rows(path) == rows[:4]
    again = run_suite(runs, path, executor="serial", progress=False)
    assert again[:4] == rows[:4], "finished runs are not repeated"
    assert by_id(again) == by_id(rows)
    assert [row["id"] for row in read_rows(path)] == [row["id"] for row in rows]


def test_rows_of_other_runs_stay_in_the_file(runs: list[Run], rows: list[Row], tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    first = run_suite(runs[:2], path, executor="serial", progress=False)
    second = run_suite(runs[5:6], path, executor="serial", progress=False)
    assert read_rows(path) == first + second
    assert by_id(second) == by_id(rows[5:6])


@pytest.mark.parametrize("text", ["my notes", "my notes\n", '{"format": 1}\n', '[1]\n{"format": ', "3\n"])
def test_a_file_that_is_not_ours_is_left_alone(text: str, runs: list[Run], tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(text)
    with pytest.raises(DamagedDataError, match="results"):
        run_suite(runs, path, executor="serial", progress=False)
    assert path.read_text() == text


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with Store(tmp_path / "runs.jsonl"), pytest.raises(BlockingIOError, match="written by another process"):
        Store(tmp_path / "runs.jsonl")
    Store(tmp_path / "runs.jsonl").close()


def test_a_row_that_cannot_be_written_whole_leaves_the_file_as_it_was(
    tmp_path: Path, rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    with Store(tmp_path / "runs.jsonl") as store:
        store.append(rows[0])
        monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:50]))
        with pytest.raises(OSError, match="disk full"):
            store.append(rows[1])
        monkeypatch.undo()
        store.append(rows[2])
    assert read_rows(tmp_path / "runs.jsonl") == [rows[0], rows[2]]


def _wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.skipif(os.name != "posix", reason="kills a POSIX process group")
def test_killed_and_interrupted_benchmarks_go_on_where_they_were(tmp_path: Path) -> None:
    """SIGKILL to the parent, Ctrl-C to the whole group, then to the end: nothing lost, repeated or changed."""
    suite = Suite("x", ("LabelMoons:budget=60",), ("planning:samples=256",), tuple(range(10)))
    runs, out = expand(suite), tmp_path / "killed"
    path = out / "runs.jsonl"
    options = ["--tasks", *suite.tasks, "--teachers", *suite.teachers, "--seeds", ",".join(map(str, suite.seeds))]
    command = [sys.executable, "-m", "teach_gym", "bench", *options, "--workers", "2", "--no-html", "--out", str(out)]
    kept = 0
    for stop, at, code in ((signal.SIGKILL, 3, -signal.SIGKILL), (signal.SIGINT, 22, 130)):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert _wait_for(lambda at=at, process=process: _lines(path) >= at or process.poll() is not None, 60)
        if stop == signal.SIGKILL:
            process.kill()
        else:
            os.killpg(process.pid, stop)
        error = process.communicate(timeout=30)[1]
        assert process.returncode == code, error
        assert "Traceback" not in error
        assert _wait_for(lambda process=process: _gone(process.pid), 10), "workers outlived the parent"
        done = _lines(path)
        assert kept < done < len(runs), "stopped too late to test anything"
        kept = done
    whole = path.read_bytes()
    rows = run_suite(runs, path, executor="serial", progress=False)
    assert path.read_bytes().startswith(whole[: whole.rfind(b"\n") + 1]), "append only"
    assert sorted(row["id"] for row in read_rows(path)) == sorted(run.id for run in runs)
    fresh = run_suite(runs, tmp_path / "fresh.jsonl", executor="serial", progress=False)
    assert by_id(rows) == by_id(fresh)


# ---------------------------------------------------------------------------------------------------------- report


class Page(HTMLParser):
    """What a page refers to, its ids and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.labels: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for key, value in attrs:
            if key in ("href", "xlink:href", "src", "srcset", "data", "action", "poster"):
                self.links.append(value or "")
            elif key == "id":
                self.ids.append(value or "")
            elif key == "aria-label":
                self.labels.append(value or "")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def page(rows: list[Row]) -> tuple[str, Page]:
    pytest.importorskip("matplotlib")
    text = to_html(summaries.summarize(rows), "teach-gym bench <test> & more")
    return text, Page(text)


def test_the_page_is_self_contained(page: tuple[str, Page]) -> None:
    text, parsed = page
    assert "http:" not in text and "https:" not in text and "@import" not in text
    assert not {"script", "link", "iframe", "img", "object", "embed"} & set(parsed.tags)
    assert len(parsed.ids) == len(set(parsed.ids)), "ids are unique across the charts"
    assert parsed.links and all(link.startswith("#") for link in parsed.links)
    inside = {link[1:] for link in parsed.links} | set(re.findall(r"url\(#([^)]*)\)", text))
    assert inside <= set(parsed.ids)
    assert not re.findall(r"url\((?!#)", text)


def test_the_page_shows_every_task_teacher_seed_and_version(page: tuple[str, Page], rows: list[Row]) -> None:
    _, parsed = page
    text = " ".join(parsed.texts)
    for row in rows:
        assert row["task"] in parsed.texts
        assert (row["teacher"] if row["teacher"] != "greedy" else "greedy oracle") in parsed.texts
    assert "3, 5, 9" in text and "teach-gym bench <test> & more" in text
    assert f"numpy {np.__version__}" in text
    assert parsed.tags.count("figure") == 1 + 4 * 2 == len([name for name in parsed.labels if name != "Tasks"])
    assert text.count("optimal") == 0


def test_tables_hold_the_means_and_scores_of_the_rows(rows: list[Row]) -> None:
    final = {
        name: np.array([r["curves"]["distance"][-1] for r in rows if (r["task"], r["teacher"]) == (SHORT, name)])
        for name in ("passive", "greedy", "random")
    }
    lines = list(csv.DictReader(io.StringIO(to_csv(summaries.summarize(rows)))))
    assert len(lines) == 2 * 3
    line = next(line for line in lines if (line["task"], line["teacher"]) == (SHORT, "random"))
    gain = (final["passive"] - final["random"]).mean() / (final["passive"] - final["greedy"]).mean()
    assert float(line["final_distance"]) == pytest.approx(final["random"].mean())
    assert float(line["final_distance_std"]) == pytest.approx(final["random"].std(ddof=1))
    assert float(line["score"]) == pytest.approx(gain)
    expected = task_score(Paired(final["passive"], final["greedy"], final["random"]))
    assert float(line["score_low"]) == expected.low and float(line["score_high"]) == expected.high
    markdown = to_markdown(summaries.summarize(rows))
    assert f"| {SHORT} | random | {gain:.2f} [{expected.low:.2f}, {expected.high:.2f}] |" in markdown


def test_auc_scores_are_of_the_log_distance_above_the_tolerance(rows: list[Row]) -> None:
    summary = summaries.summarize(rows, "auc")
    area = {}
    for row in rows:
        curve = np.maximum(row["curves"]["distance"], row["spec"]["tolerance"])
        area.setdefault((row["task"], row["teacher"]), []).append(np.log(curve).mean())
    mean = {key: np.mean(values) for key, values in area.items()}
    for entry in summary.entries:
        passive, greedy = mean[entry.task, "passive"], mean[entry.task, "greedy"]
        assert entry.score == pytest.approx((passive - mean[entry.task, entry.teacher]) / (passive - greedy))
    assert "log distance" in to_markdown(summary)


def test_latest_of_duplicates_and_two_specs_of_one_name(rows: list[Row]) -> None:
    newer = json.loads(json.dumps(rows[0]))
    newer["curves"]["distance"][-1] = 42.0
    grouped = summaries.group([*rows, newer])
    assert grouped[SHORT][newer["teacher"]][0]["curves"]["distance"][-1] == 42.0
    assert sum(len(found) for teachers in grouped.values() for found in teachers.values()) == len(rows)
    other = json.loads(json.dumps(rows[0]))
    other["spec"]["learning_rate"], other["id"] = 0.123, hashlib.sha256(b"other").hexdigest()
    labels = list(summaries.group([*rows, other]))
    assert len(labels) == 3 and sum(label.startswith(f"{SHORT} [") for label in labels) == 2


def test_scores_pair_the_seeds_that_all_three_have(rows: list[Row]) -> None:
    partial = [row for row in rows if (row["teacher"], row["seed"]) != ("greedy", 9)]
    entries = {(e.task, e.teacher): e for e in summaries.summarize(partial).entries}
    fewer = {(e.task, e.teacher): e for e in summaries.summarize([r for r in rows if r["seed"] != 9]).entries}
    assert entries[SHORT, "random"].score == fewer[SHORT, "random"].score
    assert entries[SHORT, "random"].seeds == 3
    alone = summaries.summarize([row for row in rows if row["teacher"] == "random"])
    assert all(np.isnan(entry.score) for entry in alone.entries) and alone.aggregate == {}
    assert "random" in to_markdown(alone)


def test_write_report(rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    rows = [row for row in rows if row["task"] == SHORT]
    first = write_report(rows, tmp_path / "new" / "folder", command="c")
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == {
        "summary.csv",
        "report.md",
        "report.html",
    }
    text = first["html"].read_text(encoding="utf-8")
    assert write_report(rows, tmp_path / "again", command="c")["html"].read_text(encoding="utf-8") == text
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'teach_gym\[plots\]'"):
        write_report(rows, tmp_path / "bare", command="c")
    write_report(rows, tmp_path / "bare", command="c", html=False)
    assert {path.name for path in (tmp_path / "bare").iterdir()} == {"summary.csv", "report.md"}
    with pytest.raises(ValueError, match="no rows"):
        write_report([], tmp_path, command="c")


def test_teachers_are_told_apart_by_canonical_spelling() -> None:
    assert canonical_teacher("last: radius = 1.0 , constraint='soft'") == "last:constraint=soft,radius=1.0"
