"""The report on speed: its figures, the ratios aimed at, and why they are missed."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass

import gymnasium as gym
import numpy as np

import teach_gym
from teach_gym.compiled import compiler
from teach_gym.envs.fuse import LIMIT
from teach_gym.envs.stepper import NATIVE_LIMIT
from teach_gym.markdown import markdown_table

WIDTHS = (64, 1024, 16384)
"""Numbers of sub-environments."""
WANTED: dict[tuple[str, str], float] = {
    **{
        (f"vector environment, {width:,} sub-environments", what): ratio
        for what, ratios in {"LabelMoons (float64)": (2.0, 3.0, 3.0), "LabelMNIST (float32)": (1.0, 1.5, 1.0)}.items()
        for width, ratio in zip(WIDTHS, ratios, strict=True)
    },
    **{("single environment", what): 1.2 for what in ("LabelMoons", "LabelMomentum", "PerturbMoons")},
    **{("single environment", what): 0.5 for what in ("LabelDigits", "SelectDigits")},
    ("black-box tasks, 1,024 sub-environments", "BlackBoxMixupDigits10"): 10.0,
    ("IMT over 1,000 rows of 24 features (LabelMNIST), 1 learner", "IMT"): 3.0,
    ("IMT over 1,000 rows of 24 features (LabelMNIST), 64 learners", "IMT"): 2.0,
}
"""The ratios aimed at, by table and line."""


@dataclass(frozen=True)
class Figure:
    """One line of the report.

    Attributes:
        group: which table it belongs to.
        what: what was timed.
        microseconds: median time of one call.
        rate: a rate to show with it, or the empty string.
        ratio: the ratio to the reference (None for the reference itself).
    """

    group: str
    what: str
    microseconds: float
    rate: str
    ratio: float | None


def to_markdown(figures: Sequence[Figure]) -> str:
    """The report."""
    cpu = platform.processor() or platform.machine()
    lines = [
        "# Speed",
        "",
        f"Written by `python -m tools.speed` on {platform.system()} {cpu}, Python {platform.python_version()}, "
        f"numpy {np.__version__}, gymnasium {gym.__version__}, teach_gym {teach_gym.__version__}.",
        "",
        "Medians over rounds in which all take turns, with one thread. A ratio is relative to the first line of its "
        "table: for environments, the number of steps per step of CartPole (higher is better); elsewhere, the time of "
        "a call in calls of the first line (lower is better). CartPole does a few flops per step; here each step "
        "trains a learner, scores it and draws the next example.",
        "",
        "Vector environments are stepped by a compiled loop where numba is installed, here "
        + ("with" if compiler.installed() else "without")
        + " it; lines marked `arrays` are those without a loop.",
        "",
        "A single environment steps by machine code where numba, and with it LLVM, is installed (up to "
        f"{NATIVE_LIMIT:,} operations), elsewhere by a Python program of the recorded operations (up to {LIMIT}) or by "
        "array calls. The table of the ways says which one is taken here; its ratio is the time by arrays divided by "
        "that of the way taken. Tasks that measure losses on hold-out rows cannot be recorded and are not listed. In "
        "wide environments their measurements are compiled; the ratio in their table is the time by arrays alone "
        "divided by that with compiled measurements.",
    ]
    for group in dict.fromkeys(f.group for f in figures):
        rows = []
        for f in figures:
            if f.group == group:
                ratio = "" if f.ratio is None else f"{f.ratio:.2f}"
                rows.append((f.what, f"{f.microseconds:.1f}", f.rate, ratio, WANTED.get((f.group, f.what), "")))
        table = markdown_table(("what", "time per call (us)", "rate", "ratio", "wanted"), rows)
        lines += ["", f"## {group[0].upper()}{group[1:]}", "", table]
    return "\n".join([*lines, *_missed(figures), ""])


_STARTS = (
    "The loop itself takes a third to a half of the time; the rest is Gymnasium's bookkeeping, about thirty calls of "
)
_STARTS += "numpy a step, and the start of episodes, whose random numbers are drawn by array calls."
_TRAFFIC = (
    "The loop waits for memory: for each sub-environment it reads and writes 1.2 KB a step, 74 numbers of them for "
)
_TRAFFIC += "the observation and 25 for the teaching example, where CartPole writes four."
_SCANS = "Besides the product, the scores need the logistic function of every number in it, in double precision, "
REASONS = {
    ("vector", "LabelMoons (float64)"): _STARTS,
    ("vector", "LabelMNIST (float32)"): _TRAFFIC,
    ("single", "LabelMoons"): "Half of the time is Gymnasium's wrappers and making the arrays that are returned.",
    ("single", "LabelMomentum"): "Half of the time is Gymnasium's wrappers and making the arrays that are returned.",
    ("single", "PerturbMoons"): "Half of the time is Gymnasium's wrappers and making the arrays that are returned.",
    (
        "single",
        "LabelDigits",
    ): "The step takes two microseconds as machine code; without it, it is 531 Python operations.",
    (
        "single",
        "SelectDigits",
    ): "The step takes two microseconds as machine code; without it, it is done by array calls.",
    (
        "black-box tasks, 1,024 sub-environments",
        "BlackBoxMixupDigits10",
    ): "After each step every learner is measured on "
    "all hold-out rows: the product of learners and rows and the exponentials and logarithms of its results, in double "
    "precision, take more than a tenth of the time by arrays.",
    ("IMT over 1,000 rows of 24 features (LabelMNIST), 1 learner", "IMT"): _SCANS
    + "by array calls: for one learner a compiled loop is not worth loading a compiler for.",
    ("IMT over 1,000 rows of 24 features (LabelMNIST), 64 learners", "IMT"): _SCANS
    + "which takes a compiled loop as long as the product.",
}
"""Why a figure falls short of its aim, by its table, or the first word of its title, and line."""


def _reason(group: str, what: str) -> str:
    return REASONS.get((group, what)) or REASONS[group.split()[0], what]


def _missed(figures: Sequence[Figure]) -> list[str]:
    """The section on the aims that were missed."""
    lines: list[str] = []
    for f in figures:
        wanted = WANTED.get((f.group, f.what))
        if wanted is None or f.ratio is None:
            continue
        times = f.ratio / wanted if f.group.startswith("IMT") else wanted / f.ratio
        if times > 1.005:
            short = f"{f.ratio:.2f} instead of {wanted}, a factor of {times:.2f}."
            lines.append(f"* {f.group}, {f.what}: {short} {_reason(f.group, f.what)}")
    return ["", "## Aims that were missed", "", *lines] if lines else []
