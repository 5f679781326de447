"""Universal teachers: one for each medium, trained on random synthetic tasks, for any task with a linear learner.

    python agents/universal.py --out runs/universal --page docs/results/universal.md

A teacher sees ``observation="universal"``: the costs of all actions under several assumptions about later control
(``teach_gym.core.views``). Which assumption to trust depends on the task and on what is left of the budget. A network
learns it from the entries that all actions share:

1. Tasks are drawn (agents/universal_tasks.py): synthetic pools, learners, step sizes, momenta, budgets. None is
   registered.
2. On each of them episodes are stopped at ``STOPS`` and continued once under every assumption with the same examples to
   come. The distances at the end are the costs of trusting each assumption there.
3. ``MEMBERS`` perceptrons, each on a bootstrap sample of the tasks, learn weights whose expected cost is least. Their
   mean is one perceptron with all their units.

The settings of step 3 are chosen on held-out tasks of the same kind. The page (agents/universal_page.py) scores the
teachers on tasks they never saw. Costs are kept in the output folder; a second call resumes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import tyro
from torch import nn
from trainings import put_on_page
from universal_page import FIRST_SEED, Row, own_rows, page, registered_rows
from universal_tasks import HELD_OUT, MEDIA, TRAINING, drawn, saved_spec

from teach_gym.benchmark.evaluation import Evaluation
from teach_gym.core.build import build
from teach_gym.core.layout import layout, observe
from teach_gym.core.randomness import Streams
from teach_gym.core.state import Task, TeachState
from teach_gym.core.task import reset, step
from teach_gym.core.views import VIEWS, farsights
from teach_gym.files import writing
from teach_gym.integrations.perceptrons import network_of_modules
from teach_gym.markdown import markdown_table
from teach_gym.teachers import make_teacher, teach_episodes
from teach_gym.teachers.agent import Agent, publish, save_agent
from teach_gym.teachers.perceptron import Network, Normalization

SHARED = 2 + 2 * len(VIEWS)
"""Entries of the observation that all actions share."""
STOPS = (0.0, 0.25, 0.5, 0.75)
"""When episodes are stopped, as shares of the budget."""
EPISODES = 2_000_000
"""First seed of the episodes on every training task and held-out task."""
SETTINGS = tuple((width, updates) for width in (8, 16) for updates in (200, 400))
"""Units of a member and updates of its training, to choose from."""
MEMBERS = 12
FIRMNESS = 4.0
"""Factor of the last layer: how firmly the network chooses."""
LEAST_SPREAD = 0.05
"""Tasks count by the spread of their scores over the assumptions, but small spreads do not count more than this one."""
MOST_COST = 3.0
"""Bound of a cost, in units of its task's spread."""

Floats = npt.NDArray[np.float64]


@dataclass
class Args:
    """Train the universal teachers and score them."""

    out: Path = Path("runs/universal")
    """Folder of the trained teachers and of generated data."""
    page: Path | None = None
    """The page to write; printed if not given."""
    media: tuple[str, ...] = MEDIA
    """Only these media."""
    tasks: int = 96
    """Training tasks of each medium."""
    held_out: int = 24
    """Held-out tasks of each medium."""
    runs: int = 32
    """Episodes of each task."""
    episodes: int = 400
    """Evaluation episodes of each task on the page; four times as many for learners with few parameters."""
    seed: int = 1
    """Seed of the perceptrons' initial weights."""
    quick: bool = False
    """Few tasks and episodes, to try the command."""
    publish: bool = False
    """Publish the teachers in the package, for ``teach_gym.load_teacher``."""


class Costs(NamedTuple):
    """What trusting each of J assumptions costs in N states of one task.

    Attributes:
        seen: (N, ``SHARED``) the shared entries of the observations.
        costs: (N, J) distances at the end, less their mean over the assumptions, in units of the task's spread; the
            mean over the runs that were stopped at the same time.
        scores: (J,) teaching scores of the assumptions, each kept for whole episodes.
    """

    seen: npt.NDArray[np.float32]
    costs: Floats
    scores: Floats


def trusting(task: Task, state: TeachState, view: int) -> Any:
    """The actions (B,) that one assumption points to."""
    return farsights(task)[view].prospects(state).relative.argmin(0)


def ends(task: Task, state: TeachState, view: int) -> Floats:
    """Distances at the end of episodes that go on under one assumption: (B,)."""
    found, over = state.distance.copy(), np.zeros(len(state.t), dtype=bool)
    for _ in range(task.spec.budget - int(state.t[0])):
        transition = step(task, state, trusting(task, state, view))
        state = transition.state
        found, over = np.where(over, found, state.distance), over | transition.terminated
        if over.all():
            break
    return np.asarray(found, dtype=np.float64)


def costs(task: Task, runs: int) -> Costs:
    """Stop episodes, and go on under every assumption; between the stops each run trusts one drawn at random."""
    first, views = range(EPISODES, EPISODES + runs), range(len(VIEWS))
    state, blocks, rng = reset(task, Streams.from_seeds(first)), layout(task), np.random.default_rng(EPISODES)
    going, seen, found = np.ones(runs, dtype=bool), [], []
    passive, greedy = (teach_episodes(task, make_teacher(name), first)[1].mean() for name in ("passive", "greedy"))
    stops = [int(share * task.spec.budget) for share in STOPS]
    for t in range(stops[-1] + 1):
        if t in stops and going.any():
            seen.append(observe(task, state, blocks)[going, :SHARED])
            found.append(np.stack([ends(task, state, view) for view in views], axis=1)[going])
            trust = rng.integers(len(VIEWS), size=runs)
        actions = np.stack([trusting(task, state, view) for view in views])[trust, np.arange(runs)]
        transition = step(task, state, actions)
        state, going = transition.state, going & ~transition.terminated
    room, whole = passive - greedy, found[0].mean(0)
    unit = LEAST_SPREAD * room + np.ptp(whole)
    relative = [np.clip((own - own.mean(1, keepdims=True)) / unit, -MOST_COST, MOST_COST) for own in found]
    means = [np.broadcast_to(own.mean(0), own.shape) for own in relative]
    return Costs(np.concatenate(seen), np.concatenate(means), (passive - whole) / room)


class Members(nn.Module):
    """Perceptrons with one hidden layer, side by side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Parameter(torch.randn(MEMBERS, SHARED, width) / SHARED**0.5)
        self.shift = nn.Parameter(torch.zeros(MEMBERS, 1, width))
        self.outer = nn.Parameter(0.01 * torch.randn(MEMBERS, width, len(VIEWS)))
        self.last = nn.Parameter(torch.zeros(MEMBERS, 1, len(VIEWS)))

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        """Trust in each assumption before the softmax: (N, ``SHARED``) -> (``MEMBERS``, N, J)."""
        return torch.tanh(seen @ self.inner + self.shift) @ self.outer + self.last

    def together(self) -> nn.Sequential:
        """Their mean times ``FIRMNESS``, as one perceptron."""
        inner, outer = nn.Linear(SHARED, self.shift.numel()), nn.Linear(self.shift.numel(), len(VIEWS))
        factor = FIRMNESS / MEMBERS
        with torch.no_grad():
            inner.weight.copy_(self.inner.permute(0, 2, 1).reshape(-1, SHARED))
            inner.bias.copy_(self.shift.reshape(-1))
            outer.weight.copy_(factor * self.outer.reshape(-1, len(VIEWS)).T)
            outer.bias.copy_(factor * self.last.sum((0, 1)))
        return nn.Sequential(inner, nn.Tanh(), outer)


def trained(tasks: Sequence[Costs], width: int, updates: int, seed: int) -> Network:
    """The network whose weights make the mean cost least; every task counts the same."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    seen = np.concatenate([task.seen for task in tasks]).astype(np.float64)
    normalization = Normalization(seen.mean(0).tolist(), seen.var(0).tolist(), clip=3.0, epsilon=1e-8)
    inputs = torch.tensor(normalization(seen.astype(np.float32)))
    prices = torch.tensor(np.concatenate([task.costs for task in tasks]), dtype=torch.float32)
    drawn_tasks = [np.bincount(rng.integers(len(tasks), size=len(tasks)), minlength=len(tasks)) for _ in range(MEMBERS)]
    shares = [
        np.concatenate([np.full(len(t.seen), n / len(t.seen)) for t, n in zip(tasks, counts, strict=True)])
        for counts in drawn_tasks
    ]
    weights = torch.tensor(np.stack(shares) / len(tasks), dtype=torch.float32)
    members = Members(width)
    optimizer = torch.optim.AdamW(members.parameters(), lr=0.03, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, updates)
    every = max(len(seen) // 4000, 1)  # each update sees every so-many-th state
    for i in range(updates):
        some = slice(i % every, None, every)
        expected = (torch.softmax(members(inputs[some]), -1) * prices[some]).sum(-1)
        loss = every * (weights[:, some] * expected).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network_of_modules([members.together()], "trust", normalization)


def cost_of(network: Network, tasks: Sequence[Costs]) -> float:
    """Mean cost of trusting the assumption that the network trusts most; every task counts the same."""
    best = [network.perceptron(task.seen).argmax(1) for task in tasks]
    return float(np.mean([task.costs[np.arange(len(b)), b].mean() for task, b in zip(tasks, best, strict=True)]))


class Study:
    """Training and choice for one medium."""

    def __init__(self, medium: str, args: Args) -> None:
        self.medium, self.args, self.seconds = medium, args, 0.0

    def costs(self, seed: int) -> Costs:
        """The costs on a drawn task, from the output folder if they are there."""
        path = self.args.out / "costs" / f"{self.medium}-{seed}-{self.args.runs}.npz"
        if not path.exists():
            begin = time.process_time()
            found = costs(drawn(self.medium, seed, self.args.out / "pools"), self.args.runs)
            path.parent.mkdir(parents=True, exist_ok=True)
            with writing(path) as file:
                np.savez(file, **found._asdict(), seconds=time.process_time() - begin)
        with np.load(path) as arrays:
            self.seconds += float(arrays["seconds"])
            return Costs(arrays["seen"], arrays["costs"], arrays["scores"])

    def train(self) -> tuple[Agent, list[str]]:
        """The chosen teacher, saved in the output folder, and its row of the page's table."""
        known = [self.costs(TRAINING + i) for i in range(self.args.tasks)]
        others = [self.costs(HELD_OUT + i) for i in range(self.args.held_out)]
        networks = [trained(known, *setting, self.args.seed) for setting in SETTINGS[: 1 if self.args.quick else None]]
        prices = [cost_of(network, others) for network in networks]
        chosen = int(np.argmin(prices))
        spec, path = saved_spec(self.medium), self.args.out / f"{self.medium}.safetensors"
        width, updates = SETTINGS[chosen]
        save_agent(path, networks[chosen], spec, medium=self.medium, width=width, updates=updates, seed=self.args.seed)
        agent, fixed = Agent(path=path), np.stack([task.scores for task in others])
        scores = np.array([self.score(agent, HELD_OUT + i) for i in range(self.args.held_out)])
        usual = np.mean([task.scores for task in known], axis=0).argmax()
        cells = [scores.mean(), fixed[:, usual].mean(), fixed.max(1).mean(), scores.min(), fixed[:, usual].min()]
        row = [self.medium, f"{MEMBERS} x {width}", str(updates), *(f"{cell:.3f}" for cell in cells)]
        print(self.medium, np.round(prices, 4), row, flush=True)
        return agent, [*row, f"{self.seconds:.0f} s"]

    def score(self, agent: Agent, seed: int) -> float:
        """A teacher's score on a drawn task, on the episodes of its costs."""
        task, seeds = drawn(self.medium, seed, self.args.out / "pools"), range(EPISODES, EPISODES + self.args.runs)
        teachers = (make_teacher("passive"), make_teacher("greedy"), agent)
        passive, greedy, taught = (teach_episodes(task, teacher, seeds)[1].mean() for teacher in teachers)
        return float((passive - taught) / (passive - greedy))


CHOSEN = ("Medium", "Units", "Updates", "Teacher", "One setting", "Best of each task", "Least", "Least, one", "CPU")
"""Columns of the table of choices."""


def publish_all(agents: dict[str, Agent], args: Args, rows: list[Row]) -> None:
    """Publish the teachers in the package, with their scores on the registered tasks."""
    for medium, agent in agents.items():
        own = Evaluation(build(saved_spec(medium)), range(FIRST_SEED, FIRST_SEED + args.episodes)).score(agent)
        scores = {row.name: [round(x, 3) for x in row.universal] for row in rows if row.medium == medium}
        card = {"score": own.score, "low": own.low, "high": own.high, "episodes": args.episodes}
        command = f"python agents/universal.py --seed {args.seed} --out runs/universal"
        path = args.out / f"{medium}.safetensors"
        publish(path, f"universal/{medium}", **card, first_seed=FIRST_SEED, command=command, scores=scores)


def made(args: Args) -> str:
    """Train, score, publish where asked to; the page."""
    args.out.mkdir(parents=True, exist_ok=True)
    trained_ones = {medium: Study(medium, args).train() for medium in args.media}
    agents = {medium: agent for medium, (agent, _) in trained_ones.items()}
    known, own = registered_rows(agents, args.episodes), own_rows(agents, args.episodes, args.out / "data")
    choices = markdown_table(CHOSEN, [row for _, row in trained_ones.values()])
    if args.publish:
        publish_all(agents, args, known)
    return page(known, own, choices, args.episodes, args.tasks, args.held_out)


def main() -> int:
    """Make the page; see ``put_on_page`` for the exit code."""
    args = tyro.cli(Args)
    args.out = args.out.resolve()
    if args.quick:
        args.tasks, args.held_out, args.runs, args.episodes = 3, 2, 14, 10
    torch.set_num_threads(1)
    return put_on_page("universal", lambda: made(args), args.page)


if __name__ == "__main__":
    sys.exit(main())
