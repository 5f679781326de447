"""A task of your own: any combination of learner, pool and medium, as a dictionary of plain values.

The example is mixup teaching of a three-class softmax learner with Nesterov momentum, which no registered task covers.
The same fields make a task for the oracles, a Gymnasium id of your own, and variations of both.
"""

import gymnasium as gym

import teach_gym

fields = {
    "learner": "softmax",
    "bias": True,
    "momentum": 0.9,
    "nesterov": True,
    "learning_rate": 0.02,
    "pool": "gaussian_clusters",
    "pool_options": {"d": 5, "n_classes": 3},
    "target_options": {"l2": 0.02},
    "medium": "mixup",
    "medium_options": {"n": 5},
    "budget": 40,
}

task = teach_gym.make_task(**fields)  # unknown names and values out of range raise errors that say what is allowed
print(f"{task.size} parameters, {task.n_actions} actions")
for name in ("random", "passive", "greedy", "anticipating"):
    found = teach_gym.evaluate(name, task, seeds=100)
    print(f"{name:12s} score {found.score:6.3f} [{found.low:.3f}, {found.high:.3f}]")

gym.register(
    "MixupClusters-v0",
    entry_point="teach_gym.envs.mixup:MixupEnv",
    vector_entry_point="teach_gym.envs.mixup:MixupVectorEnv",
    kwargs=fields,
)
env = gym.make("MixupClusters-v0", continuous=True, reward="log_progress")  # any coefficient instead of five
print(f"one learner, continuous: {env.action_space}; what an agent sees:")
for block in env.unwrapped.layout:
    print(f"  {block.name:10s} {block.start:3d}:{block.start + block.size:<3d} {block.meaning}")
envs = gym.make_vec("MixupClusters-v0", num_envs=1000, learning_rate=[0.01, 0.05])  # each learner has its own step size
observations, info = envs.reset(seed=0)
print(f"a thousand learners, each with its own step size: observations {observations.shape}")
