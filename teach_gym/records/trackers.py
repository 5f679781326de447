"""TensorBoard and Weights & Biases, to which a training run sends its scalars if asked to."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

WANDB_MODES = dict.fromkeys(("disabled", "offline", "online"))


class Trackers:
    """The trackers of a run.

    Args:
        folder: the run's folder.
        step: scalars of an earlier process from this step on are hidden.
        run: the run's id, the same when it is resumed.
        config: its settings.
        tensorboard: write TensorBoard event files.
        wandb: a key of ``WANDB_MODES``.
        project: the Weights & Biases project.

    Raises:
        ImportError: TensorBoard or Weights & Biases is not installed.
    """

    def __init__(
        self, folder: Path, step: int, run: str, config: dict[str, Any], *, tensorboard: bool, wandb: str, project: str
    ) -> None:
        self._tensorboard = _tensorboard_writer(folder / "tensorboard", step) if tensorboard else None
        self._wandb = _wandb_run(folder, run, wandb, project, config) if wandb != "disabled" else None

    def log(self, step: int, values: dict[str, Any]) -> None:
        """Send the scalars of a step."""
        if self._tensorboard is not None:
            for name, value in values.items():
                self._tensorboard.add_scalar(name, value, step)
            self._tensorboard.flush()
        if self._wandb is not None:
            self._wandb.log({"step": step, **values})

    def close(self, *, failed: bool) -> None:
        """End the runs."""
        if self._tensorboard is not None:
            self._tensorboard.close()
        if self._wandb is not None:
            self._wandb.finish(exit_code=int(failed))


def _tensorboard_writer(folder: Path, step: int) -> Any:
    """A TensorBoard writer that hides what an earlier process wrote from ``step`` on."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError("TensorBoard is not installed: pip install 'teach_gym[agents]'") from error
    return SummaryWriter(str(folder), purge_step=step)


def _wandb_run(folder: Path, run: str, mode: str, project: str, config: dict[str, Any]) -> Any:
    """A Weights & Biases run whose scalars are plotted over ``step``, so that a resumed run may go back."""
    try:
        wandb = importlib.import_module("wandb")
    except ImportError as error:
        raise ImportError("Weights & Biases is not installed: pip install 'teach_gym[agents]'") from error
    folder.mkdir(parents=True, exist_ok=True)
    settings = wandb.Settings(silent=True, console="off")
    started = wandb.init(
        project=project, id=run, resume="allow", dir=str(folder), config=config, mode=mode, settings=settings
    )
    started.define_metric("step")
    started.define_metric("*", step_metric="step")
    return started
