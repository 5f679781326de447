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
from teach_gym.core.backend import Array
from teach_gym.core.build import build
from teach_gym.core.layout import Block, layout, observe
from teach_gym.core.randomness import Streams
from teach_gym.core.spec import TaskSpec
from teach_gym.core.state import Task, TeachState
from teach_gym.files import write_text, writing
from teach_gym.teachers.base import Choice, draws
from teach_gym.teachers.from_file import Facts, FromFile
from teach_gym.teachers.perceptron import ACTIONWISE, Floats, Network, Normalization
from teach_gym.teachers.weights import Loaded, damage_named, read_teacher, write_teacher

KIND = "agent"
_PARTS = ("weight", "bias")


@dataclass(eq=False)
class Agent(FromFile):
    """A trained agent: it sees only the observation, of the kind it was trained on, and keeps no memory.

    Args:
        path: a file of ``save_agent``, or the name of a pretrained one (``teach_gym.pretrained``).
        policy: instead of a path, the network.
        spec: with it, the task it was trained on (None: one whose observation is of the task's own kind).
        sampled: draw actions with the softmax of the scores instead of taking the best; discrete actions only.

    Raises:
        FileNotFoundError: no such file.
        DamagedDataError: a damaged file.
        ValueError: a file of another kind, or neither or both of path and policy.
    """

    give: str = field(default="action", init=False, repr=False)
    policy: Network | None = field(default=None, repr=False)
    every: int | None = field(default=1, init=False, repr=False)
    sampled: bool = False
    name: str = field(default=KIND, init=False)
    _layout: tuple[Task, list[Block]] | None = field(default=None, init=False, repr=False)

    def read(self, path: Path) -> Loaded:
        """Read the network."""
        saved = read_teacher(path, KIND, framework="np")
        with damage_named(path):
            return Loaded(unpacked(saved.card["network"], saved.tensors), saved.spec, saved.card)

    @property
    def network(self) -> Network:
        """Its network."""
        assert self.policy is not None
        return self.policy

    def facts(self, task: Task) -> tuple[Facts, Facts]:
        """The observation and the actions, with their sizes."""
        kind, shown = (self.spec or task.spec).observation, sum(block.size for block in layout(task, self.spec))
        entries = self.network.observation_size(task.n_actions)
        if self.network.form in ACTIONWISE:
            ours = "any discrete actions" if task.spec.continuous else _actions(task.n_actions, continuous=False)
        else:
            ours = _actions(self.network.n_outputs, continuous=self.network.form != "scores")
        theirs = _actions(np.size(task.medium.box[0]) if task.spec.continuous else task.n_actions, task.spec.continuous)
        there: Facts = {"observation": f"{kind} of {entries} numbers", "actions": ours}
        here: Facts = {"observation": f"{kind} of {shown} numbers", "actions": theirs}
        if "medium" in self.card:
            there, here = {"medium": self.card["medium"], **there}, {"medium": task.spec.medium, **here}
        return there, here

    def check(self, task: Task) -> None:
        """Raise a ``ValueError`` if its observations or actions are not the task's."""
        super().check(task)
        if self.sampled and task.spec.continuous:
            raise ValueError("sampled=True needs an agent with discrete actions")

    def choose(self, task: Task, state: TeachState) -> Choice:
        """The actions: (B,) int64, or (B, *Box shape) of the task's dtype.

        Raises:
            ValueError: its observations or actions are not the task's.
        """
        if self._layout is None or self._layout[0] is not task:
            self.check(task)
            self._layout = task, layout(task, self.spec)
        found = self.network(observe(task, state, self._layout[1]))
        if self.network.form in ("scores", *ACTIONWISE):
            return sampled_actions(found, draws(state)) if self.sampled else found.argmax(-1)
        low, high = (bound.ravel().astype(np.float32) for bound in task.medium.box)
        action = in_box(found, self.network.form, low, high)
        return action.reshape(len(found), *task.medium.box[0].shape).astype(task.spec.dtype)


def _actions(n: int, continuous: bool) -> str:
    return f"a continuous action of {n} entries" if continuous else f"{n} discrete actions"


def in_box(found: Floats, form: str, low: Floats, high: Floats) -> Floats:
    """Continuous actions between bounds (n,) from what a network gives: (B, n) -> (B, n).

    Args:
        found: outputs of the last layer.
        form: ``box`` or ``squashed``.
        low: least entries of an action.
        high: greatest entries.
    """
    if form == "squashed":
        found = low + np.float32(0.5) * (np.tanh(found) + np.float32(1)) * (high - low)
    return np.asarray(np.clip(found, low, high))


def sampled_actions(scores: Floats, rng: Streams) -> npt.NDArray[np.int64]:
    """Actions drawn with the softmax of their scores: (B, A) -> (B,)."""
    return drawn_actions(scores, rng.uniform())


def drawn_actions(scores: Floats, uniform: Array) -> npt.NDArray[np.int64]:
    """``sampled_actions`` with given numbers in [0, 1): scores (B, A), numbers (B,) -> (B,)."""
    weights = np.exp(scores.astype(np.float64) - scores.max(-1, keepdims=True)).cumsum(-1)
    threshold = uniform[:, None] * weights[:, -1:]
    return np.asarray((weights[:, :-1] <= threshold).sum(1))


def packed(network: Network) -> tuple[dict[str, Any], dict[str, Any]]:
    """A network as plain JSON values and arrays by name; the inverse of ``unpacked``."""
    tensors = {
        f"{i}.{name}": a for i, layer in enumerate(network.layers) for name, a in zip(_PARTS, layer, strict=True)
    }
    normalization = None if network.normalization is None else asdict(network.normalization)
    about: dict[str, Any] = {"activation": network.activation, "form": network.form, "normalization": normalization}
    if network.shared:
        about["shared"] = network.shared
    return about, tensors


def unpacked(about: Mapping[str, Any], tensors: Mapping[str, Any]) -> Network:
    """The network that ``packed`` took apart.

    Raises:
        ValueError: other tensors than those of a network, or layers that do not fit each other.
        LookupError: something is missing.
    """
    n = len(tensors) // len(_PARTS)
    unknown = set(tensors) - {f"{i}.{part}" for i in range(n) for part in _PARTS}
    if unknown:
        raise ValueError(f"unknown tensors {', '.join(sorted(unknown))}")
    weights, biases = ([tensors[f"{i}.{part}"].astype(np.float32) for i in range(n)] for part in _PARTS)
    statistics = about["normalization"]
    normalization = None if statistics is None else Normalization(**statistics)
    layers = list(zip(weights, biases, strict=True))
    return Network(layers, about["activation"], about["form"], normalization, about.get("shared", 0))


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
    Agent(policy=network, spec=spec).check(build(spec))
    about, tensors = packed(network)
    write_teacher(path, KIND, tensors, spec, network=about, **card)


def load_teacher(name: str | Path) -> Agent:
    """Load a trained agent as a teacher; needs neither torch nor the network.

    Args:
        name: a pretrained teacher such as ``ppo/LabelMoons-v0`` or ``universal/label``, which teaches every label task
            with a linear learner (``teach_gym.pretrained.index()`` lists them with their scores); or the path of a file
            that ``teach-gym train`` wrote.

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

    Raises:
        DamagedDataError: a damaged file, or a name that leads out of the package's folder.
    """
    agent = Agent(path=path)
    assert agent.spec is not None
    target = pretrained.place(name)
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
