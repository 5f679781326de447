"""The sweep over settings and seeds of a training script, and the RLlib recipe of docs/ray.md."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("ray", reason="needs the extra ray, about 0.5 GB: pip install 'teach_gym[ray]'")

from scipy import stats
from test_ray import descendants, wait_for

from teach_gym.integrations import tune

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "agents" / "reinforce.py"
FIXED = {"num_envs": 8, "sizes": (8,), "eval_episodes": 5, "eval_every": 50, "checkpoint_every": 3, "updates": 30}
GRID = {"learning_rate": [0.001, 0.01]}
SWEEP = tune.Sweep(SCRIPT, "LabelMoons:budget=6", (0, 1), FIXED, GRID)


def change(**changes: Any) -> tune.Sweep:
    return dataclasses.replace(SWEEP, **changes)


def train_here(folder: Path, **arguments: Any) -> dict[str, float]:
    """The script's own result for the same arguments, without a sweep."""
    script = tune.load_script(SCRIPT)
    found = script.train(script.Args(task=SWEEP.task, out=folder, progress=False, **FIXED, **arguments))
    return {name: float(value) for name, value in found.items()}


def test_settings_and_seeds_are_all_combined(tmp_path: Path) -> None:
    sweep = change(grid={"learning_rate": [0.1, 0.2], "gamma": [0.5, 0.6, 0.7]}, seeds=(3, 4))
    found = tune.trials(sweep, tmp_path)
    pairs = {(t.setting["learning_rate"], t.setting["gamma"], t.seed) for t in found}
    assert pairs == {(a, b, s) for a in (0.1, 0.2) for b in (0.5, 0.6, 0.7) for s in (3, 4)}
    assert len({t.folder for t in found}) == len(found) == 12
    assert [t.folder for t in tune.trials(change(grid={}), tmp_path)] == [
        tmp_path / "default" / f"seed-{s}" for s in (0, 1)
    ]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"grid": {"learningrate": [1]}}, TypeError, r"reinforce.py has no argument learningrate; allowed: .*'gamma'"),
        ({"fixed": {"seed": 3}}, TypeError, "no argument seed"),
        ({"grid": {"gamma": [0.5, 1.5]}}, ValueError, r"gamma must lie in \[0, 1\], got 1.5"),
        ({"grid": {"gamma": 0.5}}, ValueError, "gamma must be a list of one or more values, got 0.5"),
        ({"grid": {"gamma": [0.5, 0.5]}}, ValueError, "gamma must be different values"),
        ({"grid": {"updates": [5]}}, ValueError, "updates cannot be both fixed and in the grid"),
        ({"seeds": ()}, ValueError, "seeds must be a list"),
        ({"task": "LabelMoon"}, ValueError, "unknown task 'LabelMoon'"),
        ({"script": SCRIPT.with_name("nothing.py")}, FileNotFoundError, "nothing.py"),
        ({"script": SCRIPT.parents[1] / "examples" / "own_data.py"}, TypeError, "must define train"),
    ],
)
def test_bad_sweeps(changes: dict[str, Any], error: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        tune.run_sweep(change(**changes), tmp_path)
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_a_folder_belongs_to_one_sweep(tmp_path: Path) -> None:
    tune._claim(SWEEP, tmp_path)
    tune._claim(change(seeds=(0, 1, 2), grid={"gamma": [0.5]}), tmp_path)
    with pytest.raises(ValueError, match=r"holds another sweep: .*'updates': 30.*'updates': 31"):
        tune._claim(change(fixed={**FIXED, "updates": 31}), tmp_path)


def test_a_trial_is_the_script_s_own_run_and_can_be_taken_up_again(tmp_path: Path) -> None:
    trial = tune.trials(SWEEP, tmp_path)[1]
    assert tune.read_result(trial.folder) is None
    job = {"job": tune._job(SWEEP, trial)}
    tune.run_trial(json.loads(json.dumps(job)))
    expected = train_here(tmp_path / "alone", learning_rate=0.001, seed=1)
    assert tune.read_result(trial.folder) == expected
    (trial.folder / tune.RESULT).unlink()  # killed just before the result was written
    tune.run_trial(job)
    assert tune.read_result(trial.folder) == expected


def test_an_exception_of_the_script_is_kept_and_tried_again(tmp_path: Path) -> None:
    trial = tune.trials(SWEEP, tmp_path)[0]
    job = tune._job(SWEEP, trial)
    broken = {**job, "arguments": {**job["arguments"], "device": "nowhere"}}
    tune.run_trial({"job": broken})
    assert "nowhere" in (trial.folder / tune.ERROR).read_text().splitlines()[-1]
    assert tune.read_result(trial.folder) is None
    tune.run_trial({"job": job})
    assert tune.read_result(trial.folder) is not None and not (trial.folder / tune.ERROR).exists()


def test_the_table_is_the_mean_over_all_seeds(tmp_path: Path) -> None:
    sweep = change(seeds=(0, 1, 2, 3))
    values = {0.001: [0.2, 0.9, 0.4, 0.1], 0.01: [0.7]}
    for trial in tune.trials(sweep, tmp_path):
        scores = values[trial.setting["learning_rate"]]
        if trial.seed < len(scores):
            trial.folder.mkdir(parents=True)
            (trial.folder / tune.RESULT).write_text(json.dumps({"score": scores[trial.seed]}))
    first, second = tune.table(sweep, tmp_path)
    expected = stats.ttest_1samp(values[0.001], 0.0).confidence_interval(0.95)
    assert first.setting == "learning_rate=0.001" and first.seeds == 4
    assert first.estimate == pytest.approx((0.4, expected.low, expected.high), rel=1e-12)
    assert second.seeds == 1 and second.estimate.value == 0.7 and np.isnan(second.estimate.low)
    with pytest.raises(ValueError, match="unknown metric 'accuracy'; allowed: score"):
        list(tune.table(sweep, tmp_path, "accuracy"))


@pytest.mark.slow
def test_a_sweep_survives_a_killed_worker_and_grows(tmp_path: Path) -> None:
    """Two workers, one killed in the middle of training; then a third seed is added."""
    out, killed = tmp_path / "sweep", []
    sweep = change(fixed={**FIXED, "updates": 400})

    def kill() -> None:
        wait_for(lambda: list(out.glob("*/seed-*/checkpoints/*.json")), 120)
        pid = descendants(os.getpid(), "ray::ImplicitFunc")[0]
        os.kill(pid, signal.SIGKILL)
        killed.append(len(list(out.glob(f"*/seed-*/{tune.RESULT}"))))

    killer = threading.Thread(target=kill)
    killer.start()
    results = tune.run_sweep(sweep, out, workers=2)
    killer.join()
    assert killed == [0], "killed too late to test anything"
    assert not descendants(os.getpid(), "/ray/"), "left processes behind"
    script = tune.load_script(SCRIPT)
    for trial in tune.trials(sweep, out):
        arguments = {**sweep.fixed, **trial.setting, "seed": trial.seed, "task": sweep.task, "progress": False}
        expected = script.train(script.Args(**arguments, out=tmp_path / "alone" / trial.folder.relative_to(out)))
        assert results[trial.folder] == {name: float(value) for name, value in expected.items()}
    before = {path: path.stat().st_mtime_ns for path in out.glob(f"*/seed-*/{tune.RESULT}")}
    more = tune.run_sweep(dataclasses.replace(sweep, seeds=(0, 1, 2)), out, workers=2)
    assert len(more) == 6 and all(path.stat().st_mtime_ns == then for path, then in before.items()), "not trained again"


@pytest.mark.slow
def test_failing_trials_are_reported_and_the_others_done(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "agents" / "tune.py"), "reinforce:updates=3,num_envs=4,eval_episodes=2"]
    options = ["--grid", "device=['nowhere','cpu']", "--seeds", "2", "--task", "LabelMoons:budget=4"]
    done = subprocess.run([*command, *options, "--out", str(tmp_path)], capture_output=True, text=True, timeout=200)
    assert done.returncode == 1, done.stderr
    assert re.search(r"tune: 2 of 4 trials failed, .*device=nowhere.seed-0: RuntimeError: .*nowhere", done.stderr)
    assert re.search(r"\| device=cpu \| 2 \| .* \| \[.*\] \|", done.stdout) and "nowhere" not in done.stdout
    assert (tmp_path / "table.md").read_text() in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("tree") is None, reason="RLlib is not installed: pip install 'ray[rllib]'")
def test_the_rllib_recipe_learns(tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "ray.md").read_text(encoding="utf-8"), flags=re.S)
    assert code is not None
    done = subprocess.run([sys.executable, "-c", code[1]], capture_output=True, text=True, cwd=tmp_path, timeout=600)
    assert done.returncode == 0, done.stderr
    found = [float(value) for value in re.findall(r"return (-?[\d.]+)", done.stdout)]
    assert len(found) == 15 and found[0] < 20 and found[-1] > found[0] + 50
