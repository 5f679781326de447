"""Ray: the benchmark's executor and the sweep, on a local instance with two workers, some of them killed."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import SHORT_SUITE
from gated import GATE, admit, gated_attempt
from process_cases import PATIENCE, descendants, lines, wait_for

from teach_gym.benchmark.execute import Failure
from teach_gym.benchmark.run import RunError, run_suite
from teach_gym.benchmark.store import read_rows
from teach_gym.benchmark.suite import Run, Suite, evaluation_seeds, expand

pytest.importorskip("ray", reason="needs the extra ray, about 0.5 GB: pip install 'teach_gym[ray]'")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds Ray's workers by their process titles")

from teach_gym.benchmark import ray as engine  # noqa: E402

Row = dict[str, Any]
SUITE = Suite("x", SHORT_SUITE.tasks[:1], ("random",), tuple(range(10)))
"""Thirty short runs."""


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """A Ray instance with two workers."""
    with engine.connected(2) as found:
        yield found
    assert not descendants(os.getpid(), "ray/"), "left processes behind"


def lasting(rows: list[Row]) -> list[Row]:
    """The rows without what differs from one time to the next."""
    return [{key: value for key, value in row.items() if key not in ("timing", "checksum")} for row in rows]


# -------------------------------------------------------------------------------------------------------- benchmark


def test_rows_equal_those_of_the_serial_executor(ray: Any, runs: list[Run], rows: list[Row], tmp_path: Path) -> None:
    found = run_suite(runs, tmp_path / "runs.jsonl", executor="ray", workers=2, progress=False)
    assert lasting(found) == lasting(rows)
    assert ray.is_initialized(), "an instance that was there is left alone"


def test_a_failing_run_comes_back_as_a_failure(ray: Any, runs: list[Run], tmp_path: Path) -> None:
    broken = dataclasses.replace(runs[0], teacher="chalk", seed=0)
    with pytest.raises(RunError, match=r"1 of 19 runs .* chalk seed 0: ValueError: unknown teacher 'chalk'"):
        run_suite([broken, *runs], tmp_path / "runs.jsonl", executor="ray", workers=2, progress=False)
    assert {row["id"] for row in read_rows(tmp_path / "runs.jsonl")} == {run.id for run in runs}


def test_killed_workers_lose_no_run_and_count_none_twice(
    ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, path, gate, killed = expand(SUITE), tmp_path / "runs.jsonl", tmp_path / "gate", []
    monkeypatch.setattr(engine, "attempt", gated_attempt(gate))
    admit(gate, 4)

    def kill() -> None:
        for done, further in ((4, 4), (8, len(runs) - 8)):  # a worker with a run that has begun, twice
            wait_for(lambda done=done: lines(path) == done)
            pid = wait_for(lambda: descendants(os.getpid(), "ray::waiting"))[0]
            os.kill(pid, signal.SIGKILL)
            killed.append((pid, lines(path)))
            admit(gate, further)

    killer = threading.Thread(target=kill)
    killer.start()
    found = run_suite(runs, path, executor="ray", workers=2, progress=False)
    killer.join()
    assert [done for _, done in killed] == [4, 8] and not list(gate.iterdir())
    assert sorted(row["id"] for row in read_rows(path)) == sorted(run.id for run in runs)
    fresh = run_suite(runs, tmp_path / "fresh.jsonl", executor="serial", progress=False)
    assert lasting(found) == lasting(fresh)


def test_a_run_that_kills_its_worker_every_time_is_a_failure(ray: Any) -> None:
    task = ray.remote(lambda: os._exit(1)).options(max_retries=0)
    outcome = engine._collect(ray, task.remote())
    assert isinstance(outcome, Failure) and "WorkerCrashedError" in outcome.message


def test_workers_limit_the_runs_under_way(ray: Any, runs: list[Run]) -> None:
    outcomes = engine.carry_out(runs, 1)
    assert [run for run, _ in itertools.islice(outcomes, 4)] == runs[:4], "one at a time, so in their order"
    outcomes.close()
    assert ray.is_initialized()


def test_without_ray_the_extra_is_named(runs: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'teach_gym\[ray\]'"):
        run_suite(runs, tmp_path / "runs.jsonl", executor="ray", progress=False)


def bench(out: Path, gate: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """A benchmark whose runs wait at a gate, on a Ray instance of its own unless variables say otherwise."""
    options = ["--tasks", *SUITE.tasks, "--teachers", *SUITE.teachers, "--seeds", "10", "--executor", "ray"]
    command = [sys.executable, str(Path(__file__).with_name("gated.py")), "bench", "smoke", *options]
    return subprocess.Popen(
        [*command, "--workers", "2", "--no-html", "--out", str(out)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, GATE: str(gate), **(env or {})},
    )


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_ctrl_c_and_kill_leave_no_processes(stop: signal.Signals, tmp_path: Path) -> None:
    path, gate = tmp_path / "out" / "runs.jsonl", tmp_path / "gate"
    admit(gate, 3)
    process = bench(path.parent, gate)
    assert wait_for(lambda: lines(path) == 3 or process.poll() is not None)
    family = descendants(process.pid, "")
    assert len(family) >= 4, "gcs_server, raylet and workers at the least"
    os.killpg(process.pid, stop)
    error = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == (130 if stop == signal.SIGINT else -signal.SIGKILL), error
    assert "Traceback" not in error and "ray" not in error.lower().replace(str(tmp_path), ""), "quiet"
    assert wait_for(lambda: not alive(family)), "processes outlived the benchmark"
    assert lines(path) == 3


def alive(pids: list[int]) -> list[int]:
    """Those of the processes that still run."""
    found = subprocess.run(["ps", "-o", "pid=,stat=", "-p", ",".join(map(str, pids))], capture_output=True, text=True)
    return [int(pid) for pid, stat in map(str.split, found.stdout.splitlines()) if not stat.startswith("Z")]


def test_an_address_where_nobody_answers(runs: list[Run], tmp_path: Path) -> None:
    env = {**os.environ, engine.ADDRESS_VARIABLE: f"127.0.0.1:{free_port()}"}
    command = [sys.executable, "-m", "teach_gym", "bench", "smoke", "--executor", "ray", "--no-html"]
    done = subprocess.run([*command, "--out", str(tmp_path)], env=env, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2
    assert re.search(r"teach-gym: error: no Ray cluster answers at RAY_ADDRESS='127.0.0.1:\d+'", done.stderr)


@contextlib.contextmanager
def node(env: Mapping[str, str], *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A node of a cluster, started by ``ray start`` and killed with all its processes at the end."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", *options]
    process = subprocess.Popen(command, env={**os.environ, **env}, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        assert wait_for(lambda: descendants(process.pid, "raylet/raylet")), descendants(process.pid, "")
        yield process
    finally:
        family = [process.pid, *descendants(process.pid, "")]
        process.terminate()
        process.wait(PATIENCE)
        for pid in alive(family):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def token() -> dict[str, str]:
    """Variables that all who take part in a cluster share."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def head(port: int, cpus: int) -> list[str]:
    """Options of a cluster's first node."""
    return ["--head", f"--num-cpus={cpus}", f"--port={port}", "--include-dashboard=false"]


@pytest.mark.slow
def test_a_cluster_is_used_and_left_running(runs: list[Run], rows: list[Row], tmp_path: Path) -> None:
    port = free_port()
    env = token()
    with node(env, *head(port, 2)) as cluster:
        out = tmp_path / "runs.jsonl"
        options = ["--tasks", *SHORT_SUITE.tasks, "--teachers", *SHORT_SUITE.teachers, "--seeds", "3,5,9"]
        command = [sys.executable, "-m", "teach_gym", "bench", *options, "--executor", "ray", "--workers", "2"]
        done = subprocess.run(
            [*command, "--no-html", "--out", str(tmp_path)],
            env={**os.environ, **env, engine.ADDRESS_VARIABLE: f"127.0.0.1:{port}"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        found = {row["id"]: row for row in lasting(read_rows(out))}
        assert [found[run.id] for run in runs] == lasting(rows)
        assert cluster.poll() is None and descendants(cluster.pid, "gcs_server"), "left running"


@pytest.mark.slow
def test_a_node_that_is_killed_loses_no_run_and_counts_none_twice(tmp_path: Path) -> None:
    """Two nodes with a CPU each; the second one is killed while it has a run that waits to begin."""
    address, path, gate = f"127.0.0.1:{free_port()}", tmp_path / "out" / "runs.jsonl", tmp_path / "gate"
    env = {engine.ADDRESS_VARIABLE: address, **token()}
    admit(gate, 4)
    with node(env, *head(int(address.rpartition(":")[2]), 1)) as first:
        with node(env, f"--address={address}", "--num-cpus=1") as second:
            process = bench(path.parent, gate, env)
            assert wait_for(lambda: lines(path) == 4 or process.poll() is not None)
            for cluster in (first, second):
                assert wait_for(lambda cluster=cluster: descendants(cluster.pid, "ray::waiting")), "both nodes work"
            for pid in (second.pid, *descendants(second.pid, "")):
                os.kill(pid, signal.SIGKILL)
            second.wait(PATIENCE)
        assert lines(path) == 4
        admit(gate, 26)
        error = process.communicate(timeout=PATIENCE)[1]
        assert process.returncode == 0, error
    runs, found = expand(dataclasses.replace(SUITE, seeds=evaluation_seeds(10))), read_rows(path)
    assert sorted(row["id"] for row in found) == sorted(run.id for run in runs) and not list(gate.iterdir())
    fresh = run_suite(runs, tmp_path / "fresh.jsonl", executor="serial", progress=False)
    assert {row["id"]: row["curves"] for row in found} == {row["id"]: row["curves"] for row in fresh}


def free_port() -> int:
    """A port nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
