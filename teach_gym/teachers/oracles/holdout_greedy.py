"""Teachers without w* that try the learner out: the lowest hold-out loss after a step, or after rehearsal."""

from __future__ import annotations

from dataclasses import dataclass, field

from teach_gym.core.backend import Array
from teach_gym.core.state import Task, TeachState
from teach_gym.core.trial import REHEARSAL_ROWS, REHEARSAL_STEPS, copies, rehearsed
from teach_gym.teachers.oracles.greedy import Scored


@dataclass
class HoldoutGreedy(Scored):
    """The black-box greedy oracle: it tries every action and takes that of the lowest hold-out loss after the step.

    It sees the learner, the offered examples and the hold-out rows, and nothing of w*: LAST Eq. 1 with the distance
    to w* replaced by the surrogate of LAST 4. It is one step of BLAST (LAST Eq. 6, v = 1) solved by enumeration.
    """

    name: str = field(default="holdout_greedy", init=False)

    def check(self, task: Task) -> None:
        """Raise a ``ValueError`` for a task whose pool is drawn at reset: each run would need its own hold-out rows."""
        if "pool_seed" in task.spec.drawn:
            raise ValueError(f"teacher {self.name!r} needs one pool; the task draws pool_seed={task.spec.pool_seed!r}")

    def score(self, task: Task, state: TeachState, w: Array, velocity: Array | None) -> Array:
        """Hold-out loss of the learners after the step: (A, B, P) -> (A, B)."""
        flat = w.reshape(-1, w.shape[-1])
        return task.learner.loss(flat, task.holdout.x, task.holdout.y).reshape(w.shape[:-1])

    def gradient_evaluations(self, task: Task) -> int:
        """Per action one for every row of the mini-batch and every hold-out row."""
        return task.n_actions * (task.spec.batch_size + len(task.holdout.x))


@dataclass
class HoldoutRehearsal(HoldoutGreedy):
    """The far-sighted black-box oracle: the action of the lowest hold-out loss once the learner has rehearsed.

    Copies of the learner are taught each action's example and then go on learning from pool rows for a while (see
    ``teach_gym.core.trial``), so that an action is judged by what it adds to plain learning.
    """

    name: str = field(default="holdout_rehearsal", init=False)

    def scores(self, task: Task, state: TeachState) -> Array:
        """Hold-out loss after each action and rehearsal: (A, B)."""
        return rehearsed(task, state, copies(task, state))

    def gradient_evaluations(self, task: Task) -> int:
        """Per action one for every row of the mini-batch, of the rehearsals and of the hold-out rows."""
        return super().gradient_evaluations(task) + task.n_actions * REHEARSAL_STEPS * min(REHEARSAL_ROWS, len(task.x))
