"""Experiments: the papers' figures and tables as data, each run by one command with a verdict on every claim."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from teach_gym.errors import lookup_name

if TYPE_CHECKING:
    from teach_gym.papers.engine import Experiment
    from teach_gym.papers.grids import Map

EXPERIMENTS: dict[str, str] = {
    "last-fig7": "teach_gym.papers.last_linear:FIG7",
    "last-fig8": "teach_gym.papers.last_linear:FIG8",
    "last-fig9": "teach_gym.papers.last_moons:FIG9",
    "last-fig10": "teach_gym.papers.last_linear:FIG10",
    "last-fig11": "teach_gym.papers.last_digits:FIG11",
    "last-fig12": "teach_gym.papers.last_learned:FIG12",
    "last-blast": "teach_gym.papers.last_blast:BLAST",
    "last-git": "teach_gym.papers.last_git:GIT",
    "dht-fig3": "teach_gym.papers.dht_greedy:FIG3",
    "dht-fig4": "teach_gym.papers.dht_unrolled:FIG4",
    "dht-fig5": "teach_gym.papers.dht_generative:FIG5",
    "dht-fig6": "teach_gym.papers.dht_pictures:FIG6",
    "dht-fig7": "teach_gym.papers.dht_pictures:FIG7",
    "dht-fig9-10": "teach_gym.papers.dht_privacy:FIG9_10",
    "dht-fig8": "teach_gym.papers.dht_black_box:FIG8",
    "dht-table1": "teach_gym.papers.dht_mixup:TABLE1",
    "dht-table1-tuned": "teach_gym.papers.mixup_tuned:TUNED",
    "dht-table2": "teach_gym.papers.dht_performative:TABLE2",
    "dht-table2-search": "teach_gym.papers.performative_search:SEARCH",
    "dht-table2-tuned": "teach_gym.papers.performative_tuned:TUNED",
}
"""Name -> ``module:object``; loaded on first use."""

BLACK_BOX = (
    *("dht-table1", "dht-table1-tuned", "dht-table2", "dht-table2-search", "dht-table2-tuned"),
    *("dht-fig8", "last-blast"),
)
"""The experiments without w*, which have a page of their own."""

MAPS: dict[str, str] = {
    **{
        name: f"teach_gym.papers.last_maps:{name.removeprefix('last-').upper()}"
        for name in EXPERIMENTS
        if name.startswith("last-")
    },
    **{
        name: f"teach_gym.papers.dht_maps:{name.removeprefix('dht-').replace('-', '_').upper()}"
        for name in ("dht-fig3", "dht-fig4", "dht-fig5", "dht-fig6", "dht-fig7", "dht-fig9-10", "dht-fig8")
    },
}
"""Experiments with maps of where their claims hold -> ``module:object``."""


def experiment(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        ValueError: no such experiment; the message lists those there are.
    """
    found: Experiment = _load(lookup_name("experiment", name, EXPERIMENTS))
    return found


def experiment_maps(name: str) -> tuple[Map, ...]:
    """The maps of an experiment.

    Raises:
        ValueError: no such experiment, or one without maps; the message lists those that have some.
    """
    found: tuple[Map, ...] = _load(lookup_name("experiment with maps", name, MAPS))
    return found


def _load(named: str) -> Any:
    module, _, attribute = named.partition(":")
    return getattr(importlib.import_module(module), attribute)
