"""Commands in processes of their own, struck by a fault at a chosen moment.

A command runs in a fork of this process, which has loaded everything already, in a session of its own. A fault strikes
at the n-th event: a call that changes files, before or after it is carried out. So every window between two changes
of the disk can be hit, however fast or busy the machine is. Others strike after a number of seconds. For Ctrl-C, what a
process tells its workers through a pipe is an event, too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import signal
import stat
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EVENTS = ("write", "replace", "fsync", "unlink", "ftruncate", "mkdir", "rmdir", "chmod")
"""Functions of ``os`` that change files."""
PATIENCE = 600.0


@dataclass(frozen=True)
class Fault:
    """What happens to a command.

    Attributes:
        kind: ``none``; ``kill`` (SIGKILL to itself), ``group`` (to its whole session), ``worker`` (to one of its worker
            processes), ``interrupt`` (Ctrl-C to the session), ``full`` (the disk is full from then on), ``limit`` (no
            file may grow above so many bytes).
        event: the number of the event at which it strikes (0: at no event).
        after: whether it strikes after the event rather than before.
        seconds: or after so many seconds.
        size: the limit in bytes.
        clock: whether the clock goes back at every look.
        mute: whether standard error lies on a full disk.
    """

    kind: str
    event: int = 0
    after: bool = False
    seconds: float = 0.0
    size: int = 0
    clock: bool = False
    mute: bool = False


@dataclass
class Outcome:
    """How a command ended.

    Attributes:
        code: its exit code, negative for a signal.
        events: events so far, where it counted them to the end.
        error: what it wrote to standard output and standard error.
        survivors: whether processes of its session were left.
    """

    code: int
    events: int
    error: str
    survivors: bool


def run(words: list[str], fault: Fault, counter: Path) -> Outcome:
    """Run a command with a fault, and wait until it and its workers are gone; it counts its events into a file."""
    counter.unlink(missing_ok=True)
    sys.stdout.flush()
    reader, writer = os.pipe()  # which has room on every disk
    child = os.fork()
    if child == 0:
        os.close(reader)
        _live(words, fault, writer, counter)  # does not return
    os.close(writer)
    said: list[bytes] = []
    listener = threading.Thread(target=_listen, args=(reader, said))
    listener.start()
    try:
        if fault.kind in ("worker", "interrupt", "group", "kill") and fault.seconds:
            time.sleep(fault.seconds)
            _strike(fault.kind, child)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        end = time.monotonic() + PATIENCE
        while _alive(child) and time.monotonic() < end:
            time.sleep(0.02)
        survivors = _alive(child)
    finally:  # also if the campaign itself is stopped
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        listener.join()
    events = int(counter.read_text()) if counter.exists() else 0
    return Outcome(code, events, b"".join(said).decode(errors="replace"), survivors)


def _listen(reader: int, said: list[bytes]) -> None:
    """Take down what comes out of a pipe until all its writers are gone."""
    with os.fdopen(reader, "rb") as file:
        said.append(file.read())


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _strike(kind: str, child: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        if kind == "worker":
            workers = _children(child)
            if workers:
                os.kill(random.choice(workers), signal.SIGKILL)
        elif kind == "interrupt":
            os.killpg(child, signal.SIGINT)
        elif kind == "group":
            os.killpg(child, signal.SIGKILL)
        else:
            os.kill(child, signal.SIGKILL)


def _children(parent: int) -> list[int]:
    """Worker processes of a process (Linux), without the one that looks after shared memory."""
    try:
        found = [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
        return [pid for pid in found if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    except OSError:
        return []


def _live(words: list[str], fault: Fault, out: int, counter: Path) -> None:
    """The life of the forked process."""
    code = 1
    try:
        os.setsid()
        os.dup2(out, 1)
        os.dup2(os.open("/dev/full", os.O_WRONLY) if fault.mute else out, 2)
        os.close(out)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, closefd=False) for number in (1, 2))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        events = _hooked(fault)
        if fault.clock:
            _set_back()
        if fault.kind == "limit":
            import resource

            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (fault.size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        from teach_gym.cli import main

        code = main(words)
        if fault.kind == "none":
            counter.write_text(str(events[0]))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        os._exit(code)


def _hooked(fault: Fault) -> list[int]:
    """Count the events of this process from now on, and let the fault strike; returns the counter."""
    count = [0]

    def hook(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def hooked(*args: Any, **kwargs: Any) -> Any:
            on_disk = name != "write" or stat.S_ISREG(os.fstat(args[0]).st_mode)
            if not on_disk and (fault.kind != "interrupt" or args[0] in (1, 2)):
                return call(*args, **kwargs)
            count[0] += 1
            now = fault.event and count[0] == fault.event
            if fault.kind == "full" and fault.event and count[0] >= fault.event and name in ("write", "fsync", "mkdir"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *([args[0]] if name == "mkdir" else []))
            if now and not fault.after:
                _strike_here(fault.kind)
            done = call(*args, **kwargs)
            if now and fault.after:
                _strike_here(fault.kind)
            return done

        return hooked

    for name in EVENTS:
        setattr(os, name, hook(name, getattr(os, name)))
    return count


def _strike_here(kind: str) -> None:
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "group":
        os.killpg(0, signal.SIGKILL)
    elif kind == "interrupt":
        os.killpg(0, signal.SIGINT)


def _set_back() -> None:
    """Let the clock go back by a day at every look."""
    real, looks = time.time, [0]

    def earlier() -> float:
        looks[0] += 1
        return real() - 86_400.0 * looks[0]

    time.time = earlier
