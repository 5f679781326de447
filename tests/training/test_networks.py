"""Agents that are trained on the training of a network: every algorithm, their files, their scores, resuming."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("stable_baselines3")
pytest.importorskip("yaml")

import torch
from neural_cases import HORIZON, SMALL_MIXUP, close, spec

from teach_gym.benchmark.neural import BASELINES, NeuralEvaluation, ends_of, policy_of, score
from teach_gym.calls import format_call
from teach_gym.cli import main
from teach_gym.errors import DamagedDataError
from teach_gym.neural.mixup import Trainings
from teach_gym.neural.mixup_policies import TEACH, word
from teach_gym.neural.mixup_spec import load_images
from teach_gym.records.runlog import RunLog
from teach_gym.registration import NEURAL_TASKS, env_id
from teach_gym.sb3 import make_vec_env
from teach_gym.teachers.agent import load_teacher
from teach_gym.teachers.mixup_agent import MixupAgent
from teach_gym.teachers.perceptron import Network, Normalization
from teach_gym.training import program
from teach_gym.training.args import TrainArgs
from teach_gym.training.subjects import subject_of
from teach_gym.training.sweep import Sweep, trials

SHORT = {**SMALL_MIXUP, "epochs": 1}
LENGTH = HORIZON // 2
"""Steps of a training of SHORT."""
OFF = ("learning_starts=8", "batch_size=8", "buffer_size=400")
OVERRIDES = {
    "ppo": (f"n_steps={LENGTH}", "batch_size=8"),
    "a2c": (f"n_steps={LENGTH}",),
    "dqn": OFF,
    "sac": OFF,
    "td3": OFF,
    "reinforce": ("sizes=[8]",),
}


def args_for(task: str, algo: str, out: Path, **changes: Any) -> TrainArgs:
    values: dict[str, Any] = {"steps": 12 * LENGTH, "num_envs": 4, "eval_every": 8 * LENGTH, "eval_episodes": 2}
    values |= {"progress": False, "overrides": OVERRIDES[algo], **changes}
    return TrainArgs(format_call(task, SHORT), algo, out=out, **values)


def network(n: int = 3, form: str = "scores", inputs: int = 3, seed: int = 0) -> Network:
    rng = np.random.default_rng(seed)
    sizes = [(5, inputs), (n, 5)]
    layers = [(rng.normal(size=s).astype(np.float32), rng.normal(size=s[0]).astype(np.float32)) for s in sizes]
    return Network(layers, "Tanh", form, Normalization([0.1] * inputs, [0.5] * inputs, 10.0, 1e-8))


def figures(folder: Path) -> list[dict[str, str]]:
    with (folder / "progress.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k != "seconds" and not k.startswith("time/")} for row in rows]


# ----------------------------------------------------------------------------------------------------------- trainings


def check_records(folder: Path, algo: str, result: dict[str, float]) -> None:
    """What a finished run of SHORT holds."""
    about = json.loads((folder / "score.json").read_text())
    assert about["steps"] == 12 * LENGTH and about["episodes"] == 2 and about["steps_agent"] == LENGTH
    agent = MixupAgent.read(folder / "policy.safetensors")
    reward = "holdout_accuracy" if algo in ("a2c", "sac", "td3") else "holdout_progress"  # those of the YAML files
    assert agent.spec == spec(epochs=1, reward=reward, continuous=algo in ("sac", "td3"))
    np.testing.assert_equal(NeuralEvaluation(agent.spec, 2)(agent), result)
    assert agent.card["algo"] == algo and agent.card["score"] == pytest.approx(result["score"], nan_ok=True)
    rows = figures(folder)
    seen = [float(row["return" if algo == "reinforce" else "rollout/ep_rew_mean"] or "nan") for row in rows]
    assert np.isfinite(seen).any() and sum(row["score"] != "" for row in rows) == 2
    assert json.loads((folder / "config.json").read_text())["config"]["training"]["epochs"] == 1


@pytest.mark.parametrize("task", NEURAL_TASKS)
@pytest.mark.parametrize("algo", ["ppo", pytest.param("dqn", marks=pytest.mark.slow), "reinforce"])
def test_it_trains_is_scored_and_resumes_as_if_uninterrupted(
    task: str, algo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = program.train(args_for(task, algo, tmp_path / "whole"))
    check_records(tmp_path / "whole", algo, result)
    log = RunLog.log

    def failing(self: RunLog, at: int, **scalars: float) -> None:
        if at >= 10 * LENGTH:
            raise KeyboardInterrupt
        log(self, at, **scalars)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RunLog, "log", failing)
        program.train(args_for(task, algo, tmp_path / "broken"))
    other = dataclasses.replace(args_for(task, algo, tmp_path / "broken"), task=format_call(task, SMALL_MIXUP))
    with pytest.raises(ValueError, match="another config"):
        program.train(dataclasses.replace(other, resume=True))
    np.testing.assert_equal(program.train(args_for(task, algo, tmp_path / "broken", resume=True)), result)
    assert figures(tmp_path / "broken") == figures(tmp_path / "whole")
    left, right = (MixupAgent.read(tmp_path / name / "policy.safetensors").network for name in ("broken", "whole"))
    np.testing.assert_equal(left.layers, right.layers)


@pytest.mark.slow
@pytest.mark.parametrize("task", NEURAL_TASKS)
@pytest.mark.parametrize("algo", ["a2c", "sac", "td3"])
def test_the_other_algorithms_train_and_are_scored(task: str, algo: str, tmp_path: Path) -> None:
    check_records(tmp_path, algo, program.train(args_for(task, algo, tmp_path)))


@pytest.mark.parametrize("task", NEURAL_TASKS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--algo", "reinforce", "--set", "begin=oracle"], "needs a task with a teaching state"),
        (["--set", "callback=teach_gym.sb3.OracleStart"], "needs a task with a teaching state"),
        (["--algo", "dqn", "--set", "env_kwargs={'continuous': True}"], "dqn needs discrete actions"),
        (["--set", "env_kwargs={'rewrad': 'holdout_progress'}"], "did you mean 'reward'"),
        (["--algo", "reinforce", "--set", "gama=1"], "did you mean 'gamma'"),
    ],
)
def test_users_errors_are_one_line(task: str, options: list[str], message: str, tmp_path: Path, capsys: Any) -> None:
    text = format_call(task, SHORT)
    assert main(["train", text, "--num-envs", "4", *options, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not (tmp_path / "run").exists()


@pytest.mark.parametrize("task", NEURAL_TASKS)
def test_sb3_gets_what_the_native_environment_gives(task: str) -> None:
    ours = make_vec_env(task, 3, seed=7, **SMALL_MIXUP)
    mode = gym.VectorizeMode.VECTOR_ENTRY_POINT
    native: Any = gym.make_vec(env_id(task), 3, mode, autoreset_mode="same_step", **SMALL_MIXUP)
    np.testing.assert_array_equal(ours.reset(), native.reset(seed=7)[0])
    for t in range(HORIZON + 1):
        seen, reward, done, infos = ours.step(np.array([0, 1, 2]))
        wanted, gain, over, _, info = native.step(np.array([0, 1, 2]))
        np.testing.assert_array_equal(seen, wanted)
        np.testing.assert_allclose(reward, gain, rtol=1e-6)
        assert done.tolist() == over.tolist() == [t == HORIZON - 1] * 3
        if done.all():
            np.testing.assert_array_equal(infos[1]["terminal_observation"], info["final_obs"][1])
    assert not hasattr(ours.env, "state")


# -------------------------------------------------------------------------------------------------------------- scores


def test_ends_are_those_of_single_trainings() -> None:
    """Eleven seeds make two stacks; each training is repeated alone, step by step."""
    own, agent = spec(reward="holdout_progress"), MixupAgent(network(), spec())
    found = ends_of(own, policy_of(agent), range(11))
    pool, test = load_images(own)
    for seed in (2, 10):
        alone, mixed = Trainings(own, pool, 1), []
        alone.start([0], [word(seed, TEACH)])
        for _ in range(HORIZON):
            c = own.coefficients[int(agent(alone.observation()[0]))]
            mixed.append(4 * c * (1 - c))
            alone.step([c])
        share = 100 * (1 - alone.look()[0] / alone.initial_loss)
        wanted = [share, [HORIZON], *alone.look(), alone.look(test)[1], [np.mean(mixed)]]
        close([values[seed] for values in found], np.concatenate(wanted), 1e-4)


def test_episodes_that_end_early_count_until_their_end() -> None:
    own = spec(reward="steps_to_accuracy", zeta=0.45, epochs=12, learning_rate=0.02)
    found = ends_of(own, BASELINES["erm"], range(6))
    assert (found.gain == -found.steps).all() and len(set(found.steps)) > 1
    early = found.steps < 6 * HORIZON
    assert early.any() and (found.validation_accuracy[early] >= 0.45).all()


def test_plain_training_scores_0_and_the_better_random_mixup_1() -> None:
    gains = {"erm": np.array([1.0, 2.0, 3.0]), "cmixup": np.array([2.0, 2.0, 3.5]), "dmixup": np.array([3.0, 4.0, 5.0])}
    assert score(gains, gains["erm"]) == (0, 0, 0) and score(gains, gains["dmixup"]) == (1, 1, 1)
    assert score(gains, gains["cmixup"]).value == pytest.approx(0.25)


def test_drawn_actions_follow_the_seed_and_the_probabilities() -> None:
    agent = MixupAgent(network(), spec())
    trainings = Trainings(spec(), load_images(spec())[0], 2)
    trainings.start([0, 1], [1, 2])
    twice = [policy_of(agent, sampled=True)([4, 5]) for _ in range(2)]
    draws = [np.array([choose(trainings) for _ in range(400)]) for choose in twice]
    np.testing.assert_array_equal(*draws)
    scores = agent.network(trainings.observation())
    chances = torch.softmax(torch.from_numpy(scores), -1).numpy()
    for i, c in enumerate(spec().coefficients):
        np.testing.assert_allclose((draws[0] == c).mean(0), chances[:, i], atol=0.1)
    one = policy_of(agent, sampled=True)([5])  # no seed depends on the others
    trainings = Trainings(spec(), load_images(spec())[0], 1)
    trainings.start([0], [2])
    np.testing.assert_array_equal([one(trainings)[0] for _ in range(50)], draws[0][:50, 1])


# --------------------------------------------------------------------------------------------------------------- files


def test_files_keep_the_agent(tmp_path: Path) -> None:
    for form, own in (("scores", spec()), ("box", spec(continuous=True)), ("squashed", spec(continuous=True))):
        agent = MixupAgent(network(1 if own.continuous else 3, form), own)
        agent.save(tmp_path / form, algo="x")
        found, seen = MixupAgent.read(tmp_path / form), np.random.default_rng(1).random((9, 3), np.float32)
        assert found.spec == own and found.card["algo"] == "x"
        np.testing.assert_array_equal(found(seen), agent(seen))
        assert found(seen).shape == (9,) and found(seen[0]) == pytest.approx(found(seen)[0], rel=1e-5)
        env = gym.make(env_id(next(iter(NEURAL_TASKS))), **{**SMALL_MIXUP, "continuous": own.continuous})
        assert env.action_space.contains(found(seen[0])) or env.action_space.contains(int(found(seen[0])))


@pytest.mark.parametrize("bad", [network(2), network(form="box"), network(inputs=4)])
def test_networks_that_do_not_fit_are_refused(bad: Network) -> None:
    with pytest.raises(ValueError, match="the task shows 3 numbers and takes 3 outputs"):
        MixupAgent(bad, spec())


def test_files_of_another_kind_are_told_apart(tmp_path: Path) -> None:
    MixupAgent(network(), spec()).save(tmp_path / "a")
    with pytest.raises(ValueError, match="holds mixup_agent of format 1, wanted agent"):
        load_teacher(tmp_path / "a")
    with pytest.raises(ValueError, match="holds agent of format 1, wanted mixup_agent"):
        MixupAgent.read(Path(program.__file__).parents[1] / "pretrained" / "ppo" / "LabelMoons-v0.safetensors")
    content = (tmp_path / "a").read_bytes()
    (tmp_path / "b").write_bytes(content[:-8])
    with pytest.raises(DamagedDataError):
        MixupAgent.read(tmp_path / "b")


@pytest.mark.parametrize("task", NEURAL_TASKS)
def test_tasks_are_told_apart_by_their_learner(task: str) -> None:
    found = subject_of(f"{env_id(task)}:epochs=3")
    assert found.name == f"{task}:epochs=3" and found.spec.epochs == 3 and found.recorded is None
    assert subject_of("LabelMoons:budget=3").spec.budget == 3
    with pytest.raises(TypeError, match="did you mean 'epochs'"):
        subject_of(f"{task}:epoch=3")


@pytest.mark.parametrize("task", NEURAL_TASKS)
def test_sweeps_take_them(task: str, tmp_path: Path) -> None:
    found = Sweep("reinforce", format_call(task, SHORT), (0,), {"num_envs": 4}, {"gamma": [0.9, 1.0]})
    assert [trial.values["gamma"] for trial in trials(found, tmp_path)] == [0.9, 1.0]
