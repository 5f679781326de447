"""Helpers of the tests that watch and kill processes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any


def descendants(ancestor: int, title: str) -> list[int]:
    """The processes below a process whose command line holds ``title``."""
    table = subprocess.run(["ps", "-wweo", "pid,ppid,stat,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 3) for line in table.splitlines()[1:]]
    family, grown = {ancestor}, True
    while grown:
        more = {int(pid) for pid, parent, *_ in rows if int(parent) in family} - family
        family, grown = family | more, bool(more)
    return [
        int(pid) for pid, _, stat, args in rows if int(pid) in family - {ancestor} and title in args and "Z" not in stat
    ]


def wait_for(condition: Callable[[], Any], seconds: float) -> Any:
    """What a condition gives once it is true, or after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    return condition()
