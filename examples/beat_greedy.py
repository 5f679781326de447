"""A PPO teacher beats the greedy oracle after a minute of training: greedy is myopic, and momentum makes that costly.

The greedy oracle takes the step that leaves the learner nearest to its target. A learner with momentum keeps moving,
so the best step now often overshoots later. The agent sees what the oracle sees (``observation="lookahead"``) and is
rewarded for removing shares of the remaining distance (``reward="log_progress"``); it has to learn to brake.

    python examples/beat_greedy.py
    python examples/beat_greedy.py --task SelectMomentum --seed 1
"""

import argparse

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

import teach_gym
from teach_gym.sb3 import PolicyTeacher, make_vec_env

parser = argparse.ArgumentParser(description="Train PPO against the greedy oracle.")
parser.add_argument("--task", default="LabelMomentum", help="a registered task with discrete actions")
parser.add_argument("--steps", type=int, default=1_200_000, help="teaching steps to train for")
parser.add_argument("--learners", type=int, default=256, help="learners taught at once")
parser.add_argument("--episodes", type=int, default=500, help="evaluation episodes, with seeds unseen in training")
parser.add_argument("--seed", type=int, default=0, help="seed of the training")
args = parser.parse_args()

torch.set_num_threads(1)  # the network is too small for more
env = make_vec_env(args.task, args.learners, seed=args.seed, observation="lookahead", reward="log_progress")
task = env.get_attr("task")[0]
model = PPO(
    "MlpPolicy",
    VecNormalize(env, norm_reward=False),
    learning_rate=lambda remaining: 1e-3 * remaining,
    n_steps=60,
    batch_size=60 * args.learners // 8,
    gamma=0.9,
    seed=args.seed,
    device="cpu",
)
model.learn(args.steps)

oracles = ["greedy", *(["anticipating"] if task.update.momentum else [])]
teachers = {name: teach_gym.make_teacher(name) for name in oracles} | {"PPO": PolicyTeacher(model)}
print(f"{args.task}, {args.episodes} episodes: final distance, score with its 95 % interval (0: plain SGD, 1: greedy)")
for name, teacher in teachers.items():
    found = teach_gym.evaluate(teacher, task, args.episodes)
    print(f"{name:12s} {found.end:6.3f}  {found.score:6.3f} [{found.low:.3f}, {found.high:.3f}]")
verdict = "beats" if found.low > 1 else "does not beat"
print(f"after {model.num_timesteps:,} steps PPO {verdict} the greedy oracle")
