"""Speed of learned teachers: an iteration of training an unrolled teacher, and a performative step (needs torch)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch

from teach_gym.core.build import make_task
from teach_gym.core.state import Task
from teach_gym.neural.image_files import load_pool
from teach_gym.neural.images import ImagePool, Images
from teach_gym.neural.settings import ImageTrainingSettings
from teach_gym.neural.train import Trainer
from teach_gym.registration import task_kwargs
from teach_gym.teachers.learned.architecture import architecture
from teach_gym.teachers.learned.fit import TrainingSettings
from teach_gym.teachers.learned.objective import Training as Objective
from teach_gym.teachers.learned.policy import NetworkPolicy
from teach_gym.teachers.learned.unroll import draw_episodes
from tools.speed import available, race
from tools.speed_report import Figure

MANY = 10
"""Number of teachers or learners trained at once."""
CNN_BATCH = 16
"""Number of images in a mini-batch of the CNN."""


def figures(rounds: int) -> list[Figure]:
    """All tables of this module, with one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [*unrolled_figures(rounds), *performative_figures(rounds)]
    finally:
        torch.set_num_threads(threads)


def unrolled_figures(rounds: int) -> list[Figure]:
    """One iteration of training DHT's data transformations: 40 steps of two learners for each teacher."""
    found = []
    for name in available(["PerturbMoons", "PerturbMNIST"]):
        task = make_task(**{**task_kwargs(name), "learning_rate": 0.001})  # DHT's
        times = race([_iteration(task, 1), _iteration(task, MANY)], 3, rounds)
        group = f"an iteration of an unrolled teacher, 40 steps of {task.d} features ({name})"
        for n, micro in zip((1, MANY), times, strict=True):
            what = "1 teacher" if n == 1 else f"{n} teachers at once"
            ratio = None if n == 1 else micro / times[0]
            found.append(Figure(group, what, micro, f"{1e-3 * micro / n:.1f} ms a teacher", ratio))
    return found


def _iteration(task: Task, n: int) -> Callable[[], Any]:
    settings = TrainingSettings(learners=2)
    policy = NetworkPolicy(architecture(task), [task], range(n))
    step, count = Objective(task, policy, settings), itertools.count()

    def call() -> None:
        i = next(count)
        step(i, draw_episodes([task], range(n), i, learners=2, steps=settings.steps, dtype=torch.float32))

    return call


def performative_figures(rounds: int) -> list[Figure]:
    """Steps of Algorithm 1 compared with plain ones: the MNIST row's perceptron, and CNN-9 on small mini-batches."""
    found = []
    for what, size, network, batch, n in (
        ("perceptron 784-128-10, 128 images", 28, "mlp", 128, 1),
        (f"perceptron 784-128-10, 128 images, {MANY} learners", 28, "mlp", 128, MANY),
        (f"CNN-9, {CNN_BATCH} images", 32, "cnn9", CNN_BATCH, 1),
    ):
        methods = {"plain step": "sgd", "random policy": "random", "performative step": "performative"}
        calls = [_step(method, size, network, batch, n) for method in methods.values()]
        times = race(calls, 2 if network == "cnn9" else 20, rounds)
        for method, micro in zip(methods, times, strict=True):
            ratio = None if method == "plain step" else micro / times[0]
            rate = f"{n * 1e6 / micro:.1f} iterations/s"
            found.append(Figure(f"performative teaching: {what}", method, micro, rate, ratio))
    return found


def _step(method: str, size: int, network: str, batch: int, n: int) -> Callable[[], Any]:
    """A step on synthetic images; the perceptron sees one of their three channels."""
    pool = load_pool("patterns", n=2000, size=size, n_classes=10)
    if network == "mlp":
        train, held_out = (Images(part.pixels[:, :1], part.labels) for part in (pool.train, pool.held_out))
        pool = ImagePool("grey", train, held_out, pool.classes)
    trainer = Trainer(
        ImageTrainingSettings(network=network, method=method, batch_size=batch, seeds=tuple(range(n))), pool
    )
    count = itertools.count()
    return lambda: trainer.advance(next(count))
