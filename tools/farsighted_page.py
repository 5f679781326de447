"""The measured parts of ``docs/far-sighted.md``: the scores on fresh seeds, and the curves of free labels.

``python -m tools.farsighted page`` measures what ``docs/results/far-sighted.json`` lacks, in minutes, and writes the
tables and the figure. Entries of tasks that have changed since are measured anew, with ``--again`` all of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from teach_gym.benchmark.charts import load_matplotlib
from teach_gym.benchmark.score import Estimate, Paired, task_score
from teach_gym.core.build import make_task
from teach_gym.core.foresight import digest
from teach_gym.core.learner import MLPLearner
from teach_gym.core.state import Task
from teach_gym.files import write_text
from teach_gym.markdown import markdown_table
from teach_gym.papers.figures import bare
from teach_gym.registration import TASKS
from teach_gym.teachers import lesson, make_teacher, teach_episodes
from teach_gym.teachers.oracles.lqr import expected_squares
from tools.calibrate import batch_size

Floats = npt.NDArray[np.float64]

DOCS = Path("docs")
RECORD = Path("results", "far-sighted.json")
PICTURE = Path("images", "far-sighted.svg")
FIRST_SEED = 2_600_000
"""Seeds that nothing was tuned on."""
EPISODES, FEWER = 300, 60
FITTED, MEASURED = 24, 10_000
"""Forms are fitted for tasks of at most so many parameters; with a hidden layer, of at most so many times actions. For
more it takes many minutes each."""
MANY_PARAMETERS = 600
"""Tasks with at least so many parameters are scored on ``FEWER`` episodes."""
PLANNED = 100_000
"""Planning teaches at most this number of episodes times parameters times squared actions, but at least ten; where not
even one would be left it is not run."""
TEACHERS = ("greedy", "planning", "lqr", "lqr:fitted=2", "last", "last:horizon=budget")
HEADS = ("greedy", "planning", "`lqr`", "`lqr`, fitted", "greedy LAST, free", "optimal, free")

CURVES: dict[str, dict[str, Any]] = {
    "Gaussian clusters": {"name": "LabelGaussian", "budget": 20},
    "digits": {"name": "LabelDigits"},
    "MNIST": {"name": "LabelMNIST", "dtype": "float64"},
    "regression": {"name": "LabelRegression"},
}
"""Panel -> the task it simulates, without a tolerance so that all episodes last for the whole budget."""
LINES = (("plain SGD", "passive", None), ("greedy LAST", "last", 1), ("optimal", "last:horizon=budget", -1))
"""Label, teacher, and how far it sees (None: no theory; -1: the budget)."""
SIMULATED = 2000
CURVES_SEED = 2_700_000


def scored_tasks() -> list[str]:
    """The omniscient tasks."""
    return [name for name, kwargs in TASKS.items() if not kwargs.get("observation", "").startswith("black_box")]


def taught(task: Task) -> list[str]:
    """The teachers of a task's row: free labels where the task is to set labels, fitted forms where they take seconds.

    Learners with a hidden layer have nothing but fitted far-sighted teachers.
    """
    deep = isinstance(task.learner, MLPLearner)
    quick, found = task.size * task.n_actions <= MEASURED if deep else task.size <= FITTED, []
    for text in TEACHERS:
        try:
            make_teacher(text).check(task)
        except ValueError:
            continue
        fits = not text.startswith("last") or task.spec.medium == "label"
        if fits and ("fitted" not in text or quick) and episodes_of(task, text):
            found.append(text)
    return found


def episodes_of(task: Task, teacher: str) -> int:
    """Number of episodes that a teacher of a task is scored on."""
    n = FEWER if task.size >= MANY_PARAMETERS else EPISODES
    if teacher != "planning":
        return n
    affordable = PLANNED // (task.size * task.n_actions**2)
    return int(np.clip(affordable, 10, n)) if affordable else 0


def ends(task: Task, teacher: str, n: int) -> Floats:
    """Final distances of the first n episodes: (n,)."""
    most = max(batch_size(task) // (10 if teacher == "planning" else 1), 1)
    seeds, made = range(FIRST_SEED, FIRST_SEED + n), make_teacher(teacher)
    return np.concatenate([teach_episodes(task, made, seeds[i : i + most])[1] for i in range(0, n, most)])


def score(name: str, known: dict[str, Any]) -> dict[str, Any]:
    """A task's row: for each teacher the score with its interval and the episodes; known ones are kept."""
    task, row, marks = make_task(name), dict[str, Any](), dict[str, Floats]()
    for teacher in taught(task):
        n, decisive = episodes_of(task, teacher), digest(task.spec)
        if known.get(teacher, {}).get("task") == decisive and known[teacher]["n"] >= n:
            row[teacher] = known[teacher]
            continue
        for mark in ("passive", "greedy"):
            if mark not in marks:
                marks[mark] = ends(task, mark, episodes_of(task, mark))
        pairs = Paired(marks["passive"][:n], marks["greedy"][:n], ends(task, teacher, n))
        found = [round(float(value), 4) for value in task_score(pairs)]
        row[teacher] = {"score": found, "n": n, "task": decisive}
        print(f"{name}, {teacher}: {found[0]:.3f} [{found[1]:.3f}, {found[2]:.3f}], {n} episodes", flush=True)
    return row


def curves(panel: str) -> dict[str, Any]:
    """Squared distances of a panel's teachers, t = 0 .. H: mean, its 95 % interval's half width, and by theory."""
    options = dict(CURVES[panel])
    task, found = make_task(options.pop("name"), tolerance=0.0, **options), {}
    for label, teacher, horizon in LINES:
        first, transitions = lesson(task, make_teacher(teacher), range(CURVES_SEED, CURVES_SEED + SIMULATED))
        squares = np.array([first.distance, *(t.state.distance for t in transitions)], dtype=np.float64) ** 2
        theory = None if horizon is None else expected_squares(task, first, None if horizon < 0 else horizon)
        half = 1.96 * squares.std(1, ddof=1) / np.sqrt(SIMULATED)
        values = {"mean": squares.mean(1), "half": half, "theory": theory}
        found[label] = {key: None if v is None else [float(f"{x:.4g}") for x in v] for key, v in values.items()}
    return found


def measured(path: Path, names: Sequence[str] | None = None, again: bool = False) -> dict[str, Any]:
    """The record with the rows of tasks (None: all omniscient ones) and the curves, written after each row.

    Args:
        path: the record's file.
        names: the tasks.
        again: whether to measure what the record holds already, too.
    """
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() and not again else {"scores": {}}
    found: dict[str, Any] = {"scores": dict(known["scores"]), "curves": {panel: curves(panel) for panel in CURVES}}
    for name in scored_tasks() if names is None else names:
        found["scores"][name] = score(name, known["scores"].get(name, {}))
        write_text(path, compact(found))
    return found


def compact(found: dict[str, Any]) -> str:
    """JSON with a line for each entry of the innermost tables."""
    innermost = re.compile(r"[\[{][^\[\]{}]*[\]}]")
    return innermost.sub(lambda match: " ".join(match[0].split()), json.dumps(found, indent=1)) + "\n"


def score_table(rows: dict[str, Any]) -> str:
    """Markdown table of the scores; bold where the whole interval lies above 1."""
    table = []
    for name, row in rows.items():
        cells = [_cell(row[teacher]) if teacher in row else "" for teacher in TEACHERS]
        table.append((f"[{name}](environments/{name}.md)", row["greedy"]["n"], *cells))
    return markdown_table(("task", "episodes", *HEADS), table)


def _cell(entry: dict[str, Any]) -> str:
    value, low, high = Estimate(*entry["score"])
    if value == low == high:
        return f"{value:.0f}"
    text = f"{value:.2f} [{low:.2f}, {high:.2f}]"
    return f"**{text}**" if low > 1 else text


def curve_table(panels: dict[str, Any]) -> str:
    """Markdown table of E||w - w*||^2 at the end of the budget, simulated and by theory."""
    rows = []
    for panel, found in panels.items():
        cells = []
        for label, _, horizon in LINES:
            cells.append(f"{found[label]['mean'][-1]:.2g} ± {found[label]['half'][-1]:.1g}")
            if horizon is not None:
                cells.append(f"{found[label]['theory'][-1]:.3g}")
        rows.append((panel, *cells))
    return markdown_table(("pool", "plain SGD", "greedy LAST", "by theory", "optimal", "by theory"), rows)


def figure(panels: dict[str, Any], path: Path) -> None:
    """Draw the curves, one panel for each pool.

    Raises:
        ImportError: matplotlib is not installed.
    """
    matplotlib = load_matplotlib()
    from matplotlib.figure import Figure

    colors = ("#777777", "#c8553d", "#2a6f97")
    with matplotlib.rc_context({"svg.hashsalt": "far-sighted", "font.size": 9, "svg.fonttype": "none"}):
        drawn = Figure(figsize=(8.4, 5.6), layout="constrained")
        grid = drawn.subplots(2, 2)
        for axes, (panel, found) in zip(grid.flat, panels.items(), strict=True):
            for color, (label, *_) in zip(colors, LINES, strict=True):
                mean, half = (np.array(found[label][key]) for key in ("mean", "half"))
                t = np.arange(len(mean))
                axes.fill_between(t, np.maximum(mean - half, mean / 10), mean + half, color=color, alpha=0.25, lw=0)
                axes.plot(t, mean, color=color, lw=1.4, label=label)
                if found[label]["theory"] is not None:
                    axes.plot(t, found[label]["theory"], color="black", lw=1.0, ls=(0, (2, 3)))
            axes.plot([], [], color="black", lw=1.0, ls=(0, (2, 3)), label="theory")
            axes.set(title=panel, yscale="log", xlim=(0, len(mean) - 1))
            bare(axes)
        for axes in grid[-1]:
            axes.set_xlabel("iterations")
        for axes in grid[:, 0]:
            axes.set_ylabel("mean squared distance to w*")
        grid[0, 0].legend(frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"Date": None} if path.suffix == ".svg" else None
        drawn.savefig(path, metadata=metadata, facecolor="white", dpi=150)


def filled(text: str, parts: dict[str, str]) -> str:
    """A page with what stands between its marks ``<!-- name -->`` and ``<!-- /name -->`` replaced.

    Raises:
        ValueError: a mark is missing, or there more than once.
    """
    for name, content in parts.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        if text.count(start) != 1 or text.count(end) != 1:
            raise ValueError(f"the page must hold the marks {start.strip()} and {end} once each")
        text = text[: text.index(start) + len(start)] + content + "\n" + text[text.index(end) :]
    return text


def write(docs: Path, found: dict[str, Any]) -> None:
    """Write the tables into the page, and the figure beside it."""
    page = docs / "far-sighted.md"
    parts = {"scores": score_table(found["scores"]), "curves": curve_table(found["curves"])}
    write_text(page, filled(page.read_text(encoding="utf-8"), parts))
    figure(found["curves"], docs / PICTURE)
