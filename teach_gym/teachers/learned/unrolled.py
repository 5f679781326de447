"""Teachers learned by differentiating through the learner (LAST Eq. 5, DHT 3.3.1).

For those who build on it: ``unroll.unroll`` is the differentiable unroll, ``objective.Training`` an iteration of the
teacher's training, ``fit.fit`` the loop around it with records and checkpoints, ``networks`` the networks of many
teachers at once, ``policy`` what a policy sees and gives, ``weights`` the file format. Here they are put together:

    trained = train_unrolled([task], seeds=range(10), settings=TrainingSettings(steps=40, alpha=1.0), output="box")
    trained.save("teachers")             # teachers/0.safetensors, ...
    teacher = trained.teacher(3)         # an ``Unrolled``, for the benchmark and the environments
    make_teacher("unrolled", path="teachers/3.safetensors")

This module itself needs no torch until a teacher is made or trained.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from teach_gym.core.backend import Array, as_tensor
from teach_gym.core.spec import TaskSpec
from teach_gym.core.state import Example, Task, TeachState, needed
from teach_gym.teachers.actions import nearest_action
from teach_gym.teachers.base import Choice, Teacher
from teach_gym.teachers.weights import check_source, misfit, read_policy, write_teacher

if TYPE_CHECKING:
    from teach_gym.teachers.learned.fit import TrainingSettings
    from teach_gym.teachers.learned.policy import NetworkPolicy

KIND = "unrolled"
_UNSEEN = (
    "budget",
    "reward",
    "observation",
    "tolerance",
    "dtype",
    "continuous",
    "holdout_rows",
    "probes",
    "zeta",
    "debug",
)


@dataclass
class Unrolled(Teacher):
    """A teacher trained by unrolling the learner, read from a file (LAST Eq. 5, DHT 3.3.1).

    It gives a label in ``label`` tasks and features in ``perturb`` tasks. It fits every task of its medium with its
    numbers of features, label entries, parameters and classes; ``differences`` says in what a task is not the one it
    was trained on.

    Args:
        path: a file written by ``Trained.save``.
        give: ``example``: its very label or features. ``action``: the action whose example is nearest to that, for
            environments.
        policy: the networks themselves, instead of a file; run b of B is taught by network b // (B / S).
        spec: the task the policy was trained on, where it is given.
        every: the teacher sees the learner's parameters at every so-many-th step (None: as it was trained).

    Raises:
        FileNotFoundError: no such file.
        DamagedDataError: a damaged file.
        ValueError: a file of another kind, an unknown ``give``, or neither or both of path and policy.
    """

    path: str | Path | None = None
    give: str = "example"
    policy: NetworkPolicy | None = field(default=None, repr=False)
    spec: TaskSpec | None = field(default=None, repr=False)
    every: int | None = None
    name: str = field(default="unrolled", init=False)
    _seen: TeachState | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        check_source(self.name, self.give, self.path, self.policy)
        self.card: dict[str, Any] = {}
        if self.path is not None:
            self.policy, self.spec, self.card = load_policy(self.path)
        if self.every is None:
            self.every = self.card.get("settings", {}).get("every", 1)
        assert self.policy is not None
        self.policy.eval()

    def check(self, task: Task) -> None:
        """Raise a ``ValueError`` that names both tasks if the networks do not fit a task."""
        from teach_gym.teachers.learned.policy import architecture

        assert self.policy is not None
        arch = self.policy.arch
        names = ("medium", "d", "k", "parameters", "classes", "momentum")
        if task.spec.medium == arch.medium:
            wanted = architecture(task, hidden=arch.hidden, output=arch.output)
            apart = [name for name in names if getattr(arch, name) != getattr(wanted, name)]
        else:
            wanted, apart = None, ["medium"]
        if not apart:
            return
        there = {name: getattr(arch, name) for name in apart}
        here = {name: task.spec.medium if wanted is None else getattr(wanted, name) for name in apart}
        raise misfit(self.spec, task, there, here)

    def differences(self, task: Task) -> dict[str, tuple[Any, Any]]:
        """In what a task differs from the one trained on: field -> (there, here); those that change the learning.

        What the teacher does not see (budget, reward, observation, tolerance, dtype, flavour of the actions) is left
        out. The step size, the pool, the target, the initial learner and the update rule matter.
        """
        if self.spec is None:
            return {}
        there, here = (json.loads(spec.to_json()) for spec in (self.spec, task.spec))
        return {n: (there.get(n), here[n]) for n in here if n not in _UNSEEN and there.get(n) != here[n]}

    def __call__(self, task: Task, state: TeachState) -> Choice:
        """The teaching examples of B runs, or the nearest actions.

        Raises:
            ValueError: B is not a multiple of the number of networks.
            RuntimeError: with ``every`` above one, the runs' first steps were not seen.
        """
        example = self._example(task, self._remembered(state))
        return example if self.give == "example" else nearest_action(task, state, example)

    def _example(self, task: Task, state: TeachState) -> Example:
        """The policy's examples as numpy arrays of the task's dtype."""
        import torch

        policy = self.policy
        assert policy is not None
        if len(state.w) % policy.n:
            raise ValueError(f"{policy.n} networks teach as many runs each; {len(state.w)} runs cannot be shared out")
        dtype = next(policy.parameters()).dtype

        def tensor(a: Array) -> Any:
            return torch.tensor(np.array(a, order="C"), dtype=dtype)

        with torch.no_grad():
            out = policy.raw(tensor(policy.inputs(task, state)))
            offered = state._replace(x=tensor(state.x), y=tensor(state.y))
            made = policy.example(task, offered, out)
        label = policy.arch.medium == "label"
        x = state.x[:, 0] if label else as_tensor(made.x).numpy().astype(state.x.dtype)
        return Example(x, as_tensor(made.y).numpy().astype(state.y.dtype) if label else state.y[:, 0])

    def _remembered(self, state: TeachState) -> TeachState:
        """The state with each learner as it was at the last step at which the teacher sees it."""
        if self.every == 1:
            return state
        fresh, seen = state.t % self.every == 0, self._seen
        known = seen is not None and len(seen.t) == len(fresh) and (fresh | (seen.key == state.key)).all()
        if seen is None or not known:
            if not fresh.all():
                raise RuntimeError(f"this teacher remembers what it saw: teach from the first step, every={self.every}")
            seen = state
        w, velocity = np.where(fresh[:, None], state.w, seen.w), None
        if state.velocity is not None:
            velocity = np.where(fresh[:, None], state.velocity, needed(seen.velocity))
        self._seen = state._replace(w=w, velocity=velocity, difference=state.target - w)
        return self._seen

    def gradient_evaluations(self, task: Task) -> int:
        """None: one pass through a network."""
        return 0


@dataclass
class Trained:
    """What ``train_unrolled`` gives, and the base of what the other trainings of teachers give.

    Attributes:
        policy: the networks of all S teachers, a torch module.
        seeds: their seeds.
        tasks: the tasks they were trained on, one for all or one for each.
        settings: how.
        history: named values of every iteration done, (iterations, S) each: ``objective``, ``gap`` (mean squared
            distance after the last step) and ``loss``.
    """

    policy: Any
    seeds: tuple[int, ...]
    tasks: tuple[Task, ...]
    settings: TrainingSettings
    history: dict[str, Array]

    def task(self, index: int) -> Task:
        """The task of a teacher."""
        return self.tasks[index if len(self.tasks) > 1 else 0]

    def teacher(self, index: int | None = None, *, give: str = "example") -> Teacher:
        """One teacher as an ``Unrolled``; None: all of them, each teaching its share of the runs."""
        from teach_gym.teachers.learned.networks import pick

        policy: Any = self.policy if index is None else pick(self.policy, index)
        return Unrolled(policy=policy, give=give, spec=self.task(index or 0).spec, every=self.settings.every)

    def save(self, folder: str | Path) -> list[Path]:
        """Write each teacher to ``folder/SEED.safetensors``."""
        paths = []
        for index, seed in enumerate(self.seeds):
            one = self.teacher(index)
            paths.append(Path(folder) / f"{seed}.safetensors")
            card = {
                "architecture": dataclasses.asdict(self.policy.arch),
                "settings": dataclasses.asdict(self.settings),
                **self.about(),
            }
            write_teacher(paths[-1], one.name, self.tensors(one), self.task(index).spec, seed=seed, **card)
        return paths

    def tensors(self, one: Any) -> dict[str, Any]:
        """What the file of a teacher holds."""
        return dict(one.policy.state_dict())

    def about(self) -> dict[str, Any]:
        """What else the description in the files says, in plain JSON values."""
        return {}


def load_policy(path: str | Path) -> tuple[NetworkPolicy, TaskSpec, dict[str, Any]]:
    """The policy in a file, the task it was trained on and the file's description; see ``Unrolled``."""
    from teach_gym.teachers.learned.policy import Architecture, NetworkPolicy

    return read_policy(path, KIND, lambda about: NetworkPolicy(Architecture(**about), None, [0]))


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
    device: str = "cpu",
    **records: Any,
) -> Trained:
    """Train teachers by unrolling their learners, all at once.

    Args:
        tasks: one task for all teachers, or one for each (other pools and targets).
        seeds: one for each teacher: its first weights, its learners and their data.
        settings: how to train (None: DHT's settings).
        hidden: units of the hidden layers (None: DHT's).
        output: see ``teach_gym.teachers.learned.policy.Architecture`` (None: ``free``).
        normalize: see there.
        aligned: see there.
        batch_norm: see there (None: where DHT has it).
        box: see there.
        activation: see there.
        device: a torch device.
        **records: ``out``, ``resume``, ``starts``, ``progress`` and further arguments of
            ``teach_gym.teachers.learned.fit.fit``.

    Raises:
        DivergedError: a learner or a network is no longer finite; the message names the step.
        ValueError: a task that no such policy fits, or other bad arguments.
    """
    from teach_gym.teachers.learned.fit import TrainingSettings, fit
    from teach_gym.teachers.learned.objective import Training
    from teach_gym.teachers.learned.policy import NetworkPolicy, architecture

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
    )
    policy = NetworkPolicy(arch, tasks, seeds)
    training = Training(tasks[0], policy, settings, device)
    config = {"kind": KIND, "architecture": dataclasses.asdict(arch)}
    history = fit(training, training.parts, tasks, seeds, settings, config=config, device=device, **records)
    policy.to("cpu").eval()
    return Trained(policy, tuple(seeds), tuple(tasks), settings, history)
