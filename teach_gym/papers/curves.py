"""Curves of an experiment: rows of a CSV file, and the same as arrays over seeds and iterations."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from teach_gym.errors import DamagedDataError, lookup_name, quoted

COLUMNS = ("experiment", "method", "seed", "iteration", "metric", "value")


class Row(NamedTuple):
    """One value of one metric.

    Attributes:
        experiment: name of the experiment, and of its panel after a slash where it has several.
        method: the teaching method.
        seed: seed of the run.
        iteration: teaching steps taken.
        metric: name of the metric.
        value: its value; inf for the distance of a learner that diverged, nan where there is none.
    """

    experiment: str
    method: str
    seed: int
    iteration: int
    metric: str
    value: float


class Curve(NamedTuple):
    """One metric of one method.

    Attributes:
        seeds: (S,) in ascending order.
        iterations: (T,) in ascending order.
        values: (S, T), nan where nothing was recorded.
    """

    seeds: npt.NDArray[np.int64]
    iterations: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]


def to_csv(rows: Iterable[Row]) -> str:
    """The text of a CSV file with a header; values survive a round trip exactly."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((*row[:-1], repr(float(row.value))) for row in rows)
    return text.getvalue()


def read_csv(path: str | Path) -> list[Row]:
    """The rows of a file that ``to_csv`` made.

    Raises:
        DamagedDataError: the file is not of that form.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            if tuple(next(reader, ())) != COLUMNS:
                raise ValueError("wrong header")
            return [Row(e, m, int(s), int(t), name, float(v)) for e, m, s, t, name, v in reader]
    except ValueError as error:
        raise DamagedDataError(
            f"{quoted(path)} is not a file of curves ({error}); remove it and run the experiment again"
        ) from error


class Curves:
    """All curves of one experiment, by panel, method and metric.

    Args:
        rows: rows of one experiment.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        cells: dict[tuple[str, str, str], dict[tuple[int, int], float]] = {}
        for row in rows:
            panel = row.experiment.partition("/")[2]
            cells.setdefault((panel, row.method, row.metric), {})[row.seed, row.iteration] = row.value
        self._curves = {key: _curve(found) for key, found in cells.items()}

    def without(self, methods: Collection[str]) -> Curves:
        """The curves of all other methods."""
        found = Curves(())
        found._curves = {key: curve for key, curve in self._curves.items() if key[1] not in methods}
        return found

    def panels(self) -> list[str]:
        """Names of the panels, in the order of the rows."""
        return list(dict.fromkeys(panel for panel, _, _ in self._curves))

    def pairs(self) -> list[tuple[str, str]]:
        """The pairs of panel and method that have curves, in the order of the rows."""
        return list(dict.fromkeys((panel, method) for panel, method, _ in self._curves))

    def methods(self, panel: str, metric: str) -> list[str]:
        """Names of the methods that have the metric, in the order of the rows."""
        return [method for p, method, name in self._curves if (p, name) == (panel, metric)]

    def get(self, panel: str, method: str, metric: str) -> Curve:
        """One curve.

        Raises:
            ValueError: there is none; the message lists those there are.
        """
        table = {" | ".join(key): curve for key, curve in self._curves.items()}
        return lookup_name("curve", " | ".join((panel, method, metric)), table)


def _curve(cells: dict[tuple[int, int], float]) -> Curve:
    seeds = np.unique([seed for seed, _ in cells])
    iterations = np.unique([t for _, t in cells])
    values = np.full((len(seeds), len(iterations)), np.nan)
    keys = np.array(list(cells))
    values[np.searchsorted(seeds, keys[:, 0]), np.searchsorted(iterations, keys[:, 1])] = list(cells.values())
    return Curve(seeds, iterations, values)


def rows_of(
    experiment: str, method: str, metric: str, seeds: Sequence[int], iterations: Sequence[int], values: npt.ArrayLike
) -> list[Row]:
    """Rows of one curve with values (S, T)."""
    table = np.asarray(values, dtype=np.float64)
    return [
        Row(experiment, method, int(seed), int(t), metric, float(value))
        for seed, curve in zip(seeds, table, strict=True)
        for t, value in zip(iterations, curve, strict=True)
    ]
