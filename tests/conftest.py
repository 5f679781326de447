# ruff: noqa: E402
"""Fixtures shared by all tests: the registered names, small tasks of every medium, and data in place of MNIST."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # small arrays: threads of several workers only get in each other's way
os.environ.setdefault("TEACH_GYM_COMPILED", "0")  # compiling takes seconds; tests/envs/test_compiled.py does it

import image_cases
import numpy as np
import pytest

from teach_gym.benchmark.run import run_suite
from teach_gym.benchmark.suite import Run, Suite, expand
from teach_gym.core.randomness import Streams
from teach_gym.data.datasets import DATA_VARIABLE, DATASETS, data_dir
from teach_gym.registration import TASKS

_RAW = data_dir() / DATASETS["mnist"].folder
GENUINE_MNIST = all(  # by their size: in a parallel worker, the imitation of the main process is there
    (_RAW / name).is_file() and (_RAW / name).stat().st_size == known.size
    for name, known in DATASETS["mnist"].files.items()
)

CONTINUOUS_MEDIA = ("label", "mixup", "perturb")

VARIANTS: dict[str, dict[str, Any]] = {
    "label-grid": {"medium": "label", "bias": True},
    "label-grid-one-hot": {
        "medium": "label",
        "learner": "softmax",
        "medium_options": {"kind": "grid"},
        "target": "trained",
    },
    "label-grid-margin": {"medium": "label", "learner": "margin_logistic"},
    "label-mix-uniform": {"medium": "label", "learner": "softmax", "bias": True, "target": "trained"},
    "label-mix-target": {"medium": "label", "medium_options": {"kind": "mix", "p": "target"}, "batch_size": 3},
    "label-mix-prediction": {"medium": "label", "medium_options": {"kind": "mix", "p": "prediction"}},
    "label-offset-prediction": {"medium": "label", "pool": "linear_regression", "learner": "least_squares"},
    "label-offset-truth": {
        "medium": "label",
        "pool": "linear_regression",
        "learner": "least_squares",
        "medium_options": {"centre": "truth", "radius": 0.7},
        "batch_size": 2,
    },
    "mixup": {"medium": "mixup", "learner": "softmax", "target": "trained"},
    "mixup-batch": {"medium": "mixup", "batch_size": 3, "bias": True},
    "perturb-ball": {"medium": "perturb", "bias": True},
    "perturb-axes": {"medium": "perturb", "pool": "linear_regression", "learner": "least_squares", "batch_size": 2},
    "perturb-box": {"medium": "perturb", "medium_options": {"region": "box"}, "bias": True},
    "perturb-box-global": {"medium": "perturb", "medium_options": {"region": "box", "box": "global"}},
    "select": {"medium": "select", "bias": True},
    "select-batch": {"medium": "select", "batch_size": 3, "medium_options": {"n_sources": 5}},
    "mixed-grid": {"medium": "mixed", "bias": True},
    "mixed-mix": {
        "medium": "mixed",
        "learner": "softmax",
        "target": "trained",
        "medium_options": {"n_sources": 3, "kind": "mix"},
        "batch_size": 2,
    },
    "mlp": {"medium": "label", "learner": "mlp", "learner_options": {"hidden": 4}, "bias": True, "target": "trained"},
    "momentum": {"medium": "select", "momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "bias": True},
}
"""Every flavour of every medium, on small pools."""


def variant(name: str, **changes: Any) -> dict[str, Any]:
    """The task arguments of a variant, with a pool small enough to be fast."""
    pool = VARIANTS[name].get("pool", "half_moons")
    options = {"n": 60, "d": 4} if pool == "linear_regression" else {"n": 100}
    return {"budget": 8, "pool_options": options, **VARIANTS[name], **changes}


def continuous_variants() -> list[str]:
    """The variants that have a continuous flavour."""
    return [name for name, kwargs in VARIANTS.items() if kwargs["medium"] in CONTINUOUS_MEDIA]


def streams(n: int, seed: int = 0) -> Streams:
    """B random streams for ``task.reset``."""
    return Streams.from_seeds(seed + np.arange(n))


def names(**conditions: Any) -> list[str]:
    """Registered short names whose task's fields have the allowed values."""
    return [n for n, kwargs in TASKS.items() if all(kwargs.get(key) in ok for key, ok in conditions.items())]


def genuine(tasks: Iterable[str]) -> list[Any]:
    """Names of tasks or of their teachers as parameters of a test of results: those on MNIST need the genuine files."""
    return [pytest.param(name, marks=[pytest.mark.genuine_mnist] if "MNIST" in name else []) for name in tasks]


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # run in the background of a shell; children would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "genuine_mnist: needs the genuine MNIST, for which other tests use an imitation")
    if not GENUINE_MNIST:
        folder = Path(tempfile.mkdtemp(prefix="teach-gym-tests-"))
        config.add_cleanup(lambda: shutil.rmtree(folder))
        files = image_cases.digit_files()
        image_cases.save(files, folder)
        for other in data_dir().glob("*"):
            if not (folder / other.name).exists():
                (folder / other.name).symlink_to(other.resolve())
        # its checksums take the place of the published ones: every file read is compared with them as ever
        DATASETS["mnist"] = image_cases.imitate(files)
        os.environ[DATA_VARIABLE] = str(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skip = pytest.mark.skip(reason="needs the genuine MNIST: set TEACH_GYM_DATA or run: teach-gym data mnist")
    for item in items:
        if not GENUINE_MNIST and item.get_closest_marker("genuine_mnist"):
            item.add_marker(skip)


@pytest.fixture(params=names())
def name(request: pytest.FixtureRequest) -> str:
    """The short name of every registered task, one by one."""
    return str(request.param)


@pytest.fixture(params=names(medium=CONTINUOUS_MEDIA))
def continuous_name(request: pytest.FixtureRequest) -> str:
    """The short name of every registered task whose medium has a continuous flavour."""
    return str(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20231)


@pytest.fixture
def own(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A good user's data set."""
    soft = rng.dirichlet(np.ones(3), size=30)
    return {"X": rng.standard_normal((30, 4)), "y": np.arange(30) % 3, "soft": soft}


SHORT_SUITE = Suite(
    "test", ("LabelMoons:budget=12", "SelectMoons:budget=8"), ("passive", "random", "greedy"), (3, 5, 9)
)
"""A benchmark of a second."""


@pytest.fixture(scope="session")
def runs() -> list[Run]:
    """The runs of the short suite."""
    return expand(SHORT_SUITE)


@pytest.fixture(scope="session")
def rows(runs: list[Run], tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Their rows of results."""
    return run_suite(runs, tmp_path_factory.mktemp("bench") / "runs.jsonl", executor="serial", progress=False)
