"""Networks and training: shapes against DHT Table 3, runs against plain torch loops, resuming bit by bit."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from neural_cases import CLASSES, made_pool
from torch import nn
from torch.nn import functional

from teach_gym.neural.images import scale
from teach_gym.neural.networks import make_network, seeded
from teach_gym.neural.performative import performative_step
from teach_gym.neural.settings import METHODS, ImageTrainingSettings
from teach_gym.neural.teaching import Teaching
from teach_gym.neural.train import Trainer, train


def quick(**changes: Any) -> ImageTrainingSettings:
    common = {"iterations": 12, "batch_size": 16, "learning_rate": 0.05, "eval_every": 5, "checkpoint_every": 4}
    return ImageTrainingSettings(**{**common, **changes})


def run(settings: ImageTrainingSettings, folder: Path, **options: Any) -> dict[str, Any]:
    return train(settings, folder, pool=made_pool(), progress=False, **options)


# --- networks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "depth"), [("cnn3", 1), ("cnn6", 2), ("cnn9", 3), ("cnn15", 5)])
def test_cnns_are_those_of_table_3(name: str, depth: int) -> None:
    encoder, head = make_network(name, (3, 32, 32), 10)
    shapes = Counter(tuple(m.weight.shape[1::-1]) for m in encoder.modules() if isinstance(m, nn.Conv2d))
    expected = Counter({(3, 64): 1, (64, 128): 1, (128, 256): 1})
    expected += Counter({(f, f): depth - 1 for f in (64, 128, 256)})
    assert shapes == expected
    assert all(m.kernel_size == (3, 3) for m in encoder.modules() if isinstance(m, nn.Conv2d))
    assert sum(isinstance(m, nn.BatchNorm2d) for m in encoder.modules()) == 3 * depth
    with torch.no_grad():
        features = encoder.eval()(torch.zeros(2, 3, 32, 32))
    assert features.shape == (2, 256) and head.weight.shape == (10, 256)
    linear = [m.weight.shape for m in encoder.modules() if isinstance(m, nn.Linear)]
    assert linear == [(256, 256 * 4 * 4)]


@pytest.mark.parametrize(("name", "depth"), [("cnn3", 1), ("cnn6", 2)])
def test_blocks_are_convolution_norm_relu_then_pooling(name: str, depth: int) -> None:
    encoder, _ = make_network(name, (3, 16, 16), 10, filters=(4, 6, 8), features=12)
    of_kind = [[m for m in encoder.modules() if isinstance(m, k)] for k in (nn.Conv2d, nn.BatchNorm2d, nn.Linear)]
    images = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    x = images
    for i, (convolution, norm) in enumerate(zip(*of_kind[:2], strict=True), start=1):
        x = functional.relu(norm(convolution(x)))
        if i % depth == 0:
            x = functional.max_pool2d(x, 2)
    expected = of_kind[2][0](x.flatten(1))
    found = encoder(images)
    assert torch.equal(found, expected)
    weights = [*encoder.parameters()]
    gradients = (torch.autograd.grad(z.square().sum(), weights) for z in (found, expected))
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_mlp_is_784_128_10_without_bias() -> None:
    network = make_network("mlp", (1, 28, 28), 10)
    assert [tuple(p.shape) for p in network.parameters()] == [(128, 784), (10, 128)]
    assert network.logits(torch.zeros(4, 1, 28, 28)).shape == (4, 10)
    with pytest.raises(ValueError, match="unknown network 'cnn7'"):
        make_network("cnn7", (1, 28, 28), 10)
    with pytest.raises(ValueError, match="at least 8 high and wide"):
        make_network("cnn3", (1, 6, 28), 10)


@pytest.mark.parametrize("name", ["mlp", "cnn3"])
def test_stacked_networks_equal_single_ones(name: str) -> None:
    """Values, gradients, running statistics and evaluation of three networks at once, against each alone."""
    seeds, x, y = (3, 5, 9), torch.randn(3, 6, 3, 8, 8), torch.randint(0, CLASSES, (3, 6))
    stacked = seeded(lambda: make_network(name, (3, 8, 8), CLASSES), seeds)
    singles = [seeded(lambda: make_network(name, (3, 8, 8), CLASSES), (seed,)) for seed in seeds]
    functional.cross_entropy(stacked.logits(x).flatten(0, 1), y.flatten(), reduction="sum").backward()
    for s, single in enumerate(singles):
        functional.cross_entropy(single.logits(x[s]), y[s], reduction="sum").backward()
        pairs = zip(stacked.parameters(), single.parameters(), strict=True)
        for ours, theirs in pairs:
            torch.testing.assert_close(ours.grad[s], theirs.grad, rtol=1e-4, atol=1e-5)
        buffers = zip(stacked.encoder.buffers(), single.encoder.buffers(), strict=True)
        for ours, theirs in buffers:
            torch.testing.assert_close(ours[s], theirs)
        single.encoder.eval()
    stacked.encoder.eval()
    expected = torch.stack([single.logits(x[s]) for s, single in enumerate(singles)])
    torch.testing.assert_close(stacked.logits(x), expected, rtol=1e-4, atol=1e-5)


# --- training -------------------------------------------------------------------------------------------------------


def test_sgd_is_a_torch_loop(tmp_path: Path) -> None:
    """The whole run with schedule, momentum and weight decay against a loop in plain PyTorch."""
    settings = quick(seeds=(4,), momentum=0.9, weight_decay=0.01, milestones=(5, 9), network="cnn3")
    found = run(settings, tmp_path)
    pool, trainer = made_pool(), Trainer(settings, made_pool())
    torch.manual_seed(4)
    network = make_network("cnn3", pool.image, CLASSES)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [5, 9])
    seen = []
    for t in range(12):
        x, y = trainer.batch(t)
        seen.append(x)
        optimizer.zero_grad()
        functional.cross_entropy(network.logits(x), y).backward()
        optimizer.step()
        schedule.step()
    network.encoder.eval()
    with torch.no_grad():
        right = network.logits(scale(pool.held_out.pixels)).argmax(-1) == pool.held_out.labels
    assert found["accuracy"] == pytest.approx([100 * right.double().mean().item()])
    epoch = torch.cat(seen[:6]).flatten(1)
    assert len({tuple(row) for row in epoch.tolist()}) == len(epoch) == 96
    assert not torch.equal(torch.cat(seen[6:]).flatten(1), epoch)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_and_stacked_seeds_equal_single_ones(method: str, tmp_path: Path) -> None:
    together = run(quick(method=method, seeds=(0, 1), augment=True), tmp_path / "both")
    alone = run(quick(method=method, seeds=(1,), augment=True), tmp_path / "one")
    for both, one in zip(together["curve"], alone["curve"], strict=True):
        assert both["loss"][1] == pytest.approx(one["loss"][0], rel=1e-4)
    assert together["curve"][0]["loss"][0] > together["curve"][-1]["loss"][0]
    assert [row["iteration"] for row in together["curve"]] == [5, 10, 12]


def test_methods_differ() -> None:
    losses = {}
    for method in METHODS:
        trainer = Trainer(quick(method=method), made_pool())
        losses[method] = [trainer.advance(t).loss.item() for t in range(4)][-1]
    assert len(set(losses.values())) == len(METHODS)


@pytest.mark.parametrize(("method", "augment"), [("random", False), ("performative_accumulate", True)])
def test_a_killed_run_resumes_bit_by_bit(method: str, augment: bool, tmp_path: Path) -> None:
    settings = quick(method=method, seeds=(0, 1), momentum=0.5, augment=augment, network="cnn3", iterations=10)
    straight = run(settings, tmp_path / "straight")
    trainers, killed = [], tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        advance = Trainer.advance

        def stop(self: Trainer, t: int) -> Any:
            if t == 7:
                raise KeyboardInterrupt
            return advance(self, t)

        patch.setattr(Trainer, "advance", stop)
        run(settings, killed)
    with pytest.raises(FileExistsError):
        run(settings, killed)
    with pytest.raises(ValueError, match="another config"):
        run(quick(method=method, seeds=(0, 1)), killed, resume=True)
    resumed = run(settings, killed, resume=True)
    assert resumed["curve"] == straight["curve"]
    for folder in ("straight", "killed"):
        file = sorted((tmp_path / folder / "checkpoints").glob("*.pt"))[-1]
        trainers.append(torch.load(file, weights_only=True))
    for part in ("encoder", "head"):
        assert all(torch.equal(a, b) for a, b in zip(*(t[part].values() for t in trainers), strict=True))
    rows = [(tmp_path / folder / "progress.csv").read_text() for folder in ("straight", "killed")]
    assert rows[0] == rows[1] and json.loads((killed / "result.json").read_text())["curve"] == straight["curve"]


def test_stopping_and_going_on_is_the_same_run(tmp_path: Path) -> None:
    straight = run(quick(), tmp_path / "straight")
    first = run(quick(), tmp_path / "parts", stop_after=7)
    assert first["accuracy"] is None and not (tmp_path / "parts" / "result.json").exists()
    assert run(quick(), tmp_path / "parts", resume=True)["curve"] == straight["curve"]


def test_a_non_finite_loss_stops_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    rate = quick(learning_rate=0.05)

    def diverge(self: ImageTrainingSettings, t: int) -> float:
        return 0.05 if t < 6 else 1e30

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageTrainingSettings, "rate", diverge)
        with pytest.raises(
            FloatingPointError, match=r"seed 0 became non-finite at iteration [78]; the last good .*04\.pt"
        ):
            run(rate, tmp_path)
    kept = sorted((tmp_path / "checkpoints").glob("*.pt"))
    assert [path.stem for path in kept] == ["000000000004"]
    saved = torch.load(kept[0], weights_only=True)
    assert all(torch.isfinite(value).all() for value in saved["head"].values())
    assert run(rate, tmp_path, resume=True)["accuracy"] is not None


def test_bf16_and_channels_last_run_on_the_cpu() -> None:
    plain, lower = (
        Trainer(quick(network="cnn3", **options), made_pool())
        for options in ({}, {"precision": "bf16", "channels_last": True})
    )
    pairs = [(plain.advance(t).loss.item(), lower.advance(t).loss.item()) for t in range(3)]
    for exact, rounded in pairs:
        assert exact != rounded and rounded == pytest.approx(exact, rel=0.1)
    stacked = Trainer(quick(precision="bf16", seeds=(0, 1), method="performative"), made_pool())
    assert torch.isfinite(stacked.advance(0).loss).all()


def test_teaching_may_be_limited_in_time() -> None:
    part, none = (
        Trainer(quick(method=method, teach_between=(2, 4)), made_pool()) for method in ("performative", "sgd")
    )
    losses = [(part.advance(t).loss.item(), none.advance(t).loss.item()) for t in range(4)]
    assert [a == b for a, b in losses] == [True, True, False, False]


def test_training_may_be_on_few_images_with_wrong_labels() -> None:
    pool = made_pool()
    ours = Trainer(quick(validation=26, images=50, label_noise=0.3), pool).pool
    of = {tuple(image.flatten().tolist()): int(label) for image, label in zip(*pool.train, strict=True)}
    for part, wrong in ((ours.train, 15), (ours.held_out, 0)):
        given = [of[tuple(image.flatten().tolist())] for image in part.pixels]
        assert sum(a != b for a, b in zip(given, part.labels.tolist(), strict=True)) == wrong
    assert (len(ours.train), len(ours.held_out)) == (50, 26)


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_target_may_be_estimated_on_other_images(seeds: tuple[int, ...]) -> None:
    settings = quick(method="performative", network="cnn3", target_images=40, seeds=seeds)
    ours, theirs, batch_only = (
        Trainer(s, made_pool()) for s in (settings, settings, dataclasses.replace(settings, target_images=0))
    )
    features, labels = theirs.targets(0)
    assert features.shape == (*(len(seeds),) * (len(seeds) > 1), 40, 256) and labels.shape == features.shape[:-1]
    teaching, network = settings.taught(), theirs.network
    step = performative_step(
        theirs.encode,
        network.head,
        theirs.batch(0),
        theirs.optimizer,
        teaching=teaching,
        target_data=(features, labels),
    )
    assert torch.equal(ours.advance(0).taught, step.taught)
    assert not torch.equal(batch_only.advance(0).taught, step.taught)
    for a, b in zip(ours.network.parameters(), network.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_images": -1}, "target_images must be >= 0"),
        ({"label_noise": 1.0}, r"label_noise must be in \[0, 1\), got 1.0"),
        ({"method": "sdg"}, "did you mean 'sgd'"),
        ({"network": "vgg"}, "unknown network 'vgg'"),
        ({"precision": "fp8"}, "allowed: bf16, float32"),
        ({"seeds": (1, 1)}, "seeds must be different"),
        ({"learning_rate": -1.0}, "learning_rate must be a finite number > 0"),
        ({"teaching": {"epsilonn": 1}}, "did you mean 'epsilon'"),
        ({"seeds": (0, 1), "channels_last": True}, "one seed at a time"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"milestones": (-3,)}, "milestones must be >= 0"),
    ],
)
def test_wrong_settings_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageTrainingSettings(**options)


def test_a_batch_larger_than_the_pool_is_named() -> None:
    with pytest.raises(ValueError, match="batch_size must be <= 96 images, got 128"):
        Trainer(ImageTrainingSettings(), made_pool())


def test_a_step_works_on_any_split_network_with_any_optimizer() -> None:
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ELU(), nn.Flatten(), nn.LazyLinear(7))
    head, images = nn.Linear(7, CLASSES), made_pool().train
    encoder(scale(images.pixels))
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=0.01)
    batch = scale(images.pixels), images.labels
    losses = [performative_step(encoder, head, batch, optimizer, teaching=Teaching()).loss.item() for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]


def test_importing_the_package_does_not_load_torch() -> None:
    code = "import sys, teach_gym; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_auto_is_the_cpu_and_cuda_is_refused() -> None:
    assert ImageTrainingSettings(device="auto").place().type == "cpu"
    with pytest.raises(ValueError, match="device 'cuda': torch finds no GPU here"):
        ImageTrainingSettings(device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("method", [name for name in METHODS if name != "random"])
def test_a_gpu_gives_the_losses_of_the_cpu(method: str) -> None:
    """One batch of all images, since their order is drawn on the device, as are the random policy's points."""
    options = {"method": method, "batch_size": 96, "network": "cnn3"}
    here, there = (Trainer(quick(device=device, **options), made_pool()) for device in ("cpu", "cuda"))
    assert there.advance(0).loss.item() == pytest.approx(here.advance(0).loss.item(), rel=1e-2)
