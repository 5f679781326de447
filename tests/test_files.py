"""Files appear whole or not at all, and nothing but a regular file is ever replaced."""

from __future__ import annotations

import errno
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from process_cases import file_limit

from teach_gym.files import append, is_file, make_folder, remove_leftovers, write_text, writing


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


@pytest.mark.parametrize(
    "write",
    [
        lambda file: file.write(bytes(100_000)),
        lambda file: [file.write(b"x") for _ in range(2_000)],  # fails when the file is closed
        lambda file: np.savez(file, a=np.arange(50_000)),
        lambda file: Image.effect_noise((200, 200), 90).save(file, "PNG"),
        lambda file: Image.effect_noise((200, 200), 90).save(file, "GIF"),  # Pillow writes to a file's number if it can
    ],
    ids=["bytes", "small bits", "numpy", "PNG", "GIF"],
)
def test_a_file_that_finds_no_room_is_named_and_leaves_nothing(write: Callable[[Any], Any], tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("old")
    with file_limit(1_000), pytest.raises(OSError) as refused, writing(path) as file:
        write(file)
    assert (refused.value.errno, refused.value.filename) == (errno.EFBIG, str(path))
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("room", [0, 20])
def test_a_line_is_appended_whole_or_not_at_all(room: int, tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_bytes(b"first\n")
    with path.open("ab") as file:
        with file_limit(6 + room), pytest.raises(OSError) as refused:
            append(file.fileno(), b"a line that is too long\n", path)
        assert refused.value.filename == str(path) and path.read_bytes() == b"first\n"
        append(file.fileno(), b"next\n", path, synced=True)
    assert path.read_bytes() == b"first\nnext\n"


def test_folders_and_devices_are_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match=f"cannot write '{re.escape(str(tmp_path))}'.*not a regular file"):
        write_text(tmp_path, "text")
    if os.path.exists(os.devnull) and os.name == "posix":
        with pytest.raises(FileExistsError, match="'/dev/null'"):
            write_text(os.devnull, "text")
        assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_path_too_long_for_the_system_leads_to_no_file(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "x")
    paths = (tmp_path / "file", tmp_path, tmp_path / "none", tmp_path / ("9" * 5_000), "9" * 5_000)
    assert [is_file(path) for path in paths] == [True, False, False, False, False]


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
