"""Stable-Baselines3's PPO, A2C, DQN, SAC or TD3 on one page: tuned hyper-parameters, a model, a saved teacher.

    python agents/train_sb3.py --task LabelMoons --algo ppo

`teach-gym train TASK --algo ppo` does the same with curves, checkpoints and --resume.
"""

from dataclasses import dataclass

import torch
import tyro

from teach_gym.integrations.sb3.export import network_of
from teach_gym.integrations.sb3.hyperparams import sb3_hyperparams
from teach_gym.integrations.sb3.trainer import make_model
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
task = chosen_task(args.algo, args.task, hyperparams.env_kwargs)  # SAC and TD3 use the continuous flavour
model = make_model(task.name, hyperparams, args.seed)
model.verbose = 1
model.learn(hyperparams.n_timesteps, log_interval=50)

network = network_of(model)
result = task.evaluation(task.episodes)(network)
print("score {score:.3f} [{score_low:.3f}, {score_high:.3f}]; 0: plain training, 1: the reference".format(**result))
task.save(args.out, network, algo=args.algo, hyperparams=values, score=result["score"])
print(f"next: {task.usage(args.out)}")
