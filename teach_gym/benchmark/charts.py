"""What figures drawn by matplotlib share; matplotlib is loaded on first use (extra ``plots``)."""

from __future__ import annotations

from typing import Any


def plain(text: str) -> str:
    """A name as matplotlib is to show it: what stands between dollar signs is no formula."""
    return text.replace("$", r"\$")


def load_matplotlib() -> Any:
    """Import matplotlib.

    Raises:
        ImportError: it is not installed; the message names the extra.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError("figures need matplotlib: pip install 'teach_gym[plots]'") from error
    return matplotlib
