"""``teach-gym`` whose runs begin only when a test lets them: a script for subprocesses.

Each run of the teacher ``gated``, and with Ray every run, takes a file from the folder ``GATE`` before it begins and
waits while there is none. So a test decides how far a benchmark gets before it is killed, however fast or busy the
machine is.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from teach_gym.benchmark import ray
from teach_gym.benchmark.execute import Failure, attempt
from teach_gym.benchmark.rows import Row
from teach_gym.benchmark.suite import Run
from teach_gym.cli import main
from teach_gym.core.backend import Array
from teach_gym.core.state import Task, TeachState
from teach_gym.teachers import TEACHERS, Teacher

GATE = "GATE"


def admit(gate: Path, runs: int) -> None:
    """Let so many more runs begin."""
    gate.mkdir(exist_ok=True)
    for _ in range(runs):
        (gate / uuid.uuid4().hex).touch()


def enter(gate: Path) -> None:
    """Wait until the next run may begin."""
    while True:
        for ticket in gate.iterdir():
            try:
                ticket.unlink()
            except FileNotFoundError:  # another run took it
                continue
            return
        time.sleep(0.01)


def gated_attempt(gate: Path) -> Callable[[Run], Row | Failure]:
    """What Ray calls for a run; a function inside a function goes to its workers by value."""

    here = str(Path(__file__).parent)

    def waiting(run: Run) -> Row | Failure:
        sys.path.append(here)
        from gated import enter

        enter(gate)
        return attempt(run)

    return waiting


@dataclass
class Gated(Teacher):
    """Plain SGD, after the gate."""

    name: str = field(default="gated", init=False)

    def __call__(self, task: Task, state: TeachState) -> Array:
        if state.t[0] == 0:
            enter(Path(os.environ[GATE]))
        return task.medium.passive(state.y)


if __name__ in ("__main__", "__mp_main__"):  # this script, and the workers it spawns
    TEACHERS["gated"] = "gated:Gated"
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits it ignored
    ray.attempt = gated_attempt(Path(os.environ[GATE]))
    sys.exit(main())
