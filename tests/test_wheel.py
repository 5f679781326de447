"""The wheel and the source distribution, built and installed in a clean environment without torch."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FIRST_STEPS = """
import sys
import gymnasium as gym, teach_gym
env = gym.make("teach_gym/LabelMoons-v0")
env.reset(seed=0)
env.step(teach_gym.make_teacher("lqr").act(env))
teach_gym.load_teacher("ppo/LabelMoons-v0").act(env)
assert teach_gym.evaluate("greedy", "LabelMoons", seeds=10).score == 1
assert "torch" not in sys.modules
try:
    import torch
except ImportError:
    print("without torch")
"""


def run(*words: str | Path, cwd: Path) -> str:
    clean = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    done = subprocess.run(list(map(str, words)), cwd=cwd, env=clean, text=True, capture_output=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_wheel_and_sdist_install_and_work_in_a_clean_environment(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    run(python, "-m", "pip", "install", "--quiet", "build", cwd=tmp_path)
    run(python, "-m", "build", "--outdir", tmp_path / "dist", ROOT, cwd=tmp_path)  # the wheel is built from the sdist
    [wheel], [sdist] = (tmp_path / "dist").glob("*.whl"), (tmp_path / "dist").glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "teach_gym").rglob("*") if path.is_file()}
    assert {name for name in package if "__pycache__" not in name} <= packed
    assert not any(name.startswith(("tests/", "tools/", "agents/")) for name in packed)
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "tests/test_wheel.py", "docs/index.md"} <= names
    run(python, "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path)
    assert "without torch" in run(python, "-c", FIRST_STEPS, cwd=tmp_path)
    command = python.with_name("teach-gym")
    assert "LabelMoons" in run(command, "list", cwd=tmp_path)
    run(command, "bench", "smoke", "--seeds", "2", "--out", tmp_path / "report", cwd=tmp_path)
    assert (tmp_path / "report" / "report.html").exists()
