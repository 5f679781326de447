"""The report of the papers' experiments: a page with every claim, its verdict and the figures."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from teach_gym.errors import DamagedDataError, quoted
from teach_gym.files import write_text, writing
from teach_gym.markdown import markdown_table
from teach_gym.papers import BLACK_BOX, EXPERIMENTS, experiment
from teach_gym.papers.claims import EVERYWHERE, HOLDS, LEAST_SEEDS, RESOLUTION, WITHIN, Verdict
from teach_gym.papers.engine import TABLE
from teach_gym.papers.grids import Summary
from teach_gym.papers.maps import FILE, SEEDS, SUFFIX

Content = dict[str, Any]


def findings_table(claims: Iterable[Mapping[str, Any]]) -> str:
    """A Markdown table with a line for each finding of claims in JSON form."""
    rows = []
    for finding in (finding for claim in claims for finding in claim["findings"]):
        asked = finding["comparison"]
        unit = "" if asked["scale"] == "linear" and asked["relation"] not in WITHIN else " (log)"
        interval = f"{_number(finding['difference'])} [{_number(finding['low'])}, {_number(finding['high'])}]{unit}"
        everywhere = asked["relation"] in EVERYWHERE
        row = [
            asked["panel"],
            _in_words(asked),
            asked["metric"].replace("_", " "),
            f"0 to {finding['iteration']}" if everywhere else str(finding["iteration"]),
            str(finding["n"]),
            _number(finding["first"]),
            _number(finding["second"]),
            f"true in {100 * (finding['difference'] or 0.0):.1f} % of all cases" if everywhere else interval,
            "" if finding["p"] is None else f"p = {finding['p']:.2g}",
            finding["verdict"] + (f" ({finding['remark']})" if finding["remark"] else ""),
        ]
        rows.append(row)
    return markdown_table(_FINDING, rows, "l")


_FINDING = (
    *("panel", "comparison", "metric", "iteration", "seeds", "first", "second"),
    *("difference (95 % interval)", "sign test", "verdict"),
)


def _in_words(asked: Mapping[str, Any]) -> str:
    second = asked["second"] if isinstance(asked["second"], str) else f"{asked['second']:g}"
    between = {
        "below": "<",
        "above": ">",
        "comparable": f"within a factor of {asked['factor']:g} of",
        "not_worse": f"<= {asked['factor']:g} times",
        "always": "=",
        "at_least": ">=",
    }
    return f"{asked['first']} {between[asked['relation']]} {second}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def verdict_lines(verdicts: Sequence[Verdict]) -> str:
    """One line of plain text for each claim, for the terminal."""
    return "\n".join(f"{verdict.verdict:13}  {verdict.statement}" for verdict in verdicts)


def read_folder(folder: Path) -> tuple[Content, list[Content]]:
    """Settings and claims of one experiment's folder.

    Raises:
        DamagedDataError: a file is not what ``teach-gym reproduce`` writes.
    """
    try:
        settings, claims = (json.loads((folder / f"{name}.json").read_text("utf-8")) for name in ("settings", "claims"))
        complete = {"experiment", "scale", "seeds", "versions"} <= set(settings)
        complete = complete and all({"statement", "verdict", "findings"} <= set(claim) for claim in claims)
    except (ValueError, TypeError):
        complete = False
    if not complete:
        raise DamagedDataError(f"{quoted(folder)} holds no results of teach-gym reproduce; run it again")
    return settings, claims


def _section(folder: Path, settings: Content, claims: list[Content], images: str, maps: Sequence[str]) -> str:
    """The part of the page about one experiment, with the pictures of its maps."""
    found = experiment(settings["experiment"])
    pictures = sorted(folder.glob("*.png"), key=lambda path: (len(path.stem), path.stem))
    table = [(folder / TABLE).read_text("utf-8").rstrip()] if (folder / TABLE).is_file() else []
    parts = [
        f"## {found.name}: {found.title}",
        f"*{found.source}; {len(settings['seeds'])} seeds.* {found.notes}{_only(settings)}",
        *table,
        *(f"![{found.name}: {path.stem}]({images}/{found.name}-{path.name})" for path in pictures),
        "\n".join(f"- **{claim['verdict']}**: {claim['statement']}" for claim in claims),
        "<details><summary>Tests</summary>",
        findings_table(claims),
        "</details>",
        *maps,
    ]
    return "\n\n".join(parts) + "\n"


def _only(settings: Content) -> str:
    """A sentence about the panels that were run, if not all were."""
    panels = settings.get("panels")
    return f" **Only these panels were run: {', '.join(panels)}.**" if panels else ""


def _not_run(names: Sequence[str]) -> list[str]:
    """The part of the page about experiments without results."""
    if not names:
        return []
    rows = [(found.name, found.title, found.source) for found in map(experiment, names)]
    return [
        "## Not run\n",
        "There are no results of these experiments here; `teach-gym reproduce NAME` runs one.\n",
        markdown_table(("experiment", "title", "source"), rows, "l"),
        "",
    ]


def _maps(results: Path, names: Sequence[str]) -> dict[str, tuple[Path, list[Content]]]:
    """The folders of the experiments' maps with their summaries.

    Raises:
        DamagedDataError: a file of summaries is not what ``teach-gym reproduce --map`` writes.
    """
    found = {}
    for name in names:
        folder = results / f"{name}{SUFFIX}"
        if not (folder / FILE).is_file():
            continue
        try:
            summaries = json.loads((folder / FILE).read_text("utf-8"))
            complete = all({"map", *Summary._fields} <= set(summary) for summary in summaries)
        except (ValueError, TypeError):
            complete = False
        if not complete:
            raise DamagedDataError(f"{quoted(folder)} holds no results of teach-gym reproduce --map; run it again")
        found[name] = folder, summaries
    return found


def _map_table(maps: Mapping[str, tuple[Path, list[Content]]]) -> str:
    """The table that opens a page: claim, map, share of the map where it holds, the region; empty without maps."""
    rows = [
        (name, s["statement"], s["map"], f"{s['holds']} of {s['cells']} ({s['holds'] / s['cells']:.0%})", s["region"])
        for name, (_, summaries) in maps.items()
        for s in summaries
    ]
    if not rows:
        return ""
    return (
        "## Where the claims hold\n\nEach map varies two settings that the paper leaves open. A cell is judged on "
        f"{SEEDS} seeds, as the claims below are; the maps with effects and intervals are in the sections. Where some "
        "runs never reach what is timed, runs are counted and a map says so.\n\n"
        + markdown_table(("experiment", "claim", "map", "holds", "region"), rows, "lllrl")
        + "\n\n## The claims at one setting\n"
    )


def _map_pictures(folder: Path, name: str, images: str) -> list[str]:
    return [f"![{name}: {path.stem}]({images}/{name}-{path.name})" for path in sorted(folder.glob("*.png"))]


TITLES = {"papers": "The papers' figures", "blackbox": "Black-box and performative teaching"}
"""Headings of the pages."""

_INTRODUCTION = f"""# {{title}}

`{{command}}` ({{scale}} scale, teach_gym {{version}})

LAST is Liu et al., *Iterative Teaching by Label Synthesis* (NeurIPS 2021); DHT is Qiu et al., *Iterative Teaching by
Data Hallucination* (AISTATS 2023). Lines are means over seeds, bands run from the 10th to the 90th percentile; all
methods of a panel start from the same learners and are offered the same rows. Every claim of a paper is expressed as
comparisons at stated iterations, each tested on paired differences by a 95 % bootstrap interval over at least
{LEAST_SEEDS} seeds: it *holds* if the interval lies on its side of zero, *does not hold* if it lies on the other, and
is *undecided* otherwise; the sign test is given too. Distances and losses that differ by less than
{RESOLUTION:.0%} of the start are a *tie*, and "(log)" marks differences of logarithms, where smaller values count as
{RESOLUTION:.0%} of the start. A claim holds if a comparison holds and the others hold or are ties; it does not hold if
one does not. There is no correction for multiple comparisons. A claim about a teacher that is not trained well
enough is *not judged*. The column `seconds` of `curves.csv` is the time of a whole batch of seeds in teacher and
learner, measured when the batch ran: it is the only part of the results that differs between runs on one machine.
Other processors round differently, which long trainings of teachers amplify.
"""


def write_report(
    results: Path, page: Path, command: str, *, title: str = TITLES["papers"], names: Iterable[str] = tuple(EXPERIMENTS)
) -> None:
    """Write the page of the experiments in a folder of results, and copy their figures next to it.

    Args:
        results: the folder with one folder for each experiment.
        page: the Markdown file; figures go to a folder of its name.
        command: how the results were made, for the page.
        title: the page's heading.
        names: the experiments to put on it, as far as the folder has them (default: all).

    Raises:
        FileNotFoundError: the folder holds no results.
        DamagedDataError: a file is not what ``teach-gym reproduce`` writes.
    """
    asked = list(names)
    folders = [results / name for name in asked if (results / name / "claims.json").is_file()]
    if not folders:
        raise FileNotFoundError(f"no results in {quoted(results)}; `teach-gym reproduce all` writes some")
    contents = [(folder, *read_folder(folder)) for folder in folders]
    images = page.with_suffix("").name
    maps = _maps(results, [settings["experiment"] for _, settings, _ in contents])
    rows, sections = [], []
    for folder, settings, claims in contents:
        name = settings["experiment"]
        for claim in claims:
            held = [finding["verdict"] == HOLDS for finding in claim["findings"]]
            rows.append((name, claim["statement"], claim["verdict"], f"{sum(held)} of {len(held)}"))
        mapped = [maps[name][0]] if name in maps else []
        pictures = [line for place in mapped for line in _map_pictures(place, name, images)]
        sections.append(_section(folder, settings, claims, images, pictures))
        for picture in (path for place in (folder, *mapped) for path in sorted(place.glob("*.png"))):
            with picture.open("rb") as source, writing(page.parent / images / f"{name}-{picture.name}") as copy:
                shutil.copyfileobj(source, copy)
    first = contents[0][1]
    scales = ", ".join(dict.fromkeys(settings["scale"] for _, settings, _ in contents))
    head = _INTRODUCTION.format(title=title, command=command, scale=scales, version=first["versions"]["teach_gym"])
    missing = [name for name in asked if results / name not in folders]
    summary = markdown_table(("experiment", "claim", "verdict", "comparisons that hold"), rows, "l")
    write_text(page, "\n".join([head, _map_table(maps), summary, "", *_not_run(missing), *sections]))


def main() -> None:
    """Write one of the two pages of experiments from a folder of results."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--page", choices=TITLES, default="papers", help="which experiments (default: papers)")
    parser.add_argument("--out", type=Path, help="the file (default: docs/results/PAGE.md)")
    parser.add_argument("--command", default="teach-gym reproduce all")
    given = parser.parse_args()
    out = given.out or Path("docs/results") / f"{given.page}.md"
    names = [name for name in EXPERIMENTS if (name in BLACK_BOX) == (given.page == "blackbox")]
    write_report(given.results, out, given.command, title=TITLES[given.page], names=names)
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
