"""Trained agents as teachers: small networks in files of numbers and JSON, run by numpy alone."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from teach_gym.backend import Array
from teach_gym.errors import DamagedDataError, lookup_name, positive
from teach_gym.observe import Block, layout, observe
from teach_gym.pretrained import find
from teach_gym.randomness import Streams
from teach_gym.spec import TaskSpec
from teach_gym.task import Task, TeachState
from teach_gym.teachers.base import Choice, Teacher
from teach_gym.teachers.weights import read_teacher, write_teacher

Floats = npt.NDArray[np.float32]
KIND = "agent"
FORMS = dict.fromkeys(("scores", "box", "squashed"))
"""What the last layer gives: a score of each action, a continuous action, or one before tanh and scaling to the box."""


def _sigmoid(x: Floats) -> Floats:
    half = np.tanh(np.float32(0.5) * x)
    return np.asarray(np.float32(0.5) * half + np.float32(0.5))


ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {
    "Tanh": np.tanh,
    "ReLU": lambda x: np.maximum(x, np.float32(0)),
    "LeakyReLU": lambda x: np.where(x > 0, x, np.float32(0.01) * x),
    "ELU": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, np.float32(0)))),
    "SiLU": lambda x: x * _sigmoid(x),
    "Sigmoid": _sigmoid,
}
"""Activations by the name of torch's module, with its default arguments."""


@dataclass(frozen=True)
class Normalization:
    """How observations are shifted, scaled and clipped, as SB3's ``VecNormalize`` does it, in plain numbers.

    Attributes:
        mean: O running means.
        var: O running variances.
        clip: largest absolute value of a normalised entry.
        epsilon: added to the variances.

    Raises:
        ValueError: means and variances of different lengths, or numbers that make no sense.
    """

    mean: list[float]
    var: list[float]
    clip: float
    epsilon: float

    def __post_init__(self) -> None:
        mean, var = np.asarray(self.mean, dtype=np.float64), np.asarray(self.var, dtype=np.float64)
        if mean.ndim != 1 or mean.shape != var.shape or not np.isfinite([mean, var]).all() or (var < 0).any():
            raise ValueError(f"means and variances must be finite lists of one length, got {self.mean}, {self.var}")
        positive("clip", self.clip)
        positive("epsilon", self.epsilon)

    @classmethod
    def of(cls, env: Any) -> Normalization | None:
        """The present statistics of an SB3 ``VecNormalize``, or None if it leaves observations alone."""
        if not env.norm_obs:
            return None
        rms = env.obs_rms
        return cls(rms.mean.tolist(), rms.var.tolist(), float(env.clip_obs), float(env.epsilon))

    @functools.cached_property
    def _shift_and_scale(self) -> tuple[Array, Array]:
        return np.array(self.mean), np.sqrt(np.array(self.var) + self.epsilon)

    def __call__(self, observation: Floats) -> Floats:
        """The same numbers as ``VecNormalize.normalize_obs``: (B, O) -> (B, O) float32."""
        shift, scale = self._shift_and_scale
        return np.asarray(np.clip((observation - shift) / scale, -self.clip, self.clip), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Network:
    """A perceptron with the statistics its inputs are normalised by.

    Attributes:
        layers: (weight (out, in), bias (out,)) of each layer, float32.
        activation: a key of ``ACTIVATIONS``, between the layers.
        form: a key of ``FORMS``.
        normalization: what observations go through first, or None.

    Raises:
        ValueError: an unknown activation or form, or layers that do not fit each other.
    """

    layers: list[tuple[Floats, Floats]]
    activation: str
    form: str
    normalization: Normalization | None = None

    def __post_init__(self) -> None:
        lookup_name("activation", self.activation, ACTIVATIONS)
        lookup_name("form", self.form, FORMS)
        size = self.n_inputs
        if self.normalization is not None and len(self.normalization.mean) != size:
            raise ValueError(f"{len(self.normalization.mean)} entries are normalised, the first layer takes {size}")
        for i, (weight, bias) in enumerate(self.layers):
            if weight.ndim != 2 or weight.shape[1] != size or bias.shape != weight.shape[:1]:
                raise ValueError(f"layer {i} must take {size} inputs, got weight {weight.shape} and bias {bias.shape}")
            size = len(bias)

    @property
    def n_inputs(self) -> int:
        """Entries of an observation."""
        return int(self.layers[0][0].shape[-1])

    @property
    def n_outputs(self) -> int:
        """Entries of the last layer."""
        return len(self.layers[-1][1])

    def __call__(self, observation: Floats) -> Floats:
        """What the last layer gives: (B, O) -> (B, n)."""
        act = ACTIVATIONS[self.activation]
        found = observation if self.normalization is None else self.normalization(observation)
        for weight, bias in self.layers[:-1]:
            found = act(found @ weight.T + bias)
        weight, bias = self.layers[-1]
        return np.asarray(found @ weight.T + bias)


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
        self._rng: Streams | None = None
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

    def start(self, task: Task, rng: Streams) -> None:
        """Keep the streams that actions are drawn from."""
        self._rng = rng

    def __call__(self, task: Task, state: TeachState) -> Choice:
        """The actions: (B,) int64, or (B, *Box shape) of the task's dtype.

        Raises:
            RuntimeError: sampling, and ``start`` was not called with one stream per run.
        """
        assert self.network is not None
        if self._seen is None or self._seen[0] is not task:
            self._seen = task, layout(task, self.spec)
        found = self.network(observe(task, state, self._seen[1]))
        if self.network.form == "scores":
            return self._draw(found) if self.sampled else found.argmax(-1)
        assert task.medium.low is not None and task.medium.high is not None
        shape = task.medium.low.shape
        low, high = (bound.ravel().astype(np.float32) for bound in (task.medium.low, task.medium.high))
        squashed = low + np.float32(0.5) * (np.tanh(found) + np.float32(1)) * (high - low)
        action = np.clip(found if self.network.form == "box" else squashed, low, high)
        return action.reshape(len(action), *shape).astype(task.spec.dtype)

    def _draw(self, scores: Floats) -> npt.NDArray[np.int64]:
        if self._rng is None or len(self._rng) != len(scores):
            raise RuntimeError(f"call start(task, rng) with {len(scores)} streams before a sampled agent teaches")
        weights = np.exp(scores.astype(np.float64) - scores.max(-1, keepdims=True)).cumsum(-1)
        threshold = self._rng.uniform()[:, None] * weights[:, -1:]
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
    from teach_gym.build import build

    Agent(network=network, spec=spec).check(build(spec))
    tensors = {
        f"{i}.{name}": a for i, layer in enumerate(network.layers) for name, a in zip(_PARTS, layer, strict=True)
    }
    normalization = None if network.normalization is None else asdict(network.normalization)
    about = {"activation": network.activation, "form": network.form, "normalization": normalization}
    write_teacher(path, KIND, tensors, spec, network=about, **card)


_PARTS = ("weight", "bias")


def _load(path: str | Path) -> tuple[Network, TaskSpec, dict[str, Any]]:
    saved = read_teacher(find(path), KIND, framework="np")
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
