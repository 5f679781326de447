"""Plain SGD at its own best learning rate, whatever the task's: the baseline that needs one line of code.

The best rates are measured by ``python -m tools.tune_sgd`` and kept in ``sgd_rates.json``, one for each *learner
task*: the part of a task that plain SGD sees.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from teach_gym.core.outputs import MARGIN
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.errors import positive
from teach_gym.teachers.base import Teacher, check_settled, example_of
from teach_gym.teachers.oracles.baselines import Passive

RATES = Path(__file__).parent / "sgd_rates.json"
"""The measured rates: a list with the ``learner_task``, the ``tasks`` that have it and its ``best`` rate."""

_OTHER_FIELDS = (
    *("learning_rate", "medium", "medium_options", "continuous", "reward", "observation"),
    *("holdout_rows", "probes", "zeta", "debug"),
)


def learner_task(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a task's spec that decide how plain SGD does, but for the learning rate, as plain JSON values."""
    return {name: value for name, value in fields.items() if name not in _OTHER_FIELDS}


@functools.cache
def _entries() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(RATES.read_text(encoding="utf-8"))
    return found


def tuned_rate(fields: Mapping[str, Any]) -> float | None:
    """The learning rate at which plain SGD ends nearest to the target, or None where it was not measured.

    Args:
        fields: all fields of the task's spec as plain JSON values.
    """
    wanted = learner_task(fields)
    return next((float(entry["best"]) for entry in _entries() if entry["learner_task"] == wanted), None)


@dataclass
class TunedSGD(Teacher):
    """Plain SGD at its best learning rate, also where the task's rate is another.

    A teacher cannot change the learner's step size, but the gradient is linear in the label: with the label
    ``p - c (p - y)``, p the prediction, the residual and so the step are c times that of the ground truth y. With
    c = best rate / task's rate the learner moves exactly as plain SGD with the best rate does, momentum included.

    Args:
        learning_rate: the rate, for tasks whose best one was not measured (None: the measured one).

    Raises:
        ValueError: a rate that is not positive.
    """

    table: ClassVar[Path | None] = RATES

    learning_rate: float | None = None
    name: str = field(default="tuned_sgd", init=False)

    def __post_init__(self) -> None:
        if self.learning_rate is not None:
            positive("learning_rate", self.learning_rate)

    def check(self, task: Task) -> None:
        """Raise a ``ValueError`` for a task without a known rate, or whose step is not linear in the label."""
        check_settled(task, self.name, "learning_rate", "pool_seed")
        if task.learner.output == MARGIN:
            raise ValueError("teacher 'tuned_sgd' needs a gradient linear in the label; margin_logistic's is not")
        if task.update.weight_decay:
            raise ValueError("teacher 'tuned_sgd' cannot rescale the steps of a learner with weight decay")
        if self._rate(task) is None:
            raise ValueError(
                "plain SGD's best learning rate was not measured for this learner, pool, target, start and budget; "
                "measure it with `python -m tools.tune_sgd --tasks TASK --out FILE` in a clone of the repository, or "
                "by a search of your own, and give it: tuned_sgd:learning_rate=RATE"
            )

    def __call__(self, task: Task, state: TeachState) -> Example:
        """The no-help example with the label that scales the step to that of the best rate."""
        x, y = example_of(task, state, Passive()(task, state))
        rate = self._rate(task)
        assert rate is not None, "checked"
        prediction = task.learner.predict(state.w, x)
        return Example(x, prediction - (rate / task.update.learning_rate) * (prediction - y))

    def gradient_evaluations(self, task: Task) -> int:
        """One prediction per row."""
        return task.spec.batch_size

    def _rate(self, task: Task) -> float | None:
        return tuned_rate(json.loads(task.spec.to_json())) if self.learning_rate is None else self.learning_rate
