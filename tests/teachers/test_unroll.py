"""Networks of many teachers and the differentiable unroll: against torch, numpy and finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

torch = pytest.importorskip("torch")

from unroll_cases import LEARNERS, along, double_policy, episodes_of, make, random_direction, slope_along  # noqa: E402

from teach_gym.core.backend import norm, to_torch  # noqa: E402
from teach_gym.core.build import make_task  # noqa: E402
from teach_gym.core.randomness import Streams, draw_keys  # noqa: E402
from teach_gym.core.state import Example, Task  # noqa: E402
from teach_gym.core.task import learn, reset  # noqa: E402
from teach_gym.teachers import example_of, follow, make_teacher  # noqa: E402
from teach_gym.teachers.learned.architecture import Architecture, architecture, default_hidden  # noqa: E402
from teach_gym.teachers.learned.detached import unroll_detached  # noqa: E402
from teach_gym.teachers.learned.fit import TrainingSettings  # noqa: E402
from teach_gym.teachers.learned.networks import BatchedNorm, deferred, generators, mlp, pick  # noqa: E402
from teach_gym.teachers.learned.objective import Training  # noqa: E402
from teach_gym.teachers.learned.policy import NetworkPolicy  # noqa: E402
from teach_gym.teachers.learned.unroll import draw_episodes, unroll  # noqa: E402
from teach_gym.teachers.learned.unrolled import Unrolled, train_unrolled  # noqa: E402

# -------------------------------------------------------------------------------------------------------- networks


@pytest.mark.parametrize("batch_norm", [False, True])
def test_networks_equal_torchs_own_one_by_one(batch_norm: bool) -> None:
    net = mlp((3, 6, 2), generators([1, 2, 3]), batch_norm=batch_norm)
    x = torch.randn(3, 7, 3, generator=torch.Generator().manual_seed(0))
    out = [net(x), net(x + 1)][1]
    for s in range(3):
        first, last = torch.nn.Linear(3, 6), torch.nn.Linear(6, 2)
        norm_layer = torch.nn.BatchNorm1d(6, momentum=0.01) if batch_norm else torch.nn.Identity()
        with torch.no_grad():
            for layer, ours in ((first, net[0]), (last, net[-1])):
                layer.weight.copy_(ours.weight[s].T)
                layer.bias.copy_(ours.bias[s, 0])
        alone = torch.nn.Sequential(first, norm_layer, torch.nn.ReLU(), last)
        expected = [alone(x[s]), alone(x[s] + 1)][1]
        torch.testing.assert_close(out[s], expected, atol=1e-5, rtol=1e-5)
        if batch_norm:
            torch.testing.assert_close(net[1].mean[s], norm_layer.running_mean)
            torch.testing.assert_close(net[1].var[s], norm_layer.running_var)
        one = pick(net.eval(), [s])
        torch.testing.assert_close(one(x[s : s + 1]), alone.eval()(x[s])[None], atol=1e-5, rtol=1e-5)
        net.train()


def test_initial_weights_depend_on_the_own_seed_only_and_spread_as_torchs() -> None:
    together, alone = (mlp((30, 40, 5), generators(seeds)) for seeds in ([3, 8], [8]))
    assert torch.equal(together[0].weight[1], alone[0].weight[0])
    weight = together[0].weight
    assert float(weight.detach().abs().max()) <= 30**-0.5
    assert abs(float(weight.detach().std()) - (30 * 3) ** -0.5) < 0.005


def test_deferred_weight_gradients_equal_autograds() -> None:
    net, x = mlp((3, 6, 2), generators([1, 2])).double(), torch.randn(2, 4, 3, dtype=torch.float64)

    def value(z: Any) -> Any:
        for _ in range(70):  # more calls than are kept
            z = torch.tanh(torch.cat([net(z), z[..., :1]], -1))
        return (z**2).sum()

    value(x).backward()
    expected = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    with deferred(net):
        value(x).backward()
        value(2 * x).backward()
    twice = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    value(2 * x).backward()
    for a, b, c in zip(expected, net.parameters(), twice, strict=True):
        torch.testing.assert_close(a + b.grad, c)
    net.zero_grad()
    value(x).backward()  # the block left nothing behind
    for a, p in zip(expected, net.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad)


def test_sizes_are_those_of_the_paper() -> None:
    moons = make_task("PerturbMoons")
    assert architecture(moons).sizes == (8, 32, 16, 2)
    assert default_hidden(24) == (128, 256, 512, 512, 1024)
    mnist = Architecture("perturb", 24, 1, 24, 10, False, default_hidden(24))
    assert mnist.sizes == (82, 128, 256, 512, 512, 1024, 24)


# ---------------------------------------------------------------------------------------------------------- unroll


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("name", LEARNERS)
def test_unroll_takes_the_steps_that_the_teacher_takes_in_numpy(name: str, every: int) -> None:
    task, options = make(name)
    policy = double_policy(task, **options).eval()
    episodes = episodes_of(task, 2, 3, 8)
    with torch.no_grad():
        (window,) = unroll(to_torch(task), episodes, policy, every=every)
    keys = np.concatenate([draw_keys(np.random.default_rng([seed, 0]), 3) for seed in range(2)])
    state, teacher = reset(task, Streams(keys)), Unrolled(policy=policy, every=every)
    teacher.check(task)
    for t in range(8):
        example = example_of(task, state, teacher(task, state))
        np.testing.assert_allclose(window.examples.x[t], example.x, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(window.examples.y[t], example.y, rtol=1e-9, atol=1e-12)
        w, velocity = learn(task, state, example)
        state = follow(task, state, _Fixed(example)).state
        np.testing.assert_array_equal(state.w, w)
        assert velocity is None or np.array_equal(state.velocity, velocity)
    np.testing.assert_allclose(window.state.w, state.w, rtol=1e-9)
    np.testing.assert_allclose(window.gap, state.distance**2, rtol=1e-9)


class _Fixed(Unrolled):
    """Gives one example."""

    def __init__(self, example: Example) -> None:
        self.example = example

    def __call__(self, task: Task, state: Any) -> Example:
        return self.example


@pytest.mark.parametrize("name", LEARNERS)
def test_gradient_through_time_against_finite_differences(name: str) -> None:
    task, options = make(name)
    policy, episodes, tensors = double_policy(task, **options), episodes_of(task, 2, 3, 6), to_torch(task)

    def value() -> Any:
        (window,) = unroll(tensors, episodes, policy)
        return window.gap.sum()

    direction = random_direction(policy)
    value().backward()
    np.testing.assert_allclose(along(policy, direction), slope_along(policy, direction, value), rtol=2e-5)


@pytest.mark.parametrize("auxiliary", ["learner", "target"])
@pytest.mark.parametrize("window", [1, 4, None])
def test_windows_and_stop_gradients_against_finite_differences(window: int | None, auxiliary: str) -> None:
    """The true slope of the objective in which what a stop-gradient holds back is held fixed."""
    task, options = make("momentum")
    policy, episodes, tensors = double_policy(task, **options), episodes_of(task, 2, 3, 6), to_torch(task)
    alpha, direction = 0.7, random_direction(policy)
    for part in unroll(tensors, episodes, policy, window=window, loss=auxiliary):
        (part.gap + alpha * part.loss).sum().backward()
    with torch.no_grad():
        fixed = [episodes.state, *(part.state for part in unroll(tensors, episodes, policy, window=1))]

    def value() -> Any:
        total = torch.zeros(())
        for start in range(0, 6, window or 6):
            state = fixed[start]
            for t in range(start, min(start + (window or 6), 6)):
                state = episodes.at(t, state)
                w, velocity = learn(tensors, state, policy(tensors, state))
                state = state._replace(w=w, velocity=velocity)
                held = episodes.at(t, fixed[t])
                w = held.w if auxiliary == "learner" else held.target
                total = total + alpha * tensors.learner.loss(w, *policy(tensors, held)).sum()
            total = total + ((state.w - state.target) ** 2).sum()
        return total

    np.testing.assert_allclose(along(policy, direction), slope_along(policy, direction, value), rtol=2e-5)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("auxiliary", ["learner", "target", None])
@pytest.mark.parametrize("name", LEARNERS)
def test_detached_steps_all_at_once_give_the_sums_over_windows_of_one_step(
    name: str, auxiliary: str | None, every: int
) -> None:
    task, options = make(name)
    options = {**options, "batch_norm": False}
    policy, episodes, tensors = double_policy(task, **options), episodes_of(task, 2, 3, 6), to_torch(task)
    how: dict[str, Any] = {"every": every, "loss": auxiliary}
    one = unroll_detached(tensors, episodes, policy, **how)
    many = list(unroll(tensors, episodes, policy, window=1, **how))
    sums = [torch.stack([getattr(part, field) for part in many]).sum(0) for field in ("gaps", "loss")]
    for found, expected in zip((one.gaps, one.loss, one.gap), (*sums, many[-1].gap), strict=True):
        torch.testing.assert_close(found, expected)
    for found, *parts in zip(one.examples, *(part.examples for part in many), strict=True):
        torch.testing.assert_close(found, torch.cat(parts))
    weights = torch.rand(len(one.gaps), dtype=one.gaps.dtype)
    slopes = [policy_slopes(policy, ((a + 0.7 * b) * weights).sum()) for a, b in ((one.gaps, one.loss), sums)]
    assert any(slope.abs().max() > 0 for slope in slopes[0])
    for found, expected in zip(*slopes, strict=True):
        torch.testing.assert_close(found, expected)


def test_teachers_with_different_weights_of_the_losses_train_as_they_do_alone() -> None:
    task, options = make("label-free")

    def trained(seeds: tuple[int, ...], alpha: Any) -> Any:
        settings = TrainingSettings(iterations=3, steps=4, learners=2, dtype="float64", alpha=alpha)
        return train_unrolled([task], seeds, settings, progress=False, **options).policy

    together = trained((5, 5, 6), [0.0, 0.7, 0.7])
    for i, (seed, alpha) in enumerate(((5, 0.0), (5, 0.7), (6, 0.7))):
        for one, all_of_them in zip(trained((seed,), alpha).parameters(), together.parameters(), strict=True):
            torch.testing.assert_close(all_of_them[i], one[0])
    with pytest.raises(ValueError, match="one or more different integers"):
        trained((5, 5), [0.7, 0.7])
    with pytest.raises(ValueError, match="give one alpha for all or one for each of the 2 seeds, got 3"):
        trained((5, 6), [0.7, 0.7, 0.1])
    with pytest.raises(ValueError, match="alpha must be >= 0 and finite, got -1"):
        trained((5, 6), [0.7, -1.0])


@pytest.mark.parametrize("how", [{}, {"detach": True}, {"truncate": 2, "alpha": 0.3}])
def test_last_gap_counts_the_last_step_only(how: dict[str, Any]) -> None:
    """The gradient of Adam's first step, by its first moment, is that of the last window's gap (and of all losses)."""
    task, options = make("label-free")
    episodes = episodes_of(task, 2, 3, 6)
    slopes = []
    for last in (False, True):
        policy = double_policy(task, **options)
        settings = TrainingSettings(steps=6, learners=3, last_gap=last, dtype="float64", **how)
        values = Training(task, policy, settings)(0, episodes)
        slopes.append([p.grad.clone() for p in policy.parameters()])
        found = float(values["objective"].detach().sum())
    policy = double_policy(task, **options)
    *_, window = windows = [*unroll(to_torch(task), episodes, policy, window=settings.window, loss=settings.loss)]
    losses = settings.alpha * sum(part.loss for part in windows)
    expected = policy_slopes(policy, (window.gap + losses).reshape(2, 3).mean(1).sum())
    assert found == pytest.approx(float((window.gap + losses).detach().reshape(2, 3).mean(1).sum()))
    for a, b in zip(slopes[1], expected, strict=True):
        torch.testing.assert_close(a, b)
    same = all(torch.allclose(a, b) for a, b in zip(*slopes, strict=True))
    assert same == (settings.window is None), "with one window there is one gap"


def policy_slopes(policy: Any, value: Any) -> list[Any]:
    return [*torch.autograd.grad(value, [*policy.parameters()])]


def test_a_network_without_biases_has_none_to_train() -> None:
    net = mlp((3, 4, 2), generators([1, 2]), bias=False)
    assert [tuple(p.shape) for p in net.parameters()] == [(2, 3, 4), (2, 4, 2)]
    x = torch.randn(2, 5, 3)
    expected = torch.relu(x @ net[0].weight) @ net[2].weight
    torch.testing.assert_close(net(x), expected)
    with deferred(net):
        net(x).sum().backward()
    for p, slope in zip(net.parameters(), policy_slopes(net, net(x).sum()), strict=True):
        torch.testing.assert_close(p.grad, slope)
    torch.testing.assert_close(pick(net, [1])(x[1:]), expected[1:])


@pytest.mark.parametrize("name", ["label-free", "momentum", "features-norm"])
@pytest.mark.parametrize("every", [1, 2])
def test_computing_again_gives_the_same_gradient_and_statistics(name: str, every: int) -> None:
    task, options = make(name)
    found = []
    for recompute in (None, 3):
        policy, episodes, tensors = double_policy(task, **options), episodes_of(task, 2, 3, 7), to_torch(task)
        (window,) = unroll(tensors, episodes, policy, recompute=recompute, loss="learner", every=every)
        with deferred(policy):
            (window.gap + window.loss).sum().backward()
        norms = [m for m in policy.modules() if isinstance(m, BatchedNorm)]
        found.append([*(p.grad for p in policy.parameters()), *(m.mean for m in norms), *(m.var for m in norms)])
        assert all(m.tracking for m in norms)
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["label-free", "regression", "momentum"])
def test_one_unrolled_step_equals_greedy_on_a_quadratic(name: str) -> None:
    """With v = 1 the best labels are the greedy ones: Newton's method through the unroll and scipy both find them."""
    task, _ = make(name)
    episodes, tensors = episodes_of(task, 1, 5, 1), to_torch(task)

    def slope(y: Any) -> Any:
        y = y.clone().requires_grad_()
        (window,) = unroll(tensors, episodes, lambda _, state: Example(state.x[:, 0], y))
        return torch.autograd.grad(window.gap.sum(), y)[0]

    zero, one = torch.zeros(5, 1, 1, dtype=torch.float64), torch.ones(5, 1, 1, dtype=torch.float64)
    best = (slope(zero) / (slope(zero) - slope(one))).numpy()
    keys = draw_keys(np.random.default_rng([0, 0]), 5)
    state = reset(task, Streams(keys))
    greedy = make_teacher("last")(task, state)
    np.testing.assert_allclose(best, greedy.y, rtol=1e-7)
    for run in range(5):

        def distance(y: float, run: int = run) -> float:
            labels = np.full((5, 1, 1), y)
            return float(norm(learn(task, state, Example(state.x[:, 0], labels))[0] - state.target)[run] ** 2)

        np.testing.assert_allclose(minimize_scalar(distance).x, best[run, 0, 0], rtol=1e-4)


def test_training_for_one_step_learns_the_greedy_label() -> None:
    """One fixed learner and example: the network must come to give the label that greedy LAST gives."""
    task = make_task(pool="linear_regression", learner="least_squares", pool_options={"d": 3, "n": 40}, budget=1)
    training = Training(
        task, NetworkPolicy(architecture(task, hidden=(8,)), [task], [0]), TrainingSettings(learning_rate=0.05)
    )
    episodes = draw_episodes([task], [0], 0, learners=1, steps=1, dtype=torch.float32)
    for i in range(300):
        values = training(i, episodes)
    state = reset(task, Streams(draw_keys(np.random.default_rng([0, 0]), 1)))
    greedy = make_teacher("last")(task, state)
    ours = Unrolled(policy=training.policy)(task, state)
    assert isinstance(greedy, Example) and isinstance(ours, Example)
    np.testing.assert_allclose(ours.y, greedy.y, rtol=1e-3)
    best = norm(learn(task, state, greedy)[0] - state.target) ** 2
    np.testing.assert_allclose(values["gap"].numpy(), best, rtol=1e-3)
