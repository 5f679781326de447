"""Watching other processes: nothing here is a limit on how long something may take, only on how long a test hangs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE = 300.0
"""Seconds after which a test gives up waiting, far more than a busy machine needs."""


def wait_for(condition: Callable[[], Any]) -> Any:
    """Wait until a condition holds and return what it gave; after ``PATIENCE`` return what it gives then."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    return condition()


def lines(path: Path) -> int:
    """Whole lines in a file that is being written."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def group_is_gone(group: int) -> bool:
    """Whether no process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False
