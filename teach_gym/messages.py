"""What goes to standard output, the results, and to standard error, all the rest."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable

from teach_gym.files import naming

OUTPUT = "<standard output>"


def show(text: str, end: str = "\n", *, flush: bool = False) -> None:
    """Write a result to standard output.

    Args:
        text: the result.
        end: what follows it.
        flush: whether it must have been passed on when the call returns.

    Raises:
        BrokenPipeError: the reader, such as ``head``, has gone.
        OSError: standard output cannot be written, such as to a full disk.
    """
    with naming(OUTPUT):
        print(text, end=end, flush=flush)


def flush() -> None:
    """Pass on everything that was shown.

    Raises:
        BrokenPipeError, OSError: see ``show``.
    """
    with naming(OUTPUT):
        sys.stdout.flush()


def remark(text: str, write: Callable[..., object] = print) -> None:
    """Write a line to standard error. If that is not possible, the work goes on without it.

    Args:
        text: the line.
        write: ``print``, or what takes the same arguments, such as the ``write`` of a progress bar.
    """
    with contextlib.suppress(OSError):
        write(text, file=sys.stderr)
        sys.stderr.flush()


def open_streams() -> None:
    """Open the null device in place of a standard stream that was closed by the caller.

    A file that is opened later would otherwise take the stream's number, and receive what libraries write to it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(_null_device(number), "w" if number else "r", encoding="utf-8"))


def _null_device(number: int) -> int:
    """The null device, under the number of a standard stream."""
    handle = os.open(os.devnull, os.O_RDWR)
    if handle != number:
        os.dup2(handle, number)
        os.close(handle)
    return number
