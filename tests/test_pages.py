"""The Python blocks of the hand-written pages run, each page in one scope from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from teach_gym.core.learners import LEARNERS
from teach_gym.core.media import MEDIA
from teach_gym.core.rewards import REWARDS
from teach_gym.data.pools import POOLS

ROOT = Path(__file__).parents[1]
RECIPES = "use-with.md"  # its programs train with other libraries: tests/integrations/test_clients.py
PAGES = [ROOT / "README.md", *(page for page in (ROOT / "docs").glob("*.md") if page.name != RECIPES)]
BLOCK = re.compile(r"^```python\n(.*?)^```", flags=re.M | re.S)
WITH_BLOCKS = [page for page in PAGES if BLOCK.search(page.read_text(encoding="utf-8"))]


@pytest.fixture(autouse=True)
def registries_as_they_were(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Pages add parts of their own; nothing of them is left for other tests."""
    monkeypatch.chdir(tmp_path)
    tables: list[dict[str, Any]] = [LEARNERS, MEDIA, REWARDS, POOLS, gym.registry]
    before = [dict(table) for table in tables]
    yield
    for table, entries in zip(tables, before, strict=True):
        table.clear()
        table.update(entries)


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=lambda page: page.name)
def test_every_block_of_a_page_runs(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for package in ("stable_baselines3", "ray", "torch", "minari"):
        if re.search(rf"^(import|from) {package}\b", text, flags=re.M):
            pytest.importorskip(package)
    scope: dict[str, Any] = {"__name__": "page"}
    for block in BLOCK.findall(text):
        exec(compile(block, str(page), "exec", dont_inherit=True), scope)


def test_there_are_pages_with_blocks() -> None:
    assert {"README.md", "extend.md", "index.md"} <= {page.name for page in WITH_BLOCKS}
