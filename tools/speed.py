"""Speed of the environments and oracles, as ratios measured in one run.

Environments are compared with CartPole, and the teacher that scans the pool with one matrix product. Every figure is a
median over rounds in which the contestants take turns, so that changes in the machine's speed affect all of them.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from teach_gym.compiled import native
from teach_gym.core.build import make_task
from teach_gym.core.layout import layout
from teach_gym.core.randomness import Streams
from teach_gym.core.state import Task, TeachState
from teach_gym.core.task import reset
from teach_gym.envs.fuse import LIMIT, record, trace
from teach_gym.envs.stepper import NATIVE_LIMIT, ArrayStepper, MachineStepper, ProgramStepper, Stepper
from teach_gym.errors import DataNotFoundError, positive
from teach_gym.files import check_target, write_text
from teach_gym.registration import TASKS, env_id, task_kwargs
from teach_gym.teachers import make_teacher
from tools.speed_report import WIDTHS, Figure, to_markdown

VECTOR_TASKS = ("LabelMoons", "LabelMNIST")
SINGLE_TASKS = ("LabelMoons", "LabelMomentum", "PerturbMoons", "LabelMNIST", "LabelDigits", "SelectDigits")


MACHINE, PROGRAM, ARRAYS = "machine code", "program", "arrays"
"""The ways to step a single run."""
_TRACED = 20_000
"""Maximum number of operations of a step that is compiled for the comparison of both ways."""


clock = time.perf_counter
"""Returns the time in seconds."""


def race(contestants: Sequence[Callable[[], Any]], calls: int, rounds: int) -> list[float]:
    """Median microseconds per call of each contestant, taking turns."""
    times: list[list[float]] = [[] for _ in contestants]
    for call in contestants:
        call()
    for _ in range(rounds):
        for call, kept in zip(contestants, times, strict=True):
            start = clock()
            for _ in range(calls):
                call()
            kept.append((clock() - start) / calls * 1e6)
    return [statistics.median(kept) for kept in times]


def _vector_stepper(env: gym.vector.VectorEnv[Any, Any, Any]) -> Callable[[], Any]:
    """A call that takes one step with the next of a list of random actions."""
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    n = int(env.single_action_space.n)  # type: ignore[attr-defined]
    actions = [rng.integers(0, n, env.num_envs) for _ in range(16)]
    turn = iter(range(10**12))
    return lambda: env.step(actions[next(turn) & 15])


def _single_stepper(env: gym.Env[Any, Any]) -> Callable[[], Any]:
    """A call that takes one step and resets the environment when the episode is over."""
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    actions = [int(a) for a in rng.integers(0, 2, 256)]
    turn = iter(range(10**12))

    def step() -> None:
        if env.step(actions[next(turn) & 255])[2]:
            env.reset()

    return step


def available(names: Sequence[str]) -> list[str]:
    """The tasks whose data is available."""
    found = []
    for name in names:
        try:
            make_task(name)
        except DataNotFoundError:
            continue
        found.append(name)
    return found


def vector_figures(widths: Sequence[int], rounds: int) -> list[Figure]:
    """Vector environments compared with CartPole's at the same width; times include resets."""
    figures = []
    for width in widths:
        group = f"vector environment, {width:,} sub-environments"
        cart = gym.make_vec("CartPole-v1", num_envs=width, vectorization_mode="vector_entry_point")
        contestants = {"CartPole-v1": cart}
        for name in available(VECTOR_TASKS):
            for dtype in ("float64", "float32"):
                env = gym.make_vec(env_id(name), num_envs=width, dtype=dtype)
                contestants[f"{name} ({dtype})"] = env
                env = gym.make_vec(env_id(name), num_envs=width, dtype=dtype, compiled=False)
                contestants[f"{name} ({dtype}, arrays)"] = env
        calls = max(61, min(1220, 4_000_000 // (40 * width)))
        times = race([_vector_stepper(e) for e in contestants.values()], calls, rounds)
        for what, micro in zip(contestants, times, strict=True):
            ratio = None if what == "CartPole-v1" else times[0] / micro
            figures.append(Figure(group, what, micro, f"{width / micro:.2f} M steps/s", ratio))
    return figures


def black_box_figures(rounds: int, names: Sequence[str] = (), width: int = 1024) -> list[Figure]:
    """Vector environments that measure losses on hold-out rows, with compiled measurements and by array calls alone."""
    figures = []
    for name in available(names or [n for n, kwargs in TASKS.items() if kwargs.get("observation") == "black_box"]):
        envs = [gym.make_vec(env_id(name), num_envs=width, compiled=compiled) for compiled in (False, None)]
        arrays, micro = race([_vector_stepper(env) for env in envs], 3, rounds)
        group, rate = f"black-box tasks, {width:,} sub-environments", f"{1e3 * width / micro:.0f} k steps/s"
        figures.append(Figure(group, name, micro, f"{rate}, arrays {1e3 * width / arrays:.0f} k", arrays / micro))
    return figures


def single_figures(rounds: int) -> list[Figure]:
    """Single environments from ``gym.make``, with its default wrappers, compared with CartPole."""
    names = available(SINGLE_TASKS)
    envs = [gym.make("CartPole-v1"), *(gym.make(env_id(name)) for name in names)]
    times = race([_single_stepper(e) for e in envs], 3000, rounds)
    return [
        Figure("single environment", what, t, f"{1e3 / t:.0f} k steps/s", times[0] / t if i else None)
        for i, (what, t) in enumerate(zip(["CartPole-v1", *names], times, strict=True))
    ]


def way_figures(rounds: int, names: Sequence[str] = tuple(TASKS), calls: int = 200) -> list[Figure]:
    """Single steps in all ways, taking turns, for every task whose step can be recorded."""
    figures = []
    for name in available(names):
        task = make_task(**task_kwargs(name))
        blocks = layout(task)
        program, recorded = trace(task, blocks, _TRACED), record(task, blocks, _TRACED)
        if program is None or recorded is None:
            continue
        ways: dict[str, Stepper] = {
            PROGRAM: ProgramStepper(task, blocks, program),
            ARRAYS: ArrayStepper(task, blocks),
        }
        if native.installed():
            ways[MACHINE] = MachineStepper(task, recorded)
        micros = dict(zip(ways, race([_run_stepper(task, way) for way in ways.values()], calls, rounds), strict=True))
        taken = PROGRAM if program.operations <= LIMIT else ARRAYS
        if MACHINE in ways and program.operations <= NATIVE_LIMIT:
            taken = MACHINE
        what = f"{name}: {program.operations:,} operations, {taken}"
        rate = ", ".join(f"{way} {micro:.1f} us" for way, micro in micros.items() if way != taken)
        group = "single run: the way that is taken against array calls"
        figures.append(Figure(group, what, micros[taken], rate, micros[ARRAYS] / micros[taken]))
    return figures


def _run_stepper(task: Task, stepper: Stepper) -> Callable[[], Any]:
    """A call that takes one step with the next of a list of random actions and starts a new episode after the last."""
    first = reset(task, Streams.from_seeds([0]))
    stepper.start(first)
    actions = [int(a) for a in np.random.default_rng(0).integers(0, task.n_actions, 256)]
    turn = itertools.count()

    def step() -> None:
        if stepper.step(actions[next(turn) & 255])[2]:
            stepper.start(first)

    return step


def _start(task: Task, n: int) -> TeachState:
    return reset(task, Streams.from_seeds(range(n)))


def oracle_figures(rounds: int) -> list[Figure]:
    """IMT compared with the one matrix product it needs, and closed-form LAST."""
    figures = []
    for name in available(["LabelDigits", "LabelMNIST"]):
        task = make_task(**{**task_kwargs(name), "dtype": "float64"})
        for n in (1, 64):
            figures += _imt_figures(name, task, n, rounds)
        for constraint, n in itertools.product(("none", "soft", "one_hot"), (1, 1024)):
            last = functools.partial(make_teacher("last", constraint=constraint), task, _start(task, n))
            (micro,) = race([last], 300, rounds)
            what = f"LAST ({constraint}), {n:,} learner{'s' if n > 1 else ''}"
            figures.append(Figure(f"closed-form LAST ({name})", what, micro, f"{micro / n:.2f} us a learner", None))
    return figures


def _imt_figures(name: str, task: Task, n: int, rounds: int) -> list[Figure]:
    """IMT for n learners compared with the product of the pool with 2 n columns, in two layouts of the pool."""
    state = _start(task, n)
    columns = np.concatenate([state.w, state.difference]).T.copy()
    rowwise = np.ascontiguousarray(task.x)
    imt = functools.partial(make_teacher("imt"), task, state)
    times = race([lambda: columns.T @ task.x.T, lambda: rowwise @ columns, imt], 300, rounds)
    group = f"IMT over {len(task.x):,} rows of {task.d} features ({name}), {n} learner{'s' if n > 1 else ''}"
    return [
        Figure(group, "the matrix product it needs (pool stored by columns, as here)", times[0], "", None),
        Figure(group, "the same product (pool stored by rows)", times[1], "", times[1] / times[0]),
        Figure(group, "IMT", times[2], f"{times[2] / n:.1f} us a learner", times[2] / times[0]),
    ]


def measure(out: str | Path | None = None, *, rounds: int = 9, quick: bool = False) -> str:
    """Measure, and write the report if requested; learned teachers are left out if torch is not installed.

    Args:
        out: the Markdown file to write, or None.
        rounds: rounds per figure.
        quick: leave out the widest vector environments and take three rounds.

    Returns:
        The report.

    Raises:
        ValueError: a number of rounds that is not positive.
        OSError: ``out`` cannot be written.
    """
    from tools import speed_frames

    positive("rounds", rounds, integer=True)
    if out is not None:
        check_target(out)
    widths = WIDTHS[:2] if quick else WIDTHS
    rounds = 3 if quick else rounds
    figures = [*vector_figures(widths, rounds), *single_figures(rounds), *way_figures(rounds)]
    figures += [*black_box_figures(rounds), *oracle_figures(rounds)]
    figures += [*speed_frames.frame_figures(rounds), *speed_frames.start_figures(rounds)]
    if importlib.util.find_spec("torch") is not None:
        from tools import speed_learned

        figures += speed_learned.figures(rounds)
    text = to_markdown(figures)
    if out is not None:
        write_text(out, text)
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure on this machine and print the report."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, help="Markdown file to write the report to")
    parser.add_argument("--rounds", type=int, default=9, help="rounds per figure (default: 9)")
    parser.add_argument("--quick", action="store_true", help="three rounds, and no very wide vector environments")
    given = parser.parse_args(arguments)
    try:
        print(measure(given.out, rounds=given.rounds, quick=given.quick))
    except (ValueError, OSError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
