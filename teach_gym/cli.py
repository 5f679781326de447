"""The command line ``teach-gym``; what a command needs is imported when it runs."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional, arg

PROGRAM = "teach-gym"
DEBUG_VARIABLE = "TEACH_GYM_TRACEBACK"

DataDir = Annotated[Path | None, arg(help="Data folder (default: TEACH_GYM_DATA, else the user's cache folder).")]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Text columns, aligned."""
    widths = [max(len(line[i]) for line in (header, *rows)) for i in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (header, ["-" * width for width in widths], *rows)
    )


def _set_data_dir(folder: Path | None) -> None:
    """Set the data folder for this process and the workers it starts."""
    from teach_gym.data.datasets import DATA_VARIABLE

    if folder is not None:
        os.environ[DATA_VARIABLE] = str(folder.expanduser())


def list_(*, spaces: bool = False, data_dir: DataDir = None) -> int:
    """List the registered tasks, the teachers and the suites.

    Args:
        spaces: Also build every task and show the shapes of its action and observation spaces (takes seconds).
        data_dir: Data folder.
    """
    import inspect

    from teach_gym.benchmark.suite import SUITES
    from teach_gym.core.spec import TaskSpec
    from teach_gym.registration import NEURAL_TASKS, TASKS, env_id, task_kwargs
    from teach_gym.teachers import TEACHERS, teacher_class

    _set_data_dir(data_dir)
    header = ["Task", "Medium", "Learner", "Pool", "Budget", "Actions"] + ["Observation"] * spaces
    tasks = []
    for name in TASKS:
        spec = TaskSpec(**task_kwargs(name))
        shapes = _spaces(spec) if spaces else ["Box" if spec.continuous else "Discrete"]
        tasks.append([env_id(name), spec.medium, spec.learner, spec.pool, str(spec.budget), *shapes])
    for name, (_, given) in NEURAL_TASKS.items():
        row = [env_id(name), "mixup", "CNN", given["pool"], f"{given['epochs']} epochs", "Discrete"]
        tasks.append(row + ["Box(3,)"] * spaces)
    print(_table(header, tasks), end="\n\n")
    teachers = [[name, (inspect.getdoc(teacher_class(name)) or "").split("\n")[0]] for name in TEACHERS]
    print(_table(["Teacher", "What it does"], teachers), end="\n\n")
    suites = [[suite.name, str(len(suite.tasks)), str(len(suite.seeds))] for suite in SUITES.values()]
    print(_table(["Suite", "Tasks", "Seeds"], suites))
    return 0


def _spaces(spec: object) -> list[str]:
    from teach_gym.core.build import build
    from teach_gym.core.spec import TaskSpec
    from teach_gym.envs.base import action_space, observation_space
    from teach_gym.errors import DataNotFoundError

    assert isinstance(spec, TaskSpec)
    try:
        task = build(spec)
    except DataNotFoundError:
        return ["data missing", "data missing"]
    action, observation = action_space(task), observation_space(task)
    return [f"Box{action.shape}" if spec.continuous else str(action), f"Box{observation.shape}"]


def bench(
    suite: Positional[str] = "default",
    /,
    *,
    tasks: tuple[str, ...] = (),
    teachers: tuple[str, ...] = (),
    seeds: str | None = None,
    executor: str = "process",
    workers: int | None = None,
    out: Path | None = None,
    score: str = "final",
    html: bool = True,
    data_dir: DataDir = None,
) -> int:
    """Run a suite and write its report; killed and started again, it goes on where it was.

    Args:
        suite: Name of the suite: default, full or smoke.
        tasks: Tasks instead of the suite's, as LabelMoons or LabelMoons:budget=100,learning_rate=0.3.
        teachers: Teachers instead of the suite's, as greedy or last:constraint=soft,radius=1.0.
        seeds: A number of seeds such as 20, or a list such as 3,4,7 (default: the suite's).
        executor: How runs are carried out: process, serial or ray (needs the extra ray; RAY_ADDRESS names a cluster).
        workers: Number of processes or Ray tasks at a time (default: one per CPU).
        out: Folder of the results and the report (default: runs/SUITE).
        score: What the teaching score is taken of: final (distance) or auc (of the log-distance curve).
        html: Write the HTML report, which needs matplotlib.
        data_dir: Data folder.
    """
    from teach_gym.benchmark.charts import load_matplotlib
    from teach_gym.benchmark.run import run_suite
    from teach_gym.benchmark.score import KINDS
    from teach_gym.benchmark.suite import SUITES, expand, parse_seeds
    from teach_gym.errors import lookup_name

    chosen = lookup_name("suite", suite, SUITES)
    lookup_name("score kind", score, KINDS)
    if html:
        load_matplotlib()
    _set_data_dir(data_dir)
    if tasks:
        chosen = dataclasses.replace(chosen, tasks=tasks)
    if teachers:
        chosen = dataclasses.replace(chosen, teachers=teachers, extra={})
    if seeds is not None:
        chosen = dataclasses.replace(chosen, seeds=parse_seeds(seeds))
    folder = Path("runs", suite) if out is None else out
    runs = expand(chosen, named=teachers)
    _say(f"{len(runs)} runs of {len({run.task for run in runs})} tasks; results go to {folder / 'runs.jsonl'}")
    rows = run_suite(runs, folder / "runs.jsonl", executor=executor, workers=workers)
    _write_report(rows, folder, score, html)
    return 0


def _write_report(rows: Sequence[dict[str, object]], folder: Path, score: str, html: bool) -> None:
    """Write the report, print its Markdown table and where it is."""
    from teach_gym.benchmark.report import write_report

    paths = write_report(rows, folder, command=shlex.join([PROGRAM, *sys.argv[1:]]), kind=score, html=html)
    print(paths["md"].read_text(encoding="utf-8"))
    diverged = sum(not row["finished"] for row in rows)
    if diverged:
        _say(f"{diverged} of {len(rows)} runs diverged; they count as an infinite distance")
    print(f"report: {paths['html' if html else 'md'].resolve()}")


def report(results: Positional[Path], /, *, out: Path | None = None, score: str = "final", html: bool = True) -> int:
    """Write the report of all runs in a results file.

    Args:
        results: A runs.jsonl that bench wrote; several rows of the same run count once, the latest.
        out: Folder of the report (default: that of the results file).
        score: What the teaching score is taken of: final (distance) or auc (of the log-distance curve).
        html: Write the HTML report, which needs matplotlib.
    """
    from teach_gym.benchmark.store import read_rows

    _write_report(read_rows(results), results.parent if out is None else out, score, html)
    return 0


def render(
    task: Positional[str],
    teacher: Positional[str] = "greedy",
    /,
    *,
    seed: int = 0,
    out: Path | None = None,
    steps: int | None = None,
    fps: float = 10.0,
    data_dir: DataDir = None,
) -> int:
    """Draw a teacher at work as an animated GIF, or its last frame as a PNG.

    Args:
        task: A task, as LabelMoons or LabelMoons:budget=100.
        teacher: A teacher, as greedy or last:constraint=soft.
        seed: Seed of the episode.
        out: The file, .gif or .png (default: TASK-TEACHER.gif).
        steps: Stop after so many steps.
        fps: Frames a second.
        data_dir: Data folder.
    """
    from teach_gym.benchmark.suite import cached_task, parse_teacher, task_spec
    from teach_gym.render.frame import animate, save_animation
    from teach_gym.teachers import lesson, make_teacher

    _set_data_dir(data_dir)
    name, options = parse_teacher(teacher)
    label, spec = task_spec(task)
    path = Path(f"{label.partition(':')[0]}-{name}.gif") if out is None else out
    built = cached_task(spec)
    frames = animate(built, *lesson(built, make_teacher(name, **options), [seed], steps=steps))
    save_animation(frames, path, fps)
    print(f"{len(frames)} frames: {path.resolve()}")
    return 0


def reproduce(
    name: Positional[str] = "",
    /,
    *,
    seeds: str | None = None,
    out: Path | None = None,
    scale: str = "laptop",
    panels: tuple[str, ...] = (),
    workers: int | None = None,
    show: Annotated[bool, arg(name="list")] = False,
    data_dir: DataDir = None,
) -> int:
    """Run the experiments of the papers and judge their claims; killed and started again, it goes on where it was.

    Args:
        name: Name of the experiment, or all (without a name, the experiments are listed).
        seeds: A number of seeds such as 20, or a list such as 3,4,7 (default: the scale's).
        out: Folder with a folder for each experiment (default: runs/papers-SCALE).
        scale: Size of the experiment: paper, laptop or smoke.
        panels: Only these panels; a part of a name, such as MNIST, stands for all that have it (default: all).
        workers: Processes that work at a time (default: one per CPU; experiments that measure seconds take one).
        show: List the experiments.
        data_dir: Data folder.
    """
    from teach_gym.benchmark.suite import parse_seeds
    from teach_gym.papers import command

    if show or not name:
        print(_table(["Experiment", "Source", "Title", "Scales"], command.listing()))
        return 0
    _set_data_dir(data_dir)
    folder = Path(f"runs/papers-{scale}") if out is None else out
    chosen = None if seeds is None else parse_seeds(seeds)
    return command.reproduce(name, folder, _say, scale=scale, seeds=chosen, panels=panels, workers=workers)


def data(name: Positional[str], /, *, check: bool = False, data_dir: DataDir = None) -> int:
    """Fetch a data set into the data folder, or check the one that is there.

    Args:
        name: The data set: mnist.
        check: Only compare the files with their checksums; exit code 1 if one is missing or damaged.
        data_dir: Data folder.
    """
    from teach_gym.data import datasets

    _set_data_dir(data_dir)
    problems = datasets.check(name)
    if problems and not check:
        datasets.download(name)
        problems = datasets.check(name)
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{name}: all files are right in {datasets.data_dir().resolve()}")
    return 1 if problems else 0


def doctor(*, data_dir: DataDir = None) -> int:
    """Show versions, extras, data and devices: what to send with a bug report.

    Args:
        data_dir: Data folder.
    """
    from teach_gym.doctor import findings

    _set_data_dir(data_dir)
    for topic, rows in findings().items():
        print(f"{topic}\n{_table(*rows)}\n")
    return 0


COMMANDS = {
    "list": list_,
    "bench": bench,
    "report": report,
    "render": render,
    "reproduce": reproduce,
    "data": data,
    "doctor": doctor,
}


def _say(text: str) -> None:
    """A line to the standard error stream, so that the standard output holds results only."""
    print(f"{PROGRAM}: {text}", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 a check failed, 2 an error of the user's, 130 Ctrl-C.

    Args:
        argv: the arguments (default: those of the process).
    """
    from teach_gym.versions import __version__

    try:
        code: int = tyro.extras.subcommand_cli_from_dict(
            COMMANDS,  # type: ignore[arg-type]  # tyro wants one return type variable
            prog=PROGRAM,
            description=f"teach_gym {__version__}: iterative machine teaching as Gymnasium environments.",
            args=argv,
        )
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        _say("interrupted; benchmarks and experiments go on where they were when started again")
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, TypeError, OSError, ImportError, ArithmeticError, RuntimeError) as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        _say("error: " + " ".join(str(error).split()))
        return 2
