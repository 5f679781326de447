"""Texts: the command line, hyper-parameters, and names with options."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import sys
from collections.abc import Iterator
from http.server import HTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from campaign import NonsenseError, RefusedError, Target
from hypothesis import strategies as st
from nonsense import FLOATS, HUGE, INTEGERS, JSON, TEXTS, all_digits

from teach_gym.benchmark.suite import task_spec
from teach_gym.calls import format_call, parse_call
from teach_gym.cli import main
from teach_gym.integrations.sb3.hyperparams import ALGORITHMS, parameters
from teach_gym.teachers import canonical_teacher
from teach_gym.training import program
from teach_gym.training.args import TrainArgs

# ------------------------------------------------------------------------------------------------ hyper-parameters

REINFORCE = ("n_envs", "n_timesteps", "sizes", "learning_rate", "anneal", "gamma", "credit", "baseline", "begin")
_SHARES: list[Any] = [0.5, 1, 1.0]
_COUNTS: list[Any] = [2, 4, 8]
PLAUSIBLE: dict[str, list[Any]] = {
    **{name: _SHARES for name in ("gamma", "gae_lambda", "tau", "exploration_fraction", "exploration_final_eps")},
    **{name: [1e-3, 0.2, "lin_0.1"] for name in ("learning_rate", "clip_range", "clip_range_vf")},
    **{name: [0.0, 0.1, "auto"] for name in ("ent_coef", "vf_coef", "entropy", "target_policy_noise")},
    **{name: _COUNTS for name in ("n_steps", "n_epochs", "batch_size", "policy_delay", "train_freq")},
    **{name: [1, 4, -1] for name in ("gradient_steps", "sde_sample_freq", "learning_starts")},
    **{name: [0.1, 1.0] for name in ("max_grad_norm", "rms_prop_eps", "noise_std", "target_kl")},
    "noise_type": ["normal", "ornstein-uhlenbeck"],
    "normalize": [True, False, "dict(norm_obs=True)", {"norm_reward": False}],
    "env_kwargs": [{}, {"learning_rate": 0.1}, "dict(bias=True)"],
    "policy_kwargs": [{"net_arch": [4, 4]}, "dict(net_arch=[8])", "dict(activation_fn=nn.ReLU)"],
    "credit": ["to-go", "episode"],
    "begin": ["random", "oracle"],
    "baseline": ["none", "mean", "value"],
    "sizes": [[4], [], [4, 4]],
    "n_envs": [1, 3],
    "n_timesteps": [64, 128.0],
}
KWARGS = ["dict(net_arch=[8])", "dict(net_arch=[0])", "dict(activation_fn=nn.ReLU)", "dict(x=1)", "__import__('os')"]
VALUE = st.one_of(
    FLOATS, INTEGERS, HUGE, st.booleans(), TEXTS, JSON, st.sampled_from(["lin_0.1", "lin_nan", "auto", *KWARGS])
)


@st.composite
def _hyperparams(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """An algorithm and hyper-parameters, small but for one to three."""
    algo = draw(st.sampled_from([*ALGORITHMS, "reinforce"]))
    if algo == "reinforce":
        found: dict[str, Any] = {"n_envs": 2, "n_timesteps": 16, "sizes": [4]}
        names = list(REINFORCE)
    else:
        found = {"n_envs": 2, "n_timesteps": 64, "policy": "MlpPolicy", "policy_kwargs": "dict(net_arch=[4])"}
        if algo in ("dqn", "sac", "td3"):
            found["buffer_size"] = 100
        names = [
            *(name for name in parameters(algo) if name != "policy"),
            "n_envs",
            "n_timesteps",
            "normalize",
            "env_kwargs",
            "noise_type",
            "noise_std",
            "x",
        ]
    for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)):
        likely = st.sampled_from(PLAUSIBLE.get(name, [True, False, None]))
        found[name] = draw(likely) if draw(st.integers(0, 2)) else draw(VALUE)
    return algo, found


def _train(folder: Path, case: tuple[str, dict[str, Any]]) -> None:
    algo, values = case
    path = folder / "hyper.yml"
    with all_digits():
        path.write_text(yaml.safe_dump({"default": values}), encoding="utf-8", errors="surrogatepass")
    plan = program.plan(TrainArgs("LabelMoons:budget=4", algo=algo, hyperparams=path))  # type: ignore[arg-type]
    plan.make().network()


def _sensible_hyperparams(case: tuple[str, dict[str, Any]]) -> bool | None:
    values = case[1]
    if "x" in values:
        return False
    for name, value in values.items():
        if isinstance(value, float) and value != value and name not in ("env_kwargs", "normalize"):
            return False
        if isinstance(value, int | float) and not isinstance(value, bool):
            if name == "gamma" and not 0 <= value <= 1:
                return False
            if name in ("clip_range", "n_epochs", "learning_rate", "batch_size", "n_steps", "updates") and value <= 0:
                return False
            if name in ("ent_coef", "vf_coef", "entropy") and not 0 <= value < float("inf"):
                return False
        if isinstance(value, str) and name in ("normalize_advantage", "use_sde", "anneal", "optimize_memory_usage"):
            return False
    return None


# -------------------------------------------------------------------------------------------------- command line

TASK = st.sampled_from(
    [
        *("LabelMoons:budget=3", "LabelMoon", "SelectMoons:budget=2", "LabelMoons:budget=60,budget=61", "", ":", "a=b"),
        *("LabelMoons:budget=0", "LabelMoons:budget=1e3", "LabelMoons:pool_options={'n':50},budget=2", "LabelMoons:("),
        *("LabelMoons:budget=10**9", "LabelMoons:learning_rate=nan", "LabelMoons:x=1", "BlackBoxMixupCIFAR10"),
    ]
)
TEACHER = st.sampled_from(
    [
        "greedy",
        "passive",
        "last:constraint=soft",
        "agent:no.safetensors",
        "x",
        "last:constraint=",
        "greedy:a=1",
        "",
        "lqr",
    ]
)
WORD = TEXTS | st.integers(-9, 30).map(str) | st.sampled_from(["9" * 20, "-" + "9" * 20, "9" * 5000]) | FLOATS.map(str)
FLAGS: dict[str, list[str]] = {
    "bench": ["--tasks", "--teachers", "--seeds", "--executor", "--workers", "--out", "--score", "--no-html"],
    "report": ["--out", "--score", "--no-html"],
    "render": ["--seed", "--out", "--steps", "--fps"],
    "play": ["--seed", "--out", "--port", "--no-browser"],
    "record": ["--episodes", "--seed", "--name", "--out"],
    "reproduce": ["--seeds", "--out", "--scale", "--panels", "--workers", "--map", "--list"],
    "train": [
        "--algo",
        "--steps",
        "--seed",
        "--num-envs",
        "--set",
        "--eval-every",
        "--eval-episodes",
        "--out",
        "--device",
    ],
    "submit": ["--name", "--folder"],
    "verify": ["--run-code"],
    "data": ["--check", "--data-dir"],
    "list": ["--data-dir"],
    "x": [],
}
GOOD: dict[str, list[str]] = {
    "bench": ["smoke", "--tasks", "LabelMoons:budget=2", "--seeds", "1", "--executor", "serial", "--no-html"],
    "report": ["runs.jsonl", "--no-html"],
    "render": ["LabelMoons:budget=2", "greedy", "--steps", "1"],
    "play": ["LabelMoons", "--no-browser"],
    "record": ["LabelMoons", "greedy", "--episodes", "1"],
    "reproduce": ["--list"],
    "train": ["LabelMoons:budget=2", "--algo", "reinforce", "--steps", "4", "--num-envs", "2", "--eval-episodes", "1"],
    "submit": ["no.safetensors", "LabelMoons"],
    "verify": ["entry.json"],
    "data": ["mnist", "--check"],
    "list": [],
    "x": [],
}
PLACES = ["/dev/null", "a/b", "file", "a\0b", "x.gif", "x.html", "x.png", "x.bmp", "", "/proc/x/y", "file/below"]


@st.composite
def _commands(draw: st.DrawFn) -> list[str]:
    """A command with arguments that are good but for one to three."""
    command = draw(st.sampled_from(sorted(FLAGS)))
    words = list(GOOD[command])
    for _ in range(draw(st.integers(1, 3))):
        new = draw(st.one_of(WORD, TASK, TEACHER, st.sampled_from(PLACES)))
        flags = FLAGS[command]
        if flags and draw(st.booleans()):
            flag = draw(st.sampled_from(flags))
            if flag in words and not flag.startswith("--no") and words[-1] != flag:
                words[words.index(flag) + 1] = new
            else:
                words += (
                    [flag]
                    if flag in ("--no-html", "--map", "--list", "--no-browser", "--check", "--run-code")
                    else [flag, new]
                )
        elif words:
            words[draw(st.integers(0, len(words) - 1))] = new
        else:
            words.append(new)
    if command in ("bench", "reproduce", "train") and "--out" not in words:
        words += ["--out", f"out/{command}"]
    return [command, *words]


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Work in a folder that is as it was before; no server waits for requests, no library is fetched."""
    before = Path.cwd()
    os.chdir(folder)
    Path("file").write_text("x")
    try:
        environment = mock.patch.dict(os.environ, {"TEACH_GYM_TRACEBACK": "1"})
        with (
            environment,
            mock.patch.object(HTTPServer, "serve_forever"),
            mock.patch("teach_gym.data.download.download"),
        ):
            yield
    finally:
        os.chdir(before)


def _run(folder: Path, words: list[str]) -> None:
    """The command, whose error is raised again as it would be seen with TEACH_GYM_TRACEBACK."""
    long = {"bench": ("--tasks", "smoke"), "reproduce": ("--list",), "train": ("--steps", "--num-envs")}.get(
        words[0], ()
    )
    if not all(flag in words for flag in long) and "\0" not in "".join(words):
        return  # it would work for minutes
    out, err = io.StringIO(), io.StringIO()
    arguments = [sys.argv[0], *words]
    try:
        streams = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
        with _inside(folder), mock.patch.object(sys, "argv", arguments), streams[0], streams[1]:
            code = main(words)
    except SystemExit as error:
        if error.code not in (0, 2) or (error.code == 2 and not err.getvalue().strip()):
            raise NonsenseError(f"exit code {error.code} with {err.getvalue()!r}") from error
        if error.code == 2:
            raise RefusedError("by the parser of the command line") from error
        return
    if code not in (0, 1):
        raise NonsenseError(f"exit code {code}")


def _sensible_command(words: list[str]) -> bool | None:
    """Folders may have any name, also one that is no task."""
    others = [word for before, word in zip(["", *words], words, strict=False) if before not in ("--data-dir", "--out")]
    twice = any("budget=60,budget=61" in word for word in others)
    return False if twice or "\0" in " ".join(words) or "--x" in words else None


# ----------------------------------------------------------------------------------------------- names with options

PIECE = st.sampled_from(
    ["LabelMoons", "last", ":", "budget=", "=", ",", "3", "'x'", "[1]", "{", "}", "(", "None", "a.b", "**", "1e9"]
)


def _call(text: str) -> None:
    """Parsing, formatting and parsing again gives the same."""
    name, options = parse_call(text, "task")
    if options and parse_call(format_call(name, options), "task") != (name, options):
        raise NonsenseError(f"{name} {options} is not what its canonical spelling says")
    try:
        canonical_teacher(text)
    finally:
        task_spec(text)


def text_targets(folder: Path) -> list[Target]:
    hyper, place = folder / "hyper", folder / "cli"
    for path in (hyper, place):
        path.mkdir(exist_ok=True)
    return [
        Target("hyperparams", _hyperparams(), functools.partial(_train, hyper), _sensible_hyperparams, weight=3),
        Target("command line", _commands(), functools.partial(_run, place), _sensible_command, weight=3),
        Target("texts", st.lists(PIECE | TEXTS, max_size=6).map("".join), _call, weight=2),
    ]
