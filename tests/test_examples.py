"""The examples and the README's Python code run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from teach_gym.registration import TASKS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROMISED = {
    "oracle_in_the_loop.py": r"at the start: \d.*\n.*removed",
    "own_data.py": r"passive .*\ngreedy .*\nimt ",
    "many_runs.py": r"episodes taught",
}


def test_every_example_is_tested() -> None:
    assert {p.name for p in (ROOT / "examples").glob("*.py")} == set(PROMISED)


@pytest.mark.parametrize("name", PROMISED)
def test_examples_run(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name)], capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert re.search(PROMISED[name], done.stdout), done.stdout


def test_readme_python_blocks_run() -> None:
    scope: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    assert len(blocks) >= 3
    for block in blocks:
        exec(block, scope)


def test_readme_shell_blocks_name_real_commands() -> None:
    from teach_gym.cli import main

    commands = re.findall(r"^teach-gym (\w+)", README, flags=re.M)
    assert {"list", "bench", "render", "data", "doctor"} <= set(commands)
    for command in set(commands):
        with pytest.raises(SystemExit) as stopped:
            main([command, "--help"])
        assert stopped.value.code in (0, None)


def test_readme_lists_every_task() -> None:
    for name in TASKS:
        assert f"`{name}`" in README
