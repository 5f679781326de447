"""Vector environments stepped by compiled loops against those stepped by array calls.

Compiling a loop takes seconds, so most tests run the same source as it is, without numba.
"""

from __future__ import annotations

import math
import os
import pickle
import stat
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from conftest import continuous_variants, variant
from kernels import interpreted
from vector_cases import FLAVOURS, modes, staggered

from teach_gym.compiled import compiler, elementary
from teach_gym.core import drawing
from teach_gym.core.media import CONTINUOUS_MEDIA
from teach_gym.envs import loops, runs
from teach_gym.envs.runs import ArrayRuns, CompiledRuns
from teach_gym.envs.vector import TeachVectorEnv
from teach_gym.registration import TASKS, env_id, task_kwargs

WIDTH = loops.LANES + 3
"""One full tile and the beginning of another."""
OPERATIONS = 2_000
"""The sources of longer steps take too long without numba."""


def tolerance(dtype: str) -> dict[str, float]:
    """What the environments' documentation promises."""
    return {"rtol": 1e-5, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-12}


def pair(n: int = WIDTH, **kwargs: Any) -> tuple[TeachVectorEnv, TeachVectorEnv]:
    try:
        compiled = TeachVectorEnv(num_envs=n, compiled=True, **kwargs)
        compiled.reset(seed=0)
    except ValueError as error:
        pytest.skip(str(error))
    return compiled, TeachVectorEnv(num_envs=n, compiled=False, **kwargs)


def same(mine: Any, theirs: Any, allowed: dict[str, float], what: str = "") -> None:
    """The same names, types, shapes and, within the tolerance, values."""
    if isinstance(theirs, dict):
        assert list(mine) == list(theirs)
        for key in theirs:
            same(mine[key], theirs[key], allowed, f"{what} {key}")
    elif theirs is None:
        assert mine is None, what
    elif theirs.dtype == object:
        assert [a is None for a in mine] == [b is None for b in theirs], what
        for a, b in zip(mine, theirs, strict=True):
            if b is not None:
                same(a, b, allowed, what)
    else:
        assert mine.dtype == theirs.dtype and mine.shape == theirs.shape, what
        np.testing.assert_allclose(mine, theirs, **allowed, err_msg=what)


def compare(mine: TeachVectorEnv, theirs: TeachVectorEnv, steps: int) -> None:
    """Both environments give the same with the same random actions, and hold the same states."""
    assert isinstance(theirs._runs, ArrayRuns | None)
    allowed = tolerance(theirs.task.spec.dtype)
    # observations are float32; some compare nearly equal outcomes of actions
    wide = {"rtol": 1e-6, "atol": 1e-6} if theirs.task.spec.dtype == "float64" else {"rtol": 1e-3, "atol": 1e-3}
    space, over = theirs.action_space, np.zeros(theirs.num_envs, dtype=bool)
    space.seed(0)
    first = [env.reset(seed=5) for env in (mine, theirs)]
    assert isinstance(mine._runs, CompiledRuns)
    same(first[0][0], first[1][0], wide)
    same(first[0][1], first[1][1], allowed)
    for _ in range(steps):
        if over.any() and theirs.autoreset_mode is gym.vector.AutoresetMode.DISABLED:
            first = [env.reset(options={"reset_mask": over}) for env in (mine, theirs)]
            same(first[0][0], first[1][0], wide)
            same(first[0][1], first[1][1], allowed)
        actions = space.sample()
        a, b = mine.step(actions), theirs.step(actions)
        same(a[0], b[0], wide, "observation")
        # rewards are differences on the scale where 100 is the whole distance
        same(a[1], b[1], {key: 100 * value for key, value in allowed.items()}, "reward")
        for name, x, y in zip(("terminated", "truncated"), a[2:4], b[2:4], strict=True):
            np.testing.assert_array_equal(x, y, err_msg=name)
        same(
            {k: v for k, v in a[4].items() if k != "final_obs"},
            {k: v for k, v in b[4].items() if k != "final_obs"},
            allowed,
        )
        assert ("final_obs" in a[4]) == ("final_obs" in b[4])
        if "final_obs" in a[4]:
            same(a[4]["final_obs"], b[4]["final_obs"], wide, "final_obs")
        over = a[2] | a[3]
    assert mine.state is not None and theirs.state is not None
    same(mine.state._asdict(), theirs.state._asdict(), allowed, "state")


@pytest.fixture
def no_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "compiled", interpreted)


# ------------------------------------------------------------------------------------------------- the loops' source


@pytest.mark.usefixtures("no_numba")
@pytest.mark.parametrize(("which", "continuous"), FLAVOURS, ids=str)
def test_loops_of_every_flavour_are_the_array_step(which: str, continuous: bool) -> None:
    compare(*pair(**staggered(which, continuous=continuous)), steps=12)


@pytest.mark.usefixtures("no_numba")
def test_loops_of_registered_tasks_are_the_array_step(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "LOOP_LIMIT", OPERATIONS // 100)  # compiled=True allows 100 times as many
    compare(*pair(5, **{**task_kwargs(name), "budget": 3}), steps=4)


@pytest.mark.usefixtures("no_numba")
@modes
def test_autoreset_modes_and_step_limits(mode: str) -> None:
    compare(*pair(autoreset_mode=mode, max_episode_steps=5, **staggered("momentum")), steps=20)


@pytest.mark.usefixtures("no_numba")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("observation", ["lookahead", "full"])
def test_observations_and_types(observation: str, dtype: str) -> None:
    compare(*pair(observation=observation, dtype=dtype, **variant("mixup-batch")), steps=5)


@pytest.mark.usefixtures("no_numba")
def test_what_was_returned_never_changes() -> None:
    env, _ = pair(autoreset_mode="same_step", **staggered())
    returned: list[Any] = []
    env.action_space.seed(0)
    for i in range(20):
        if i % 7 == 3:
            mask = np.arange(WIDTH) % 3 == 0
            returned.append(env.reset(options={"reset_mask": mask}))
        returned += [env.step(env.action_space.sample()), env.state]
        if i == 0:
            copies = []
        copies += [pickle.dumps(found) for found in returned[len(copies) :]]
    assert [pickle.dumps(found) for found in returned] == copies


@pytest.mark.usefixtures("no_numba")
def test_arrays_that_nobody_holds_are_used_again() -> None:
    env, _ = pair(**staggered())
    env.reset(seed=0)
    actions = np.zeros(WIDTH, dtype=int)
    held = env.step(actions)[0]
    used = {env.step(actions)[0].base.ctypes.data for _ in range(8)}  # type: ignore[union-attr]
    assert len(used) == 2 and held.base.ctypes.data not in used  # type: ignore[union-attr]
    part = held[:1, 1:]
    address = held.base.ctypes.data  # type: ignore[union-attr]
    del held
    assert address not in {env.step(actions)[0].base.ctypes.data for _ in range(4)}  # type: ignore[union-attr]
    assert part.shape == (1, env.single_observation_space.shape[0] - 1)  # type: ignore[index]


@pytest.mark.usefixtures("no_numba")
def test_observations_of_diverging_learners_are_finite() -> None:
    mine, theirs = pair(**variant("momentum", learning_rate=1e12, budget=30))
    for env in (mine, theirs):
        env.reset(seed=0)
    with np.errstate(all="ignore"):
        for i in range(20):
            found = [env.step(np.full(WIDTH, i % mine.task.n_actions)) for env in (mine, theirs)]
            assert np.isfinite(found[0][0]).all() and np.isfinite(found[1][0]).all()
            np.testing.assert_array_equal(found[0][2], found[1][2])


@pytest.mark.usefixtures("no_numba")
def test_runs_do_not_depend_on_their_number() -> None:
    few, many = (TeachVectorEnv(num_envs=n, compiled=True, **staggered()) for n in (2, 150))
    few.reset(seed=1)
    many.reset(seed=1)
    rng = np.random.default_rng(0)
    for _ in range(30):
        actions = rng.integers(5, size=150)
        a, b = few.step(actions[:2]), many.step(actions)
        np.testing.assert_array_equal(a[0], b[0][:2])
        np.testing.assert_array_equal(a[1], b[1][:2])


@pytest.mark.usefixtures("no_numba")
def test_pickles_go_on() -> None:
    env, other = pair(**staggered())
    other.reset(seed=0)
    copy = pickle.loads(pickle.dumps(env))
    mine, pickled, theirs = (e.step(np.zeros(WIDTH, dtype=int))[0] for e in (env, copy, other))
    np.testing.assert_array_equal(pickled, mine)
    np.testing.assert_allclose(theirs, mine, rtol=1e-6)


# --------------------------------------------------------------------------------------------- elementary functions


@pytest.mark.parametrize(
    ("function", "reference", "dtype", "error"),
    [
        (elementary.exp, np.exp, np.float64, 5e-16),
        (elementary.exp32, np.exp, np.float32, 3e-7),
        (elementary.tanh, np.tanh, np.float64, 3e-16),
        (elementary.tanh32, np.tanh, np.float32, 2e-7),
        (elementary.log, np.log, np.float64, 5e-16),
        (elementary.log32, np.log, np.float32, 3e-7),
        (elementary.log1p, np.log1p, np.float64, 5e-16),
        (elementary.log1p32, np.log1p, np.float32, 3e-7),
    ],
)
def test_elementary_functions(function: Any, reference: Any, dtype: Any, error: float) -> None:
    points = np.concatenate([np.linspace(-80, 80, 4001), np.linspace(-1e-3, 1e-3, 101), [0.0]])
    if "log" in str(reference):
        points = np.concatenate([np.exp(points), np.linspace(0.5, 2, 1001)])
    points = points.astype(dtype)
    found = np.array([function(x) for x in points])
    assert found.dtype == dtype
    exact = reference(points.astype(np.longdouble))
    np.testing.assert_array_less(
        np.abs(found - exact), error * np.maximum(np.abs(exact), 1.0 if "tanh" in str(reference) else 1e-300)
    )


@pytest.mark.parametrize(("function", "dtype"), [(elementary.exp, np.float64), (elementary.exp32, np.float32)])
def test_exponentials_at_the_ends(function: Any, dtype: Any) -> None:
    with np.errstate(all="ignore"):
        assert function(dtype(math.inf)) == math.inf and function(dtype(1e30)) == math.inf
        assert 0 <= function(dtype(-math.inf)) < 1e-37 and math.isnan(function(dtype(math.nan)))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ["log", "log1p"])
def test_logarithms_at_the_ends(name: str, dtype: Any) -> None:
    function = getattr(elementary, name + "32" * (dtype is np.float32))
    lowest = dtype(-1 if name == "log1p" else 0)
    with np.errstate(all="ignore"):
        assert function(dtype(math.inf)) == math.inf and function(lowest) == -math.inf
        assert math.isnan(function(dtype(math.nan))) and math.isnan(function(dtype(-2)))


# -------------------------------------------------------------------------------------------------- when and how


def test_only_wide_environments_are_compiled_and_only_where_it_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "compiled", interpreted)
    monkeypatch.setenv(compiler.SETTING, "1")
    cases: list[tuple[type, dict[str, Any]]] = [
        (CompiledRuns, {"num_envs": 64}),
        (ArrayRuns, {"num_envs": 63}),
        (ArrayRuns, {"num_envs": 64, "compiled": False}),
        (CompiledRuns, {"num_envs": 1, "compiled": True}),
        (ArrayRuns, {"num_envs": 64, "render_mode": "rgb_array"}),
        (ArrayRuns, {"num_envs": 64, "learning_rate": [0.1, 0.2]}),
        (ArrayRuns, {"num_envs": 64, "reward": "holdout_progress"}),
    ]
    for kind, kwargs in cases:
        env = TeachVectorEnv(**variant("label-grid"), **kwargs)
        env.reset(seed=0)
        assert type(env._runs) is kind, kwargs
    monkeypatch.setenv(compiler.SETTING, "0")
    env = TeachVectorEnv(num_envs=64, **variant("label-grid"))
    env.reset(seed=0)
    assert type(env._runs) is ArrayRuns


def test_what_cannot_be_compiled_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"compiled=True is impossible.*hold-out"):
        TeachVectorEnv(num_envs=2, compiled=True, **variant("label-grid", reward="holdout_progress")).reset()
    with pytest.raises(TypeError, match=r"compiled.*'yes'"):
        TeachVectorEnv(num_envs=2, compiled="yes", **variant("label-grid"))  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.setenv(compiler.SETTING, "1")
    env = TeachVectorEnv(num_envs=64, **variant("label-grid"))
    env.reset(seed=0)
    assert type(env._runs) is ArrayRuns
    with pytest.raises(ImportError, match=r"teach_gym\[fast\]"):
        TeachVectorEnv(num_envs=2, compiled=True, **variant("label-grid")).reset()


def test_sources_are_kept_in_a_folder_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = compiler._kept("text", "0123")
    assert file is not None and file.read_text() == "text" and file.is_relative_to(tmp_path)
    file.write_text("changed by somebody")
    assert compiler._kept("text", "0123") == file and file.read_text() == "text"
    if hasattr(os, "getuid"):
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        file.parent.chmod(0o777)
        assert compiler._kept("text", "0123") is None
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))  # no folder
    assert compiler._kept("text", "0123") is None


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_machine_code_is_the_array_step_and_is_kept(
    dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiler._compiled.cache_clear()
    drawing._loop.cache_clear()
    kwargs = staggered("label-grid", dtype=dtype, observation="lookahead", reward="log_progress")
    compare(*pair(autoreset_mode="same_step", **kwargs), steps=15)
    assert len(list(tmp_path.rglob("*.nbc"))) == 2  # the step, and the draws of starting episodes
    compiler._compiled.cache_clear()
    env, _ = pair(**kwargs)
    env.step(np.zeros(WIDTH, dtype=int))
    function = env._runs._function  # type: ignore[union-attr]
    assert sum(function.stats.cache_hits.values()) == 1 and not function.stats.cache_misses


@pytest.mark.slow
def test_machine_code_of_every_registered_task_is_the_array_step(name: str) -> None:
    pytest.importorskip("numba")
    for continuous in {False, TASKS[name]["medium"] in CONTINUOUS_MEDIA}:
        limit = {"observation": "omniscient"} if "observation" not in TASKS[name] else {}
        compare(*pair(**{**task_kwargs(name), **limit, "continuous": continuous}), steps=130)


@pytest.mark.slow
@pytest.mark.parametrize("which", continuous_variants())
def test_machine_code_with_diverging_learners(which: str) -> None:
    pytest.importorskip("numba")
    mine, theirs = pair(**variant(which, learning_rate=1e6, budget=30))
    for env in (mine, theirs):
        env.reset(seed=0)
    with np.errstate(all="ignore"):
        for _ in range(30):
            actions = np.zeros(WIDTH, dtype=int)
            a, b = mine.step(actions), theirs.step(actions)
            np.testing.assert_array_equal(np.isfinite(a[1]), np.isfinite(b[1]))


def test_registered_environments_take_the_setting() -> None:
    env = gym.make_vec(env_id("LabelMoons"), num_envs=2, compiled=False)
    env.reset(seed=0)
    assert type(env.unwrapped._runs) is ArrayRuns
