"""Sphinx settings of the documentation site: plain Markdown and notebooks, no fonts or scripts from elsewhere."""

import pkgutil
import re
import sys
from importlib import import_module
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


REFERENCE = {
    "core": ("Core", "core"),
    "data": ("Data", "data"),
    "teachers": ("Teachers", "teachers"),
    "oracles": ("Oracles", "teachers.oracles"),
    "learned": ("Learned teachers", "teachers.learned"),
    "envs": ("Environments", "envs"),
    "render": ("Pictures", "render"),
    "benchmark": ("Benchmark", "benchmark"),
    "training": ("Training of agents", "training"),
    "integrations": ("Integrations", "integrations"),
    "sb3": ("Stable-Baselines3", "integrations.sb3"),
    "neural": ("Neural learners", "neural"),
    "records": ("Records", "records"),
}
"""Page of the API reference -> its title and the folder whose modules it describes."""


def write_reference() -> None:
    """Write a page for each folder of the package, with all of its modules."""
    for page, (title, folder) in REFERENCE.items():
        package = import_module(f"teach_gym.{folder}")
        names = [package.__name__]
        names += [f"{package.__name__}.{m.name}" for m in pkgutil.iter_modules(package.__path__) if not m.ispkg]
        parts = [f"## `{name}`\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n```\n" for name in names]
        text = f"# {title}\n\n" + "\n".join(parts)
        path = Path(__file__).parent / "api" / f"{page}.md"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


write_reference()


def escape_stars(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Keep the asterisks of ``w*`` and ``*Box shape`` from being read as emphasis; code in backquotes stays."""
    for i, line in enumerate(lines):
        bullet = re.match(r"\s*\* ", line)
        start = bullet.end() if bullet else 0
        parts = line[start:].split("``")
        parts[::2] = [re.sub(r"(?<!\\)([*|]|_(?=\W|$))", r"\\\1", part) for part in parts[::2]]
        lines[i] = line[:start] + "``".join(parts)


def setup(app: Any) -> None:
    """Connect the hook to autodoc, before napoleon reads the docstring's sections."""
    app.connect("autodoc-process-docstring", escape_stars, priority=400)
