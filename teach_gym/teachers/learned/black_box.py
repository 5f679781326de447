"""Black-box teachers from files: they see the learner and the offered examples, and nothing of w*."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from teach_gym.teachers.from_file import FromFile
from teach_gym.teachers.weights import Loaded, read_policy

KIND = "black_box"


@dataclass(eq=False)
class BlackBox(FromFile):
    """A teacher trained on hold-out rows, without w* (LAST 4, DHT 4.1 and 5.2); see ``teachers.learned.blast``.

    Args:
        path: a file written by ``Trained.save``.
        give: ``example``: its very example. ``action``: the nearest action.
        policy: the networks, instead of a file; run b of B is taught by network b // (B / S).
        spec: the task the policy was trained on, where it is given.
        every: the teacher sees the learner at every so-many-th step (None: at every step, as it was trained).

    Raises:
        FileNotFoundError: no such file.
        DamagedDataError: a damaged file.
        ValueError: a file of another kind, an unknown ``give``, or neither or both of path and policy.
    """

    name: str = field(default=KIND, init=False)

    def read(self, path: Path) -> Loaded:
        """Read the networks."""
        from teach_gym.teachers.learned.values import BlackBoxArchitecture, BlackBoxPolicy

        return read_policy(path, self.name, lambda about, _: BlackBoxPolicy(BlackBoxArchitecture(**about), [0]))
