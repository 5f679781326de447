"""Results of teacher training: the teachers, how they were trained, and their files."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teach_gym.core.backend import Array
from teach_gym.core.state import Task
from teach_gym.teachers import teacher_class
from teach_gym.teachers.from_file import FromFile
from teach_gym.teachers.weights import write_teacher

if TYPE_CHECKING:
    from teach_gym.teachers.learned.fit import TrainingSettings
    from teach_gym.teachers.learned.networks import TeachingNetworks


@dataclass
class Trained:
    """Teachers of one kind, trained together.

    Attributes:
        kind: their name, such as ``unrolled`` or ``gan``.
        policy: the networks of all S teachers.
        seeds: their seeds.
        tasks: the tasks they were trained on, one for all or one for each.
        settings: how.
        history: named values of every iteration done, (iterations, S) each, such as ``objective``.
        about: what else determined the training, in plain JSON values; part of the description in their files.
        pretraining: losses of the pre-trained networks, by name, (steps, S) each.
    """

    kind: str
    policy: TeachingNetworks
    seeds: tuple[int, ...]
    tasks: tuple[Task, ...]
    settings: TrainingSettings
    history: dict[str, Array]
    about: dict[str, Any] = field(default_factory=dict)
    pretraining: dict[str, Array] = field(default_factory=dict)

    def task(self, index: int) -> Task:
        """The task of a teacher."""
        return self.tasks[index if len(self.tasks) > 1 else 0]

    def teacher(self, index: int | Sequence[int] | None = None, *, give: str = "example") -> FromFile:
        """One teacher, or several (None: all) that each teach their share of the runs."""
        from teach_gym.teachers.learned.networks import pick

        chosen = [index] if isinstance(index, int) else index
        policy: Any = self.policy if chosen is None else pick(self.policy, chosen)
        made: Any = teacher_class(self.kind)
        spec = self.task(0 if chosen is None else chosen[0]).spec
        found: FromFile = made(policy=policy, give=give, spec=spec, every=self.settings.every)
        return found

    def save(self, folder: str | Path) -> list[Path]:
        """Write each teacher to ``folder/SEED.safetensors``."""
        card = {
            "architecture": dataclasses.asdict(self.policy.arch),
            "settings": dataclasses.asdict(self.settings),
            **self.about,
        }
        paths = [Path(folder) / f"{seed}.safetensors" for seed in self.seeds]
        for index, (path, seed) in enumerate(zip(paths, self.seeds, strict=True)):
            tensors = self.teacher(index).policy.state_dict()
            write_teacher(path, self.kind, tensors, self.task(index).spec, seed=seed, **card)
        return paths
