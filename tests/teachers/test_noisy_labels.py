"""The baselines for wrong labels, by their formulas and by what they do on noisy tasks."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from conftest import genuine

from teach_gym.core.build import make_task
from teach_gym.core.metrics import METRICS
from teach_gym.core.randomness import Streams
from teach_gym.core.state import Task, TeachState
from teach_gym.core.task import learn, reset
from teach_gym.registration import TASKS
from teach_gym.teachers import follow, lesson, make_teacher
from teach_gym.teachers.base import final_values

NOISY = ("BlackBoxNoisyDigits", "BlackBoxNoisyMNIST")


@functools.lru_cache(maxsize=8)
def case(name: str, steps: int = 40, **changes: Any) -> tuple[Task, TeachState]:
    """A task and runs after some steps of plain SGD."""
    task = make_task(name, **changes)
    state = reset(task, Streams.from_seeds(range(20)))
    for _ in range(steps):
        state = follow(task, state, make_teacher("passive")).state
    return task, state


def own_gradient(task: Task, state: TeachState, beta: float) -> np.ndarray:
    """Autograd of Reed et al.'s soft bootstrapping loss, -sum_k (beta y_k + (1 - beta) q_k) log q_k: (B, P)."""
    torch = pytest.importorskip("torch")
    w = torch.tensor(np.ascontiguousarray(state.w), dtype=torch.float64, requires_grad=True)
    x, y = (torch.tensor(np.ascontiguousarray(a[:, 0]), dtype=torch.float64) for a in (state.x, state.y))
    z = torch.einsum("bmd,bdk->bmk", x, w.reshape(len(w), task.d, task.k))
    if task.k == 1:
        z, y = torch.cat([torch.zeros_like(z), z], -1), torch.cat([1 - y, y], -1)
    log = torch.log_softmax(z, -1)
    (-(beta * y + (1 - beta) * log.exp()) * log).sum(-1).mean(-1).sum().backward()
    return np.asarray(w.grad.numpy())


@pytest.mark.parametrize("name", ["BlackBoxNoisyDigits", "LabelMoons", "LabelDigits"])
def test_soft_bootstrapping_is_the_gradient_step_of_its_loss(name: str) -> None:
    task, state = case(name)
    example = make_teacher("bootstrapping", beta=0.7, hard=False)(task, state)
    moved = state.w - learn(task, state, example)[0]
    np.testing.assert_allclose(moved, task.spec.learning_rate * own_gradient(task, state, 0.7), atol=1e-10)


@pytest.mark.parametrize("name", ["BlackBoxNoisyDigits", "LabelMoons"])
def test_hard_bootstrapping_mixes_with_the_decision(name: str) -> None:
    task, state = case(name)
    z, y = task.learner.logits(state.w, state.x[:, 0]), state.y[:, 0]
    decided = (z > 0).astype(float) if task.k == 1 else np.eye(task.k)[z.argmax(-1)]
    example = make_teacher("bootstrapping", beta=0.6)(task, state)
    np.testing.assert_allclose(example.y, 0.6 * y + 0.4 * decided, atol=1e-12)
    np.testing.assert_array_equal(example.x, state.x[:, 0])
    given = make_teacher("bootstrapping", beta=1.0)(task, state)
    np.testing.assert_array_equal(given.y, y)


@pytest.mark.parametrize("steps", [3, 120])
def test_rows_of_small_loss_among_the_last_ones_are_kept(steps: int) -> None:
    """By loops over runs and rows; the others leave the learner as it is."""
    task, state = case("BlackBoxNoisyDigits", steps)
    options = {"keep": 0.5, "warmup": 0.2, "window": 10}
    after = follow(task, state, make_teacher("small_loss", **options)).state
    plain = follow(task, state, make_teacher("passive")).state
    share, kept = 1.0 - 0.5 * min(steps / (0.2 * task.spec.budget), 1.0), []
    for i in range(len(state.t)):
        rows = state.schedule[i, max(steps - 9, 0) : steps + 1, 0, 0]
        w = state.w[i].reshape(task.d, task.k)
        p = [np.exp(task.x[r] @ w) / np.exp(task.x[r] @ w).sum() for r in rows]
        losses = [-np.log(q @ task.y[r]) for q, r in zip(p, rows, strict=True)]
        kept.append(sum(loss < losses[-1] - 1e-12 for loss in losses) < share * len(rows))
        np.testing.assert_allclose(after.w[i], (plain if kept[-1] else state).w[i], atol=1e-12)
    assert any(kept) and (steps < 10 or not all(kept))


def test_a_mini_batch_is_averaged_over_the_rows_kept() -> None:
    """With the window of a mini-batch it is co-teaching's selection: the rows of smallest loss in the mini-batch."""
    task, state = case("BlackBoxNoisyDigits", 60, batch_size=8)
    teacher = make_teacher("small_loss", keep=0.5, warmup=0.0, window=1)
    x, y = state.x[:, 0], state.y[:, 0]
    z = task.learner.logits(state.w, x)
    losses = np.log(np.exp(z).sum(-1)) - (z * y).sum(-1)
    different = np.diff(np.sort(losses, axis=1), axis=1).min(1) > 1e-9  # a row offered twice has the same loss twice
    best = np.argsort(losses, axis=1)[:, :4]
    rows = np.arange(len(x))[:, None]
    gradient = task.learner.gradient(state.w, x[rows, best], y[rows, best])[different]
    moved = (state.w - learn(task, state, teacher(task, state))[0])[different]
    assert different.sum() > 10
    np.testing.assert_allclose(moved, task.spec.learning_rate * gradient, atol=1e-10)


def test_small_loss_leaves_out_wrong_labels() -> None:
    task, state = case("BlackBoxNoisyDigits", 199)
    kept = make_teacher("small_loss")(task, state).y
    rows = state.schedule[:, 199, 0, 0]
    train = task.pool.train
    assert train.correct is not None
    wrong = train.labels[rows] != train.correct[rows]
    skipped = np.abs(kept - state.y[:, 0]).sum((1, 2)) > 1e-9
    assert skipped.sum() <= len(rows) and (skipped & wrong).sum() >= (skipped & ~wrong).sum()


def test_hold_out_sgd_learns_from_hold_out_rows_alone() -> None:
    task, state = case("BlackBoxNoisyDigits")
    example = make_teacher("holdout_sgd")(task, state)
    for x, y in zip(example.x[:, 0], example.y[:, 0], strict=True):
        found = np.flatnonzero((task.holdout.x == x).all(1))
        assert len(found) and any(np.array_equal(task.holdout.y[i], y) for i in found)
    assert len(np.unique(example.x[:, 0], axis=0)) > 1


@pytest.mark.parametrize("name", genuine(NOISY))
def test_noisy_tasks_have_clean_hold_out_rows_and_room(name: str) -> None:
    """40 % of the train labels are wrong; learning from the others only beats plain SGD by far."""
    task = make_task(name)
    train = task.pool.train
    assert train.correct is not None and (train.labels != train.correct).mean() == pytest.approx(0.4, abs=1e-3)
    assert len(task.holdout.x) == 50 and task.pool.holdout.correct is None
    (plain,), (known,) = (
        final_values(task, *lesson(task, make_teacher(t), range(12)), METRICS["test_accuracy"])
        for t in ("passive", "holdout_greedy")
    )
    assert known.mean() > plain.mean() + 0.04
    assert TASKS[name]["medium_options"]["p"] == "prediction"


@pytest.mark.parametrize(
    ("text", "options", "kind", "message"),
    [
        ("bootstrapping", {"beta": 1.1}, ValueError, r"beta must lie in \[0, 1\], got 1\.1"),
        ("bootstrapping", {"hard": "no"}, TypeError, "hard must be True or False, got 'no'"),
        ("small_loss", {"keep": 0.0}, ValueError, r"keep must lie in \(0, 1\]"),
        ("small_loss", {"warmup": -1}, ValueError, "warmup.*-1"),
        ("small_loss", {"window": 0}, ValueError, "window.*0"),
        ("small_loss", {"window": 2.5}, TypeError, r"window.*2\.5"),
    ],
)
def test_bad_options(text: str, options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        make_teacher(text, **options)


def test_tasks_they_cannot_teach() -> None:
    margin = make_task("LabelMoons", learner="margin_logistic")
    for name in ("bootstrapping", "small_loss"):
        with pytest.raises(ValueError, match="margin_logistic"):
            make_teacher(name).check(margin)
    with pytest.raises(ValueError, match="least_squares"):
        make_teacher("bootstrapping").check(make_task("LabelRegression"))
    with pytest.raises(ValueError, match="pool_seed"):
        make_teacher("holdout_sgd").check(make_task("LabelMoons", pool_seed=[1, 2]))
