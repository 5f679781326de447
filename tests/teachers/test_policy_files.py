"""Files of learned teachers that are not what they should be: all kinds name what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import variant

torch = pytest.importorskip("torch")

from safetensors import safe_open  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from teach_gym.core.build import make_task  # noqa: E402
from teach_gym.core.layout import layout  # noqa: E402
from teach_gym.core.state import Task  # noqa: E402
from teach_gym.errors import DamagedDataError  # noqa: E402
from teach_gym.teachers import make_teacher  # noqa: E402
from teach_gym.teachers.agent import save_agent  # noqa: E402
from teach_gym.teachers.learned.blast import train_black_box  # noqa: E402
from teach_gym.teachers.learned.fit import TrainingSettings  # noqa: E402
from teach_gym.teachers.learned.generative import train_generative  # noqa: E402
from teach_gym.teachers.learned.pretrain import Pretraining  # noqa: E402
from teach_gym.teachers.learned.terms import Privacy  # noqa: E402
from teach_gym.teachers.learned.unrolled import train_unrolled  # noqa: E402
from teach_gym.teachers.perceptron import Network  # noqa: E402

SETTINGS = TrainingSettings(iterations=1, steps=2, learners=2)


def _agent(task: Task, path: Path) -> None:
    layer = np.zeros((task.n_actions, sum(block.size for block in layout(task))), np.float32)
    save_agent(path, Network([(layer, np.zeros(task.n_actions, np.float32))], "Tanh", "scores"), task.spec)


def _unrolled(task: Task, path: Path) -> None:
    train_unrolled([task], [0], SETTINGS, hidden=(4,), progress=False).save(path.parent)[0].rename(path)


def _gan(task: Task, path: Path) -> None:
    how: dict[str, Any] = {"hidden": (4,), "records": {"progress": False}, "pretraining": Pretraining(2)}
    made = train_generative("gan", [task], [0], SETTINGS, privacy=Privacy(0.1, rows=5), **how)
    made.save(path.parent)[0].rename(path)


def _black_box(task: Task, path: Path) -> None:
    train_black_box([task], [0], SETTINGS, architecture={"hidden": (4,)}, progress=False).save(path.parent)[0].rename(
        path
    )


WRITERS: dict[str, Callable[[Task, Path], None]] = {
    "agent": _agent,
    "unrolled": _unrolled,
    "gan": _gan,
    "black_box": _black_box,
}
kinds = pytest.mark.parametrize("kind", WRITERS)


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict[str, Any], dict[str, str]]]:
    """Tensors and metadata of a good file of each kind."""
    found = {}
    for kind, write in WRITERS.items():
        path = tmp_path_factory.mktemp(kind) / "good.safetensors"
        write(make_task(**variant("perturb-ball" if kind == "gan" else "label-grid")), path)
        make_teacher(kind, path=path)
        with safe_open(str(path), framework="pt") as file:
            found[kind] = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    return found


def refused(kind: str, tensors: dict[str, Any], fields: dict[str, str], path: Path, match: str) -> None:
    save_file(tensors, path, fields)
    with pytest.raises(DamagedDataError, match=match) as caught:
        make_teacher(kind, path=path)
    assert path.name in str(caught.value)


@kinds
@pytest.mark.parametrize(
    "dtype", ["int64", "uint8", "bool", "complex64", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2"]
)
def test_weights_of_other_types(kind: str, dtype: str, contents: Any, tmp_path: Path) -> None:
    tensors, fields = contents[kind]
    name = next(iter(tensors))
    odd = {**tensors, name: tensors[name].to(getattr(torch, dtype))}
    refused(kind, odd, fields, tmp_path / "odd.safetensors", f"weights must be F32 or F64, got .*{name}")


@kinds
def test_tensors_that_are_unknown_missing_or_not_finite(kind: str, contents: Any, tmp_path: Path) -> None:
    tensors, fields = contents[kind]
    name, path = next(iter(tensors)), tmp_path / "odd.safetensors"
    refused(kind, {**tensors, "surprise": torch.zeros(3)}, fields, path, "surprise")
    refused(kind, {key: a for key, a in tensors.items() if key != name}, fields, path, "damaged")
    refused(kind, {**tensors, name: tensors[name][..., :-1].contiguous()}, fields, path, "damaged")
    refused(kind, {**tensors, name: torch.full_like(tensors[name], torch.nan)}, fields, path, f"not finite.*{name}")
    refused(kind, {}, fields, path, "damaged")


@kinds
def test_cards_that_make_no_sense(kind: str, contents: Any, tmp_path: Path) -> None:
    tensors, fields = contents[kind]
    card = json.loads(fields["teach_gym.card"])
    task = card["task"]
    cards: list[Any] = [
        None,
        [],
        {},
        {**card, "task": None},
        {**card, "task": {**task, "observation": "x"}},
        {**card, "task": {**task, "budget": -1}},
        {**card, "task": {**task, "surprise": 1}},
        {**card, "architecture": [1], "network": [1]},
        {**card, "architecture": {}, "network": {}},
    ]
    if kind != "agent":
        cards += [{**card, "settings": settings} for settings in ([1], {"every": 0}, {"every": "x"}, {"every": 1.5})]
    texts = [json.dumps(c) for c in cards] + ["[" * 200_000, "{", '{"task": ' * 100_000, "9" * 10_000]
    for text in texts:
        refused(kind, tensors, {**fields, "teach_gym.card": text}, tmp_path / "odd.safetensors", "damaged")
    refused(
        kind, tensors, {k: v for k, v in fields.items() if "card" not in k}, tmp_path / "odd.safetensors", "damaged"
    )
