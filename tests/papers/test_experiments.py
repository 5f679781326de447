"""Experiments: each at its smoke scale, their report and command, and the parts against independents."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from teach_gym.benchmark.execute import execute
from teach_gym.benchmark.suite import Run, cached_task, run_digests
from teach_gym.cli import main
from teach_gym.core.randomness import Streams
from teach_gym.core.spec import TaskSpec
from teach_gym.core.state import TeachState
from teach_gym.core.task import reset
from teach_gym.data.datasets import DATA_VARIABLE
from teach_gym.errors import DamagedDataError
from teach_gym.papers import EXPERIMENTS, experiment
from teach_gym.papers.claims import NOT_JUDGED, UNDECIDED
from teach_gym.papers.curves import Curves, read_csv
from teach_gym.papers.greedy import FIGURE_METRICS, Cohort, method, panel_units, roll, run_unit
from teach_gym.papers.report import write_report
from teach_gym.teachers import TEACHERS, make_teacher
from teach_gym.teachers.oracles.interval import EverySteps

MOONS = {"learner": "logistic", "pool": "half_moons", "pool_options": {"n": 60}, "continuous": True, "tolerance": 0.0}


# ------------------------------------------------------------------------------------------------- every experiment


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of all experiments at the smoke scale, made by the command in this process.

    Processes of pytest-xdist share it: one begins at the end of the list, and each finds the other's results.
    """
    pytest.importorskip("matplotlib")
    from filelock import FileLock

    base, process = tmp_path_factory.getbasetemp(), os.environ.get("PYTEST_XDIST_WORKER", "")
    out = (base.parent if process else base) / "papers"
    for name in reversed(EXPERIMENTS) if process == "gw1" else EXPERIMENTS:
        with FileLock(f"{out}-{name}.lock"):
            assert main(["reproduce", name, "--scale", "smoke", "--workers", "1", "--out", str(out)]) == 0
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
    assert all(claim["verdict"] in (UNDECIDED, NOT_JUDGED, "does not hold") for claim in claims), (
        "two seeds confirm nothing"
    )
    pictures = list(folder.glob("*.png"))
    assert pictures
    for path in pictures:
        with Image.open(path) as image:
            assert min(image.size) > 100 and len(image.convert("L").getcolors() or range(300)) > 20


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_settings_of_all_scales_describe_what_can_be_run(name: str) -> None:
    found = experiment(name)
    assert set(found.scales) >= {"smoke", "laptop", "paper"} and found.scales["laptop"]["seeds"] >= 10
    told = set()
    for settings in found.scales.values():
        units = found.units(name, settings, range(3))
        methods = {(unit.panel, unit.method) for unit in units}
        for unit in units:
            if "task" not in unit.settings:  # a network is taught: its own tests check the settings
                continue
            TaskSpec(**unit.settings["task"])
            if "train" not in unit.settings:
                make_teacher(unit.settings["teacher"])
            else:  # learned by the experiment
                assert unit.settings["teacher"] in TEACHERS
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
    monkeypatch.setattr("teach_gym.papers.command.EXPERIMENTS", {"last-fig10": EXPERIMENTS["last-fig10"]})
    assert main(["reproduce", "all", "--seeds", "1", "--out", str(tmp_path)]) == 1
    assert "last-fig10 skipped" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------- rolling and teachers


@pytest.mark.parametrize("teacher", ["passive", "imt", "last:constraint=one_hot", "dht:label_source=uniform"])
def test_a_batch_gives_the_curves_of_single_benchmark_runs(teacher: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr("teach_gym.teachers.base.time.perf_counter", lambda: float(next(ticks)))
    content = {"task": {**MOONS, "budget": 7}, "methods": {"m": method(teacher)}}
    [unit] = panel_units("e", {"panels": {"p": content}}, (4, 9))
    curves = Curves(run_unit(unit).rows)
    for i, seed in enumerate((4, 9)):
        spec = TaskSpec(**content["task"]).to_json()
        row = execute(Run("x", spec, teacher, seed, run_digests(spec, teacher)))
        for name in FIGURE_METRICS:
            assert curves.get("p", "m", name).values[i] == pytest.approx(row["curves"][name], rel=1e-9, abs=1e-12)
    seconds = curves.get("p", "m", "seconds").values
    assert (np.diff(seconds, axis=1) == 2.0).all() and (seconds[0] == seconds[1]).all(), "a tick each: teacher, learner"


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
    task = cached_task(spec)
    state = reset(task, Streams.from_seeds([0, 1]))
    inner = make_teacher("last", constraint="soft")
    seen: list[bool] = []

    def watch(before: TeachState, transition: Any) -> None:
        truth, label = before.y[:, 0], transition.example.y
        wanted = inner(task, before).y
        idle = before.t[0] % every != 0
        assert np.array_equal(label, truth if idle else wanted)
        seen.append(bool((label != truth).any()))

    roll(Cohort(task, state), EverySteps(inner, every), {}, watch)
    assert len(seen) == 7 and any(seen) and (every == 1 or not seen[1])
    mixed = state._replace(t=np.array([every, every + 1]))
    both = EverySteps(inner, every)(task, mixed).y
    assert np.array_equal(both[0], inner(task, mixed).y[0])
    assert every == 1 or np.array_equal(both[1], mixed.y[1, 0])
    with pytest.raises(ValueError, match="every must be > 0"):
        EverySteps(inner, 0)
