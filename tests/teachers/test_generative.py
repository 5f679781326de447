"""Generative and private teachers: networks, terms, training, files and bad input."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from conftest import variant  # noqa: E402
from torch import nn  # noqa: E402

from teach_gym.core.build import make_task  # noqa: E402
from teach_gym.core.randomness import Streams  # noqa: E402
from teach_gym.core.state import Example, Task  # noqa: E402
from teach_gym.core.task import reset  # noqa: E402
from teach_gym.envs.base import action_space  # noqa: E402
from teach_gym.errors import DamagedDataError  # noqa: E402
from teach_gym.papers.dht_pictures import energy_distance  # noqa: E402
from teach_gym.teachers import make_teacher, teach_episodes  # noqa: E402
from teach_gym.teachers.learned.adversarial import Discriminator  # noqa: E402
from teach_gym.teachers.learned.convolution import BatchedConv, ImageDiscriminator, ImageGenerator  # noqa: E402
from teach_gym.teachers.learned.design import design, real_rows  # noqa: E402
from teach_gym.teachers.learned.fit import DivergedError, TrainingSettings  # noqa: E402
from teach_gym.teachers.learned.generative import perceptual_distance, train_generative  # noqa: E402
from teach_gym.teachers.learned.generator import GenerativePolicy  # noqa: E402
from teach_gym.teachers.learned.networks import generators, pick  # noqa: E402
from teach_gym.teachers.learned.objective import Training  # noqa: E402
from teach_gym.teachers.learned.pretrain import Pretraining, divergence_from_prior, pretrain_perception  # noqa: E402
from teach_gym.teachers.learned.terms import Privacy  # noqa: E402
from teach_gym.teachers.learned.trained import Trained  # noqa: E402

TINY: dict[str, Any] = {
    "medium": "perturb",
    "pool_options": {"n": 100},
    "budget": 10,
    "learning_rate": 0.7,
    "target_options": {"l2": 0.02},
}
DIGITS: dict[str, Any] = {
    "medium": "perturb",
    "pool": "digits",
    "pool_options": {"classes": [3, 5]},
    "budget": 4,
    "target_options": {"l2": 0.02},
}
KINDS: dict[str, dict[str, Any]] = {
    "gan": {"adversarial": 0.1},
    "vae": {"kl": 0.01},
    "private": {"privacy": Privacy(0.01, rows=20), "output": "residual"},
}
SHORT = TrainingSettings(iterations=6, steps=4, learners=2, checkpoint_every=2)


def train(kind: str, task: Task, settings: TrainingSettings = SHORT, seeds: Any = (0, 1), **options: Any) -> Trained:
    records = {"progress": False, **options.pop("records", {})}
    given = {**KINDS[kind], "pretraining": Pretraining(20), **options}
    return train_generative(kind, [task], list(seeds), settings, records=records, **given)


# -------------------------------------------------------------------------------------------------------- networks


@pytest.mark.parametrize("up", [False, True])
def test_batched_convolutions_are_torchs_own_one_by_one(up: bool) -> None:
    made = BatchedConv(3, 5, generators([1, 2]), (4, 2, 1), up=up)
    x = torch.randn(7, 6, 8, 8)
    out = made(x).reshape(7, 2, 5, *made(x).shape[2:])
    for s in range(2):
        single = (nn.ConvTranspose2d if up else nn.Conv2d)(3, 5, 4, 2, 1)
        single.load_state_dict({"weight": made.weight[s], "bias": made.bias[s]})
        torch.testing.assert_close(out[:, s], single(x[:, 3 * s : 3 * s + 3]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [8, 28])
def test_image_networks_give_the_papers_shapes_and_keep_teachers_apart(side: int) -> None:
    draws = generators([3, 4])
    generator, judge = ImageGenerator(6, 2, side, 8, draws, (0.0, 1.0)), ImageDiscriminator(2, side, 4, draws)
    feature, label = torch.randn(2, 5, 6), torch.randn(2, 5, 2)
    made = generator(feature, label)
    assert made.shape == (2, 5, side**2) and made.min() >= 0.0 and made.max() <= 1.0
    assert generator.x(feature[0].reshape(5, -1, 1, 1).repeat(1, 2, 1, 1)).shape == (5, 16, 3, 3)
    logits = judge(made, label)
    assert logits.shape == (2, 5)
    logits[0].sum().backward()
    for p in [*generator.parameters(), *judge.parameters()]:
        assert not p.grad[1].any()
    assert all(p.grad[0].any() for p in judge.parameters())
    one = pick(judge, [1])
    torch.testing.assert_close(one(made[1:], label[1:])[0], logits[1])


def test_half_moon_networks_have_the_papers_sizes() -> None:
    task = make_task(**TINY)
    policy = GenerativePolicy(design(task, "gan"), None, [0])
    sizes = [tuple(p.shape[1:]) for name, p in policy.named_parameters() if name.endswith("weight")]
    assert sizes == [(8, 32), (32, 16), (16, 2)]
    judge = Discriminator(policy.arch, generators([0]))
    assert [tuple(p.shape[1:]) for n, p in judge.named_parameters() if n.endswith("weight")] == [(4, 8), (8, 1)]
    decoder = GenerativePolicy(design(task, "vae"), None, [0]).decoder
    sizes = [tuple(p.shape[1:]) for name, p in decoder.named_parameters() if name.endswith("weight")]
    assert sizes == [(4, 128), (128, 256), (256, 128), (128, 2)]
    assert not any(p.requires_grad for p in decoder.parameters())


def test_dropout_of_the_discriminator_keeps_the_mean() -> None:
    judge = Discriminator(design(make_task(**TINY), "gan"), generators([0]))
    row, label = torch.randn(1, 1, 2).expand(1, 20000, 2), torch.zeros(1, 20000, 2)
    dropped, kept = judge(row, label, generators([5]))[0], judge(row, label)[0, 0]
    assert dropped.std() > 1e-3
    assert abs(float((dropped.mean() - kept).detach())) < 5 * float(dropped.detach().std()) / 20000**0.5


# ----------------------------------------------------------------------------------------------------------- terms


def test_divergence_from_prior_is_torchs() -> None:
    latent = torch.randn(3, 4, 6, dtype=torch.float64)
    mean, log_variance = latent.chunk(2, dim=-1)
    normal = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    wanted = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(divergence_from_prior(latent), wanted)


def test_perceptual_distances_by_brute_force() -> None:
    rows = torch.randn(2, 40, 3)
    answers = nn.functional.one_hot((rows[..., 0] > 0).long(), 2).float()
    made, losses = pretrain_perception(rows, answers, rows[:, :10], [0, 1], Pretraining(60))
    assert (losses[-10:].mean(0) < losses[:10].mean(0)).all()
    x = torch.randn(6, 2, 3)
    found = made.distance(x)
    for s in range(2):
        phi = made.phi(torch.cat([rows, x.reshape(2, 6, 3)], dim=1))[s].numpy()
        private, shown = phi[:10], phi[40:]
        gaps = ((shown[:, None] - private[None]) ** 2).sum(-1)
        np.testing.assert_allclose(found[3 * s : 3 * s + 3].flatten(), gaps.min(1), rtol=1e-3, atol=1e-4)
        pairs = ((private[:, None] - private[None]) ** 2).sum(-1)[np.triu_indices(10, 1)]
        assert pairs.mean() == pytest.approx(1.0, rel=1e-4)
    assert float(made.distance(rows[:, :1]).max()) < 1e-4, "a private row is at no distance"


@pytest.mark.parametrize("kind", KINDS)
def test_the_objective_has_the_gradient_of_finite_differences(kind: str) -> None:
    task = make_task(**TINY)
    settings = TrainingSettings(iterations=1, steps=3, learners=2, alpha=0.3, dtype="float64", learning_rate=1e-30)
    options = {"hidden": (5,)} | ({"activation": "tanh"} if kind == "private" else {})
    options |= {"privacy": Privacy(5.0, rows=10, weight=0.3)}
    held: dict[str, Any] = {}
    original = Training.__call__

    def keep(self: Training, iteration: int, episodes: Any) -> Any:
        held.update(training=self, episodes=episodes)
        return original(self, iteration, episodes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "__call__", keep)
        train(kind, task, settings, (0,), **options)
    training, g = held["training"], torch.Generator().manual_seed(1)
    training.policy.train()
    parameters = [p for p in training.policy.parameters() if p.requires_grad]
    way = [torch.randn(p.shape, generator=g, dtype=p.dtype) for p in parameters]

    def value(step: float) -> float:
        with torch.no_grad():
            for p, v in zip(parameters, way, strict=True):
                p += step * v
        found = original(training, 0, held["episodes"])["objective"]
        with torch.no_grad():
            for p, v in zip(parameters, way, strict=True):
                p -= step * v
        return float(found.sum())

    if kind == "gan":  # the discriminator must stay the same between the two
        training.objective.terms[0].optimizer.param_groups[0]["lr"] = 0.0
    # alpha's part is under stop-gradient, so its slope is left out of the comparison
    training.objective.distance.settings = dataclasses.replace(settings, alpha=0.0)
    training.policy.zero_grad()
    original(training, 0, held["episodes"])
    grads = [p.grad.clone() for p in parameters]
    slope = (value(1e-6) - value(-1e-6)) / 2e-6
    assert sum(float((a * v).sum()) for a, v in zip(grads, way, strict=True)) == pytest.approx(slope, rel=1e-4)


def test_energy_distance_against_its_definition(rng: np.random.Generator) -> None:
    from scipy.stats import energy_distance as of_samples

    a, b = rng.normal(size=(300, 1)), rng.normal(1.0, size=(300, 1))
    assert energy_distance(a, rng.normal(size=(300, 1))) < 0.05 < energy_distance(a, b)
    spread = np.abs(b - b.T)[np.triu_indices(300, 1)].mean()
    assert energy_distance(a, b) * spread == pytest.approx(of_samples(a[:, 0], b[:, 0]) ** 2, rel=0.1)


# -------------------------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("kind", KINDS)
def test_a_short_training_lowers_the_objective(kind: str) -> None:
    task = make_task(**TINY)
    settings = TrainingSettings(iterations=60, steps=8, learners=8, learning_rate=0.01)
    history = train(kind, task, settings, pretraining=Pretraining(150)).history
    assert history["objective"].shape == (60, 2)
    assert (history["objective"][-10:].mean(0) < 0.8 * history["objective"][:5].mean(0)).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_teachers_beat_sgd_on_half_moons(kind: str) -> None:
    task = make_task("PerturbMoons")
    settings = TrainingSettings(iterations=300, learners=8)
    trained = train(kind, task, settings, pretraining=Pretraining(400))
    passive = teach_episodes(task, make_teacher("passive"), range(1000, 1040))[1].mean()
    for index in range(2):
        assert teach_episodes(task, trained.teacher(index), range(1000, 1040))[1].mean() < 0.7 * passive


@pytest.mark.parametrize("kind", ["gan", "vae"])
def test_recomputing_steps_gives_the_same_training(kind: str) -> None:
    task = make_task(**TINY)
    settings = dataclasses.replace(SHORT, dtype="float64", alpha=0.1)
    plain = train(kind, task, settings)
    again = train(kind, task, dataclasses.replace(settings, recompute=2))
    np.testing.assert_allclose(plain.history["objective"], again.history["objective"], rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_teachers_trained_together_equal_teachers_trained_alone(kind: str) -> None:
    task, settings = make_task(**TINY), dataclasses.replace(SHORT, dtype="float64")
    both = train(kind, task, settings, (3, 8))
    for index, seed in enumerate((3, 8)):
        alone = train(kind, task, settings, (seed,))
        for name, values in alone.history.items():
            np.testing.assert_allclose(both.history[name][:, index], values[:, 0], rtol=1e-6, atol=1e-9)


def test_images_are_made_and_taught() -> None:
    task = make_task(**DIGITS)
    for kind in ("gan", "vae"):
        trained = train(kind, task, dataclasses.replace(SHORT, iterations=2), pretraining=Pretraining(3), width=4)
        teacher: Any = trained.teacher()
        state = reset(task, Streams.from_seeds(range(4)))
        made = teacher.policy.made(task, state)
        assert made.shape == (4, 1, 64) and np.abs(made).max() <= 1.0 and np.ptp(made) > 0
        assert teacher(task, state).x.shape == (4, 1, task.d)


def test_projected_images_are_the_pools_features() -> None:
    options = {"classes": [3, 5], "n_train": 40, "n_holdout": 20, "n_test": 20, "binary": True}
    task = make_task(**{**DIGITS, "pool": "mnist", "pool_options": options})
    trained = train("gan", task, dataclasses.replace(SHORT, iterations=1), width=4)
    arch: Any = trained.policy.arch
    real = real_rows(task, arch)
    assert real.rows.shape == (40, 784) and set(np.unique(real.rows)) == {0.0, 1.0}
    np.testing.assert_allclose(real.rows @ real.projection, task.pool.train.x, atol=1e-10)
    teacher: Any = trained.teacher()
    state = reset(task, Streams.from_seeds([0, 1]))
    example = teacher(task, state)
    made = teacher.policy.made(task, state)
    assert made.min() >= 0.0 and made.max() <= 1.0
    np.testing.assert_allclose(example.x, made @ real.projection, rtol=1e-3, atol=1e-4)


def test_an_interrupted_gan_goes_on_bit_equal(tmp_path: Path) -> None:
    task = make_task(**TINY)
    whole = train("gan", task, records={"out": tmp_path / "whole"})
    original = Training.__call__

    def stop(self: Training, iteration: int, episodes: Any) -> Any:
        if iteration == 5:
            raise KeyboardInterrupt
        return original(self, iteration, episodes)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Training, "__call__", stop)
        train("gan", task, records={"out": tmp_path / "run"})
    resumed = train("gan", task, records={"out": tmp_path / "run", "resume": True})
    for a, b in zip(whole.policy.state_dict().values(), resumed.policy.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_divergence_names_the_step_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    settings = TrainingSettings(iterations=5, steps=4, learners=2, learning_rate=1e30, checkpoint_every=1)
    with pytest.raises(DivergedError, match=r"teacher iteration 2.*000000000001\.pt"):
        train("gan", make_task(**TINY), settings, records={"out": tmp_path})
    assert (tmp_path / "checkpoints" / "000000000001.pt").is_file()
    with pytest.raises(DivergedError, match=r"variational autoencoder diverged at step \d+ of 20"):
        train("vae", make_task(**TINY), pretraining=Pretraining(20, learning_rate=1e30))


# ----------------------------------------------------------------------------------------------- files and teaching


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_teacher_is_the_same_teacher(kind: str, tmp_path: Path) -> None:
    task = make_task(**TINY)
    trained = train(kind, task)
    paths = trained.save(tmp_path)
    state = reset(task, Streams.from_seeds(range(6)))
    for index, path in enumerate(paths):
        ours, theirs = trained.teacher(index), make_teacher(kind, path=str(path))
        example = ours(task, state)
        assert isinstance(example, Example)
        np.testing.assert_array_equal(example.x, theirs(task, state).x)  # type: ignore[union-attr]
    if kind == "private":
        np.testing.assert_array_equal(perceptual_distance(ours, example), perceptual_distance(theirs, example))
    else:
        with pytest.raises(ValueError, match="without privacy"):
            perceptual_distance(theirs, example)
    other = "vae" if kind == "gan" else "gan"
    with pytest.raises(ValueError, match=f"holds {kind} of format 1, wanted {other}"):
        make_teacher(other, path=str(paths[0]))
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(paths[0].read_bytes()[:-8])
    with pytest.raises(DamagedDataError):
        make_teacher(kind, path=str(damaged))
    with pytest.raises(ValueError, match=r"d=2.*d=64"):
        theirs.check(make_task(**DIGITS))


@pytest.mark.parametrize("name", ["perturb-box", "perturb-axes", "label-grid", "mixup", "select"])
def test_generative_teachers_fit_tasks_of_any_medium(name: str) -> None:
    task = make_task(**variant(name))
    trained = train("gan", task, dataclasses.replace(SHORT, iterations=1))
    teacher = trained.teacher(0)
    teacher.check(task)
    state = reset(task, Streams.from_seeds(range(3)))
    assert np.isfinite(teacher(task, state).x).all()  # type: ignore[union-attr]
    acting = trained.teacher(0, give="action")
    if name.startswith("perturb"):
        assert all(action_space(task).contains(int(a)) for a in acting(task, state))  # type: ignore[union-attr]
    else:
        with pytest.raises(ValueError, match=f"not what medium '{task.spec.medium}' can make"):
            acting(task, state)


def test_bad_input() -> None:
    task = make_task(**TINY)
    with pytest.raises(ValueError, match="unknown kind of teacher 'gun'"):
        train_generative("gun", [task], [0])
    with pytest.raises(ValueError, match="needs privacy"):
        train_generative("private", [task], [0])
    with pytest.raises(ValueError, match="fits the medium perturb; the task's is 'label'"):
        train("private", make_task(**{**TINY, "medium": "label"}))
    with pytest.raises(ValueError, match="needs a pool of images, pool 'half_moons' has none"):
        train("gan", task, images=True)
    with pytest.raises(ValueError, match="adversarial must be >= 0 and finite, got -1"):
        train("gan", task, adversarial=-1.0)
    with pytest.raises(ValueError, match="epsilon must be >= 0 and finite, got nan"):
        Privacy(float("nan"))
    with pytest.raises(ValueError, match="200 rows was requested, the pool has 80"):
        train("private", task, privacy=Privacy(0.1, rows=200))
    with pytest.raises(ValueError, match="at least two rows"):
        train("gan", make_task(**DIGITS), dataclasses.replace(SHORT, learners=1), width=4)
    with pytest.raises(ValueError, match="images of side 28, 8, the pool's have side 6"):
        dataclasses.replace(design(make_task(**DIGITS), "gan"), side=6)
    with pytest.raises(ValueError, match=r'path="FILE'):
        make_teacher("gan")
