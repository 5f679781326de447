"""Step an environment in a loop with the actions of the greedy oracle: about ten lines from make() to the result."""

import gymnasium as gym

import teach_gym

env = gym.make("teach_gym/LabelMoons-v0")
oracle = teach_gym.make_teacher("greedy")

observation, info = env.reset(seed=0)
print(f"distance to the target at the start: {info['distance']:.3f}")
terminated, total = False, 0.0
while not terminated:
    observation, reward, terminated, truncated, info = env.step(oracle.act(env))
    total += reward
print(f"at the end: {info['distance']:.3f}; the return, {total:.1f}, is the percentage of the distance removed")
