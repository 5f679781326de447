"""Compiled steps against array calls, what can be traced, and when tracing stops."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import math
import pickle
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from conftest import VARIANTS, continuous_variants, names, streams, variant

from teach_gym.compiled import compiler, native, symbols
from teach_gym.compiled.symbols import SCOPE, Symbol, Tape, UntraceableError
from teach_gym.core.backend import namespace
from teach_gym.core.build import make_task
from teach_gym.core.layout import layout
from teach_gym.core.rewards import HOLDOUT_REWARDS, REWARDS
from teach_gym.core.state import Task, TeachState
from teach_gym.core.task import reset
from teach_gym.envs import fuse
from teach_gym.envs.base import TeachEnv
from teach_gym.envs.fuse import trace
from teach_gym.envs.stepper import ArrayStepper, MachineStepper, ProgramStepper, Stepper
from teach_gym.registration import task_kwargs

MANY = 20_000
"""More operations than the step of any task here takes."""

FLAVOURS = [(which, False) for which in VARIANTS] + [(which, True) for which in continuous_variants()]


def program_of(task: Task, limit: int = MANY) -> fuse.Program | None:
    return trace(task, layout(task), limit)


def steppers_of(task: Task, most: int = 1_000) -> tuple[Stepper, ...]:
    """A program, array calls and, for at most so many operations, machine code."""
    program, blocks = program_of(task), layout(task)
    assert program is not None
    found: list[Stepper] = [ProgramStepper(task, blocks, program), ArrayStepper(task, blocks)]
    if native._library() and program.operations <= most:
        step = fuse.record(task, blocks, MANY)
        assert step is not None
        found.append(MachineStepper(task, step))
    return tuple(found)


def compare(task: Task, steps: int, most: int = 1_000) -> None:
    """All ways of stepping give the same numbers, of the same types; programs and machine code the same bits."""
    pair = steppers_of(task, most)
    for stepper in pair:
        stepper.start(reset(task, streams(1, seed=3)))
    rng, exact = np.random.default_rng(0), task.spec.dtype == "float64"
    for _ in range(steps):
        action: Any = int(rng.integers(task.n_actions))
        if task.spec.continuous:
            action = rng.uniform(task.medium.low, task.medium.high).astype(task.spec.dtype)
        results = [s.step(action) for s in pair]
        for mine, theirs in zip(results[0], results[-1] if len(pair) > 2 else results[0], strict=True):
            assert type(mine) is type(theirs)
            np.testing.assert_array_equal(mine, theirs)
        for mine, theirs in zip(*results[:2], strict=True):
            assert type(mine) is type(theirs)
            assert np.asarray(mine).dtype == np.asarray(theirs).dtype and np.shape(mine) == np.shape(theirs)
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6 if exact else 1e-4)
        if results[0][2]:
            break
    for mine, theirs in zip(pair[0].state, pair[-1].state, strict=True):
        if len(pair) > 2 and mine is not None:
            np.testing.assert_array_equal(mine, theirs)
            assert mine.dtype == theirs.dtype and mine.shape == theirs.shape


@pytest.mark.parametrize(("which", "continuous"), FLAVOURS, ids=str)
@pytest.mark.parametrize("observation", ["omniscient", "lookahead", "full"])
def test_programs_of_every_flavour_are_the_array_step(which: str, continuous: bool, observation: str) -> None:
    task = make_task(**variant(which, continuous=continuous, observation=observation))
    if program_of(task) is None:
        assert continuous and observation != "omniscient"
        pytest.skip("the action aimed at depends on which of the costs is the least")
    compare(task, 8)


@pytest.mark.parametrize("name", names(observation=[None], medium=["label", "mixup", "perturb", "select", "mixed"]))
def test_programs_of_registered_tasks_are_the_array_step(name: str) -> None:
    compare(make_task(**{**task_kwargs(name), "budget": 4}), 4)


@pytest.mark.slow
@pytest.mark.parametrize("name", names(observation=[None], medium=["label", "mixup", "perturb", "select", "mixed"]))
def test_machine_code_of_registered_tasks_has_the_bits_of_programs(name: str) -> None:
    compare(make_task(**task_kwargs(name)), 20, MANY)


@pytest.mark.parametrize(("which", "continuous"), [("mixup-batch", True), ("momentum", False)])
def test_machine_code_goes_on_from_pickles(which: str, continuous: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not native._library():
        pytest.skip("needs LLVM")
    monkeypatch.setenv(compiler.SETTING, "1")
    envs = [TeachEnv(**variant(which, continuous=continuous, budget=6))]
    assert isinstance(envs[0]._stepper, MachineStepper)
    monkeypatch.setenv(compiler.SETTING, "0")
    envs.append(TeachEnv(**variant(which, continuous=continuous, budget=6)))
    assert isinstance(envs[1]._stepper, ProgramStepper)
    first = [env.reset(seed=4)[0] for env in envs]
    envs.append(pickle.loads(pickle.dumps(envs[0])))
    np.testing.assert_array_equal(*first)
    envs[0].action_space.seed(0)
    for i in range(14):
        if i == 3:
            envs.append(pickle.loads(pickle.dumps(envs[0])))
        action = envs[0].action_space.sample()
        results = [env.step(action) for env in envs]
        for found in results[1:]:
            for mine, theirs in zip(found[:4], results[0][:4], strict=True):
                np.testing.assert_array_equal(mine, theirs)
        if results[0][2]:
            again = [env.reset()[0] for env in envs]
            for observation in again:
                np.testing.assert_array_equal(observation, again[0])


@pytest.mark.parametrize("reward", sorted(set(REWARDS) - {*HOLDOUT_REWARDS, "farsighted_progress"}))
@pytest.mark.parametrize("which", ["label-grid", "momentum"])
def test_every_reward_made_of_the_distance_is_compiled(which: str, reward: str) -> None:
    task = make_task(**variant(which, reward=reward))
    assert program_of(task, fuse.LIMIT) is not None
    compare(task, 8)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("which", ["label-grid", "mixup-batch", "label-offset-truth"])
def test_both_ways_keep_the_tasks_dtype(which: str, dtype: str) -> None:
    compare(make_task(**variant(which, dtype=dtype)), 8)


@pytest.mark.parametrize("reward", ["progress", "log_progress"])
def test_diverging_learners_raise_nothing_and_give_numpys_values(reward: str) -> None:
    task = make_task(**variant("label-offset-truth", learning_rate=1e200, budget=8, reward=reward))
    with np.errstate(all="ignore"):
        compare(task, 8)


def test_termination_by_the_tolerance_is_the_tasks() -> None:
    task = make_task(**variant("label-grid", tolerance=2.0, learning_rate=1.0))
    steps = set()
    for seed in range(20):
        ends = []
        for stepper in steppers_of(task):
            stepper.start(reset(task, streams(1, seed=seed)))
            ends.append([stepper.step(i % task.n_actions)[2] for i in range(task.spec.budget)])
        assert {end.index(True) for end in ends} == {ends[0].index(True)}
        steps.add(ends[0].index(True))
    assert task.spec.budget - 1 in steps and len(steps) > 2


# ------------------------------------------------------------------------------------------------- how far it goes


@pytest.mark.parametrize("d", [260, 2000])
def test_learners_of_any_size_can_be_made(d: int) -> None:
    kwargs = {"learner": "least_squares", "pool": "linear_regression", "pool_options": {"n": 50, "d": d}}
    env = gym.make("teach_gym/LabelRegression-v0", **kwargs, budget=2, learning_rate=1e-4)
    env.reset(seed=0)
    env.step(0)


def test_a_long_chain_of_operations_is_compiled_without_recursion() -> None:
    task = make_task(learner="least_squares", pool="linear_regression", pool_options={"n": 50, "d": 2000}, budget=2)
    program = program_of(task)
    assert program is not None and program.operations > 10_000
    compare(task, 2)


def test_equal_operations_are_recorded_once_and_unused_ones_left_out() -> None:
    tape = Tape(10)
    x, y = tape.inputs("x", (2,))[0]
    assert x * y is x * y and x + 0 is x and x * 1 is x and (x - 0.0) is x
    total = (x * y + 1.0) / (x * y)
    assert len(tape.operations) == 3
    _ = np.tanh(tape.inputs("z", (1,)))
    source, operations = fuse._write(
        fuse.Record(tape, {"x": tape.inputs("x", (2,))}, {"out": np.array([total], dtype=object)})
    )
    assert operations == 3 and "tanh" not in source
    scope: dict[str, Any] = {}
    exec(source, scope)
    assert scope["step"]((3.0, 4.0)) == 13.0 / 12.0


def test_tracing_stops_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work of a trace that fails does not depend on how large the step is."""
    task, tapes = make_task(**task_kwargs("SelectDigits")), []
    original = Tape.__init__

    def remembered(self: Tape, limit: int) -> None:
        original(self, limit)
        tapes.append(self)

    monkeypatch.setattr(Tape, "__init__", remembered)
    assert program_of(task, 300) is None and len(tapes[0].operations) == 300
    large = make_task(**task_kwargs("LabelDigits10"))
    assert program_of(large, fuse.LIMIT) is None and len(tapes) == 1, "more parameters than operations allowed"


def test_a_compiled_env_is_one_and_a_large_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compiler.SETTING, "1")
    kind = MachineStepper if native._library() else ArrayStepper
    assert isinstance(TeachEnv(**task_kwargs("SelectDigits"))._stepper, kind)
    monkeypatch.setenv(compiler.SETTING, "0")
    assert isinstance(TeachEnv(**task_kwargs("LabelMoons"))._stepper, ProgramStepper)
    assert isinstance(TeachEnv(**task_kwargs("SelectDigits"))._stepper, ArrayStepper)


# ---------------------------------------------------------------------------------------------- what symbols cannot


@pytest.mark.parametrize(
    "function",
    [
        np.cos,
        np.sign,
        np.sort,
        np.argmax,
        np.round,
        np.isfinite,
        np.linalg.norm,
        lambda a: a**2.5 if np.any(a) else a,
        lambda a: np.clip(a, 0, 1),
        lambda a: np.where(a, 1.0, 2.0),
        lambda a: a.astype(float),
        lambda a: a == a[0],
        lambda a: float(a[0]),
        lambda a: int(a[0]),
        lambda a: range(10)[a[0]],
        lambda a: bool(a[0]),
        lambda a: a[0] < a[1],
    ],
    ids=lambda f: f.__name__,
)
def test_what_symbols_cannot_do_is_said(function: Any) -> None:
    with pytest.raises(UntraceableError):
        function(Tape(100).inputs("x", (2,))[0])


def _product(a: Any) -> Any:
    return np.reshape(a, (1, 2, 2)) @ np.reshape(a, (2, 2))


def _half_numeric_product(a: Any) -> Any:
    return np.matmul(np.array([[1.5, 2.0], [0.5, 3.0], [1.0, 0.0]]), np.reshape(a, (2, 2)))


def _weighed_sum(a: Any) -> Any:
    return np.einsum("s,...s->...", np.array([1.0, 0.5, 0.0, 2.0]), a)


def _quotient(a: Any) -> Any:
    return (a - 1.0) / (2.0 + a) * -a


def _largest_first(a: Any) -> Any:
    return np.exp(a - np.max(a, axis=-1, keepdims=True)) / np.sum(a, axis=-1, keepdims=True)


def _comparisons(a: Any) -> Any:
    return np.concatenate([a > 1.0, a < 0.5, a >= a[..., :1], (a > 1.0) | (a < 0.5)]) * 1.0


TRACED = [
    *(np.tanh, np.sqrt, np.log, np.exp, np.cumsum, np.sum, np.mean, np.max, np.min),
    *(_product, _half_numeric_product, _weighed_sum, _quotient, _largest_first, _comparisons),
]


@pytest.mark.parametrize("function", TRACED, ids=lambda f: f.__name__)
def test_traced_functions_have_numpys_values(function: Any) -> None:
    values = np.random.default_rng(0).uniform(0.1, 2.0, (1, 4))
    tape = Tape(100)
    traced = tape.inputs("x", (4,))
    out = function(traced)
    out = np.reshape(out, (1, -1)) if isinstance(out, np.ndarray) else np.array([[out]], dtype=object)
    source, _ = fuse._write(fuse.Record(tape, {"x": traced}, {"out": out}))
    scope = dict(SCOPE)
    exec(source, scope)
    np.testing.assert_allclose(scope["step"](values[0].tolist()), np.ravel(function(values)))
    if native._library():
        np.testing.assert_array_equal(machine(tape, traced, out, values), scope["step"](values[0].tolist()))


def machine(tape: Tape, traced: Any, out: Any, values: Any) -> Any:
    """What machine code makes of values."""
    n, entries = values.size, np.ravel(out).tolist()
    writer = native.Writer(0, 0, n, 1)
    for i, symbol in enumerate(np.ravel(traced)):
        writer.load(symbol.name, i)
    for symbol in tape.operations.values():
        writer.record(symbol)
    for i, entry in enumerate(entries):
        writer.store(n + i, entry)
    block = np.concatenate([np.ravel(values), np.zeros(len(entries))])
    native.compiled(writer.source(), 0)(block.ctypes.data, 0, 0)
    return block[n:]


def test_machine_code_needs_a_recent_llvm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compiler.SETTING, "1")
    for version in ("0.44.1", "unknown"):
        native._library.cache_clear()
        monkeypatch.setattr(native.importlib.metadata, "version", lambda name, found=version: found)
        assert not native.installed()
        assert isinstance(TeachEnv(**task_kwargs("LabelMoons"))._stepper, ProgramStepper)
    native._library.cache_clear()


def test_machine_code_copies_rows_in_single_precision() -> None:
    if not native._library():
        pytest.skip("needs LLVM")
    tape = Tape(10)
    x = tape.inputs("x", (20,))[0]
    observed = [*x[3:17], x[0], x[1] * 2.0, *x[5:9]]
    writer = native.Writer(0, 0, 20, 2)
    places = {symbol.name: f"then + {i}" for i, symbol in enumerate(x)}
    for name in writer.single(observed, places):
        if name in places:
            writer.load(name, places[name])
    writer.load(x[1].name, places[x[1].name])
    for symbol in tape.operations.values():
        writer.record(symbol)
    writer.store_single(40, observed, places)
    block = np.concatenate([np.random.default_rng(0).normal(size=40), np.zeros(10)])
    for t in (0, 1, 5):  # the last row where there is no next one
        native.compiled(writer.source(), 2_000)(block.ctypes.data, t, 0)
        row = block[20:40]
        found = block[40:].view(np.float32)
        np.testing.assert_array_equal(found, np.array([*row[3:17], row[0], 2.0 * row[1], *row[5:9]], np.float32))


@pytest.mark.parametrize("function", TRACED, ids=lambda f: f.__name__)
def test_a_full_tape_leaves_no_broken_objects(function: Any) -> None:
    """Numpy's loops over objects are stopped at every operation; no symbol loses a reference that something holds."""
    for limit in range(25):
        tape = Tape(limit)
        symbols = tape.inputs("x", (4,))
        with contextlib.suppress(UntraceableError):
            function(symbols)
        kept = [*symbols.ravel(), *tape.operations.values()]
        operands = collections.Counter(id(o) for s in kept for o in s.operands)
        for (
            symbol
        ) in kept:  # held by ``kept``, its array or its tape, this loop, the call of getrefcount, and operations
            assert sys.getrefcount(symbol) >= 4 + operands[id(symbol)], limit


def test_numbers_that_are_not_finite_have_numpys_values() -> None:
    for x in (0.0, -1.0, math.inf, math.nan, 2.0):
        with np.errstate(all="ignore"):
            np.testing.assert_equal(symbols._log(x), float(np.log(x)))
    assert symbols._power(1e200, 2.0) == math.inf and symbols._power(0.5, 3.0) == 0.125


def test_a_constant_among_symbols_is_computed() -> None:
    tape = Tape(10)
    mixed = np.concatenate([tape.inputs("x", (1,)), np.zeros((1, 1))], axis=-1)
    assert isinstance(np.tanh(mixed)[0, 0], Symbol) and np.exp(mixed)[0, 1] == 1.0


def _broken(task: Task, before: TeachState, after: TeachState) -> Any:
    return after.w.no_such_attribute


def _wrong_type(task: Task, before: TeachState, after: TeachState) -> Any:
    return namespace(after.w).sum(after.w, axis="0")


@pytest.mark.parametrize(("reward", "kind"), [(_broken, AttributeError), (_wrong_type, TypeError)])
def test_mistakes_in_the_formulas_are_not_hidden(reward: Any, kind: type[Exception]) -> None:
    task = dataclasses.replace(make_task(**variant("label-grid")), reward=reward)
    with pytest.raises(kind) as raised:
        program_of(task)
    assert not isinstance(raised.value, UntraceableError)


def test_tasks_on_holdout_rows_and_with_draws_use_arrays() -> None:
    for changes in ({"reward": "holdout_progress"}, {"learning_rate": [0.1, 0.2]}, {"pool_seed": [0, 1]}):
        assert program_of(make_task(**variant("label-grid", **changes))) is None
    assert program_of(make_task(**task_kwargs("PerformativeDigits"))) is None
