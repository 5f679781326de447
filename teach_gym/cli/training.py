"""The command that trains an agent."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import OmitArgPrefixes, arg

from teach_gym.cli.output import DataDir, set_data_dir
from teach_gym.training.args import TrainArgs


def train(args: OmitArgPrefixes[Annotated[TrainArgs, arg(name="")]], *, data_dir: DataDir = None) -> int:
    """Train an agent on a task and score it; add --resume to continue a run that was interrupted.

    The run's folder gets the curves (progress.csv), checkpoints, the policy (policy.safetensors, the teacher
    agent:PATH of the other commands) and its score (score.json). Hyper-parameters come from files in the format of
    RL Baselines3 Zoo; --set gamma=0.8 changes them.

    Args:
        args: The training.
        data_dir: Data folder.
    """
    from teach_gym.training import program

    set_data_dir(data_dir)
    program.train(args)
    return 0
