"""Running experiments as units of work, each written whole and once, so that a killed experiment can be resumed.

The folder of an experiment holds ``settings.json``, ``parts/`` (one file of rows per unit of work, named by a hash of
everything that defines it) and, at the end, ``curves.csv``, ``claims.json`` and the figures. An experiment that was
killed and run again gives the same rows as one that was not, except for the metrics that measure time (``seconds`` and
others named after them): each unit keeps the time it took when it ran.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from teach_gym.benchmark.processes import in_processes
from teach_gym.benchmark.progress import track
from teach_gym.benchmark.suite import FIRST_SEED
from teach_gym.errors import DamagedDataError, lookup_name, positive, quoted, shown
from teach_gym.files import remove_leftovers, sole_writer, write_text, writing
from teach_gym.papers.claims import Claim, Verdict, judge
from teach_gym.papers.curves import Curves, Row, read_csv, to_csv
from teach_gym.versions import code_digest, modules_of, versions

FORMAT = 1
TABLE = "table.md"
SEED_GROUP = 10
"""Seeds that run together by default; seeds added later leave existing groups unchanged."""

PlainValues = Mapping[str, Any]
"""Settings by name, in plain JSON values."""
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Unit:
    """A unit of work: one method on one panel for a group of seeds, batched where that is faster.

    Attributes:
        experiment: name of the experiment.
        panel: name of the panel, such as a data set; empty if there is only one.
        method: the teaching method.
        seeds: the seeds of its runs.
        settings: everything else that defines it, in plain JSON values.
        code: digest of the code that runs it, filled in by ``run_experiment``.
    """

    experiment: str
    panel: str
    method: str
    seeds: tuple[int, ...]
    settings: PlainValues
    code: str = ""

    @property
    def label(self) -> str:
        """The value of its rows in the column ``experiment``."""
        return f"{self.experiment}/{self.panel}" if self.panel else self.experiment

    @functools.cached_property
    def key(self) -> str:
        """A hash of everything its result depends on, including the code."""
        parts = [FORMAT, self.code, self.experiment, self.panel, self.method, self.seeds, dict(self.settings)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True, allow_nan=False).encode()).hexdigest()[:20]


class Result(NamedTuple):
    """The result of a unit of work.

    Attributes:
        rows: rows of curves.
        arrays: arrays that the figures need in addition to the curves (no object arrays).
    """

    rows: list[Row]
    arrays: Arrays


class Record(NamedTuple):
    """Everything an experiment produced; its figures are drawn from this.

    Attributes:
        settings: those of its scale.
        curves: all its curves.
        arrays: the arrays of each unit of work, in the order of the units.
    """

    settings: PlainValues
    curves: Curves
    arrays: list[tuple[Unit, Arrays]]


@dataclass(frozen=True)
class Experiment:
    """A figure or table of a paper.

    Attributes:
        name: the name that runs it.
        title: one line.
        source: the paper and its figure or table.
        notes: what the paper leaves open and how it was decided, for the report.
        scales: settings by scale, in plain JSON values; ``seeds`` is the default number of seeds, ``first_seed`` the
            first of them where it is not the benchmark's.
        units: (name, settings, seeds) -> the units of work.
        run: runs one unit.
        claims: the paper's claims; those on panels that the scale does not have are skipped.
        draw: the record -> matplotlib figures by file name (without suffix).
        table: the curves -> a Markdown table for the report, written to ``table.md`` (None: none).
        keep: whether a row of a unit of work is kept (None: all are).
        checkpoints: ``run`` takes a folder of its own as second argument, where an interrupted unit finds its
            checkpoints; the folder is removed when the unit is done.
        timed: it measures seconds, so its units run one at a time, whatever the number of workers.
    """

    name: str
    title: str
    source: str
    notes: str
    scales: Mapping[str, PlainValues]
    units: Callable[[str, PlainValues, Sequence[int]], list[Unit]]
    run: Callable[..., Result]
    claims: tuple[Claim, ...]
    draw: Callable[[Record], dict[str, Any]]
    table: Callable[[Curves], str] | None = None
    keep: Callable[[Unit, Row], bool] | None = None
    checkpoints: bool = False
    timed: bool = False

    def claims_on(self, panels: Collection[str]) -> list[Claim]:
        """The claims that these panels suffice for."""
        return [claim for claim in self.claims if all(asked.panel in panels for asked in claim.comparisons)]


def groups(seeds: Sequence[int], size: int = SEED_GROUP) -> list[tuple[int, ...]]:
    """Split seeds into groups that run together."""
    return [tuple(seeds[i : i + size]) for i in range(0, len(seeds), size)]


def run_experiment(
    experiment: Experiment,
    folder: str | Path,
    *,
    scale: str = "laptop",
    seeds: Sequence[int] | None = None,
    panels: Sequence[str] = (),
    workers: int = 1,
    progress: bool = True,
    figures: bool = True,
) -> list[Verdict]:
    """Run the units that the folder does not hold yet; then write the curves, judge the claims and draw the figures.

    A unit of work is complete on disk before the next begins. If killed at any moment and called again, it resumes;
    with more seeds it adds those. Half-written files of a killed process are removed.

    Args:
        experiment: what to run.
        folder: where its files go.
        scale: a key of its ``scales``.
        seeds: the seeds (default: those of the scale).
        panels: run and judge only these panels; a text that is not a panel's name selects all panels whose
            names contain it (default: all).
        workers: processes that run units of work; with 1, this process runs them. More than one needs the usual
            ``if __name__ == "__main__":`` in scripts, and an experiment whose ``run`` can be pickled.
        progress: show progress on standard error.
        figures: draw the figures, which needs matplotlib.

    Returns:
        A verdict on every claim.

    Raises:
        ValueError: unknown scale or panel, a number of workers that is not positive, or an experiment whose units of
            work are not all different.
        DataNotFoundError: a data set is missing.
        WorkerError: a worker process died.
        DamagedDataError: a file of a unit of work is damaged.
        BlockingIOError: another process is writing into the folder.
    """
    folder, parts = Path(folder), Path(folder) / "parts"
    positive("workers", workers, integer=True)
    settings = lookup_name("scale", scale, experiment.scales)
    first = settings.get("first_seed", FIRST_SEED)
    seeds = tuple(range(first, first + settings["seeds"]) if seeds is None else seeds)
    code = code_digest(*modules_of(experiment.run))
    listed = _on_panels(experiment.units(experiment.name, settings, seeds), panels)
    units = [dataclasses.replace(unit, code=code) for unit in listed]
    if len({unit.key for unit in units}) < len(units):
        raise ValueError(f"experiment {experiment.name!r} lists the same unit of work twice")
    with sole_writer(folder):
        _tidy(folder, parts, units)
        _carry_out(experiment, units, parts, 1 if experiment.timed else workers, progress)
        found = [(unit, *_read_part(parts, unit)) for unit in units]
        rows = [row for _, own, _ in found for row in own]
        record = Record(settings, Curves(rows), [(unit, arrays) for unit, _, arrays in found])
        verdicts = [judge(claim, record.curves) for claim in experiment.claims_on({unit.panel for unit in units})]
        _write(folder / "settings.json", _description(experiment, scale, seeds, panels))
        write_text(folder / "curves.csv", to_csv(rows))
        _write(folder / "claims.json", [verdict.to_json() for verdict in verdicts])
        if experiment.table is not None:
            write_text(folder / TABLE, experiment.table(record.curves) + "\n")
        if figures:
            for name, figure in experiment.draw(record).items():
                with writing(folder / f"{name}.png") as file:
                    figure.savefig(file, format="png", dpi=110)
    return verdicts


def _on_panels(units: list[Unit], panels: Sequence[str]) -> list[Unit]:
    """The units on panels with these names, or whose names contain such a text; all if none is given."""
    names = list(dict.fromkeys(unit.panel for unit in units))
    chosen = set()
    for text in panels:
        found = {text} & set(names) or {name for name in names if text in name}
        if not found:
            raise ValueError(f"unknown panel {shown(text)}; allowed: (parts of) {', '.join(map(repr, names))}")
        chosen |= found
    return [unit for unit in units if not panels or unit.panel in chosen]


def _tidy(folder: Path, parts: Path, units: Sequence[Unit]) -> None:
    """Remove leftovers of killed processes: half-written files, and the checkpoints of units that are done."""
    remove_leftovers(folder)
    remove_leftovers(parts)
    for unit in units:
        if _rows_path(parts, unit).is_file():
            shutil.rmtree(parts / unit.key, ignore_errors=True)


def _carry_out(experiment: Experiment, units: Sequence[Unit], parts: Path, workers: int, progress: bool) -> None:
    todo = [unit for unit in units if not _rows_path(parts, unit).is_file()]
    complete = functools.partial(_complete, experiment.run, experiment.keep, experiment.checkpoints, parts)
    calls = in_processes(complete, todo, workers) if workers > 1 else ((unit, complete(unit)) for unit in todo)
    shown = track(len(units), len(units) - len(todo), unit="unit", label=experiment.name, shown=progress)
    with shown as bar, contextlib.closing(calls):
        for unit, _ in calls:
            bar.step(f"{unit.panel} {unit.method}".strip())


def _complete(
    run: Callable[..., Result],
    keep: Callable[[Unit, Row], bool] | None,
    checkpoints: bool,
    parts: Path,
    unit: Unit,
) -> None:
    """Run a unit of work and write its result."""
    work = parts / unit.key
    result = run(unit, work) if checkpoints else run(unit)
    if result.arrays:
        with writing(_arrays_path(parts, unit)) as file:
            np.savez_compressed(file, allow_pickle=False, **result.arrays)
    rows = result.rows if keep is None else [row for row in result.rows if keep(unit, row)]
    write_text(_rows_path(parts, unit), to_csv(rows))  # it says that the unit is done
    shutil.rmtree(work, ignore_errors=True)


def _rows_path(parts: Path, unit: Unit) -> Path:
    return parts / f"{unit.key}.csv"


def _arrays_path(parts: Path, unit: Unit) -> Path:
    return parts / f"{unit.key}.npz"


def _read_part(parts: Path, unit: Unit) -> tuple[list[Row], Arrays]:
    rows = read_csv(_rows_path(parts, unit))
    path = _arrays_path(parts, unit)
    if not path.is_file():
        return rows, {}
    try:
        with np.load(path, allow_pickle=False) as stored:
            return rows, dict(stored)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DamagedDataError(f"{quoted(path)} is damaged ({error}); remove the folder {quoted(parts)}") from error


def _description(experiment: Experiment, scale: str, seeds: Sequence[int], panels: Sequence[str]) -> dict[str, Any]:
    """All settings that the experiment was run with."""
    return {
        "experiment": experiment.name,
        "source": experiment.source,
        "scale": scale,
        "seeds": list(seeds),
        "panels": list(panels),
        "settings": experiment.scales[scale],
        "versions": versions(),
    }


def _write(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=1) + "\n")
