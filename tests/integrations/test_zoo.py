"""Hyper-parameters in RL-Zoo's YAML format: read as RL-Zoo reads them, and no code is run."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("yaml")

import torch

from teach_gym.integrations.zoo import mapping, parse_dict, parse_overrides, read_hyperparams


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
        mapping("policy_kwargs", text)
    assert list(tmp_path.iterdir()) == []


def test_yaml_tags_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ppo.yml"
    path.write_text("default:\n  policy: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(ValueError, match="not a YAML file"):
        read_hyperparams(path, "LabelMoons")


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
