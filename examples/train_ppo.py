"""Train a PPO teacher in a minute, score it against plain SGD and the greedy oracle, and save it for the benchmark."""

import argparse

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

import teach_gym
from teach_gym.sb3 import PolicyTeacher, make_vec_env, save_policy

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--task", default="LabelMoons", help="a registered task")
parser.add_argument("--steps", type=int, default=1_500_000, help="teaching steps to train for")
parser.add_argument("--out", default="ppo.safetensors", help="the agent's file")
args = parser.parse_args()

torch.set_num_threads(1)  # the network is too small for more
env = VecNormalize(make_vec_env(args.task, 256, seed=0), norm_reward=False)
model = PPO(
    "MlpPolicy", env, learning_rate=1e-3, n_steps=60, batch_size=1920, gamma=0.9, seed=0, device="cpu", verbose=1
)
model.learn(args.steps, log_interval=20)

task = env.get_attr("task")[0]
result = teach_gym.evaluate(PolicyTeacher(model), task, seeds=200)
print("||w - w*|| at the end of 200 episodes: ", end="")
print(f"passive {result.end_passive:.3f}, greedy {result.end_reference:.3f}, PPO {result.end:.3f}")
print(f"score {result.score:.3f} [{result.low:.3f}, {result.high:.3f}]; 0: passive, 1: greedy oracle")
save_policy(model, args.out, task.spec, score=result.score)
print(f"next: teach-gym bench --tasks {args.task} --teachers agent:{args.out}")
