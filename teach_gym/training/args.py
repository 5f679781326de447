"""The arguments of ``teach-gym train``; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

from tyro.conf import Positional, arg

from teach_gym.errors import lookup_name, positive, within

Algorithm = Literal["ppo", "a2c", "dqn", "sac", "td3", "reinforce"]
ALGORITHMS: tuple[str, ...] = get_args(Algorithm)


@dataclass
class TrainArgs:
    """The arguments of a training; see ``teach_gym.training.program.train``."""

    task: Positional[str]
    """A registered task, optionally with changes, such as LabelMoons or LabelMoons:budget=40,learning_rate=0.5."""
    algo: Algorithm = "ppo"
    """The algorithm: reinforce is the papers' policy gradient (needs torch), the others are Stable-Baselines3's."""
    steps: int | None = None
    """Teaching steps to train for, all environments together (default: n_timesteps of the hyper-parameters)."""
    seed: int = 0
    """Determines all randomness."""
    num_envs: int | None = None
    """Learners taught at once (default: n_envs of the hyper-parameters)."""
    hyperparams: Path | None = None
    """A YAML file in the format of RL Baselines3 Zoo (default: the package's file for the algorithm)."""
    overrides: Annotated[tuple[str, ...], arg(name="set")] = ()
    """Changes of hyper-parameters: name=value ..."""
    eval_every: int | None = None
    """Teaching steps between evaluations, each with a checkpoint (default: a tenth of the training)."""
    eval_episodes: int | None = None
    """Evaluation seeds 1000, 1001, ..., the same for the agent, the passive teacher and the greedy oracle (default:
    200). Where the learner is a network, agents are compared with plain training and random mixup (default: 10)."""
    out: Path | None = None
    """The run's folder (default: runs/ALGO/TASK-SEED)."""
    resume: bool = False
    """Resume from the last checkpoint in the run's folder."""
    device: str = "cpu"
    """Device of the agent's networks. Environments are on the CPU, except learners that are networks: the task's own
    argument device says where these are."""
    threads: int = 1
    """Threads of torch; the agent's networks are too small to gain from more."""
    tensorboard: bool = False
    """Also write TensorBoard files."""
    wandb: Literal["disabled", "offline", "online"] = "disabled"
    """Also log to Weights & Biases."""
    progress: bool = True
    """Show a progress bar on a terminal."""

    def __post_init__(self) -> None:
        lookup_name("algorithm", self.algo, dict.fromkeys(ALGORITHMS))
        for name in ("steps", "num_envs", "eval_every", "eval_episodes", "threads"):
            if getattr(self, name) is not None:
                positive(name, getattr(self, name), integer=True)
        within("seed", self.seed, "[0, inf)", integer=True)


NOT_IN_CONFIG = ("out", "resume", "tensorboard", "wandb", "progress", "hyperparams", "overrides", "steps", "num_envs")
"""Arguments that do not change a run's result, or only through the hyper-parameters, which are recorded instead."""
