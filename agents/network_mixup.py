"""Agents that choose the mixup coefficients of a network's training: a section of docs/results/agents-blackbox.md.

    python agents/network_mixup.py --out runs/agents --page docs/results/agents-blackbox.md

trains the agents (finished ones are not repeated), measures them and the baselines, keeps the figures in
docs/results/agents-network.json and replaces the section of the page; ``blackbox.py`` takes the section over from these
figures. Trainings use the seeds 1, 2, ...; settings are chosen with seed 0.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import tyro
from trainings import kept, put_on_page

from teach_gym.benchmark.neural import BASELINES, PLAIN, RANDOM, Ends, MakePolicy, ends_of, policy_of
from teach_gym.benchmark.score import RESAMPLES, Estimate, Paired, percentile_interval, training_score
from teach_gym.files import write_text
from teach_gym.markdown import markdown_table
from teach_gym.teachers.mixup_agent import MixupAgent
from teach_gym.training.args import TrainArgs
from teach_gym.training.program import POLICY, train
from teach_gym.versions import code_digest

HERE = Path(__file__).parent
RESULTS = HERE.parent / "docs" / "results" / "agents-network.json"
"""The figures of the section."""
HEADING = "## BlackBoxMixupCIFAR10"
"""The section's heading; it is the last one of the page."""
TASK = (
    "BlackBoxMixupCIFAR10:shrink=2,images=500,validation=500,epochs=20,batch_size=50,learning_rate=0.003,look_every=20,"
    "network_options={'filters':[8,16],'features':64}"
)
AGENTS = {"ppo": "PPO", "reinforce": "REINFORCE", "dqn": "DQN"}
CONSTANT = "constant 0.5"
NAMES = {PLAIN: "plain training (ERM)", "cmixup": "cMixup", "dmixup": "dMixup", CONSTANT: CONSTANT}
"""The baselines, by their names in the tables."""
BEST = ", best action"
"""The end of the names of agents that take their best action."""
SCALE = (
    "0 is plain training, 1 the random mixup that is better by the measure; a dash: random mixup does not reliably "
    "beat plain training by that measure, so there is no scale."
)
METRICS = {
    "validation_loss": ("Loss on the validation images", 1.0, 3),
    "validation_accuracy": ("Accuracy on the validation images, per cent", 100.0, 1),
    "test_accuracy": ("Accuracy on the test images, per cent", 100.0, 1),
}
"""Head of the table, unit and digits of each."""
FIRST_SEED = 4_700_000
"""The evaluation seeds start here."""
Floats = npt.NDArray[np.float64]


@dataclass
class Args:
    """Train and measure agents that choose the mixup coefficients of a network's training."""

    out: Path = Path("runs/agents")
    """Folder of the trainings."""
    page: Path | None = None
    """The page whose section is replaced; the section is printed if not given."""
    results: Path = RESULTS
    """File of the figures."""
    task: str = TASK
    """The task."""
    seeds: int = 3
    """Training seeds of PPO and of REINFORCE."""
    other_seeds: int = 0
    """Training seeds of DQN."""
    episodes: int = 10
    """Evaluation episodes of each training and of each baseline."""
    overrides: tuple[str, ...] = ()
    """Changes of the hyper-parameters, to try the command."""
    measure: bool = True
    """Train and measure; otherwise the section is written from the figures that there are."""


def trained(args: Args) -> dict[str, list[Path]]:
    """The folders of the trainings of each algorithm; missing ones are trained now, one after the other."""
    found: dict[str, list[Path]] = {}
    for seed in range(1, 1 + max(args.seeds, args.other_seeds)):
        for algo in AGENTS:
            if seed > (args.other_seeds if algo == "dqn" else args.seeds):
                continue
            folder = args.out / algo / f"BlackBoxMixupCIFAR10-{seed}"
            found.setdefault(algo, []).append(folder)
            if not (folder / "score.json").exists():
                how: dict[str, Any] = {"seed": seed, "overrides": args.overrides, "out": folder, "resume": True}
                train(TrainArgs(args.task, algo, eval_every=10**8, eval_episodes=2, **how))  # scored differently below
    return found


def policies(folders: Mapping[str, Sequence[Path]]) -> Iterator[tuple[str, list[tuple[str, MakePolicy]]]]:
    """The rows of the tables: a name, and for each training what tells its policy from others, and the policy."""
    for name, make in BASELINES.items():
        yield NAMES[name], [(name, make)]
    yield CONSTANT, [(CONSTANT, lambda seeds: lambda trainings: torch.full((trainings.n,), 0.5))]
    for algo, runs in folders.items():
        for way, sampled in ((BEST.removeprefix(", "), False), ("drawn", True)):
            if algo == "dqn" and sampled:
                continue  # its scores are no probabilities
            paths = [folder / POLICY for folder in runs]
            digests = [f"{way} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in paths]
            made = [policy_of(MixupAgent.read(path), sampled) for path in paths]
            yield f"{AGENTS[algo]}, {way}", list(zip(digests, made, strict=True))


def measured(args: Args) -> dict[str, Any]:
    """The figures: plain JSON values, those of each row (T, S) over trainings and evaluation seeds."""
    folders = trained(args)
    spec = MixupAgent.read(next(iter(folders.values()))[0] / POLICY).spec
    seeds = range(FIRST_SEED, FIRST_SEED + args.episodes)

    def ends(what: str, make: MakePolicy) -> dict[str, list[float]]:
        key = [asdict(spec), what, FIRST_SEED, args.episodes, code_digest("teach_gym.benchmark.neural")]

        def measure() -> dict[str, list[float]]:
            return {name: values.tolist() for name, values in ends_of(spec, make, seeds)._asdict().items()}

        found: dict[str, list[float]] = kept(args.out / "network", key, measure)
        return found

    rows: dict[str, Any] = {}
    for name, made in policies(folders):
        parts = [ends(*one) for one in made]
        rows[name] = {field: [part[field] for part in parts] for field in Ends._fields}
    costs = {}
    for algo, runs in folders.items():
        scores = [json.loads((folder / "score.json").read_text(encoding="utf-8")) for folder in runs]
        seconds = float(np.median([entry["seconds"] for entry in scores]))
        costs[AGENTS[algo]] = [len(scores), scores[0]["steps"], seconds]
    return {"task": args.task, "spec": asdict(spec), "episodes": args.episodes, "ends": rows, "costs": costs}


def difference(ours: Floats, other: Floats) -> Estimate:
    """Mean difference (T, S) - (S,), with a 95 % interval that resamples trainings and, paired, evaluation seeds."""
    gaps, rng = ours - other, np.random.default_rng(0)
    trainings, episodes = (rng.multinomial(n, np.full(n, 1.0 / n), size=RESAMPLES) / n for n in gaps.shape)
    means = np.einsum("rt,ts,rs->r", trainings, gaps, episodes)
    return Estimate(float(gaps.mean()), *percentile_interval(means))


def cell(found: Estimate, digits: int) -> str:
    """An estimate with its interval, bold where the interval excludes 0; a dash where there is none."""
    if not np.isfinite(found).all():
        return "-"
    value, low, high = (f"{number:+.{digits}f}" for number in found)
    text = f"{value} [{low}, {high}]"
    return f"**{text}**" if found.low > 0 or found.high < 0 else text


def metric_table(ends: Mapping[str, Any], metric: str) -> str:
    """A table of a metric: its mean, and the paired differences from the baselines."""
    _, unit, digits = METRICS[metric]
    values = {name: unit * np.array(found[metric]) for name, found in ends.items()}
    baselines = [name for name in NAMES.values() if name in values]
    rows = []
    for name, found in values.items():
        gaps = ("" if name == other else cell(difference(found, values[other][0]), digits) for other in baselines)
        rows.append([name, f"{found.mean():.{digits}f}", *gaps])
    return markdown_table(["", "mean", *(f"minus {name}" for name in baselines)], rows)


def outcome(ends: Mapping[str, Any], metric: str) -> str:
    """A line on a metric: which baselines the best actions of the agents beat, and which beat them."""
    head, unit, _ = METRICS[metric]
    sign = -1.0 if metric.endswith("loss") else 1.0
    values = {name: sign * unit * np.array(found[metric]) for name, found in ends.items()}
    parts = []
    for name in (name for name in values if name.endswith(BEST)):
        gaps = {other: difference(values[name], values[other][0]) for other in NAMES.values() if other in values}
        better = [other for other, gap in gaps.items() if gap.low > 0]
        worse = [other for other, gap in gaps.items() if gap.high < 0]
        equal = [other for other in gaps if other not in (*better, *worse)]
        said = (("better than", better), ("worse than", worse), ("not measurably different from", equal))
        parts.append(
            f"{name.removesuffix(BEST)} is " + ", ".join(f"{how} {listed(names)}" for how, names in said if names)
        )
    return f"- {head}: {'; '.join(parts)}."


def listed(names: Sequence[str]) -> str:
    """Names in a sentence."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def score_table(ends: Mapping[str, Any]) -> str:
    """A table of the teaching scores by loss and accuracy: 0 is plain training, 1 the better random mixup."""
    found = {name: {metric: np.array(own[metric]) for metric in METRICS} for name, own in ends.items()}
    plain, random = found[NAMES[PLAIN]], [found[NAMES[name]] for name in RANDOM]
    rows = []
    for name, own in found.items():
        cells = []
        for metric in METRICS:
            sign = 1.0 if metric.endswith("loss") else -1.0
            best = min((sign * other[metric][0] for other in random), key=np.mean)
            score = training_score(Paired(sign * plain[metric][0], best, sign * own[metric]))
            cells.append(cell(score, 2))
        mixing = np.array(ends[name]["mixing"]).mean()
        rows.append([name, str(len(own["test_accuracy"])), *cells, f"{mixing:.2f}"])
    heads = ["", "trainings", "by validation loss", "by validation accuracy", "by test accuracy", "mixing"]
    return markdown_table(heads, rows)


def section(results: Mapping[str, Any]) -> str:
    """The section in Markdown, heading included."""
    length = int(results["ends"][NAMES[PLAIN]]["steps"][0][0])
    costs = "; ".join(
        f"{name}: {n} x {steps // length} trainings of the learner, {seconds:.0f} s"
        for name, (n, steps, seconds) in results["costs"].items()
    )
    text = (HERE / "network_mixup.md").read_text(encoding="utf-8")
    facts = {**results["spec"], "steps": length}
    intro = text.format(**facts, task=results["task"], episodes=results["episodes"], first=FIRST_SEED, costs=costs)
    outcomes = "\n".join(outcome(results["ends"], metric) for metric in METRICS)
    parts = [HEADING, intro.strip(), "### What comes out", outcomes, "### Scores", SCALE, score_table(results["ends"])]
    for metric, (head, _, _) in METRICS.items():
        parts += [f"### {head}", metric_table(results["ends"], metric)]
    return "\n\n".join(parts) + "\n"


def with_section(page: str, results: Path = RESULTS) -> str:
    """A page with the section at its end, in place of an earlier one; without figures, it is left out."""
    start = page.partition(HEADING)[0].rstrip() + "\n"
    return f"{start}\n{section(json.loads(results.read_text(encoding='utf-8')))}" if results.exists() else start


def made(args: Args) -> str:
    """Train and measure if asked to; the page with the new section, or the section."""
    if args.measure:
        write_text(args.results, json.dumps(measured(args)) + "\n")
    if args.page is None:
        return section(json.loads(args.results.read_text(encoding="utf-8")))
    return with_section(args.page.read_text(encoding="utf-8"), args.results)


def main() -> int:
    """Make the page; see ``put_on_page`` for the exit code."""
    args = tyro.cli(Args)
    torch.set_num_threads(1)
    return put_on_page("network_mixup", lambda: made(args), args.page)


if __name__ == "__main__":
    sys.exit(main())
