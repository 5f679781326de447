"""Training with Stable-Baselines3: every algorithm runs, learns, is scored, and goes on after a crash."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")
pytest.importorskip("yaml")

import torch

from teach_gym.benchmark.evaluation import Evaluation
from teach_gym.benchmark.suite import FIRST_SEED, cached_task, task_spec
from teach_gym.core.spec import TaskSpec
from teach_gym.integrations.sb3 import state as sb3_state
from teach_gym.integrations.sb3.log import sb3_logger
from teach_gym.records.runlog import RunLog, restore
from teach_gym.teachers import make_teacher
from teach_gym.teachers.agent import Agent

FILE = Path(__file__).parents[2] / "agents" / "train_sb3.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_sb3", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["train_sb3"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


agent = load()
NETS = "policy_kwargs=dict(net_arch=[8])"
ON = ("n_steps=6", NETS)
OFF = ("learning_starts=60", "batch_size=16", "buffer_size=400", NETS)
OVERRIDES = {
    "ppo": (*ON, "batch_size=24", "n_epochs=2"),
    "a2c": ON,
    "dqn": (*OFF, "target_update_interval=40"),
    "sac": OFF,
    "td3": OFF,
}
SMALL = {"task": "LabelMoons:budget=6", "steps": 240, "num_envs": 4, "eval_episodes": 5, "eval_every": 80}


def args_for(algo: str, out: Path, **changes: Any) -> Any:
    values = {"algo": algo, "overrides": OVERRIDES[algo], "out": out, "progress": False, **SMALL, **changes}
    return agent.Args(**values)


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "progress.csv").open() as file:
        return list(csv.DictReader(file))


def assert_same(left: Any, right: Any, where: str = "") -> None:
    """Nested dictionaries and lists of tensors and numbers, equal to the last bit."""
    assert type(left) is type(right), where
    if isinstance(left, dict):
        assert left.keys() == right.keys(), where
        for key in left:
            assert_same(left[key], right[key], f"{where}/{key}")
    elif isinstance(left, list | tuple):
        assert len(left) == len(right), where
        for i, (a, b) in enumerate(zip(left, right, strict=True)):
            assert_same(a, b, f"{where}/{i}")
    else:
        assert torch.equal(left, right) if isinstance(left, torch.Tensor) else left == right, where


def state(folder: Path) -> tuple[Any, Any]:
    found = restore(folder)
    assert found is not None
    return found.tensors, found.state["counters"]


def score_of(folder: Path, episodes: int) -> dict[str, float]:
    """The score of the policy in a folder, from its file alone."""
    teacher = Agent(path=folder / "policy.safetensors")
    assert teacher.spec is not None
    return Evaluation(cached_task(teacher.spec.to_json()), episodes)(teacher)


# ----------------------------------------------------------------------------------------------------------- training


@pytest.mark.parametrize(
    ("algo", "task", "continuous"),
    [
        ("ppo", "LabelMoons:budget=6", False),
        ("ppo", "PerturbMoons:budget=6,continuous=True", True),
        ("a2c", "teach_gym/SelectMoons-v0:budget=6", False),
        ("a2c", "LabelMoons:budget=6,continuous=True", True),
        ("dqn", "MixedMoons:budget=6,tolerance=0.8", False),
        ("sac", "MixupMoons:budget=6", True),
        ("td3", "LabelRegression:budget=6", True),
    ],
)
def test_every_algorithm_trains_and_is_scored(algo: str, task: str, continuous: bool, tmp_path: Path) -> None:
    result = agent.train(args_for(algo, tmp_path, task=task))
    about = json.loads((tmp_path / "score.json").read_text())
    assert about["steps"] >= 240 and about["seconds"] >= 0 and about["algo"] == algo
    assert {name: about[name] for name in result} == result
    teacher = Agent(path=tmp_path / "policy.safetensors")
    assert teacher.spec is not None and teacher.spec.continuous == continuous
    assert teacher.card["algo"] == algo and teacher.card["hyperparams"]["n_envs"] == 4
    assert teacher.network is not None and teacher.network.normalization is not None
    assert max(teacher.network.normalization.mean) != 0
    assert score_of(tmp_path, 5) == pytest.approx(result, rel=1e-4)
    rows = rows_of(tmp_path)
    losses = {"ppo": "train/loss", "a2c": "train/value_loss", "dqn": "train/loss"}.get(algo, "train/critic_loss")
    for name in (losses, "rollout/ep_rew_mean", "score"):
        values = [float(row[name]) for row in rows if row[name]]
        assert values and np.isfinite(values).all(), name
    tensors, counters = state(tmp_path)
    assert counters["num_timesteps"] == about["steps"] and counters["_n_updates"] > 0
    assert all(bool(torch.isfinite(p).all()) for p in tensors["parameters"]["policy"].values())


def test_it_learns_what_a_random_policy_cannot_do(tmp_path: Path) -> None:
    task = "LabelMoons:budget=20,learning_rate=2.0"
    random = Evaluation(cached_task(task_spec(task)[1]), 100)(make_teacher("random"))
    overrides = ("n_steps=20", "batch_size=320", "policy_kwargs=dict(net_arch=[32])", "learning_rate=lin_0.003")
    args = args_for("ppo", tmp_path, task=task, steps=30_000, num_envs=64, overrides=overrides, eval_every=15_000)
    result = agent.train(dataclasses.replace(args, eval_episodes=100))
    assert random["score_high"] < 0.3
    assert result["score_low"] > 0.5


@pytest.mark.parametrize("task", ["LabelMoons", "MixupMoons", "PerturbMoons", "LabelRegression"])
def test_both_flavours_of_a_task_have_the_same_references(task: str) -> None:
    discrete, box = (cached_task(task_spec(f"{task}:budget=9{more}")[1]) for more in ("", ",continuous=True"))
    for name in ("passive", "greedy"):
        np.testing.assert_array_equal(Evaluation(discrete, 6).references[name], Evaluation(box, 6).references[name])
    passive = Evaluation(box, 6)(make_teacher("passive"))
    assert passive["score"] == pytest.approx(0, abs=1e-12)
    assert passive["distance_agent"] == pytest.approx(passive["distance_passive"])


def test_training_episodes_are_not_those_of_the_evaluation(tmp_path: Path) -> None:
    seeds: list[int] = []
    chosen = agent.settings("ppo", agent.chosen_hyperparams(args_for("ppo", tmp_path)))
    model = agent.make_model("ppo", "LabelMoons:budget=6", chosen, args_for("ppo", tmp_path))
    model.set_random_seed = lambda seed: seeds.append(seed)
    for step in range(50):
        sb3_state.restart(model, 3, step)
    assert len(set(seeds)) == 50 and min(seeds) > FIRST_SEED + 10**6 and max(seeds) < 2**31


# ------------------------------------------------------------------------------------------------------------- resume


class Killed(Exception):
    pass


def interrupt(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let training fail once it reaches a step."""
    on_step = agent.Milestones._on_step

    def failing(self: Any) -> bool:
        if self.model.num_timesteps >= step:
            raise Killed
        return bool(on_step(self))

    monkeypatch.setattr(agent.Milestones, "_on_step", failing)


@pytest.mark.parametrize("algo", OVERRIDES)
def test_interrupted_and_resumed_equals_uninterrupted(
    algo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    result = agent.train(args_for(algo, tmp_path / "whole"))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        interrupt(patch, 200)
        agent.train(args_for(algo, tmp_path / "broken"))
    assert not (tmp_path / "broken" / "score.json").exists()
    capsys.readouterr()
    assert agent.train(args_for(algo, tmp_path / "broken", resume=True)) == result
    said = capsys.readouterr().out
    assert "resuming after step 1" in said and "of 240\n" in said and "empty" not in said
    assert_same(state(tmp_path / "broken"), state(tmp_path / "whole"))
    steps = [int(row["step"]) for row in rows_of(tmp_path / "broken")]
    assert steps == sorted(set(steps))


def test_large_replay_buffers_start_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sb3_state, "LARGEST_BUFFER", 100)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        interrupt(patch, 200)
        agent.train(args_for("sac", tmp_path))
    tensors, counters = state(tmp_path)
    assert "buffer" not in tensors
    updates: list[int] = []
    optimize = agent.ALGORITHMS["sac"].train

    def spy(self: Any, *args: Any, **kwargs: Any) -> None:
        updates.append(self.num_timesteps)
        optimize(self, *args, **kwargs)

    monkeypatch.setattr(agent.ALGORITHMS["sac"], "train", spy)
    agent.train(args_for("sac", tmp_path, resume=True))
    assert f"after step {counters['num_timesteps']}, with an empty replay buffer" in capsys.readouterr().out
    assert updates[0] == counters["num_timesteps"] + 60 + 4  # learning_starts is to be passed


def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path, capsys: Any) -> None:
    changes = {"steps": 2400, "eval_every": 240}
    agent.train(args_for("ppo", tmp_path / "whole", **changes))
    command = [sys.executable, str(FILE), "--out", str(tmp_path / "killed"), "--no-progress", "--algo", "ppo"]
    for name, value in {**SMALL, **changes}.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    command += ["--set", *OVERRIDES["ppo"]]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    checkpoints = tmp_path / "killed" / "checkpoints"
    while len(list(checkpoints.glob("*.json"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.communicate()
    assert not (tmp_path / "killed" / "score.json").exists()
    capsys.readouterr()
    agent.train(args_for("ppo", tmp_path / "killed", resume=True, **changes))
    assert "resuming after step" in capsys.readouterr().out
    assert_same(state(tmp_path / "killed"), state(tmp_path / "whole"))


# --------------------------------------------------------------------------------------------------- records, messages


def test_the_logger_keeps_numbers_that_belong_into_curves(tmp_path: Path) -> None:
    with RunLog(tmp_path, {}, spec=TaskSpec.from_json(task_spec("LabelMoons")[1])) as log:
        logger = sb3_logger(log)
        logger.record("train/loss", np.float32(0.5))
        logger.record("train/n_updates", 7, exclude="tensorboard")
        logger.record("train/note", "text")
        logger.dump(3)
        logger.record("train/note", "nothing but text")
        logger.dump(5)
        logger.close()
    assert rows_of(tmp_path) == [{"step": "3", "train/loss": "0.5"}]


def test_tensorboard_gets_sb3s_curves(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    agent.train(args_for("a2c", tmp_path, tensorboard=True))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for name in ("train/value_loss", "rollout/ep_rew_mean", "score"):
        wanted = [(int(row["step"]), float(row[name])) for row in rows_of(tmp_path) if row[name]]
        found = [(event.step, event.value) for event in events.Scalars(name)]
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--algo", "sac", "--task", "SelectMoons"], "medium 'select' is a choice and has no continuous flavour"),
        (["--algo", "td3", "--task", "MixedMoons"], "td3 cannot be trained on task 'MixedMoons:continuous=True'"),
        (["--algo", "sac", "--task", "LabelMoons:continuous=False"], "sac needs continuous actions"),
        (["--algo", "dqn", "--task", "LabelMoons:continuous=True"], "dqn needs discrete actions"),
        (["--task", "LabelMoon"], "did you mean 'LabelMoons'"),
        (["--set", "gama=0.9"], "did you mean 'gamma'"),
        (["--set", "batch_size=1"], "ppo does not take these hyper-parameters"),
        (["--set", "policy_kwargs=dict(net_arch=print(1))"], "'print(1)' is not allowed"),
        (["--hyperparams", "nowhere.yml"], "nowhere.yml"),
    ],
)
def test_users_errors_are_one_line(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(sys, "argv", ["train_sb3.py", "--out", str(tmp_path / "run"), *options])
    assert agent.main() == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    agent.train(args_for("a2c", tmp_path))
    with pytest.raises(FileExistsError, match="holds a run already"):
        agent.train(args_for("a2c", tmp_path))
    with pytest.raises(ValueError, match=r"another config.*0\.5"):
        agent.train(args_for("a2c", tmp_path, resume=True, overrides=(*OVERRIDES["a2c"], "gamma=0.5")))
    for bad in ({"steps": 0}, {"num_envs": -1}, {"seed": -1}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            args_for("a2c", tmp_path, **bad)


@pytest.mark.slow
@pytest.mark.parametrize("algo", OVERRIDES)
def test_rl_zoo_takes_the_files(algo: str, tmp_path: Path) -> None:
    pytest.importorskip("rl_zoo3")
    config = FILE.parent / "hyperparams" / f"{algo}.yml"
    command = ["-m", "rl_zoo3.train", "--algo", algo, "--env", "teach_gym/LabelMoons-v0", "--gym-packages", "teach_gym"]
    command += ["-conf", str(config), "-f", str(tmp_path), "-n", "7000", "--eval-freq", "-1", "-params", "n_envs:1"]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(tmp_path.rglob("*LabelMoons-v0.zip")), done.stdout[-2000:]
