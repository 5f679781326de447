"""What is installed and found on this machine."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING

from teach_gym.errors import DataNotFoundError
from teach_gym.registration import NEURAL_TASKS, TASKS, env_id, task_kwargs
from teach_gym.versions import __version__, version_of

if TYPE_CHECKING:
    from packaging.requirements import Requirement

Table = tuple[list[str], list[list[str]]]

DISTRIBUTION = "teach_gym"
MAINTAINERS = ("test", "dev", "docs", "all")
"""The extras that users have no need of."""


def findings() -> dict[str, Table]:
    """Topic -> table (header, rows) of what was found."""
    from teach_gym.data import datasets

    system = [
        ["teach_gym", __version__],
        ["python", f"{platform.python_version()} ({platform.python_implementation()})"],
        ["platform", platform.platform()],
        ["CPUs", str(os.cpu_count())],
        ["GPU", gpu()],
        ["data folder", str(datasets.data_dir().resolve())],
    ]
    data = datasets_found()
    tasks = [[env_id(name), _task_state(name, data)] for name in (*TASKS, *NEURAL_TASKS)]
    return {
        "System": (["What", "Found"], system),
        **packages(),
        "Data": (["Data set", "State"], [list(row) for row in data.items()]),
        "Tasks": (["Task", "State"], tasks),
    }


def datasets_found() -> dict[str, str]:
    """The state of the data sets by name; it starts with "found" where all is well."""
    from teach_gym.data import datasets

    data = {}
    for name in datasets.DATASETS:
        problems = datasets.check(name)
        missing = f"missing: teach-gym data {name}" if all(p.startswith("missing") for p in problems) else problems[0]
        data[name] = missing if problems else "found, checksums right"
    try:
        data["cifar10_jpeg"] = f"found: {datasets.cifar10_jpeg()}"
    except DataNotFoundError as error:
        data["cifar10_jpeg"] = f"missing: {error}"
    return data


def _task_state(name: str, data: Mapping[str, str]) -> str:
    """Whether a task's environment can be made here, by the states of the data sets."""
    pool = task_kwargs(name)["pool"]
    lacking = [] if data.get(pool, "found").startswith("found") else [f"data set {pool}"]
    if name in NEURAL_TASKS and version_of("torch") is None:
        lacking.insert(0, f"torch: pip install '{DISTRIBUTION}[torch]'")
    return f"missing: {', '.join(lacking)}" if lacking else "ready"


def packages() -> dict[str, Table]:
    """The requirements and extras of the installed distribution, with the versions found."""
    from packaging.requirements import Requirement

    try:
        about = metadata.metadata(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        unknown = f"not known: {DISTRIBUTION} is not installed as a package (pip install .)"
        return {"Dependencies": (["Package", "Version"], [["all", unknown]])}
    requirements = [Requirement(line) for line in about.get_all("Requires-Dist") or ()]
    needed = [r for r in requirements if _applies(r, "")]
    extras = [
        [extra, r.name, _state(r, f"'{DISTRIBUTION}[{extra}]'")]
        for extra in about.get_all("Provides-Extra") or ()
        if extra not in MAINTAINERS
        for r in requirements
        if r not in needed and _applies(r, extra)
    ]
    return {
        "Dependencies": (["Package", "Version"], [[r.name, _state(r, DISTRIBUTION)] for r in needed]),
        "Extras": (["Extra", "Package", "Version"], extras),
    }


def _applies(requirement: Requirement, extra: str) -> bool:
    """Whether a requirement is one of an extra (empty: of the package itself) on this machine."""
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _state(requirement: Requirement, wanted: str) -> str:
    """The version found, or what to do about it."""
    found = version_of(requirement.name)
    if found is None:
        return f"missing: pip install {wanted}"
    if not requirement.specifier.contains(found, prereleases=True):
        return f"{found}, but {requirement.specifier} is needed: pip install --upgrade {wanted}"
    return found


def gpu() -> str:
    """The CUDA devices torch sees, in words."""
    if importlib.util.find_spec("torch") is None:
        return "not known: torch is not installed"
    import torch

    if not torch.cuda.is_available():
        return "none that torch can use"
    return ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
