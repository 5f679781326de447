"""Trained agents as teachers: small networks in files of numbers and JSON, run by numpy alone."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from teach_gym import pretrained
from teach_gym.core.build import build
from teach_gym.core.observe import Block, layout, observe
from teach_gym.core.randomness import Streams
from teach_gym.core.spec import TaskSpec
from teach_gym.core.state import Task, TeachState
from teach_gym.errors import DamagedDataError
from teach_gym.files import write_text, writing
from teach_gym.teachers.base import Choice, Teacher, draws
from teach_gym.teachers.perceptron import Floats, Network, Normalization
from teach_gym.teachers.weights import read_teacher, write_teacher

KIND = "agent"


@dataclass(eq=False)
class Agent(Teacher):
    """A trained agent: it sees only the observation, of the kind it was trained on, and keeps no memory.

    Args:
        path: a file of ``save_agent``, or the name of a pretrained one (``teach_gym.pretrained``).
        sampled: draw actions with the softmax of the scores instead of taking the best; discrete actions only.
        network: instead of a path, the network.
        spec: with it, the task it was trained on (None: one whose observation is of the task's own kind).

    Raises:
        FileNotFoundError: no such file.
        DamagedDataError: a damaged file.
        ValueError: a file of another kind, or neither or both of path and network.
    """

    path: str | Path | None = None
    sampled: bool = False
    network: Network | None = field(default=None, repr=False)
    spec: TaskSpec | None = field(default=None, repr=False)
    name: str = field(default="agent", init=False)

    def __post_init__(self) -> None:
        if (self.path is None) == (self.network is None):
            raise ValueError('an agent is read from a file: give path="FILE.safetensors" (or a network)')
        self.card: dict[str, Any] = {}
        if self.path is not None:
            self.network, self.spec, self.card = _load(self.path)
        self._seen: tuple[Task, list[Block]] | None = None

    def check(self, task: Task) -> None:
        """Raise a ``ValueError`` if its observations or actions are not the task's."""
        assert self.network is not None
        size = sum(block.size for block in layout(task, self.spec))
        if size != self.network.n_inputs:
            raise ValueError(f"the agent sees {self.network.n_inputs} numbers, the task shows {size}; {self._origin()}")
        discrete = self.network.form == "scores"
        n = task.n_actions if discrete else (0 if task.medium.low is None else int(np.size(task.medium.low)))
        if discrete == task.spec.continuous or n != self.network.n_outputs:
            ours = f"{self.network.n_outputs} {'actions' if discrete else 'entries of a continuous action'}"
            theirs = f"a continuous action of {n} entries" if task.spec.continuous else f"{task.n_actions} actions"
            raise ValueError(f"the agent knows {ours}, the task has {theirs}; {self._origin()}")
        if self.sampled and not discrete:
            raise ValueError("sampled=True needs an agent with discrete actions")

    def _origin(self) -> str:
        return "" if self.spec is None else f"it was trained on {self.spec.to_json()}"

    def __call__(self, task: Task, state: TeachState) -> Choice:
        """The actions: (B,) int64, or (B, *Box shape) of the task's dtype."""
        assert self.network is not None
        if self._seen is None or self._seen[0] is not task:
            self._seen = task, layout(task, self.spec)
        found = self.network(observe(task, state, self._seen[1]))
        if self.network.form == "scores":
            return sampled_actions(found, draws(state)) if self.sampled else found.argmax(-1)
        assert task.medium.low is not None and task.medium.high is not None
        shape = task.medium.low.shape
        low, high = (bound.ravel().astype(np.float32) for bound in (task.medium.low, task.medium.high))
        squashed = low + np.float32(0.5) * (np.tanh(found) + np.float32(1)) * (high - low)
        action = np.clip(found if self.network.form == "box" else squashed, low, high)
        return action.reshape(len(action), *shape).astype(task.spec.dtype)


def sampled_actions(scores: Floats, rng: Streams) -> npt.NDArray[np.int64]:
    """Actions drawn with the softmax of their scores: (B, A) -> (B,)."""
    weights = np.exp(scores.astype(np.float64) - scores.max(-1, keepdims=True)).cumsum(-1)
    threshold = rng.uniform()[:, None] * weights[:, -1:]
    return np.asarray((weights[:, :-1] <= threshold).sum(1))


def save_agent(path: str | Path, network: Network, spec: TaskSpec, **card: Any) -> None:
    """Write an agent to a file, whole or not at all.

    Args:
        path: the file, by custom ``*.safetensors``.
        network: what it does.
        spec: the task it was trained on.
        **card: further plain JSON values, such as the algorithm, the settings and the score.

    Raises:
        ValueError: the network does not fit the task, or weights that are not finite.
        TypeError: a card that JSON cannot hold.
    """
    Agent(network=network, spec=spec).check(build(spec))
    tensors = {
        f"{i}.{name}": a for i, layer in enumerate(network.layers) for name, a in zip(_PARTS, layer, strict=True)
    }
    normalization = None if network.normalization is None else asdict(network.normalization)
    about = {"activation": network.activation, "form": network.form, "normalization": normalization}
    write_teacher(path, KIND, tensors, spec, network=about, **card)


_PARTS = ("weight", "bias")


def _load(path: str | Path) -> tuple[Network, TaskSpec, dict[str, Any]]:
    saved = read_teacher(pretrained.find(path), KIND, framework="np")
    try:
        about: Mapping[str, Any] = saved.card["network"]
        n = len(saved.tensors) // 2
        layers = [(saved.tensors[f"{i}.weight"], saved.tensors[f"{i}.bias"]) for i in range(n)]
        statistics = about["normalization"]
        normalization = None if statistics is None else Normalization(**statistics)
        if not all(np.isfinite(a).all() for layer in layers for a in layer):
            raise ValueError("weights that are not finite")
        return Network(layers, about["activation"], about["form"], normalization), saved.spec, saved.card
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DamagedDataError(f"{path} is damaged: {error!r}") from error


def load_teacher(name: str | Path) -> Agent:
    """Load a trained agent as a teacher; needs neither torch nor the network.

    Args:
        name: a pretrained teacher such as ``ppo/LabelMoons-v0`` (``teach_gym.pretrained.index()`` lists them with
            their scores), or the path of a file that ``teach-gym train`` wrote.

    Raises:
        FileNotFoundError: no such file and no such name; the message lists the names.
        DamagedDataError: a damaged file.
    """
    return Agent(path=name)


def publish(path: str | Path, name: str, **card: Any) -> None:
    """Copy an agent's file into the package and write its card.

    Args:
        path: the file.
        name: its name, algorithm/id.
        **card: plain JSON values: ``score`` with ``low`` and ``high``, ``episodes``, ``first_seed``, ``command``.
    """
    agent = Agent(path=path)
    assert agent.spec is not None
    target = pretrained.FOLDER / f"{name}.safetensors"
    with Path(path).open("rb") as source, writing(target) as file:
        shutil.copyfileobj(source, file)
    entry = {
        "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
        "task": json.loads(agent.spec.to_json()),
        **card,
    }
    cards = {**pretrained.index(), name: entry}
    write_text(pretrained.FOLDER / "index.json", json.dumps(dict(sorted(cards.items())), indent=1) + "\n")
    pretrained.index.cache_clear()
