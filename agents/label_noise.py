"""Agents against the usual remedies for label noise: train, tune, score, and write docs/results/label-noise.md.

    python agents/label_noise.py --out runs/agents --page docs/results/label-noise.md

Baselines are tuned on the data set with pool seed 0, on which the agents are trained; everything is scored on data sets
with other pool seeds.
"""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tyro
from blackbox import NOISY, POLICY
from trainings import Args, Training, carry_out, digest_of, done, kept, put_on_page

from teach_gym.calls import format_call
from teach_gym.core.backend import Array
from teach_gym.core.batch import take
from teach_gym.core.build import build
from teach_gym.core.metrics import METRICS
from teach_gym.core.randomness import Streams
from teach_gym.core.spec import TaskSpec
from teach_gym.core.state import Example, Task, TeachState
from teach_gym.core.task import reset
from teach_gym.markdown import markdown_table
from teach_gym.registration import TASKS
from teach_gym.teachers import Teacher, make_teacher
from teach_gym.teachers.agent import Agent
from teach_gym.teachers.base import final_values, transitions
from teach_gym.versions import code_digest

FIRST_SEED = 3_500_000
"""The evaluation seeds start here."""
PAIRS = [[0.6 if j == i else 0.4 if j == (i + 1) % 10 else 0.0 for j in range(10)] for i in range(10)]
"""Class-dependent noise: 40 % of each class have the label of the next one."""
ELSEWHERE: dict[str, dict[str, Any]] = {
    "digits, 40 % of each class called the next one": {
        "pool_options": {**TASKS[NOISY[0]]["pool_options"], "label_noise": PAIRS},
    },
    "ten Gaussian clusters, 20 features": {
        "pool": "gaussian_clusters",
        "pool_options": {"n_classes": 10, "d": 20, "separation": 3.0, "label_noise": 0.4},
    },
}
"""Data that no agent was trained on, as changes of ``BlackBoxNoisyDigits``."""
CODE = ("teach_gym.core.build", "teach_gym.teachers.oracles.noisy_labels", "teach_gym.teachers.agent")
"""The modules that decide the accuracies."""
RATES = ((0.5, 1.0, 2.0), (4.0, 8.0))
"""Learning rates tried for each baseline, in units of the task's; those of a batch are taught together."""
GRIDS: dict[str, dict[str, tuple[Any, ...]]] = {
    "passive": {},
    "label_smoothing": {"mu": (0.7, 0.9)},
    "bootstrapping": {"beta": (0.6, 0.8), "hard": (True, False)},
    "small_loss": {"keep": (0.5, 0.7), "warmup": (0.25, 0.75)},
    "holdout_sgd": {},
}
TUNING_SEEDS = range(2_000, 2_010)
NAMES = {"passive": "plain SGD", "small_loss": "small-loss selection", "holdout_sgd": "SGD on the 50 clean rows"}
_NO_TARGET: dict[str, Any] = {"target": "trained", "target_options": {"steps": 1}}
"""The search for w* is cut short: neither agents nor baselines nor the accuracy need it."""
Floats = npt.NDArray[np.float64]


@dataclass
class Settings(Args):
    """Train the agents on the noisy tasks, score them against the baselines, and write the page."""

    groups: int = 10
    """Data sets, with the pool seeds 1, 2, ..."""
    episodes: int = 10
    seeds: int = 3
    algos: tuple[str, ...] = ("ppo",)
    cases: tuple[int, ...] = (0, 1, 2, 3)
    """The data to measure: the two tasks, then the data of neither; several processes can share the work."""


@dataclass
class Known(Teacher):
    """Learns only from rows whose label is correct; a label of the learner's own prediction changes nothing."""

    name: str = field(default="known", init=False)

    def __call__(self, task: Task, state: TeachState) -> Example:
        """The offered row, with its label if that is correct."""
        rows, train = state.schedule[np.arange(len(state.t)), state.t][:, 0], task.pool.train
        correct = train.labels if train.correct is None else train.correct
        right: Array = (train.labels[rows] == correct[rows])[..., None]
        x, y = state.x[:, 0], state.y[:, 0]
        return Example(x, np.where(right, y, task.learner.predict(state.w, x)))


def plan(args: Settings) -> list[Training]:
    """The trainings of the agents."""
    return [Training("ppo", task, seed) for seed in range(1, 1 + args.seeds) for task in NOISY]


def accuracies(task: Task, teacher: Teacher, seeds: Sequence[int], factors: Sequence[float]) -> list[float]:
    """Mean test accuracy at the end of a teacher's episodes, in per cent, at multiples of the task's learning rate."""
    teacher.check(task)
    n, rates = len(seeds), np.repeat(task.update.learning_rate * np.array(factors), len(seeds))
    state = take(reset(task, Streams.from_seeds(seeds)), np.tile(np.arange(n), len(factors)))
    first = state._replace(rate=rates.astype(task.spec.dtype))
    (found,) = final_values(task, first, transitions(task, teacher, first), METRICS["test_accuracy"])
    return [100.0 * float(part.mean()) for part in np.split(found, len(factors))]


class Data:
    """A noisy task on many data sets.

    Args:
        name: what it is called on the page.
        text: a registered task.
        changes: changes of it.
        args: the settings.
    """

    def __init__(self, name: str, text: str, changes: dict[str, Any], args: Settings) -> None:
        self.name, self.text, self.changes, self.args = name, text, changes, args

    @functools.cache  # noqa: B019  # one for each data of the page
    def task(self, pool_seed: int, remembers: bool) -> Task:
        """The task on one data set; its runs are faster without the hold-out losses that agents see."""
        plain = {} if remembers else {"observation": "omniscient", "reward": "progress"}
        fields = {**TASKS[self.text], **self.changes, **_NO_TARGET, **plain, "pool_seed": pool_seed}
        return build(TaskSpec(**fields))

    def scores(self, teacher: Teacher, factor: float = 1.0) -> Floats:
        """Test accuracy on each data set: (groups,)."""
        n, found = self.args.episodes, []
        for seed in range(1, 1 + self.args.groups):
            first = FIRST_SEED + seed * n
            what = [digest_of(teacher), seed, first, n, factor]

            def measure(seed: int = seed, first: int = first) -> list[float]:
                task = self.task(seed, isinstance(teacher, Agent))
                return accuracies(task, teacher, range(first, first + n), [factor])

            found.append(self.kept(what, measure)[0])
        return np.array(found)

    def kept(self, what: list[Any], measure: Callable[[], list[float]]) -> list[float]:
        """What was measured before, or is measured now, and kept in a file named by all that decides it."""
        about = [{**TASKS[self.text], **self.changes}, what, code_digest(*CODE)]
        found: list[float] = kept(self.args.out / "label-noise", about, measure)
        return found

    @functools.cache  # noqa: B019  # one for each data of the page
    def tuned(self, baseline: str) -> tuple[str, float]:
        """A baseline with its best options, as text, and the factor of its learning rate; chosen on pool seed 0."""
        grid = GRIDS[baseline]
        options = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
        texts = [format_call(baseline, chosen) for chosen in options]
        tried = {}
        for text, rates in itertools.product(texts, RATES):

            def measure(text: str = text, rates: Sequence[float] = rates) -> list[float]:
                return accuracies(self.task(0, False), make_teacher(text), TUNING_SEEDS, rates)

            found = self.kept([text, list(TUNING_SEEDS), rates], measure)
            tried.update(zip(((text, rate) for rate in rates), found, strict=True))
        return max(tried, key=lambda key: tried[key])


def interval(values: Floats) -> tuple[float, float]:
    """A mean over data sets and half its 95 % interval (Student's t)."""
    from scipy.stats import t

    return float(values.mean()), float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def cell(values: Floats) -> str:
    """A mean over data sets with its interval."""
    return "{:.1f} ± {:.1f}".format(*interval(values))


def ahead(values: Floats, others: Floats) -> str:
    """By how much the first exceed the others, in the mean over data sets; in bold where the interval lies above 0."""
    if np.array_equal(values, others):
        return ""
    mean, half = interval(values - others)
    text = f"{mean:+.1f} ± {half:.1f}"
    return f"**{text}**" if mean > half else text


def rows(data: Data, agents: dict[str, list[Agent]]) -> Iterator[tuple[str, str, Floats]]:
    """Teacher, its options and test accuracies: plain SGD at the task's rate, the baselines, the agents."""
    yield "plain SGD at the task's rate", "", data.scores(make_teacher("passive"))
    for baseline in GRIDS:
        text, factor = data.tuned(baseline)
        options = text.partition(":")[2]
        words = f"{options}{', ' if options else ''}learning rate x {factor:g}"
        yield NAMES.get(baseline, f"`{baseline}`"), words, data.scores(make_teacher(text), factor)
    for name, trained in agents.items():
        if trained:
            yield name, f"{len(trained)} trainings", np.mean([data.scores(agent) for agent in trained], axis=0)
    yield "`holdout_greedy`", "", data.scores(make_teacher("holdout_greedy"))
    yield "`known`", "", data.scores(Known())


def agents(args: Settings) -> dict[str, list[Agent]]:
    """The finished trainings by task."""
    found: dict[str, list[Agent]] = {name: [] for name in NOISY}
    for training in plan(args):
        if done(training, args.out):
            found[training.task].append(Agent(path=training.folder(args.out) / POLICY))
    return found


def page(args: Settings) -> str:
    """The page in Markdown."""
    trained = agents(args)
    intro = (Path(__file__).parent / "label_noise.md").read_text(encoding="utf-8")
    last = FIRST_SEED + args.episodes
    about = {"groups": args.groups, "first_pool": 1, "last_pool": args.groups, "episodes": args.episodes, "first": last}
    parts = [intro.format(**about, trainings=args.seeds).rstrip()]
    cases = [(Data(name, name, {}, args), name) for name in NOISY]
    cases += [(Data(name, NOISY[0], changes, args), "") for name, changes in ELSEWHERE.items()]
    for data, own in (cases[i] for i in args.cases):
        shown = {f"**PPO, {'trained here' if name == own else f'from {name}'}**": trained[name] for name in NOISY}
        found = list(rows(data, shown))
        agent = next((values for name, _, values in found if name in shown and (not own or "here" in name)), None)
        table = [
            [teacher, options, cell(values), "" if agent is None else ahead(agent, values)]
            for teacher, options, values in found
        ]
        head = data.name if own else f"Elsewhere: {data.name}"
        whose = "trained here" if own else f"from {NOISY[0]}"
        columns = ["Teacher", "options", "test accuracy, %", f"PPO, {whose}: ahead by"]
        parts += [f"## {head}", markdown_table(columns, table)]
        print(f"label_noise: {head} measured", file=sys.stderr, flush=True)
    return "\n\n".join(parts) + "\n"


def made(args: Settings) -> str:
    """Train and score; the page."""
    if args.train:
        carry_out(plan(args), args)
    return page(args)


def main() -> int:
    """Make the page; see ``put_on_page`` for the exit code."""
    args = tyro.cli(Settings)
    args.out = args.out.resolve()
    return put_on_page("label_noise", lambda: made(args), args.page)


if __name__ == "__main__":
    sys.exit(main())
