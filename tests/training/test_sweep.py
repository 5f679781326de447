"""Sweeps over settings and seeds of a training, and the RLlib recipe of docs/ray.md."""

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
pytest.importorskip("yaml")

from process_cases import descendants, wait_for
from scipy import stats

from teach_gym.training import program, ray_sweep, sweep
from teach_gym.training.args import TrainArgs
from teach_gym.training.sweep import Sweep

ROOT = Path(__file__).parents[2]
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="pip install 'teach_gym[ray]'")
FIXED = {"num_envs": 8, "sizes": [8], "eval_episodes": 5, "eval_every": 500, "steps": 1440}
GRID = {"learning_rate": [0.001, 0.01]}
SWEEP = Sweep("reinforce", "LabelMoons:budget=6", (0, 1), FIXED, GRID)
SCRIPT = """
from dataclasses import dataclass
from pathlib import Path

@dataclass
class Args:
    task: str
    seed: int = 0
    out: Path | None = None
    resume: bool = False
    progress: bool = True
    gamma: float = 0.5

    def __post_init__(self):
        if not 0 <= self.gamma <= 1:
            raise ValueError(f"gamma must lie in [0, 1], got {self.gamma}")

def train(args):
    return {"score": args.seed + args.gamma, "resumed": args.resume}
"""


def change(**changes: Any) -> Sweep:
    return dataclasses.replace(SWEEP, **changes)


def train_here(folder: Path, sweep: Sweep = SWEEP, **arguments: Any) -> dict[str, float]:
    """The same training without a sweep."""
    named = {name: value for name, value in sweep.fixed.items() if name != "sizes"}
    changes = ("sizes=[8]", f"learning_rate={arguments.pop('learning_rate')}")
    return program.train(
        TrainArgs(sweep.task, algo="reinforce", overrides=changes, out=folder, progress=False, **named, **arguments)
    )


def test_settings_and_seeds_are_all_combined(tmp_path: Path) -> None:
    many = change(grid={"learning_rate": [0.1, 0.2], "gamma": [0.5, 0.6, 0.7]}, seeds=(3, 4))
    found = sweep.trials(many, tmp_path)
    pairs = {(t.values["learning_rate"], t.values["gamma"], t.seed) for t in found}
    assert pairs == {(a, b, s) for a in (0.1, 0.2) for b in (0.5, 0.6, 0.7) for s in (3, 4)}
    assert len({t.folder for t in found}) == len(found) == 12
    assert [t.folder for t in sweep.trials(change(grid={}), tmp_path)] == [
        tmp_path / "default" / f"seed-{s}" for s in (0, 1)
    ]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"grid": {"learningrate": [1]}}, ValueError, "unknown hyper-parameter of reinforce 'learningrate'"),
        ({"fixed": {"seed": 3}}, ValueError, "unknown hyper-parameter of reinforce 'seed'"),
        ({"grid": {"gamma": [0.5, 1.5]}}, ValueError, r"gamma must lie in \[0, 1\], got 1.5"),
        ({"grid": {"gamma": 0.5}}, ValueError, "gamma must be a list of one or more values, got 0.5"),
        ({"grid": {"gamma": [0.5, 0.5]}}, ValueError, "gamma must be different values"),
        ({"grid": {"steps": [5]}}, ValueError, "steps cannot be both fixed and in the grid"),
        ({"seeds": ()}, ValueError, "seeds must be a list"),
        ({"task": "LabelMoon"}, ValueError, "unknown task 'LabelMoon'"),
        ({"program": "reinforced"}, ValueError, "unknown program 'reinforced'; allowed: ppo, .*reinforce, or the path"),
        ({"program": "nothing.py"}, FileNotFoundError, "nothing.py"),
        ({"program": str(ROOT / "tests" / "conftest.py")}, TypeError, "must define train"),
    ],
)
def test_bad_sweeps(changes: dict[str, Any], error: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        ray_sweep.run_sweep(change(**changes), tmp_path)
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_a_script_of_ones_own(tmp_path: Path) -> None:
    script = tmp_path / "own.py"
    script.write_text(SCRIPT)
    own = Sweep(str(script), "LabelMoons", (7,), {}, {"gamma": [0.25]})
    [trial] = sweep.trials(own, tmp_path / "out")
    ray_sweep.run_trial({"job": ray_sweep.job_of(own, trial)})
    assert sweep.read_result(trial.folder) == {"score": 7.25, "resumed": 0.0}
    with pytest.raises(ValueError, match=r"gamma must lie in \[0, 1\], got 2"):
        sweep.trials(dataclasses.replace(own, grid={"gamma": [2]}), tmp_path)
    with pytest.raises(TypeError, match=r"own.py has no argument beta; allowed: \['gamma'\]"):
        sweep.trials(dataclasses.replace(own, grid={"beta": [2]}), tmp_path)


def test_a_folder_belongs_to_one_sweep(tmp_path: Path) -> None:
    sweep.claim(SWEEP, tmp_path)
    sweep.claim(change(seeds=(0, 1, 2), grid={"gamma": [0.5]}), tmp_path)
    with pytest.raises(ValueError, match=r"holds another sweep: .*'steps': 1440.*'steps': 31"):
        sweep.claim(change(fixed={**FIXED, "steps": 31}), tmp_path)


def test_a_trial_is_the_programs_own_run_and_can_be_resumed(tmp_path: Path) -> None:
    trial = sweep.trials(SWEEP, tmp_path)[1]
    assert sweep.read_result(trial.folder) is None
    job = {"job": ray_sweep.job_of(SWEEP, trial)}
    ray_sweep.run_trial(json.loads(json.dumps(job)))
    expected = train_here(tmp_path / "alone", learning_rate=0.001, seed=1)
    assert sweep.read_result(trial.folder) == expected
    (trial.folder / sweep.RESULT).unlink()  # killed just before the result was written
    ray_sweep.run_trial(job)
    assert sweep.read_result(trial.folder) == expected


def test_an_exception_of_a_training_is_kept_and_tried_again(tmp_path: Path) -> None:
    trial = sweep.trials(SWEEP, tmp_path)[0]
    job = ray_sweep.job_of(SWEEP, trial)
    broken = {**job, "values": {**job["values"], "device": "nowhere"}}
    ray_sweep.run_trial({"job": broken})
    assert "nowhere" in (trial.folder / ray_sweep.ERROR).read_text().splitlines()[-1]
    assert sweep.read_result(trial.folder) is None
    ray_sweep.run_trial({"job": job})
    assert sweep.read_result(trial.folder) is not None and not (trial.folder / ray_sweep.ERROR).exists()


def test_the_table_is_the_mean_over_all_seeds(tmp_path: Path) -> None:
    four = change(seeds=(0, 1, 2, 3))
    values = {0.001: [0.2, 0.9, 0.4, 0.1], 0.01: [0.7]}
    for trial in sweep.trials(four, tmp_path):
        scores = values[trial.values["learning_rate"]]
        if trial.seed < len(scores):
            trial.folder.mkdir(parents=True)
            (trial.folder / sweep.RESULT).write_text(json.dumps({"score": scores[trial.seed]}))
    first, second = sweep.table(four, tmp_path)
    expected = stats.ttest_1samp(values[0.001], 0.0).confidence_interval(0.95)
    assert first.setting == "learning_rate=0.001" and first.seeds == 4
    assert first.estimate == pytest.approx((0.4, expected.low, expected.high), rel=1e-12)
    assert second.seeds == 1 and second.estimate.value == 0.7 and np.isnan(second.estimate.low)
    with pytest.raises(ValueError, match="unknown metric 'accuracy'; allowed: score"):
        list(sweep.table(four, tmp_path, "accuracy"))


@needs_ray
@pytest.mark.slow
def test_a_sweep_survives_a_killed_worker_and_grows(tmp_path: Path) -> None:
    """Two workers, one killed in the middle of training; then a third seed is added."""
    out, killed = tmp_path / "sweep", []
    long = change(fixed={**FIXED, "steps": 20_000})

    def kill() -> None:
        wait_for(lambda: list(out.glob("*/seed-*/checkpoints/*.json")), 120)
        pid = descendants(os.getpid(), "ray::ImplicitFunc")[0]
        os.kill(pid, signal.SIGKILL)
        killed.append(len(list(out.glob(f"*/seed-*/{sweep.RESULT}"))))

    killer = threading.Thread(target=kill)
    killer.start()
    results = ray_sweep.run_sweep(long, out, workers=2)
    killer.join()
    assert killed == [0], "killed too late to test anything"
    assert not descendants(os.getpid(), "/ray/"), "left processes behind"
    for trial in sweep.trials(long, out):
        alone = tmp_path / "alone" / trial.folder.relative_to(out)
        assert results[trial.folder] == train_here(alone, long, **trial.values, seed=trial.seed)
    before = {path: path.stat().st_mtime_ns for path in out.glob(f"*/seed-*/{sweep.RESULT}")}
    more = ray_sweep.run_sweep(dataclasses.replace(long, seeds=(0, 1, 2)), out, workers=2)
    assert len(more) == 6 and all(path.stat().st_mtime_ns == then for path, then in before.items()), "not trained again"


@needs_ray
@pytest.mark.slow
def test_failing_trials_are_reported_and_the_others_done(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "agents" / "tune.py"), "reinforce:steps=48,num_envs=4,eval_episodes=2"]
    options = ["--grid", "device=['nowhere','cpu']", "--seeds", "2", "--task", "LabelMoons:budget=4"]
    done = subprocess.run([*command, *options, "--out", str(tmp_path)], capture_output=True, text=True, timeout=200)
    assert done.returncode == 1, done.stderr
    assert re.search(r"tune: 2 of 4 trials failed, .*device=nowhere.seed-0: ValueError: .*nowhere", done.stderr)
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
