"""What a renderer needs of the past of one teaching run."""

from __future__ import annotations

from dataclasses import dataclass, field

from teach_gym.core.state import Example


@dataclass
class Film:
    """The course of one episode.

    Attributes:
        distances: ||w - w*|| at reset and after each step.
        example: the teaching example shown last, of shapes (1, m, d) and (1, m, K).
    """

    distances: list[float] = field(default_factory=list)
    example: Example | None = None
