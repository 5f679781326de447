"""The speed report, and (slow) the ratios the package promises."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from teach_gym.compiled import compiler, native
from tools import speed, speed_frames, speed_report
from tools.speed import (
    ARRAYS,
    MACHINE,
    PROGRAM,
    oracle_figures,
    race,
    single_figures,
    vector_figures,
    way_figures,
)
from tools.speed_report import Figure, to_markdown


class Clock:
    """A clock that is moved by what is timed, and by a microsecond whenever it is read."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1e-6
        return self.now

    def takes(self, seconds: float) -> Callable[[], None]:
        """A call that takes so long."""

        def call() -> None:
            self.now += seconds

        return call


@pytest.fixture(autouse=True)
def clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Clock | None:
    """Only the slow tests, which measure ratios, look at the real clock."""
    if request.node.get_closest_marker("slow"):
        return None
    made = Clock()
    monkeypatch.setattr(speed, "clock", made)
    return made


def test_race_times_each_contestant(clock: Clock) -> None:
    slow, fast = race([clock.takes(2e-3), clock.takes(5e-4)], calls=5, rounds=3)
    assert slow == pytest.approx(2000 + 1 / 5) and fast == pytest.approx(500 + 1 / 5)


def test_pictures_and_starts_are_timed() -> None:
    frames = speed_frames.frame_figures(1, ["LabelMoons"])
    starts = speed_frames.start_figures(1)
    assert [f.what for f in frames] == ["LabelMoons"] and [f.what for f in starts] == list(speed_frames.STARTS)
    text = to_markdown([*frames, *starts])
    assert all(f.microseconds > 0 and f.rate in text for f in (*frames, *starts))


def test_race_takes_the_median_of_rounds_in_turns(clock: Clock) -> None:
    order: list[str] = []
    lasting = iter([1.0, 1.0, 7.0, 2.0])  # the first call is not timed

    def uneven() -> None:
        order.append("uneven")
        clock.now += next(lasting)

    even = clock.takes(3.0)
    times = race([uneven, lambda: (order.append("even"), even())], calls=1, rounds=3)
    assert times == pytest.approx([2e6, 3e6], rel=1e-5) and order == ["uneven", "even"] * 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "0"], "rounds must be > 0"),
        (["--out", os.devnull], "not a regular file"),
        (["--out", f"{os.devnull}/speed.md"], "part of the path is a file"),
    ],
)
def test_bad_arguments_are_named_before_anything_is_measured(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "race", None)
    with pytest.raises(SystemExit) as stopped:
        speed.main(arguments)
    assert stopped.value.code == 2 and message in capsys.readouterr().err


def test_report_has_a_table_per_group() -> None:
    figures = [
        Figure("one", "a", 2.0, "", None),
        Figure("one", "b", 1.0, "fast", 2.0),
        Figure("two", "c", 3.0, "", None),
    ]
    text = to_markdown(figures)
    assert text.count("| --- |") == 2 and "## One" in text and "| b | 1.0 | fast | 2.00 |" in text


def test_figures_of_small_runs_are_complete() -> None:
    figures = [*vector_figures((8,), 1), *single_figures(1), *oracle_figures(1)]
    assert {"CartPole-v1", "LabelMoons (float64)", "LabelMoons", "IMT"} <= {f.what for f in figures}
    assert all(f.microseconds > 0 and (f.ratio is None or f.ratio > 0) for f in figures)


def test_all_ways_of_stepping_are_timed_for_every_task_that_can_be_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("LabelMoons", "SelectDigits", "BlackBoxLabelMoons")
    whats = [figure.what for figure in way_figures(1, names, calls=20)]
    assert len(whats) == 2 and whats[0].startswith("LabelMoons") and whats[0].endswith(PROGRAM)
    assert whats[1].startswith("SelectDigits") and whats[1].endswith(ARRAYS)
    if native._library():
        monkeypatch.setenv(compiler.SETTING, "1")
        assert [figure.what.endswith(MACHINE) for figure in way_figures(1, names, calls=20)] == [True, True]


@pytest.mark.slow
def test_the_faster_way_of_stepping_is_taken() -> None:
    for figure in way_figures(9):
        assert figure.ratio is not None and (
            figure.ratio == 1.0 if figure.what.endswith(ARRAYS) else figure.ratio > 0.9
        )


def test_figures_of_what_is_learned_are_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from tools import speed_learned

    monkeypatch.setattr(speed_learned, "race", lambda calls, n, rounds: race(calls, 1, 1))
    monkeypatch.setattr(speed_learned, "MANY", 2)
    monkeypatch.setattr(speed_learned, "CNN_BATCH", 2)
    figures = speed_learned.figures(1)
    assert sum(f.what == "performative step" for f in figures) == 3
    for figure in figures:
        assert figure.microseconds > 0 and (figure.ratio is None) == (figure.what in ("1 teacher", "plain step"))


@pytest.mark.slow
def test_promised_ratios_with_slack_for_noise() -> None:
    least = {"64": 1.0, "1,024": 0.7, "16,384": 0.5}
    for figure in vector_figures((64, 1024, 16384), 9):
        width = figure.group.split()[2]
        if figure.what == "LabelMoons (float64)":
            assert figure.ratio is not None and figure.ratio > 0.85 * least[width]
        elif figure.what == "LabelMNIST (float32)":
            assert figure.ratio is not None and figure.ratio > 0.85 * 0.3
    ratios = {f.what: f.ratio for f in single_figures(9)}
    assert ratios["LabelMoons"] is not None and ratios["LabelMoons"] > 0.5
    for figure in oracle_figures(9):
        if figure.what.startswith("LAST"):
            n = 1024 if "1,024" in figure.what else 1
            assert figure.microseconds / n < (0.5 if n > 1 else 25.0)


def test_missed_aims_are_named_with_their_factor() -> None:
    group, what = "single environment", "LabelDigits"
    imt = "IMT over 1,000 rows of 24 features (LabelMNIST), 1 learner"
    figures = [Figure(group, what, 1.0, "", 0.25), Figure(imt, "IMT", 1.0, "", 2.9)]
    missed = to_markdown(figures).partition("## Aims that were missed")[2]
    assert "LabelDigits: 0.25 instead of 0.5, a factor of 2.00" in missed and "IMT" not in missed
    assert "Aims" not in to_markdown([Figure(group, what, 1.0, "", 0.5)])


def test_every_aim_has_a_reason_for_missing_it() -> None:
    assert all(speed_report._reason(group, what) for group, what in speed_report.WANTED)


def test_black_box_environments_are_timed() -> None:
    (figure,) = speed.black_box_figures(1, ["BlackBoxLabelMoons"], width=4)
    assert figure.group == "black-box tasks, 4 sub-environments" and "k steps/s, arrays" in figure.rate
    assert figure.ratio is not None and figure.ratio > 0
