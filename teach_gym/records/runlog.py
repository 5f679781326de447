"""The records of a training run, for all agents: settings, scalars and checkpoints in one folder.

``config.json`` holds the settings and the task, ``progress.csv`` one row of scalars per step, ``checkpoints/`` the last
two checkpoints: tensors as torch writes them (read with ``weights_only=True``, so that no code in them is run) and for
each a JSON file with its step, its SHA-256, the task, the settings and the versions. Every file but ``progress.csv``
appears whole or not at all, so a run killed at any moment resumes from its last checkpoint.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import time
import uuid
import warnings
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from teach_gym.core.spec import TaskSpec
from teach_gym.errors import DamagedDataError, differing, lookup_name, number, shown
from teach_gym.files import remove_leftovers, sole_writer, write_text, writing
from teach_gym.records.progress import Progress
from teach_gym.records.trackers import WANDB_MODES, Trackers
from teach_gym.versions import version_of, versions

KEEP = 2
"""Checkpoints kept: the newest, and the one before in case the newest is damaged."""


class Checkpoint(NamedTuple):
    """A checkpoint that was read back: what was given to ``checkpoint``, the task, the settings and the file."""

    step: int
    tensors: dict[str, Any]
    state: dict[str, Any]
    spec: TaskSpec | None
    config: dict[str, Any]
    path: Path


class RunLog:
    """Writes the records of one training run into a folder, one process at a time; use it in a ``with`` statement.

    Args:
        folder: the run's folder, made if it is not there.
        config: the settings that decide the run's result, plain JSON values; leave out those that do not (where it
            is written, how it is logged).
        spec: the task the agent is trained on (None: the run is not of a task).
        resume: continue the run in the folder: ``restored`` is its last checkpoint (None: it has none yet), and
            the rows of ``progress.csv`` after it are dropped.
        tensorboard: also write TensorBoard event files.
        wandb: ``disabled``, ``offline`` (needs no account; ``wandb sync`` uploads it later) or ``online``.
        project: the Weights & Biases project.

    Raises:
        FileExistsError: the folder holds a run and ``resume`` is False.
        BlockingIOError: another process is writing into the folder.
        ValueError: the run in the folder is of another task or of other settings; the message names both. Or an
            unknown mode.
        TypeError: settings that JSON cannot hold.
        DamagedDataError: no checkpoint of the run is whole.
        ImportError: TensorBoard or Weights & Biases is not installed.
    """

    def __init__(
        self,
        folder: str | Path,
        config: Mapping[str, Any],
        *,
        spec: TaskSpec | None = None,
        resume: bool = False,
        tensorboard: bool = False,
        wandb: str = "disabled",
        project: str = "teach_gym",
    ) -> None:
        lookup_name("wandb mode", wandb, WANDB_MODES)
        self.folder, self.spec, self.config = Path(folder), spec, _plain(config)
        self.restored: Checkpoint | None = None
        with contextlib.ExitStack() as stack:
            stack.enter_context(sole_writer(self.folder))
            start, run = self._open(resume)
            self._rows = Progress(self.folder / "progress.csv", start)
            stack.callback(self._rows.close)
            sent: dict[str, Any] = {"tensorboard": tensorboard, "wandb": wandb, "project": project}
            self._trackers = Trackers(self.folder, start + 1, run, self.config, **sent)
            if not (about := self.folder / "config.json").exists():
                write_text(about, json.dumps({"run": run, **self._about()}, indent=1) + "\n")
            self._held = stack.pop_all()

    def _open(self, resume: bool) -> tuple[int, str]:
        """Restore the last checkpoint of a run in the folder and tidy up: the step to resume from, and the run's id."""
        for place in (self.folder, self.folder / "checkpoints"):
            remove_leftovers(place)
        run = uuid.uuid4().hex
        about = self.folder / "config.json"
        if about.exists():
            if not resume:
                raise FileExistsError(f"{self.folder} holds a run already: resume it or choose another folder")
            found = _read_json(about)
            _agree(about, found, self.spec, self.config)
            self.restored = restore(self.folder, spec=self.spec, config=self.config)
            run = str(found.get("run", run))
        start = -1 if self.restored is None else self.restored.step
        late = [path for path in _sidecars(self.folder) if not path.stem.isdigit() or int(path.stem) > start]
        _remove(late)  # none, or damaged ones, which must not push out good ones
        _remove(_sidecars(self.folder)[KEEP:])  # what a process was removing when it was killed
        return start, run

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(failed=kind is not None)

    def close(self, *, failed: bool = False) -> None:
        """Close the files, end the TensorBoard and Weights & Biases runs, and release the folder."""
        with self._held:
            self._trackers.close(failed=failed)

    def log(self, step: int, **scalars: float) -> None:
        """Record scalars of a step everywhere; it is on disk (of a killed process, too) when the call returns.

        Args:
            step: not below the last one; a second call with the same step adds to its row.
            **scalars: numbers by name; a name may appear at any step and may be left out at others.

        Raises:
            TypeError: a value that is no number.
            ValueError: a step below the last one.
        """
        for name, value in scalars.items():
            if not isinstance(value, Real):
                raise TypeError(f"scalar {shown(name)} must be a number, got {shown(value)}")
        values = {name: value if isinstance(value, int) else float(value) for name, value in scalars.items()}
        self._rows.add(step, values)
        self._trackers.log(step, values)

    def checkpoint(self, step: int, tensors: dict[str, Any], **state: Any) -> Path:
        """Write a checkpoint, whole or not at all, and drop all but the last two.

        Args:
            step: the step, in order with those of ``log``: what was logged up to it belongs to the checkpoint.
            tensors: tensors in dictionaries and lists, also with plain numbers, such as state dicts.
            **state: further plain JSON values.

        Returns:
            The file of the tensors.

        Raises:
            TypeError: a state that JSON cannot hold.
        """
        import torch

        number("step", step, integer=True)
        buffer = io.BytesIO()
        torch.save(tensors, buffer)
        content = buffer.getvalue()
        path = self.folder / "checkpoints" / f"{step:012d}.pt"
        card = {"step": step, "sha256": hashlib.sha256(content).hexdigest(), "state": _plain(state), **self._about()}
        path.with_suffix(".json").unlink(missing_ok=True)  # a checkpoint counts once its sidecar is there
        with writing(path) as file:
            file.write(content)
        write_text(path.with_suffix(".json"), json.dumps(card, indent=1) + "\n")
        _remove(_sidecars(self.folder)[KEEP:])
        return path

    def _about(self) -> dict[str, Any]:
        task = None if self.spec is None else json.loads(self.spec.to_json())
        about = {"task": task, "config": self.config, "versions": {**versions(), "torch": version_of("torch")}}
        return {**about, "written_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def restore(
    folder: str | Path, *, spec: TaskSpec | None = None, config: Mapping[str, Any] | None = None
) -> Checkpoint | None:
    """The last good checkpoint of a run, with its tensors on the CPU.

    A damaged one (its hash is checked) is passed over with a warning.

    Args:
        folder: the run's folder.
        spec: the task it must be of (None: any).
        config: the settings it must be of (None: any).

    Returns:
        The checkpoint, or None if the run has none yet.

    Raises:
        ValueError: the checkpoint is of another task or other settings; the message names both.
        DamagedDataError: there are checkpoints, but none is whole.
    """
    sidecars = _sidecars(Path(folder))
    for sidecar in sidecars:
        path = sidecar.with_suffix(".pt")
        try:
            card = _read_json(sidecar)
            number("step", card["step"], integer=True)
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != card["sha256"]:
                raise DamagedDataError(f"the SHA-256 of {path} is not that of {sidecar.name}")
            found = None if card["task"] is None else TaskSpec(**card["task"])
            checkpoint = card["step"], _tensors(content), card["state"], found, card["config"], path
        except (OSError, KeyError, TypeError, DamagedDataError) as error:
            warnings.warn(f"passing over the damaged checkpoint {path}: {error!r}", stacklevel=2)
            continue
        _agree(path, card, spec, None if config is None else _plain(config))
        return Checkpoint(*checkpoint)
    if sidecars:
        raise DamagedDataError(f"all {len(sidecars)} checkpoints in {folder} are damaged; train again in a new folder")
    return None


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as JSON gives them back (tuples become lists).

    Raises:
        TypeError: not plain JSON values.
    """
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(values)))
    except (TypeError, ValueError) as error:
        raise TypeError(f"settings and states must be plain JSON values: {error}") from error
    return plain


def _read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a ``DamagedDataError`` if the file holds none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedDataError(f"{path} is damaged: {error}") from error
    if not isinstance(found, dict):
        raise DamagedDataError(f"{path} is damaged: it must hold a JSON object")
    return found


def _agree(path: Path, found: dict[str, Any], spec: TaskSpec | None, config: dict[str, Any] | None) -> None:
    """Raise a ``ValueError`` that names both if a file is of another task or of other settings, or of none at all."""
    wanted = {"task": None if spec is None else json.loads(spec.to_json()), "config": config}
    for kind, ours in wanted.items():
        theirs = found.get(kind, "missing") or {}
        if not isinstance(theirs, dict):
            raise DamagedDataError(f"{path} is damaged: its {kind} is no JSON object")
        if ours is None or theirs == ours:
            continue
        there, here = differing(theirs, ours)
        raise ValueError(f"{path} is of another {kind}: there {shown(there)}, here {shown(here)}")


def _sidecars(folder: Path) -> list[Path]:
    """The sidecars of a run's checkpoints, newest first."""
    return sorted((folder / "checkpoints").glob("*.json"), reverse=True)


def _remove(sidecars: list[Path]) -> None:
    """Remove checkpoints; the sidecar goes last, so that a removal cut short is found and completed."""
    for path in sidecars:
        path.with_suffix(".pt").unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def _tensors(content: bytes) -> dict[str, Any]:
    """The tensors of a checkpoint, on the CPU; code in the file is never run."""
    import torch

    found: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return found
