"""The trainings of the scoreboard: their list, and running those that are missing.

Trainings are separate processes; a finished one is not repeated, and one that was killed is resumed.
"""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from teach_gym.benchmark.score import Estimate
from teach_gym.calls import format_call
from teach_gym.files import write_text
from teach_gym.registration import TASKS
from teach_gym.teachers import Teacher
from teach_gym.teachers.agent import Agent

HEADLINE = ("LabelMoons", "LabelDigits", "LabelMNIST", "SelectMoons", "PerturbMoons", "LabelMomentum", "SelectMomentum")
"""The tasks on which generalisation is tested, and whose teachers come with the package."""
DISCRETE = tuple(name for name, kwargs in TASKS.items() if kwargs.get("observation", "omniscient") == "omniscient")
CONTINUOUS = tuple(name for name in DISCRETE if TASKS[name]["medium"] in ("label", "mixup", "perturb"))
POOLS = list(range(1, 9))
"""Pool seeds of the trainings over many pools; they exclude the task's own seed, 0, and the held-out seeds."""


BLIND = {"observation": "omniscient", "reward": "log_progress"}
"""The changes of trainings whose agents see only w, w* and the examples, not what actions lead to."""
BLIND_SETTINGS = ("callback=None", "n_timesteps=200000", "learning_rate=lin_0.001", "n_epochs=10", "gamma=0.9")
KINDS = ("", "varied", "blind", "continuous")
"""The kinds of trainings with w*."""


def black_box_settings(kind: str, task: str) -> tuple[str, ...]:
    """The settings of trainings without w* that do not begin as an oracle.

    ``fresh`` ones begin with random weights; agents of ``queries`` moreover see only what querying the learner tells.
    Learners with a hidden layer take more time, so these trainings are shorter.
    """
    hidden = TASKS[task]["learner"].startswith("mlp")
    if kind == "fresh":
        return "callback=None", f"n_timesteps={51_200 if hidden else 102_400}", "learning_rate=lin_0.001"
    seen = "env_kwargs=dict(observation='black_box', reward='holdout_log_progress')"
    steps = f"n_timesteps={100_000 if hidden else 192_000}"
    return "callback=None", steps, "learning_rate=lin_0.002", "gamma=0.5", seen


class TrainingsFailedError(RuntimeError):
    """Some trainings failed; the others are finished."""


def put_on_page(program: str, make: Callable[[], str], page: Path | None) -> int:
    """Run a program of this folder: write the text that it makes to a page, or print it.

    Returns:
        The exit code: 0, 2 after a user error, 1 if trainings failed.
    """
    try:
        text = make()
        if page is None:
            print(text)
        else:
            write_text(page, text)
    except (ValueError, TypeError, OSError, FloatingPointError) as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        return 2
    except TrainingsFailedError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    return 0


class Training(NamedTuple):
    """One training.

    Attributes:
        algo: the algorithm.
        task: the task's short name.
        seed: the training's seed.
        kind: "" for the task as registered; ``varied`` draws pool and learning rate for every learner, ``blind`` shows
            only the omniscient observation, ``continuous`` has the continuous flavour; without w*, see
            ``black_box_settings``.
    """

    algo: str
    task: str
    seed: int
    kind: str = ""

    def folder(self, out: Path) -> Path:
        """The folder of the run."""
        return out / self.algo / f"{self.task}{'-' if self.kind else ''}{self.kind}-{self.seed}"

    def changes(self) -> dict[str, Any]:
        """The fields of the task that differ from the registered ones."""
        if self.kind == "varied":
            rate = TASKS[self.task]["learning_rate"]
            return {"learning_rate": [round(rate / 2, 6), round(rate * 2, 6)], "pool_seed": POOLS}
        return {"blind": BLIND, "continuous": {"continuous": True}}.get(self.kind, {})

    def settings(self) -> tuple[str, ...]:
        """The hyper-parameters that differ from the task's."""
        if self.kind in ("fresh", "queries"):
            return black_box_settings(self.kind, self.task)
        return BLIND_SETTINGS if self.kind == "blind" else ()

    def command(self, out: Path, quick: bool = False) -> list[str]:
        """Arguments of teach-gym; a quick training only checks that everything works.

        Agents are evaluated once, at the end; their scores on the page are others.
        """
        words = ["train", format_call(self.task, self.changes()), "--algo", self.algo, "--seed", str(self.seed)]
        words += ["--eval-every", "100000000", "--eval-episodes", "10"]
        if self.settings():
            words += ["--set", *self.settings()]
        if quick:
            words += ["--steps", "4000", "--num-envs", "16"]
        return [*words, "--out", str(self.folder(out))]


@dataclass
class Args:
    """Train all agents and write the scoreboard."""

    out: Path = Path("runs/agents")
    """Folder of the trainings."""
    page: Path | None = None
    """The page to write; printed if not given."""
    seeds: int = 5
    """Training seeds of PPO."""
    other_seeds: int = 1
    """Training seeds of the other algorithms and kinds; the scoreboard trains ``varied`` and ``blind`` ones once."""
    episodes: int = 500
    """Evaluation episodes per agent; four times as many for learners with few parameters, which are cheap."""
    tasks: tuple[str, ...] = ()
    """Only these tasks."""
    algos: tuple[str, ...] = ("ppo", "dqn", "reinforce")
    """Only these algorithms."""
    kinds: tuple[str, ...] = KINDS
    """Only these kinds of trainings (see ``Training``); all but "" are trained with PPO."""
    workers: int = 2
    """Number of parallel trainings."""
    quick: bool = False
    """Train only briefly, to try the command."""
    publish: bool = False
    """Publish PPO's agents of the headline tasks (seed 1) in the package, for ``teach_gym.load_teacher``."""
    train: bool = True
    """Run the missing trainings; otherwise only score the existing ones."""


def plan(args: Args) -> list[Training]:
    """All trainings: the registered tasks first, then PPO's other kinds."""
    found = [
        Training(algo, task, seed)
        for algo in args.algos
        for task in DISCRETE
        for seed in range(1, 1 + (args.seeds if algo == "ppo" else args.other_seeds))
    ]
    tasks = {"continuous": CONTINUOUS, "blind": DISCRETE, "varied": HEADLINE}
    if "ppo" in args.algos:
        found += [
            Training("ppo", task, seed, kind)
            for kind, names in tasks.items()
            for task in names
            for seed in range(1, 1 + (args.other_seeds if kind == "continuous" else 1))
        ]
    return [t for t in found if t.kind in args.kinds and (not args.tasks or t.task in args.tasks)]


def kept(folder: Path, what: list[Any], measure: Callable[[], Any]) -> Any:
    """What was measured before, or is measured now, and kept in a file named by all that decides it.

    Args:
        folder: where such files are kept.
        what: plain JSON values that decide what is measured; the digest of the code is one of them.
        measure: measures it; the result is a plain JSON value, too.
    """
    key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
    path = folder / f"{key[:20]}.json"
    if not path.exists():
        write_text(path, json.dumps(measure()))
    return json.loads(path.read_text(encoding="utf-8"))


def words(estimate: Estimate | None, mark: float = 1.0, digits: int = 3) -> str:
    """An estimate in a cell, in bold where its interval lies above a mark; an empty cell where there is none."""
    if estimate is None:
        return ""
    value, low, high = (f"{number:.{digits}f}" for number in estimate)
    text = f"{value} [{low}, {high}]"
    return f"**{text}**" if estimate.low > mark else text


def digest_of(teacher: Teacher) -> str:
    """What tells a teacher from others: its name and options, or the SHA-256 of its file."""
    if isinstance(teacher, Agent):
        return hashlib.sha256(Path(str(teacher.path)).read_bytes()).hexdigest()
    return repr(teacher)


def done(training: Training, out: Path) -> bool:
    """Whether a training is finished."""
    return (training.folder(out) / "score.json").exists()


def carry_out(trainings: Sequence[Training], args: Args) -> None:
    """Run the trainings that are not finished.

    Raises:
        TrainingsFailedError: some failed; the others are finished.
    """
    todo = [training for training in trainings if not done(training, args.out)]
    running: set[subprocess.Popen[str]] = set()

    def run(training: Training) -> str:
        process = subprocess.Popen(
            [sys.executable, "-m", "teach_gym", *training.command(args.out, args.quick), "--no-progress", "--resume"],
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
        raise TrainingsFailedError(
            f"{len(failures)} trainings failed, the first being {failures[0][0]}: {failures[0][1]}"
        )
