"""Losses and gradients against torch autograd on independently written losses; updates against torch.optim."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from learner_cases import HIDDEN, OUTPUTS, REFERENCE, D, biases, every
from torch.nn import functional

from teach_gym.core import learners as module
from teach_gym.core.learner import Learner
from teach_gym.core.learners import LEARNERS, make_learner
from teach_gym.core.randomness import Streams


def make(name: str, bias: bool) -> Learner:
    return make_learner(name, bias=bias, **({"hidden": HIDDEN} if name.startswith("mlp") else {}))


def labels(name: str, rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Labels as a teacher may choose them: soft, outside [0, 1], not summing to one."""
    y = rng.standard_normal(shape)
    return np.where(y > 0, 1.0, -1.0) * rng.uniform(0.2, 1.5, shape) if name == "margin_logistic" else y


def reference_logits(learner: Learner, w: torch.Tensor, x: torch.Tensor, k: int) -> torch.Tensor:
    """Logits of one parameter vector (P,) on rows (m, d), through torch's own layers."""
    shapes = [(D, HIDDEN), (HIDDEN, k)] if learner.name.startswith("mlp") else [(D, k)]
    for i, (rows, columns) in enumerate(shapes):
        kernel, w = w[: rows * columns].reshape(rows, columns), w[rows * columns :]
        offset, w = (w[:columns], w[columns:]) if learner.bias else (None, w)
        x = functional.linear(functional.relu(x) if i else x, kernel.T, offset)
    assert not len(w)
    return x


def reference(learner: Learner, w: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Loss and gradient of one run by autograd."""
    wt = torch.tensor(w, requires_grad=True)
    logits = reference_logits(learner, wt, torch.tensor(x), y.shape[-1])
    loss = REFERENCE[learner.name](logits, torch.tensor(y)).mean()
    return loss.item(), torch.autograd.grad(loss, wt)[0].numpy()


def test_the_tables_name_the_same_learners() -> None:
    assert set(OUTPUTS) == set(LEARNERS) == set(REFERENCE)


@every
@biases
@pytest.mark.parametrize("m", [1, 5])
@pytest.mark.parametrize("lead", [(), (4,), (3, 4)], ids=str)
def test_loss_and_gradient_equal_autograd(
    name: str, bias: bool, m: int, lead: tuple[int, ...], rng: np.random.Generator
) -> None:
    learner, k = make(name, bias), OUTPUTS[name]
    w = rng.standard_normal((*lead, learner.size(D, k)))
    x, y = rng.standard_normal((*lead, m, D)), labels(name, rng, *lead, m, k)
    loss, gradient = learner.loss(w, x, y), learner.gradient(w, x, y)
    wt, xt, yt = (torch.tensor(a) for a in (w, x, y))
    assert np.shape(loss) == lead and gradient.shape == w.shape
    assert learner.predict(w, x).shape == y.shape == learner.logits(w, x).shape
    np.testing.assert_allclose(learner.loss(wt, xt, yt), loss, atol=1e-12)
    np.testing.assert_allclose(learner.gradient(wt, xt, yt), gradient, atol=1e-12)
    np.testing.assert_allclose(learner.predict(wt, xt), learner.predict(w, x), atol=1e-12)
    wt.requires_grad_()
    (through,) = torch.autograd.grad(learner.loss(wt, xt, yt).sum(), wt)
    np.testing.assert_allclose(through, gradient, atol=1e-12)
    for i in np.ndindex(*lead):
        expected = reference(learner, w[i], x[i], y[i])
        np.testing.assert_allclose(loss[i], expected[0], atol=1e-12)
        np.testing.assert_allclose(gradient[i], expected[1], atol=1e-12)


@every
@biases
@pytest.mark.parametrize("table", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_leading_axes_broadcast(name: str, bias: bool, table: Any, rng: np.random.Generator) -> None:
    """A candidates' axis on the labels only, on the features only, or a run's axis on the parameters only."""
    learner, k, m = make(name, bias), OUTPUTS[name], 2
    w = rng.standard_normal((4, learner.size(D, k)))
    xs = {"features": (5, 1, m, D), "labels": (4, m, D), "both": (5, 4, m, D)}
    ys = {"features": (4, m, k), "labels": (5, 1, m, k), "both": (5, 4, m, k)}
    for what in xs:
        x, y = rng.standard_normal(xs[what]), labels(name, rng, *ys[what])
        gradient = np.asarray(learner.gradient(table(w), table(x), table(y)))
        loss = np.asarray(learner.loss(table(w), table(x), table(y)))
        assert gradient.shape == (5, 4, w.shape[-1]) and loss.shape == (5, 4), what
        wide_x, wide_y = np.broadcast_to(x, (5, 4, m, D)), np.broadcast_to(y, (5, 4, m, k))
        for a, b in ((0, 0), (4, 3), (2, 1), (1, 3)):
            expected = reference(learner, w[b], wide_x[a, b], wide_y[a, b])
            np.testing.assert_allclose(gradient[a, b], expected[1], atol=1e-12, err_msg=what)
            np.testing.assert_allclose(loss[a, b], expected[0], atol=1e-12, err_msg=what)


@every
@biases
@pytest.mark.parametrize("m", [3, 50])
def test_one_table_is_shared_by_the_batch(name: str, bias: bool, m: int, rng: np.random.Generator) -> None:
    learner, k = make(name, bias), OUTPUTS[name]
    w = rng.standard_normal((4, learner.size(D, k)))
    x, y = rng.standard_normal((m, D)), labels(name, rng, m, k)
    for found, at in ((learner.loss(w, x, y), 0), (learner.gradient(w, x, y), 1)):
        for b in range(4):
            np.testing.assert_allclose(found[b], reference(learner, w[b], x, y)[at], atol=1e-12)
    direction = rng.standard_normal(w.shape)
    shared = learner.parts(w, x, direction)
    full = learner.parts(w, np.broadcast_to(x, (4, m, D)), direction)
    np.testing.assert_allclose(np.broadcast_to(shared.gram, full.gram.shape), full.gram, atol=1e-12)
    np.testing.assert_allclose(shared.alignment, full.alignment, atol=1e-12)


@every
def test_prediction_on_the_scale_of_the_labels(name: str, rng: np.random.Generator) -> None:
    learner, k = make(name, True), OUTPUTS[name]
    w, x = 3 * rng.standard_normal((50, learner.size(D, k))), rng.standard_normal((50, 2, D))
    prediction, output = learner.predict(w, x), learner.output
    if output.label_low is not None and output.label_high is not None:
        assert prediction.min() >= output.label_low and prediction.max() <= output.label_high
    if k > 1 and name != "least_squares":
        np.testing.assert_allclose(prediction.sum(-1), 1.0, atol=1e-12)
    if name == "margin_logistic":  # the expected label under the model P(y = 1) = 1 / (1 + exp(-z))
        z = learner.logits(w, x)
        p = 1 / (1 + np.exp(-z))
        np.testing.assert_allclose(prediction, p - (1 - p), atol=1e-12)
    elif output.linear:  # a learner has nothing to learn from its own prediction
        np.testing.assert_allclose(learner.gradient(w, x, prediction), 0.0, atol=1e-12)


@every
def test_gradient_is_linear_in_the_label_where_it_says_so(name: str, rng: np.random.Generator) -> None:
    """DESIGN: grad(a y1 + (1 - a) y2) = a grad(y1) + (1 - a) grad(y2), for any a; not for the margin loss."""
    learner, k = make(name, True), OUTPUTS[name]
    w, x = rng.standard_normal((20, learner.size(D, k))), rng.standard_normal((20, 3, D))
    y1, y2 = (labels(name, rng, 20, 3, k) for _ in range(2))
    mixed = learner.gradient(w, x, 1.7 * y1 - 0.7 * y2)
    gap = np.abs(mixed - 1.7 * learner.gradient(w, x, y1) + 0.7 * learner.gradient(w, x, y2)).max()
    assert gap < 1e-12 if learner.output.linear else gap > 1e-2


@every
@biases
@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_parts_give_the_squared_norm_and_the_inner_product(
    name: str, bias: bool, beta: float, rng: np.random.Generator
) -> None:
    """gram and alignment against explicit per-example gradients; beta weighs the first layer's block (LAST Eq. 4)."""
    learner, k, b, m = make(name, bias), OUTPUTS[name], 4, 3
    w, direction = rng.standard_normal((2, b, learner.size(D, k)))
    x, y = rng.standard_normal((b, m, D)), labels(name, rng, b, m, k)
    residual = learner.output.residual(learner.logits(w, x), y)
    parts = learner.parts(w, x, direction, beta)
    squared = np.einsum("bmk,bmkl,bml->bm", residual, np.broadcast_to(parts.gram, (b, m, k, k)), residual)
    inner = np.einsum("bmk,bmk->bm", parts.alignment, residual)
    weight = np.ones(w.shape[-1])
    if name.startswith("mlp"):
        weight[: (D + bias) * HIDDEN] = beta
    for i, j in np.ndindex(b, m):
        gradient = reference(learner, w[i], x[i, j : j + 1], y[i, j : j + 1])[1]
        np.testing.assert_allclose(squared[i, j], (weight * gradient**2).sum(), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(inner[i, j], (weight * gradient * direction[i]).sum(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(parts.logits, learner.logits(w, x), atol=1e-12)
    tensors = learner.parts(*(torch.tensor(a) for a in (w, x, direction)), beta)
    np.testing.assert_allclose(np.broadcast_to(tensors.gram, (b, m, k, k)), np.broadcast_to(parts.gram, (b, m, k, k)))
    np.testing.assert_allclose(tensors.alignment, parts.alignment, atol=1e-12)


@every
@biases
@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_cross_gram_gives_the_norm_of_a_mini_batch_gradient(
    name: str, bias: bool, beta: float, rng: np.random.Generator
) -> None:
    learner, k, m = make(name, bias), OUTPUTS[name], 3
    w = rng.standard_normal((4, learner.size(D, k)))
    x, y = rng.standard_normal((4, m, D)), labels(name, rng, 4, m, k)
    residual = learner.output.residual(learner.logits(w, x), y)
    gram = np.broadcast_to(learner.parts(w, x, w, beta, cross=True).gram, (4, m, k, m, k))
    squared = np.einsum("bik,bikjl,bjl->b", residual, gram, residual) / m**2
    weight = np.ones(w.shape[-1])
    if name.startswith("mlp"):
        weight[: (D + bias) * HIDDEN] = beta
    expected = [(weight * reference(learner, *run)[1] ** 2).sum() for run in zip(w, x, y, strict=True)]
    np.testing.assert_allclose(squared, expected, rtol=1e-10)


@every
def test_learners_work_on_another_device_than_the_cpu(name: str) -> None:
    learner, k = make(name, True), OUTPUTS[name]
    w, x, y = (torch.zeros(s, device="meta") for s in ((2, learner.size(D, k)), (2, 3, D), (2, 3, k)))
    assert learner.gradient(w, x, y).device.type == learner.loss(w, x, y).device.type == "meta"
    assert {a.device.type for a in learner.parts(w, x, w)} == {"meta"}


@every
@biases
def test_init_is_that_of_torchs_linear_layers(name: str, bias: bool) -> None:
    learner, k = make(name, bias), OUTPUTS[name]
    w = learner.init(Streams(np.arange(400)), D, k)
    assert w.shape == (400, learner.size(D, k))
    layers = [torch.nn.Linear(D, HIDDEN, bias), torch.nn.Linear(HIDDEN, k, bias)]
    layers = layers if name.startswith("mlp") else [torch.nn.Linear(D, k, bias)]
    assert w.shape[1] == sum(p.numel() for layer in layers for p in layer.parameters())
    start = 0
    for layer in layers:
        size, bound = sum(p.numel() for p in layer.parameters()), 1 / np.sqrt(layer.in_features)
        block = w[:, start : start + size].ravel()
        start += size
        assert max(float(p.detach().abs().max()) for p in layer.parameters()) <= bound
        assert scipy.stats.kstest(block, "uniform", args=(-bound, 2 * bound)).pvalue > 1e-4


@pytest.mark.parametrize(
    ("name", "options", "kind", "parts"),
    [
        ("logistik", {}, ValueError, ["logistik", "margin_logistic", "did you mean 'logistic'"]),
        (None, {}, ValueError, ["None", "softmax"]),
        ("mlp", {"hidden": 0}, ValueError, ["hidden", "0"]),
        ("mlp", {"hidden": 2.5}, TypeError, ["hidden", "2.5"]),
        ("mlp", {"hidden": True}, TypeError, ["hidden", "True"]),
        ("softmax", {"hidden": 3}, TypeError, ["hidden"]),
        ("mlp_logistic", {"width": 3}, TypeError, ["width"]),
    ],
)
def test_bad_learners(name: Any, options: dict[str, Any], kind: type[Exception], parts: list[str]) -> None:
    with pytest.raises(kind) as caught:
        make_learner(name, **options)
    assert all(part in str(caught.value) for part in parts), caught.value


def test_every_output_is_documented_in_make_learner() -> None:
    assert all(f"``{name}``" in (module.make_learner.__doc__ or "") for name in LEARNERS)
