"""The scoreboard: train every agent, score it beside the oracles, and write docs/results/agents.md.

    python agents/scoreboard.py --out runs/agents --page docs/results/agents.md

Trainings are processes of their own, two at a time; one that was finished is not repeated, one that was killed goes on
from its last checkpoint. Trainings have the seeds 1, 2, ...; settings are to be tuned with seed 0 and the evaluation
seeds of the training scripts (1000, 1001, ...). Agents are scored here on seeds of their own.
"""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro
from tqdm import tqdm

from teach_gym.benchmark.report import markdown_table
from teach_gym.benchmark.score import Estimate, Paired, training_score
from teach_gym.benchmark.suite import PASSIVE, REFERENCE, cached_task, task_spec
from teach_gym.calls import format_call
from teach_gym.core.backend import Array
from teach_gym.files import write_text
from teach_gym.registration import TASKS, env_id
from teach_gym.teachers import make_teacher, teach_episodes
from teach_gym.teachers.agent import Agent, publish

HERE = Path(__file__).parent
HEADLINE = ("LabelMoons", "LabelDigits", "LabelMNIST", "SelectMoons", "PerturbMoons", "LabelMomentum", "SelectMomentum")
"""The tasks with several training seeds, and those on which generalisation is tested."""
DISCRETE = tuple(name for name, kwargs in TASKS.items() if kwargs.get("observation", "omniscient") == "omniscient")
CONTINUOUS = tuple(name for name in DISCRETE if TASKS[name]["medium"] in ("label", "mixup", "perturb"))
LOOKAHEAD = {"observation": "lookahead", "reward": "log_progress"}
UPDATES = {"LabelDigits10": 60, "MixupDigits10": 60, "LabelDigitsMLP": 30}
"""REINFORCE's updates on the tasks whose steps cost most."""
POOLS = list(range(1, 9))
"""Pool seeds of the trainings over many pools; the task's own, 0, and the held-out ones are not among them."""
POLICY = "policy.safetensors"
FIRST_SEED = 20_000
"""The scoreboard's evaluation seeds start here."""
SMALL = 8
"""Learners with at most so many parameters get four times the evaluation episodes."""
HELD_OUT = (100, 101, 102, 103, 104)


class Training(NamedTuple):
    """One training: algorithm, task and seed; ``varied`` ones draw pool and learning rate anew for every learner."""

    algo: str
    task: str
    seed: int
    varied: bool = False

    def folder(self, out: Path) -> Path:
        """The folder of the run."""
        return out / self.algo / f"{self.task}{'-varied' if self.varied else ''}-{self.seed}"

    def changes(self) -> dict[str, Any]:
        """The fields of the task that are not as registered."""
        if not self.varied:
            return {}
        rate = TASKS[self.task]["learning_rate"]
        return {"learning_rate": [round(rate / 2, 6), round(rate * 2, 6)], "pool_seed": POOLS}

    def command(self, out: Path, quick: bool = False) -> list[str]:
        """What carries it out; a quick one shows that everything works and teaches the agent nothing."""
        changes = {**self.changes(), **(LOOKAHEAD if self.algo == "reinforce" else {})}
        if self.algo == "reinforce":
            script, short = "reinforce.py", ["--updates", "2"]
            options = (
                f"--updates {UPDATES.get(self.task, 150)} --gamma 0.9 --learning-rate 0.01 --eval-every 150".split()
            )
        else:
            script, short, options = "train_sb3.py", ["--steps", "4000"], ["--algo", self.algo]
        if quick:
            options += [*short, "--num-envs", "16", "--eval-episodes", "10"]
        options += ["--task", format_call(self.task, changes), "--seed", str(self.seed), "--no-progress", "--resume"]
        return [f"agents/{script}", *options, "--out", str(self.folder(out))]


@dataclass
class Args:
    """Train all agents and write the scoreboard."""

    out: Path = Path("runs/agents")
    """Folder of the trainings."""
    page: Path | None = None
    """The page to write; it is printed if none is given."""
    seeds: int = 5
    """Training seeds of the headline tasks."""
    other_seeds: int = 1
    """Training seeds of the other tasks."""
    episodes: int = 5000
    """Evaluation episodes of each agent; four times as many for learners with few parameters, which cost little."""
    tasks: tuple[str, ...] = ()
    """Only these tasks."""
    algos: tuple[str, ...] = ("ppo", "dqn", "reinforce", "sac")
    """Only these algorithms."""
    workers: int = 2
    """Trainings at a time."""
    quick: bool = False
    """Train for a moment only, to try the command."""
    publish: bool = False
    """Put PPO's agents of the headline tasks, those of seed 1, into the package (``teach_gym.load_teacher``)."""
    train: bool = True
    """Carry out the trainings that are missing; otherwise score those there are."""


def plan(args: Args) -> list[Training]:
    """All trainings, the headline tasks first."""
    found = []
    for task in (*HEADLINE, *(name for name in DISCRETE if name not in HEADLINE)):
        if args.tasks and task not in args.tasks:
            continue
        for algo in args.algos:
            if algo == "sac" and task not in CONTINUOUS:
                continue
            many = task in HEADLINE and algo != "sac"
            found += [Training(algo, task, seed) for seed in range(1, 1 + (args.seeds if many else args.other_seeds))]
        if task in HEADLINE and "ppo" in args.algos:
            found.append(Training("ppo", task, 1, varied=True))
    return found


def done(training: Training, out: Path) -> bool:
    """Whether a training is finished."""
    return (training.folder(out) / "score.json").exists()


def carry_out(trainings: Sequence[Training], args: Args) -> None:
    """Run the trainings that are not finished.

    Raises:
        RuntimeError: some failed; the others are finished.
    """
    todo = [training for training in trainings if not done(training, args.out)]
    running: set[subprocess.Popen[str]] = set()

    def run(training: Training) -> str:
        process = subprocess.Popen(
            [sys.executable, *training.command(args.out, args.quick)],
            cwd=HERE.parent,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.add(process)
        error = process.communicate()[1]
        running.discard(process)
        return "" if process.returncode == 0 else error.strip().splitlines()[-1] if error else str(process.returncode)

    failures = []
    bar = tqdm(total=len(trainings), initial=len(trainings) - len(todo), unit="training")
    with bar, ThreadPoolExecutor(args.workers) as pool:
        futures = {pool.submit(run, training): training for training in todo}
        try:
            for future in as_completed(futures):
                if future.result():
                    failures.append((futures[future], future.result()))
                bar.update()
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in tuple(running):
                process.send_signal(signal.SIGTERM)
            raise
    if failures:
        raise RuntimeError(f"{len(failures)} trainings failed, first {failures[0][0]}: {failures[0][1]}")


class Board:
    """The scores of the agents that there are."""

    def __init__(self, args: Args) -> None:
        self.args, self.trainings = args, [t for t in plan(args) if done(t, args.out)]

    def seeds(self, spec: str) -> range:
        """The evaluation seeds of a task."""
        small = cached_task(spec).size <= SMALL
        return range(FIRST_SEED, FIRST_SEED + self.args.episodes * (4 if small else 1))

    @functools.cache  # noqa: B019  # one board lives as long as the program
    def ends(self, spec: str, teacher: str) -> Array:
        """Final distances of an oracle: (S,)."""
        return teach_episodes(cached_task(spec), make_teacher(teacher), self.seeds(spec))[1]

    def runs(self, algo: str, task: str, varied: bool = False) -> list[Training]:
        """The trainings of an algorithm on a task."""
        return [t for t in self.trainings if (t.algo, t.task, t.varied) == (algo, task, varied)]

    def agents(self, runs: Iterable[Training]) -> list[Agent]:
        """Their agents."""
        return [Agent(path=t.folder(self.args.out) / POLICY) for t in runs]

    def score(self, agents: Sequence[Agent], task: str, **changes: Any) -> Estimate:
        """The mean score of agents on a task with some changes."""
        spec = task_spec(format_call(task, changes))[1]
        taught = np.stack([teach_episodes(cached_task(spec), agent, self.seeds(spec))[1] for agent in agents])
        return training_score(Paired(self.ends(spec, PASSIVE), self.ends(spec, REFERENCE), taught))

    def oracle(self, teacher: str, task: str) -> Estimate:
        """The score of an oracle."""
        spec = task_spec(task)[1]
        taught = self.ends(spec, teacher)[None]
        return training_score(Paired(self.ends(spec, PASSIVE), self.ends(spec, REFERENCE), taught))

    def cost(self, runs: Sequence[Training]) -> str:
        """Number of trainings, steps of each, and their seconds as a median."""
        found = [json.loads((t.folder(self.args.out) / "score.json").read_text()) for t in runs]
        seconds = np.median([entry["seconds"] for entry in found])
        return f"{len(runs)} x {found[0]['steps'] / 1e6:.2g} M, {seconds:.0f} s"


def words(estimate: Estimate | None) -> str:
    """An estimate in a cell, in bold where its interval lies above 1."""
    if estimate is None:
        return ""
    text = f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
    return f"**{text}**" if estimate.low > 1 else text


def discrete_rows(board: Board, scores: dict[tuple[str, str], Estimate]) -> Iterable[list[str]]:
    """One row per task: the score of every algorithm and what it cost."""
    for task in dict.fromkeys(t.task for t in board.trainings):
        cells, costs = [], []
        for algo in ("ppo", "dqn", "reinforce"):
            runs = board.runs(algo, task)
            if runs:
                scores[algo, task] = board.score(board.agents(runs), task)
            cells.append(words(scores.get((algo, task))))
            costs.append(board.cost(runs) if runs else "")
        momentum = words(board.oracle("anticipating", task)) if TASKS[task].get("momentum") else ""
        yield [task, *cells, momentum, *costs]


def continuous_rows(board: Board) -> Iterable[list[str]]:
    """One row per task of the continuous flavour."""
    for task in dict.fromkeys(t.task for t in board.trainings):
        runs = board.runs("sac", task)
        if runs:
            yield [task, words(board.score(board.agents(runs), task, continuous=True)), board.cost(runs)]


def generalisation_rows(board: Board) -> Iterable[list[str]]:
    """Two rows per headline task: agents of the task itself, and of one with many pools and learning rates."""
    for task in HEADLINE:
        for varied in (False, True):
            runs = board.runs("ppo", task, varied)
            if not runs:
                continue
            agents, rate = board.agents(runs), TASKS[task]["learning_rate"]
            pools = [board.score(agents, task, pool_seed=seed) for seed in HELD_OUT]
            spread = f"{np.mean([p.value for p in pools]):.3f} ({min(p.value for p in pools):.3f} to "
            spread += f"{max(p.value for p in pools):.3f})"
            rates = [words(board.score(agents, task, learning_rate=factor * rate)) for factor in (0.5, 2.0)]
            yield [task, "many" if varied else "its own", words(board.score(agents, task)), spread, *rates]


def publish_headline(board: Board) -> None:
    """Put the first agent of PPO on every headline task into the package, with its score and command."""
    for training in (
        t for t in board.trainings if t.algo == "ppo" and t.task in HEADLINE and t.seed == 1 and not t.varied
    ):
        found = board.score(board.agents([training]), training.task)
        command = " ".join(["python", *training.command(Path("runs/agents"))]).replace(" --no-progress --resume", "")
        name = f"ppo/{env_id(training.task).partition('/')[2]}"
        episodes = len(board.seeds(task_spec(training.task)[1]))
        card = {"score": found.value, "low": found.low, "high": found.high, "episodes": episodes}
        path = training.folder(board.args.out) / POLICY
        publish(path, name, **card, first_seed=FIRST_SEED, command=command)


def page(board: Board, args: Args) -> str:
    """The page in Markdown."""
    scores: dict[tuple[str, str], Estimate] = {}
    rows = list(discrete_rows(board, scores))
    ppo = {task: score for (algo, task), score in scores.items() if algo == "ppo"}
    above = [task for task, score in ppo.items() if score.low > 1]
    below = [task for task, score in ppo.items() if score.value < 0.95]
    intro = (
        (HERE / "scoreboard.md")
        .read_text(encoding="utf-8")
        .format(
            episodes=args.episodes,
            first=FIRST_SEED,
            above=len(above),
            tasks=len(ppo),
            which=", ".join(above) or "none",
            below=", ".join(below) or "none",
        )
    )
    costs = ["PPO: trainings, steps, CPU", "DQN", "REINFORCE"]
    parts = [
        intro,
        "## Discrete actions",
        markdown_table(["Task", "PPO", "DQN", "REINFORCE", "anticipating oracle", *costs], rows),
        "## Continuous actions (SAC)",
        markdown_table(["Task", "SAC", "trainings, steps, CPU"], continuous_rows(board)),
        "## Other pools and learning rates (PPO)",
        markdown_table(
            ["Task", "Trained on", "the task", "five held-out pools", "half the learning rate", "twice"],
            generalisation_rows(board),
        ),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    """Train, score, write; the exit code is 2 after an error of the user's, 1 if trainings failed."""
    args = tyro.cli(Args)
    args.out = args.out.resolve()
    try:
        if args.train:
            carry_out(plan(args), args)
        board = Board(args)
        text = page(board, args)
        if args.publish:
            publish_headline(board)
        if args.page is None:
            print(text)
        else:
            write_text(args.page, text)
    except (ValueError, TypeError, OSError) as error:
        print(f"scoreboard: error: {error}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(f"scoreboard: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
