"""Scores of the built-in teachers on the environments' pages: read from the benchmark's page, curves from its rows.

``python -m tools.reference runs/full`` draws the curves; ``make results`` runs it after the benchmark.
"""

from __future__ import annotations

import argparse
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from teach_gym.benchmark.curves import PANELS, panels, styles
from teach_gym.benchmark.measure import PASSIVE, REFERENCE, measure_of
from teach_gym.benchmark.store import read_rows
from teach_gym.benchmark.summary import display, summarize
from teach_gym.files import writing
from teach_gym.markdown import markdown_table

IMAGES = Path("docs/images/curves")
"""The folder of the curves."""

_BEST = 3
"""How many teachers are drawn beside plain SGD and the greedy oracle."""
_COLOURS = 48
_DARK = "#222222"
_ROW = re.compile(r"^\| (\w+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \| [^|]+ \| ([^|]+) \| .*\| (\d+) \|$", re.MULTILINE)

Scores = Mapping[str, Sequence[Sequence[str]]]
"""For each task the cells teacher, score with interval, final distance, hold-out loss and number of runs."""


def read_scores(results: str | Path) -> Scores:
    """The table of tasks and teachers of ``benchmark.md`` in a folder; empty if there is no such page."""
    path, found = Path(results) / "benchmark.md", dict[str, list[list[str]]]()
    for task, *cells in _ROW.findall(path.read_text(encoding="utf-8")) if path.is_file() else []:
        found.setdefault(task, []).append([cell.strip() for cell in cells])
    return found


def draw(teachers: Mapping[str, Any], metric: str, shown: Sequence[str]) -> Any:
    """A figure of one task: mean curves over the seeds with bands from the 10th to the 90th percentile.

    Args:
        teachers: each teacher's rows.
        metric: what to draw, a key of ``teach_gym.benchmark.curves.PANELS``.
        shown: the teachers to draw.
    """
    from teach_gym.papers.figures import bare, new_figure

    chart = panels({name: teachers[name] for name in shown})[list(PANELS).index(metric)]
    figure, ((axes,),) = new_figure(1, 1, (6.4, 3.2))
    for line, style in zip(chart["lines"], styles(shown).values(), strict=True):
        colour = _DARK if style.colour == "ink" else style.colour
        dash: Any = (0, style.dash) if style.dash else "-"
        axes.plot(line["at"], line["values"], color=colour, linestyle=dash, linewidth=1.6, label=style.label)
        axes.fill_between(line["at"], line["low"], line["high"], color=colour, alpha=0.1, linewidth=0)
    axes.margins(x=0)
    axes.set_ylim(bottom=0.0 if metric == "distance" else None)
    bare(axes)
    axes.set_xlabel("step")
    axes.set_ylabel(chart["title"].partition(" ‖")[0])
    axes.legend(fontsize=8, frameon=False)
    return figure


def write_curves(runs: str | Path, folder: str | Path = IMAGES) -> list[Path]:
    """Draw every task's curves: plain SGD, the greedy oracle, and the teachers with the highest scores.

    Args:
        runs: the folder of a benchmark.
        folder: where NAME.png go.

    Raises:
        FileNotFoundError: no results there.
        ImportError: matplotlib is not installed.
    """
    from PIL import Image

    summary, paths = summarize(read_rows(Path(runs) / "runs.jsonl")), []
    for task, teachers in summary.runs.items():
        scores = {entry.teacher: entry.score for entry in summary.entries if entry.task == task}
        best = sorted(set(scores) - {PASSIVE, REFERENCE}, key=lambda name: -scores[name])[:_BEST]
        metric = measure_of(teachers[PASSIVE][0]["spec"]["observation"]).metric
        figure = draw(teachers, metric, [PASSIVE, REFERENCE, *best])
        paths.append(Path(folder) / f"{task}.png")
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=100)
        with writing(paths[-1]) as file, Image.open(drawn) as image:
            image.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return paths


def section(name: str, scores: Scores, *, black_box: bool) -> list[str]:
    """The parts of a page that show the scores of a task, none where there are none."""
    if name not in scores:
        return []
    kept = (0, 1, 3, 4) if black_box else (0, 1, 2, 4)
    ends = "loss on the hold-out rows" if black_box else "distance to the target"
    head = ["teacher", "score [95 % interval]", f"final {ends.partition(' to')[0]}", "episodes"]
    rows = [[cells[column] for column in kept] for cells in scores[name]]
    unknown = " The episodes are too few for intervals." if "[" not in rows[0][1] else ""
    return [
        "## Reference scores",
        f"What the built-in teachers reach: 0 is plain SGD (`{PASSIVE}`), 1 the {display(REFERENCE)}"
        + (" or `holdout_greedy`, whichever is better" if black_box else "")
        + f", by the {ends} after the whole budget. From `make results`; "
        f"the [benchmark's page](../results/benchmark.md) has more columns.{unknown}",
        f"![Curves of {name}: mean over the episodes, band from the 10th to the 90th percentile]"
        f"(../images/curves/{name}.png)",
        markdown_table(head, rows, "l"),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the curves of a benchmark's tasks for their pages."""
    parser = argparse.ArgumentParser(prog="python -m tools.reference", description=main.__doc__)
    parser.add_argument("runs", type=Path, help="the folder of a benchmark of the full suite")
    parser.add_argument("--out", type=Path, default=IMAGES, help=f"folder of the pictures ({IMAGES})")
    given = parser.parse_args(arguments)
    print(f"wrote {len(write_curves(given.runs, given.out))} pictures to {given.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
