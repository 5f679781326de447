"""The benchmark's report: tables, page and files."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SHORT_SUITE

from teach_gym.benchmark import summary as summaries
from teach_gym.benchmark.page import sort_key, spans, to_html
from teach_gym.benchmark.report import write_report
from teach_gym.benchmark.run import run_suite
from teach_gym.benchmark.score import Paired, task_score
from teach_gym.benchmark.suite import Suite, expand
from teach_gym.benchmark.tables import to_csv, to_markdown

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
Row = dict[str, Any]
SHORT = SHORT_SUITE.tasks[0]


class Page(HTMLParser):
    """What a page refers to, its ids and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.labels: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for key, value in attrs:
            if key in ("href", "xlink:href", "src", "srcset", "data", "action", "poster"):
                self.links.append(value or "")
            elif key == "id":
                self.ids.append(value or "")
            elif key == "aria-label":
                self.labels.append(value or "")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def page(rows: list[Row]) -> tuple[str, Page]:
    text = to_html(summaries.summarize(rows), "teach-gym bench <test> & more")
    return text, Page(text)


def content(text: str, name: str = "data") -> Any:
    """The JSON that a page's script reads."""
    return json.loads(re.search(rf'id="{name}">(.*?)</script>', text, re.S)[1])


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([3], "3"), ([1, 2], "1, 2"), ([0, 1, 2, 3], "0 to 3"), ([1, 5, 6, 7, 9, 10], "1, 5 to 7, 9, 10")],
)
def test_seeds_are_listed_in_spans(numbers: list[int], text: str) -> None:
    assert spans(numbers) == text


def test_the_page_is_self_contained(page: tuple[str, Page]) -> None:
    text, parsed = page
    assert "http:" not in text and "https:" not in text and "@import" not in text and "url(" not in text
    assert not {"link", "iframe", "img", "object", "embed"} & set(parsed.tags)
    assert len(parsed.ids) == len(set(parsed.ids))
    assert parsed.links and {link[1:] for link in parsed.links} <= set(parsed.ids)
    assert all(link.startswith("#") for link in parsed.links)


def test_the_page_shows_every_task_teacher_seed_and_version(page: tuple[str, Page], rows: list[Row]) -> None:
    _, parsed = page
    text = " ".join(parsed.texts)
    for row in rows:
        assert row["task"] in parsed.texts
        assert (row["teacher"] if row["teacher"] != "greedy" else "greedy oracle") in parsed.texts
    assert "3, 5, 9" in text and "teach-gym bench <test> & more" in text
    assert f"numpy {np.__version__}" in text
    assert sum("learns to separate" in part for part in parsed.texts if part.startswith("A logistic")) == 2


def test_curves_are_means_and_percentiles_over_the_seeds(page: tuple[str, Page], rows: list[Row]) -> None:
    data = content(page[0])
    tasks = {task["name"]: task for task in data["tasks"]}
    assert set(tasks) == {row["task"] for row in rows}
    for name, task in tasks.items():
        for line in task["panels"][0]["lines"]:
            curves = [r["curves"]["distance"] for r in rows if (r["task"], r["teacher"]) == (name, line["teacher"])]
            np.testing.assert_allclose(line["values"], np.mean(curves, axis=0)[line["at"]], rtol=1e-3)
            np.testing.assert_allclose(line["low"], np.quantile(curves, 0.1, axis=0)[line["at"]], rtol=1e-3)
            np.testing.assert_allclose(line["high"], np.quantile(curves, 0.9, axis=0)[line["at"]], rtol=1e-3)


def test_each_task_has_a_lesson_that_is_its_first_run(page: tuple[str, Page], rows: list[Row]) -> None:
    tasks = [task["name"] for task in content(page[0])["tasks"]]
    for index, name in enumerate(tasks):
        (played,) = content(page[0], f"lesson-{index}")
        (episode,) = played["seeds"]
        assert played["scene"]["name"] == name and len(episode["lessons"]) == 3
        for found in episode["lessons"]:
            teacher = found["teacher"].removesuffix(" oracle")
            kept = next(r for r in rows if (r["task"], r["teacher"], r["seed"]) == (name, teacher, episode["seed"]))
            distances = [step["curves"][0] for step in found["steps"]]
            np.testing.assert_allclose(distances, kept["curves"]["distance"][: len(distances)], rtol=1e-4)


def test_nothing_is_taught_by_other_code_than_the_rows(rows: list[Row]) -> None:
    other = [changed(row, digests={**row["digests"], "task_code": "old"}) for row in rows]
    text = to_html(summaries.summarize(other), "c")
    assert "lesson-0" not in text and "the code or the data has changed" in text
    assert "lesson-0" not in to_html(summaries.summarize(rows), "c", lessons=False)


def test_cells_are_sorted_by_their_numbers() -> None:
    cells = ["-1.50 [-2.00, 1.00]", "1,234 ± 5", summaries.MISSING, "diverged", "1.2e-05", "10 (2 diverged)"]
    assert [sort_key(cell) for cell in cells] == ["-1.50", "1234", "", "diverged", "1.2e-05", "10"]


def test_tables_hold_the_means_and_scores_of_the_rows(rows: list[Row]) -> None:
    final = {
        name: np.array([r["curves"]["distance"][-1] for r in rows if (r["task"], r["teacher"]) == (SHORT, name)])
        for name in ("passive", "greedy", "random")
    }
    lines = list(csv.DictReader(io.StringIO(to_csv(summaries.summarize(rows)))))
    assert len(lines) == 2 * 3
    line = next(line for line in lines if (line["task"], line["teacher"]) == (SHORT, "random"))
    gain = (final["passive"] - final["random"]).mean() / (final["passive"] - final["greedy"]).mean()
    assert float(line["final_distance"]) == pytest.approx(final["random"].mean())
    assert float(line["final_distance_std"]) == pytest.approx(final["random"].std(ddof=1))
    assert float(line["score"]) == pytest.approx(gain)
    expected = task_score(Paired(final["passive"], final["greedy"], final["random"]))
    assert float(line["score_low"]) == expected.low and float(line["score_high"]) == expected.high
    markdown = to_markdown(summaries.summarize(rows))
    assert f"| {SHORT} | random | {gain:.2f} [{expected.low:.2f}, {expected.high:.2f}] |" in markdown


def test_auc_scores_are_of_the_log_distance_above_the_tolerance(rows: list[Row]) -> None:
    summary = summaries.summarize(rows, "auc")
    area = {}
    for row in rows:
        curve = np.maximum(row["curves"]["distance"], row["spec"]["tolerance"])
        area.setdefault((row["task"], row["teacher"]), []).append(np.log(curve).mean())
    mean = {key: np.mean(values) for key, values in area.items()}
    for entry in summary.entries:
        passive, greedy = mean[entry.task, "passive"], mean[entry.task, "greedy"]
        assert entry.score == pytest.approx((passive - mean[entry.task, entry.teacher]) / (passive - greedy))
    assert "log distance" in to_markdown(summary)


def changed(row: Row, **entries: Any) -> Row:
    """A copy of a row as another run would have written it."""
    copy = {**json.loads(json.dumps(row)), **entries}
    return {**copy, "id": hashlib.sha256(json.dumps(copy, sort_keys=True).encode()).hexdigest()}


def test_latest_of_duplicates_and_two_specs_of_one_name(rows: list[Row]) -> None:
    newer = json.loads(json.dumps(rows[0]))
    newer["curves"]["distance"][-1] = 42.0
    grouped, superseded = summaries.group([*rows, newer])
    assert grouped[SHORT][newer["teacher"]][0]["curves"]["distance"][-1] == 42.0
    assert sum(len(found) for teachers in grouped.values() for found in teachers.values()) == len(rows)
    other = changed(rows[0], spec={**rows[0]["spec"], "learning_rate": 0.123})
    grouped, _ = summaries.group([*rows, other])
    assert len(grouped) == 3 and sum(label.startswith(f"{SHORT} [") for label in grouped) == 2
    assert superseded == 0


@pytest.mark.parametrize("digest", ["teacher_code", "teacher_file"])
def test_rows_of_older_code_of_a_teacher_are_left_out_and_counted(digest: str, rows: list[Row]) -> None:
    random = [row for row in rows if (row["task"], row["teacher"]) == (SHORT, "random")]
    newer = changed(random[0], digests={**random[0]["digests"], digest: "new"})
    summary = summaries.summarize([*rows, newer])
    assert summary.runs[SHORT]["random"] == [newer] and summary.superseded == len(random) == 3
    assert "3 rows of older code" in to_markdown(summary) and "older code" not in to_markdown(summaries.summarize(rows))


def test_rows_of_older_code_of_a_task_are_a_task_of_their_own(rows: list[Row]) -> None:
    newer = [changed(row, digests={**row["digests"], "task_code": "new"}) for row in rows if row["task"] == SHORT]
    summary = summaries.summarize([*rows, *newer])
    assert len(summary.runs) == 3 and summary.superseded == 0
    assert sum(label.startswith(f"{SHORT} [") for label in summary.runs) == 2


def test_a_regression_is_told_by_its_pool_having_no_classes(tmp_path: Path) -> None:
    path, rng = tmp_path / "own.npz", np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    np.savez(path, X=x, y=x @ [1.0, -2.0])
    task = f"LabelRegression:budget=3,pool=array,pool_options={{'path': {str(path)!r}}}"
    rows = run_suite(expand(Suite("x", (task,), (), (0,))), tmp_path / "r.jsonl", executor="serial", progress=False)
    summary = summaries.summarize(rows)
    text = to_html(summary, "c")
    assert "Hold-out mean squared error" in text and '"Hold-out accuracy"' not in text
    assert "Hold-out accuracy" not in to_markdown(summary) and "Hold-out squared error" in to_markdown(summary)
    for entry in summary.entries:
        (row,) = [row for row in rows if row["teacher"] == entry.teacher]
        assert np.isnan(entry.holdout_accuracy) and np.isnan(entry.test_accuracy)
        assert entry.holdout_squared_error == -row["curves"]["holdout_accuracy"][-1] >= 0
        assert entry.test_squared_error == -row["curves"]["test_accuracy"][-1] >= 0
    line = next(line for line in content(text)["tasks"][0]["panels"][3]["lines"] if line["teacher"] == "passive")
    assert min(line["values"]) >= 0
    classes = summaries.summarize([{**row, "regression": False} for row in rows])
    assert '"Hold-out accuracy"' in to_html(classes, "")


def test_scores_over_tasks_are_those_of_the_tasks_and_shown_for_several_tasks_only(rows: list[Row]) -> None:
    summary = summaries.summarize(rows)
    for teacher, estimate in summary.aggregate.items():
        scores = [entry.score for entry in summary.entries if entry.teacher == teacher]
        assert estimate.value == pytest.approx(np.mean(scores)), "two tasks: nothing is cut"
    assert summary.aggregate["greedy"] == (1.0, 1.0, 1.0) and summary.aggregate["passive"] == (0.0, 0.0, 0.0)
    assert "interquartile mean" in to_markdown(summary)
    alone = summaries.summarize([row for row in rows if row["task"] == SHORT])
    assert alone.aggregate == {} and "interquartile mean" not in to_markdown(alone)
    assert "Score over tasks" in to_markdown(summary) and "Score over tasks" not in to_markdown(alone)


def test_a_task_whose_reference_is_not_reliably_better_than_sgd_is_left_out_over_tasks(rows: list[Row]) -> None:
    """One of three greedy runs becomes so bad that resamples which draw it twice leave no room above plain SGD."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    passive = [row for row in rows if (row["task"], row["teacher"]) == (SHORT, "passive")]
    spoilt = next(row for row in rows if (row["task"], row["teacher"]) == (SHORT, "greedy"))
    curve = [*spoilt["curves"]["distance"][:-1], max(row["curves"]["distance"][-1] for row in passive) * 1.2]
    worse = {**spoilt, "curves": {**spoilt["curves"], "distance": curve}}
    summary = summaries.summarize([worse if row is spoilt else row for row in rows])
    assert summary.unsettled == [SHORT] and f"leave out {SHORT}: " in to_markdown(summary)
    assert all(found == [task for task in tasks if task != SHORT] for found in summary.coverage.values())
    assert np.isfinite([estimate.low for estimate in summary.aggregate.values()]).all()
    assert summaries.summarize(rows).unsettled == [] and "leave out" not in to_markdown(summaries.summarize(rows))


def test_scores_pair_the_seeds_that_all_three_have(rows: list[Row]) -> None:
    partial = [row for row in rows if (row["teacher"], row["seed"]) != ("greedy", 9)]
    entries = {(e.task, e.teacher): e for e in summaries.summarize(partial).entries}
    fewer = {(e.task, e.teacher): e for e in summaries.summarize([r for r in rows if r["seed"] != 9]).entries}
    assert entries[SHORT, "random"].score == fewer[SHORT, "random"].score
    assert entries[SHORT, "random"].seeds == 3
    alone = summaries.summarize([row for row in rows if row["teacher"] == "random"])
    assert all(np.isnan(entry.score) for entry in alone.entries) and alone.aggregate == {}
    assert "random" in to_markdown(alone)


@pytest.mark.parametrize("name", [r"$\frac$", "<b>", "</script><b>", 'a"b'])
def test_odd_names_stay_text(name: str, rows: list[Row]) -> None:
    renamed = [{**row, "teacher": name if row["teacher"] == "random" else row["teacher"]} for row in rows]
    renamed = [{**row, "task": f"{row['task']} {name}"} for row in renamed]
    text = to_html(summaries.summarize(renamed), name)
    parsed = Page(text)
    assert name in [shown.strip() for shown in parsed.texts] and "b" not in parsed.tags
    assert name in content(text)["teachers"] and len(parsed.ids) == len(set(parsed.ids))


def test_write_report(rows: list[Row], tmp_path: Path) -> None:
    rows = [row for row in rows if row["task"] == SHORT]
    first = write_report(rows, tmp_path / "new" / "folder", command="c")
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == {
        "summary.csv",
        "scores.csv",
        "scores.npz",
        "report.md",
        "report.html",
    }
    text = first["html"].read_text(encoding="utf-8")
    assert write_report(rows, tmp_path / "again", command="c")["html"].read_text(encoding="utf-8") == text
    write_report(rows, tmp_path / "bare", command="c", html=False)
    assert {path.name for path in (tmp_path / "bare").iterdir()} == {
        *("summary.csv", "scores.csv", "scores.npz", "report.md")
    }
    with pytest.raises(ValueError, match="no rows"):
        write_report([], tmp_path, command="c")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium")
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (380, "dark")])
def test_the_page_in_a_browser(width: int, scheme: str, rows: list[Row], tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    path = write_report(rows, tmp_path, command="c")["html"]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"file://{path}#{SHORT}&off=random")
        page.wait_for_selector(f"section:has([id='{SHORT}']) figure.bars canvas")
        assert page.evaluate("document.documentElement.scrollWidth") == width, "no sideways scrolling"
        section = page.locator(f"section:has([id='{SHORT}'])")
        assert section.locator("tr[data-teacher=random]").is_hidden()
        section.locator("button[data-teacher=random]").click()
        assert section.locator("tr[data-teacher=random]").is_visible() and "off" not in page.url
        section.locator("figure.curves canvas").first.hover()
        tip = section.locator(".tip").first.inner_text()
        assert tip.startswith("step ") and "greedy oracle" in tip and "random" in tip
        section.locator("th button", has_text="Score").click()
        scores = [float(cell.split()[0]) for cell in section.locator("tbody td:nth-child(2)").all_inner_texts()]
        assert scores == sorted(scores, reverse=True) and len(scores) == 3
        page.locator("#find-tasks").fill("no such task")
        assert section.is_hidden()
        page.locator("#find-tasks").fill("")
        section.locator(".lesson .next").click()
        assert "step " in section.locator(".lesson .step").inner_text()
        browser.close()
    assert not errors
