"""What ``teach-gym reproduce`` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from teach_gym.benchmark.charts import load_matplotlib
from teach_gym.benchmark.processes import cpus
from teach_gym.errors import DataNotFoundError, lookup_name
from teach_gym.files import make_folder
from teach_gym.messages import show
from teach_gym.papers import EXPERIMENTS, MAPS, experiment, experiment_maps
from teach_gym.papers.engine import run_experiment
from teach_gym.papers.maps import SUFFIX, run_maps
from teach_gym.papers.report import verdict_lines

ALL = "all"


def listing() -> list[list[str]]:
    """Name, source, title and scales of every experiment."""
    rows = []
    for found in map(experiment, EXPERIMENTS):
        scales = ", ".join(f"{scale} ({settings['seeds']} seeds)" for scale, settings in found.scales.items())
        rows.append([found.name, found.source, found.title, scales])
    return rows


def reproduce(
    name: str,
    out: Path,
    say: Callable[[str], None],
    *,
    scale: str,
    seeds: Sequence[int] | None,
    panels: Sequence[str] = (),
    workers: int | None = None,
    mapped: bool = False,
) -> int:
    """Run one experiment or all and print the verdicts; the exit code is 1 if data or a package was missing, else 0.

    With ``mapped`` the maps of where the claims hold are run instead, in folders ``NAME-map``.

    Raises:
        ValueError: unknown experiment, scale or panel, or a number of workers that is not positive.
        ImportError: matplotlib, or what the one experiment asked for needs, is not installed.
        DataNotFoundError: the data of the one experiment asked for is not there.
    """
    known = MAPS if mapped else EXPERIMENTS
    lookup_name("experiment with maps" if mapped else "experiment", name, {ALL: "", **known})
    load_matplotlib()
    make_folder(out)
    missing = 0
    how: dict[str, Any] = {"scale": scale, "seeds": seeds, "panels": panels}
    how["workers"] = cpus() if workers is None else workers
    for chosen in known if name == ALL else (name,):
        folder = out / (chosen + SUFFIX if mapped else chosen)
        say(f"{chosen}: results go to {folder}")
        try:
            if mapped:
                text = run_maps(experiment(chosen), experiment_maps(chosen), folder, **how)
            else:
                text = verdict_lines(run_experiment(experiment(chosen), folder, **how))
        except (DataNotFoundError, ImportError) as error:
            if name != ALL:
                raise
            say(f"{chosen} skipped: {error}")
            missing = 1
            continue
        show(f"{chosen}\n{text}\n", flush=True)
    return missing
