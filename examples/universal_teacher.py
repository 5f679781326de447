"""Teach a learner on your own data with a teacher that was trained on other tasks: no training, no tuning."""

import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer

import teach_gym

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "data.npz"
    x, y = load_breast_cancer(return_X_y=True)
    np.savez(path, X=x, y=y)  # your data: X (n, d), and y (n,) with classes 0, 1, ... or real numbers
    task = teach_gym.make_task(
        medium="select",
        pool="array",
        pool_options={"path": str(path), "standardize": True},
        learner="logistic",
        bias=True,
        target_options={"l2": 0.02},
        learning_rate=0.065,
        init_scale=0.2,
    )

teacher = teach_gym.load_teacher("universal/select")  # also universal/label, universal/mixup, universal/perturb
print(f"universal {teach_gym.evaluate(teacher, task, seeds=100)}")
for name in ("greedy", "lqr"):
    print(f"{name:9s} {teach_gym.evaluate(name, task, seeds=100)}")
