"""Hyper-parameters of SB3's algorithms: every one has a rule, and no value outside it reaches a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")
pytest.importorskip("yaml")

import yaml
from conftest import names
from stable_baselines3.common.noise import NormalActionNoise

from teach_gym.core.media import CONTINUOUS_MEDIA
from teach_gym.integrations.sb3 import hyperparams
from teach_gym.integrations.sb3.hyperparams import ALGORITHMS, MAPPINGS, RULES, parameters, sb3_hyperparams
from teach_gym.integrations.zoo import read_hyperparams
from teach_gym.registration import NEURAL_TASKS, TASKS, env_id
from teach_gym.training.program import hyperparams_file
from teach_gym.training.reinforce import reinforce_settings

BASE = {"policy": "MlpPolicy", "n_timesteps": 1000}


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_the_shipped_files(algo: str) -> None:
    path = hyperparams_file(algo)
    entries = yaml.safe_load(path.read_text())
    merged = {"default", "lookahead", "farsighted", "long", "careful", "black_box"}  # the words entries are merged from
    assert set(entries) <= {*merged, *map(env_id, (*TASKS, *NEURAL_TASKS))}
    for name in (*TASKS, *NEURAL_TASKS):
        chosen = sb3_hyperparams(algo, read_hyperparams(path, name))
        if "n_steps" in chosen.arguments and algo == "ppo":  # no short mini-batch at the end of a rollout
            assert chosen.n_envs * chosen.arguments["n_steps"] % chosen.arguments["batch_size"] == 0
        assert chosen.env_kwargs.get("continuous", False) or algo not in ("sac", "td3")


def test_the_shipped_file_of_reinforce() -> None:
    path = hyperparams_file("reinforce")
    entries = yaml.safe_load(path.read_text())
    assert set(entries) <= {
        "default",
        "lookahead",
        "farsighted",
        "long",
        "black_box",
        *map(env_id, (*TASKS, *NEURAL_TASKS)),
    }
    updates = {name: reinforce_settings(read_hyperparams(path, name), TASKS[name]["budget"]).updates for name in TASKS}
    assert updates["LabelMoons"] == updates["LabelDigits"] == 8


def test_the_shipped_file_for_continuous_actions() -> None:
    path = hyperparams_file("ppo", continuous=True)
    assert path != hyperparams_file("ppo") and hyperparams_file("sac", continuous=True) == hyperparams_file("sac")
    for name in names(medium=CONTINUOUS_MEDIA):
        chosen = sb3_hyperparams("ppo", read_hyperparams(path, name))
        assert chosen.env_kwargs["continuous"]
        assert chosen.at_oracle and chosen.env_kwargs["observation"] in ("farsighted", "lookahead")
        assert chosen.n_envs * chosen.arguments["n_steps"] % chosen.arguments["batch_size"] == 0


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_every_hyperparameter_has_a_rule(algo: str) -> None:
    for name, part in parameters(algo).items():
        assert name in RULES or name in MAPPINGS or name == "policy" or isinstance(part.default, bool), name


def test_every_rule_holds_for_sb3s_own_defaults() -> None:
    for algo in ALGORITHMS:
        defaults = {name: part.default for name, part in parameters(algo).items() if name != "policy"}
        defaults["policy_kwargs"] = {}
        sb3_hyperparams(algo, {**BASE, **defaults})


def test_hyperparameters_as_sb3_takes_them() -> None:
    values = {**BASE, "n_envs": 4, "learning_rate": "lin_0.01", "gamma": 0.8, "normalize": "dict(norm_reward=False)"}
    chosen = sb3_hyperparams("td3", {**values, "noise_type": "normal", "noise_std": 0.3, "train_freq": [1, "step"]})
    assert (chosen.n_envs, chosen.n_timesteps) == (4, 1000)
    assert chosen.normalize == {"norm_reward": False, "gamma": 0.8}
    assert [chosen.arguments["learning_rate"](r) for r in (1.0, 0.5, 0.0)] == [0.01, 0.005, 0.0]
    assert chosen.arguments["train_freq"] == (1, "step")
    noise = chosen.action_noise((1, 2))
    assert isinstance(noise, NormalActionNoise)
    np.random.seed(0)
    drawn = np.stack([noise() for _ in range(4000)])
    assert drawn.shape == (4000, 1, 2)
    np.testing.assert_allclose(drawn.std(0), 0.3, atol=0.02)
    assert sb3_hyperparams("ppo", {**BASE, "normalize": True}).normalize == {}
    assert sb3_hyperparams("ppo", BASE).normalize is None
    assert sb3_hyperparams("ppo", BASE).action_noise((1,)) is None


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"gama": 0.9}, ValueError, "did you mean 'gamma'"),
        ({"env_wrapper": "x.Y"}, ValueError, "unknown hyper-parameter of ppo 'env_wrapper'"),
        ({"learning_rate": "1e-3"}, ValueError, "lin_<number>, got '1e-3'"),
        ({"learning_rate": "lin_x"}, ValueError, "learning_rate"),
        ({"gamma": "0.9"}, TypeError, "gamma must be a number, got '0.9'"),
        ({"n_steps": 7.5}, TypeError, "n_steps must be an integer"),
        ({"policy": "CnnPolicy"}, ValueError, "'MlpPolicy'"),
        ({"n_envs": 0}, ValueError, "n_envs"),
        ({"policy_kwargs": [3]}, TypeError, "policy_kwargs must be a mapping"),
        ({"gamma": float("nan")}, ValueError, r"gamma must lie in \[0, 1\], got nan"),
        ({"gamma": -1}, ValueError, r"gamma must lie in \[0, 1\], got -1"),
        ({"ent_coef": float("inf")}, ValueError, r"ent_coef must lie in \[0, inf\), got inf"),
        ({"ent_coef": "auto"}, TypeError, "ent_coef must be a number, got 'auto'"),
        ({"clip_range": -1}, ValueError, r"clip_range must lie in \(0, inf\), got -1"),
        ({"clip_range": "lin_0"}, ValueError, r"clip_range must lie in \(0, inf\), got 0.0"),
        ({"n_epochs": -1}, ValueError, r"n_epochs must lie in \[1, 2147483647\], got -1"),
        (
            {"sde_sample_freq": 0},
            ValueError,
            r"sde_sample_freq must lie in \[1, 2147483647\], got 0; -1 is allowed, too",
        ),
        ({"normalize_advantage": "x"}, TypeError, "normalize_advantage must be true or false, got 'x'"),
        ({"n_envs": 2.5}, TypeError, "n_envs must be an integer, got 2.5"),
        ({"n_timesteps": True}, TypeError, "n_timesteps must be an integer, got True"),
        ({"normalize": "dict(norm_obs=3)"}, TypeError, "norm_obs must be true or false, got 3"),
        ({"normalize": "dict(clip_obs=-1)"}, ValueError, r"clip_obs must lie in \(0, inf\), got -1"),
        ({"normalize": "dict(norm=True)"}, ValueError, "unknown argument of normalize 'norm'"),
        ({"policy_kwargs": "dict(net_arch=[64, 0])"}, ValueError, r"net_arch must lie in \[1, 16384\], got 0"),
        ({"policy_kwargs": "dict(net_arch=dict(pi=64))"}, TypeError, "net_arch must hold lists .* got 64"),
        ({"rollout_buffer_class": "x"}, ValueError, "unknown hyper-parameter of ppo 'rollout_buffer_class'"),
    ],
)
def test_bad_values(changes: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        sb3_hyperparams("ppo", {**BASE, **changes})


@pytest.mark.parametrize(
    ("algo", "changes", "message"),
    [
        ("sac", {"ent_coef": "auto_0"}, "ent_coef must be a number, auto, or auto_<number>"),
        ("sac", {"ent_coef": "auto_x"}, "ent_coef must be a number, auto, or auto_<number>"),
        ("sac", {"target_entropy": float("nan")}, "target_entropy must lie in .* 'auto' is allowed, too"),
        ("sac", {"tau": 0}, r"tau must lie in \(0, 1\], got 0"),
        ("dqn", {"train_freq": [4, "steps"]}, "train_freq must be a number or"),
        ("dqn", {"train_freq": [0, "step"]}, r"train_freq must lie in \[1, 2147483647\], got 0"),
        ("dqn", {"exploration_fraction": 1.5}, r"exploration_fraction must lie in \[0, 1\], got 1.5"),
        ("td3", {"noise_type": "normal", "noise_std": -0.1}, r"noise_std must lie in \(0, inf\), got -0.1"),
    ],
)
def test_bad_values_of_off_policy_algorithms(algo: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sb3_hyperparams(algo, {**BASE, **changes})


def test_what_files_may_hold() -> None:
    assert sb3_hyperparams("ppo", {**BASE, "n_timesteps": 1e6}).n_timesteps == 1_000_000
    assert sb3_hyperparams("sac", {**BASE, "ent_coef": "auto_0.1"}).arguments["ent_coef"] == "auto_0.1"
    assert sb3_hyperparams("ppo", {**BASE, "target_kl": None}).arguments["target_kl"] is None
    for rule in (hyperparams.RULES["gradient_steps"], hyperparams.RULES["sde_sample_freq"]):
        assert rule.other == (-1,)


def test_what_is_missing() -> None:
    with pytest.raises(ValueError, match="lack 'n_timesteps'"):
        sb3_hyperparams("ppo", {"policy": "MlpPolicy"})
    with pytest.raises(ValueError, match="unknown algorithm 'pppo'"):
        sb3_hyperparams("pppo", BASE)
    with pytest.raises(ValueError, match="noise_type"):
        sb3_hyperparams("td3", {**BASE, "noise_type": "pink", "noise_std": 0.1})
