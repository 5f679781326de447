"""The learners with torch's own losses, for comparisons with automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from teach_gym.core.learners import LEARNERS

D, HIDDEN = 3, 4
OUTPUTS = {"least_squares": 2, "logistic": 1, "margin_logistic": 1, "softmax": 4, "mlp": 3, "mlp_logistic": 1}
REFERENCE: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "least_squares": lambda z, y: 0.5 * functional.mse_loss(z, y, reduction="none").sum(-1),
    "logistic": lambda z, y: functional.binary_cross_entropy_with_logits(z, y, reduction="none").sum(-1),
    "margin_logistic": lambda z, y: functional.soft_margin_loss(z, y, reduction="none").sum(-1),
    "softmax": lambda z, y: -(y * functional.log_softmax(z, -1)).sum(-1),
}
REFERENCE |= {"mlp": REFERENCE["softmax"], "mlp_logistic": REFERENCE["logistic"]}
every = pytest.mark.parametrize("name", LEARNERS)
biases = pytest.mark.parametrize("bias", [False, True], ids=["plain", "bias"])
