"""``teach-gym`` with one more teacher, whose runs begin only when a test lets them: a script for subprocesses.

Each run of the teacher ``gated`` takes a file from the folder ``GATE`` before it begins and waits while there is none.
So a test decides how far a benchmark gets before it is killed, however fast or busy the machine is.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from teach_gym.cli import main
from teach_gym.core.backend import Array
from teach_gym.core.state import Task, TeachState
from teach_gym.teachers import TEACHERS, Teacher

GATE = "GATE"


def admit(gate: Path, runs: int) -> None:
    """Let so many more runs begin."""
    gate.mkdir(exist_ok=True)
    for _ in range(runs):
        (gate / f"{time.time_ns()}-{len(list(gate.iterdir()))}").touch()


def _enter(gate: Path) -> bool:
    for ticket in gate.iterdir():
        try:
            ticket.unlink()
        except FileNotFoundError:  # another run took it
            continue
        return True
    return False


@dataclass
class Gated(Teacher):
    """Plain SGD, after the gate."""

    name: str = field(default="gated", init=False)

    def __call__(self, task: Task, state: TeachState) -> Array:
        while state.t[0] == 0 and not _enter(Path(os.environ[GATE])):
            time.sleep(0.01)
        return task.medium.passive(state.y)


if __name__ in ("__main__", "__mp_main__"):  # this script, and the workers it spawns
    TEACHERS["gated"] = "gated:Gated"
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits it ignored
    sys.exit(main())
