"""The networks of trained agents: perceptrons in numpy, with the statistics their inputs are normalised by."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from teach_gym.core.backend import A, Array, namespace
from teach_gym.errors import lookup_name, positive

Floats = npt.NDArray[np.float32]
FORMS = dict.fromkeys(("scores", "box", "squashed", "each", "trust"))
"""What the last layer gives: a score of each action, a continuous action, one before tanh and scaling to the box, the
score of one action, to which the perceptron is applied one by one, or how far to trust each of an action's numbers."""
ACTIONWISE = ("each", "trust")
"""The forms that fit any number of actions."""


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
        shared: with the form ``each``, how many entries an observation begins with that are the same for all actions.
            It ends with F numbers for each of A actions, (F, A), and an action's score is that of the shared entries
            and its own F numbers. So the network fits any number of actions. With the form ``trust`` the shared
            entries are the inputs, the softmax of the F outputs says how far each of an action's F numbers is trusted,
            and the action's score is minus their mean with these weights.

    Raises:
        ValueError: an unknown activation or form, or layers that do not fit each other.
    """

    layers: list[tuple[Floats, Floats]]
    activation: str
    form: str
    normalization: Normalization | None = None
    shared: int = 0

    def __post_init__(self) -> None:
        lookup_name("activation", self.activation, ACTIVATIONS)
        lookup_name("form", self.form, FORMS)
        size = self.n_inputs
        if self.form == "each" and (self.n_outputs != 1 or not 0 <= self.shared < size):
            raise ValueError(
                f"a network for each action has one output and fewer shared entries than inputs, got {self.n_outputs} "
                f"outputs, {self.shared} shared entries and {size} inputs"
            )
        if self.normalization is not None and len(self.normalization.mean) != size:
            raise ValueError(f"{len(self.normalization.mean)} entries are normalised, the first layer takes {size}")
        for i, (weight, bias) in enumerate(self.layers):
            if weight.ndim != 2 or weight.shape[1] != size or bias.shape != weight.shape[:1]:
                raise ValueError(f"layer {i} must take {size} inputs, got weight {weight.shape} and bias {bias.shape}")
            size = len(bias)

    @property
    def n_inputs(self) -> int:
        """Inputs of the first layer."""
        return int(self.layers[0][0].shape[-1])

    def observation_size(self, n_actions: int) -> int:
        """Entries of an observation in a task with so many actions."""
        if self.form == "trust":
            return self.n_inputs + self.n_outputs * n_actions
        return self.shared + (self.n_inputs - self.shared) * n_actions if self.form == "each" else self.n_inputs

    @property
    def n_outputs(self) -> int:
        """Entries of the last layer."""
        return len(self.layers[-1][1])

    def __call__(self, observation: Floats) -> Floats:
        """What the last layer gives: (B, O) -> (B, n); with ``each`` or ``trust`` the scores of all actions, (B, A)."""
        if self.form == "each":
            return self.perceptron(one_by_one(observation, self.shared, self.n_inputs))[..., 0]
        if self.form == "trust":
            return trusted(self.perceptron(observation[:, : self.n_inputs]), observation[:, self.n_inputs :])
        return self.perceptron(observation)

    def perceptron(self, found: Floats) -> Floats:
        """The perceptron alone, on normalised inputs: (..., n_inputs) -> (..., n_outputs)."""
        act = ACTIVATIONS[self.activation]
        if self.normalization is not None:
            found = self.normalization(found)
        for weight, bias in self.layers[:-1]:
            found = act(found @ weight.T + bias)
        weight, bias = self.layers[-1]
        return np.asarray(found @ weight.T + bias)


def trusted(trust: Floats, own: Floats) -> Floats:
    """Scores of A actions by J numbers of each: trust (B, J) before a softmax, numbers (B, J A) -> (B, A)."""
    weights = np.exp(trust - trust.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.asarray(-(weights[:, None] @ own.reshape(*trust.shape, -1))[:, 0])


def one_by_one(observation: A, shared: int, size: int) -> A:
    """An observation (B, O) taken apart into what concerns each action: (B, A, size).

    Args:
        observation: shared entries, then (size - shared, A) numbers of the actions.
        shared: number of entries that are the same for all actions.
        size: numbers that concern an action, the shared ones included.
    """
    xp, n = namespace(observation), observation.shape[0]
    own = xp.matrix_transpose(observation[:, shared:].reshape((n, size - shared, -1)))
    same = xp.broadcast_to(observation[:, None, :shared], (n, own.shape[1], shared))
    return xp.concat([same, own], axis=-1)
