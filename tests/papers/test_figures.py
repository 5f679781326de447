"""The experiments' figures: names are shown as they are."""

from __future__ import annotations

import io

import pytest

pytest.importorskip("matplotlib")

from teach_gym.papers import last_learned
from teach_gym.papers.curves import Curves, rows_of
from teach_gym.papers.engine import Record
from teach_gym.papers.figures import curve_figure, panels_figure


@pytest.mark.parametrize("name", [r"$\frac$", r"a$b", r"\$x$"])
def test_names_with_dollars_are_no_formulas(name: str) -> None:
    curves = Curves(rows_of(f"e/{name}", name, "distance", (0, 1), (0, 10), [[1.0, 0.1], [2.0, 0.5]]))
    figure = curve_figure(curves, {name: ("distance",)})
    figure.savefig(io.BytesIO(), format="svg")
    svg = io.StringIO()
    from matplotlib import rc_context

    with rc_context({"svg.fonttype": "none"}):
        figure.savefig(svg, format="svg")
    assert svg.getvalue().count(f">{name}</text>") == 2, "the panel's title and the method's name"


def test_names_with_dollars_beside_bars() -> None:
    panel, rows = last_learned.PANEL, []
    for metric in ("distance", "train_loss", "seconds", "training_seconds"):
        rows += rows_of(f"e/{panel}", r"$\frac$", metric, (0, 1), (0, 10), [[1.0, 0.1], [2.0, 0.5]])
    for figure in last_learned.draw(Record({}, Curves(rows), [])).values():
        figure.savefig(io.BytesIO(), format="png")


def test_methods_may_be_left_out_of_a_figure() -> None:
    rows = [row for name in "abc" for row in rows_of("e/p", name, "distance", (0,), (0, 10), [[1.0, 0.1]])]
    record = Record({}, Curves(rows), [])
    for without, shown in (((), ["a", "b", "c"]), ({"b", "d"}, ["a", "c"])):
        axes = panels_figure("distance", without=without)(record)["curves"].axes[0]
        assert [line.get_label() for line in axes.lines] == shown
    assert record.curves.methods("p", "distance") == ["a", "b", "c"]
