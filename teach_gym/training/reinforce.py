"""REINFORCE on teaching tasks: the policy gradient with which the papers train their teachers.

The teacher is a ``Policy``: it sees the observation and gives a distribution over the discrete actions. An update
teaches ``n_envs`` learners for whole episodes, all at once, and takes one Adam step along

    grad J = mean over episodes of  sum_t grad log pi(a_t | s_t) * weight_t

The papers take these weights (with ``normalize_weights=False`` and ``entropy=0``):

* LAST 3.3: R = sum_t gamma^t r_t of the whole episode, gamma < 1, r_t = -||w - w*||, no baseline:
  ``credit="episode"``, ``baseline="none"`` on a task with ``reward="distance"``.
* BLAST (LAST 4) and DHT 4.1: one reward at the end of the episode, not discounted:
  ``terminal=True``, ``credit="episode"``, ``gamma=1``, ``baseline="none"``.

The defaults have the same goal and much less noise: the rewards to go from t on instead of R (an action does not change
earlier rewards), minus a baseline. With ``to-go`` the factor gamma^t of a step's weight is omitted,
as is common: gamma < 1 then shortens the horizon equally at every step.

Every update has its own random streams, derived from (seed, update), so a training that is resumed from a checkpoint
gives the same numbers, to the last bit on the CPU, as one that was never interrupted.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import gymnasium as gym
import numpy as np

try:
    import torch
    from torch import nn
except ImportError as error:
    raise ImportError("training with reinforce needs torch: pip install 'teach_gym[torch]'") from error

from teach_gym.calls import parse_call
from teach_gym.envs.autoreset import AutoresetVectorEnv
from teach_gym.errors import lookup_name, shown, within
from teach_gym.records.runlog import RunLog
from teach_gym.registration import env_id
from teach_gym.teachers.perceptron import Network
from teach_gym.training.policy import Batch, Policy, roll_out

CHOICES = {"credit": ("to-go", "episode"), "baseline": ("none", "mean", "value"), "begin": ("random", "oracle")}
RANGES = {
    "n_envs": f"[1, {2**31 - 1}]",
    "updates": f"[1, {2**31 - 1}]",
    "learning_rate": "(0, inf)",
    "gamma": "[0, 1]",
    "entropy": "[0, inf)",
    "max_grad_norm": "(0, inf)",
}


@dataclass(frozen=True)
class Reinforce:
    """Settings of REINFORCE.

    Attributes:
        n_envs: episodes per update, all taught at once.
        updates: steps of the optimizer, one for each batch of episodes.
        sizes: units of the hidden layers (tanh) of the policy, and of the value network.
        learning_rate: Adam's step size.
        anneal: let the step size fall linearly to zero.
        gamma: discount per teaching step.
        credit: weigh an action by the rewards ``to-go`` from it on, or by those of the whole ``episode``.
        terminal: one reward, at the end: the sum of the episode's.
        baseline: what is subtracted from the weights: ``none``; the ``mean`` over the episodes at each step; or that
            plus a network's prediction, ``value``.
        normalize_weights: divide the weights by their root mean square over the batch.
        normalize_observations: shift and scale observations by their running mean and deviation.
        entropy: coefficient of the entropy bonus.
        max_grad_norm: largest norm of the gradient, which is per teaching step.
        begin: with ``random`` weights, or as the far-sighted ``oracle`` (``teach_gym.integrations.start``; needs
            ``observation="farsighted"`` or ``"black_box_trial"``, layers as wide as there are actions and normalised
            observations).

    Raises:
        ValueError: a value out of range; the message names it, the value and what is allowed.
        TypeError: a value of the wrong type.
    """

    n_envs: int = 256
    updates: int = 600
    sizes: tuple[int, ...] = (64, 64)
    learning_rate: float = 1e-2
    anneal: bool = True
    gamma: float = 0.8
    credit: str = "to-go"
    terminal: bool = False
    baseline: str = "value"
    normalize_weights: bool = True
    normalize_observations: bool = True
    entropy: float = 0.01
    max_grad_norm: float = 1.0
    begin: str = "random"

    def __post_init__(self) -> None:
        for part in fields(self):
            value = getattr(self, part.name)
            if part.name in RANGES:
                within(part.name, value, RANGES[part.name], integer=isinstance(part.default, int))
            elif part.name in CHOICES:
                lookup_name(part.name, value, dict.fromkeys(CHOICES[part.name]))
            elif isinstance(part.default, bool) and not isinstance(value, bool):
                raise TypeError(f"{part.name} must be True or False, got {shown(value)}")
        if not isinstance(self.sizes, tuple | list):
            raise TypeError(f"sizes must be a list of numbers of units, got {shown(self.sizes)}")
        for size in self.sizes:
            within("sizes", size, "[1, 16384]", integer=True)
        if self.begin == "oracle" and not self.normalize_observations:
            raise ValueError("begin='oracle' needs normalize_observations=True")


def returns(rewards: torch.Tensor, gamma: float, credit: str) -> torch.Tensor:
    """The credit of each action: (H, B) -> (H, B).

    ``episode``: sum_k gamma^k r_k at every step (LAST 3.3, up to a constant factor gamma); ``to-go``:
    sum_{k >= t} gamma^(k - t) r_k at step t.
    """
    found, later = torch.zeros_like(rewards), torch.zeros_like(rewards[0])
    for t in reversed(range(len(rewards))):
        later = rewards[t] + gamma * later
        found[t] = later
    return found if credit == "to-go" else later.expand_as(rewards).clone()


def policy_loss(log_probs: torch.Tensor, weights: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Minus the mean over episodes of sum_t log pi(a_t | s_t) weight_t, all (H, B), the weights held constant.

    Its gradient is minus the policy gradient.
    """
    return -(log_probs * weights.detach() * mask).sum(0).mean()


def batch_loss(policy: Policy, batch: Batch, settings: Reinforce) -> tuple[torch.Tensor, dict[str, float]]:
    """The loss of a batch of episodes per teaching step, and the values to log."""
    mask = batch.mask

    def rms(values: torch.Tensor) -> torch.Tensor:
        return ((values.detach() ** 2 * mask).sum() / mask.sum()).sqrt() + 1e-8

    weights = returns(batch.rewards, settings.gamma, settings.credit)
    scaled = policy.scale(batch.observations)
    critic = torch.zeros(())
    if settings.baseline != "none":
        weights = weights - (weights * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)
    if settings.baseline == "value":  # the network predicts the remainder, in units of its root mean square
        unit, predicted = rms(weights), policy.value(scaled)[..., 0]
        critic = ((predicted - weights / unit) ** 2 * mask).sum() / mask.sum()
        weights = weights - unit * predicted
    if settings.normalize_weights:
        weights = weights / rms(weights)
    log_policy = torch.log_softmax(policy.logits(scaled), -1)
    log_probs = log_policy.gather(-1, batch.actions[..., None])[..., 0]
    entropy = -((log_policy.exp() * log_policy).sum(-1) * mask).sum() / mask.sum()
    steps = mask.sum() / mask.shape[1]  # a constant unless episodes end early
    loss = policy_loss(log_probs, weights, mask) / steps - settings.entropy * entropy + critic
    total = batch.rewards.sum(0).mean()
    return loss, {"return": total.item(), "entropy": entropy.item(), "value_loss": critic.item()}


def reinforce_settings(values: Mapping[str, Any], budget: int) -> Reinforce:
    """The settings for the given hyper-parameters.

    Args:
        values: fields of ``Reinforce``, with ``n_timesteps``, teaching steps that are rounded up to whole updates,
            instead of ``updates``; and the task's ``env_kwargs``, which are ignored.
        budget: teaching steps of an episode.

    Raises:
        ValueError: unknown name or a value out of range.
        TypeError: a value of the wrong type.
    """
    known = ("env_kwargs", "n_timesteps", *(part.name for part in fields(Reinforce) if part.name != "updates"))
    for name in values:
        lookup_name("hyper-parameter of reinforce", name, dict.fromkeys(known))
    given = {name: value for name, value in values.items() if name not in ("env_kwargs", "n_timesteps")}
    settings = Reinforce(**given)
    if "n_timesteps" not in values:
        return settings
    within("n_timesteps", values["n_timesteps"], "[1, inf)", integer=True)
    return dataclasses.replace(settings, updates=math.ceil(values["n_timesteps"] / (settings.n_envs * budget)))


class PolicyGradient:
    """A training by REINFORCE.

    Args:
        env: the learners to train on, ``settings.n_envs`` of them, with discrete actions.
        settings: the settings.
        seed: determines all randomness.
        device: the device of the networks.

    Attributes:
        update: how many updates it has taken.
    """

    def __init__(self, env: AutoresetVectorEnv, settings: Reinforce, seed: int, device: str = "cpu") -> None:
        self.env, self.settings, self.seed, self.device = env, settings, seed, device
        self.update = 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            seen, actions = env.single_observation_space, env.single_action_space
            assert seen.shape is not None and isinstance(actions, gym.spaces.Discrete)
            policy = Policy(seen.shape[0], int(actions.n), tuple(settings.sizes))
        if settings.begin == "oracle":
            policy.begin_at_oracle(self.task, seed)
        self.policy = policy.to(device)
        self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=settings.learning_rate)

    @property
    def task(self) -> Any:
        """The task to train on, as its environment built it."""
        return self.env.task

    @property
    def steps_per_update(self) -> int:
        """Teaching steps of an update; episodes that end early count in full."""
        return self.env.num_envs * self.env.horizon

    @property
    def total(self) -> int:
        """Teaching steps of the training."""
        return self.settings.updates * self.steps_per_update

    @property
    def step(self) -> int:
        """Teaching steps taken."""
        return self.update * self.steps_per_update

    def learn(self) -> dict[str, float]:
        """One update: teach a batch of episodes and step along the policy gradient. Returns what to log."""
        settings, policy = self.settings, self.policy
        if settings.anneal:
            self.optimizer.param_groups[0]["lr"] = settings.learning_rate * (1 - self.update / settings.updates)
        self.update += 1
        rng = np.random.SeedSequence([self.seed, self.update])
        batch = roll_out(self.env, policy, rng, settings.terminal, self.device)
        loss, scalars = batch_loss(policy, batch, settings)
        self.optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(policy.logits.parameters(), settings.max_grad_norm, error_if_nonfinite=True)
        self.optimizer.step()
        if settings.normalize_observations:
            policy.see(batch.observations[batch.mask > 0])
        return {**scalars, "grad_norm": float(norm)}

    def run(self, log: RunLog, every: int, pause: Callable[[], None], advance: Callable[[int], object]) -> None:
        """Train to the end; see ``teach_gym.training.program.Trainer``."""
        while self.step < self.total:
            before = self.step
            log.log(before + self.steps_per_update, **self.learn())
            advance(self.steps_per_update)
            if self.step // every > before // every and self.step < self.total:
                pause()

    def network(self) -> Network:
        """The deterministic policy."""
        found: Network = self.policy.network()
        return found

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Everything that determines how the training continues: tensors and plain numbers."""
        tensors = {"policy": self.policy.state_dict(), "optimizer": self.optimizer.state_dict()}
        return tensors, {"update": self.update}

    def restore(self, tensors: dict[str, Any], numbers: dict[str, Any]) -> str:
        """Continue from a ``state``; nothing is lost."""
        self.policy.load_state_dict(tensors["policy"])
        self.optimizer.load_state_dict(tensors["optimizer"])
        self.update = numbers["update"]
        return ""


def start(task: str, settings: Reinforce, seed: int, device: str = "cpu") -> PolicyGradient:
    """The training of a task given as text, such as ``LabelMoons:budget=40``."""
    return PolicyGradient(_made(task, settings.n_envs), settings, seed, device)


def start_steps(task: str, values: Mapping[str, Any], seed: int, device: str = "cpu") -> PolicyGradient:
    """``start`` with hyper-parameters as ``reinforce_settings`` takes them; the environment tells the budget."""
    env = _made(task, reinforce_settings(values, 1).n_envs)
    return PolicyGradient(env, reinforce_settings(values, env.horizon), seed, device)


def _made(task: str, n_envs: int) -> AutoresetVectorEnv:
    short, changes = parse_call(task, "task")
    env = gym.make_vec(env_id(short), n_envs, gym.VectorizeMode.VECTOR_ENTRY_POINT, **changes).unwrapped
    assert isinstance(env, AutoresetVectorEnv)
    return env
