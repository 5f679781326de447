"""Mixup teaching of image learners: against plain torch loops, finite differences, brute force and the single env."""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, VectorEnv
from scipy import stats
from torch.func import functional_call
from torch.nn import functional

import teach_gym
from teach_gym.core.rewards import HOLDOUT_REWARDS
from teach_gym.data.datasets import data_dir
from teach_gym.neural import mixup_policies, mixup_spec
from teach_gym.neural.image_files import load_pool
from teach_gym.neural.images import Images, scale
from teach_gym.neural.mixup import REWARDS, Adam, Learners, Trainings, cross_entropy
from teach_gym.neural.mixup_policies import (
    CoefficientNetwork,
    Sampling,
    Unrolling,
    cmixup,
    dmixup,
    erm,
    generators,
    hypergradient,
    learn_policy,
    policy_loss,
    teach,
    word,
)
from teach_gym.neural.mixup_spec import MixupSpec, load_images, shrunk
from teach_gym.neural.networks import StackedLinear
from teach_gym.papers import experiment
from teach_gym.papers.curves import Curves
from teach_gym.registration import NEURAL_TASKS, env_id

ID = env_id("BlackBoxMixupCIFAR10")
SMALL: dict[str, Any] = {
    "pool": "patterns",
    "pool_options": {"n": 104, "size": 8},
    "validation": 40,
    "epochs": 2,
    "batch_size": 16,
    "look_every": 3,
    "network_options": {"filters": [4, 4], "features": 8},
}
HORIZON = 2 * (64 // 16)


def spec(**changes: Any) -> MixupSpec:
    return MixupSpec(**{**SMALL, **changes})


def trainings(n: int, **changes: Any) -> Trainings:
    own = spec(**changes)
    return Trainings(own, load_images(own)[0], n)


def close(a: Any, b: Any, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)


# --- the training ---------------------------------------------------------------------------------------------------


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
    options = {"network": network, "network_options": SMALL["network_options"] if network == "simple" else {}}
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


# --- the policies ---------------------------------------------------------------------------------------------------


def doubles(n: int) -> Trainings:
    """Trainings in double precision, in the middle, with a network that has few kinks."""
    ours = trainings(n, network="mlp", network_options={"hidden": 6})
    ours.start(range(n), range(n))
    ours.learners.double()
    ours.optimizer = Adam(list(ours.learners.parameters()), 0.001)
    images, labels = ours.batch()
    ours.batch = lambda: (images.double(), labels)  # type: ignore[method-assign]
    return ours


def test_hypergradient_is_the_slope_of_the_validation_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exact one against central differences of the unrolled validation loss, DARTS' with a small step too."""
    ours, rate, c = doubles(3), 0.5, torch.tensor([0.3, 0.5, 0.8], dtype=torch.float64)
    pixels, labels = ours.pool.held_out.take(torch.arange(30).view(3, 10))
    held = (scale(pixels).double(), labels)

    def unrolled(c: Any) -> Any:
        now = list(ours.learners.parameters())
        slopes = torch.autograd.grad(ours.mixed_loss(c, ours.batch()).sum(), now)
        after = {name: p - rate * g for name, p, g in zip(ours.names, now, slopes, strict=True)}
        return cross_entropy(functional_call(ours.learners, after, (held[0],)), held[1]).detach()

    wanted = (unrolled(c + 1e-6) - unrolled(c - 1e-6)) / 2e-6
    exact = hypergradient(ours, c, held, rate, exact=True)
    close(exact, wanted, 1e-5)
    assert exact.abs().min() > 1e-5
    monkeypatch.setattr(mixup_policies, "_STEP", 1e-6)
    close(hypergradient(ours, c, held, rate, exact=False), exact, 1e-5)


def test_hypergradient_leaves_the_learner_alone() -> None:
    ours = trainings(2, network="cnn3", network_options={})
    ours.start([0, 1], [1, 2])
    before = {name: value.clone() for name, value in ours.learners.state_dict().items()}
    pixels, labels = ours.pool.held_out.take(torch.arange(8).view(2, 4))
    for exact in (True, False):
        found = hypergradient(ours, torch.tensor([0.2, 0.7]), (scale(pixels), labels), 0.1, exact=exact)
        assert found.shape == (2,) and bool(torch.isfinite(found).all())
    assert all(torch.equal(value, before[name]) for name, value in ours.learners.state_dict().items())


@pytest.mark.parametrize("exact", [True, False])
def test_the_unrolled_teacher_goes_down_the_hypergradient(exact: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = trainings(2)
    ours.start([0, 1], [1, 2])
    monkeypatch.setattr(mixup_policies, "hypergradient", lambda *a, **k: torch.tensor([1.0, -1.0]))
    policy = Unrolling([1, 2], learning_rate=0.01, exact=exact)
    state = torch.from_numpy(ours.observation())[:, None]
    first = torch.sigmoid(policy.teacher(state)).detach().flatten()
    for _ in range(5):
        last = policy(ours)
    assert last[0] < first[0] - 0.01 and last[1] > first[1] + 0.01


def test_random_coefficients_have_their_distributions() -> None:
    seeds = list(range(200))
    ours = trainings(1)
    for alpha in (0.4, 1.0):
        policy = cmixup(seeds, alpha)
        drawn = torch.cat([policy(ours) for _ in range(10)]).numpy()
        assert stats.kstest(drawn, stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    policy = dmixup(seeds)
    values, counts = np.unique(torch.cat([policy(ours) for _ in range(10)]).numpy(), return_counts=True)
    assert values.tolist() == [0.0, 0.5, 1.0] and stats.chisquare(counts).pvalue > 1e-3
    assert erm(ours).tolist() == [1.0]
    pairs = zip(cmixup([7, 8])(ours), (cmixup([s])(ours)[0] for s in (7, 8)), strict=True)
    assert all(a == b for a, b in pairs)
    with pytest.raises(ValueError, match="alpha must be > 0"):
        cmixup(seeds, 0.0)


def test_policy_gradient_is_the_formula_written_out() -> None:
    seeds, n, horizon = [3, 4], 3, 5
    teacher, draws = CoefficientNetwork(seeds, 3, dropout=0.4), generators(seeds, 0)
    rng = torch.Generator().manual_seed(0)
    kept = [
        (torch.rand((2, n, 3), generator=rng), teacher.masks(n, draws), torch.randint(3, (2, n), generator=rng))
        for _ in range(horizon)
    ]
    returns = torch.rand((2, n), generator=rng)
    total = 0.0
    for s in range(2):
        weights = (returns[s].numpy() - returns[s].numpy().mean()) / returns[s].numpy().std(ddof=1)
        for state, mask, action in kept:
            for i in range(n):
                z = torch.relu(teacher.hidden.weight[s] @ state[s, i] + teacher.hidden.bias[s]) * mask[s, i]
                logits = teacher.out.weight[s] @ z + teacher.out.bias[s]
                total = total - float(weights[i]) * logits.log_softmax(0)[action[s, i]] / (n * horizon)
    loss = policy_loss(teacher, kept, returns).sum()
    torch.testing.assert_close(loss, total, rtol=1e-4, atol=1e-6)
    parameters = list(teacher.parameters())
    for g, wanted in zip(torch.autograd.grad(loss, parameters), torch.autograd.grad(total, parameters), strict=True):
        torch.testing.assert_close(g, wanted, rtol=1e-4, atol=1e-6)
    share = torch.cat([mask.flatten() for _, mask, _ in kept])
    close(np.unique(share), [0.0, 1.0 / 0.6])
    assert abs(float(share.mean()) - 1.0) < 0.1


class Bandit:
    """Trainings whose accuracy is the share of mini-batches that are mixed half and half."""

    def __init__(self, n: int) -> None:
        self.n, self.horizon, self.spec = n, 20, spec()

    def start(self, rows: Any, seeds: Any) -> None:
        assert len(set(seeds)) == self.n
        self.t, self.accuracy = 0, np.zeros(self.n)

    def step(self, coefficient: Any) -> None:
        self.t += 1
        self.accuracy += (np.asarray(coefficient) == 0.5) / self.horizon

    def observation(self) -> Any:
        return np.full((self.n, 3), self.t / self.horizon, np.float32)


def test_policy_gradient_learns_what_is_rewarded() -> None:
    policy = learn_policy(Bandit, [1, 2], updates=30, episodes=8, learning_rate=0.02)  # type: ignore[arg-type]
    assert isinstance(policy, Sampling)
    bandit = Bandit(2)
    bandit.start([0, 1], [3, 4])
    for _ in range(bandit.horizon):
        bandit.step(policy(bandit))  # type: ignore[arg-type]
    assert bandit.accuracy.min() > 0.8


def test_what_a_seed_does_does_not_depend_on_the_others() -> None:
    own = spec(epochs=1)

    def accuracies(seeds: list[int]) -> Any:
        pool = load_images(own)[0]
        policy = learn_policy(lambda n: Trainings(own, pool, n), seeds, updates=2, episodes=2)
        ours, shown = Trainings(own, pool, len(seeds)), []
        teach(ours, seeds, policy, lambda c: shown.append(c.numpy()))
        return np.array(shown), ours.mean_loss

    both, one = accuracies([5, 6]), accuracies([6])
    assert np.array_equal(both[0][:, 1], one[0][:, 0])
    close(both[1][1], one[1][0], 1e-4)
    again = accuracies([6])
    assert np.array_equal(one[0], again[0]) and np.array_equal(one[1], again[1])


# --- the environments -----------------------------------------------------------------------------------------------


def make(**changes: Any) -> Any:
    return gym.make(ID, **{**SMALL, **changes})


def episode(env: Any, actions: Any, seed: int | None = None) -> tuple[list[Any], list[float]]:
    seen, rewards = [env.reset(seed=seed)[0]], []
    for action in actions:
        observation, reward, over, _, _ = env.step(action)
        seen.append(observation)
        rewards.append(reward)
        if over:
            break
    return seen, rewards


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.filterwarnings("ignore:.*maximum value is infinity")
def test_gymnasiums_checks_pass(continuous: bool) -> None:
    env = make(continuous=continuous)
    check_env(env.unwrapped)
    assert env.spec is not None and env.spec.id == ID and env.spec.additional_wrappers == ()


def test_registered_with_plain_values_and_loaded_late() -> None:
    kwargs, found = NEURAL_TASKS["BlackBoxMixupCIFAR10"], gym.spec(ID)
    assert found.entry_point == "teach_gym.envs.neural_mixup:NeuralMixupEnv"
    assert found.vector_entry_point == "teach_gym.envs.neural_mixup:NeuralMixupVectorEnv"
    assert found.kwargs == kwargs and "BlackBoxMixupCIFAR10" not in teach_gym.TASKS
    assert MixupSpec(**kwargs).coefficients == (0.0, 0.5, 1.0) and MixupSpec(**kwargs).batch_size == 128


def test_there_is_no_teaching_state_and_the_error_says_what_there_is() -> None:
    env = make()
    env.reset(seed=0)
    with pytest.raises(AttributeError, match=r"no TeachState.*`trainings`"):
        env.unwrapped.state  # noqa: B018
    assert not hasattr(env.unwrapped, "state") and env.unwrapped.trainings.t[0] == 0


def test_a_single_environment_accepts_a_batch_of_one() -> None:
    for continuous, action in ((False, 1), (True, 0.3)):
        env, clean = make(continuous=continuous), make(continuous=continuous)
        env.reset(seed=0)
        clean.reset(seed=0)
        assert np.array_equal(env.step(np.array([action]))[0], clean.step(action)[0])


def test_rewards() -> None:
    assert set(REWARDS) == set(HOLDOUT_REWARDS)
    actions = [t % 3 for t in range(HORIZON)]
    env = make()
    _, rewards = episode(env, actions, seed=3)
    inner = env.unwrapped.trainings
    loss, accuracy = inner.look()
    assert rewards == [0.0] * (HORIZON - 1) + [accuracy[0]] and 0.0 < accuracy[0] <= 1.0
    _, rewards = episode(make(reward="holdout_progress"), actions, seed=3)
    close(sum(rewards), 100.0 * (1.0 - loss[0] / inner.initial_loss[0]), 1e-6)
    assert [r != 0.0 for r in rewards] == [(t + 1) % 3 == 0 or t + 1 == HORIZON for t in range(HORIZON)]
    easy, hard = (make(reward="steps_to_accuracy", zeta=zeta) for zeta in (0.0, 1.0))
    assert episode(easy, actions, seed=3)[1] == [-1.0] and episode(hard, actions, seed=3)[1] == [-1.0] * HORIZON


def test_episodes_are_reproducible_and_differ() -> None:
    env, actions = make(), [2, 1, 0, 1]
    first, second = episode(env, actions, seed=5)[0], episode(env, actions)[0]
    again = episode(make(), actions, seed=5)[0]
    assert np.array_equal(first, again) and not np.allclose(first[1:], second[1:])
    assert not np.allclose(first[-1], episode(env, [2, 2, 2, 2], seed=5)[0][-1]), "actions matter"


def test_vector_env_equals_single_envs_over_episodes() -> None:
    rng = np.random.default_rng(0)
    actions = rng.integers(3, size=(2 * HORIZON + 1, 3))
    env = gym.make_vec(ID, 3, gym.VectorizeMode.VECTOR_ENTRY_POINT, **SMALL)
    assert type(env.unwrapped).__name__ == "NeuralMixupVectorEnv"
    singles = [make() for _ in range(3)]
    observation, _ = env.reset(seed=10)
    close(observation, [one.reset(seed=10 + i)[0] for i, one in enumerate(singles)])
    for t, row in enumerate(actions):
        observation, reward, over, cut, info = env.step(row)
        if t == HORIZON:  # next_step: the step after the end only starts new episodes
            close(observation, [one.reset()[0] for one in singles])
            assert not reward.any() and not over.any() and np.isnan(info["training_loss"]).all()
            continue
        for i, one in enumerate(singles):
            seen, gained, ended, _, told = one.step(row[i])
            close(observation[i], seen, 1e-4)
            assert abs(reward[i] - gained) < 0.03 and bool(over[i]) is ended and not cut[i]
            close(info["training_loss"][i], told["training_loss"], 1e-4)


def test_autoreset_in_the_same_step_and_disabled() -> None:
    mode = gym.VectorizeMode.VECTOR_ENTRY_POINT
    env = gym.make_vec(ID, 2, mode, autoreset_mode="same_step", **SMALL)
    single, row = make(), np.array([1, 2])
    env.reset(seed=4)
    last, rewards = episode(single, [2] * HORIZON, seed=5)
    for _ in range(HORIZON):
        observation, reward, over, _, info = env.step(row)
    assert over.all() and info["_final_obs"].all() and info["final_info"]["_training_loss"].all()
    close(info["final_obs"][1], last[-1], 1e-4)
    assert abs(reward[1] - rewards[-1]) < 0.03
    close(observation[1], single.reset()[0])
    env = gym.make_vec(ID, 2, mode, autoreset_mode="disabled", **SMALL)
    env.reset(seed=4)
    env.step(row)
    observation, _ = env.reset(options={"reset_mask": np.array([False, True])})
    assert observation[0, 0] == np.float32(1 / HORIZON) and observation[1].tolist() == [0.0, 0.0, 1.0]
    for _ in range(HORIZON - 1):
        _, _, over, _, _ = env.step(row)
    assert over.tolist() == [True, False]
    with pytest.raises(RuntimeError, match=r"\[0\] are over"):
        env.step(row)
    assert env.reset(options={"reset_mask": over})[0][0].tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("mode", ["next_step", "same_step", "disabled"])
def test_autoreset_limits_and_infos_are_gymnasiums(mode: str) -> None:
    n, kwargs = 3, {**SMALL, "max_episode_steps": 5}
    mine = gym.make_vec(ID, n, autoreset_mode=mode, **kwargs)
    assert VectorEnv in type(mine.unwrapped).__bases__
    theirs = gym.make_vec(ID, n, "sync", vector_kwargs={"autoreset_mode": AutoresetMode[mode.upper()]}, **kwargs)
    pairs = [tuple(e.reset(seed=4) for e in (mine, theirs))]
    for t in range(12):
        pairs.append(tuple(e.step(np.arange(n)) for e in (mine, theirs)))
        assert pairs[-1][0][3].any() == (t % (6 if mode == "next_step" else 5) == 4)
        if mode == "disabled" and pairs[-1][0][3].any():
            pairs.append(tuple(e.reset() for e in (mine, theirs)))
    for ours, expected in pairs:
        for a, b in zip(ours[:-1], expected[:-1], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)
        assert set(ours[-1]) == set(expected[-1])
        for key in ("training_loss", "validation_accuracy", "_training_loss", "_validation_accuracy"):
            np.testing.assert_allclose(ours[-1][key], expected[-1][key], rtol=1e-3, atol=0.05)


def test_infos_at_reset_and_step_have_the_same_entries() -> None:
    env = make()
    _, first = env.reset(seed=0)
    _, _, _, _, second = env.step(1)
    assert list(first) == list(second) == ["training_loss", "validation_accuracy"]
    assert np.isnan(first["training_loss"]) and np.isfinite(second["training_loss"])
    assert {value.dtype for info in (first, second) for value in info.values()} == {np.dtype("float64")}
    assert first["validation_accuracy"] == second["validation_accuracy"] == env.unwrapped.trainings.look()[1][0]


def test_nothing_depends_on_the_test_images(monkeypatch: pytest.MonkeyPatch) -> None:
    actions = [t % 3 for t in range(HORIZON)]
    first = episode(make(), actions, seed=1)
    pool = load_pool("patterns", **SMALL["pool_options"])
    blank = dataclasses.replace(pool, held_out=Images(torch.zeros_like(pool.held_out.pixels), pool.held_out.labels))
    monkeypatch.setattr(mixup_spec, "_read", lambda *a: blank)
    second = episode(make(), actions, seed=1)
    assert np.array_equal(first[0], second[0]) and first[1] == second[1]
    kept = make().unwrapped.trainings.pool
    rows = {image.tobytes() for image in pool.train.pixels.numpy()}
    shown, held = ([image.tobytes() for image in part.pixels.numpy()] for part in (kept.train, kept.held_out))
    assert set(shown) | set(held) == rows and not set(shown) & set(held), "made of training images, without overlap"


def test_ppo_trains() -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    options = {"n_steps": HORIZON, "batch_size": HORIZON, "n_epochs": 1, "policy_kwargs": {"net_arch": [8]}}
    model = sb3.PPO("MlpPolicy", make(reward="holdout_progress"), seed=0, device="cpu", **options)
    before = [p.detach().clone() for p in model.policy.parameters()]
    model.learn(2 * HORIZON)
    assert model.num_timesteps == 2 * HORIZON and model.ep_info_buffer[-1]["l"] == HORIZON
    assert any(not torch.equal(a, b) for a, b in zip(before, model.policy.parameters(), strict=True))


def test_text_frames() -> None:
    env = make(render_mode="ansi")
    env.reset(seed=0)
    env.step(1)
    assert f"step 1/{HORIZON}" in env.render()
    vector = gym.make_vec(ID, 2, gym.VectorizeMode.VECTOR_ENTRY_POINT, render_mode="ansi", **SMALL)
    with pytest.raises(RuntimeError, match="before render"):
        vector.render()
    vector.reset(seed=0)
    assert [f"step 0/{HORIZON}" in line for line in vector.render()] == [True, True]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"network": "cnn4"}, ValueError, "unknown network 'cnn4'"),
        ({"reward": "distance"}, ValueError, "unknown reward 'distance'; allowed: holdout_accuracy"),
        ({"coefficients": [0.5, 2.0]}, ValueError, r"must lie in \[0, 1\], got \[0.5, 2.0\]"),
        ({"coefficients": []}, ValueError, "coefficients and zeta"),
        ({"batch_size": 65}, ValueError, "batch_size must be <= 64 training images, got 65"),
        ({"images": 65}, ValueError, "images must be <= 64"),
        ({"images": -1}, ValueError, "images must be >= 0"),
        ({"validation": 104}, ValueError, r"validation split must be in \[1, 103\], got 104"),
        ({"epochs": 1.5}, TypeError, "epochs must be an integer"),
        ({"device": "tpu9"}, ValueError, "unknown device 'tpu9'"),
        ({"render_mode": "human"}, ValueError, "render_mode must be None or one of ansi, got 'human'"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*render")
def test_wrong_arguments(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(**changes)


def test_wrong_actions_and_calls() -> None:
    env = make().unwrapped
    with pytest.raises(RuntimeError, match="reset"):
        env.step(0)
    env.reset(seed=0)
    bad = ((3, ValueError, "3"), (-1, ValueError, "-1"), (0.5, TypeError, "float"), ([1, 1], ValueError, r"\(2,\)"))
    for action, error, named in bad:
        with pytest.raises(error, match=f"action.* must .*{named}"):
            env.step(action)
    box = make(continuous=True).unwrapped
    box.reset(seed=0)
    for value in (1.5, np.nan):
        with pytest.raises(ValueError, match=r"actions must lie in \[0, 1\]"):
            box.step(value)
    with pytest.raises(ValueError, match="unknown"):
        env.reset(options={"unknown": 3})
    vector = gym.make_vec(ID, 2, gym.VectorizeMode.VECTOR_ENTRY_POINT, **SMALL)
    with pytest.raises(RuntimeError, match="reset"):
        vector.step([0, 0])
    with pytest.raises(ValueError, match="2 entries, got 3"):
        vector.reset(seed=[1, 2, 3])
    vector.reset(seed=0)
    with pytest.raises(ValueError, match=r"shape \(2,\), got \(3,\)"):
        vector.step([0, 0, 0])


# --- the experiment and the real data -------------------------------------------------------------------------------


def test_every_method_of_table_1_trains_the_same_learners() -> None:
    found = experiment("dht-table1")
    units = found.units(found.name, found.scales["smoke"], (1000, 1001))
    assert [unit.method for unit in units] == list(found.scales["paper"]["methods"])
    for settings in found.scales.values():
        MixupSpec(**{**settings["training"], "device": "cpu"})
    rows = [row for unit in units for row in found.run(unit).rows]
    curves = Curves(rows)
    mixing = {method: curves.get("", method, "mixing").values for method in curves.methods("", "mixing")}
    assert not mixing["ERM"].any() and 0.0 < mixing["dMixup"].mean() < 1.0 and mixing["Unrolling"].mean() > 0.5
    text = found.table(curves)
    assert all(f"{value:.2f}" in text for value in (61.75, 66.27, 65.80, 65.18, 67.64))
    final = curves.get("", "ERM", "test_accuracy").values[:, -1]
    own = MixupSpec(**found.scales["smoke"]["training"])
    pool, test = load_images(own)
    ours = Trainings(own, pool, 2)
    ours.start([0, 1], [word(seed, mixup_policies.TEACH) for seed in (1000, 1001)])
    for _ in range(ours.horizon):
        ours.step(np.ones(2))
    assert f"{final.mean():.2f}" in text and np.allclose(final, 100.0 * ours.look(test)[1])
    assert found.run(units[-1]).rows == [row for row in rows if row.method == units[-1].method], "bit for bit"


def test_stacked_teachers_are_single_ones() -> None:
    both, state = CoefficientNetwork([3, 4], 2), torch.rand((2, 5, 3))
    assert isinstance(both.hidden, StackedLinear)
    for s, seed in enumerate((3, 4)):
        torch.testing.assert_close(both(state)[s], CoefficientNetwork([seed], 2)(state[s : s + 1])[0])


@pytest.mark.slow
@pytest.mark.skipif(
    not any((data_dir() / name).exists() for name in ("cifar10-jpeg", "cifar10-jpeg.tar.xz")),
    reason="no CIFAR-10 images: set TEACH_GYM_DATA to a folder with cifar10-jpeg/ or cifar10-jpeg.tar.xz",
)
def test_the_registered_task_trains_on_cifar10() -> None:
    env = gym.make(ID, epochs=1)
    seen, _ = episode(env, [2] * 60, seed=0)
    inner = env.unwrapped.trainings
    assert inner.pool.image == (3, 32, 32) and len(inner.pool.train) == 45_000 and inner.horizon == 351
    assert seen[-1][1] < 2.2 and inner.loss[0] < 2.1
