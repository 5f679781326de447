"""The update rule against torch's SGD."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch

from teach_gym.core.updates import Update

RULES = [
    {"momentum": momentum, "nesterov": nesterov, "weight_decay": decay}
    for momentum, nesterov, decay in itertools.product([0.0, 0.9], [False, True], [0.0, 0.1])
    if momentum or not nesterov
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_update_is_torchs_sgd(rule: dict[str, Any], rng: np.random.Generator) -> None:
    update = Update(0.3, **rule)
    w = rng.standard_normal((2, 6))
    velocity = np.zeros_like(w) if rule["momentum"] else None
    parameter = torch.nn.Parameter(torch.tensor(w))
    optimizer = torch.optim.SGD([parameter], lr=0.3, **rule)
    tensors = (torch.tensor(w), None if velocity is None else torch.tensor(velocity))
    for _ in range(6):
        gradient = rng.standard_normal(w.shape)
        base, size = update.affine(w, velocity)
        before = w, velocity
        w, velocity = update(w, velocity, gradient)
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        np.testing.assert_allclose(w, parameter.detach().numpy(), atol=1e-13)
        np.testing.assert_allclose(base - size[:, None] * gradient, w, atol=1e-13)
        rates = rng.random(2)
        base, size = update.affine(*before, rates)
        for i, rate in enumerate(rates):  # each run with a learning rate of its own
            own = [None if a is None else a[i] for a in before]
            moved, _ = dataclasses.replace(update, learning_rate=rate)(*own, gradient[i])
            np.testing.assert_allclose(base[i] - size[i] * gradient[i], moved, atol=1e-13)
        tensors = update(*tensors, torch.tensor(gradient))
        np.testing.assert_allclose(tensors[0], w, atol=1e-13)
        if velocity is not None:
            buffer = optimizer.state[parameter]["momentum_buffer"]
            np.testing.assert_allclose(velocity, buffer.numpy(), atol=1e-13)


def test_default_update_is_exactly_gradient_descent(rng: np.random.Generator) -> None:
    w, gradient = rng.standard_normal((2, 50, 7))
    after, velocity = Update(0.1)(w, None, gradient)
    assert velocity is None
    np.testing.assert_array_equal(after, w - 0.1 * gradient)


@pytest.mark.parametrize(
    ("values", "kind", "part"),
    [
        ((0.0,), ValueError, "learning_rate"),
        ((-1.0,), ValueError, "-1.0"),
        ((float("nan"),), ValueError, "nan"),
        ((float("inf"),), ValueError, "inf"),
        (("0.1",), TypeError, "'0.1'"),
        ((0.1, 1.0), ValueError, "momentum"),
        ((0.1, -0.1), ValueError, "-0.1"),
        ((0.1, float("nan")), ValueError, "nan"),
        ((0.1, "0.5"), TypeError, "momentum.*'0.5'"),
        ((0.1, 0.0, True), ValueError, "nesterov"),
        ((0.1, 0.5, True, -1.0), ValueError, "weight_decay"),
        ((0.1, 0.5, True, float("inf")), ValueError, "inf"),
    ],
    ids=str,
)
def test_bad_update_rules(values: tuple[Any, ...], kind: type[Exception], part: str) -> None:
    with pytest.raises(kind, match=part):
        Update(*values)
