"""The engine of experiments on made-up work: files, resuming, processes, panels."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from process_cases import PATIENCE, group_is_gone, lines, wait_for

from teach_gym.benchmark.processes import WorkerError
from teach_gym.errors import DamagedDataError
from teach_gym.files import sole_writer
from teach_gym.papers import experiment
from teach_gym.papers.claims import Claim, Comparison
from teach_gym.papers.curves import COLUMNS, Curves, Row, read_csv, rows_of, to_csv
from teach_gym.papers.engine import Experiment, PlainValues, Record, Result, Unit, groups, run_experiment


class Worker:
    """Carries out made-up units and counts them; fails where told."""

    def __init__(self) -> None:
        self.done: list[tuple[str, tuple[int, ...]]] = []
        self.broken = ""

    def __call__(self, unit: Unit) -> Result:
        if unit.method == self.broken:
            raise KeyboardInterrupt
        self.done.append((unit.method, unit.seeds))
        values = [[seed + unit.settings["offset"], seed] for seed in unit.seeds]
        rows = rows_of(unit.label, unit.method, "distance", unit.seeds, (0, 4), values)
        return Result(rows, {"seeds": np.array(unit.seeds)} if unit.method == "b" else {})


def made_up(worker: Worker, offset: float = 0.5) -> Experiment:
    """An experiment of two methods, whose units cost nothing."""

    def units(name: str, settings: PlainValues, seeds: Sequence[int]) -> list[Unit]:
        return [Unit(name, "", m, group, {"offset": offset}) for m in ("a", "b") for group in groups(seeds)]

    def draw(record: Record) -> dict[str, Any]:
        assert [unit.method for unit, arrays in record.arrays if "seeds" in arrays] == ["b"] * 2
        return {}

    claim = Claim("a is as far as b", (Comparison("a", "comparable", "b"),))
    return Experiment("made-up", "", "", "", {"laptop": {"seeds": 20}}, units, worker, (claim,), draw)


def test_a_folder_has_one_writer_at_a_time(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    worker = Worker()
    with sole_writer(tmp_path), pytest.raises(BlockingIOError, match="is being written by another process"):
        run_experiment(made_up(worker), tmp_path, figures=False)
    assert not worker.done
    run_experiment(made_up(worker), tmp_path, figures=False)


def test_csv_gives_back_every_value(tmp_path: Path) -> None:
    values = [0.1 + 0.2, 1e-300, float("inf"), float("nan"), -0.0, 3.0]
    rows = [Row("e/pa,nel", 'me"thod', 7, t, "distance", v) for t, v in enumerate(values)]
    path = tmp_path / "curves.csv"
    path.write_text(to_csv(rows))
    found = read_csv(path)
    assert [row[:-1] for row in found] == [row[:-1] for row in rows]
    assert np.array_equal([row.value for row in found], values, equal_nan=True)
    assert path.read_text().splitlines()[0] == ",".join(COLUMNS)


@pytest.mark.parametrize("text", ["", "seed,value\n", ",".join(COLUMNS) + "\ne,m,1,2,distance\n", "\0"])
def test_damaged_csv_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(DamagedDataError, match=r"x\.csv.*not a file of curves"):
        read_csv(path)


def test_curves_leave_gaps_open() -> None:
    rows = [Row("e/p", "m", 5, 10, "distance", 1.0), Row("e/p", "m", 3, 0, "distance", 2.0)]
    curve = Curves(rows).get("p", "m", "distance")
    assert curve.seeds.tolist() == [3, 5] and curve.iterations.tolist() == [0, 10]
    assert np.array_equal(curve.values, [[2.0, np.nan], [np.nan, 1.0]], equal_nan=True)


def test_an_interrupted_experiment_goes_on_where_it_was(tmp_path: Path) -> None:
    worker = Worker()
    worker.broken = "b"
    with pytest.raises(KeyboardInterrupt):
        run_experiment(made_up(worker), tmp_path, progress=False)
    assert worker.done == [("a", tuple(range(1000, 1010))), ("a", tuple(range(1010, 1020)))]
    assert not (tmp_path / "curves.csv").exists() and len(list((tmp_path / "parts").iterdir())) == 2
    worker.broken = ""
    [verdict] = run_experiment(made_up(worker), tmp_path, progress=False)
    assert [m for m, _ in worker.done] == ["a", "a", "b", "b"] and verdict.verdict == "holds"
    run_experiment(made_up(worker), tmp_path, progress=False)
    assert len(worker.done) == 4, "nothing is run twice"
    rows = read_csv(tmp_path / "curves.csv")
    assert len(rows) == len(set(rows)) == 2 * 20 * 2
    assert {(r.method, r.seed) for r in rows} == set(itertools.product("ab", range(1000, 1020)))
    assert json.loads((tmp_path / "settings.json").read_text())["seeds"] == list(range(1000, 1020))
    assert json.loads((tmp_path / "claims.json").read_text())[0]["verdict"] == "holds"


def test_more_seeds_add_to_those_there_are_and_other_settings_do_not(tmp_path: Path) -> None:
    worker = Worker()
    run_experiment(made_up(worker), tmp_path, seeds=range(10), progress=False, figures=False)
    run_experiment(made_up(worker), tmp_path, seeds=range(20), progress=False)
    assert worker.done[2:] == [("a", tuple(range(10, 20))), ("b", tuple(range(10, 20)))]
    run_experiment(made_up(worker, offset=2.0), tmp_path, seeds=range(10), progress=False, figures=False)
    assert len(worker.done) == 6
    first = Curves(read_csv(tmp_path / "curves.csv")).get("", "a", "distance")
    assert np.array_equal(first.values[:, 0], np.arange(10) + 2.0), "parts of other settings are left out"


def test_the_key_depends_on_everything() -> None:
    unit = Unit("e", "p", "m", (0, 1), {"x": 1})
    others = [
        dataclasses.replace(unit, **change)
        for change in (
            {"experiment": "f"},
            {"panel": ""},
            {"method": "n"},
            {"seeds": (0,)},
            {"settings": {"x": 2}},
            {"code": "c"},
        )
    ]
    assert len({unit.key, *(other.key for other in others)}) == 7


def test_units_done_by_older_code_are_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker()
    run_experiment(made_up(worker), tmp_path, progress=False)
    monkeypatch.setattr("teach_gym.papers.engine.code_digest", lambda *modules: f"another {modules}")
    run_experiment(made_up(worker), tmp_path, progress=False)
    assert len(worker.done) == 2 * 4


def test_damaged_parts_and_double_units(tmp_path: Path) -> None:
    worker = Worker()
    run_experiment(made_up(worker), tmp_path, progress=False)
    for path in (tmp_path / "parts").glob("*.npz"):
        path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DamagedDataError, match=r"npz.*damaged.*remove the folder"):
        run_experiment(made_up(worker), tmp_path, progress=False)
    double = dataclasses.replace(made_up(worker), units=lambda *_: [Unit("e", "", "a", (0,), {})] * 2)
    with pytest.raises(ValueError, match="same unit of work twice"):
        run_experiment(double, tmp_path, progress=False)


GATED_EXPERIMENT = """
import pathlib, signal, sys, time
from teach_gym.papers import engine
from teach_gym.papers.curves import rows_of

def run(unit):
    print(unit.method, file=open(sys.argv[2], "a"), flush=True)
    while not pathlib.Path(sys.argv[3], unit.method).exists():  # the test says how far it gets
        time.sleep(0.01)
    return engine.Result(rows_of("e", unit.method, "distance", unit.seeds, (0,), [[1.0]]), {})

units = lambda name, settings, seeds: [engine.Unit(name, "", f"m{i}", tuple(seeds), {}) for i in range(8)]
gated = engine.Experiment("e", "", "", "", {"laptop": {"seeds": 1}}, units, run, (), lambda record: {})
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background leaves it ignored
    engine.run_experiment(gated, sys.argv[1], workers=int(sys.argv[4]), progress=False)
"""


@pytest.mark.skipif(os.name != "posix", reason="uses SIGKILL")
@pytest.mark.parametrize(("workers", "sent"), [(1, "SIGKILL"), (2, "SIGKILL"), (2, "SIGINT")])
def test_a_killed_experiment_repeats_and_loses_nothing(workers: int, sent: str, tmp_path: Path) -> None:
    out, log, gate, script = (tmp_path / name for name in ("out", "log", "gate", "gated_experiment.py"))
    script.write_text(GATED_EXPERIMENT)
    gate.mkdir()
    command = [sys.executable, str(script), str(out), str(log), str(gate), str(workers)]

    def done() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in (out / "parts").glob("*.csv")}

    for i in range(3):
        (gate / f"m{i}").touch()
    process = subprocess.Popen(command, start_new_session=True)
    begun = 3 + workers
    assert wait_for(lambda: (len(done()) == 3 and lines(log) == begun) or process.poll() is not None)
    process.send_signal(getattr(signal, sent))
    assert process.wait(timeout=PATIENCE) != 0
    assert wait_for(lambda: group_is_gone(process.pid)), "workers outlived their parent"
    before = done()
    assert len(before) == 3 and not (out / "curves.csv").exists()
    for i in range(3, 8):
        (gate / f"m{i}").touch()
    subprocess.run(command, check=True, timeout=PATIENCE)
    after = done()
    assert len(after) == 8 and {name: after[name] for name in before} == before
    assert sorted(row.method for row in read_csv(out / "curves.csv")) == [f"m{i}" for i in range(8)]
    assert lines(log) == 8 + workers, "the units that were cut short are begun again, and no others"


KILLED_WHILE_WRITING = """
import os, signal, sys
from teach_gym.papers import engine, experiment

def kill(rows, written=[]):
    written.append(rows)
    if len(written) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return to_csv(rows)

to_csv, engine.to_csv = engine.to_csv, lambda rows: kill(rows)
found = experiment("last-fig7")
with engine.writing(sys.argv[1] + "/parts/half") as file:  # cut short, too
    file.write(b"half")
    engine.run_experiment(found, sys.argv[1], scale="smoke", progress=False, figures=False)
"""


@pytest.mark.skipif(os.name != "posix", reason="uses SIGKILL")
def test_a_killed_experiment_gives_the_same_rows_and_leaves_nothing_behind(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    done = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(broken)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    kept = {path.name: path.read_bytes() for path in (broken / "parts").glob("*.csv")}
    assert len(kept) == 3 and len(list((broken / "parts").iterdir())) == 4
    (broken / "parts" / next(iter(kept)).removesuffix(".csv")).mkdir()  # checkpoints of a unit that is done
    for folder in (whole, broken):
        run_experiment(experiment("last-fig7"), folder, scale="smoke", progress=False, figures=False)
    files = [{path.relative_to(folder) for path in folder.rglob("*")} for folder in (whole, broken)]
    assert files[0] == files[1]
    rows = [[row for row in read_csv(folder / "curves.csv") if row.metric != "seconds"] for folder in (whole, broken)]
    assert rows[0] == rows[1] and len(rows[0]) > 50
    for name, content in kept.items():
        assert (broken / "parts" / name).read_bytes() == content, "a unit keeps its seconds"
    for name in ("claims.json", "settings.json"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()


def test_panels_are_chosen_by_parts_of_their_names(tmp_path: Path) -> None:
    worker, names = Worker(), ("MNIST, MLP", "half moons", "MNIST, CNN", "MNIST, MLP (validation)")

    def units(name: str, settings: PlainValues, seeds: Sequence[int]) -> list[Unit]:
        return [Unit(name, panel, "b", tuple(seeds), {"offset": 0}) for panel in names]

    claims = tuple(Claim(panel, (Comparison("b", "always", 1.0, panel=panel),)) for panel in names)
    found = dataclasses.replace(made_up(worker), units=units, claims=claims, draw=lambda record: {})
    verdicts = run_experiment(found, tmp_path, panels=["MNIST"], progress=False)
    assert [verdict.statement for verdict in verdicts] == ["MNIST, MLP", "MNIST, CNN", names[3]] and len(
        worker.done
    ) == 3
    assert json.loads((tmp_path / "settings.json").read_text())["panels"] == ["MNIST"]
    verdicts = run_experiment(found, tmp_path, panels=["half", "MNIST, MLP"], progress=False)
    assert [verdict.statement for verdict in verdicts] == ["MNIST, MLP", "half moons"], "a name in full is that panel"
    with pytest.raises(ValueError, match=r"unknown panel 'CIFAR'; allowed: .*'half moons'"):
        run_experiment(found, tmp_path, panels=["CIFAR"], progress=False)
    with pytest.raises(ValueError, match="workers must be"):
        run_experiment(found, tmp_path, workers=0, progress=False)


def test_workers_give_what_this_process_gives(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, workers in ((one, 1), (two, 2)):
        run_experiment(experiment("last-fig7"), folder, scale="smoke", workers=workers, progress=False, figures=False)
    rows = [[row for row in read_csv(folder / "curves.csv") if row.metric != "seconds"] for folder in (one, two)]
    assert rows[0] == rows[1] and len(rows[0]) > 50


def die(unit: Unit) -> Result:
    os._exit(3)


def test_a_worker_that_dies_is_said_to_have_died(tmp_path: Path) -> None:
    found = dataclasses.replace(experiment("last-fig7"), run=die)
    with pytest.raises(WorkerError, match=r"worker process died.*start the same command again"):
        run_experiment(found, tmp_path, scale="smoke", workers=2, progress=False)


def test_units_that_measure_seconds_are_run_one_at_a_time(tmp_path: Path) -> None:
    worker = Worker()  # it cannot be sent to another process
    run_experiment(dataclasses.replace(made_up(worker), timed=True), tmp_path, workers=2, progress=False)
    assert len(worker.done) == 4 and experiment("last-fig12").timed
