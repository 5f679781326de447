"""Teachers learned by differentiating through the learner (LAST Eq. 5, DHT 3.3.1).

The building blocks: ``unroll.unroll`` is the differentiable unroll, ``objective.Training`` an iteration of the
teacher's training, ``fit.fit`` the loop around it with records and checkpoints, ``networks`` the networks of many
teachers at once, ``policy`` what a policy sees and gives, ``weights`` the file format. This module combines them:

    trained = train_unrolled([task], seeds=range(10), settings=TrainingSettings(steps=40, alpha=1.0), output="box")
    trained.save("teachers")             # teachers/0.safetensors, ...
    teacher = trained.teacher(3)         # an ``Unrolled``, for the benchmark and the environments
    make_teacher("unrolled", path="teachers/3.safetensors")

This module itself needs no torch until a teacher is made or trained.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teach_gym.core.state import Task
from teach_gym.teachers.from_file import FromFile
from teach_gym.teachers.learned.trained import Trained
from teach_gym.teachers.weights import Loaded, read_policy

if TYPE_CHECKING:
    from teach_gym.teachers.learned.fit import TrainingSettings

KIND = "unrolled"


@dataclass(eq=False)
class Unrolled(FromFile):
    """A teacher trained by unrolling the learner, read from a file (LAST Eq. 5, DHT 3.3.1).

    It gives a label in ``label`` tasks and features in ``perturb`` tasks. It fits every task of its medium with its
    numbers of features, label entries, parameters and classes; ``differences`` lists how a task differs from the one it
    was trained on.

    Args:
        see ``teach_gym.teachers.from_file.FromFile``, also for errors.
    """

    name: str = field(default=KIND, init=False)

    def read(self, path: Path) -> Loaded:
        """Read the networks."""
        from teach_gym.teachers.learned.policy import empty_policy

        return read_policy(path, self.name, empty_policy)


def train_unrolled(
    tasks: Sequence[Task],
    seeds: Sequence[int],
    settings: TrainingSettings | None = None,
    *,
    hidden: Sequence[int] | None = None,
    output: str | None = None,
    normalize: bool = False,
    aligned: bool = False,
    batch_norm: bool | None = None,
    box: str = "per_dimension",
    activation: str = "relu",
    bias: bool = True,
    embedding: bool = False,
    device: str = "cpu",
    **records: Any,
) -> Trained:
    """Train teachers by unrolling their learners, all at once.

    Args:
        tasks: one task for all teachers, or one for each (different pools and targets).
        seeds: one for each teacher; it determines the initial weights, the learners and their data.
        settings: how to train (None: DHT's settings).
        hidden: units of the hidden layers (None: DHT's).
        output: see ``teach_gym.teachers.learned.architecture.Architecture`` (None: ``free``).
        normalize: see there.
        aligned: see there.
        batch_norm: see there (None: where DHT has it).
        box: see there.
        activation: see there.
        bias: see there.
        embedding: see there.
        device: a torch device.
        **records: ``out``, ``resume``, ``starts``, ``progress`` and further arguments of
            ``teach_gym.teachers.learned.fit.fit``.

    Raises:
        DivergedError: a learner or a network is no longer finite; the message names the step.
        ValueError: a task that no such policy fits, or other bad arguments.
    """
    from teach_gym.teachers.learned.architecture import architecture
    from teach_gym.teachers.learned.fit import TrainingSettings, fit
    from teach_gym.teachers.learned.objective import Training
    from teach_gym.teachers.learned.policy import NetworkPolicy

    settings = settings or TrainingSettings()
    arch = architecture(
        tasks[0],
        hidden=hidden,
        output=output or "free",
        normalize=normalize,
        aligned=aligned,
        batch_norm=batch_norm,
        activation=activation,
        box=box,
        bias=bias,
        embedding=embedding,
    )
    policy = NetworkPolicy(arch, tasks, seeds)
    training = Training(tasks[0], policy, settings, device=device)
    config = {"kind": KIND, "architecture": dataclasses.asdict(arch)}
    history = fit(training, training.parts, tasks, seeds, settings, config=config, device=device, **records)
    policy.to("cpu").eval()
    return Trained(KIND, policy, tuple(seeds), tuple(tasks), settings, history)
