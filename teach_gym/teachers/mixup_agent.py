"""Trained agents that choose the coefficients of a mixup training of an image learner, and their files.

Such a training has no teaching state, so these agents are not teachers of the benchmark: they see the environment's
observations, and ``teach_gym.benchmark.neural`` scores them. The module needs torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from teach_gym.core.backend import Array
from teach_gym.errors import shown
from teach_gym.neural.mixup_spec import MixupSpec
from teach_gym.teachers.agent import drawn_actions, in_box, packed, unpacked
from teach_gym.teachers.perceptron import Floats, Network
from teach_gym.teachers.weights import damage_named, read_contents, write_teacher

KIND = "mixup_agent"
OBSERVED = 3
"""Entries of an observation (``teach_gym.neural.mixup.Trainings.observation``)."""
_LOW, _HIGH = np.zeros(1, np.float32), np.ones(1, np.float32)


@dataclass(frozen=True, eq=False)
class MixupAgent:
    """A trained agent: it sees only the observation and keeps no memory.

    >>> action = MixupAgent.read("runs/ppo/policy.safetensors")(observation)  # doctest: +SKIP

    Attributes:
        network: what it does.
        spec: the training that it chooses the coefficients of.
        card: the description in its file.

    Raises:
        ValueError: the network's inputs or outputs are not the task's observations or actions.
    """

    network: Network
    spec: MixupSpec
    card: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n, continuous = self.network.n_outputs, self.spec.continuous
        forms, wanted = (("box", "squashed"), 1) if continuous else (("scores",), len(self.spec.coefficients))
        if self.network.n_inputs != OBSERVED or self.network.form not in forms or n != wanted:
            raise ValueError(
                f"the task shows {OBSERVED} numbers and takes {wanted} outputs of the form {' or '.join(forms)}; the "
                f"network takes {self.network.n_inputs} numbers and has {n} of the form {shown(self.network.form)}"
            )

    def __call__(self, observation: Floats, uniform: Array | None = None) -> npt.NDArray[Any]:
        """The actions of the environment, for one observation or a batch of them: (..., 3) -> (...).

        Args:
            observation: what the environment shows.
            uniform: numbers in [0, 1), one for each observation of a batch: discrete actions are drawn with the softmax
                of their scores (None: the best are taken). They have no effect on continuous actions.

        Returns:
            int64, or float32 for continuous actions.
        """
        rows = np.atleast_2d(observation)
        found = self.network(rows)
        action: npt.NDArray[Any]
        if self.spec.continuous:
            action = in_box(found, self.network.form, _LOW, _HIGH)[:, 0]
        else:
            action = found.argmax(-1) if uniform is None else drawn_actions(found, uniform)
        return action.reshape(np.shape(observation)[:-1])

    def save(self, path: str | Path, **card: Any) -> None:
        """Write the agent to a file, whole or not at all.

        Args:
            path: the file, by custom ``*.safetensors``.
            **card: further plain JSON values, such as the algorithm, the settings and the score.

        Raises:
            ValueError: weights that are not finite.
            TypeError: a card that JSON cannot hold.
        """
        about, tensors = packed(self.network)
        write_teacher(path, KIND, tensors, self.spec, network=about, **card)

    @classmethod
    def read(cls, path: str | Path) -> MixupAgent:
        """Read an agent's file; nothing in it is ever run.

        Raises:
            FileNotFoundError: no such file.
            ValueError: a file of another kind.
            DamagedDataError: a damaged file.
        """
        card, tensors = read_contents(path, KIND, framework="np")
        with damage_named(path):
            return cls(unpacked(card["network"], tensors), MixupSpec(**card["task"]), card)
