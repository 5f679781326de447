"""Mixup trainings of image learners, against plain torch loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from neural_cases import HORIZON, SMALL_MIXUP, close, trainings
from torch.nn import functional

from teach_gym.neural.images import Images, scale, shrunk
from teach_gym.neural.mixup import Adam, Learners


def test_adam_is_torchs_for_every_entry_and_can_start_one_anew() -> None:
    rng = torch.Generator().manual_seed(0)
    start = [torch.randn((3, *shape), generator=rng) for shape in ((4, 2), (5,))]
    ours = Adam([p.clone() for p in start], 0.01)
    theirs = [[p[s].clone().requires_grad_() for p in start] for s in range(3)]
    optimizers = [torch.optim.Adam(parameters, 0.01) for parameters in theirs]
    for t in range(6):
        if t == 3:
            ours.forget(torch.tensor([1]))
            optimizers[1] = torch.optim.Adam(theirs[1], 0.01)
        gradients = [torch.randn(p.shape, generator=rng) for p in start]
        ours.step(gradients)
        for s, optimizer in enumerate(optimizers):
            for p, g in zip(theirs[s], gradients, strict=True):
                p.grad = g[s]
            optimizer.step()
    for s in range(3):
        for p, q in zip(ours.parameters, theirs[s], strict=True):
            torch.testing.assert_close(p[s], q.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("network", ["simple", "cnn3"])
def test_a_training_of_a_stack_is_a_plain_torch_loop(network: str) -> None:
    """Mixed images with soft labels, torch's Adam, a single network, losses and accuracy written out."""
    options = {"network": network, "network_options": SMALL_MIXUP["network_options"] if network == "simple" else {}}
    ours = trainings(3, **options)
    pool = ours.pool
    ours.start([0, 1, 2], [5, 6, 7])
    plain = Learners(ours.spec, pool, [6])
    optimizer = torch.optim.Adam(plain.parameters(), ours.spec.learning_rate)
    labels = functional.one_hot(pool.train.labels, len(pool.classes)).float()
    losses = []
    for t in range(4 if network == "cnn3" else HORIZON):
        c, rows = (1.0, 0.5, 0.0, 0.3)[t % 4], ours.schedule[1, t].long()
        x, y = pool.train.pixels[rows].float() / 127.5 - 1.0, labels[rows]
        logits = plain((c * x[0] + (1 - c) * x[1])[None])[0]
        loss = -((c * y[0] + (1 - c) * y[1]) * logits.log_softmax(-1)).sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ours.step([0.2, c, 0.9])
        losses.append(loss.item())
        close(ours.loss[1], losses[-1], 2e-4)
    close(ours.mean_loss[1], np.mean(losses), 2e-4)
    plain.eval()
    with torch.no_grad():
        logits = plain(scale(pool.held_out.pixels)[None])[0]
    loss, accuracy = ours.look()
    close(loss[1], functional.cross_entropy(logits, pool.held_out.labels).item(), 2e-3)
    assert abs(accuracy[1] - (logits.argmax(-1) == pool.held_out.labels).float().mean().item()) < 0.03


def test_the_schedule_goes_through_the_images_in_two_independent_orders() -> None:
    ours = trainings(1, batch_size=20)  # 64 images: 3 mini-batches of 20
    ours.start([0], [3])
    epochs = ours.schedule[0].numpy().reshape(2, 3, 2, 20)
    for epoch in epochs:
        for part in (0, 1):
            shown = epoch[:, part].ravel()
            assert len(set(shown)) == 60 and shown.min() >= 0 and shown.max() < 64
        assert (epoch[:, 0] != epoch[:, 1]).mean() > 0.8
    assert (epochs[0] != epochs[1]).mean() > 0.8


def test_a_training_depends_on_its_seed_alone_and_can_be_started_apart() -> None:
    actions = np.random.default_rng(0).choice([0.0, 0.5, 1.0], HORIZON)
    stack, alone = trainings(3), trainings(1)
    stack.start([0, 1, 2], [5, 6, 7])
    alone.start([0], [6])
    for _ in range(2):
        stack.step(np.ones(3))
    kept = [p[0].clone() for p in stack.learners.parameters()]
    stack.start([1], [6])
    assert all(torch.equal(p[0], q) for p, q in zip(stack.learners.parameters(), kept, strict=True))
    assert stack.t.tolist() == [2, 0, 2] and stack.observation()[1].tolist() == [0.0, 0.0, 1.0]
    for c in actions[:6]:
        stack.step([0.5, c, 1.0])
        alone.step([c])
        close(stack.observation()[1], alone.observation()[0], 1e-4)
    assert stack.t.tolist() == [8, 6, 8]


def test_looks_are_taken_when_due() -> None:
    ours, now = trainings(1), []
    ours.start([0], [1])
    best, initial = ours.look()[0][0], ours.look()[0][0]
    for t in range(1, HORIZON + 1):
        ours.step([1.0])
        if t % 3 == 0 or t == HORIZON:
            now.append(ours.look()[0][0])
            best = min(best, now[-1])
        close(ours.best_loss[0], best, 1e-7)
        close(ours.observation()[0], [t / HORIZON, ours.mean_loss[0], best / initial], 1e-6)
    assert len(now) == 3


def test_a_diverged_training_says_so() -> None:
    ours = trainings(2)
    ours.start([0, 1], [1, 2])
    with torch.no_grad():
        next(ours.learners.parameters())[1] = torch.nan
    with pytest.raises(FloatingPointError, match=r"training 1 became non-finite at step 1"):
        ours.step([1.0, 1.0])


def test_shrinking_takes_the_means_of_squares() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 12), dtype=np.uint8)
    found = shrunk(Images(torch.tensor(pixels), torch.arange(5)), 4)
    wanted = pixels.reshape(5, 3, 2, 4, 3, 4).astype(float).mean((3, 5))
    assert found.pixels.dtype == torch.uint8 and np.abs(found.pixels.numpy() - wanted).max() <= 0.5
    with pytest.raises(ValueError, match=r"shrink must divide .*\(8, 12\), got 5"):
        shrunk(Images(torch.tensor(pixels), torch.arange(5)), 5)
