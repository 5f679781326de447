"""What a renderer needs of the past of one teaching run, and what its curve shows."""

from __future__ import annotations

from dataclasses import dataclass, field

from teach_gym.core.backend import Array
from teach_gym.core.batch import needed
from teach_gym.core.state import Example, Task, TeachState


def curve_title(task: Task) -> str:
    """What the curve of a run shows; tasks that hide the distance to the target show the loss on hold-out rows."""
    return "distance to target" if task.tells_distance else "hold-out loss"


def curve_value(task: Task, state: TeachState) -> Array:
    """Its value now: (B,)."""
    return state.distance if task.tells_distance else needed(state.memory).now.loss


@dataclass
class Film:
    """The course of one episode.

    Attributes:
        values: what the curve shows, at reset and after each step.
        example: the teaching example shown last, of shapes (1, m, d) and (1, m, K).
    """

    values: list[float] = field(default_factory=list)
    example: Example | None = None

    @classmethod
    def of(cls, task: Task, state: TeachState, run: int = 0) -> Film:
        """The film of a run that has just started, one of those of a state."""
        return cls([float(curve_value(task, state)[run])])

    def add(self, task: Task, state: TeachState, example: Example, run: int = 0) -> None:
        """Add the step that a run has just taken: the state after it and the examples that the runs were shown."""
        self.values.append(float(curve_value(task, state)[run]))
        self.example = Example(*(part[run : run + 1] for part in example))
