"""A game in the playground: one episode of a registered environment, taught by a person."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from teach_gym.core.state import Example, Task, TeachState
from teach_gym.core.task import compose, decode
from teach_gym.errors import shown
from teach_gym.files import write_text
from teach_gym.registration import env_id, short_name, spec_kwargs
from teach_gym.render.player import record, scene, shown_row, step_of, write_player
from teach_gym.teachers import TEACHERS, lesson, make_teacher

PLAIN, GREEDY, FAR = "passive", "greedy", "lqr"
NAMES = {PLAIN: "plain SGD", GREEDY: "greedy oracle", FAR: "far-sighted oracle"}
"""The teachers a person is compared with, and their names on the page."""

View = dict[str, Any]


class Game:
    """One episode of a task, played through the Gymnasium environment; every move can be undone.

    Args:
        name: a registered task with discrete actions.
        seed: seed of the episode.
        folder: where finished games are written, as JSON and as a lesson page (None: nowhere).

    Raises:
        ValueError: no such task, or an invalid seed.
    """

    def __init__(self, name: str, seed: int, folder: Path | None = None) -> None:
        spec_kwargs(name)  # refuses unknown tasks, and those whose learner is a network
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
            raise ValueError(f"seed must be an integer in [0, 2^32), got {shown(seed)}")
        self.name, self.seed, self.folder = short_name(name), seed, folder
        self.env = gym.make(env_id(self.name))
        self.task: Task = self.env.unwrapped.task  # type: ignore[attr-defined]
        self.rivals = [NAMES[n] for n in NAMES if n in TEACHERS]
        self._restart([])

    @property
    def state(self) -> TeachState:
        """The current state: a batch of one run."""
        found: TeachState = self.env.unwrapped.state  # type: ignore[attr-defined]
        return found

    def _restart(self, actions: list[int]) -> None:
        """Start the episode over and replay these moves; with the same seed the environment repeats it exactly."""
        self.env.reset(seed=self.seed)
        self.actions: list[int] = []
        self.over, self.total = False, 0.0
        self.steps = [step_of(self.task, self.state, None)]
        for action in actions:
            self.step(action)

    def step(self, action: int) -> None:
        """Show the learner the example that the action produces.

        Raises:
            ValueError: no such action, or the episode is over.
        """
        if self.over:
            raise ValueError("the episode is over: undo a move or start a new game")
        if isinstance(action, bool) or not isinstance(action, int) or not 0 <= action < self.task.n_actions:
            raise ValueError(f"action must be an integer in [0, {self.task.n_actions}), got {shown(action)}")
        _, reward, terminated, _, info = self.env.step(action)
        self.actions.append(action)
        self.total, self.over = self.total + float(reward), terminated
        example = Example(np.asarray(info["features"])[None], np.asarray(info["label"])[None])
        self.steps.append(step_of(self.task, self.state, example))
        if self.over and self.folder is not None:
            self._save(self.folder)

    def undo(self) -> None:
        """Undo the last move."""
        self._restart(self.actions[:-1])

    def hint(self, teacher: str = GREEDY) -> int:
        """The action a teacher would take now."""
        choice = make_teacher(teacher)(self.task, self.state)
        return int(np.asarray(choice).ravel()[0])

    def view(self) -> View:
        """The content of the page: the learner, the offered examples, the actions, the curves and the final score."""
        return {
            "name": self.name,
            "seed": self.seed,
            "t": len(self.actions),
            "over": self.over,
            "total": round(self.total, 3),
            "step": self.steps[-1],
            "curves": [[step["curves"][k] for step in self.steps] for k in range(len(self.steps[0]["curves"]))],
            "choices": [] if self.over else self._choices(),
            "result": self.result() if self.over else None,
        }

    def about(self) -> View:
        """The part of the page that stays the same during a game."""
        return {"scene": scene(self.task, self.name), "rivals": self.rivals}

    def _choices(self) -> list[View]:
        """A description of every action, with the example it would show."""
        actions = np.arange(self.task.n_actions)
        made = compose(self.task, self.state, decode(self.task, actions)[:, None])
        shape = (self.task.n_actions, 1)
        x = np.broadcast_to(made.x, (*shape, *made.x.shape[-2:]))
        y = np.broadcast_to(made.y, (*shape, *made.y.shape[-2:]))
        after = self.state._replace(t=self.state.t + 1)  # the offered rows are those of the next step
        found = []
        for action, label in enumerate(self.task.medium.labels):
            example = Example(x[action], y[action])
            found.append({"label": label, "example": shown_row(self.task, after, example, 0)})
        return found

    def result(self) -> list[View]:
        """Final distance and score of the person and of the teachers on this seed (0: plain SGD, 1: greedy oracle)."""
        ends = {"you": float(self.state.distance[0])}
        curves = {"you": None}
        for name, title in NAMES.items():
            if title not in self.rivals:
                continue
            first, transitions = lesson(self.task, make_teacher(name), [self.seed])
            distances = [float(first.distance[0]), *(float(t.state.distance[0]) for t in transitions)]
            ends[title], curves[title] = distances[-1], distances  # type: ignore[assignment]
        low, high = ends[NAMES[PLAIN]], ends[NAMES[GREEDY]]
        return [
            {
                "who": who,
                "distance": end,
                "score": (low - end) / (low - high) if math.isfinite(end) and low != high else None,
                "distances": curves[who],
            }
            for who, end in ends.items()
        ]

    def _save(self, folder: Path) -> None:
        stem = f"{self.name}-seed-{self.seed}"
        about = {"task": self.name, "seed": self.seed, "actions": self.actions, "result": self.result()}
        write_text(folder / f"{stem}.json", json.dumps(about, indent=1) + "\n")
        lessons = [{"teacher": "you", "steps": self.steps}]
        lessons.append(record(self.task, NAMES[GREEDY], *lesson(self.task, make_teacher(GREEDY), [self.seed])))
        write_player(folder / f"{stem}.html", [(scene(self.task, self.name), {self.seed: lessons})])
