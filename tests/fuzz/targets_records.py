"""Files that the package itself wrote, edited: results, leaderboard entries, records of trainings, parts of papers."""

from __future__ import annotations

import functools
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

from campaign import NonsenseError, Target
from hypothesis import strategies as st
from nonsense import INTEGERS, JSON, TEXTS, as_json, damaged, edited

from teach_gym.benchmark.leaderboard import FORMAT, SEEDS, read_entry
from teach_gym.benchmark.report import write_report
from teach_gym.benchmark.rows import Digests, run_id, sealed
from teach_gym.benchmark.run import run_suite
from teach_gym.benchmark.store import Store, read_rows
from teach_gym.benchmark.suite import Suite, expand
from teach_gym.core.build import make_task
from teach_gym.papers.curves import Curves, Row, read_csv, to_csv
from teach_gym.play.server import Playground
from teach_gym.records.runlog import RunLog
from teach_gym.versions import versions

_numbers = itertools.count()


@functools.cache
def _rows() -> list[dict[str, Any]]:
    """The rows of a small benchmark."""
    import tempfile

    suite = Suite("fuzz", ("LabelMoons:budget=4",), ("passive", "random"), (3, 5))
    with tempfile.TemporaryDirectory() as folder:
        return run_suite(expand(suite), Path(folder, "runs.jsonl"), executor="serial", progress=False)


@st.composite
def _results(draw: st.DrawFn) -> tuple[bool, bytes]:
    """Whether a row differs from what was written, and the content of a results file."""
    rows = [*_rows()]
    at = draw(st.integers(0, len(rows) - 1))
    kind = draw(st.sampled_from(["row", "row", "row", "damaged", "bytes", "zeros", "twice"]))
    changed = False
    if kind == "row":
        new = draw(edited(rows[at]))
        changed = not (isinstance(new, dict) and as_json(new) == as_json(rows[at]))
        rows[at] = new
    elif kind == "twice":
        rows.append(rows[at])
    content = "".join(as_json(row) + "\n" for row in rows).encode()
    if kind == "damaged":
        return False, draw(damaged(content))
    if kind == "bytes":
        return False, draw(st.binary(max_size=30) | TEXTS.map(lambda t: t.encode(errors="replace")))
    return changed, content + bytes(draw(st.integers(1, 50)) if kind == "zeros" else 0)


def _report(folder: Path, case: tuple[bool, bytes]) -> None:
    path = folder / f"{next(_numbers)}.jsonl"
    path.write_bytes(case[1])
    try:
        rows = read_rows(path)
        Store(path).close()
        if path.read_bytes() != case[1] and not case[1].startswith(path.read_bytes()):
            raise NonsenseError("the file was changed")
        write_report(rows, folder / "report", command="x", html=False)
    finally:
        path.unlink()


@st.composite
def _named(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows with names of tasks and teachers of any kind, as a benchmark with such files' names would write them."""
    text = st.text(min_size=1, max_size=20) | st.sampled_from(
        [
            "$\\frac$",
            "$x^",
            "<script>alert(1)</script>",
            "agent:a/b.safetensors",
            "|",
            "\n",
            "_^{}$$",
            "%s",
            "{{x}}",
            "\\",
        ]
    )
    task, teacher = draw(text), draw(text)
    found = []
    for row in _rows():
        name = teacher if row["teacher"] == "random" else row["teacher"]
        new = {**row, "task": task, "teacher": name}
        new["id"] = run_id(new["spec"], name, new["seed"], Digests(**new["digests"]))
        found.append(sealed(new))
    return found


def _write_pages(folder: Path, rows: list[dict[str, Any]]) -> None:
    paths = write_report(rows, folder / "pages", command="x")
    text = paths["html"].read_text(encoding="utf-8")
    if "<script>alert(1)</script>" in text:
        raise NonsenseError("a name became code")


# --------------------------------------------------------------------------------------------------- leaderboard


@functools.cache
def _entry() -> dict[str, Any]:
    return {
        "format": FORMAT,
        "name": "x",
        "teacher": {"file": "policy.safetensors", "sha256": "0" * 64, "card": {"algo": "ppo"}},
        "task": "LabelMoons",
        "spec": json.loads(make_task("LabelMoons").spec.to_json()),
        "seeds": [SEEDS[0], len(SEEDS)],
        "ends": [(0.5).hex()] * len(SEEDS),
        "score": 0.5,
        "low": 0.4,
        "high": 0.6,
        "versions": versions(),
    }


def _read_entry(folder: Path, text: str) -> None:
    from teach_gym.benchmark.leaderboard import table

    path = folder / "entry.json"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    read_entry(path)
    table(folder)


# ------------------------------------------------------------------------------------------------------- trainings


@functools.cache
def _log(folder: Path) -> dict[str, bytes]:
    """The files of a training's records."""
    import torch

    with RunLog(folder, {"lr": 0.5, "sizes": [3]}, spec=make_task("LabelMoons").spec) as log:
        for step in (1, 2):
            log.log(step, loss=0.5 / step)
            log.checkpoint(step, {"w": torch.ones(2)}, note="x")
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@st.composite
def _logs(draw: st.DrawFn, folder: Path) -> dict[str, bytes]:
    files = dict(_log(folder))
    for name in draw(st.lists(st.sampled_from(sorted(files)), min_size=1, max_size=2, unique=True)):
        if draw(st.integers(0, 6)) == 0:
            del files[name]
        elif name.endswith(".json") and draw(st.booleans()):
            files[name] = as_json(draw(edited(json.loads(files[name])))).encode()
        else:
            files[name] = draw(damaged(files[name]))
    return files


def _resume(folder: Path, files: dict[str, bytes]) -> None:
    here = folder / str(next(_numbers))
    for name, content in files.items():
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    try:
        with RunLog(here, {"lr": 0.5, "sizes": [3]}, spec=make_task("LabelMoons").spec, resume=True) as log:
            log.log(5, loss=0.1)
    finally:
        shutil.rmtree(here)


# --------------------------------------------------------------------------------------------------------- papers

_CURVES = to_csv([Row("fig/a", "sgd", s, t, "distance", 1.0 / (1 + t)) for s in (0, 1) for t in range(3)]).encode()


def _read_curves(folder: Path, content: bytes) -> None:
    path = folder / "curves.csv"
    path.write_bytes(content)
    curves = Curves(read_csv(path))
    for panel in curves.panels():
        for method in curves.methods(panel, "distance"):
            curves.get(panel, method, "distance")


# ----------------------------------------------------------------------------------------------------- playground


@functools.cache
def _playground() -> Playground:
    with Playground("LabelMoons") as server:  # whose port is not needed
        return server


def _move(case: tuple[str, dict[str, Any]]) -> None:
    answer = _playground().move(*case)
    if json.loads(json.dumps(answer, allow_nan=False)) != json.loads(json.dumps(answer)):
        raise NonsenseError(f"not JSON: {answer}")


def _sensible_move(case: tuple[str, dict[str, Any]]) -> bool | None:
    what, given = case
    if what not in ("new", "hint", "step", "undo", "view"):
        return False
    if what == "step" and (isinstance(given.get("action"), bool) or not isinstance(given.get("action"), int)):
        return False
    return None


_MOVES = st.sampled_from(["new", "hint", "step", "undo", "view", "x", ""])
_GIVEN = st.fixed_dictionaries(
    {}, optional={"action": INTEGERS | JSON, "seed": INTEGERS | JSON, "task": st.sampled_from(["LabelMoons"]) | JSON}
)


def record_targets(folder: Path) -> list[Target]:
    results, entries, logs, papers = (folder / name for name in ("results", "entries", "logs", "papers"))
    for path in (results, entries, papers):
        path.mkdir(exist_ok=True)
    whole = functools.cache(lambda: as_json(_entry()))
    return [
        Target(
            "results",
            _results(),
            functools.partial(_report, results),
            lambda case: False if case[0] else None,
            weight=4,
        ),
        Target("report names", _named(), functools.partial(_write_pages, results), lambda case: True, weight=0.15),
        Target(
            "leaderboard",
            edited(_entry()).map(as_json) | TEXTS | st.just("[" * 100_000) | st.just(whole()[:99]),
            functools.partial(_read_entry, entries),
        ),
        Target("records", _logs(folder / "log"), functools.partial(_resume, logs), weight=1),
        Target("curves", damaged(_CURVES), functools.partial(_read_curves, papers)),
        Target("playground", st.tuples(_MOVES, _GIVEN), _move, _sensible_move),
    ]
