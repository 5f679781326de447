"""The registry, the laziness of imports, and the table of tasks."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import TimeAwareObservation, TimeLimit
from process_cases import PATIENCE

import teach_gym
from teach_gym.benchmark.suite import SUITES, task_spec
from teach_gym.cli import main
from teach_gym.core.build import make_task
from teach_gym.play.game import Game
from teach_gym.registration import MAX_EPISODE_STEPS, NEURAL_TASKS, TASKS, env_id, spec_kwargs, task_kwargs

ROOT = Path(__file__).parents[1]

FIRST_NAMES = """
    LabelRegression LabelMoons LabelGaussian LabelDigits LabelDigits10 LabelDigitsMLP LabelMNIST MixupMoons
    MixupDigits10 PerturbMoons PerturbDigits PerturbMNIST SelectMoons SelectDigits SelectMNIST MixedMoons
    MixedDigits LabelMomentum SelectMomentum
"""
HEAVY = ["torch", "torchvision", "stable_baselines3", "wandb", "matplotlib", "sklearn", "scipy", "ray", "PIL"]


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_ids_of_the_first_release_are_registered() -> None:
    assert set(FIRST_NAMES.split()) <= set(TASKS)
    assert {f"teach_gym/{n}-v0" for n in (*TASKS, *NEURAL_TASKS)} == {
        i for i in gym.registry if i.startswith("teach_gym/")
    }


def test_specs_are_strings_and_plain_json(name: str) -> None:
    spec = gym.spec(env_id(name))
    assert isinstance(spec.entry_point, str) and isinstance(spec.vector_entry_point, str)
    assert spec.additional_wrappers == ()
    assert json.loads(json.dumps(spec.kwargs)) == spec.kwargs == TASKS[name]
    again = gym.envs.registration.EnvSpec.from_json(spec.to_json())
    assert again.kwargs == spec.kwargs and again.id == spec.id
    assert spec.max_episode_steps == MAX_EPISODE_STEPS > 1000 * spec.kwargs["budget"]


@pytest.mark.parametrize("limit", [None, 3])
def test_a_limit_of_steps_comes_from_gymnasiums_wrapper(name: str, limit: int | None) -> None:
    """Libraries read an integer limit from the specification; it never ends an episode that has a budget."""
    env = gym.make(env_id(name), budget=5, max_episode_steps=limit)
    assert isinstance(env, TimeLimit) and env.spec is not None
    assert env.spec.max_episode_steps == (limit or MAX_EPISODE_STEPS)
    aware = TimeAwareObservation(env, flatten=True, normalize_time=False)
    observation, _ = aware.reset(seed=0)
    assert aware.observation_space.contains(observation) and observation[-1] == 0
    ends = [aware.step(0)[2:4] for _ in range(limit or 5)]
    assert ends[-1] == ((False, True) if limit else (True, False)) and set(ends[:-1]) == {(False, False)}


def test_vector_environments_take_a_limit_of_steps() -> None:
    env = gym.make_vec(env_id("LabelMoons"), 3, max_episode_steps=10)
    assert env.spec is not None and env.unwrapped.max_episode_steps == 10
    assert gym.make_vec(env_id("LabelMoons"), 3).unwrapped.max_episode_steps == MAX_EPISODE_STEPS
    env.reset(seed=0)
    assert [env.step(np.zeros(3, dtype=int))[3].all() for _ in range(10)] == [False] * 9 + [True]


def test_made_envs_know_their_spec_and_medium(name: str) -> None:
    env = gym.make(env_id(name))
    assert env.spec is not None and env.spec.id == env_id(name) and env.spec.additional_wrappers == ()
    assert type(env.unwrapped).__module__ == f"teach_gym.envs.{TASKS[name]['medium']}"
    assert "##" in (type(env.unwrapped).__doc__ or "")
    twin = gym.make(env.spec)
    assert twin.unwrapped.task.spec == env.unwrapped.task.spec


def test_any_argument_can_be_overridden() -> None:
    env = gym.make("teach_gym/LabelMoons-v0", budget=7, learning_rate=0.123, pool_seed=3, reward="distance", bias=False)
    spec = env.unwrapped.task.spec
    assert (spec.budget, spec.learning_rate, spec.pool_seed, spec.reward, spec.bias) == (7, 0.123, 3, "distance", False)


def test_task_kwargs_by_name_id_and_module_spelling(name: str) -> None:
    for spelling in (name, env_id(name), f"teach_gym:{env_id(name)}"):
        kwargs = task_kwargs(spelling)
        assert kwargs == TASKS[name]
    kwargs["medium"] = "changed"
    kwargs.setdefault("pool_options", {})["n"] = -1
    assert task_kwargs(name)["medium"] != "changed" and task_kwargs(name).get("pool_options", {}).get("n") != -1


REGISTERED = sorted(
    i.removeprefix("teach_gym/").removesuffix("-v0") for i in gym.registry if i.startswith("teach_gym/")
)


@pytest.fixture(scope="module")
def listings() -> dict[str, str]:
    """What names tasks: the outputs of commands and the pages of the repository."""
    outputs = {}
    for command in ("list", "doctor"):
        with contextlib.redirect_stdout(io.StringIO()) as captured:
            assert main([command]) == 0
        outputs[f"teach-gym {command}"] = captured.getvalue()
    pages = ("README.md", "docs/environments/README.md", "docs/gallery.md")
    return outputs | {page: (ROOT / page).read_text(encoding="utf-8") for page in pages}


@pytest.mark.parametrize("registered", REGISTERED)
def test_every_registered_task_is_in_every_page_and_command(registered: str, listings: dict[str, str]) -> None:
    page = (ROOT / "docs" / "environments" / f"{registered}.md").read_text(encoding="utf-8")
    missing = [what for what, text in listings.items() if not re.search(rf"\b{registered}\b", text)]
    assert missing == [] and page.startswith(f"# {registered}\n")
    assert gym.spec(env_id(registered)).kwargs == task_kwargs(registered)


@pytest.mark.parametrize("registered", REGISTERED)
def test_the_benchmark_takes_every_registered_task_or_says_why_not(registered: str) -> None:
    if registered in TASKS:
        assert registered in SUITES["full"].tasks and task_spec(registered)[0] == registered
        return
    for taken_by in (make_task, spec_kwargs, task_spec, lambda name: Game(name, seed=0)):
        with pytest.raises(ValueError, match=rf"'{registered}' is a network.*gym\.make\('{env_id(registered)}'\)"):
            taken_by(registered)


@pytest.mark.parametrize("registered", NEURAL_TASKS)
def test_tasks_with_networks_name_the_extra_where_torch_is_missing(registered: str) -> None:
    code = f"""
import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, NoTorch())
import gymnasium as gym, teach_gym
for make in (gym.make, gym.make_vec):
    try:
        make({env_id(registered)!r})
    except ImportError as error:
        print(error)
"""
    assert python(code).count("need torch: pip install 'teach_gym[torch]'") == 2


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match=r"LabelMoon'.*did you mean 'LabelMoons'"):
        task_kwargs("LabelMoon")
    with pytest.raises(gym.error.NameNotFound, match="LabelMoons"):
        gym.make("teach_gym/LabelMoon-v0")


def test_make_task_takes_a_name_with_changes_or_fields_alone() -> None:
    fields = {**teach_gym.TASKS["SelectMoons"], "budget": 7}
    alone = teach_gym.make_task(**fields)
    assert isinstance(alone, teach_gym.Task) and alone.spec == teach_gym.TaskSpec(**fields)
    for name in ("SelectMoons", "teach_gym/SelectMoons-v0"):
        assert teach_gym.make_task(name, budget=7).spec == alone.spec
    with pytest.raises(ValueError, match="did you mean 'SelectMoons'"):
        teach_gym.make_task("SelectMoon")


def test_the_public_names_are_listed_before_they_are_loaded() -> None:
    code = "import teach_gym; print(sorted(set(teach_gym.__all__) - set(dir(teach_gym))))"
    assert python(code) == "[]"


def test_public_names_exist() -> None:
    for name in teach_gym.__all__:
        assert getattr(teach_gym, name) is not None
    with pytest.raises(AttributeError, match="make_tusk"):
        teach_gym.make_tusk  # noqa: B018


def loaded_after(statement: str) -> list[Any]:
    code = f"import sys, json\n{statement}\nprint(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    return json.loads(python(code).splitlines()[-1])


def test_import_loads_nothing_heavy_and_registers_the_ids() -> None:
    assert loaded_after("import teach_gym") == []
    registered = python("import teach_gym, gymnasium\nprint(*[i for i in gymnasium.registry if 'teach_gym' in i])")
    assert set(registered.split()) == {env_id(n) for n in (*TASKS, *NEURAL_TASKS)}


@pytest.mark.parametrize(
    "module",
    ["core.task", "core.media", "core.metrics", "core.build", "data.pools", "envs.label", "envs.base", "envs.vector"],
)
def test_core_modules_load_nothing_heavy(module: str) -> None:
    assert loaded_after(f"import teach_gym.{module}") == []


def test_an_env_runs_without_torch() -> None:
    code = (
        "import gymnasium as gym, teach_gym\nenv = gym.make('teach_gym/LabelMoons-v0')\nenv.reset(seed=0)\nenv.step(0)"
    )
    assert not {"torch", "torchvision", "stable_baselines3", "matplotlib", "PIL"} & set(loaded_after(code))


def test_the_module_spelling_imports_the_package() -> None:
    code = "import gymnasium as gym\nprint(gym.make('teach_gym:teach_gym/LabelMoons-v0').spec.id)"
    assert python(code).splitlines()[-1] == "teach_gym/LabelMoons-v0"
