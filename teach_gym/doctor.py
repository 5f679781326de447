"""What is installed and found on this machine."""

from __future__ import annotations

import importlib.util
import os
import platform

from teach_gym.versions import __version__, version_of

Table = tuple[list[str], list[list[str]]]

DEPENDENCIES = (
    "gymnasium",
    "numpy",
    "array-api-compat",
    "scikit-learn",
    "scipy",
    "Pillow",
    "tyro",
    "threadpoolctl",
    "tqdm",
    "Jinja2",
    "safetensors",
)
EXTRAS = {
    "torch": ("torch",),
    "vision": ("torch", "torchvision"),
    "agents": ("torch", "stable-baselines3", "wandb", "tensorboard", "PyYAML"),
    "plots": ("matplotlib",),
    "ray": ("ray",),
    "minari": ("minari",),
}
"""The optional dependencies of ``pyproject.toml`` that users install, by extra."""


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
    dependencies = [[name, version_of(name) or "missing: pip install teach_gym"] for name in DEPENDENCIES]
    extras = []
    for extra, distributions in EXTRAS.items():
        for name in distributions:
            extras.append([extra, name, version_of(name) or f"missing: pip install 'teach_gym[{extra}]'"])
    data = []
    for name in datasets.DATASETS:
        problems = datasets.check(name)
        missing = f"missing: teach-gym data {name}" if all(p.startswith("missing") for p in problems) else problems[0]
        data.append([name, missing if problems else "found, checksums right"])
    return {
        "System": (["What", "Found"], system),
        "Dependencies": (["Package", "Version"], dependencies),
        "Extras": (["Extra", "Package", "Version"], extras),
        "Data": (["Data set", "State"], data),
    }


def gpu() -> str:
    """The CUDA devices torch sees, in words."""
    if importlib.util.find_spec("torch") is None:
        return "not known: torch is not installed"
    import torch

    if not torch.cuda.is_available():
        return "none that torch can use"
    return ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
