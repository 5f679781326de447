"""The training program: every algorithm trains, is scored, and resumes after a kill with the same figures."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from process_cases import PATIENCE, wait_for, without

pytest.importorskip("stable_baselines3")
pytest.importorskip("yaml")

import torch
import yaml

from teach_gym.benchmark.evaluation import Evaluation
from teach_gym.benchmark.suite import FIRST_SEED, cached_task, task_spec
from teach_gym.cli import main
from teach_gym.core.spec import TaskSpec
from teach_gym.files import TEMPORARY
from teach_gym.integrations.sb3 import state as sb3_state
from teach_gym.integrations.sb3 import trainer as sb3_trainer
from teach_gym.integrations.sb3.hyperparams import ALGORITHMS, sb3_hyperparams
from teach_gym.integrations.sb3.log import sb3_logger
from teach_gym.records.runlog import RunLog, restore
from teach_gym.teachers import make_teacher
from teach_gym.teachers.agent import Agent
from teach_gym.training import program
from teach_gym.training.args import TrainArgs

NETS = "policy_kwargs=dict(net_arch=[8])"
ON = ("n_steps=6", NETS)
OFF = ("learning_starts=60", "batch_size=16", "buffer_size=400", NETS)
OVERRIDES = {
    "ppo": (*ON, "batch_size=24", "n_epochs=2"),
    "a2c": ON,
    "dqn": (*OFF, "target_update_interval=40"),
    "sac": OFF,
    "td3": OFF,
    "reinforce": ("sizes=[8]",),
}
SMALL = {"task": "LabelMoons:budget=6", "steps": 240, "num_envs": 4, "eval_episodes": 5, "eval_every": 80}
LOSSES = {"ppo": "train/loss", "a2c": "train/value_loss", "dqn": "train/loss", "reinforce": "value_loss"}
RETURNS = {"reinforce": "return"}


def args_for(algo: str, out: Path, **changes: Any) -> TrainArgs:
    values = {"algo": algo, "overrides": OVERRIDES[algo], "out": out, "progress": False, **SMALL, **changes}
    return TrainArgs(**values)


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
    return found.tensors, found.state["numbers"]


def figures(folder: Path) -> list[dict[str, str]]:
    """``progress.csv`` without the columns that measure time."""
    rows = rows_of(folder)
    assert len(rows) > 1
    return [{k: v for k, v in row.items() if k != "seconds" and not k.startswith("time/")} for row in rows]


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
        ("reinforce", "teach_gym/SelectMomentum-v0:budget=6", False),
    ],
)
def test_every_algorithm_trains_and_is_scored(algo: str, task: str, continuous: bool, tmp_path: Path) -> None:
    wide = "policy_kwargs=dict(net_arch=[20])"  # a start at the oracle takes a unit for each action
    overrides = tuple(wide if "Mixed" in task and text == NETS else text for text in OVERRIDES[algo])
    result = program.train(args_for(algo, tmp_path, task=task, overrides=overrides))
    about = json.loads((tmp_path / "score.json").read_text())
    assert about["steps"] >= 240 and about["seconds"] >= 0 and about["algo"] == algo
    assert {name: about[name] for name in result} == result
    teacher = Agent(path=tmp_path / "policy.safetensors")
    assert teacher.spec is not None and teacher.spec.continuous == continuous
    assert teacher.card["algo"] == algo and teacher.card["hyperparams"]["n_envs"] == 4
    assert teacher.network is not None and teacher.network.normalization is not None
    assert max(teacher.network.normalization.mean) != 0
    assert score_of(tmp_path, 5) == result
    rows = rows_of(tmp_path)
    for name in (LOSSES.get(algo, "train/critic_loss"), RETURNS.get(algo, "rollout/ep_rew_mean"), "score"):
        values = [float(row[name]) for row in rows if row[name]]
        assert values and np.isfinite(values).all(), name
    tensors, numbers = state(tmp_path)
    assert numbers.get("num_timesteps", about["steps"]) == about["steps"]
    parameters = tensors["policy"] if algo == "reinforce" else tensors["parameters"]["policy"]
    assert all(bool(torch.isfinite(p).all()) for p in parameters.values())


def test_it_learns_what_a_random_policy_cannot_do(tmp_path: Path) -> None:
    task = "LabelMoons:budget=20,learning_rate=2.0"
    random = Evaluation(cached_task(task_spec(task)[1]), 100)(make_teacher("random"))
    overrides = ("n_steps=20", "batch_size=320", "policy_kwargs=dict(net_arch=[32])", "learning_rate=lin_0.003")
    args = args_for("ppo", tmp_path, task=task, steps=30_000, num_envs=64, overrides=overrides, eval_every=15_000)
    result = program.train(dataclasses.replace(args, eval_episodes=100))
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
    chosen = sb3_hyperparams("ppo", program.chosen_hyperparams(args_for("ppo", tmp_path)))
    model = sb3_trainer.make_model("LabelMoons:budget=6,observation=farsighted", chosen, seed=3)
    model.set_random_seed = lambda seed: seeds.append(seed)
    for step in range(50):
        sb3_state.restart(model, 3, step)
    assert len(set(seeds)) == 50 and min(seeds) > FIRST_SEED + 10**6 and max(seeds) < 2**31


# ------------------------------------------------------------------------------------------------------------- resume


class Killed(Exception):
    pass


def interrupt(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let training fail once it reaches a step."""
    log = RunLog.log

    def failing(self: RunLog, at: int, **scalars: float) -> None:
        if at >= step:
            raise Killed
        log(self, at, **scalars)

    monkeypatch.setattr(RunLog, "log", failing)


EXPLORING = {
    **{algo: (algo, "LabelMoons:budget=6", overrides) for algo, overrides in OVERRIDES.items()},
    "ppo, state-dependent noise": (
        "ppo",
        "LabelMoons:budget=6,continuous=True",
        (*OVERRIDES["ppo"], "use_sde=True", "sde_sample_freq=4"),
    ),
    "sac, state-dependent noise": (
        "sac",
        "LabelMoons:budget=6",
        (*OFF[:-1], "use_sde=True", "ent_coef=auto_0.2", "policy_kwargs=dict(net_arch=[8], clip_mean=0.0)"),
    ),
    "td3, noise with a memory": (
        "td3",
        "LabelMoons:budget=6",
        (*OFF, "noise_type=ornstein-uhlenbeck", "noise_std=0.3"),
    ),
}


COVERED = ("a2c", "sac", "td3")
"""Those that share all they save with another one, which is tested by default."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in COVERED else name for name in EXPLORING]
)
def test_interrupted_and_resumed_equals_uninterrupted(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    algo, task, overrides = EXPLORING[name]
    changes: dict[str, Any] = {"task": task, "overrides": overrides}
    result = program.train(args_for(algo, tmp_path / "whole", **changes))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        interrupt(patch, 200)
        program.train(args_for(algo, tmp_path / "broken", **changes))
    assert not (tmp_path / "broken" / "score.json").exists()
    capsys.readouterr()
    assert program.train(args_for(algo, tmp_path / "broken", resume=True, **changes)) == result
    said = capsys.readouterr().err
    assert "resuming after step 1" in said and "of 240\n" in said and "empty" not in said
    assert_same(state(tmp_path / "broken"), state(tmp_path / "whole"))
    assert figures(tmp_path / "broken") == figures(tmp_path / "whole")


def test_large_replay_buffers_start_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sb3_state, "LARGEST_BUFFER", 100)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        interrupt(patch, 200)
        program.train(args_for("sac", tmp_path))
    tensors, counters = state(tmp_path)
    assert "buffer" not in tensors
    updates: list[int] = []
    optimize = ALGORITHMS["sac"].train

    def spy(self: Any, *args: Any, **kwargs: Any) -> None:
        updates.append(self.num_timesteps)
        optimize(self, *args, **kwargs)

    monkeypatch.setattr(ALGORITHMS["sac"], "train", spy)
    program.train(args_for("sac", tmp_path, resume=True))
    assert f"after step {counters['num_timesteps']}, with an empty replay buffer" in capsys.readouterr().err
    assert updates[0] == counters["num_timesteps"] + 60 + 4  # learning_starts is to be passed


def kill_once(options: list[str], checkpoints: int, marker: Path) -> None:
    """Start a training, and kill it at the first row after so many checkpoints."""
    script = Path(__file__).with_name("paused.py")
    command = [sys.executable, str(script), str(checkpoints), str(marker), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert wait_for(lambda: marker.exists() or process.poll() is not None)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


@pytest.mark.skipif(os.name != "posix", reason="uses SIGKILL")
@pytest.mark.parametrize(
    ("algo", "kills"),
    [("ppo", (2,)), *(pytest.param(algo, (2, 1, 3), marks=pytest.mark.slow) for algo in ("ppo", "dqn", "reinforce"))],
)
def test_killed_and_resumed_it_gives_the_same_figures(
    algo: str, kills: tuple[int, ...], tmp_path: Path, capsys: Any
) -> None:
    changes: dict[str, Any] = {"steps": 2400, "eval_every": 240}
    result = program.train(args_for(algo, tmp_path / "whole", **changes))
    folder = tmp_path / "killed"
    command = ["train", str(SMALL["task"]), "--algo", algo, "--out", str(folder)]
    for name, value in {**SMALL, **changes}.items():
        if name != "task":
            command += [f"--{name.replace('_', '-')}", str(value)]
    command += ["--resume", "--set", *OVERRIDES[algo]]
    for turn, checkpoints in enumerate(kills):
        kill_once(command, checkpoints, tmp_path / f"stands-{turn}")
    for place in (folder, folder / "checkpoints"):  # what a kill in the middle of writing leaves
        (place / f".config.json.1234{TEMPORARY}").write_text("cut short")
    assert not (folder / "score.json").exists()
    assert program.train(args_for(algo, folder, resume=True, **changes)) == result
    assert "resuming after step" in capsys.readouterr().err
    assert_same(state(folder), state(tmp_path / "whole"))
    assert figures(folder) == figures(tmp_path / "whole")
    left = {path.relative_to(folder) for path in folder.rglob("*")}
    assert left == {path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*")}


def test_a_damaged_checkpoint_costs_some_steps_only(tmp_path: Path) -> None:
    args = args_for("reinforce", tmp_path)
    program.train(args)
    wanted, rows = state(tmp_path), figures(tmp_path)
    newest = max((tmp_path / "checkpoints").glob("*.pt"))
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="damaged checkpoint"):
        program.train(dataclasses.replace(args, resume=True))
    assert_same(state(tmp_path), wanted)
    assert figures(tmp_path) == rows


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

    program.train(args_for("a2c", tmp_path, tensorboard=True))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for name in ("train/value_loss", "rollout/ep_rew_mean", "score"):
        wanted = [(int(row["step"]), float(row[name])) for row in rows_of(tmp_path) if row[name]]
        found = [(event.step, event.value) for event in events.Scalars(name)]
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["SelectMoons", "--algo", "sac"], "medium 'select' is a choice and has no continuous flavour"),
        (["MixedMoons", "--algo", "td3"], "td3 cannot be trained on task 'MixedMoons:continuous=True"),
        (["LabelMoons:continuous=False", "--algo", "sac"], "sac needs continuous actions"),
        (["LabelMoons:continuous=True", "--algo", "dqn"], "dqn needs discrete actions"),
        (["LabelMoons:continuous=True", "--algo", "reinforce"], "it can be taught by ppo, a2c, sac, td3"),
        (["LabelMoon"], "did you mean 'LabelMoons'"),
        (["LabelMoons", "--set", "gama=0.9"], "did you mean 'gamma'"),
        (["LabelMoons", "--set", "gamma=.nan"], "gamma must lie in [0, 1], got nan"),
        (["LabelMoons", "--algo", "sac", "--set", "use_sde=true"], "cannot save these layers"),
        (["LabelMoons", "--set", "batch_size=1"], "ppo does not take these hyper-parameters"),
        (["LabelMoons", "--set", "policy_kwargs=dict(net_arch=print(1))"], "'print(1)' is not allowed"),
        (["LabelMoons", "--hyperparams", "nowhere.yml"], "nowhere.yml"),
        (["LabelMoons", "--seed", "-1"], "seed must lie in [0, inf), got -1"),
    ],
)
def test_users_errors_are_one_line(options: list[str], message: str, tmp_path: Path, capsys: Any) -> None:
    assert main(["train", *options, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("package", "algo", "extra"),
    [("stable_baselines3", "ppo", "agents"), ("torch", "reinforce", "torch"), ("yaml", "ppo", "agents")],
)
def test_a_missing_package_is_named_with_its_extra(package: str, algo: str, extra: str, tmp_path: Path) -> None:
    code = without(package) + (
        "from teach_gym.cli import main\n"
        f"sys.exit(main(['train', 'LabelMoons', '--algo', {algo!r}, '--out', {str(tmp_path / 'run')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and f"pip install 'teach_gym[{extra}]'" in done.stderr, done.stderr
    assert not (tmp_path / "run").exists()


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    program.train(args_for("a2c", tmp_path))
    with pytest.raises(FileExistsError, match="holds a run already"):
        program.train(args_for("a2c", tmp_path))
    with pytest.raises(ValueError, match=r"another config.*0\.5"):
        program.train(args_for("a2c", tmp_path, resume=True, overrides=(*OVERRIDES["a2c"], "gamma=0.5")))
    for bad in ({"steps": 0}, {"num_envs": -1}, {"seed": -1}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            args_for("a2c", tmp_path, **bad)
    with pytest.raises(ValueError, match=r"another task: there {'budget': 6}, here {'budget': 7}"):
        program.train(args_for("a2c", tmp_path, task="LabelMoons:budget=7", resume=True))


# ------------------------------------------------------------------------------------------------------------ RL-Zoo


def zoo_command(algo: str) -> list[str]:
    """The command in the header of a file of hyper-parameters."""
    comments = program.hyperparams_file(algo).read_text(encoding="utf-8").partition("default:")[0]
    text = re.search(r"#   (python -m rl_zoo3.*\\\n#.*)", comments)
    assert text is not None
    return shlex.split(text[1].replace("\\\n#", " "))


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_rl_zoos_command_evaluates_on_the_task_that_it_trains_on(algo: str) -> None:
    """RL-Zoo gives ``env_kwargs`` of a file to the training environments only."""
    words = zoo_command(algo)
    assert words[words.index("--algo") + 1] == algo and words[words.index("-conf") + 1] == f"{algo}.yml"
    env = words[words.index("--env") + 1]
    pairs = [word.split(":") for word in words[words.index("--eval-env-kwargs") + 1 :]]
    entry = yaml.safe_load(program.hyperparams_file(algo).read_text(encoding="utf-8"))[env]
    assert {name: yaml.safe_load(value.lower()) for name, value in pairs} == entry["env_kwargs"]


@pytest.mark.slow
@pytest.mark.parametrize("algo", ALGORITHMS)
def test_rl_zoo_trains_and_evaluates(algo: str, tmp_path: Path) -> None:
    pytest.importorskip("rl_zoo3")
    command = zoo_command(algo)[1:]
    command[command.index("-conf") + 1] = str(program.hyperparams_file(algo))
    command += ["-f", str(tmp_path), "-n", "7000", "-params", "n_envs:1", "--eval-freq", "2000", "--eval-episodes", "3"]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(tmp_path.rglob("*LabelMoons-v0.zip")), done.stdout[-2000:]
    (evaluations,) = tmp_path.rglob("evaluations.npz")
    assert np.isfinite(np.load(evaluations)["results"]).all()
