"""The part of a run's history that a renderer needs, and the quantity its curve shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from teach_gym.core.backend import Array
from teach_gym.core.batch import needed
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.errors import number, shown

SIZE = (640, 360)
"""Width and height of a frame in pixels, unless others are asked for."""

SIZES = (160, 4096)
"""The least and the largest width and height of a frame."""


def checked_size(size: Sequence[int]) -> tuple[int, int]:
    """The width and height of frames, checked.

    Raises:
        TypeError: not two integers.
        ValueError: not two numbers, or one out of range.
    """
    if len(size) != 2:
        raise ValueError(f"a frame's size must be two numbers, width and height, got {shown(size)}")
    for value in size:
        number("a frame's width or height", value, integer=True)
        if not SIZES[0] <= value <= SIZES[1]:
            raise ValueError(f"a frame's width and height must lie in [{SIZES[0]}, {SIZES[1]}], got {shown(size)}")
    return int(size[0]), int(size[1])


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
        task: the task's name, empty if it has none.
        teacher: the teacher's name, empty if it is not known.
    """

    values: list[float] = field(default_factory=list)
    example: Example | None = None
    task: str = ""
    teacher: str = ""

    @classmethod
    def of(cls, task: Task, state: TeachState, run: int = 0, *, name: str = "", teacher: str = "") -> Film:
        """The film of a run that has just started.

        Args:
            task: the task.
            state: the state at reset.
            run: the run's index in the state.
            name: the task's name.
            teacher: the teacher's name.
        """
        return cls([float(curve_value(task, state)[run])], task=name, teacher=teacher)

    def add(self, task: Task, state: TeachState, example: Example, run: int = 0) -> None:
        """Add the step a run has just taken, from the state after it and the examples shown to all runs."""
        self.values.append(float(curve_value(task, state)[run]))
        self.example = Example(*(part[run : run + 1] for part in example))
