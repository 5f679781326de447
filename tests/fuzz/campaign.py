"""The campaign against bad input: random calls of everything a user can reach, and a verdict on each.

``python tests/fuzz --calls 15000 --seed 1`` (``make fuzz``). A call ends in one of these ways:

fine      it worked, and the values were sensible
clean     an error of a fitting type in one line, raised by a ``raise`` of this package (or by the system, with a path)
foreign   an error of a fitting type that was born elsewhere: in numpy, scikit-learn, an operator
ugly      an error of any other type, or with a message that is empty, several lines long or names nothing; a warning
accepted  it worked, but the values were nonsense, or what came out was
refused   an error, but the values were sensible
slow      it took longer than ``SLOW`` seconds of CPU time

All but the first two are findings, and make the exit code 1. The seed decides every case.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import os
import reprlib
import signal
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from nonsense import all_digits

import teach_gym

SLOW = 20.0
LIMIT = 60
"""Seconds of CPU time after which a call is stopped; a call that only waits is stopped after ten times as many."""
LONGEST = 1_500
"""Characters of the longest message that is still readable."""
FITTING = (ValueError, TypeError, OSError, ImportError, RuntimeError, FloatingPointError)
PACKAGE = Path(teach_gym.__file__).parent
GOOD = ("fine", "clean")
ENDS = (*GOOD, "foreign", "ugly", "accepted", "refused", "slow")


class NonsenseError(Exception):
    """What a call returned makes no sense; raised by targets."""


class RefusedError(Exception):
    """A call was refused as it should be, though not by an exception of the package; raised by targets."""


class TimeLimitError(BaseException):
    """A call hangs."""


@dataclass(frozen=True)
class Target:
    """Something to call with random values.

    Attributes:
        name: its name.
        cases: the values.
        run: the call; it raises ``NonsenseError`` if what comes out makes no sense.
        sensible: whether the values are sensible: True, False, or None where either outcome is right.
        names: texts of which a message must hold one (none: any message will do).
        weight: how many of a campaign's calls it gets, relative to the others.
        prepare: called once before; gives the context in which it runs.
    """

    name: str
    cases: SearchStrategy[Any]
    run: Callable[[Any], object]
    sensible: Callable[[Any], bool | None] = lambda case: None
    names: Callable[[Any], Sequence[str]] = lambda case: ()
    weight: float = 1.0


@dataclass
class Verdict:
    """How a call ended.

    Attributes:
        end: one of ``ENDS``.
        about: the error or the reason, in words.
        place: where it was raised.
    """

    end: str
    about: str = ""
    place: str = ""


@dataclass
class Findings:
    """The verdicts of a campaign: how many of each, and the shortest case of every different finding."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    worst: dict[tuple[str, str, str, str], tuple[int, str, str]] = field(default_factory=dict)

    def add(self, target: str, case: Any, verdict: Verdict) -> None:
        self.counts.setdefault(target, Counter())[verdict.end] += 1
        if verdict.end in GOOD:
            return
        key, shown = (target, verdict.end, verdict.about.partition(":")[0][:60], verdict.place), show(case)
        number, kept, about = self.worst.get(key, (0, shown, verdict.about))
        shorter = len(shown) < len(kept)
        self.worst[key] = (number + 1, shown if shorter else kept, verdict.about if shorter else about)

    @property
    def total(self) -> Counter[str]:
        return sum(self.counts.values(), Counter())

    def table(self) -> str:
        """One line for each target, and the findings below."""
        lines = [f"{'target':16}" + "".join(f"{end:>10}" for end in ENDS)]
        for name, counts in {**self.counts, "all": self.total}.items():
            lines.append(f"{name:16}" + "".join(f"{counts[end]:10,}" for end in ENDS))
        for (target, end, _, place), (number, shown, about) in sorted(self.worst.items()):
            lines += ["", f"{target}: {end} ({number} times) {place}", f"  {about}"[:600], f"  case {shown}"]
        return "\n".join(lines)


_short = reprlib.Repr()
_short.maxdict = _short.maxlist = _short.maxtuple = 12
_short.maxstring, _short.maxother, _short.maxlong = 160, 200, 60


def show(case: Any) -> str:
    """A case in some hundred characters."""
    try:
        with all_digits():
            return " ".join(_short.repr(case).split())[:500]
    except Exception as error:
        return f"<a {type(case).__name__} without text: {type(error).__name__}>"


@functools.cache
def _raises(path: str) -> set[int]:
    """The lines of a module that belong to ``raise`` statements."""
    nodes = [node for node in ast.walk(ast.parse(Path(path).read_text())) if isinstance(node, ast.Raise)]
    return {line for node in nodes for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}


def birthplace(trace: TracebackType | None) -> tuple[str, bool]:
    """Where an exception was raised, and whether by a ``raise`` of this package."""
    frames = list(traceback.walk_tb(trace))
    if not frames:
        return "", False
    frame, line = frames[-1]
    path = Path(frame.f_code.co_filename)
    ours = path.is_relative_to(PACKAGE)
    return f"{path.name}:{line}", ours and line in _raises(str(path))


def judge(target: Target, case: Any) -> Verdict:
    """Call a target with a case and say how it ended."""
    sensible = target.sensible(case)
    began = time.process_time()
    with warnings.catch_warnings(record=True) as warned, _stopped_after(LIMIT):
        warnings.simplefilter("always")
        try:
            target.run(case)
        except TimeLimitError:
            return Verdict("slow", f"stopped after {LIMIT} s of CPU or {10 * LIMIT} s")
        except NonsenseError as error:
            return Verdict("accepted", str(error))
        except RefusedError as error:
            return Verdict("clean", str(error))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            verdict = _of_error(error, sensible, target.names(case))
        else:
            verdict = Verdict("accepted", "nonsense values") if sensible is False else Verdict("fine")
    if time.process_time() - began > SLOW:
        return Verdict("slow", f"{time.process_time() - began:.0f} s; {verdict.about}")
    noise = [w for w in warned if issubclass(w.category, RuntimeWarning)]
    if noise and verdict.end in GOOD:
        place = f"{Path(noise[0].filename).name}:{noise[0].lineno}"
        return Verdict("ugly", f"{noise[0].category.__name__}: {noise[0].message}", place)
    return verdict


def _of_error(error: BaseException, sensible: bool | None, names: Sequence[str]) -> Verdict:
    place, ours = birthplace(error.__traceback__)
    text = str(error)
    about = f"{type(error).__name__}: {text}"
    if not isinstance(error, FITTING) or isinstance(error, NotImplementedError | RecursionError | UnicodeError):
        return Verdict("ugly", about, place)
    named = isinstance(error, OSError) and error.errno is not None and error.filename is not None
    if not ours and not named:
        return Verdict("foreign", about, place)
    if not text or "\n" in text or len(text) > LONGEST or (names and not any(name in text for name in names)):
        return Verdict("ugly", about, place)
    return Verdict("refused" if sensible else "clean", about, place)


@contextlib.contextmanager
def _stopped_after(seconds: int) -> Iterator[None]:
    """Raise a ``TimeLimitError`` after some seconds of CPU time (where the system has alarms)."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeLimitError

    alarms = {signal.SIGPROF: (signal.ITIMER_PROF, seconds), signal.SIGALRM: (signal.ITIMER_REAL, 10 * seconds)}
    before = {number: signal.signal(number, stop) for number in alarms}
    for timer, limit in alarms.values():
        signal.setitimer(timer, limit)
    try:
        yield
    finally:
        for number, (timer, _) in alarms.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])


def attack(targets: Sequence[Target], calls: int, number: int, say: Callable[[str], object] = print) -> Findings:
    """Call targets with random cases.

    Args:
        targets: what to call.
        calls: number of calls, all targets together.
        number: the seed, which decides all cases.
        say: told about every target that is done.
    """
    findings, weights = Findings(), sum(target.weight for target in targets)
    for target in targets:
        share = max(1, round(calls * target.weight / weights))
        began = time.monotonic()

        @seed(number)
        @settings(
            max_examples=share,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=target.cases, target=st.just(target))
        def once(case: Any, target: Target) -> None:
            findings.add(target.name, case, judge(target, case))

        once()
        counts = ", ".join(f"{findings.counts[target.name][end]:,} {end}" for end in ENDS)
        say(f"{target.name}: {counts} ({time.monotonic() - began:.0f} s)")
    return findings


def limit_memory(more: int) -> None:
    """Let this process take so many bytes more than it has, so that a mistake does not take the machine's memory."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * os.sysconf("SC_PAGE_SIZE") + more
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
