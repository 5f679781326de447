"""The commands that run the benchmark and report on it: ``bench`` and ``report``."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tyro.conf import Positional

from teach_gym.cli.output import PROGRAM, DataDir, say, set_data_dir
from teach_gym.messages import show


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
    lessons: bool = True,
    data_dir: DataDir = None,
) -> int:
    """Run a suite and write its report; started again after an interruption, it resumes.

    Args:
        suite: Name of the suite: default, full or smoke.
        tasks: Tasks instead of the suite's, such as LabelMoons or LabelMoons:budget=100,learning_rate=0.3.
        teachers: Teachers instead of the suite's, such as greedy or last:constraint=soft,radius=1.0.
        seeds: A number of seeds such as 20, or a list such as 3,4,7 (default: the suite's).
        executor: How runs are carried out: process, serial or ray (needs the extra ray; RAY_ADDRESS names a cluster).
        workers: Number of processes or Ray tasks at a time (default: one per CPU).
        out: Folder of the results and the report (default: runs/SUITE).
        score: What the teaching score is taken of: final (distance) or auc (of the log-distance curve).
        html: Write the HTML report too.
        lessons: Put a lesson of each task into the HTML report.
        data_dir: Data folder.
    """
    from teach_gym.benchmark.run import EXECUTORS, run_suite
    from teach_gym.benchmark.score import KINDS
    from teach_gym.benchmark.suite import SUITES, expand, parse_seeds
    from teach_gym.errors import lookup_name
    from teach_gym.files import make_folder

    chosen = lookup_name("suite", suite, SUITES)
    lookup_name("score kind", score, KINDS)
    lookup_name("executor", executor, EXECUTORS)
    set_data_dir(data_dir)
    if tasks:
        chosen = dataclasses.replace(chosen, tasks=tasks)
    if teachers:
        chosen = dataclasses.replace(chosen, teachers=teachers, extra={})
    if seeds is not None:
        chosen = dataclasses.replace(chosen, seeds=parse_seeds(seeds))
    runs = expand(chosen, named=teachers)
    folder = make_folder(Path("runs", suite) if out is None else out)
    say(f"{len(runs)} runs of {len({run.task for run in runs})} tasks; results go to {folder / 'runs.jsonl'}")
    rows = run_suite(runs, folder / "runs.jsonl", executor=executor, workers=workers)
    _write_report(rows, folder, score, html, lessons)
    return 0


def _write_report(rows: Sequence[dict[str, object]], folder: Path, score: str, html: bool, lessons: bool) -> None:
    """Write the report, print its Markdown table and where it is."""
    from teach_gym.benchmark.report import write_report

    paths = write_report(
        rows, folder, command=shlex.join([PROGRAM, *sys.argv[1:]]), kind=score, html=html, lessons=lessons
    )
    show(paths["md"].read_text(encoding="utf-8"))
    diverged = sum(not row["finished"] for row in rows)
    if diverged:
        say(f"{diverged} of {len(rows)} runs diverged; they count as an infinite distance")
    show(f"report: {paths['html' if html else 'md'].resolve()}")


def report(
    results: Positional[Path],
    /,
    *,
    out: Path | None = None,
    score: str = "final",
    html: bool = True,
    lessons: bool = True,
    data_dir: DataDir = None,
) -> int:
    """Write the report of all runs in a results file.

    Args:
        results: A runs.jsonl that bench wrote; several rows of the same run count once, the latest.
        out: Folder of the report (default: that of the results file).
        score: What the teaching score is taken of: final (distance) or auc (of the log-distance curve).
        html: Write the HTML report too.
        lessons: Put a lesson of each task into the HTML report.
        data_dir: Data folder.
    """
    from teach_gym.benchmark.store import read_rows

    set_data_dir(data_dir)
    rows = read_rows(results)
    _write_report(rows, results.parent if out is None else out, score, html, lessons)
    return 0
