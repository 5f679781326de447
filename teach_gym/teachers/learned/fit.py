"""The training loop of unrolled teachers: episodes, records, checkpoints, resuming.

``fit`` does not depend on the objective: it draws every iteration's episodes, calls a ``Step`` with them, and keeps
the records. What is trained is a dictionary of parts with ``state_dict`` and ``load_state_dict`` (networks and
optimizers), so that a generator with its discriminator is trained by the same loop as a single policy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

try:
    import torch
except ImportError as error:
    raise ImportError("teach_gym.teachers.learned.fit needs torch: pip install 'teach_gym[torch]'") from error

from tqdm import tqdm

from teach_gym.arguments import conform
from teach_gym.core.backend import Array
from teach_gym.core.spec import Dtype
from teach_gym.core.state import Task
from teach_gym.errors import lookup_name, number, positive, shown
from teach_gym.records.runlog import RunLog
from teach_gym.teachers.learned.unroll import AUXILIARY, Episodes, draw_episodes

Step = Callable[[int, Episodes], Mapping[str, torch.Tensor]]
"""One iteration of training: its number and its episodes -> named values (S,), one for each teacher, to be logged."""


class DivergedError(RuntimeError):
    """Training stopped because numbers were no longer finite; the last good checkpoint is kept."""


@dataclass(frozen=True)
class TrainingSettings:
    """How a teacher is trained, in plain JSON values; the defaults are DHT's (appendix C).

    Attributes:
        iterations: teacher iterations, one step of Adam each.
        steps: unrolled learner steps v.
        learners: learners L taught at once for each teacher; their objectives are averaged.
        learning_rate: of Adam.
        alpha: weight of the losses on the teaching examples (DHT 3.3.1), or one for each teacher.
        auxiliary: whose losses these are: the ``learner``'s (the paper's formula) or those of the ``target`` w* (the
            authors' released version).
        detach: detach the learner's weights between steps: no back-propagation through time, every step's gap counts.
        truncate: let gradients flow through this many steps; the gaps at the end of every window count (None: all).
        last_gap: only the gap after the last step counts, also with ``detach`` and ``truncate``.
        recompute: keep the graph of this many steps at a time, to save memory (None: keep all).
        every: the teacher sees the learner's parameters once in this many steps (v of GIT, LAST Eq. 7).
        weight_decay: L2 penalty in Adam.
        max_grad_norm: largest norm of a teacher's gradient (None: any).
        dtype: ``float32`` or ``float64``.
        checkpoint_every: iterations between checkpoints.

    Raises:
        TypeError: a value of the wrong type.
        ValueError: a value out of range, or ``detach`` with ``truncate``.
    """

    iterations: int = 1000
    steps: int = 40
    learners: int = 16
    learning_rate: float = 0.002
    alpha: float | Sequence[float] = 0.0
    auxiliary: str = "learner"
    detach: bool = False
    truncate: int | None = None
    last_gap: bool = False
    recompute: int | None = None
    every: int = 1
    weight_decay: float = 0.0
    max_grad_norm: float | None = None
    dtype: str = "float32"
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        for name in ("iterations", "steps", "learners", "every", "checkpoint_every", "truncate", "recompute"):
            if getattr(self, name) is not None or name not in ("truncate", "recompute"):
                positive(name, getattr(self, name), integer=True)
        positive("learning_rate", self.learning_rate)
        if self.max_grad_norm is not None:
            positive("max_grad_norm", self.max_grad_norm)
        weights = [("alpha", value) for value in self.alphas]
        for name, value in (*weights, ("weight_decay", self.weight_decay)):
            number(name, value)
            if not 0.0 <= value < float("inf"):
                raise ValueError(f"{name} must be >= 0 and finite, got {shown(value)}")
        for name in ("detach", "last_gap"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be a bool, got {shown(getattr(self, name))}")
        lookup_name("auxiliary loss", self.auxiliary, dict.fromkeys(AUXILIARY))
        if self.detach and self.truncate is not None:
            raise ValueError(f"detach=True is truncate=1; do not give truncate={shown(self.truncate)} as well")
        conform("dtype", self.dtype, Dtype)

    @property
    def alphas(self) -> tuple[float, ...]:
        """The weights of the losses, one for all teachers or one for each."""
        return (self.alpha,) if isinstance(self.alpha, int | float) else tuple(self.alpha)

    def weighted(self, losses: torch.Tensor) -> torch.Tensor | float:
        """``alpha`` times the losses (S,) on the teaching examples; 0 if none are requested."""
        return 0.0 if self.loss is None else losses.new_tensor(self.alphas) * losses

    @property
    def window(self) -> int | None:
        """Steps that gradients flow through, as ``unroll`` takes it."""
        return 1 if self.detach else self.truncate

    @property
    def loss(self) -> str | None:
        """Whose losses on the examples are requested, as ``unroll`` takes it."""
        return self.auxiliary if any(alpha > 0 for alpha in self.alphas) else None


def fit(
    step: Step,
    parts: Mapping[str, Any],
    tasks: Sequence[Task],
    seeds: Sequence[int],
    settings: TrainingSettings,
    *,
    config: Mapping[str, Any],
    out: str | Path | None = None,
    resume: bool = False,
    starts: Array | None = None,
    device: str = "cpu",
    progress: bool = True,
    **logging: Any,
) -> dict[str, Array]:
    """Train: draw an iteration's episodes, make a step, log, checkpoint.

    Iteration i of the teacher with seed s sees episodes made from (s, i) alone, so runs resume bit-equal (on the
    CPU) and teachers do not depend on each other.

    Args:
        step: runs an iteration; it raises ``DivergedError`` when its numbers are not finite.
        parts: what is trained, by name.
        tasks: one task for all teachers, or one for each (in numpy).
        seeds: the teachers' seeds.
        settings: how to train.
        config: everything else that determines the result, in plain JSON values (for example the architecture).
        out: the run's folder (None: keep no records).
        resume: resume from the folder's last checkpoint.
        starts: (S, P) the same initial learners in every iteration; None draws new ones.
        device: a torch device.
        progress: show a progress bar.
        **logging: further arguments of ``RunLog``.

    Returns:
        The values returned by the steps, by name: (iterations done by this call, S).

    Raises:
        DivergedError: numbers are no longer finite; the message names the last good checkpoint.
        FileExistsError: ``out`` holds a run and ``resume`` is not set.
        ValueError: tasks or starts that do not fit, or (resuming) another run.
    """
    check_tasks(tasks, seeds, starts, settings.alphas)
    log = None
    if out is not None:
        about = {**config, **asdict(settings), "seeds": list(seeds), **_digest(tasks, starts)}
        log = RunLog(out, about, spec=tasks[0].spec, resume=resume, **logging)
    history: dict[str, list[Array]] = {}
    try:
        done = _restore(log, parts)
        draw: dict[str, Any] = {"learners": settings.learners, "steps": settings.steps, "starts": starts}
        dtype = getattr(torch, settings.dtype)
        bar = tqdm(
            range(done, settings.iterations), "teacher", disable=not progress, initial=done, total=settings.iterations
        )
        for i in bar:
            try:
                values = step(i, draw_episodes(tasks, seeds, i, device=device, dtype=dtype, **draw))
                _record(i, values, history, log, bar)
                if log is not None and ((i + 1) % settings.checkpoint_every == 0 or i + 1 == settings.iterations):
                    _checkpoint(log, i + 1, parts)
            except DivergedError as error:
                raise DivergedError(f"{error}; {_last_good(log)}") from error
    finally:
        if log is not None:
            log.close()
    return {name: np.stack(rows) for name, rows in history.items()}


def check_tasks(
    tasks: Sequence[Task], seeds: Sequence[int], starts: Array | None, alphas: Sequence[float] = (0.0,)
) -> None:
    """Raise a ``ValueError`` if tasks, seeds, initial learners and weights of losses do not match.

    Teachers with different weights may share a seed.
    """
    if len(alphas) not in (1, len(seeds)):
        raise ValueError(f"give one alpha for all or one for each of the {len(seeds)} seeds, got {len(alphas)}")
    teachers = list(seeds) if len(alphas) == 1 else list(zip(seeds, alphas, strict=True))
    if not seeds or len(set(teachers)) < len(seeds) or min(seeds) < 0:
        raise ValueError(f"seeds must be one or more different integers >= 0, got {list(seeds)}")
    if len(tasks) not in (1, len(seeds)):
        raise ValueError(f"give one task for all or one for each of the {len(seeds)} seeds, got {len(tasks)}")
    apart = ("pool_seed", "pool_options", "target", "target_options", "init", "init_scale", "budget")
    first, *others = ({k: v for k, v in asdict(task.spec).items() if k not in apart} for task in tasks)
    for other in others:
        if other != first:
            names = [name for name in first if first[name] != other[name]]
            raise ValueError(
                f"tasks trained together may differ in {', '.join(apart)} only; these differ in {', '.join(names)}"
            )
    shapes = {(task.d, task.k, task.size) for task in tasks}
    if len(shapes) > 1:
        raise ValueError(f"tasks trained together must have the same shapes (d, K, P), got {sorted(shapes)}")
    wanted = (len(seeds), tasks[0].size)
    if starts is not None and (np.shape(starts) != wanted or not np.isfinite(starts).all()):
        raise ValueError(f"starts must be finite numbers of shape {wanted}, got shape {np.shape(starts)}")


def _digest(tasks: Sequence[Task], starts: Array | None) -> dict[str, Any]:
    """What identifies the tasks beyond the first, and the initial learners."""
    found: dict[str, Any] = {"starts": None, "tasks": [json.loads(task.spec.to_json()) for task in tasks[1:]]}
    if starts is not None:
        found["starts"] = hashlib.sha256(np.ascontiguousarray(starts, dtype=np.float64).tobytes()).hexdigest()
    return found


def _restore(log: RunLog | None, parts: Mapping[str, Any]) -> int:
    """Load the last checkpoint into the parts; return the number of iterations done."""
    if log is None or log.restored is None:
        return 0
    for name, part in parts.items():
        part.load_state_dict(log.restored.tensors[name])
    return log.restored.step


def _record(i: int, values: Mapping[str, torch.Tensor], history: dict[str, list[Array]], log: Any, bar: Any) -> None:
    for name, value in values.items():
        history.setdefault(name, []).append(value.detach().cpu().numpy().copy())
    means = {name: float(rows[-1].mean()) for name, rows in history.items()}
    if log is not None:
        log.log(i + 1, **means)
    if i % 10 == 0:
        bar.set_postfix({name: f"{mean:.3g}" for name, mean in means.items()}, refresh=False)


def _checkpoint(log: RunLog, step: int, parts: Mapping[str, Any]) -> None:
    for name, part in parts.items():
        if isinstance(part, torch.nn.Module):
            bad = [key for key, value in part.state_dict().items() if not bool(torch.isfinite(value).all())]
            if bad:
                raise DivergedError(f"weights of {name} are not finite after iteration {step}: {', '.join(bad)}")
    log.checkpoint(step, {name: part.state_dict() for name, part in parts.items()})


def _last_good(log: RunLog | None) -> str:
    if log is None:
        return "no checkpoint was kept (give out=)"
    found = sorted((log.folder / "checkpoints").glob("*.pt"))
    return f"the last good checkpoint is {found[-1]}" if found else "there is no checkpoint yet"
