"""Libraries that others wrote: the recipes of the page "Use it with ..." run where a library is installed."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pytest

from teach_gym.registration import env_id

PAGE = Path(__file__).parents[2] / "docs" / "use-with.md"
RECIPES = {
    title.strip(): (re.findall(r"^```python\n(.*?)^```", body, flags=re.M | re.S), body)
    for title, _, body in (part.partition("\n") for part in PAGE.read_text(encoding="utf-8").split("\n## ")[1:])
}
NEEDED = {
    "Gymnasium's wrappers": "gymnasium",
    "Stable-Baselines3": "stable_baselines3",
    "Learners that are networks": "stable_baselines3",
    "sb3-contrib": "sb3_contrib",
    "CleanRL and other loops of your own": "gymnasium",
    "TorchRL": "torchrl",
    "skrl": "skrl",
    "RLlib": "ray.rllib",
    "Tianshou": "tianshou",
    "Minari and d3rlpy": "d3rlpy",
    "rliable": "numpy",
}
BY_HAND = {"Gymnasium's play", "RL Baselines3 Zoo"}
"""A window, and shell commands, which have tests of their own below."""


def installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def test_every_recipe_is_run_somewhere() -> None:
    assert set(RECIPES) == set(NEEDED) | BY_HAND
    assert all(len(blocks) == (title != "RL Baselines3 Zoo") for title, (blocks, _) in RECIPES.items())


def run(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "MINARI_DATASETS_PATH": str(folder / "minari"), "RAY_DISABLE_IMPORT_WARNING": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("title", NEEDED)
def test_recipe(title: str, tmp_path: Path) -> None:
    if not installed(NEEDED[title]):
        pytest.skip(f"needs {NEEDED[title]}")
    if title == "Minari and d3rlpy":
        pytest.importorskip("minari")
        record = "record LabelMoons greedy --episodes 200"
        assert f"teach-gym {record}\n" in RECIPES[title][1]
        run([sys.executable, "-m", "teach_gym", *record.split()], tmp_path)
    program = tmp_path / "recipe.py"
    program.write_text(RECIPES[title][0][0], encoding="utf-8")
    printed = run([sys.executable, str(program)], tmp_path)
    if title == "Minari and d3rlpy":
        assert float(printed.split()[-1]) > 60.0, "behaviour cloning of the greedy oracle beats plain SGD"
    elif title == "sb3-contrib":
        assert {line.split()[0] for line in printed.splitlines()} >= {"TRPO", "QRDQN", "ARS", "RecurrentPPO", "TQC"}


@pytest.mark.slow
def test_the_zoo_trains_shows_and_optimises(tmp_path: Path) -> None:
    pytest.importorskip("rl_zoo3")
    body = RECIPES["RL Baselines3 Zoo"][1]
    (settings,) = re.findall(r"^```yaml\n(.*?)^```", body, flags=re.M | re.S)
    (tmp_path / "ppo.yml").write_text(settings, encoding="utf-8")
    (commands,) = re.findall(r"^```bash\n(.*?)^```", body, flags=re.M | re.S)
    for command in commands.splitlines():
        assert command.startswith("python -m rl_zoo3.")
        run([sys.executable, *command.split()[1:]], tmp_path)
    assert list(tmp_path.glob("logs/ppo/*/*.zip"))


def test_keys_choose_actions() -> None:
    env = gym.make(env_id("LabelDigits10")).unwrapped
    keys = env.get_keys_to_action()
    assert keys == {str((i + 1) % 10): i for i in range(10)}
    with pytest.raises(ValueError, match="continuous"):
        gym.make(env_id("LabelDigits10"), continuous=True).unwrapped.get_keys_to_action()
    many = gym.make(env_id("PerturbDigits")).unwrapped
    assert all(many.action_space.contains(action) for action in many.get_keys_to_action().values())


@pytest.mark.slow
def test_a_person_can_play(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys pressed in the window of Gymnasium's ``play`` become the actions."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pygame = pytest.importorskip("pygame")
    from gymnasium.utils.play import play

    env, taken = gym.make(env_id("LabelMoons"), render_mode="rgb_array"), []

    def callback(before: object, after: object, action: int, *rest: object) -> None:
        taken.append(action)
        key = [pygame.K_5, pygame.K_2, None][len(taken) - 1]
        for pressed in (pygame.K_1, pygame.K_5, pygame.K_2):
            pygame.event.post(pygame.event.Event(pygame.KEYUP, key=pressed))
        kind = {"type": pygame.QUIT} if key is None else {"type": pygame.KEYDOWN, "key": key}
        pygame.event.post(pygame.event.Event(kind.pop("type"), kind))

    pygame.init()
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_1))
    play(env, wait_on_player=True, callback=callback, seed=0)
    assert taken == [0, 4, 1]
