"""Hyper-parameters in RL-Zoo's YAML format: read as RL-Zoo reads them, and no code is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")
pytest.importorskip("yaml")

import torch
import yaml
from stable_baselines3.common.noise import NormalActionNoise

from teach_gym.integrations.zoo import (
    ALGORITHMS,
    parse_dict,
    parse_overrides,
    read_hyperparams,
    settings,
)
from teach_gym.registration import TASKS, env_id

FOLDER = Path(__file__).parents[2] / "agents" / "hyperparams"
BASE = {"policy": "MlpPolicy", "n_timesteps": 1000}


@pytest.mark.parametrize(
    "text",
    [
        "dict()",
        "dict(net_arch=[64, 64])",
        "dict(net_arch=dict(pi=[8], vf=[16, 16]), log_std_init=-1.5, ortho_init=False)",
        "{'net_arch': {'pi': [8], 'vf': []}, 'activation_fn': nn.ReLU}",
        "dict(activation_fn=nn.Tanh, optimizer_kwargs=dict(eps=1e-5, betas=(0.9, 0.99)))",
        " dict(norm_obs=True, norm_reward=False) ",
    ],
)
def test_texts_mean_what_python_makes_of_them(text: str) -> None:
    assert parse_dict(text) == eval(text.strip(), {"dict": dict, "nn": torch.nn})


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "dict(a=__import__('os'))",
        "dict(a=open('x', 'w'))",
        "dict(a=[i for i in range(3)])",
        "dict(a=(lambda: 1)())",
        "dict(**{'a': 1})",
        "dict([('a', 1)])",
        "{**dict(a=1)}",
        "dict(a=os.environ)",
        "dict(a=nn.Module)",
        "dict(a=nn.functional.relu)",
        "dict(a=nn.Tanh.__init__)",
        "dict(a=2**9**9)",
        "dict(a=b)",
        "dict(a=1",
        "[1, 2]",
        "dict(a=f'{1}')",
        "(" * 5000,
    ],
)
def test_code_is_refused(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="cannot read"):
        parse_dict(text)
    with pytest.raises(ValueError, match="cannot read"):
        settings("ppo", {**BASE, "policy_kwargs": text})
    assert list(tmp_path.iterdir()) == []


def test_yaml_tags_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ppo.yml"
    path.write_text("default:\n  policy: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(ValueError, match="not a YAML file"):
        read_hyperparams(path, "LabelMoons")


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_the_shipped_files(algo: str) -> None:
    path = FOLDER / f"{algo}.yml"
    entries = yaml.safe_load(path.read_text())
    assert set(entries) <= {"default", "lookahead", "long", "full", *map(env_id, TASKS)}  # the words are merged from
    for name in TASKS:
        chosen = settings(algo, read_hyperparams(path, name))
        if "n_steps" in chosen.arguments and algo == "ppo":  # no short mini-batch at the end of a rollout
            assert chosen.n_envs * chosen.arguments["n_steps"] % chosen.arguments["batch_size"] == 0
        assert chosen.env_kwargs.get("continuous", False) or algo not in ("sac", "td3")


def test_a_tasks_entry_goes_before_the_default(tmp_path: Path) -> None:
    path = tmp_path / "a2c.yml"
    path.write_text("default: {gamma: 0.5}\nteach_gym/LabelMoons-v0: {gamma: 0.7}\n")
    assert read_hyperparams(path, "LabelMoons") == {"gamma": 0.7}
    assert read_hyperparams(path, "SelectMoons") == {"gamma": 0.5}
    path.write_text("teach_gym/LabelMoons-v0: {gamma: 0.7}\n")
    with pytest.raises(ValueError, match=r"no entry 'teach_gym/SelectMoons-v0' and no 'default'"):
        read_hyperparams(path, "SelectMoons")


def test_overrides() -> None:
    texts = ["learning_rate=3e-4", "normalize=false", "policy_kwargs=dict(net_arch=[8])", "ent_coef=auto", "a=[1, 2]"]
    assert parse_overrides(texts) == {
        "learning_rate": 3e-4,
        "normalize": False,
        "policy_kwargs": "dict(net_arch=[8])",
        "ent_coef": "auto",
        "a": [1, 2],
    }
    for text in ("gamma", "=3", "a-b=3"):
        with pytest.raises(ValueError, match="name=value"):
            parse_overrides([text])


def test_settings() -> None:
    values = {**BASE, "n_envs": 4, "learning_rate": "lin_0.01", "gamma": 0.8, "normalize": "dict(norm_reward=False)"}
    chosen = settings("td3", {**values, "noise_type": "normal", "noise_std": 0.3, "train_freq": [1, "step"]})
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
    assert settings("ppo", {**BASE, "normalize": True}).normalize == {}
    assert settings("ppo", BASE).normalize is None
    assert settings("ppo", BASE).action_noise((1,)) is None


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
    ],
)
def test_bad_values(changes: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        settings("ppo", {**BASE, **changes})


def test_what_is_missing() -> None:
    with pytest.raises(ValueError, match="lack 'n_timesteps'"):
        settings("ppo", {"policy": "MlpPolicy"})
    with pytest.raises(ValueError, match="unknown algorithm 'pppo'"):
        settings("pppo", BASE)
    with pytest.raises(ValueError, match="noise_type"):
        settings("td3", {**BASE, "noise_type": "pink", "noise_std": 0.1})
