"""What Stable-Baselines3 logs (its ``train/``, ``rollout/`` and ``time/`` values), written into a run's records."""

from __future__ import annotations

from numbers import Real
from typing import Any

from stable_baselines3.common.logger import KVWriter, Logger

from teach_gym.records.runlog import RunLog


class RunWriter(KVWriter):  # type: ignore[misc]
    """Writes the numbers that an SB3 logger dumps into a ``RunLog``: CSV, TensorBoard and Weights & Biases.

    Values that SB3 excludes from TensorBoard (counters that repeat the step of a row) are skipped, and so are texts,
    figures and videos.

    Args:
        log: the run's records; the caller closes them.
    """

    def __init__(self, log: RunLog) -> None:
        self.log = log

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Record the values of one dump as scalars of ``step``."""
        scalars: dict[str, Any] = {
            name: value
            for name, value in key_values.items()
            if isinstance(value, Real) and "tensorboard" not in key_excluded.get(name, ())
        }
        if scalars:
            self.log.log(step, **scalars)

    def close(self) -> None:
        """Nothing to close here."""


def sb3_logger(log: RunLog) -> Logger:
    """A logger for ``model.set_logger`` that writes only into a run's records."""
    return Logger(None, [RunWriter(log)])
