"""Sphinx settings of the documentation site: plain Markdown and notebooks, no fonts or scripts from elsewhere."""

import re
import sys
from pathlib import Path
from typing import Any

from teach_gym.versions import __version__

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "teach_gym"
author = "The teach_gym developers"
copyright = f"2026, {author}"
version = release = __version__

extensions = [
    "mathml",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_design",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]
nitpicky = False

html_theme = "furo"
html_title = f"teach_gym {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True}
html_show_sourcelink = False

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "attrs_block"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]
html_math_renderer = "mathml"

nb_execution_mode = "off"  # the committed notebook is executed by the tests; the site shows it as it ran
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True


def escape_stars(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Keep the asterisks of ``w*`` and ``*Box shape`` from being read as emphasis; code in backquotes stays."""
    for i, line in enumerate(lines):
        bullet = re.match(r"\s*\* ", line)
        start = bullet.end() if bullet else 0
        parts = line[start:].split("``")
        parts[::2] = [re.sub(r"(?<!\\)([*|_](?=\W|$)|\*)", r"\\\1", part) for part in parts[::2]]
        lines[i] = line[:start] + "``".join(parts)


def setup(app: Any) -> None:
    """Connect the hook to autodoc, before napoleon reads the docstring's sections."""
    app.connect("autodoc-process-docstring", escape_stars, priority=400)
