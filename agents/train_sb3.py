"""Train a teacher with Stable-Baselines3: PPO, A2C, DQN, SAC or TD3 on any task.

    python agents/train_sb3.py --algo ppo --task LabelMoons
    python agents/train_sb3.py --algo sac --task PerturbMoons --steps 200000 --set learning_rate=0.001 gamma=0.8
    python agents/train_sb3.py --task LabelMomentum --out runs/momentum --resume

Hyper-parameters come from ``hyperparams/<algo>.yml``, in the format of RL Baselines3 Zoo; ``--set`` changes some. DQN
takes tasks with discrete actions, SAC and TD3 get the continuous flavour, PPO and A2C take both
(``--task LabelMoons:continuous=True``).

The run's folder holds ``config.json``, ``progress.csv`` (SB3's own curves and the score), checkpoints,
``policy.safetensors``, which the benchmark takes as the teacher ``agent:path='<path>'``, and ``score.json``. At every
evaluation there is a checkpoint and new episodes begin; so a run killed at any moment and started again with
``--resume`` gives the same policy as one that was never killed, to the last bit on the CPU. The exception are replay
buffers above 64 MiB: they are not saved, and are filled anew with random actions.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize
from tqdm import tqdm

from teach_gym.benchmark.evaluation import Evaluation, write_score
from teach_gym.benchmark.suite import cached_task, task_spec
from teach_gym.calls import format_call, parse_call
from teach_gym.core.spec import TaskSpec
from teach_gym.errors import positive
from teach_gym.integrations.sb3.log import sb3_logger
from teach_gym.integrations.sb3.state import model_state, restart, restore_model
from teach_gym.integrations.zoo import ALGORITHMS, Settings, parse_overrides, read_hyperparams, settings
from teach_gym.records.runlog import RunLog
from teach_gym.sb3 import PolicyTeacher, make_vec_env, save_policy

POLICY = "policy.safetensors"
"""The file of the trained policy, as it was at the last evaluation."""
ROWS = 100
"""About as many rows of SB3's own values are logged in a training."""


@dataclass
class Args:
    """Train a teacher with Stable-Baselines3."""

    algo: Literal["ppo", "a2c", "dqn", "sac", "td3"] = "ppo"
    """The algorithm."""
    task: str = "LabelMoons"
    """A registered task, with changes if wanted: LabelMoons:budget=40,learning_rate=0.5."""
    steps: int | None = None
    """Teaching steps to train for, all environments together; n_timesteps of the hyper-parameters if not given."""
    seed: int = 0
    """Decides everything that is random."""
    num_envs: int | None = None
    """Learners taught at once; n_envs of the hyper-parameters if not given."""
    hyperparams: Path | None = None
    """A YAML file in RL-Zoo's format; agents/hyperparams/<algo>.yml if none is given."""
    overrides: Annotated[tuple[str, ...], tyro.conf.arg(name="set")] = ()
    """Changes of hyper-parameters: name=value ..."""
    eval_every: int | None = None
    """Teaching steps between evaluations, each with a checkpoint; a tenth of the training if not given."""
    eval_episodes: int = 200
    """Evaluation seeds 1000, 1001, ..., the same for the agent, the passive teacher and the greedy oracle."""
    out: Path | None = None
    """The run's folder; runs/<algo>/<task>-<seed> if none is given."""
    resume: bool = False
    """Go on from the last checkpoint in the run's folder."""
    device: str = "cpu"
    """Where the networks are; the environments are always on the CPU."""
    threads: int = 1
    """Threads of torch; the networks are too small for more."""
    tensorboard: bool = False
    """Also write TensorBoard files."""
    wandb: Literal["disabled", "offline", "online"] = "disabled"
    """Also log to Weights & Biases."""
    progress: bool = True
    """Show a progress bar."""

    def __post_init__(self) -> None:
        for name in ("steps", "num_envs", "eval_every", "eval_episodes", "threads"):
            if getattr(self, name) is not None:
                positive(name, getattr(self, name), integer=True)
        if self.seed < 0:
            raise ValueError(f"seed must be >= 0, got {self.seed!r}")


APART = ("out", "resume", "tensorboard", "wandb", "progress", "hyperparams", "overrides", "steps", "num_envs")
"""The arguments that do not change a run's result, or do so by the hyper-parameters, which are noted instead."""


def chosen_hyperparams(args: Args) -> dict[str, Any]:
    """The task's hyper-parameters from the YAML file, with the changes of the command line.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file of that format, or a change that cannot be read.
    """
    path = args.hyperparams or Path(__file__).parent / "hyperparams" / f"{args.algo}.yml"
    short = parse_call(task_spec(args.task)[0], "task")[0]
    given = {"n_timesteps": args.steps, "n_envs": args.num_envs}
    given = {name: value for name, value in given.items() if value is not None}
    return {**read_hyperparams(path, short), **parse_overrides(args.overrides), **given}


def chosen_task(algo: str, text: str, env_kwargs: dict[str, Any]) -> tuple[str, TaskSpec]:
    """The task to train on: canonical name and spec.

    SAC and TD3 get the continuous flavour; changes in the task's text go before ``env_kwargs``.

    Raises:
        ValueError: unknown task, a value out of range, or actions that the algorithm cannot choose.
        TypeError: unknown field.
    """
    short, changes = parse_call(task_spec(text)[0], "task")
    continuous = algo in ("sac", "td3")
    changes = {**({"continuous": True} if continuous else {}), **env_kwargs, **changes}
    name, spec_json = task_spec(format_call(short, changes))
    spec = TaskSpec.from_json(spec_json)
    if continuous and not spec.continuous:
        raise ValueError(f"{algo} needs continuous actions, got task {name!r}; allowed there: ppo, a2c, dqn")
    if algo == "dqn" and spec.continuous:
        raise ValueError(f"dqn needs discrete actions, got task {name!r}; allowed there: ppo, a2c, sac, td3")
    try:
        cached_task(spec_json)
    except ValueError as error:
        raise ValueError(f"{algo} cannot be trained on task {name!r}: {error}") from error
    return name, spec


def make_model(algo: str, name: str, chosen: Settings, args: Args) -> BaseAlgorithm:
    """The untrained model with its environment: native, monitored and, if wanted, normalised.

    Raises:
        ValueError: hyper-parameters that the algorithm does not take.
        TypeError: the same.
    """
    short, changes = parse_call(name, "task")
    env: Any = VecMonitor(make_vec_env(short, chosen.n_envs, args.seed, **changes))
    if chosen.normalize is not None:
        env = VecNormalize(env, **chosen.normalize)
    options = dict(chosen.arguments)
    if chosen.noise is not None:
        options["action_noise"] = chosen.action_noise(env.action_space.shape)
    try:
        return ALGORITHMS[algo](env=env, seed=args.seed, device=args.device, **options)
    except AssertionError as error:
        raise ValueError(f"{algo} does not take these hyper-parameters: {error}") from error


def log_interval(model: BaseAlgorithm, total: int, budget: int) -> int:
    """After how many rollouts (on-policy) or episodes (off-policy) SB3 logs its values."""
    if hasattr(model, "replay_buffer"):
        return max(model.n_envs, round(total / budget / ROWS))
    return max(1, round(total / (model.n_steps * model.n_envs) / ROWS))


class Milestones(BaseCallback):
    """Stops the clock every so many steps to evaluate, write the policy and a checkpoint, and begin new episodes."""

    def __init__(self, evaluation: Evaluation, log: RunLog, every: int, seed: int, bar: tqdm[Any]) -> None:
        super().__init__()
        self.evaluation, self.log, self.every, self.seed, self.bar = evaluation, log, every, seed, bar
        self.seconds, self.mark, self.last = 0.0, time.process_time(), 0
        self.result: dict[str, float] = {}

    def _on_step(self) -> bool:
        self.bar.update(self.training_env.num_envs)
        return True

    def _on_rollout_start(self) -> None:
        if self.model.num_timesteps // self.every > self.last // self.every:
            self.pause()
            restart(self.model, self.seed, self.last)
            self.mark = time.process_time()

    def pause(self) -> None:
        """Evaluate, log, and write the policy and a checkpoint."""
        self.seconds += time.process_time() - self.mark
        step = self.last = self.model.num_timesteps
        self.result = self.evaluation(PolicyTeacher(self.model))
        self.log.log(step, **self.result, seconds=self.seconds)
        line = "step {}: score {score:.3f} [{score_low:.3f}, {score_high:.3f}]".format(step, **self.result)
        self.bar.write(f"{line}, {self.seconds:.0f} s", file=sys.stdout)
        save_policy(self.model, self.log.folder / POLICY, self.log.spec, step=step, **self.log.config, **self.result)
        tensors, counters = model_state(self.model)
        self.log.checkpoint(step, tensors, counters=counters, seconds=self.seconds, result=self.result)

    def resume(self, model: BaseAlgorithm) -> str:
        """Go back to the last checkpoint, if there is one; in words, what was found."""
        found = self.log.restored
        if found is None:
            return "no checkpoint to resume from, starting at step 0"
        whole = restore_model(model, found.tensors, found.state["counters"])
        self.seconds, self.result, self.last = found.state["seconds"], found.state["result"], found.step
        return f"resuming after step {found.step}" + ("" if whole else ", with an empty replay buffer")


def train(args: Args) -> dict[str, float]:
    """Train, or go on training, and return the last evaluation, also written to ``score.json``.

    Raises:
        ValueError: unknown task or hyper-parameter, actions that the algorithm cannot choose, or (resuming) a folder
            with another run.
        TypeError: a hyper-parameter of the wrong type.
        FileExistsError: the folder holds a run and ``resume`` is not set.
        FileNotFoundError: no such file of hyper-parameters, or the task's data is not there.
    """
    torch.set_num_threads(args.threads)
    values = chosen_hyperparams(args)
    chosen = settings(args.algo, values)
    name, spec = chosen_task(args.algo, args.task, chosen.env_kwargs)
    evaluation = Evaluation(cached_task(spec.to_json()), args.eval_episodes)
    model = make_model(args.algo, name, chosen, args)
    total, every = chosen.n_timesteps, args.eval_every or max(1, chosen.n_timesteps // 10)
    config = {key: value for key, value in dataclasses.asdict(args).items() if key not in APART}
    config |= {"task": name, "eval_every": every, "hyperparams": values}
    out = args.out or Path("runs") / args.algo / f"{name.replace(':', '-')}-{args.seed}"
    options = {"resume": args.resume, "tensorboard": args.tensorboard, "wandb": args.wandb}
    with RunLog(out, config, spec=spec, **options) as log:
        quiet = None if args.progress else True  # None: only on a terminal
        with tqdm(total=total, disable=quiet, unit="step", unit_scale=True, dynamic_ncols=True) as bar:
            milestones = Milestones(evaluation, log, every, args.seed, bar)
            if args.resume:
                print(f"{out}: {milestones.resume(model)} of {total}", flush=True)
            bar.update(model.num_timesteps)
            if model.num_timesteps < total:
                restart(model, args.seed, model.num_timesteps)
                model.set_logger(sb3_logger(log))
                milestones.mark = time.process_time()
                interval = log_interval(model, total, spec.budget)
                model.learn(total - model.num_timesteps, milestones, log_interval=interval, reset_num_timesteps=False)
                milestones.pause()
    about = {"algo": args.algo, "task": name, "seed": args.seed, **milestones.result, "episodes": args.eval_episodes}
    write_score(out / "score.json", {**about, "steps": model.num_timesteps, "seconds": milestones.seconds})
    return milestones.result


def main() -> int:
    """Train by the command line's arguments; the exit code is 2 after an error of the user's."""
    try:
        train(tyro.cli(Args))
    except (ValueError, TypeError, OSError, ImportError) as error:
        print(f"train_sb3: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
