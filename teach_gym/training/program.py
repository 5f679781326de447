"""The training program: ``teach-gym train``, for every algorithm.

The run's folder holds ``config.json``; ``progress.csv``, the algorithm's own curves and the score; checkpoints;
``policy.safetensors``, which the benchmark takes as the teacher ``agent:PATH`` (agents of trainings of networks are
read by ``teach_gym.teachers.mixup_agent``); and ``score.json``. Every evaluation
writes a checkpoint. A run that is killed at any moment and resumed gives the same policy, to the last bit on the
CPU, and the same ``progress.csv`` as an uninterrupted run, except for the columns that measure time (``seconds``
and ``time/...``). Replay buffers above 64 MiB are an exception: they are not saved and are refilled with random
actions.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tqdm import tqdm

from teach_gym.benchmark.evaluation import write_score
from teach_gym.calls import format_call, parse_call
from teach_gym.errors import shown
from teach_gym.integrations.zoo import mapping, parse_overrides, read_hyperparams
from teach_gym.messages import remark
from teach_gym.records.runlog import RunLog
from teach_gym.teachers.perceptron import Network
from teach_gym.training.args import ALGORITHMS, NOT_IN_CONFIG, TrainArgs
from teach_gym.training.subjects import Score, Subject, subject_of

POLICY = "policy.safetensors"
"""The file of the trained policy, as it was at the last evaluation."""
CONTINUOUS = {"sac": True, "td3": True, "dqn": False, "reinforce": False}
"""Whether an algorithm's actions are continuous; the others take both kinds."""


class Trainer(Protocol):
    """A training under way; the step is the number of teaching steps taken, all environments together."""

    @property
    def task(self) -> Any:
        """The task to train on, as its environment built it."""

    @property
    def total(self) -> int:
        """Teaching steps of the whole training."""

    @property
    def step(self) -> int:
        """Teaching steps taken."""

    def run(self, log: RunLog, every: int, pause: Callable[[], None], advance: Callable[[int], object]) -> None:
        """Train to the end.

        Args:
            log: receives the scalars.
            every: number of steps between calls of ``pause``; it is not called at the end.
            pause: evaluates and writes a checkpoint.
            advance: called with the number of steps taken, every few steps.
        """

    def network(self) -> Network:
        """The deterministic policy."""

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Everything that determines how the training continues: tensors and plain numbers."""

    def restore(self, tensors: dict[str, Any], numbers: dict[str, Any]) -> str:
        """Continue from a ``state``; returns a remark on what was lost, or an empty text."""


class Plan(NamedTuple):
    """A training with checked arguments.

    Attributes:
        subject: the task.
        values: the hyper-parameters as given, for the records.
        make: makes the trainer.
    """

    subject: Subject
    values: dict[str, Any]
    make: Callable[[], Trainer]


def hyperparams_file(algo: str, continuous: bool = False) -> Path:
    """The package's file of hyper-parameters of an algorithm, in the format of RL Baselines3 Zoo.

    Args:
        algo: the algorithm.
        continuous: for the continuous flavour, where an algorithm that takes both has a file of its own for it.
    """
    folder = Path(str(resources.files("teach_gym.training") / "hyperparams"))
    own = folder / f"{algo}-continuous.yml"
    return own if continuous and own.is_file() else folder / f"{algo}.yml"


def chosen_hyperparams(args: TrainArgs) -> dict[str, Any]:
    """The task's hyper-parameters from the YAML file, with the changes of the command line.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file of that format, or a change that cannot be read.
    """
    short, changes = parse_call(subject_of(args.task).name, "task")
    given = {"n_timesteps": args.steps, "n_envs": args.num_envs}
    given = {name: value for name, value in given.items() if value is not None}
    found = read_hyperparams(args.hyperparams or hyperparams_file(args.algo, bool(changes.get("continuous"))), short)
    return {**found, **parse_overrides(args.overrides), **given}


def chosen_task(algo: str, text: str, env_kwargs: Mapping[str, Any]) -> Subject:
    """The task to train on.

    Algorithms for continuous actions get the continuous flavour; changes in the task's text go before ``env_kwargs``.

    Raises:
        ValueError: unknown task, a value out of range, or actions that the algorithm cannot choose.
        TypeError: unknown field.
    """
    short, changes = parse_call(subject_of(text).name, "task")
    wanted = CONTINUOUS.get(algo)
    changes = {**({"continuous": True} if wanted else {}), **env_kwargs, **changes}
    subject = subject_of(format_call(short, changes))
    continuous = subject.spec.continuous
    if wanted is not None and continuous != wanted:
        kind = "continuous" if wanted else "discrete"
        fitting = [other for other in ALGORITHMS if CONTINUOUS.get(other, continuous) == continuous]
        raise ValueError(
            f"{algo} needs {kind} actions, got task {shown(subject.name)}; it can be taught by {', '.join(fitting)}"
        )
    return subject


def plan(args: TrainArgs) -> Plan:
    """Check the arguments of a training; nothing is built or written.

    Raises:
        ValueError: unknown task or hyper-parameter, a value out of range, or actions that the algorithm cannot choose.
        TypeError: a hyper-parameter of the wrong type.
        FileNotFoundError: no such file of hyper-parameters.
        ImportError: a package that the algorithm needs is missing; the message names the extra.
    """
    values = chosen_hyperparams(args)
    subject = chosen_task(args.algo, args.task, mapping("env_kwargs", values.get("env_kwargs", {})))
    make: Callable[[], Trainer]
    if args.algo == "reinforce":
        from teach_gym.training.reinforce import reinforce_settings, start_steps

        reinforce_settings(values, 1)  # reject wrong ones now
        make = functools.partial(start_steps, subject.name, values, args.seed, args.device)
    else:
        from teach_gym.integrations.sb3.hyperparams import sb3_hyperparams
        from teach_gym.integrations.sb3.trainer import Sb3Trainer

        make = functools.partial(Sb3Trainer, subject.name, sb3_hyperparams(args.algo, values), args.seed, args.device)
    return Plan(subject, values, make)


class Milestones:
    """Evaluations: each logs the score and writes the policy and a checkpoint.

    Args:
        trainer: the training.
        subject: saves its policy.
        score: scores its policy.
        log: the run's records.
        say: prints a line.

    Attributes:
        result: the last evaluation.
        seconds: CPU time of the training so far, without the evaluations.
    """

    def __init__(
        self, trainer: Trainer, subject: Subject, score: Score, log: RunLog, say: Callable[[str], None]
    ) -> None:
        self.trainer, self.subject, self.score, self.log, self.say = trainer, subject, score, log, say
        self.result: dict[str, float] = {}
        self.seconds, self._since = 0.0, time.process_time()

    def __call__(self) -> None:
        """Evaluate."""
        self.seconds += time.process_time() - self._since
        step, network, log = self.trainer.step, self.trainer.network(), self.log
        self.result = self.score(network)
        log.log(step, **self.result, seconds=self.seconds)
        self.say("step {}: score {score:.3f} [{score_low:.3f}, {score_high:.3f}]".format(step, **self.result))
        self.subject.save(log.folder / POLICY, network, step=step, **log.config, **self.result)
        tensors, numbers = self.trainer.state()
        log.checkpoint(step, tensors, numbers=numbers, seconds=self.seconds, result=self.result)
        self._since = time.process_time()

    def restore(self) -> str:
        """Resume from the last checkpoint, if there is one; return a description of it."""
        found = self.log.restored
        if found is None:
            return "no checkpoint to resume from, starting at step 0"
        remark = self.trainer.restore(found.tensors, found.state["numbers"])
        self.result, self.seconds = found.state["result"], found.state["seconds"]
        return f"resuming after step {found.step}{remark and ', '}{remark}"


def train(args: TrainArgs) -> dict[str, float]:
    """Train, or resume, and return the last evaluation, also written to ``score.json``.

    Raises:
        ValueError: unknown task or hyper-parameter, a value out of range, actions that the algorithm cannot choose, or
            (resuming) a folder with another run.
        TypeError: a hyper-parameter of the wrong type.
        FileExistsError: the folder holds a run and ``resume`` is not set.
        BlockingIOError: another process is writing into the folder.
        FileNotFoundError: no such file of hyper-parameters, or the task's data is not there.
        ImportError: a package that the algorithm needs is missing; the message names the extra.
    """
    chosen = plan(args)
    import torch

    from teach_gym.neural.settings import torch_device

    torch_device(args.device)
    torch.set_num_threads(args.threads)
    subject = chosen.subject
    try:
        trainer = chosen.make()
    except ValueError as error:
        raise ValueError(f"{args.algo} cannot be trained on task {shown(subject.name)}: {error}") from error
    trainer.network()  # reject a policy that cannot be saved now, not after the first evaluation
    every = args.eval_every or max(1, trainer.total // 10)
    episodes = args.eval_episodes or subject.episodes
    config = {key: value for key, value in dataclasses.asdict(args).items() if key not in NOT_IN_CONFIG}
    config |= {"task": subject.name, "eval_every": every, "eval_episodes": episodes, "hyperparams": chosen.values}
    config |= subject.settings
    out = args.out or Path("runs") / args.algo / f"{subject.name.replace(':', '-')}-{args.seed}"
    score = subject.evaluation(episodes, trainer.task)
    options: dict[str, Any] = {"resume": args.resume, "tensorboard": args.tensorboard, "wandb": args.wandb}
    quiet = None if args.progress else True  # None: only on a terminal
    bar = tqdm(total=trainer.total, disable=quiet, unit="step", unit_scale=True, dynamic_ncols=True)
    say = functools.partial(remark, write=bar.write)
    with RunLog(out, config, spec=subject.recorded, **options) as log, bar:
        milestones = Milestones(trainer, subject, score, log, say)
        if args.resume:
            say(f"{out}: {milestones.restore()} of {trainer.total}")
            bar.update(trainer.step)
        if trainer.step < trainer.total:
            trainer.run(log, every, milestones, bar.update)
            milestones()
        about = {"algo": args.algo, "task": subject.name, "seed": args.seed, **milestones.result}
        about |= {"episodes": episodes, "steps": trainer.step, "seconds": milestones.seconds}
        write_score(out / "score.json", about)
    return milestones.result
