"""A task of your own: any combination of learner, pool and medium, as a dictionary of plain values.

Mixup teaching of a three-class softmax learner with Nesterov momentum, which no registered task has. The same fields
make a task for the oracles, an id of your own for Gymnasium, and variations of both.
"""

import gymnasium as gym

import teach_gym
from teach_gym.benchmark.evaluation import Evaluation
from teach_gym.core.build import build
from teach_gym.core.observe import layout

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

spec = teach_gym.TaskSpec(**fields)  # checked; unknown names and values out of range say what is allowed
task = build(spec)  # make_task(**fields) does both
print(f"{task.size} parameters, {task.n_actions} actions; what an agent sees:")
for block in layout(task):
    print(f"  {block.name:10s} {block.start:3d}:{block.start + block.size:<3d} {block.meaning}")

evaluation = Evaluation(task, seeds=100)
for name in ("random", "passive", "greedy", "anticipating"):
    found = evaluation(teach_gym.make_teacher(name))
    print("{:12s} score {score:6.3f} [{score_low:.3f}, {score_high:.3f}]".format(name, **found))

gym.register(
    "MixupClusters-v0",
    entry_point="teach_gym.envs.mixup:MixupEnv",
    vector_entry_point="teach_gym.envs.mixup:MixupVectorEnv",
    kwargs=fields,
)
env = gym.make("MixupClusters-v0", continuous=True, reward="log_progress")  # any coefficient instead of five
print(f"one learner, continuous: {env.action_space}")
envs = gym.make_vec("MixupClusters-v0", num_envs=1000, learning_rate=[0.01, 0.05])  # each learner has its own step size
observations, info = envs.reset(seed=0)
print(f"a thousand learners with step sizes of their own: observations {observations.shape}")
