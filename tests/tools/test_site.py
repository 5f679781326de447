"""The documentation site: generated pages are fresh, links and images lead somewhere, and Sphinx builds it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from teach_gym.registration import NEURAL_TASKS, TASKS
from teach_gym.teachers import TEACHERS
from tools import site

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def test_generated_pages_are_fresh() -> None:
    pytest.importorskip("torch")  # the page of teachers reads the classes of the learned ones
    for file, text in site.pages(DOCS).items():
        assert (DOCS / file).read_text(encoding="utf-8") == text, f"run: python -m tools.site ({file})"


def test_every_task_and_teacher_has_its_place() -> None:
    gallery = (DOCS / "gallery.md").read_text(encoding="utf-8")
    for name in (*TASKS, *NEURAL_TASKS):
        assert f":link: environments/{name}\n" in gallery
    headings = re.findall(r"^## `(\w+)`$", (DOCS / "teachers.md").read_text(encoding="utf-8"), flags=re.M)
    assert headings == list(TEACHERS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_images_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target) or target.startswith("#"):
            continue
        path = target.partition("#")[0]
        assert (page.parent / path).exists(), f"{page.name}: {target}"


@pytest.mark.slow
def test_sphinx_builds_the_site_without_a_warning(tmp_path: Path) -> None:
    for module in ("sphinx", "furo", "myst_nb", "sphinx_design", "sphinx_copybutton", "latex2mathml"):
        pytest.importorskip(module)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(DOCS), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "LabelMoons.webp" in html
    outside = re.findall(r"(?:src|href)=\"(https?://[^\"]+\.(?:js|css|woff2?))", html)
    assert not outside, "scripts, styles and fonts come with the site"
