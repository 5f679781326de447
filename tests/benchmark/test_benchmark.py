from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from conftest import SHORT_SUITE
from gated import GATE, admit
from process_cases import PATIENCE, file_limit, group_is_gone, lines, wait_for

import teach_gym.benchmark.suite
import teach_gym.teachers
from teach_gym.benchmark import summary as summaries
from teach_gym.benchmark.episode import EVALUATIONS, evaluation_iterations
from teach_gym.benchmark.execute import execute
from teach_gym.benchmark.processes import in_processes, interrupts_held
from teach_gym.benchmark.rows import FORMAT, sealed
from teach_gym.benchmark.run import RunError, run_suite
from teach_gym.benchmark.store import Store, read_rows
from teach_gym.benchmark.suite import Run, Suite, evaluation_seeds, expand, plan
from teach_gym.benchmark.tables import to_markdown
from teach_gym.core.backend import Array
from teach_gym.core.state import Task, TeachState
from teach_gym.errors import DamagedDataError
from teach_gym.teachers import TEACHERS, Teacher

Row = dict[str, Any]
SHORT = SHORT_SUITE.tasks[0]
SUITE = SHORT_SUITE


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
    return {key: value for key, value in row.items() if key not in ("timing", "checksum")}


def by_id(rows: list[Row]) -> dict[str, Row]:
    return {row["id"]: lasting(row) for row in rows}


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
        assert row["timing"]["teacher_seconds_per_step"] >= 0
    gradients = {row["teacher"]: row["gradient_evaluations"] for row in rows if row["task"] == SHORT}
    assert gradients == {"passive": 0, "random": 0, "greedy": 5}


def test_costly_metrics_are_taken_at_first_and_last_iteration() -> None:
    assert evaluation_iterations(7) == list(range(8))
    for budget in (EVALUATIONS, EVALUATIONS + 1, 333, 10_000):
        points = evaluation_iterations(budget)
        assert points[0] == 0 and points[-1] == budget and len(points) == EVALUATIONS + 1
        assert max(np.diff(points)) - min(np.diff(points)) <= 1


def test_a_run_that_arrives_keeps_its_last_value() -> None:
    row = execute(*plan("LabelMoons:budget=70,tolerance=0.5", "greedy", [0]))
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
    suite = Suite("x", (SHORT,), ("broken", "random"), (0, 1))
    runs = expand(suite)
    with pytest.raises(RunError, match=r"2 of 8 runs .* broken seed 0: RuntimeError: the chalk broke"):
        run_suite(runs, tmp_path / "runs.jsonl", executor="serial", progress=False)
    assert {row["teacher"] for row in read_rows(tmp_path / "runs.jsonl")} == {"passive", "greedy", "random"}
    monkeypatch.setitem(TEACHERS, "broken", "teach_gym.teachers.oracles.baselines:Passive")
    with pytest.raises(RunError, match=r"teacher code of .* broken changed after the benchmark was started"):
        run_suite(runs, tmp_path / "runs.jsonl", executor="serial", progress=False)
    runs = expand(suite)
    rows = run_suite(runs, tmp_path / "runs.jsonl", executor="serial", progress=False)
    assert len(rows) == 8 and [row["id"] for row in rows] == [run.id for run in runs]
    assert len(read_rows(tmp_path / "runs.jsonl")) == 8


def test_unknown_executor_and_workers(runs: list[Run], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown executor 'serail'.*process, ray, serial; did you mean 'serial'"):
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


def test_rows_of_older_code_are_not_taken_for_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, suite = tmp_path / "runs.jsonl", Suite("x", (SHORT,), ("random",), (0,))
    before = run_suite(expand(suite), path, executor="serial", progress=False)
    assert run_suite(expand(suite), path, executor="serial", progress=False) == before == read_rows(path)
    digest = teach_gym.benchmark.suite.code_digest
    changed = teach_gym.teachers.teacher_class("random").__module__
    monkeypatch.setattr(
        "teach_gym.benchmark.suite.code_digest", lambda *modules: digest(*modules) + "+" * (changed in modules)
    )
    after = run_suite(expand(suite), path, executor="serial", progress=False)
    again = {row["teacher"] for row, old in zip(after, before, strict=True) if row["id"] != old["id"]}
    assert again == {"random", "passive"}, "two teachers of one module"
    assert read_rows(path) == [*before, *(row for row in after if row["teacher"] in again)]


@pytest.mark.parametrize("text", ["my notes", "my notes\n", '{"format": 1}\n', '[1]\n{"format": ', "3\n", "[" * 10**5])
def test_a_file_that_is_not_ours_is_left_alone(text: str, runs: list[Run], tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(text)
    with pytest.raises(DamagedDataError, match="results"):
        run_suite(runs, path, executor="serial", progress=False)
    assert path.read_text() == text


def set_distance(row: Row) -> None:
    row["curves"]["distance"][-1] /= 2


EDITS: dict[str, Callable[[Row], Any]] = {
    "a distance": set_distance,
    "the seed": lambda row: row.update(seed=4),
    "an emptied curve": lambda row: row["curves"].update(distance=[]),
    "a number as curve": lambda row: row["curves"].update(test_accuracy=0.5),
    "a missing entry": lambda row: row.pop("gradient_evaluations"),
    "no checksum": lambda row: row.pop("checksum"),
    "a spec with another checksum": lambda row: row.update(sealed({**row, "spec": {**row["spec"], "budget": 13}})),
    "an id with another checksum": lambda row: row.update(sealed({**row, "id": "0" * 64})),
    "another format": lambda row: row.update(sealed({**row, "format": FORMAT - 1})),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_row_that_was_changed_is_refused_with_its_line_and_a_remedy(
    edit: str, runs: list[Run], rows: list[Row], tmp_path: Path
) -> None:
    path = tmp_path / "runs.jsonl"
    edited = json.loads(json.dumps(rows[2]))
    EDITS[edit](edited)
    written = [json.dumps(row) + "\n" for row in (*rows[:2], edited, rows[3])]
    path.write_text("".join(written))
    for read in (lambda: run_suite(runs, path, executor="serial", progress=False), lambda: read_rows(path)):
        with pytest.raises(DamagedDataError, match=r"runs\.jsonl', line 3, .*sed -i 3d .*runs\.jsonl") as refused:
            read()
    assert ("reads and writes format" in str(refused.value)) == (edit == "another format")
    path.write_text("".join(written[:2] + written[3:]))  # the remedy
    assert read_rows(path) == [*rows[:2], rows[3]]
    assert by_id(run_suite(runs[:4], path, executor="serial", progress=False)) == by_id(rows[:4])


def test_a_tail_of_zero_bytes_is_refused_with_its_line_and_a_remedy(rows: list[Row], tmp_path: Path) -> None:
    """What some file systems leave after a power failure."""
    path = tmp_path / "runs.jsonl"
    whole = "".join(json.dumps(row) + "\n" for row in rows[:2])
    path.write_bytes(whole.encode() + bytes(4096))
    with pytest.raises(DamagedDataError, match=r"runs\.jsonl', line 3, was not written by a benchmark.*sed -i 3d"):
        Store(path)
    if shutil.which("sed"):
        with pytest.raises(DamagedDataError) as refused:
            read_rows(path)
        remedy = re.search(r"sed -i .*?(?= \(its run)", str(refused.value))
        assert remedy is not None
        subprocess.run(shlex.split(remedy[0]), check=True)
        assert read_rows(path) == rows[:2]


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
        with pytest.raises(OSError, match=r"only 50 of .* bytes found room: .*runs\.jsonl"):
            store.append(rows[1])
        monkeypatch.undo()
        store.append(rows[2])
    assert read_rows(tmp_path / "runs.jsonl") == [rows[0], rows[2]]


@pytest.mark.skipif(os.name != "posix", reason="kills a POSIX process group")
def test_killed_and_interrupted_benchmarks_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL to the parent, Ctrl-C to the whole group, then to the end: nothing is lost, repeated or changed."""
    out, gate = tmp_path / "killed", tmp_path / "gate"
    path, env = out / "runs.jsonl", {**os.environ, GATE: str(gate)}
    options = ["--tasks", SHORT, "--teachers", "gated", "--seeds", "8", "--no-html"]
    command = [sys.executable, str(Path(__file__).with_name("gated.py")), "bench", "smoke", *options]
    kept, before = 0, b""
    for stop, code, done in ((signal.SIGKILL, -signal.SIGKILL, 8 + 8 + 3), (signal.SIGINT, 130, 8 + 8 + 3 + 2)):
        admit(gate, done - max(kept, 16))
        command_out = [*command, "--workers", "2", "--out", str(out)]
        process = subprocess.Popen(command_out, stderr=subprocess.PIPE, text=True, start_new_session=True, env=env)
        assert wait_for(lambda done=done, process=process: lines(path) >= done or process.poll() is not None)
        if stop == signal.SIGKILL:
            process.kill()
        else:
            os.killpg(process.pid, stop)
        error = process.communicate(timeout=PATIENCE)[1]
        assert process.returncode == code, error
        assert "Traceback" not in error
        assert wait_for(lambda process=process: group_is_gone(process.pid)), "workers outlived the parent"
        assert lines(path) == done and path.read_bytes().startswith(before), "append only"
        kept, before = done, path.read_bytes()
    monkeypatch.setitem(TEACHERS, "gated", "gated:Gated")
    monkeypatch.setenv(GATE, str(gate))
    runs = expand(Suite("x", (SHORT,), ("gated",), evaluation_seeds(8)))
    admit(gate, 3 + 8)
    rows, fresh = (
        run_suite(runs, name, executor="serial", progress=False) for name in (path, tmp_path / "fresh.jsonl")
    )
    assert path.read_bytes().startswith(before), "append only"
    assert len(read_rows(path)) == len(runs) == 24 and by_id(rows) == by_id(fresh) == by_id(read_rows(path))


@pytest.mark.skipif(sys.platform != "linux", reason="the limit holds for shared memory on Linux")
def test_no_room_for_worker_processes_is_named() -> None:
    with file_limit(0), pytest.raises(OSError, match="File too large: '<shared memory for worker processes>'"):
        list(in_processes(abs, [1, 2], 2))


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="the system cannot hold signals")
def test_ctrl_c_is_put_off_whichever_thread_receives_it() -> None:
    over, handler, passed = threading.Event(), signal.getsignal(signal.SIGINT), False
    other = threading.Thread(target=over.wait)
    other.start()
    try:
        with pytest.raises(KeyboardInterrupt), interrupts_held():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
            passed = True
    finally:
        over.set()
        other.join()
    assert passed and signal.getsignal(signal.SIGINT) is handler
