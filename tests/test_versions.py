"""The digest of the code that results depend on: what changes it and what does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from teach_gym import versions
from teach_gym.teachers import TEACHERS, teacher_class

SOURCE = '''
"""A module."""
from teach_gym.core import task  # the step

RATE = 0.5
"""How fast."""

def scaled(x: float, *, by: float = 2.0) -> float:
    """Scale."""
    return by * x
'''


def digest(module: str, source: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The digest of a module when sources are read by ``source``."""
    with monkeypatch.context() as patch:
        patch.setattr(versions, "_source", source)
        for cached in (versions.code_digest, versions._code):
            cached.cache_clear()
        found = versions.code_digest(module)
    for cached in (versions.code_digest, versions._code):
        cached.cache_clear()
    return found


def made_up(source: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The digest of a module of this source."""
    read = versions._source
    return digest("made_up", lambda name: source if name == "made_up" else read(name), monkeypatch)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# the step", "# another remark"),
        ('"""A module."""', '"""Another docstring,\n\nof several lines."""'),
        ('"""How fast."""', ""),
        ('    """Scale."""\n', ""),
        ("def scaled(x: float, *, by: float = 2.0)", "\n\ndef scaled(\n    x: float,\n    *,\n    by: float = 2.0,\n)"),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = SOURCE.replace(old, new)
    assert changed != SOURCE
    assert made_up(changed, monkeypatch) == made_up(SOURCE, monkeypatch)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.5", "0.25"),
        ("0.5", "'0.5'"),
        ("by * x", "x * by"),
        ("by: float = 2.0", "by: float"),
        ("import task", "import spec"),
    ],
)
def test_every_change_of_the_code_counts(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert made_up(SOURCE.replace(old, new), monkeypatch) != made_up(SOURCE, monkeypatch)


def closure(*modules: str) -> set[str]:
    """What counts for the digest of modules."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += versions._code(name)[1]
    return found


def test_what_a_module_imports_counts_and_what_it_does_not_need_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    greedy = closure("teach_gym.teachers.oracles.greedy")
    assert {"teach_gym.core.task", "teach_gym.core.learner", "teach_gym.data.pool"} <= greedy
    assert not [name for name in greedy if name.startswith(("teach_gym.teachers.learned", "teach_gym.benchmark"))]
    read = versions._source

    def changed(module: str) -> str:
        return read(module) + "\nMORE = 1\n" * (module == "teach_gym.teachers.oracles.dht_solvers")

    for teacher, differs in (("greedy", False), ("dht", True)):
        module = teacher_class(teacher).__module__
        assert (digest(module, changed, monkeypatch) != digest(module, read, monkeypatch)) == differs


def test_modules_named_in_a_table_of_strings_count() -> None:
    modules = {entry.partition(":")[0] for entry in TEACHERS.values()}
    assert modules <= closure("teach_gym.teachers")


def test_code_without_a_file_is_refused() -> None:
    with pytest.raises(ValueError, match=r"module 'itertools'.*without its source"):
        versions.code_digest("itertools")
    with pytest.raises(ModuleNotFoundError):
        versions.code_digest("no_such_module_at_all")
