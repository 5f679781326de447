"""Performative teaching: formulas against autograd, neighbourhoods against their definitions, steps against loops."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import nn
from torch.nn import functional

from teach_gym.core.learners import make_learner
from teach_gym.neural.hallucinate import (
    Head,
    estimate_target,
    feature_gradient,
    objective,
    teach_features,
    unrolled_gradient,
)
from teach_gym.neural.performative import performative_loss, performative_step
from teach_gym.neural.regions import NEIGHBOURHOODS, onto_cap
from teach_gym.neural.teaching import GREEDY, PLAIN, Teaching
from teach_gym.teachers.oracles.dht_regions import Ball
from teach_gym.teachers.oracles.dht_solvers import Problem
from teach_gym.teachers.oracles.dht_solvers import objective as numpy_objective

N, D, K = 6, 5, 4


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(7)
    yield
    torch.set_default_dtype(torch.float32)


def problem(bias: bool, lead: tuple[int, ...] = (), soft: bool = False) -> tuple[Any, Any, Head, Head]:
    x, labels = torch.randn(*lead, N, D), torch.randint(0, K, (*lead, N))
    y = torch.rand(*lead, N, K) if soft else functional.one_hot(labels, K).double()
    heads = [Head(torch.randn(*lead, K, D), torch.randn(*lead, K) if bias else None) for _ in range(2)]
    return x, y, *heads


def network(bias: bool = True) -> tuple[nn.Module, nn.Linear, tuple[Any, Any]]:
    encoder = nn.Sequential(nn.Linear(3, D), nn.Tanh(), nn.Linear(D, D))
    return encoder, nn.Linear(D, K, bias=bias), (torch.randn(N, 3), torch.randint(0, K, (N,)))


@pytest.mark.parametrize(("bias", "lead", "soft"), list(product((False, True), ((), (3,)), (False, True))))
@pytest.mark.parametrize("kind", ["sample", "batch"])
def test_feature_gradient_is_that_of_autograd(bias: bool, lead: tuple[int, ...], soft: bool, kind: str) -> None:
    x, y, head, target = problem(bias, lead, soft)
    x.requires_grad_()
    (expected,) = torch.autograd.grad(objective(x, y, head, target, 0.3, kind).sum(), x)
    found = feature_gradient(x.detach(), y, head, target, 0.3, kind)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("bias", [False, True])
def test_objective_is_the_change_of_the_squared_distance(bias: bool) -> None:
    """Eq. 9 against its definition: take the step with autograd's gradient, measure the distance to w*."""
    x, y, head, target = problem(bias)
    rate = 0.3
    parameters = [p.requires_grad_() for p in head if p is not None]
    goals = [p for p in target if p is not None]

    def change(loss: Any) -> Any:
        gradients = torch.autograd.grad(loss, parameters)
        pairs = zip(parameters, gradients, goals, strict=True)
        return sum(((p - rate * g - w) ** 2).sum() - ((p - w) ** 2).sum() for p, g, w in pairs)

    each = torch.stack([change(functional.cross_entropy(head.logits(x[i : i + 1]), y[i : i + 1])) for i in range(N)])
    torch.testing.assert_close(objective(x, y, head, target, rate), each.detach())
    whole = change(functional.cross_entropy(head.logits(x), y))
    torch.testing.assert_close(objective(x, y, head, target, rate, "batch"), whole.detach())


def test_objective_is_that_of_the_dht_teachers() -> None:
    x, y, head, target = problem(bias=False)
    flat = [h.weight.mT.reshape(1, -1).numpy() for h in (head, target)]
    region = Ball(np.zeros((1, D)), 1.0)
    for i in range(N):
        label = y[i : i + 1].numpy()
        one = Problem(make_learner("softmax"), flat[0], flat[0] - flat[1], np.array([0.3]), label, region)
        expected = numpy_objective(one, x[i].numpy()[None, None])[0, 0]
        assert objective(x, y, head, target, 0.3)[i].item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("bias", [False, True])
def test_unrolled_gradient_is_that_of_finite_differences_and_one_step_that_of_the_batch(bias: bool) -> None:
    x, y, head, target = problem(bias)

    def distance(shown: Any) -> float:
        layer = nn.Linear(D, K, bias=bias)
        for own, given in ((layer.weight, head.weight), (layer.bias, head.bias)):
            if own is not None:
                own.data = given.clone()
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
        for _ in range(3):
            optimizer.zero_grad()
            functional.cross_entropy(layer(shown), y).backward()
            optimizer.step()
        pairs = [(layer.weight, target.weight), *([(layer.bias, target.bias)] if bias else [])]
        return float(sum(((own - goal) ** 2).sum() for own, goal in pairs).detach())

    direction = torch.randn_like(x)
    slope = (distance(x + 1e-5 * direction) - distance(x - 1e-5 * direction)) / 2e-5
    found = unrolled_gradient(x, y, head, target, 0.5, 3)
    assert float((found * direction).sum()) == pytest.approx(slope, rel=1e-6)
    one, batch = unrolled_gradient(x, y, head, target, 0.5, 1), feature_gradient(x, y, head, target, 0.5, "batch")
    torch.testing.assert_close(one, batch)


@pytest.mark.parametrize("bias", [False, True])
def test_target_is_that_of_an_sgd_loop(bias: bool) -> None:
    x, y, head, _ = problem(bias)
    layer = nn.Linear(D, K, bias=bias)
    layer.weight.data = head.weight.clone()
    if bias:
        layer.bias.data = head.bias.clone()
    x.requires_grad_()  # never cleared, so the gradients accumulate here
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.2)
    for _ in range(5):
        optimizer.zero_grad()
        functional.cross_entropy(layer(x), y).backward()
        optimizer.step()
    target, back = estimate_target(x.detach(), y, head, 5, 0.2)
    torch.testing.assert_close(target.weight, layer.weight.detach())
    torch.testing.assert_close(back, x.grad)
    if bias:
        torch.testing.assert_close(target.bias, layer.bias.detach())


def inside(u: Any, centre: Any, epsilon: float, name: str) -> bool:
    offset = u - centre
    if name == "sphere":
        assert torch.allclose(u.norm(dim=-1), torch.ones(()), rtol=0, atol=1e-12)
    size = offset.abs().amax(-1) * math.sqrt(u.shape[-1]) if name == "linf" else offset.norm(dim=-1)
    return bool((size <= epsilon * (1 + 1e-12)).all())


@pytest.mark.parametrize("name", NEIGHBOURHOODS)
@pytest.mark.parametrize("kind", ["sample", "batch"])
def test_taught_features_keep_the_constraint_and_serve_the_objective(name: str, kind: str) -> None:
    x, y, head, target = problem(bias=True, lead=(3,))
    teaching = Teaching(neighbourhood=name, objective=kind)
    taught = teach_features(x, y, head, target, 0.1, teaching)
    size = x.norm(dim=-1, keepdim=True)
    assert inside(taught / size, x / size, teaching.epsilon, name)
    after, before = (objective(points, y, head, target, 0.1, kind) for points in (taught, x))
    assert (after < before).all()


@pytest.mark.parametrize(("bias", "neighbourhood"), list(product((False, True), ("sphere", "l2"))))
def test_taught_features_of_many_entries_are_those_of_a_loop_with_autograd(bias: bool, neighbourhood: str) -> None:
    """With more entries than classes the walk is taken in fewer coordinates; one feature has nothing across them."""
    d = 5 * K
    x, y = torch.randn(3, N, d), functional.one_hot(torch.randint(0, K, (3, N)), K).double()
    head, target = (Head(torch.randn(3, K, d), torch.randn(3, K) if bias else None) for _ in range(2))
    x[:, 0] = head.weight[:, 0]
    teaching = Teaching(neighbourhood=neighbourhood)
    size = x.norm(dim=-1, keepdim=True)
    u = centre = x / size
    for _ in range(teaching.feature_steps):
        shown = (size * u).requires_grad_()
        (gradient,) = torch.autograd.grad(objective(shown, y, head, target, 0.1).sum(), shown)
        step = 2.5 * teaching.epsilon / teaching.feature_steps
        u = NEIGHBOURHOODS[neighbourhood].move(u, gradient, step, centre, teaching.epsilon)
    found = teach_features(x, y, head, target, 0.1, teaching)
    torch.testing.assert_close(found, size * u, rtol=1e-9, atol=1e-11)
    one = [Head(h.weight[1], None if h.bias is None else h.bias[1]) for h in (head, target)]
    torch.testing.assert_close(teach_features(x[1], y[1], *one, 0.1, teaching), found[1])


def test_taught_features_are_near_the_best_of_many_points_of_the_cap() -> None:
    x, y, head, target = problem(bias=False)
    taught = teach_features(x, y, head, target, 0.1, Teaching(feature_steps=200))
    size = x.norm(dim=-1, keepdim=True)
    values = []
    for seed in range(2000):
        points = NEIGHBOURHOODS["sphere"].sample(x / size, 0.1, [torch.Generator().manual_seed(seed)])
        values.append(objective(size * points, y, head, target, 0.1))
    best, start = torch.stack(values).amin(0), objective(x, y, head, target, 0.1)
    assert (start - objective(taught, y, head, target, 0.1) > 0.98 * (start - best)).all()


def test_features_of_norm_zero_stay() -> None:
    x, y, head, target = problem(bias=False)
    x[2] = 0.0
    for name in NEIGHBOURHOODS:
        taught = teach_features(x, y, head, target, 0.1, Teaching(neighbourhood=name))
        assert torch.isfinite(taught).all() and (taught[2].abs() < 1e-25).all()


def test_projection_on_the_cap_is_the_nearest_point() -> None:
    centre = functional.normalize(torch.randn(50, 3), dim=-1)
    v = centre + 0.4 * torch.randn(50, 3)
    found = onto_cap(v, centre, 0.3)
    assert inside(found, centre, 0.3, "sphere")
    others = NEIGHBOURHOODS["sphere"].sample(centre.expand(4000, 50, 3), 0.3, None)
    assert ((v - found).norm(dim=-1) <= (v - others).norm(dim=-1).amin(0) + 1e-9).all()
    close = NEIGHBOURHOODS["sphere"].sample(centre, 0.3, None)
    torch.testing.assert_close(onto_cap(1.7 * close, centre, 0.3), close)


@pytest.mark.parametrize(("name", "d", "epsilon"), [("sphere", 3, 0.1), ("sphere", 128, 0.1), ("sphere", 6, 0.9)])
def test_random_points_of_the_cap_are_uniform(name: str, d: int, epsilon: float) -> None:
    """The squared sine of the angle has a truncated Beta((d - 1) / 2, 1/2) distribution; directions are isotropic."""
    centre = functional.normalize(torch.randn(d), dim=-1).expand(20_000, d)
    u = NEIGHBOURHOODS[name].sample(centre, epsilon, [torch.Generator().manual_seed(1)])
    assert inside(u, centre, epsilon, name)
    squared_sine = (1.0 - (u * centre).sum(-1) ** 2).numpy()
    edge = 1.0 - (1.0 - 0.5 * epsilon**2) ** 2
    a = (d - 1) / 2
    assert (
        stats.kstest(squared_sine, lambda s: special.betainc(a, 0.5, s) / special.betainc(a, 0.5, edge)).pvalue > 1e-3
    )
    across = u - (u * centre).sum(-1, keepdim=True) * centre
    mean = functional.normalize(across, dim=-1).mean(0)
    assert mean.norm() < 4.0 / math.sqrt(len(u))


@pytest.mark.parametrize("name", ["l2", "linf"])
def test_random_points_of_balls_and_boxes_are_uniform(name: str) -> None:
    centre = torch.randn(4).expand(20_000, 4)
    u = NEIGHBOURHOODS[name].sample(centre, 0.2, [torch.Generator().manual_seed(1)])
    assert inside(u, centre, 0.2, name)
    offset = (u - centre).numpy()
    if name == "l2":
        assert stats.kstest((np.linalg.norm(offset, axis=-1) / 0.2) ** 4, "uniform").pvalue > 1e-3
    else:
        assert min(stats.kstest(offset[:, j] / 0.1 / 2 + 0.5, "uniform").pvalue for j in range(4)) > 1e-3


def loop_gradients(encoder: nn.Module, head: nn.Linear, batch: Any, rate: float, accumulate: bool) -> list[Any]:
    """Algorithm 1 as a loop over samples with autograd's gradients: what reaches the parameters."""
    inputs, labels = batch
    parameters = [*encoder.parameters(), *head.parameters()]
    for p in parameters:
        p.grad = None
    features = encoder(inputs)
    buffer = [p.detach().clone() for p in head.parameters()]
    for _ in range(5):
        for p in head.parameters():
            p.grad = None
        functional.cross_entropy(head(features), labels).backward(retain_graph=True)
        with torch.no_grad():
            for p in head.parameters():
                p -= rate * p.grad
    target = [p.detach().clone() for p in head.parameters()]
    with torch.no_grad():
        for p, old in zip(head.parameters(), buffer, strict=True):
            p.copy_(old)
    if not accumulate:
        for p in encoder.parameters():
            p.grad = None
    for p in head.parameters():
        p.grad = None
    taught = []
    for x, label in zip(features.detach(), labels, strict=True):
        size, u = x.norm(), x / x.norm()
        centre = u
        for _ in range(15):
            z = (size * u).requires_grad_()
            loss = functional.cross_entropy(head(z), label)
            gradients = torch.autograd.grad(loss, list(head.parameters()), create_graph=True)
            pairs = list(zip(buffer, target, gradients, strict=True))
            value = sum(rate**2 * (g**2).sum() - 2 * rate * ((w - s) * g).sum() for w, s, g in pairs)
            (slope,) = torch.autograd.grad(value, z)
            slope = slope - (slope @ u) * u
            u = functional.normalize(u - 0.25 / 15 * slope / slope.norm(), dim=0)
            if (u - centre).norm() > 0.1:
                angle = 2 * math.asin(0.05)
                side = functional.normalize(u - (u @ centre) * centre, dim=0)
                u = math.cos(angle) * centre + math.sin(angle) * side
        taught.append(size * u)
    shown = features + (torch.stack(taught) - features).detach()
    functional.cross_entropy(head(shown), labels).backward()
    return [p.grad.clone() for p in parameters]


@pytest.mark.parametrize(("accumulate", "bias"), list(product((False, True), (False, True))))
def test_a_step_is_algorithm_1_written_as_a_loop(accumulate: bool, bias: bool) -> None:
    encoder, head, batch = network(bias)
    parameters = [*encoder.parameters(), *head.parameters()]
    gradients = loop_gradients(encoder, head, batch, 0.2, accumulate)
    expected = [p.detach() - 0.2 * (g + 0.01 * p.detach()) for p, g in zip(parameters, gradients, strict=True)]
    optimizer = torch.optim.SGD(parameters, lr=0.2, weight_decay=0.01)
    performative_step(encoder, head, batch, optimizer, teaching=Teaching(accumulate_encoder_gradient=accumulate))
    for p, wanted in zip(parameters, expected, strict=True):
        torch.testing.assert_close(p.detach(), wanted, rtol=1e-9, atol=1e-11)


def test_no_policy_is_a_plain_step_and_the_control_scales_the_encoder_only() -> None:
    encoder, head, batch = network()
    parameters = [*encoder.parameters(), *head.parameters()]
    functional.cross_entropy(head(encoder(batch[0])), batch[1]).backward()
    plain = [p.grad.clone() for p in parameters]
    for scale in (1.0, 6.0):
        for p in parameters:
            p.grad = None
        teaching = Teaching(policy="none", encoder_scale=scale)
        performative_loss(encoder, head, batch, rate=0.1, teaching=teaching).loss.backward()
        n = len(list(encoder.parameters()))
        for i, (p, gradient) in enumerate(zip(parameters, plain, strict=True)):
            torch.testing.assert_close(p.grad, gradient * (scale if i < n else 1.0))


def test_random_policy_shows_points_of_the_cap_and_is_seeded() -> None:
    encoder, head, batch = network()
    teaching, steps = Teaching(policy="random", epsilon=0.2), []
    for seed in (0, 0, 1):
        generators = [torch.Generator().manual_seed(seed)]
        steps.append(performative_loss(encoder, head, batch, rate=0.1, teaching=teaching, generators=generators))
    size = steps[0].features.norm(dim=-1, keepdim=True)
    assert inside(steps[0].taught / size, steps[0].features / size, 0.2, "sphere")
    assert torch.equal(steps[0].taught, steps[1].taught) and not torch.equal(steps[0].taught, steps[2].taught)


def test_target_may_come_from_other_data() -> None:
    encoder, head, batch = network()
    other = torch.randn(40, D), torch.randint(0, K, (40,))
    here = performative_loss(encoder, head, batch, rate=0.1)
    there = performative_loss(encoder, head, batch, rate=0.1, target_data=other)
    y = functional.one_hot(batch[1], K).double()
    now = Head(head.weight.detach(), head.bias.detach())
    goal, _ = estimate_target(other[0], functional.one_hot(other[1], K).double(), now, 5, 0.1)
    torch.testing.assert_close(there.taught, teach_features(there.features, y, now, goal, 0.1, GREEDY))
    assert not torch.allclose(here.taught, there.taught)
    with pytest.raises(ValueError, match="do not give target_data"):
        performative_loss(
            encoder, head, batch, rate=0.1, teaching=Teaching(accumulate_encoder_gradient=True), target_data=other
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": "greedly"}, "did you mean 'greedy'"),
        ({"objective": "both"}, "allowed: batch, sample"),
        ({"neighbourhood": "l3"}, "allowed: l2, linf, sphere"),
        ({"epsilon": 1.5}, "epsilon must be <= 1.0"),
        ({"epsilon": 0.0}, "epsilon must be > 0"),
        ({"target_steps": 0}, "target_steps must be > 0"),
        ({"accumulate_encoder_gradient": True, "policy": "random"}, "needs policy='greedy'"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Teaching(**options)


def test_wrong_shapes_name_the_argument() -> None:
    encoder, head, (inputs, labels) = network()
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"labels of batch must be integer classes \(6,\) or float rows \(6, 4\)"):
        performative_step(encoder, head, (inputs, labels[:-1]), optimizer)
    with pytest.raises(ValueError, match=r"labels of batch .*float64 of shape"):
        performative_step(encoder, head, (inputs, labels.double()), optimizer)
    with pytest.raises(ValueError, match=r"encoder must give features \(\.\.\., n, 5\)"):
        performative_step(lambda x: x, head, (inputs, labels), optimizer)
    with pytest.raises(ValueError, match="leading axes"):
        performative_step(lambda x: encoder(x)[None], head, (inputs, labels), optimizer)
    with pytest.raises(ValueError, match="labels of target_data"):
        performative_step(encoder, head, (inputs, labels), optimizer, target_data=(torch.randn(3, D), labels))
    with pytest.raises(TypeError, match="head must be a linear layer"):
        performative_loss(encoder, nn.Tanh(), (inputs, labels), rate=0.1)
    with pytest.raises(ValueError, match="optimizer must hold"):
        performative_step(encoder, head, (inputs, labels), torch.optim.SGD(encoder.parameters(), lr=0.1))


def test_soft_labels_are_taken() -> None:
    encoder, head, (inputs, labels) = network()
    rows = functional.one_hot(labels, K).double()
    hard, soft = (performative_loss(encoder, head, (inputs, y), rate=0.1, teaching=PLAIN) for y in (labels, rows))
    assert hard.loss.item() == soft.loss.item()


@pytest.mark.slow
def test_compiled_feature_steps_are_the_same() -> None:
    encoder, head, batch = network()
    plain, compiled = (
        performative_loss(encoder, head, batch, rate=0.1, teaching=Teaching(compiled=c)) for c in (False, True)
    )
    torch.testing.assert_close(compiled.taught, plain.taught, rtol=1e-9, atol=1e-11)
