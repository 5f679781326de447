"""Black-box teachers trained on hold-out rows instead of w*: BLAST (LAST 4) and black-box DHT (DHT 4.1, 5.2).

    trained = train_black_box([task], range(10), TrainingSettings(steps=40), architecture={"alpha": 0.5})
    trained.save("teachers")  # teachers/0.safetensors, ...
    make_teacher("black_box", path="teachers/3.safetensors")

What is synthesised follows from the task's medium (see ``values``); how it is learned is the ``method``:

* ``unroll``: LAST Eq. 6, min over theta of the hold-out loss of w^v(theta), through all v steps.
* ``darts``: DHT appendix B after Liu et al. (2019), one virtual step w - xi grad at each step of the learner;
  ``order=2`` is the gradient of L_val(w - xi grad L_train(w, theta)), ``order=1`` its limit xi = 0.
* ``policy_gradient``: LAST 4, DHT 4.1: a terminal reward on the hold-out rows, discrete actions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from teach_gym.core.state import Task
from teach_gym.errors import lookup_name, shown
from teach_gym.teachers.base import check_settled
from teach_gym.teachers.learned.black_box import KIND
from teach_gym.teachers.learned.fit import TrainingSettings, fit
from teach_gym.teachers.learned.holdout_training import METHODS
from teach_gym.teachers.learned.trained import Trained
from teach_gym.teachers.learned.values import BlackBoxPolicy, black_box_architecture


def train_black_box(
    tasks: Sequence[Task],
    seeds: Sequence[int],
    settings: TrainingSettings | None = None,
    *,
    method: str = "unroll",
    architecture: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    device: str = "cpu",
    **records: Any,
) -> Trained:
    """Train black-box teachers, all at once.

    Args:
        tasks: one task for all teachers, or one for each (different pools, the same shapes).
        seeds: one for each teacher; it determines the initial weights, the learners and their data.
        settings: how to train (None: DHT's settings).
        method: a key of ``METHODS``.
        architecture: ``hidden``, ``space``, ``alpha``, ``sees``, ``batch_norm`` and ``activation`` of
            ``teach_gym.teachers.learned.values.black_box_architecture``; policy gradient has space ``choice``.
        options: ``order`` and ``xi`` of ``darts``, ``reward`` of ``policy_gradient``.
        device: a torch device.
        **records: ``out``, ``resume``, ``starts``, ``progress`` and further arguments of
            ``teach_gym.teachers.learned.fit.fit``.

    Raises:
        DivergedError: a learner or a network is no longer finite.
        ValueError: a task that no such policy fits, or other bad arguments.
        TypeError: an unknown option.
    """
    training = lookup_name("method", method, METHODS)
    settings, options = settings or TrainingSettings(), options or {}
    shape = dict(architecture or {})
    if method == "policy_gradient":
        shape.setdefault("space", "choice")
    if (shape.get("space") == "choice") != (method == "policy_gradient"):
        raise ValueError(
            f"space 'choice' goes with method 'policy_gradient', got {shown(shape.get('space'))}, {shown(method)}"
        )
    check_settled(tasks[0], KIND, "learning_rate", "pool_seed")
    if settings.every != 1:
        raise ValueError(f"black-box teachers see the learner at every step, got every={settings.every!r}")
    if shape.get("sees") == "predictions" and len(tasks) > 1:
        raise ValueError("sees='predictions' needs one task for all teachers: its representative rows are the task's")
    policy = BlackBoxPolicy(black_box_architecture(tasks[0], **shape), seeds)
    step = training(tasks, policy, settings, seeds, device, **options)
    config = {"kind": KIND, "method": method, "options": options, "architecture": dataclasses.asdict(policy.arch)}
    history = fit(step, step.parts, tasks, seeds, settings, config=config, device=device, **records)
    policy.to("cpu").eval()
    return Trained(KIND, policy, tuple(seeds), tuple(tasks), settings, history, {"method": method})
