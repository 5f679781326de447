"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[Any]], align: str = "lr") -> str:
    """A table in Markdown; pipes in cells are escaped.

    Args:
        head: the columns' names.
        rows: their cells, texts or numbers.
        align: ``l`` or ``r`` for each column; the last letter holds for all further ones. By default names stand on the
            left, numbers on the right.
    """
    rules = [{"l": "---", "r": "---:"}[letter] for letter in align.ljust(len(head), align[-1])]
    lines = [[str(cell).replace("|", "\\|") for cell in line] for line in (head, rules, *rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
