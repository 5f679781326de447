"""The package's version, the digest of its code, and the versions of the libraries that results may depend on."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import inspect
import platform
import re
from collections.abc import Callable, Iterator
from importlib import metadata, resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.abc import Traversable

__version__ = "0.1.0"

_PACKAGE = "teach_gym"
_BY_NAME = re.compile(rf"({_PACKAGE}(?:\.\w+)+):\w+")
"""How tables name what is loaded on first use: ``module:object``."""

_ASIDE = (
    *("arguments", "errors", "files", "calls", "versions", "registration", "pretrained", "records", "render"),
    *("benchmark.suite", "benchmark.processes", "benchmark.charts", "papers.engine", "papers.figures", "papers.claims"),
)
"""Modules and folders that check, name, schedule, write or draw, and cannot change the numbers of a result."""


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


@functools.cache
def code_digest(*modules: str) -> str:
    """SHA-256 of the code of modules and of all modules of this package that they import.

    It is part of the name of results on disk, so results of older code are never mistaken for new ones. Imports inside
    functions count, and so do modules named in a string as ``module:object``. Comments, docstrings and layout do not
    count, nor do modules that only check, write or draw.

    Args:
        *modules: dotted names; of what modules outside this package import, only this package's modules count.

    Raises:
        ModuleNotFoundError: no such module.
        ValueError: a module without source, such as one typed into a notebook.
    """
    found: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name], imported = _code(name)
            waiting += imported
    return _hash(sorted(found.items()))


def modules_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """The module of a function; of a ``functools.partial``, those of its function and of functions it binds."""
    if isinstance(function, functools.partial):
        parts = (function.func, *filter(callable, function.args))
        return tuple(module for part in parts for module in modules_of(part))
    return (function.__module__,)


def _hash(content: Any) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()


@functools.cache
def _code(module: str) -> tuple[str, tuple[str, ...]]:
    """The digest of one module's code, and the modules it imports that count."""
    tree = ast.parse(_source(module))
    return _hash(_plain(tree)), tuple(sorted({name for name in _imports(tree) if not _is_aside(name)}))


def _source(module: str) -> str:
    if module.split(".")[0] == _PACKAGE:
        return _file(module).read_text(encoding="utf-8")
    try:
        return inspect.getsource(importlib.import_module(module))
    except (OSError, TypeError) as error:
        raise ValueError(
            f"the results of module {module!r} cannot be told from those of other code without its source: use a file"
        ) from error


def _file(module: str) -> Traversable:
    """The file of one of the package's modules, which need not be there."""
    *folders, name = module.split(".")[1:]
    folder = resources.files(_PACKAGE).joinpath(*folders)
    inside = folder.joinpath(name, "__init__.py")
    return inside if inside.is_file() else folder.joinpath(f"{name}.py")


def _is_aside(module: str) -> bool:
    below = module.partition(".")[2]
    return any(below == name or below.startswith(f"{name}.") for name in ("", *_ASIDE))


def _imports(tree: ast.AST) -> Iterator[str]:
    """The package's modules that a module imports or names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if _is_module(name) else node.module for name in below]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [named[1]] if (named := _BY_NAME.fullmatch(node.value)) else []
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == _PACKAGE)


@functools.cache
def _is_module(name: str) -> bool:
    return name.startswith(f"{_PACKAGE}.") and _file(name).is_file()


def _plain(node: Any) -> Any:
    """A syntax tree as tuples, without docstrings and empty fields, the same in all versions of Python."""
    if isinstance(node, ast.AST):
        fields = ((name, _plain(value)) for name, value in ast.iter_fields(node))
        return (type(node).__name__, *(field for field in fields if field[1] not in (None, ())))
    if isinstance(node, list):
        return tuple(_plain(part) for part in node if not _is_text(part))
    return node


def _is_text(node: Any) -> bool:
    """Whether a statement is nothing but a string: a docstring of a module, class, function or attribute."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
