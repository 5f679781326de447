"""The scoreboard: train every agent, score it against the oracles, and write docs/results/agents.md.

    python agents/scoreboard.py --out runs/agents --page docs/results/agents.md

Trainings (agents/trainings.py) are separate processes, two at a time; a finished training is not repeated, and one that
was killed is resumed. They use the seeds 1, 2, ...; tune settings with seed 0 and the evaluation seeds of the trainings
(1000, 1001, ...). The scoreboard scores agents on separate seeds.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from trainings import HEADLINE, Args, Training, carry_out, digest_of, done, kept, plan, put_on_page, words

from teach_gym import core
from teach_gym.benchmark.score import Estimate, Paired, training_score
from teach_gym.benchmark.suite import PASSIVE, REFERENCE, cached_task, task_spec
from teach_gym.calls import format_call
from teach_gym.core.backend import Array
from teach_gym.core.foresight import RECORD
from teach_gym.core.learner import MLPLearner
from teach_gym.markdown import markdown_table
from teach_gym.registration import TASKS, env_id
from teach_gym.teachers import Teacher, make_teacher, teach_episodes
from teach_gym.teachers.agent import Agent, publish
from teach_gym.versions import code_digest

HERE = Path(__file__).parent
POLICY = "policy.safetensors"
FIRST_SEED = 3_000_000
"""The scoreboard's evaluation seeds start here."""
ORACLE = "lqr"
SMALL = 8
"""Learners with at most this many parameters get four times as many evaluation episodes."""
CODE = (
    "teach_gym.teachers.agent",
    *(f"teach_gym.teachers.oracles.{name}" for name in ("baselines", "farsighted", "greedy", "lqr")),
)
"""The modules that decide what episodes end with, with the settings of the far-sighted oracle."""
HELD_OUT = (100, 101, 102, 103, 104)


class Board:
    """The scores of the agents trained so far."""

    def __init__(self, args: Args) -> None:
        self.args, self.trainings = args, [t for t in plan(args) if done(t, args.out)]
        self.code = [code_digest(*CODE), resources.files(core).joinpath(RECORD).read_text(encoding="utf-8")]

    def seeds(self, spec: str) -> range:
        """The evaluation seeds of a task."""
        small = cached_task(spec).size <= SMALL
        return range(FIRST_SEED, FIRST_SEED + self.args.episodes * (4 if small else 1))

    def ends(self, spec: str, teacher: Teacher) -> Array:
        """Final distances of an oracle's or an agent's episodes, kept beside the trainings: (S,)."""
        seeds = self.seeds(spec)

        def measure() -> list[float]:
            return teach_episodes(cached_task(spec), teacher, seeds)[1].tolist()

        what = [spec, digest_of(teacher), seeds.start, len(seeds), self.code]
        return np.array(kept(self.args.out / "scores", what, measure))

    def runs(self, algo: str, task: str, kind: str = "") -> list[Training]:
        """The trainings of an algorithm on a task."""
        return [t for t in self.trainings if (t.algo, t.task, t.kind) == (algo, task, kind)]

    def agents(self, runs: Iterable[Training]) -> list[Agent]:
        """Their agents."""
        return [Agent(path=t.folder(self.args.out) / POLICY) for t in runs]

    def score(self, agents: Sequence[Agent], task: str, **changes: Any) -> Estimate:
        """The mean score of agents on a task, optionally with changes."""
        spec = task_spec(format_call(task, changes))[1]
        return self.estimate(spec, agents)

    def estimate(self, spec: str, teachers: Sequence[Teacher]) -> Estimate:
        """The mean score of teachers."""
        passive, reference = (self.ends(spec, make_teacher(name)) for name in (PASSIVE, REFERENCE))
        return training_score(Paired(passive, reference, np.stack([self.ends(spec, each) for each in teachers])))

    def oracle(self, task: str, continuous: bool = False) -> Estimate | None:
        """The score of the far-sighted oracle, None for learners with a hidden layer."""
        spec = task_spec(format_call(task, {"continuous": True} if continuous else {}))[1]
        if isinstance(cached_task(spec).learner, MLPLearner):
            return None
        return self.estimate(spec, [make_teacher(ORACLE)])

    def cost(self, runs: Sequence[Training]) -> str:
        """Number of trainings, steps of each, and their median time in seconds."""
        found = [json.loads((t.folder(self.args.out) / "score.json").read_text()) for t in runs]
        seconds = np.median([entry["seconds"] for entry in found])
        return f"{len(runs)} x {found[0]['steps'] / 1e6:.2g} M, {seconds:.0f} s"


def discrete_rows(board: Board, scores: dict[str, dict[str, Estimate]]) -> Iterable[list[str]]:
    """One row per task: the score of every algorithm, and PPO's cost; ``scores`` gets those of its keys."""
    for task in dict.fromkeys(t.task for t in board.trainings if not t.kind):
        cells = []
        for algo, kind in (("ppo", ""), ("dqn", ""), ("reinforce", ""), ("ppo", "blind")):
            runs = board.runs(algo, task, kind)
            found = board.score(board.agents(runs), task) if runs else None
            if found is not None and algo in scores and not kind:
                scores[algo][task] = found
            cells.append(f"{words(found)} ({len(runs)})" if runs and cells else words(found))
        runs = board.runs("ppo", task)
        yield [task, cells[0], words(board.oracle(task)), *cells[1:], board.cost(runs) if runs else ""]


def continuous_rows(board: Board) -> Iterable[list[str]]:
    """One row per task of the continuous flavour."""
    for task in dict.fromkeys(t.task for t in board.trainings):
        runs = board.runs("ppo", task, "continuous")
        if runs:
            score = board.score(board.agents(runs), task, continuous=True)
            yield [task, words(score), words(board.oracle(task, continuous=True)), board.cost(runs)]


def generalisation_rows(board: Board) -> Iterable[list[str]]:
    """Two rows per headline task: agents trained on the task itself, and on many pools and learning rates."""
    for task in HEADLINE:
        for kind in ("", "varied"):
            runs = board.runs("ppo", task, kind)[:1]
            if not runs:
                continue
            agents, rate = board.agents(runs), TASKS[task]["learning_rate"]
            pools = [board.score(agents, task, pool_seed=seed) for seed in HELD_OUT]
            spread = f"{np.mean([p.value for p in pools]):.3f} ({min(p.value for p in pools):.3f} to "
            spread += f"{max(p.value for p in pools):.3f})"
            rates = [words(board.score(agents, task, learning_rate=factor * rate)) for factor in (0.5, 2.0)]
            yield [task, "many" if kind else "its own", words(board.score(agents, task)), spread, *rates]


def publish_headline(board: Board) -> None:
    """Publish PPO's first agent on every headline task in the package, with its score and command."""
    for training in (
        t for t in board.trainings if t.algo == "ppo" and t.task in HEADLINE and t.seed == 1 and not t.kind
    ):
        found = board.score(board.agents([training]), training.task)
        command = " ".join(["teach-gym", *training.command(Path("runs/agents"))])
        name = f"ppo/{env_id(training.task).partition('/')[2]}"
        episodes = len(board.seeds(task_spec(training.task)[1]))
        card = {"score": found.value, "low": found.low, "high": found.high, "episodes": episodes}
        path = training.folder(board.args.out) / POLICY
        publish(path, name, **card, first_seed=FIRST_SEED, command=command)


def page(board: Board, args: Args) -> str:
    """The page in Markdown."""
    scores: dict[str, dict[str, Estimate]] = {"ppo": {}, "dqn": {}}
    rows, ppo = list(discrete_rows(board, scores)), scores["ppo"]
    oracles = {task: board.oracle(task) for task in ppo}
    at_oracle = [task for task, o in oracles.items() if o is not None and ppo[task].high >= o.value]
    above = [task for task, score in ppo.items() if score.low > 1]
    below = {name: ", ".join(t for t, s in found.items() if s.value < 0.97) or "none" for name, found in scores.items()}
    fill = {
        "episodes": f"{args.episodes:,}",
        "first": f"{FIRST_SEED:,}",
        "tasks": len(ppo),
        "linear": sum(o is not None for o in oracles.values()),
        "n_at_oracle": len(at_oracle),
        "not_at_oracle": ", ".join(t for t, o in oracles.items() if o is not None and t not in at_oracle) or "none",
        "above": len(above),
        "not_above": ", ".join(task for task in ppo if task not in above) or "none",
        **{f"{name}_below": tasks for name, tasks in below.items()},
    }
    parts = [
        (HERE / "scoreboard.md").read_text(encoding="utf-8").format(**fill),
        "## Discrete actions",
        markdown_table(
            ["Task", "PPO", "`lqr`", "DQN", "REINFORCE", "PPO, omniscient", "PPO: trainings, steps, CPU"], rows
        ),
        "## Continuous actions",
        markdown_table(["Task", "PPO", "`lqr`", "trainings, steps, CPU"], continuous_rows(board)),
        "## Other pools and learning rates (PPO)",
        markdown_table(
            ["Task", "Trained on", "the task", "five held-out pools", "half the learning rate", "twice"],
            generalisation_rows(board),
        ),
    ]
    return "\n\n".join(parts) + "\n"


def made(args: Args) -> str:
    """Train, score, publish where asked to; the page."""
    if args.train:
        carry_out(plan(args), args)
    board = Board(args)
    text = page(board, args)
    if args.publish:
        publish_headline(board)
    return text


def main() -> int:
    """Make the page; see ``put_on_page`` for the exit code."""
    args = tyro.cli(Args)
    args.out = args.out.resolve()
    return put_on_page("scoreboard", lambda: made(args), args.page)


if __name__ == "__main__":
    sys.exit(main())
