"""Files appear whole or not at all, and nothing but a regular file is ever replaced."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from teach_gym.files import make_folder, remove_leftovers, write_text, writing


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


WRITER = """
import sys
from teach_gym.files import writing
with writing(sys.argv[1]) as file:
    file.write(b"new")
    file.flush()
    print("writing", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.skipif(os.name != "posix", reason="uses SIGKILL and file locks")
@pytest.mark.parametrize("killed", [True, False])
def test_leftovers_are_those_of_killed_processes(killed: bool, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("old")
    (tmp_path / ".hidden").write_text("of the user's")
    command = [sys.executable, "-c", WRITER, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "writing\n"
    if killed:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(list(tmp_path.iterdir())) == 3
    remove_leftovers(tmp_path)
    assert len(list(tmp_path.iterdir())) == (2 if killed else 3), "a file that is being written stays"
    process.communicate()
    assert path.read_text() == ("old" if killed else "new")
    assert {p.name for p in tmp_path.iterdir()} == {"notes.txt", ".hidden"}


def test_a_file_taken_for_a_leftover_before_it_was_locked_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")
    flock, calls = fcntl.flock, []

    def late(handle: int, how: int) -> None:
        calls.append(handle)
        if len(calls) == 1:  # another process finds the file between its making and its locking
            monkeypatch.setattr(fcntl, "flock", flock)
            remove_leftovers(tmp_path)
            monkeypatch.setattr(fcntl, "flock", late)
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    write_text(tmp_path / "notes.txt", "text")
    assert len(calls) == 2 and [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    assert (tmp_path / "notes.txt").read_text() == "text"
