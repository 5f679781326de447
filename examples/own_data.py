"""Teach a learner on your own data: any .npz file with X (n, d) and y (n,), combined with any learner and medium."""

import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_iris

import teach_gym

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "iris.npz"
    x, y = load_iris(return_X_y=True)
    np.savez(path, X=x, y=y)
    task = teach_gym.make_task(
        pool="array",
        pool_options={"path": str(path), "standardize": True},
        learner="softmax",
        bias=True,
        medium="select",
        medium_options={"n_sources": 4},
        target_options={"l2": 0.01},
        learning_rate=0.2,
        budget=50,
    )

for name in ("passive", "greedy", "imt"):
    teacher = teach_gym.make_teacher(name)
    state, transitions = teach_gym.lesson(task, teacher, seeds=range(100))  # a hundred learners at once
    for transition in transitions:
        state = transition.state
    left = (state.distance / state.initial_distance).mean()
    print(f"{name:8s} {100 * (1 - left):5.1f} per cent of the distance removed")
