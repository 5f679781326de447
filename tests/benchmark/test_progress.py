"""Progress: a bar on a terminal, lines in a pipe."""

from __future__ import annotations

import io
import sys

import pytest
from process_cases import wait_for

from teach_gym.benchmark.progress import Lines, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_says_how_far_the_work_has_come() -> None:
    now = 100.0
    lines = Lines(12, 3, "unit", "dht-fig5", clock=lambda: now)
    assert lines.line() == "dht-fig5: 3 of 12 units done, 0 s"
    now = 145.2
    lines.step("MNIST GAN")
    assert lines.line() == "dht-fig5: 4 of 12 units done, 45 s; last: MNIST GAN"
    assert Lines(2, 0, "run", clock=lambda: now).line() == "0 of 2 runs done, 0 s"


def test_lines_are_written_while_the_work_goes_on_and_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    with Lines(1, 0, "run", interval=0.0) as lines:
        assert wait_for(written.getvalue)
        lines.step("last of all")
    text = written.getvalue()
    assert "0 of 1 runs done" in text and text.splitlines()[-1].startswith("1 of 1 runs done")
    assert not lines._thread.is_alive()


def test_short_work_is_not_mentioned(capsys: pytest.CaptureFixture[str]) -> None:
    for shown in (True, False):
        with track(1, 0, unit="run", shown=shown) as bar:
            bar.step("x")
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    written = Terminal()
    monkeypatch.setattr(sys, "stderr", written)
    with track(2, 0, unit="run", label="work") as bar:
        bar.step("LabelMoons greedy")
    assert "work" in written.getvalue() and "1/2" in written.getvalue() and "\r" in written.getvalue()
