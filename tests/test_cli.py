from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import teach_gym
from teach_gym.benchmark.store import read_rows
from teach_gym.cli import COMMANDS, main
from teach_gym.data.datasets import DATA_VARIABLE
from teach_gym.registration import NEURAL_TASKS, TASKS, env_id
from teach_gym.teachers import TEACHERS

HEAVY = ("torch", "torchvision", "stable_baselines3", "wandb", "matplotlib", "sklearn", "scipy", "PIL", "pygame", "ray")
ONE = ["--tasks", "LabelMoons:budget=5", "--teachers", "random", "--seeds", "2", "--executor", "serial"]


def test_help_and_list_load_nothing_heavy() -> None:
    script = f"""
import sys
from teach_gym.cli import main
for argv in (["--help"], ["bench", "--help"], ["list"]):
    try:
        assert main(argv) == 0
    except SystemExit as stop:
        assert stop.code == 0
print("HEAVY", [name for name in {HEAVY} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("HEAVY []"), done.stdout[-300:]
    for command in COMMANDS:
        assert command in done.stdout


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    output = capsys.readouterr().out
    for name in TASKS:
        assert env_id(name) in output
    lines = output.splitlines()
    assert all(any(line.startswith(f"{name} ") for line in lines) for name in TEACHERS)


def test_bench_then_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["bench", "smoke", *ONE, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "| LabelMoons:budget=5 | random |" in printed
    assert printed.rstrip().endswith(f"report: {out / 'report.html'}")
    rows = read_rows(out / "runs.jsonl")
    assert len(rows) == 6 and {row["teacher"] for row in rows} == {"passive", "greedy", "random"}
    before = (out / "runs.jsonl").read_bytes()
    assert main(["bench", "smoke", *ONE, "--out", str(out), "--score", "auc", "--no-html"]) == 0
    assert (out / "runs.jsonl").read_bytes() == before
    assert "area under the log-distance" in capsys.readouterr().out
    assert main(["report", str(out / "runs.jsonl"), "--out", str(tmp_path / "other")]) == 0
    assert {path.name for path in (tmp_path / "other").iterdir()} == {
        *("summary.csv", "scores.csv", "scores.npz", "report.md", "report.html")
    }


def test_bench_reports_the_present_suite_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for task in ("LabelMoons:budget=5", "SelectMoons:budget=4"):
        argv = ["bench", "smoke", "--tasks", task, "--seeds", "1", "--executor", "serial", "--no-html"]
        assert main([*argv, "--out", str(tmp_path)]) == 0
    assert "SelectMoons" in (tmp_path / "report.md").read_text()
    assert "LabelMoons" not in (tmp_path / "report.md").read_text()
    assert main(["report", str(tmp_path / "runs.jsonl"), "--no-html"]) == 0
    assert "LabelMoons" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize("suffix", ["gif", "png"])
def test_render(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    path = tmp_path / f"run.{suffix}"
    assert main(["render", "LabelMoons", "greedy", "--steps", "3", "--seed", "1", "--out", str(path)]) == 0
    with Image.open(path) as image:
        assert getattr(image, "n_frames", 1) == (4 if suffix == "gif" else 1)
    assert "4 frames" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["bnech"], "unknown command 'bnech'; allowed: bench"),
        (["bench", "defualt"], "did you mean 'default'"),
        (["bench", "smoke", "--tasks", "LabelMoon"], "did you mean 'LabelMoons'"),
        (["bench", "smoke", "--teachers", "gredy"], "did you mean 'greedy'"),
        (["bench", "smoke", "--executor", "proces"], "did you mean 'process'"),
        (["bench", "smoke", "--score", "fin"], "did you mean 'final'"),
        (["bench", "smoke", "--seeds", "ten"], "got 'ten'"),
        (["bench", "smoke", "--teachers", "last:constraint="], "must be written name or name:option=value"),
        (["bench", "smoke", "--tasks", "LabelRegression", "--teachers", "distillation"], "fits none of the chosen"),
        (["bench", "smoke", "--tasks", "LabelMoons:budget=-1"], "budget must be an integer in [1, 2**31), got -1"),
        (["bench", "smoke", "--tasks", "LabelMoons:bugdet=1"], "did you mean 'budget'"),
        (["bench", "smoke", "--tasks", "LabelMoons:budget=60,budget=61"], "gives budget twice"),
        (["bench", "smoke", "--teachers", "last:constrain=soft"], "did you mean 'constraint'"),
        (["bench", "smoke", "--out", "/dev/null"], "'/dev/null': part of the path is a file"),
        (["bench", "smoke", "--seeds", "1000000000000"], "at most 100,000"),
        (["render", "LabelMoons", "--seed", "-1"], "seeds must be one or more different integers >= 0, got [-1]"),
        (["render", "LabelMoons", "--steps", "1", "--fps", "1e300"], "fps must lie in [0.01, 50], got 1e+300"),
        (["render", "LabelMoons", "--steps", "1", "--fps", "1e-300"], "fps must lie in [0.01, 50]"),
        (["render", "LabelMoons", "--steps", "1", "--out", "/dev/null/a.gif"], "'/dev/null': part of the path is a"),
        (["render", "LabelMoons", "--steps", "1", "--data-dir", "/dev/null"], "'/dev/null' is no folder"),
        (["reproduce", "last-fig77"], "did you mean 'last-fig7'"),
        (["reproduce", "last-fig7", "--out", "/dev/null"], "'/dev/null': part of the path is a file"),
        (["report", "a\0b"], "must not hold the character NUL"),
        (["bench", "smoke", "--out", "a\0b"], "must not hold the character NUL"),
        (["bench", "smoke", "--tasks", "LabelMoons:colour=1"], "has no option colour"),
        (["report", "nowhere.jsonl"], "'nowhere.jsonl' not found"),
        (["render", "LabelMoons", "--steps", "1", "--out", "film.avi"], ".mp4 or .png"),
        (["render", "LabelMoons", "gready"], "did you mean 'greedy'"),
        (["data", "mnsit"], "did you mean 'mnist'"),
        (["bench", "smoke", "--tasks", "LabelMNIST", "--data-dir", "nowhere"], "data mnist --data-dir nowhere"),
        (["verify", "9" * 5_000], "9... (5,000 characters)'; `teach-gym submit` writes one"),
        (
            ["render", "LabelMoons", "--steps", "1", "--out", "9" * 5_000],
            "9... (5,000 characters)': the suffix",
        ),
        (["bench", "--out", "9" * 5_000], "9... (5,000 characters)'"),
    ],
)
def test_errors_of_users_are_one_line_and_exit_code_2(
    argv: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(DATA_VARIABLE, "unused")
    assert main(argv) == 2
    captured = capsys.readouterr()
    last = captured.err.splitlines()[-1]
    assert last.startswith("teach-gym: error: ") and message in last
    assert "Traceback" not in captured.err and captured.out == ""


def test_options_that_no_command_has_exit_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["bench", "--taks", "LabelMoons"])
    assert stop.value.code == 2 and "--tasks" in capsys.readouterr().err, "with the closest one"


def test_without_arguments_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([])
    output = capsys.readouterr().out
    assert stop.value.code == 0 and all(command in output for command in COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"teach-gym {teach_gym.__version__}\n"


def test_tracebacks_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACH_GYM_TRACEBACK", "1")
    with pytest.raises(ValueError, match="unknown suite"):
        main(["bench", "nope"])


def test_ctrl_c_exits_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("teach_gym.benchmark.suite.expand", interrupted)
    assert main(["bench", "smoke", "--no-html"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_the_report_needs_no_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["bench", "smoke", "--tasks", "LabelMoon", "--out", str(tmp_path / "out")]) == 2
    assert "did you mean 'LabelMoons'" in capsys.readouterr().err and not list(tmp_path.iterdir())
    assert main(["bench", "smoke", *ONE, "--no-lessons", "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "report.html").is_file()


def test_data_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(DATA_VARIABLE, "unused")
    assert main(["data", "mnist", "--check", "--data-dir", str(tmp_path)]) == 1
    assert capsys.readouterr().out.count("missing: ") == 4


def test_data_check_of_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "mnist", "--check"]) == 0
    assert "all files are right" in capsys.readouterr().out


METADATA = """\
Metadata-Version: 2.4
Name: teach_gym
Version: 0.1.0
Requires-Dist: numpy>=2
Requires-Dist: gymnasium<0.9
Requires-Dist: nowhere-to-be-found>=1
Requires-Dist: winonly; sys_platform == 'no such system'
Provides-Extra: plots
Requires-Dist: Matplotlib>=3; extra == 'plots'
Requires-Dist: no-such-drawer[big]>=3; extra == 'plots'
Provides-Extra: test
Requires-Dist: pytest; extra == 'test'
"""


def test_doctor_tells_the_requirements_of_the_installed_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from teach_gym import doctor

    monkeypatch.setattr(doctor, "gpu", lambda: "one abacus")
    monkeypatch.setattr(
        doctor.metadata,
        "metadata",
        lambda name: metadata.PathDistribution(tmp_path).metadata,
    )
    (tmp_path / "METADATA").write_text(METADATA)
    assert main(["doctor"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert f"teach_gym {teach_gym.__version__}" in output and "one abacus" in output and "mnist" in output
    versions = {name: metadata.version(name) for name in ("numpy", "gymnasium")}
    assert f"numpy {versions['numpy']} " in output
    assert f"gymnasium {versions['gymnasium']}, but <0.9 is needed: pip install --upgrade teach_gym" in output
    assert "nowhere-to-be-found missing: pip install teach_gym " in output
    assert "plots no-such-drawer missing: pip install 'teach_gym[plots]'" in output and "plots Matplotlib" in output
    assert "winonly" not in output and "pytest" not in output


def test_doctor_says_which_tasks_can_be_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from teach_gym import doctor

    monkeypatch.setattr(doctor, "gpu", lambda: "one abacus")
    monkeypatch.setattr(doctor, "version_of", lambda name: None if name == "torch" else "1.2.3")
    monkeypatch.setenv("TEACH_GYM_DATA", str(tmp_path))
    assert main(["doctor"]) == 0
    states = dict(re.findall(r"^teach_gym/(\w+)-v0 +(.*)$", capsys.readouterr().out, flags=re.MULTILINE))
    assert set(states) == {*TASKS, *NEURAL_TASKS}
    assert states["LabelMoons"] == "ready" and states["LabelMNIST"] == "missing: data set mnist"
    assert states["BlackBoxMixupCIFAR10"] == "missing: torch: pip install 'teach_gym[torch]', data set cifar10_jpeg"
    (tmp_path / "cifar10-jpeg.tar.xz").touch()
    assert doctor.findings()["Data"][1][-1][1] == f"found: {tmp_path / 'cifar10-jpeg.tar.xz'}"


def test_doctor_without_an_installed_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    from teach_gym import doctor

    monkeypatch.setattr(doctor, "DISTRIBUTION", "no-such-distribution")
    _, rows = doctor.packages()["Dependencies"]
    assert len(rows) == 1 and "is not installed as a package" in rows[0][1]


def test_python_m_teach_gym() -> None:
    done = subprocess.run([sys.executable, "-m", "teach_gym", "bench", "nope"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("teach-gym: error: unknown suite 'nope'")


def test_rows_of_the_command_line_are_those_of_the_library(tmp_path: Path) -> None:
    from teach_gym.benchmark.execute import execute
    from teach_gym.benchmark.suite import parse_seeds, plan

    assert main(["bench", "smoke", *ONE, "--no-html", "--out", str(tmp_path)]) == 0
    expected = json.loads(json.dumps(execute(plan("LabelMoons:budget=5", "random", parse_seeds("2"))[1])))
    found = next(row for row in read_rows(tmp_path / "runs.jsonl") if row["id"] == expected["id"])
    assert found["curves"] == expected["curves"]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (lambda: gym.make("teach_gym/LabelMoon-v0"), "LabelMoons"),
        (lambda: gym.make("teach_gym/LabelMoons-v0", budgte=1), "budget"),
        (lambda: gym.make("teach_gym/LabelMoons-v0", medium_options={"kidn": "mix"}), "kind"),
        (lambda: gym.make("teach_gym/LabelMoons-v0", learner="logistc"), "logistic"),
        (lambda: gym.make("teach_gym/LabelMoons-v0", pool="half_moon"), "half_moons"),
        (lambda: gym.make("teach_gym/LabelMoons-v0", reward="progres"), "progress"),
        (lambda: gym.make("teach_gym/LabelMoons-v0", observation="omnicient"), "omniscient"),
        (lambda: gym.make("teach_gym/LabelMoons-v0", init="zeross"), "zeros"),
        (lambda: gym.make("teach_gym/LabelMoons-v0", render_mode="rgb_aray"), "rgb_array"),
        (lambda: gym.make_vec("teach_gym/LabelMoons-v0", 2, autoreset_mode="nextstep"), "next_step"),
        (lambda: teach_gym.make_task("LabelMoon"), "LabelMoons"),
        (lambda: teach_gym.make_teacher("gredy"), "greedy"),
        (lambda: teach_gym.make_teacher("last", constrant="soft"), "constraint"),
        (lambda: teach_gym.make_teacher("last", constraint="sofd"), "soft"),
        (lambda: teach_gym.load_teacher("ppo/LabelMoon-v0"), "ppo/LabelMoons-v0"),
        (lambda: teach_gym.evaluate("ppo/LabelMoon-v0", "LabelMoons"), "ppo/LabelMoons-v0"),
        (lambda: teach_gym.evaluat, "evaluate"),
    ],
)
def test_mistyped_names_get_the_nearest_one(wrong: Any, right: str) -> None:
    with pytest.raises(Exception, match=rf"[Dd]id you mean:? ['`]{right}['`]"):
        wrong()


@pytest.mark.parametrize(
    ("argv", "right"),
    [
        (["bnech"], "bench"),
        (["bench", "smok"], "smoke"),
        (["bench", "smoke", "--tasks", "LabelMoon"], "LabelMoons"),
        (["bench", "smoke", "--teachers", "gredy"], "greedy"),
        (["bench", "smoke", "--executor", "procces"], "process"),
        (["bench", "smoke", "--score", "fnal"], "final"),
        (["render", "LabelMoon"], "LabelMoons"),
        (["render", "LabelMoons", "gredy"], "greedy"),
        (["data", "mnsit"], "mnist"),
        (["reproduce", "last-fig-7"], "last-fig7"),
        (["play", "LabelMoon", "--no-browser"], "LabelMoons"),
        (["record", "LabelMoon"], "LabelMoons"),
        (["submit", "gredy", "LabelMoons"], "greedy"),
    ],
)
def test_mistyped_arguments_get_the_nearest_name(argv: list[str], right: str, capsys: Any) -> None:
    assert main(argv) == 2
    assert f"did you mean '{right}'?" in capsys.readouterr().err
