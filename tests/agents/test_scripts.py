"""The short training scripts run, and the teachers that they write teach as well as they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from process_cases import run_here

pytest.importorskip("stable_baselines3")
pytest.importorskip("yaml")

from teach_gym.benchmark.evaluation import Evaluation
from teach_gym.core.build import build
from teach_gym.teachers.agent import Agent

AGENTS = Path(__file__).parents[2] / "agents"
SMALL = {
    "ppo.py": ["--task", "LabelMoons:budget=6", "--steps", "240", "--num-envs", "4", "--num-steps", "6"],
    "reinforce.py": ["--task", "LabelMoons:budget=6", "--updates", "3", "--n-envs", "8"],
    "train_sb3.py": ["--task", "LabelMoons:budget=6", "--overrides", "n_envs=4", "n_steps=6", "batch_size=24"],
}


@pytest.mark.parametrize("name", SMALL)
def test_scripts(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = SMALL[name] + (["n_timesteps=240"] if name == "train_sb3.py" else [])
    text = run_here(AGENTS / name, [*options, "--out", "agent.safetensors"], tmp_path, monkeypatch)
    printed = re.search(r"score (\S+) \[", text)
    assert printed is not None and "teach-gym bench --tasks LabelMoons --teachers agent:agent.safetensors" in text
    agent = Agent(path=tmp_path / "agent.safetensors")
    assert agent.spec is not None
    assert Evaluation(build(agent.spec), 200)(agent)["score"] == pytest.approx(float(printed[1]), abs=2e-3)
    assert len((AGENTS / name).read_text().splitlines()) < (320 if name == "ppo.py" else 70)
