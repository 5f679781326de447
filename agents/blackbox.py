"""The scoreboard of the agents without w*: train them, score them, and write docs/results/agents-blackbox.md.

    python agents/blackbox.py --out runs/agents --page docs/results/agents-blackbox.md

The agents of networks are trained and measured by ``network_mixup.py``; their section is taken from its figures.

Trainings are those of ``trainings.py``: separate processes, finished ones are not repeated. They use the seeds 1, 2,
...; settings are chosen with seed 0.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tyro
from network_mixup import with_section
from trainings import Args, Training, carry_out, digest_of, done, kept, put_on_page, words

from teach_gym.benchmark.evaluation import ends_of
from teach_gym.benchmark.measure import WITHOUT_TARGET, best_reference
from teach_gym.benchmark.score import Estimate, Paired, training_score
from teach_gym.benchmark.suite import PASSIVE, cached_task, task_spec
from teach_gym.markdown import markdown_table
from teach_gym.registration import TASKS, env_id
from teach_gym.teachers import Teacher, make_teacher
from teach_gym.teachers.agent import Agent, publish
from teach_gym.versions import code_digest

NOISY = ("BlackBoxNoisyDigits", "BlackBoxNoisyMNIST")
"""The tasks with wrong labels, which have a page of their own (``label_noise.py``); left out unless asked for."""
BLACK_BOX = tuple(name for name, kwargs in TASKS.items() if kwargs.get("observation") == "black_box")
AGENTS = {
    "PPO": ("ppo", ""),
    "DQN": ("dqn", ""),
    "REINFORCE": ("reinforce", ""),
    "PPO, random start": ("ppo", "fresh"),
    "PPO, queries": ("ppo", "queries"),
}
"""The page's columns: algorithm and kind of training (``trainings.Training``)."""
COUNTS = ["Agents", "tasks", "above plain SGD", "above both greedy oracles"]
COUNTS += [f"better, worse than `{name}`" for name in ("holdout_greedy", "holdout_rehearsal")]
"""Heads of the table of ``counts``."""
KINDS = ("", "fresh", "queries")
PUBLISHED = ("BlackBoxLabelMoons", "BlackBoxLabelDigits10", "BlackBoxMixupDigits10", *NOISY)
"""The tasks whose PPO teachers come with the package."""
ORACLES = ("holdout_greedy", "holdout_rehearsal", "greedy")
FIRST_SEED = 4_500_000
"""The evaluation seeds start here."""
POLICY = "policy.safetensors"
CODE = (
    "teach_gym.benchmark.evaluation",
    "teach_gym.teachers.agent",
    *(f"teach_gym.teachers.oracles.{name}" for name in ("baselines", "greedy", "holdout_greedy")),
)
"""The modules that decide what episodes end with."""
Floats = npt.NDArray[np.float64]


class Row(NamedTuple):
    """What a teacher, or all trainings of an algorithm, reached on a task.

    Attributes:
        score: the teaching score by the hold-out loss.
        loss: (T, S) hold-out loss at the end of each episode; oracles have T = 1.
        accuracy: mean test accuracy.
        distance: mean distance to w*.
    """

    score: Estimate
    loss: Floats
    accuracy: float
    distance: float


def plan(args: Args) -> list[Training]:
    """All trainings, the first seed of every task and algorithm first, and those with an oracle's start first."""
    wanted = [task for task in BLACK_BOX if (task in args.tasks if args.tasks else task not in NOISY)]
    seeds = {("ppo", ""): args.seeds}
    found = [
        Training(algo, task, seed, kind)
        for algo, kind in AGENTS.values()
        for task in wanted
        if algo in args.algos and kind in args.kinds
        for seed in range(1, 1 + seeds.get((algo, kind), args.other_seeds))
    ]
    return sorted(found, key=lambda training: (training.kind, training.seed))


class Board:
    """The scores of the agents trained so far."""

    def __init__(self, args: Args) -> None:
        self.args = args
        self.trainings = [training for training in plan(args) if done(training, args.out)]
        self.tasks = [task for task in BLACK_BOX if any(training.task == task for training in self.trainings)]

    def ends(self, task: str, teacher: Teacher) -> dict[str, Floats]:
        """What a teacher's episodes on this page's seeds end with: (S,) each."""
        spec, seeds = task_spec(task)[1], range(FIRST_SEED, FIRST_SEED + self.args.episodes)

        def measure() -> dict[str, list[float]]:
            return {name: values.tolist() for name, values in ends_of(cached_task(spec), teacher, seeds).items()}

        what = [spec, digest_of(teacher), FIRST_SEED, self.args.episodes, code_digest(*CODE)]
        found = kept(self.args.out / "blackbox", what, measure)
        return {name: np.array(values) for name, values in found.items()}

    def runs(self, name: str, task: str) -> list[Training]:
        """The trainings of a column on a task."""
        return [t for t in self.trainings if (t.algo, t.kind) == AGENTS[name] and t.task == task]

    @functools.cache  # noqa: B019  # one board lives as long as the program
    def row(self, teacher: str, task: str) -> Row | None:
        """What a column's agents, or an oracle, reach on a task; None without trainings."""
        if teacher in AGENTS:
            paths = [training.folder(self.args.out) / POLICY for training in self.runs(teacher, task)]
            return self.measured(task, [Agent(path=path) for path in paths]) if paths else None
        return self.measured(task, [make_teacher(teacher)])

    def measured(self, task: str, teachers: Sequence[Teacher]) -> Row:
        """What teachers reach on a task."""
        metric = WITHOUT_TARGET.metric
        marks = {name: self.ends(task, make_teacher(name))[metric] for name in (PASSIVE, *WITHOUT_TARGET.references)}
        ends = [self.ends(task, teacher) for teacher in teachers]
        loss = np.stack([end[metric] for end in ends])
        score = training_score(Paired(marks[PASSIVE], marks[best_reference(marks, WITHOUT_TARGET)], loss))
        accuracy, distance = (float(np.mean([end[name] for end in ends])) for name in WITHOUT_TARGET.beside)
        return Row(score, loss, accuracy, distance)

    def cost(self, name: str, task: str) -> str:
        """Number of trainings, steps of each, and their median time in seconds."""
        runs = self.runs(name, task)
        if not runs:
            return ""
        found = [json.loads((training.folder(self.args.out) / "score.json").read_text()) for training in runs]
        seconds = np.median([entry["seconds"] for entry in found])
        return f"{len(runs)} x {found[0]['steps'] / 1e6:.2g} M, {seconds:.0f} s"


def tables(board: Board) -> tuple[list[list[str]], list[list[str]], list[list[str]]]:
    """Rows of the tables of scores, of test accuracy with the distance, and of costs."""
    scores, beside, costs = [], [], []
    for task in board.tasks:
        rows = [board.row(name, task) for name in (*AGENTS, *ORACLES)]
        plain = board.row(PASSIVE, task)
        scores.append([task, *(words(row.score if row else None, mark=0.0, digits=2) for row in rows)])
        shown = (f"{row.accuracy:.3f}, {row.distance:.2f}" if row else "" for row in (plain, *rows))
        beside.append([task, *shown])
        costs.append([task, *(board.cost(name, task) for name in AGENTS)])
    return scores, beside, costs


def gap(row: Row, other: Row) -> tuple[float, float]:
    """Mean and half width of the 95 % interval of the difference of two hold-out losses, paired by episode."""
    found = row.loss.mean(0) - other.loss.mean(0)
    return float(found.mean()), float(1.96 * found.std(ddof=1) / np.sqrt(len(found)))


def counts(board: Board) -> list[list[str]]:
    """For each column the number of tasks with its score above 0, above 1, and with losses below an oracle's."""
    found = []
    for name in AGENTS:
        rows = {task: row for task in board.tasks if (row := board.row(name, task)) is not None}
        line = [name, str(len(rows)), *(str(sum(row.score.low > bound for row in rows.values())) for bound in (0, 1))]
        for oracle in ("holdout_greedy", "holdout_rehearsal"):
            others = {task: board.row(oracle, task) for task in rows}
            gaps = [gap(row, other) for task, row in rows.items() if (other := others[task]) is not None]
            better, worse = (sum(sign * mean > half for mean, half in gaps) for sign in (-1, 1))
            line.append(f"{better}, {worse}")
        found.append(line)
    return found


def publish_first(board: Board) -> Iterable[str]:
    """Publish PPO's first training on the tasks of ``PUBLISHED`` in the package, with its score and command."""
    for task in (name for name in board.tasks if name in PUBLISHED):
        for training in board.runs("PPO", task)[:1]:
            path = training.folder(board.args.out) / POLICY
            score = board.measured(task, [Agent(path=path)]).score
            name = f"ppo/{env_id(task).partition('/')[2]}"
            command = " ".join(["teach-gym", *training.command(Path("runs/agents"))])
            card = {"score": score.value, "low": score.low, "high": score.high, "episodes": board.args.episodes}
            publish(path, name, **card, first_seed=FIRST_SEED, command=command)
            yield name


def page(board: Board) -> str:
    """The page in Markdown."""
    scores, beside, costs = tables(board)
    intro = (Path(__file__).parent / "blackbox.md").read_text(encoding="utf-8")
    intro = intro.format(
        episodes=board.args.episodes,
        first=FIRST_SEED,
        by_agent=markdown_table(COUNTS, counts(board)),
    )
    heads = list(AGENTS)
    oracles = [f"`{name}`" for name in ORACLES]
    parts = [
        intro.rstrip(),
        "## Score by the loss on hold-out rows",
        markdown_table(["Task", *heads, *oracles], scores),
        "## Test accuracy, and distance to w\\*",
        markdown_table(["Task", "plain SGD", *heads, *oracles], beside),
        "## Costs",
        markdown_table(["Task", *heads], costs),
    ]
    return with_section("\n\n".join(parts) + "\n")


def made(args: Args) -> str:
    """Train, score, publish where asked to; the page."""
    if args.train:
        carry_out(plan(args), args)
    board = Board(args)
    text = page(board)
    if args.publish:
        print("\n".join(publish_first(board)))
    return text


def main() -> int:
    """Make the page; see ``put_on_page`` for the exit code."""
    args = tyro.cli(Args, default=Args(episodes=100, seeds=3, kinds=KINDS))
    args.out = args.out.resolve()
    return put_on_page("blackbox", lambda: made(args), args.page)


if __name__ == "__main__":
    sys.exit(main())
