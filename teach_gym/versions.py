"""The version of the package and of what its results may depend on."""

from __future__ import annotations

import platform
from importlib import metadata

__version__ = "0.1.0"


def version_of(distribution: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """Versions that results may depend on."""
    return {
        "teach_gym": __version__,
        "numpy": metadata.version("numpy"),
        "gymnasium": metadata.version("gymnasium"),
        "python": platform.python_version(),
    }
