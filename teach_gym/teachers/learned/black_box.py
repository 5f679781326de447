"""Black-box teachers from files: they see the learner and the offered examples, but not w*."""

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
        see ``teach_gym.teachers.from_file.FromFile``, also for errors.
    """

    name: str = field(default=KIND, init=False)

    def read(self, path: Path) -> Loaded:
        """Read the networks."""
        from teach_gym.teachers.learned.values import BlackBoxArchitecture, BlackBoxPolicy

        return read_policy(path, self.name, lambda about, _: BlackBoxPolicy(BlackBoxArchitecture(**about), [0]))
