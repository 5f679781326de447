"""The settings of performative teaching (DHT 4.2)."""

from __future__ import annotations

from dataclasses import dataclass

from teach_gym.errors import lookup_name, number, positive, shown
from teach_gym.neural.regions import NEIGHBOURHOODS

POLICIES = dict.fromkeys(("none", "random", "greedy"))
OBJECTIVES = dict.fromkeys(("sample", "batch", "unrolled"))


@dataclass(frozen=True)
class Teaching:
    """How features are taught.

    Args:
        policy: ``greedy`` (Algorithm 1), ``random`` (a uniform point of the same neighbourhood) or ``none``.
        target_steps: n_w, gradient steps of the head that estimate w*.
        target_rate: step size of these (None: the learning rate).
        feature_steps: m, normalised gradient steps on Eq. 9.
        feature_step: length of such a step in units of ||x|| (None: 2.5 epsilon / feature_steps; the paper does
            not specify it).
        epsilon: size of the neighbourhood.
        neighbourhood: ``sphere`` (the paper's), ``l2`` or ``linf``; see ``teach_gym.neural.regions.NEIGHBOURHOODS``.
        objective: Eq. 9 with the gradient of each ``sample`` (as it is written) or with the mean gradient of the
            ``batch``, which the step actually takes; ``unrolled``: the squared distance to w* after
            ``unroll_steps`` steps of the head on the taught mini-batch (DHT 3.3: greedy is one step).
        unroll_steps: v, for ``unrolled``.
        accumulate_encoder_gradient: add the gradients that reach the encoder in the ``target_steps`` steps to that of
            the update, as in a training loop that does not clear them in between.
        encoder_scale: factor on the encoder's gradient, a control: with ``policy="none"`` and ``target_steps + 1`` it
            has about the same effect on plain training as the accumulation.
        compiled: run the feature steps through ``torch.compile`` (needs a C++ compiler on the CPU; the first step of
            each batch shape waits for compilation). Takes less than half the time; values differ by rounding.

    Raises:
        ValueError: an unknown name or a value out of range.
        TypeError: a value of the wrong type.
    """

    policy: str = "greedy"
    target_steps: int = 5
    target_rate: float | None = None
    feature_steps: int = 15
    feature_step: float | None = None
    epsilon: float = 0.1
    neighbourhood: str = "sphere"
    objective: str = "sample"
    unroll_steps: int = 5
    accumulate_encoder_gradient: bool = False
    encoder_scale: float = 1.0
    compiled: bool = False

    def __post_init__(self) -> None:
        lookup_name("policy", self.policy, POLICIES)
        lookup_name("objective", self.objective, OBJECTIVES)
        region = lookup_name("neighbourhood", self.neighbourhood, NEIGHBOURHOODS)
        for name in ("target_steps", "feature_steps", "unroll_steps"):
            positive(name, getattr(self, name), integer=True)
        for name in ("target_rate", "feature_step"):
            if getattr(self, name) is not None:
                positive(name, getattr(self, name))
        number("encoder_scale", self.encoder_scale)
        positive("epsilon", self.epsilon)
        if self.epsilon > region.largest:
            raise ValueError(
                f"epsilon must be <= {region.largest} for {self.neighbourhood!r}, got {shown(self.epsilon)}"
            )
        for name in ("accumulate_encoder_gradient", "compiled"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be a bool, got {shown(getattr(self, name))}")
        if self.compiled and self.objective == "unrolled":
            raise ValueError("objective 'unrolled' is not compiled: use compiled=False")
        if self.accumulate_encoder_gradient and self.policy != "greedy":
            raise ValueError(f"accumulate_encoder_gradient needs policy='greedy', got {shown(self.policy)}")


PLAIN, GREEDY = Teaching(policy="none"), Teaching()
