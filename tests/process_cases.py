"""Helpers of tests that run scripts or watch and kill processes. No time here says how long something may take."""

from __future__ import annotations

import contextlib
import io
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 600.0
"""Seconds after which a test gives up waiting: far more than anything needs, also on a busy machine."""


def wait_for(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """What a condition gives once it is true, or after so many seconds."""
    end = time.monotonic() + seconds
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


def without(package: str) -> str:
    """Python code after which a package cannot be imported, as if it were not installed."""
    return (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] == {package!r}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Missing())\n"
    )


def run_here(path: Path, arguments: Sequence[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a script prints that runs in this process, which has loaded torch already, with a working folder."""
    printed = io.StringIO()
    with monkeypatch.context() as changed, contextlib.redirect_stdout(printed):
        changed.chdir(folder)
        changed.setattr(sys, "argv", [str(path), *arguments])
        changed.syspath_prepend(str(path.parent))
        runpy.run_path(str(path), run_name="__main__")
    return printed.getvalue()


@contextlib.contextmanager
def file_limit(size: int) -> Iterator[None]:
    """Let no file of this process grow above so many bytes, as if the disk were full then."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
