"""The command line ``teach-gym``; what a command needs is imported when it runs."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence

from teach_gym.cli.benchmark import bench, report
from teach_gym.cli.leaderboard import submit, verify
from teach_gym.cli.listing import data, doctor, list_
from teach_gym.cli.output import PROGRAM, say
from teach_gym.cli.teaching import play, record, render, reproduce
from teach_gym.cli.training import train
from teach_gym.errors import cut, lookup_name, shown
from teach_gym.messages import flush, open_streams, show
from teach_gym.versions import __version__

DEBUG_VARIABLE = "TEACH_GYM_TRACEBACK"
_LONGEST = 1_000
"""Characters of a path that an ``OSError`` may name; the system itself refuses one of a few thousand."""

COMMANDS: dict[str, Callable[..., int]] = {
    "list": list_,
    "bench": bench,
    "report": report,
    "train": train,
    "render": render,
    "play": play,
    "record": record,
    "reproduce": reproduce,
    "submit": submit,
    "verify": verify,
    "data": data,
    "doctor": doctor,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 a check failed, 2 a user's error, 130 Ctrl-C.

    Without arguments the commands are listed.

    Args:
        argv: the arguments (default: those of the process).
    """
    open_streams()
    try:
        with _short_paths():
            code = _run(sys.argv[1:] if argv is None else list(argv))
        flush()
        return code
    except KeyboardInterrupt:
        say("interrupted; start the same command again (train: with --resume) to continue")
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, TypeError, OSError, ImportError, ArithmeticError, RuntimeError, MemoryError) as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        say(f"error: {' '.join(str(error).split()) or type(error).__name__}")
        return 2


@contextlib.contextmanager
def _short_paths() -> Iterator[None]:
    """Cut short the path in an ``OSError`` if no message could show it."""
    try:
        yield
    except OSError as error:
        if not isinstance(error.filename, str) or len(error.filename) <= _LONGEST:
            raise
        raise OSError(error.errno, error.strerror, cut(error.filename, _LONGEST)) from error


def _run(argv: list[str]) -> int:
    import tyro

    if argv == ["--version"]:
        show(f"{PROGRAM} {__version__}")
        return 0
    if any("\0" in argument for argument in argv):
        raise ValueError(f"an argument must not hold the character NUL, got {shown(argv)}")
    if argv and not argv[0].startswith("-"):
        lookup_name("command", argv[0], COMMANDS)
    code: int = tyro.extras.subcommand_cli_from_dict(
        COMMANDS,
        prog=PROGRAM,
        description=f"teach_gym {__version__}: iterative machine teaching as Gymnasium environments. "
        f"`{PROGRAM} COMMAND --help` explains a command, `{PROGRAM} --version` prints the version.",
        args=argv or ["--help"],
    )
    return code
