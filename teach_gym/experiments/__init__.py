"""Experiments: the papers' figures and tables as data, each run by one command with a verdict on every claim."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from teach_gym.errors import lookup_name

if TYPE_CHECKING:
    from teach_gym.experiments.engine import Experiment

EXPERIMENTS: dict[str, str] = {
    "last-fig7": "teach_gym.experiments.last_linear:FIG7",
    "last-fig8": "teach_gym.experiments.last_linear:FIG8",
    "last-fig9": "teach_gym.experiments.last_moons:FIG9",
    "last-fig10": "teach_gym.experiments.last_linear:FIG10",
    "last-fig11": "teach_gym.experiments.last_digits:FIG11",
    "last-git": "teach_gym.experiments.last_git:GIT",
    "dht-fig3": "teach_gym.experiments.dht_greedy:FIG3",
}
"""Name -> ``module:object``; loaded on first use."""


def experiment(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        ValueError: no such experiment; the message lists those there are.
    """
    module, _, attribute = lookup_name("experiment", name, EXPERIMENTS).partition(":")
    found: Experiment = getattr(importlib.import_module(module), attribute)
    return found
