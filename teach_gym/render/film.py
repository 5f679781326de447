"""The part of a run's history that a renderer needs, and the quantity its curve shows."""

from __future__ import annotations

from dataclasses import dataclass, field

from teach_gym.core.backend import Array
from teach_gym.core.batch import needed
from teach_gym.core.state import Example, Task, TeachState


def curve_title(task: Task) -> str:
    """The title of a run's curve; tasks that hide the distance to the target show the loss on hold-out rows."""
    return "distance to target" if task.tells_distance else "hold-out loss"


def curve_value(task: Task, state: TeachState) -> Array:
    """The current value of the curve: (B,)."""
    return state.distance if task.tells_distance else needed(state.memory).now.loss


@dataclass
class Film:
    """The history of one episode.

    Attributes:
        values: the curve's values at reset and after each step.
        example: the teaching example shown last, of shapes (1, m, d) and (1, m, K).
    """

    values: list[float] = field(default_factory=list)
    example: Example | None = None

    @classmethod
    def of(cls, task: Task, state: TeachState, run: int = 0) -> Film:
        """The film of a run that has just started; ``run`` is its index in the state."""
        return cls([float(curve_value(task, state)[run])])

    def add(self, task: Task, state: TeachState, example: Example, run: int = 0) -> None:
        """Add the step a run has just taken, from the state after it and the examples shown to all runs."""
        self.values.append(float(curve_value(task, state)[run]))
        self.example = Example(*(part[run : run + 1] for part in example))
