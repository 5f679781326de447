"""Recorded data sets: what Minari reads back is what the teacher did, and it can be learned from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

minari = pytest.importorskip("minari")

from teach_gym.cli import main  # noqa: E402
from teach_gym.core.build import make_task  # noqa: E402
from teach_gym.integrations.minari import record_dataset  # noqa: E402
from teach_gym.registration import env_id  # noqa: E402
from teach_gym.teachers import lesson, make_teacher  # noqa: E402


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


@pytest.mark.parametrize(
    ("task", "teacher"), [("LabelMoons", "greedy"), ("SelectMoons", "greedy"), ("MixupMoons", "random")]
)
def test_a_data_set_holds_the_lessons(task: str, teacher: str) -> None:
    made = record_dataset(
        gym.make(env_id(task), budget=9), make_teacher(teacher), "teach_gym/x-v0", episodes=3, seed=5, progress=False
    )
    found = minari.load_dataset("teach_gym/x-v0")
    assert found.total_episodes == made.total_episodes == 3
    for i, episode in enumerate(found.iterate_episodes()):
        first, transitions = lesson(make_task(task, budget=9), make_teacher(teacher), [5 + i])
        steps = list(transitions)
        distances = [float(first.distance[0]), *(float(step.state.distance[0]) for step in steps)]
        np.testing.assert_allclose(episode.infos["distance"], distances, rtol=1e-6)
        np.testing.assert_allclose(episode.infos["label"][1:], [step.example.y[0] for step in steps], rtol=1e-6)
        assert episode.terminations[-1] and not episode.truncations.any()
        env = found.recover_environment()
        observation, _ = env.reset(seed=5 + i)
        for action, expected in zip(episode.actions, episode.observations[1:], strict=True):
            observation, *_ = env.step(int(action))
            np.testing.assert_array_equal(observation, expected)


def test_the_command_records_continuous_flavours_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "record",
        "PerturbMoons:continuous=True,budget=5",
        "dht",
        "--episodes",
        "2",
        "--out",
        str(folder / "o"),
    ]
    assert main(arguments) == 0
    assert "minari.load_dataset('teach_gym/PerturbMoons-continuous-dht-v0')" in capsys.readouterr().out
    about = json.loads(next((folder / "o").rglob("metadata.json")).read_text())
    assert about["algorithm_name"] == "dht" and about["total_steps"] == 10
    assert main(arguments) == 2
    assert "already" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", ["x", "x-v", "../x-v0", "a b-v0"])
def test_wrong_ids(wrong: str) -> None:
    env: Any = gym.make(env_id("LabelMoons"))
    with pytest.raises(ValueError, match="NAME-vN"):
        record_dataset(env, make_teacher("greedy"), wrong, episodes=1)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_behaviour_cloning_comes_near_the_oracle() -> None:
    """A perceptron that imitates recorded greedy teaching removes most of what the oracle removes."""
    from sklearn.neural_network import MLPClassifier

    options = {"observation": "lookahead"}
    env = gym.make(env_id("LabelMoons"), **options)
    data = record_dataset(env, make_teacher("greedy"), "bc-v0", episodes=40, progress=False)
    episodes = list(data.iterate_episodes())
    seen = np.concatenate([episode.observations[:-1] for episode in episodes])
    done = np.concatenate([episode.actions for episode in episodes])
    clone = MLPClassifier((64,), max_iter=60, random_state=0, tol=1e-3).fit(seen, done)
    returns = []
    for seed in range(1000, 1010):
        observation, _ = env.reset(seed=seed)
        over, total = False, 0.0
        while not over:
            observation, reward, over, *_ = env.step(int(clone.predict(observation[None])[0]))
            total += reward
        returns.append(total)
    oracle = np.mean([episode.rewards.sum() for episode in episodes])
    assert np.mean(returns) > 0.9 * oracle
