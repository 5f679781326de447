"""Progress of long work on standard error: a bar on a terminal, a line every so often elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol

from teach_gym.messages import remark

INTERVAL = 20.0
"""Seconds between two lines where standard error is not a terminal, such as a pipe or a log file."""


class Tally(Protocol):
    """Counts finished pieces of work."""

    def step(self, what: str) -> None:
        """Count one more.

        Args:
            what: a few words on it.
        """


def track(total: int, done: int, *, unit: str, label: str = "", shown: bool = True) -> AbstractContextManager[Tally]:
    """Show the progress of the work inside a ``with`` statement.

    Args:
        total: number of pieces of work.
        done: how many of them were done before.
        unit: what a piece of work is called, such as ``run``.
        label: the name of the whole.
        shown: whether to show anything.
    """
    if not shown or sys.stderr.isatty():
        return _Bar(total, done, unit, label, shown)
    return Lines(total, done, unit, label)


class _Bar:
    """A progress bar on a terminal."""

    def __init__(self, total: int, done: int, unit: str, label: str, shown: bool) -> None:
        from tqdm import tqdm

        self._bar = tqdm(
            total=total, initial=done, unit=unit, desc=label or None, disable=not shown, dynamic_ncols=True
        )

    def step(self, what: str) -> None:
        """Count one more."""
        self._bar.set_postfix_str(what, refresh=False)
        self._bar.update()

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._bar.close()


class Lines:
    """Write a line every ``interval`` seconds, and a last one if there is news; short work writes none.

    Args:
        total: number of pieces of work.
        done: how many of them were done before.
        unit: what a piece of work is called.
        label: the name of the whole.
        interval: seconds between two lines.
        clock: tells the time in seconds.
    """

    def __init__(
        self,
        total: int,
        done: int,
        unit: str,
        label: str = "",
        *,
        interval: float = INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total, self.done, self.unit, self.label = total, done, unit, label
        self._interval, self._clock, self._began, self._last = interval, clock, clock(), ""
        self._over = threading.Event()
        self._said: int | None = None
        """How much was done when the last line was written."""
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def step(self, what: str) -> None:
        """Count one more."""
        self.done, self._last = self.done + 1, what

    def line(self) -> str:
        """The line to write now."""
        seconds = round(self._clock() - self._began)
        label, last = self.label and f"{self.label}: ", self._last and f"; last: {self._last}"
        return f"{label}{self.done} of {self.total} {self.unit}s done, {seconds} s{last}"

    def _watch(self) -> None:
        while not self._over.wait(self._interval):
            self._say()

    def _say(self) -> None:
        self._said = self.done
        remark(self.line())

    def __enter__(self) -> Lines:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        if self._said not in (None, self.done):
            self._say()
