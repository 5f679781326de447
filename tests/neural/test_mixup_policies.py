"""Policies of mixup teaching: against finite differences and brute force, and the experiment that compares them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from neural_cases import close, spec, trainings
from scipy import stats
from torch.func import functional_call

from teach_gym.neural import mixup_policies
from teach_gym.neural.images import scale
from teach_gym.neural.mixup import Adam, Trainings, cross_entropy
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
from teach_gym.neural.mixup_spec import MixupSpec, load_images
from teach_gym.neural.networks import StackedLinear
from teach_gym.papers import experiment, mixup_tuned
from teach_gym.papers.curves import Curves
from teach_gym.papers.dht_mixup import train
from teach_gym.papers.engine import Unit
from teach_gym.papers.mixup_tuned import TUNED


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


def test_an_interrupted_policy_gradient_resumes_bit_by_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = spec(epochs=1)
    pool = load_images(own)[0]

    def learned(folder: Path | None, updates: int = 3) -> list[Any]:
        policy = learn_policy(lambda n: Trainings(own, pool, n), [5, 6], updates=updates, episodes=2, folder=folder)
        assert isinstance(policy, Sampling)
        return [parameter.detach().numpy() for parameter in policy.teacher.parameters()]

    whole = learned(None)
    learned(tmp_path, updates=1)
    started = []
    start = Trainings.start
    monkeypatch.setattr(Trainings, "start", lambda self, rows, seeds: started.append(seeds) or start(self, rows, seeds))
    resumed = learned(tmp_path)
    assert len(started) == 2 and all(np.array_equal(a, b) for a, b in zip(whole, resumed, strict=True))


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


# --- the experiment and the real data -------------------------------------------------------------------------------


def test_every_method_of_table_1_trains_the_same_learners(tmp_path: Path) -> None:
    found = experiment("dht-table1")
    units = found.units(found.name, found.scales["smoke"], (1000, 1001))
    assert [unit.method for unit in units] == list(found.scales["paper"]["methods"])
    for settings in found.scales.values():
        MixupSpec(**{**settings["training"], "device": "cpu"})
    rows = [row for unit in units for row in found.run(unit, tmp_path / unit.key).rows]
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
    assert found.run(units[-1], tmp_path / "again").rows == [row for row in rows if row.method == units[-1].method], (
        "bit for bit"
    )


def tuned_unit(method: str, seeds: tuple[int, ...], **changes: Any) -> Unit:
    units = TUNED.units("e", TUNED.scales["smoke"], seeds)
    [unit] = [unit for unit in units if unit.method == method]
    return changed(unit, **changes)


def changed(unit: Unit, **changes: Any) -> Unit:
    return dataclasses.replace(unit, settings={**unit.settings, **changes})


def test_a_policy_takes_fewer_updates_while_its_rate_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def watched(unit: Unit, epochs: int, folder: Path) -> Any:
        asked.append((unit.seeds, unit.settings["method"]["updates"]))
        return train(unit, epochs, folder)

    monkeypatch.setattr(mixup_tuned, "train", watched)
    unit = tuned_unit("Policy gradient", (7,))
    assert unit.settings["quick"] == {"updates": 1} and unit.settings["method"]["updates"] == 2
    mixup_tuned.run(unit, tmp_path)
    assert asked == [((0,), 1), ((7,), 2)]


def test_each_method_of_table_1_takes_the_rate_that_is_best_on_validation_images(tmp_path: Path) -> None:
    unit = tuned_unit("cMixup", (7, 8), rates=[1e-7, 0.01])
    unit = changed(unit, tuning_seeds=[0, 1], training={**unit.settings["training"], "epochs": 10})

    def accuracies(rate: float, seeds: list[int], tested: bool) -> Any:
        own = MixupSpec(**{**unit.settings["training"], "learning_rate": rate})
        pool, test = load_images(own)
        ours = Trainings(own, pool, len(seeds))
        teach(ours, seeds, cmixup(seeds), lambda c: None)
        return 100.0 * ours.look(test if tested else None)[1]

    held = {rate: accuracies(rate, [0, 1], tested=False).mean() for rate in (1e-7, 0.01)}
    assert held[0.01] > held[1e-7]
    found = Curves(mixup_tuned.run(unit, tmp_path).rows)
    assert found.get(unit.panel, "cMixup", "chosen_rate").values.tolist() == [[0.01], [0.01]]
    tested = found.get(unit.panel, "cMixup", "test_accuracy").values[:, -1]
    assert tested == pytest.approx(accuracies(0.01, [7, 8], tested=True))


def test_a_rate_at_which_trainings_diverge_is_not_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = tuned_unit("ERM", (7,), rates=[0.003, 1e30])
    with pytest.warns(RuntimeWarning, match="non-finite"):
        rows = mixup_tuned.run(unit, tmp_path).rows
    assert Curves(rows).get(unit.panel, "ERM", "chosen_rate").values.tolist() == [[0.003]]
    monkeypatch.setattr(mixup_tuned, "train", None)  # all results are kept
    assert mixup_tuned.run(unit, tmp_path).rows == rows


def test_stacked_teachers_are_single_ones() -> None:
    both, state = CoefficientNetwork([3, 4], 2), torch.rand((2, 5, 3))
    assert isinstance(both.hidden, StackedLinear)
    for s, seed in enumerate((3, 4)):
        torch.testing.assert_close(both(state)[s], CoefficientNetwork([seed], 2)(state[s : s + 1])[0])
