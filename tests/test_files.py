"""Files appear whole or not at all, and nothing but a regular file is ever replaced."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from teach_gym.files import make_folder, write_text, writing


def test_a_file_appears_whole_in_a_new_folder_and_replaces_an_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "notes.txt"
    for text in ("first", "second, é"):
        write_text(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert stat.S_IMODE(path.stat().st_mode) & 0o400 and [p.name for p in path.parent.iterdir()] == ["notes.txt"]


def test_what_fails_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), writing(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_folders_and_devices_are_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match=f"cannot write '{re.escape(str(tmp_path))}'.*not a regular file"):
        write_text(tmp_path, "text")
    if os.path.exists(os.devnull) and os.name == "posix":
        with pytest.raises(FileExistsError, match="'/dev/null'"):
            write_text(os.devnull, "text")
        assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(NotADirectoryError, match="part of the path is a file"):
            make_folder(path)
        with pytest.raises(NotADirectoryError, match="part of the path is a file"):
            write_text(path / "notes.txt", "text")
    for nul in ("a\0b", "a\0b/c", "c/a\0b"):
        with pytest.raises(ValueError, match=r"must not hold the character NUL, got '.*a\\x00b"):
            write_text(tmp_path / nul, "text")
