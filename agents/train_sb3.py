"""Stable-Baselines3's PPO, A2C, DQN, SAC or TD3 on one page: tuned hyper-parameters, a model, a saved teacher.

    python agents/train_sb3.py --task LabelMoons --algo ppo

`teach-gym train TASK --algo ppo` does the same with curves, checkpoints and --resume.
"""

from dataclasses import dataclass

import torch
import tyro

import teach_gym
from teach_gym.integrations.sb3.hyperparams import sb3_hyperparams
from teach_gym.integrations.sb3.trainer import make_model
from teach_gym.sb3 import PolicyTeacher, save_policy
from teach_gym.training.args import TrainArgs
from teach_gym.training.program import chosen_hyperparams, chosen_task


@dataclass
class Args:
    """Train a teacher with Stable-Baselines3."""

    task: str = "LabelMoons"
    """A registered task, optionally with changes."""
    algo: str = "ppo"
    """The algorithm: ppo, a2c, dqn, sac or td3."""
    overrides: tuple[str, ...] = ()
    """Changes to the hyper-parameters: name=value ..."""
    seed: int = 0
    """Seeds everything that is random."""
    out: str = "policy.safetensors"
    """The teacher's file."""


args = tyro.cli(Args)
torch.set_num_threads(1)  # the network is too small for more
values = chosen_hyperparams(TrainArgs(args.task, algo=args.algo, overrides=args.overrides))
hyperparams = sb3_hyperparams(args.algo, values)
task, spec = chosen_task(args.algo, args.task, hyperparams.env_kwargs)  # SAC and TD3 use the continuous flavour
model = make_model(task, hyperparams, args.seed)
model.verbose = 1
model.learn(hyperparams.n_timesteps, log_interval=50)

result = teach_gym.evaluate(PolicyTeacher(model), task, seeds=200)
print(f"score {result.score:.3f} [{result.low:.3f}, {result.high:.3f}]; 0: passive, 1: greedy oracle")
save_policy(model, args.out, spec, algo=args.algo, hyperparams=values, score=result.score)
print(f"next: teach-gym bench --tasks {args.task.partition(':')[0]} --teachers agent:{args.out}")
