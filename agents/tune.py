"""A sweep over settings and seeds of a training, run by Ray Tune.

    python agents/tune.py reinforce:steps=500_000 --grid "learning_rate=[3e-3,1e-2],gamma=[0.8,0.95]" --seeds 5
    python agents/tune.py ppo:steps=100_000 --task SelectMoons --grid "gamma=[0.5,0.9]" --seeds 5

The program is an algorithm of `teach-gym train`, with its arguments and hyper-parameters, or your own script with
``Args`` and ``train``. ``name:argument=value,...`` fixes arguments for all trials, and ``--grid`` lists those that
vary. Every setting is trained with every seed, each trial has its own folder, and the table gives the mean over all
seeds with its interval. Run the same command again to resume a sweep; you may add seeds or values. See docs/ray.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from teach_gym.benchmark.summary import MISSING, number
from teach_gym.calls import parse_call
from teach_gym.files import write_text
from teach_gym.markdown import markdown_table
from teach_gym.training.ray_sweep import SweepError, run_sweep
from teach_gym.training.subjects import subject_of
from teach_gym.training.sweep import Line, Sweep, table


@dataclass
class Args:
    """Sweep over settings and seeds of a training."""

    program: tyro.conf.Positional[str]
    """An algorithm or a training script's path, with arguments for all trials: ppo:steps=100_000,num_envs=128."""
    task: str = "LabelMoons"
    """A registered task, optionally with changes: LabelMoons:budget=40,learning_rate=0.5."""
    grid: str = ""
    """The arguments that vary, with their values: learning_rate=[3e-3,1e-2],credit=['to-go','episode']."""
    seeds: int = 5
    """Training seeds 0, 1, ... for every setting."""
    metric: str = "score"
    """The result that the table shows."""
    workers: int = 2
    """Number of parallel trials."""
    cpus: float = 1
    """CPUs per trial."""
    gpus: float = 0
    """GPUs per trial; fractions are allowed."""
    out: Path | None = None
    """The sweep's folder (default: runs/tune/<program>-<task>)."""


def sweep_of(args: Args) -> Sweep:
    """The sweep that the arguments describe.

    Raises:
        ValueError: an argument that cannot be parsed, or a number of seeds below 1.
    """
    name, fixed = parse_call(args.program, "program")
    _, grid = parse_call(f"grid:{args.grid}" if args.grid else "grid", "grid")
    if args.seeds < 1:
        raise ValueError(f"seeds must be >= 1, got {args.seeds!r}")
    return Sweep(name, subject_of(args.task).name, tuple(range(args.seeds)), fixed, grid)


def to_markdown(lines: Sequence[Line], metric: str) -> str:
    """The table of a sweep: mean over training seeds with its interval."""
    rows = []
    for line in lines:
        value, low, high = line.estimate
        interval = MISSING if low != low else f"[{number(low)}, {number(high)}]"
        rows.append((line.setting, line.seeds, number(value), interval))
    return markdown_table(("Setting", "Seeds", f"Mean {metric}", "95 % interval"), rows) + "\n"


def main() -> int:
    """Run the sweep; the exit code is 1 if trials failed, 2 after a user error and 130 after Ctrl-C."""
    args = tyro.cli(Args)
    try:
        sweep = sweep_of(args)
        out = args.out or Path("runs/tune") / f"{sweep.name}-{sweep.task.replace(':', '-')}"
        code = 0
        try:
            run_sweep(sweep, out, workers=args.workers, cpus=args.cpus, gpus=args.gpus)
        except SweepError as error:
            print(f"tune: {error}", file=sys.stderr)
            code = 1
        lines = list(table(sweep, out, args.metric))
        write_text(out / "table.md", to_markdown(lines, args.metric))
        write_text(out / "table.json", json.dumps([line._asdict() for line in lines], indent=1) + "\n")
        print(to_markdown(lines, args.metric))
        return code
    except KeyboardInterrupt:
        print("tune: interrupted; run the same command again to resume the sweep", file=sys.stderr)
        return 130
    except (ValueError, TypeError, OSError, ImportError) as error:
        print(f"tune: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
