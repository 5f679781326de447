"""The report on disk: a CSV summary, Markdown tables and one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from teach_gym.benchmark.matrices import write_matrices
from teach_gym.benchmark.page import to_html
from teach_gym.benchmark.rows import Row
from teach_gym.benchmark.summary import summarize
from teach_gym.benchmark.tables import to_csv, to_markdown
from teach_gym.files import write_text


def write_report(
    rows: Sequence[Row],
    folder: str | Path,
    *,
    command: str,
    kind: str = "final",
    html: bool = True,
    lessons: bool = True,
) -> dict[str, Path]:
    """Write ``summary.csv``, ``scores.csv``, ``scores.npz``, ``report.md`` and ``report.html`` into a folder.

    Args:
        rows: rows of results.
        folder: the folder, which is created if it does not exist.
        command: the command that wrote it, for the heading.
        kind: what the score is taken of, ``final`` or ``auc``.
        html: write the HTML page too.
        lessons: put a lesson of each task into the page, which is taught for it.

    Returns:
        The paths of the summary and the reports by suffix.

    Raises:
        ValueError: no rows, or unknown kind.
    """
    summary = summarize(rows, kind)
    paths = {name.rpartition(".")[2]: Path(folder) / name for name in ("summary.csv", "report.md", "report.html")}
    write_text(paths["csv"], to_csv(summary))
    write_matrices(summary, Path(folder))
    write_text(paths["md"], to_markdown(summary))
    if html:
        write_text(paths["html"], to_html(summary, command, lessons=lessons))
    return paths
