"""Experiments: the engine on made-up work, each experiment at its smoke scale, and the parts against independents."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from teach_gym.benchmark.run import execute
from teach_gym.benchmark.suite import Run, cached_task, parse_teacher
from teach_gym.cli import main
from teach_gym.datasets import DATA_VARIABLE
from teach_gym.errors import DamagedDataError
from teach_gym.experiments import EXPERIMENTS, experiment
from teach_gym.experiments.claims import UNDECIDED, Claim, Comparison
from teach_gym.experiments.curves import COLUMNS, Curves, Row, read_csv, rows_of, to_csv
from teach_gym.experiments.engine import Experiment, Record, Result, Settings, Unit, groups, run_experiment
from teach_gym.experiments.greedy import FIGURE_METRICS, Cohort, method, panel_units, roll, run_unit
from teach_gym.experiments.report import write_report
from teach_gym.randomness import Streams
from teach_gym.spec import TaskSpec
from teach_gym.task import TeachState, reset
from teach_gym.teachers import TEACHERS, make_teacher
from teach_gym.teachers.interval import EverySteps

MOONS = {"learner": "logistic", "pool": "half_moons", "pool_options": {"n": 60}, "continuous": True, "tolerance": 0.0}


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

    def units(name: str, settings: Settings, seeds: Sequence[int]) -> list[Unit]:
        return [Unit(name, "", m, group, {"offset": offset}) for m in ("a", "b") for group in groups(seeds)]

    def draw(record: Record) -> dict[str, Any]:
        assert [unit.method for unit, arrays in record.arrays if "seeds" in arrays] == ["b"] * 2
        return {}

    claim = Claim("a is as far as b", (Comparison("a", "comparable", "b"),))
    return Experiment("made-up", "", "", "", {"laptop": {"seeds": 20}}, units, worker, (claim,), draw)


# ------------------------------------------------------------------------------------------------------------ engine


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
    with pytest.raises(DamagedDataError, match=r"x\.csv.*no file of curves"):
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


def test_the_key_depends_on_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = Unit("e", "p", "m", (0, 1), {"x": 1})
    others = [
        dataclasses.replace(unit, **change)
        for change in ({"experiment": "f"}, {"panel": ""}, {"method": "n"}, {"seeds": (0,)}, {"settings": {"x": 2}})
    ]
    keys = {unit.key, *(other.key for other in others)}
    monkeypatch.setattr("teach_gym.__version__", "999")
    keys.add(dataclasses.replace(unit).key)
    assert len(keys) == 7


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


SLOW_EXPERIMENT = """
import sys, time
from teach_gym.experiments import engine
from teach_gym.experiments.curves import rows_of

def run(unit):
    time.sleep(0.15)
    print(unit.method, file=open(sys.argv[2], "a"), flush=True)
    return engine.Result(rows_of("e", unit.method, "distance", unit.seeds, (0,), [[1.0]]), {})

units = lambda name, settings, seeds: [engine.Unit(name, "", f"m{i}", tuple(seeds), {}) for i in range(8)]
slow = engine.Experiment("e", "", "", "", {"laptop": {"seeds": 1}}, units, run, (), lambda record: {})
if __name__ == "__main__":
    engine.run_experiment(slow, sys.argv[1], workers=int(sys.argv[3]), progress=False)
"""


@pytest.mark.skipif(os.name != "posix", reason="uses SIGKILL")
@pytest.mark.parametrize(("workers", "sent"), [(1, "SIGKILL"), (2, "SIGKILL"), (2, "SIGINT")])
def test_a_killed_experiment_repeats_and_loses_nothing(workers: int, sent: str, tmp_path: Path) -> None:
    out, log, script = tmp_path / "out", tmp_path / "log", tmp_path / "slow_experiment.py"
    script.write_text(SLOW_EXPERIMENT)
    command = [sys.executable, str(script), str(out), str(log), str(workers)]
    process = subprocess.Popen(command)
    end = time.monotonic() + 60
    while len(list((out / "parts").glob("*.csv"))) < 3 and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(getattr(signal, sent))
    process.wait(timeout=30)
    time.sleep(0.5)  # workers end with their parent
    before = {path.name: path.stat().st_mtime_ns for path in (out / "parts").glob("*.csv")}
    assert 3 <= len(before) < 8 and not (out / "curves.csv").exists()
    subprocess.run(command, check=True)
    after = {path.name: path.stat().st_mtime_ns for path in (out / "parts").glob("*.csv")}
    assert len(after) == 8 and {name: after[name] for name in before} == before
    assert sorted(row.method for row in read_csv(out / "curves.csv")) == [f"m{i}" for i in range(8)]
    assert len(log.read_text().split()) <= 8 + workers, "at most the units that were cut short are begun again"


def test_panels_are_chosen_by_parts_of_their_names(tmp_path: Path) -> None:
    worker, names = Worker(), ("MNIST, MLP", "half moons", "MNIST")

    def units(name: str, settings: Settings, seeds: Sequence[int]) -> list[Unit]:
        return [Unit(name, panel, "b", tuple(seeds), {"offset": 0}) for panel in names]

    claims = tuple(Claim(panel, (Comparison("b", "always", 1.0, panel=panel),)) for panel in names)
    found = dataclasses.replace(made_up(worker), units=units, claims=claims, draw=lambda record: {})
    verdicts = run_experiment(found, tmp_path, panels=["MNIST"], progress=False)
    assert [verdict.statement for verdict in verdicts] == ["MNIST, MLP", "MNIST"] and len(worker.done) == 2
    assert json.loads((tmp_path / "settings.json").read_text())["panels"] == ["MNIST"]
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


def test_units_that_measure_seconds_are_run_one_at_a_time(tmp_path: Path) -> None:
    worker = Worker()  # it cannot be sent to another process
    run_experiment(dataclasses.replace(made_up(worker), timed=True), tmp_path, workers=2, progress=False)
    assert len(worker.done) == 4 and experiment("last-fig12").timed


# ------------------------------------------------------------------------------------------------- every experiment


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of all experiments at the smoke scale, made by the command."""
    pytest.importorskip("matplotlib")
    out = tmp_path_factory.mktemp("papers")
    assert main(["reproduce", "all", "--scale", "smoke", "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_at_smoke_scale(name: str, smoke: Path) -> None:
    from PIL import Image

    found, folder = experiment(name), smoke / name
    rows = read_csv(folder / "curves.csv")
    settings = json.loads((folder / "settings.json").read_text())
    assert found.name == name and {row.experiment.split("/")[0] for row in rows} == {name}
    assert {row.seed for row in rows} == set(settings["seeds"]) and len(settings["seeds"]) == 2
    assert settings["settings"] == json.loads(json.dumps(found.scales["smoke"]))
    claims = json.loads((folder / "claims.json").read_text())
    told = found.claims_on({row.experiment.partition("/")[2] for row in rows})
    assert told and [claim["statement"] for claim in claims] == [claim.statement for claim in told]
    assert (folder / "table.md").is_file() == (found.table is not None)
    assert all(claim["verdict"] in (UNDECIDED, "does not hold") for claim in claims), "two seeds confirm nothing"
    pictures = list(folder.glob("*.png"))
    assert pictures
    for path in pictures:
        with Image.open(path) as image:
            assert min(image.size) > 100 and len(image.convert("L").getcolors() or range(300)) > 20


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_settings_of_all_scales_describe_what_can_be_run(name: str) -> None:
    found = experiment(name)
    assert set(found.scales) == {"smoke", "laptop", "paper"} and found.scales["laptop"]["seeds"] >= 10
    told = set()
    for settings in found.scales.values():
        units = found.units(name, settings, range(3))
        methods = {(unit.panel, unit.method) for unit in units}
        for unit in units:
            if "task" not in unit.settings:  # a network is taught: its own tests check the settings
                continue
            TaskSpec(**unit.settings["task"])
            teacher, options = parse_teacher(unit.settings["teacher"])
            if "train" not in unit.settings:
                make_teacher(teacher, **options)
            else:  # learned by the experiment
                assert teacher in TEACHERS and not options
        assert len({unit.key for unit in units}) == len(units)
        here = {claim.statement for claim in found.claims_on({panel for panel, _ in methods})}
        assert here
        told |= here
    assert told == {claim.statement for claim in found.claims}


def test_the_report_holds_every_claim_and_figure(smoke: Path, tmp_path: Path) -> None:
    page = tmp_path / "papers.md"
    write_report(smoke, page, "teach-gym reproduce all --scale smoke")
    text = page.read_text()
    for name in EXPERIMENTS:
        for claim in json.loads((smoke / name / "claims.json").read_text()):
            assert text.count(claim["statement"]) == 2, "in the summary and in its section"
        if experiment(name).table is not None:
            assert (smoke / name / "table.md").read_text() in text
        for path in (smoke / name).glob("*.png"):
            assert f"(papers/{name}-{path.name})" in text and (tmp_path / "papers" / f"{name}-{path.name}").is_file()
    findings = sum(
        len(c["findings"]) for name in EXPERIMENTS for c in json.loads((smoke / name / "claims.json").read_text())
    )
    assert text.count(" seeds, at least 10 are needed)") <= findings
    with pytest.raises(FileNotFoundError, match="reproduce all"):
        write_report(tmp_path, page, "")
    (smoke / "last-git" / "claims.json").write_text("{}")
    (tmp_path / "copy" / "last-git").mkdir(parents=True)
    for name in ("settings", "claims"):
        (tmp_path / "copy" / "last-git" / f"{name}.json").write_text("[1]")
    with pytest.raises(DamagedDataError, match="last-git"):
        write_report(tmp_path / "copy", page, "")


def test_command_lists_and_refuses(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for argv in (["reproduce"], ["reproduce", "--list"]):
        assert main(argv) == 0
        printed = capsys.readouterr().out
        assert all(f"\n{name} " in printed for name in EXPERIMENTS)
    for argv, message in (
        (["reproduce", "last-fig77"], "unknown experiment 'last-fig77'"),
        (
            ["reproduce", "last-fig7", "--scale", "huge", "--out", str(tmp_path)],
            "unknown scale 'huge'; allowed: laptop",
        ),
        (["reproduce", "last-fig7", "--seeds", "x"], "seeds must be a number"),
    ):
        assert main(argv) == 2
        assert message in capsys.readouterr().err
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "none"))
    assert main(["reproduce", "last-fig10", "--seeds", "1", "--out", str(tmp_path)]) == 2
    assert "teach-gym data mnist" in capsys.readouterr().err
    monkeypatch.setattr("teach_gym.experiments.command.EXPERIMENTS", {"last-fig10": EXPERIMENTS["last-fig10"]})
    assert main(["reproduce", "all", "--seeds", "1", "--out", str(tmp_path)]) == 1
    assert "last-fig10 left out" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------- rolling and teachers


@pytest.mark.parametrize("teacher", ["passive", "imt", "last:constraint=one_hot", "dht:label_source=uniform"])
def test_a_batch_gives_the_curves_of_single_benchmark_runs(teacher: str) -> None:
    content = {"task": {**MOONS, "budget": 7}, "methods": {"m": method(teacher)}}
    [unit] = panel_units("e", {"panels": {"p": content}}, (4, 9))
    curves = Curves(run_unit(unit).rows)
    for i, seed in enumerate((4, 9)):
        row = execute(Run("x", TaskSpec(**content["task"]).to_json(), teacher, seed))
        for name in FIGURE_METRICS:
            assert curves.get("p", "m", name).values[i] == pytest.approx(row["curves"][name], rel=1e-9, abs=1e-12)
    seconds = curves.get("p", "m", "seconds").values
    assert (np.diff(seconds, axis=1) > 0).all() and (seconds[0] == seconds[1]).all()


def test_a_learner_that_diverges_is_infinitely_far() -> None:
    task = {
        "learner": "least_squares",
        "pool": "linear_regression",
        "learning_rate": 30.0,
        "budget": 300,
        "tolerance": 0.0,
    }
    [unit] = panel_units("e", {"panels": {"": {"task": task, "methods": {"SGD": method("passive")}}}}, (1,))
    curves = Curves(run_unit(unit).rows)
    assert curves.get("", "SGD", "distance").values[0, -1] == np.inf
    assert np.isnan(curves.get("", "SGD", "train_loss").values[0, -1])


@pytest.mark.parametrize("every", [1, 3])
def test_a_teacher_every_v_steps_leaves_the_ground_truth_in_between(every: int) -> None:
    spec = TaskSpec(**{**MOONS, "budget": 7}).to_json()
    task, rng = cached_task(spec), Streams.from_seeds([0, 1])
    state = reset(task, rng)
    inner = make_teacher("last", constraint="soft")
    seen: list[bool] = []

    def watch(before: TeachState, transition: Any) -> None:
        truth, label = before.y[:, 0], transition.example.y
        wanted = inner(task, before).y
        idle = before.t[0] % every != 0
        assert np.array_equal(label, truth if idle else wanted)
        seen.append(bool((label != truth).any()))

    roll(Cohort(task, state, rng), EverySteps(inner, every), {}, watch)
    assert len(seen) == 7 and any(seen) and (every == 1 or not seen[1])
    mixed = state._replace(t=np.array([every, every + 1]))
    both = EverySteps(inner, every)(task, mixed).y
    assert np.array_equal(both[0], inner(task, mixed).y[0])
    assert every == 1 or np.array_equal(both[1], mixed.y[1, 0])
    with pytest.raises(ValueError, match="every must be > 0"):
        EverySteps(inner, 0)
