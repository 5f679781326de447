"""The direction of imports in the package: folders import only from folders below them, modules in no circle."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "teach_gym"

FOLDERS = (
    ("errors", "markdown", "versions"),
    ("arguments", "calls"),
    ("files", "registration"),
    ("compiled", "messages"),
    ("data",),
    ("core",),
    ("render", "records", "pretrained"),
    ("neural",),
    ("teachers",),
    ("envs",),
    ("benchmark",),
    ("integrations",),
    ("sb3", "training"),
    ("play",),
    ("papers",),
    ("doctor",),
    ("cli",),
    ("__main__",),
    ("",),  # the package itself: what ``import teach_gym`` offers
)
"""Folders and root modules of the package from the lowest layer up; each imports only from earlier lines."""

LAYER = {name: i for i, layer in enumerate(FOLDERS) for name in layer}


def modules() -> dict[str, Path]:
    """Every module of the package by its name below ``teach_gym`` ("" is the package itself)."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(name: str) -> set[str]:
    """The package's modules that a module imports anywhere: at the top, inside functions, for type checking."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: a relative import"
            if node.module and node.module.split(".")[0] == "teach_gym":
                below = node.module.partition(".")[2]
                for alias in node.names:
                    inner = f"{below}.{alias.name}".removeprefix(".")
                    found.add(inner if inner in MODULES else below)
        elif isinstance(node, ast.Import):
            found |= {a.name.partition(".")[2] for a in node.names if a.name.split(".")[0] == "teach_gym"}
    return found - {name}


GRAPH = {name: imports(name) for name in sorted(MODULES)}


def folder(name: str) -> str:
    """The folder or root module that a module belongs to."""
    return name.split(".")[0]


def test_every_folder_has_its_layer() -> None:
    assert {folder(name) for name in MODULES} == set(LAYER)


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_down(name: str) -> None:
    here = folder(name)
    wrong = {other for other in GRAPH[name] if folder(other) != here and LAYER[folder(other)] >= LAYER[here]}
    assert not wrong, f"{name} imports upwards or sideways: {sorted(wrong)}"


def test_no_circles() -> None:
    """Depth-first search: a module met again on the way down closes a circle."""
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " imports ".join((*way[way.index(name) :], name))
        if name not in done:
            for other in sorted(GRAPH[name]):
                visit(other, (*way, name))
            done.add(name)

    for name in GRAPH:
        visit(name, ())


def test_the_search_sees_what_it_must() -> None:
    assert "core.state" in GRAPH["core.build"] and "data.pools" in GRAPH["core.build"]
    assert len(MODULES) > 100


def test_the_package_needs_nothing_outside_the_wheel() -> None:
    outside = {path.stem for path in (ROOT / "agents").glob("*.py")} | {"agents", "tools", "examples", "tests"}
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            heads = []
            if isinstance(node, ast.ImportFrom) and node.module:
                heads = [node.module.split(".")[0]]
            elif isinstance(node, ast.Import):
                heads = [alias.name.split(".")[0] for alias in node.names]
            assert not outside & set(heads), f"{name} imports {outside & set(heads)}"


def test_files_stay_short() -> None:
    """A file of more than 300 lines has a second idea in it."""
    long = {name: lines for name, path in MODULES.items() if (lines := len(path.read_text().splitlines())) > 300}
    assert not long, long
