"""The papers' policy gradient on one page: REINFORCE, assembled from the package's parts.

    python agents/reinforce.py --task LabelMoons
    python agents/reinforce.py --task LabelMoons:reward=distance --credit episode --baseline none

``teach_gym/training/reinforce.py`` has the formulas and the papers' settings. `teach-gym train TASK --algo reinforce`
does the same with tuned hyper-parameters, curves, checkpoints and --resume.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import tyro
from tqdm import trange

from teach_gym.training.reinforce import Reinforce, start
from teach_gym.training.subjects import subject_of


@dataclass
class Args:
    """Train a teacher with REINFORCE."""

    task: str = "LabelMoons:observation=lookahead,reward=log_progress"
    """A registered task, optionally with changes."""
    updates: int = 150
    """Number of optimizer steps, one for each batch of episodes."""
    n_envs: int = 256
    """Episodes per update, all taught at once."""
    learning_rate: float = 0.01
    """Adam's step size, which falls linearly to zero."""
    gamma: float = 0.9
    """Discount per teaching step."""
    credit: Literal["to-go", "episode"] = "to-go"
    """Weight an action by the rewards that follow it, or by those of the whole episode."""
    baseline: Literal["none", "mean", "value"] = "value"
    """What is subtracted from the rewards."""
    seed: int = 0
    """Seeds everything that is random."""
    out: str = "reinforce.safetensors"
    """The teacher's file."""


args = tyro.cli(Args)
torch.set_num_threads(1)  # the network is too small for more
settings = Reinforce(
    n_envs=args.n_envs,
    updates=args.updates,
    learning_rate=args.learning_rate,
    gamma=args.gamma,
    credit=args.credit,
    baseline=args.baseline,
)
task = subject_of(args.task)
training = start(task.name, settings, args.seed)
with trange(args.updates) as bar:
    for _ in bar:
        scalars = training.learn()  # teaches n_envs learners for an episode and takes one step along the gradient
        bar.set_postfix_str(f"return {scalars['return']:.1f}")

network = training.network()
result = task.evaluation(task.episodes, training.task)(network)
print("score {score:.3f} [{score_low:.3f}, {score_high:.3f}]; 0: plain training, 1: the reference".format(**result))
task.save(args.out, network, algo="reinforce", score=result["score"])
print(f"next: {task.usage(args.out)}")
