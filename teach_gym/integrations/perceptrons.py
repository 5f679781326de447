"""Converts perceptrons made of torch modules to the plain ``Network`` stored in agents' files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from teach_gym.teachers.perceptron import ACTIVATIONS, Floats, Network, Normalization


def network_of_modules(
    parts: Sequence[nn.Module], form: str, normalization: Normalization | None = None, shared: int = 0
) -> Network:
    """The network that applies torch modules one after the other.

    Args:
        parts: linear layers with one kind of activation between them, also inside ``nn.Sequential``; ``nn.Flatten`` and
            ``nn.Identity`` are skipped.
        form: what the last layer gives, a key of ``teach_gym.teachers.perceptron.FORMS``.
        normalization: applied to observations first, or None.
        shared: number of shared entries, with the form ``each``.

    Raises:
        TypeError: other layers.
    """
    modules = [m for part in parts for m in (part if isinstance(part, nn.Sequential) else [part])]
    modules = [m for m in modules if not isinstance(m, nn.Flatten | nn.Identity)]
    linear, between = modules[::2], modules[1::2]
    wrong = [m for m in linear if not isinstance(m, nn.Linear)]
    wrong += [m for m in between if type(m).__name__ not in ACTIVATIONS or repr(m) not in _default_reprs(type(m))]
    kinds = {type(m).__name__ for m in between}
    if wrong or len(kinds) > 1 or len(linear) != len(between) + 1:
        found = ", ".join(map(repr, modules))
        raise TypeError(
            f"cannot save these layers: {found}; they must be linear with one kind of activation between them, "
            f"one of {', '.join(ACTIVATIONS)} with torch's default arguments"
        )
    return Network([_arrays(m) for m in linear], next(iter(kinds), "Tanh"), form, normalization, shared)


def _arrays(layer: Any) -> tuple[Floats, Floats]:
    """Weight (out, in) and bias (out,) of a linear layer; a missing bias is zero."""
    bias = layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias
    return layer.weight.detach().cpu().numpy(), bias.detach().cpu().numpy()


def _default_reprs(kind: type) -> tuple[str, ...]:
    """How an activation with default arguments, in place or not, describes itself."""
    try:
        return repr(kind()), repr(kind(inplace=True))
    except TypeError:
        return (repr(kind()),)
