"""The examples, the notebook and the README's Python code run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from process_cases import PATIENCE, run_here

from teach_gym.benchmark.evaluation import Evaluation
from teach_gym.core.build import make_task
from teach_gym.registration import TASKS
from teach_gym.teachers import make_teacher

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROMISED = {
    "oracle_in_the_loop.py": r"at the start: \d.*\n.*removed",
    "universal_teacher.py": r"universal .*score=1\.\d.*\ngreedy .*score=1\.000.*\nlqr ",
    "own_data.py": r"passive .*\ngreedy .*\nimt ",
    "many_runs.py": r"episodes taught",
    "performative_training.py": r"plain SGD .*correctly\nperformative .*correctly",
    "custom_task.py": r"greedy +score  1\.000 .*\nanticipating score  1\..*\n.*Box\(0\.0, 1\.0(.*\n)+.*\(1000, 72\)",
    "train_unrolled.py": r"passive .*\ngreedy .*\n(unrolled \d .*\n){3}from a file +final distance \d",
    "train_ppo.py": r"passive \d.*greedy \d.*PPO \d.*\nscore .*\n.*agent:ppo\.safetensors",
    "beat_greedy.py": r"PPO +\d.*\nafter 3,840 steps PPO (beats|does not beat) the greedy oracle",
}
SHORT = {
    "train_ppo.py": ["--steps", "15360"],
    "beat_greedy.py": ["--steps", "3840", "--learners", "16", "--episodes", "50"],
}
"""Arguments with which an example takes seconds instead of a minute."""
NOTEBOOK = ROOT / "docs" / "first-teacher.ipynb"


def run_example(name: str, arguments: list[str], folder: Path) -> str:
    """What an example prints."""
    command = [sys.executable, str(ROOT / "examples" / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_tested() -> None:
    assert {p.name for p in (ROOT / "examples").glob("*.py")} == set(PROMISED)


@pytest.mark.parametrize("name", PROMISED)
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in SHORT:
        pytest.importorskip("stable_baselines3")
    printed = run_here(ROOT / "examples" / name, SHORT.get(name, []), tmp_path, monkeypatch)
    assert re.search(PROMISED[name], printed), printed
    if name == "train_ppo.py":
        check_saved_agent(tmp_path / "ppo.safetensors", printed)


def check_saved_agent(path: Path, printed: str) -> None:
    """The file, read without SB3 and torch, teaches as well as the model that was scored."""
    found = Evaluation(make_task("LabelMoons"), seeds=200)(make_teacher("agent", path=path))
    shown = re.search(r"passive (\S+), greedy (\S+), PPO (\S+)\nscore (\S+)", printed)
    assert shown is not None
    keys = ("distance_passive", "distance_greedy", "distance_agent", "score")
    assert [float(text) for text in shown.groups()] == pytest.approx([found[key] for key in keys], abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("train_ppo.py", 0.9), ("beat_greedy.py", 1.0)])
def test_long_examples_keep_their_promise(name: str, least: float, tmp_path: Path) -> None:
    pytest.importorskip("stable_baselines3")
    printed = run_example(name, [], tmp_path)
    lows = re.findall(r" \[(\S+), \S+\]", printed)
    assert float(lows[-1]) > least, printed


def test_train_ppo_is_short() -> None:
    assert len((ROOT / "examples" / "train_ppo.py").read_text(encoding="utf-8").splitlines()) < 40


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def test_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    for module in ("ipykernel", "matplotlib", "stable_baselines3"):
        pytest.importorskip(module)
    for variable in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (settings,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    settings.source = "STEPS, EPISODES = 15_000, 50"
    nbclient.NotebookClient(notebook, timeout=int(PATIENCE), resources={"metadata": {"path": str(tmp_path)}}).execute()

    printed = "".join(output.text for output in outputs(notebook) if output.output_type == "stream")
    scores = {name: float(score) for name, score in re.findall(r"^(\w+) +(-?\d\.\d+) \[", printed, flags=re.M)}
    assert scores["passive"] == 0.0
    assert scores["greedy"] == 1.0
    assert scores["PPO"] > 0.25 * scores["random"], "most of the way from random actions to plain SGD"
    assert len([output for output in outputs(notebook) if "image/png" in output.get("data", {})]) == 3


def test_notebook_is_committed_as_it_ran() -> None:
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert {output.output_type for output in outputs(notebook)} <= {"stream", "display_data", "execute_result"}
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 250_000
    assert not re.search(r"site-packages|/home/|/tmp/|/root/|/Users/|[A-Z]:\\\\", text)


def test_readme_shell_blocks_name_real_commands() -> None:
    from teach_gym.cli import main

    commands = re.findall(r"^teach-gym (\w+)", README, flags=re.M)
    assert {"list", "bench", "render", "data", "doctor"} <= set(commands)
    for command in set(commands):
        with pytest.raises(SystemExit) as stopped:
            main([command, "--help"])
        assert stopped.value.code in (0, None)


@pytest.mark.slow
def test_readme_way_from_a_clone_to_an_agent_in_the_report(tmp_path: Path) -> None:
    """The commands of the section, as they are, but for the installation."""
    pytest.importorskip("stable_baselines3")
    section = README[README.index("## Train a teacher") :]
    block = re.search(r"```bash\n(.*?)```", section, flags=re.S)
    assert block is not None
    lines = re.sub(r" +#.*", "", block[1].replace("\\\n", " ")).splitlines()
    install, train, bench = (shlex.split(line) for line in lines)
    assert install[:2] == ["pip", "install"]
    assert (train[:2], bench[:2]) == (["teach-gym", "train"], ["teach-gym", "bench"])
    for command in (train, bench):
        subprocess.run([sys.executable, "-m", "teach_gym", *command[1:]], cwd=tmp_path, check=True, timeout=PATIENCE)
    report = (tmp_path / "runs" / "ppo" / "report" / "report.md").read_text(encoding="utf-8")
    score = re.search(r"LabelMomentum \| agent:\S+ \| (\S+) \[", report)
    assert score is not None
    assert float(score[1]) > 1.0
    assert "agent:runs/ppo/policy.safetensors" in (tmp_path / "runs/ppo/report/report.html").read_text(encoding="utf-8")


def test_readme_lists_every_task() -> None:
    for name in TASKS:
        assert f"`{name}`" in README
