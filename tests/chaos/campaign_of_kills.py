"""The campaign of kills: jobs are struck by faults again and again, carried on, and compared with undisturbed ones."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from faults import Fault, Outcome, run
from jobs import Content, Job, content

from teach_gym.benchmark.processes import SHARED

TEMPORARY = ".tmp"


@dataclass
class Tally:
    """What the campaign did and found.

    Attributes:
        strikes: how many faults of each kind struck each job.
        problems: what was lost, repeated, changed or left, in words.
    """

    strikes: Counter[tuple[str, str]] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        return sum(n for (_, kind), n in self.strikes.items() if kind in ("kill", "group", "worker"))

    def table(self) -> str:
        kinds = sorted({kind for _, kind in self.strikes})
        jobs = list(dict.fromkeys(job for job, _ in self.strikes))
        lines = [f"{'job':22}" + "".join(f"{kind:>11}" for kind in kinds)]
        lines += [f"{job:22}" + "".join(f"{self.strikes[job, kind]:11}" for kind in kinds) for job in jobs]
        lines.append(f"{self.kills} kills; {len(self.problems)} problems")
        return "\n".join([*lines, *self.problems])


class Campaign:
    """Strikes jobs in a folder.

    Args:
        folder: where everything is written.
        seed: decides the faults.
        say: told about every job that is done.
    """

    def __init__(self, folder: Path, seed: int, say: Callable[[str], object] = print) -> None:
        self.folder, self.random, self.say, self.tally = folder, random.Random(seed), say, Tally()
        self._whole: dict[str, tuple[Content, int, float]] = {}
        self._number = 0

    def undisturbed(self, job: Job) -> tuple[Content, int, float]:
        """What a job leaves if nothing happens to it, its number of events, and how many seconds it takes."""
        if job.name not in self._whole:
            out, data = self.folder / f"whole-{len(self._whole)}", self._data(job)
            began = time.monotonic()
            done = run(job.arguments(out, data), Fault("none"), self.folder / "events")
            if done.code:
                raise RuntimeError(f"{job.name} fails undisturbed: {done.error}")
            self._whole[job.name] = content(out), done.events, time.monotonic() - began
        return self._whole[job.name]

    def _data(self, job: Job) -> Path:
        data = self.folder / f"data-{job.name}"
        if job.prepare is not None and not data.exists():
            done = run(job.prepare(data), Fault("none"), self.folder / "events")
            assert done.code == 0, done.error
        return data

    def strike(self, job: Job, times: int, kinds: Sequence[str]) -> None:
        """Strike a job that many times, carrying it on in between; then let it end and compare."""
        whole, events, seconds = self.undisturbed(job)
        self._number += 1
        out, data = self.folder / f"struck-{self._number}", self._data(job)
        words, counter = job.arguments(out, data), self.folder / "events"
        for _ in range(times):
            before = {name: (out / name).read_bytes() for name in job.kept if (out / name).exists()}
            fault = self._fault(job, events, seconds, self.random.choice(kinds))
            done = run(words, fault, counter)
            self.tally.strikes[job.name, fault.kind] += 1
            self._check(job, fault, done, out, before)
            if done.code == 0:
                break
        done = run(words, Fault("none", clock="clock" in kinds), counter)
        if done.code:
            self._problem(job, f"cannot be carried on: {done.error[-300:]}")
        else:
            self._compare(job, whole, out)
        shutil.rmtree(out, ignore_errors=True)

    def _fault(self, job: Job, events: int, seconds: float, kind: str) -> Fault:
        event, after = self.random.randint(1, max(events, 1)), self.random.random() < 0.5
        if kind == "limit":
            return Fault(kind, size=self.random.choice([0, 100, 2_000, 20_000]), mute=after)
        if kind == "worker" or (job.spawns and kind in ("kill", "group") and self.random.random() < 0.5):
            return Fault(kind, seconds=self.random.uniform(0.1, 1.0) * seconds)
        mute = kind == "full" and after
        return Fault("none" if kind == "clock" else kind, event=event, after=after, clock=kind == "clock", mute=mute)

    def _check(self, job: Job, fault: Fault, done: Outcome, out: Path, before: dict[str, bytes]) -> None:
        """Check what a fault leaves: no process, nothing lost, no traceback where the command could still speak."""
        if done.survivors:
            self._problem(job, f"{fault} left processes behind")
        noise = ["Traceback", *(["resource_tracker"] if fault.kind in ("full", "limit", "interrupt") else [])]
        if any(text in done.error for text in noise):
            self._problem(job, f"{fault} ends in a traceback: {done.error[-400:]}")
        if fault.kind in ("full", "limit"):
            last = (done.error.splitlines() or [""])[-1]
            named = fault.mute or f"'{out}" in last or SHARED in last
            if done.code not in (0, 2):
                self._problem(job, f"{fault} ends with the exit code {done.code}: {done.error[-300:]}")
            elif done.code and not named:
                self._problem(job, f"{fault} names no file: {done.error[-300:]}")
        for name, held in before.items():
            if not (out / name).read_bytes().startswith(held):
                self._problem(job, f"{fault} lost rows of {name}")

    def _compare(self, job: Job, whole: Content, out: Path) -> None:
        found = content(out)
        left = [name for name in found if name.endswith(TEMPORARY)]
        if left:
            self._problem(job, f"leftovers: {', '.join(left)}")
        for name in sorted((set(whole) | set(found)) - set(left)):
            if name not in found:
                self._problem(job, f"{name} is missing")
            elif name not in whole:
                self._problem(job, f"{name} should not be there")
            elif whole[name] != found[name]:
                self._problem(job, f"{name} has changed")

    def twice(self, job: Job) -> None:
        """Start a job twice in one folder at the same time: one is refused, or both do the same."""
        whole, *_ = self.undisturbed(job)
        self._number += 1
        out, data = self.folder / f"twice-{self._number}", self._data(job)
        words = job.arguments(out, data)
        both = [
            subprocess.Popen(
                [sys.executable, "-m", "teach_gym", *words],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        ends = [(process.communicate()[1], process.returncode) for process in both]
        self.tally.strikes[job.name, "twice"] += 1
        if sorted(code for _, code in ends) not in ([0, 0], [0, 2]) or any("Traceback" in text for text, _ in ends):
            self._problem(job, f"two at a time end with {[(code, text[-300:]) for text, code in ends]}")
        self._compare(job, whole, out)
        shutil.rmtree(out, ignore_errors=True)

    def _problem(self, job: Job, text: str) -> None:
        self.tally.problems.append(f"{job.name}: {text}")
        self.say(self.tally.problems[-1])
