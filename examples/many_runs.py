"""Half a million teaching steps in about a second: the native vector environment with random actions."""

import time

import gymnasium as gym

import teach_gym  # registers the environments

envs = gym.make_vec("teach_gym/LabelMoons-v0", num_envs=4096, autoreset_mode="same_step")
observations, info = envs.reset(seed=0)
actions = [envs.action_space.sample() for _ in range(8)]
start, steps, finished = time.perf_counter(), 128, 0
for i in range(steps):
    observations, rewards, terminated, truncated, info = envs.step(actions[i % 8])
    finished += int(terminated.sum())
seconds = time.perf_counter() - start
rate = steps * envs.num_envs / seconds / 1e6
print(f"teach_gym {teach_gym.__version__}: {finished} episodes taught, {rate:.1f} M steps per second")
