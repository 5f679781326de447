"""Performative teaching (DHT 4.2, Algorithm 1): teach the last layer in feature space while a network trains.

In each mini-batch the features x of the encoder are moved, within a small neighbourhood, to where one gradient step of
the linear head brings it nearest to an estimate of its target w*; the whole network then takes its step on the moved
features. Everything is batched over the mini-batch and over any leading axes (several runs at once). Shapes: features
(..., n, d), labels (..., n) or (..., n, K), the head's ``weight`` (..., K, d) and ``bias`` (..., K) or None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from teach_gym.core.outputs import SOFTMAX
from teach_gym.neural.hallucinate import Head, compiled_teach_features, estimate_target, teach_features
from teach_gym.neural.regions import NEIGHBOURHOODS, length
from teach_gym.neural.teaching import GREEDY, Teaching


class Step(NamedTuple):
    """The result of a performative step.

    Attributes:
        loss: (...) mean cross-entropy on the taught features; in ``performative_loss`` with its graph.
        features: (..., n, d) the encoder's features, detached.
        taught: (..., n, d) the features shown to the head, detached.
    """

    loss: Tensor
    features: Tensor
    taught: Tensor


def performative_loss(
    encoder: Callable[[Tensor], Tensor],
    head: Any,
    batch: tuple[Tensor, Tensor],
    *,
    rate: float,
    teaching: Teaching = GREEDY,
    generators: Sequence[Any] | None = None,
    target_data: tuple[Tensor, Tensor] | None = None,
) -> Step:
    """The loss of a network on a mini-batch with taught features; differentiable, for custom training loops.

    The taught features are the encoder's plus a constant, so gradients flow into the encoder.

    Args:
        encoder: inputs -> features (..., n, d).
        head: ``torch.nn.Linear``, or any module with ``weight`` and ``bias`` that computes the same function.
        batch: inputs and labels: classes (..., n), or rows (..., n, K) that sum to one.
        rate: the learning rate of the head's coming step (eta of Eq. 9).
        teaching: the settings.
        generators: torch generators for the random policy: one, or one per entry of the leading axis.
        target_data: features (..., n', d) and labels for estimating w* instead of this mini-batch.

    Raises:
        ValueError: shapes that do not fit; the message names the argument.
        TypeError: a head without ``weight``.
    """
    inputs, labels = batch
    features = encoder(inputs).float() if torch.is_autocast_enabled(_kind(inputs)) else encoder(inputs)
    y = _check(features, head, labels, "batch")
    x = features.detach()
    taught, extra = _teach(x, y, head, rate, teaching, generators, target_data)
    if teaching.encoder_scale != 1.0:
        features = x + teaching.encoder_scale * (features - x)
    shown = features if teaching.policy == "none" else features + (taught - x)
    loss = SOFTMAX.loss(head(shown).to(x.dtype), y).mean(-1)
    if extra is not None:
        term = (features * extra).sum((-2, -1))
        loss = loss + (term - term.detach())
    return Step(loss, x, taught)


def performative_step(
    encoder: Callable[[Tensor], Tensor],
    head: Any,
    batch: tuple[Tensor, Tensor],
    optimizer: Any,
    *,
    teaching: Teaching = GREEDY,
    generators: Sequence[Any] | None = None,
    target_data: tuple[Tensor, Tensor] | None = None,
) -> Step:
    """One iteration of performative teaching (DHT Algorithm 1): teach the features, then update the whole network.

    Replaces forward pass, ``backward`` and ``optimizer.step()`` in a training loop.

    Args:
        encoder: see ``performative_loss``, also for the other arguments.
        head: the linear classifier.
        batch: inputs and labels.
        optimizer: a torch optimizer of the parameters of both; eta of Eq. 9 is its learning rate for the head.
        teaching: the settings.
        generators: for the random policy.
        target_data: other data for estimating w*.

    Returns:
        The step, its loss detached.

    Raises:
        ValueError: shapes that do not fit, or an optimizer that does not hold the head's weight.
        TypeError: a head without ``weight``.
    """
    rate = learning_rate(optimizer, head)
    optimizer.zero_grad(set_to_none=True)
    step = performative_loss(
        encoder, head, batch, rate=rate, teaching=teaching, generators=generators, target_data=target_data
    )
    step.loss.sum().backward()
    optimizer.step()
    return step._replace(loss=step.loss.detach())


def learning_rate(optimizer: Any, head: Any) -> float:
    """The optimizer's learning rate for the head.

    Raises:
        ValueError: the head's weight is not among the optimizer's parameters.
    """
    for group in optimizer.param_groups:
        if any(parameter is getattr(head, "weight", None) for parameter in group["params"]):
            return float(group["lr"])
    raise ValueError("optimizer must hold the parameters of head: its weight is in none of the parameter groups")


def _teach(
    x: Tensor,
    y: Tensor,
    module: Any,
    rate: float,
    teaching: Teaching,
    generators: Sequence[Any] | None,
    target_data: tuple[Tensor, Tensor] | None,
) -> tuple[Tensor, Tensor | None]:
    """The taught features, and the gradient to add to that of the features (None: nothing)."""
    with torch.no_grad(), torch.autocast(_kind(x), enabled=False):
        if teaching.policy == "none":
            return x, None
        if teaching.policy == "random":
            size = length(x)
            return size * NEIGHBOURHOODS[teaching.neighbourhood].sample(x / size, teaching.epsilon, generators), None
        head = Head(module.weight.detach(), None if module.bias is None else module.bias.detach())
        data, accumulate = (x, y), teaching.accumulate_encoder_gradient
        if target_data is not None:
            if accumulate:
                raise ValueError("accumulate_encoder_gradient estimates w* on the mini-batch: do not give target_data")
            data = target_data[0], _check(target_data[0], module, target_data[1], "target_data")
        target, back = estimate_target(*data, head, teaching.target_steps, teaching.target_rate or rate)
        move = compiled_teach_features() if teaching.compiled else teach_features
        return move(x, y, head, target, rate, teaching), back if accumulate else None


def _kind(tensor: Tensor) -> str:
    return str(tensor.device.type)


def _check(features: Tensor, head: Any, labels: Tensor, name: str) -> Tensor:
    """Check shapes and return the labels as rows (..., n, K) of the features' type."""
    weight = getattr(head, "weight", None)
    if weight is None or not hasattr(head, "bias"):
        raise TypeError(f"head must be a linear layer with weight and bias (or None), got {type(head).__name__}")
    if features.ndim < 2 or features.shape[-1] != weight.shape[-1]:
        raise ValueError(
            f"encoder must give features (..., n, {weight.shape[-1]}) to fit head.weight {tuple(weight.shape)}, "
            f"got {tuple(features.shape)}"
        )
    if features.shape[:-2] != weight.shape[:-2]:
        raise ValueError(
            f"leading axes of the features {tuple(features.shape)} and head.weight {tuple(weight.shape)} must agree"
        )
    k = weight.shape[-2]
    if labels.shape == features.shape[:-1] and not labels.is_floating_point():
        return torch.nn.functional.one_hot(labels.long(), k).to(features.dtype)
    if labels.shape == (*features.shape[:-1], k) and labels.is_floating_point():
        return labels.to(features.dtype)
    rows = tuple(features.shape[:-1])
    raise ValueError(
        f"labels of {name} must be integer classes {rows} or float rows {(*rows, k)}, "
        f"got {labels.dtype} of shape {tuple(labels.shape)}"
    )
