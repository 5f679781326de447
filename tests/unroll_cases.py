"""Tasks, policies and finite differences for the tests of unrolled teachers."""

from __future__ import annotations

from typing import Any

import torch

from teach_gym.core.build import make_task
from teach_gym.core.state import Task
from teach_gym.teachers.learned.architecture import architecture
from teach_gym.teachers.learned.policy import NetworkPolicy
from teach_gym.teachers.learned.unroll import draw_episodes

LEARNERS: dict[str, dict[str, Any]] = {
    "label-free": {},
    "label-soft": {"output": "soft", "aligned": True},
    "regression": {"pool": "linear_regression", "learner": "least_squares", "output": "residual"},
    "softmax": {"learner": "softmax", "target": "trained", "output": "soft"},
    "margin": {"learner": "margin_logistic", "output": "soft"},
    "momentum": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.02, "learning_rate": 0.05},
    "hidden": {"learner": "mlp_logistic", "learner_options": {"hidden": 3}, "bias": True, "target": "trained"},
    "mini-batch": {"batch_size": 3, "output": "residual", "continuous": True},
    "features": {"medium": "perturb", "output": "residual", "normalize": True},
    "features-box": {"medium": "perturb", "medium_options": {"region": "box"}, "output": "box", "bias": True},
    "features-norm": {"medium": "perturb", "batch_norm": True},
}
"""Learners and policies of every kind."""
POLICY_OPTIONS = ("output", "normalize", "aligned", "batch_norm")


def make(name: str, **changes: Any) -> tuple[Task, dict[str, Any]]:
    kwargs = {**LEARNERS[name], **changes}
    options = {key: kwargs.pop(key) for key in POLICY_OPTIONS if key in kwargs}
    pool = {"n": 60, "d": 4} if kwargs.get("pool") == "linear_regression" else {"n": 100}
    return make_task(**{"medium": "label", "budget": 8, "pool_options": pool, **kwargs}), options


def double_policy(task: Task, n: int = 2, **options: Any) -> NetworkPolicy:
    """Smooth networks in double precision, so that finite differences converge."""
    arch = architecture(task, hidden=(5, 4), activation="tanh", **options)
    return NetworkPolicy(arch, [task], range(n)).double()


def episodes_of(task: Task, n: int, learners: int, steps: int, iteration: int = 0) -> Any:
    return draw_episodes([task], range(n), iteration, learners=learners, steps=steps, dtype=torch.float64)


def slope_along(policy: NetworkPolicy, direction: list[Any], value: Any, h: float = 1e-5) -> float:
    """Central difference of value() as the policy's weights move along a direction."""

    def at(step: float) -> float:
        with torch.no_grad():
            for p, v in zip(policy.parameters(), direction, strict=True):
                p += step * v
            found = float(value())
            for p, v in zip(policy.parameters(), direction, strict=True):
                p -= step * v
        return found

    return (at(h) - at(-h)) / (2 * h)


def random_direction(policy: NetworkPolicy) -> list[Any]:
    g = torch.Generator().manual_seed(5)
    return [torch.randn(p.shape, generator=g, dtype=p.dtype) for p in policy.parameters()]


def along(policy: NetworkPolicy, direction: list[Any]) -> float:
    return sum(float((p.grad * v).sum()) for p, v in zip(policy.parameters(), direction, strict=True))
