"""Commands whose standard streams are closed, or lie on a full disk."""

from __future__ import annotations

import errno
import io
import subprocess
import sys
from pathlib import Path

import pytest

from teach_gym.cli import main
from teach_gym.messages import remark, show

FULL = Path("/dev/full")

pytestmark = pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")


def test_a_result_that_finds_no_room_is_an_error_and_a_remark_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with FULL.open("wb", buffering=0) as full:
        stream = io.TextIOWrapper(full, write_through=True)
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(OSError) as refused:
            show("a result")
        assert (refused.value.errno, refused.value.filename) == (errno.ENOSPC, "<standard output>")
        monkeypatch.setattr(sys, "stderr", stream)
        remark("a remark")
        assert main(["list", "nosuch"]) == 2, "with a message that nobody reads"
        stream.detach()


def test_closed_streams_are_silent_and_no_file_takes_their_place() -> None:
    script = (
        "import os, sys; from teach_gym.cli import main; code = main(['reproduce', 'nosuch']); "
        "sys.exit(10 * code + os.open(os.devnull, os.O_RDONLY))"
    )
    done = subprocess.run(["sh", "-c", f'"{sys.executable}" -c "{script}" <&- 2>&-'], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (23, ""), "an error does not go to standard output"
