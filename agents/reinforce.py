"""Policy gradient on a teaching task: the simplest learned teacher of the papers, in one file.

    python agents/reinforce.py --task LabelMoons
    python agents/reinforce.py --task LabelMomentum:budget=40 --gamma 0.98 --out runs/momentum --resume

The teacher is an MLP that sees the observation and gives a distribution over the discrete actions. An update teaches
``num_envs`` learners for whole episodes, all at once, and takes one Adam step along

    grad J = mean over episodes of  sum_t grad log pi(a_t | s_t) * weight_t

What the papers take as the weight, and the arguments that choose it (with ``--no-normalize-weights --entropy 0``):

* LAST 3.3: R = sum_t gamma^t r_t of the whole episode, gamma < 1, r_t = -||w - w*||, no baseline:
  ``--credit episode --baseline none --task LabelMoons:reward=distance``.
* BLAST (LAST 4) and DHT 4.1: one reward at the end of the episode, not discounted:
  ``--terminal --credit episode --gamma 1 --baseline none`` (here the per cent of the distance removed).

The defaults have the same goal and much less noise: the rewards to go from t on instead of R (an action does not change
what was earned before it), less a baseline. With ``to-go`` the factor gamma^t in front of a step's weight is left out,
as is common: gamma < 1 then means looking less far ahead, at every step alike.

Every update has seeds of its own, made from (seed, update), so a run killed at any moment and started again with
``--resume`` gives the same numbers to the last bit on the CPU.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import gymnasium as gym
import numpy as np
import torch
import tyro
from torch import nn
from tqdm import tqdm

from teach_gym.benchmark.evaluation import Evaluation, write_score
from teach_gym.benchmark.suite import task_spec
from teach_gym.calls import parse_call
from teach_gym.core.spec import TaskSpec
from teach_gym.envs.vector import TeachVectorEnv
from teach_gym.errors import positive
from teach_gym.integrations.sb3.export import network_of
from teach_gym.records.runlog import RunLog
from teach_gym.registration import env_id
from teach_gym.teachers.agent import Agent, save_agent
from teach_gym.teachers.perceptron import Network, Normalization


@dataclass
class Args:
    """Policy gradient (REINFORCE) on a teaching task."""

    task: str = "LabelMoons"
    """A registered task, with changes if wanted: LabelMoons:budget=40,learning_rate=0.5."""
    seed: int = 0
    """Decides everything that is random."""
    updates: int = 600
    """Steps of the optimizer, one for each batch of episodes."""
    num_envs: int = 256
    """Episodes per update."""
    sizes: tuple[int, ...] = (64, 64)
    """Units of the hidden layers (tanh) of the teacher, and of the value network."""
    learning_rate: float = 1e-2
    """Adam's step size."""
    anneal: bool = True
    """Let the step size fall linearly to zero."""
    gamma: float = 0.8
    """Discount per teaching step, in [0, 1]."""
    credit: Literal["to-go", "episode"] = "to-go"
    """Weigh an action by the rewards from it on, or by those of the whole episode."""
    terminal: bool = False
    """One reward, at the end: the sum of the episode's (by default the per cent of the initial distance removed)."""
    baseline: Literal["none", "mean", "value"] = "value"
    """Subtracted from the weights: the mean over the episodes at each step; or that plus a network's prediction."""
    normalize_weights: bool = True
    """Divide the weights by their root mean square over the batch."""
    normalize_observations: bool = True
    """Shift and scale observations by their running mean and deviation."""
    entropy: float = 0.01
    """Coefficient of the entropy bonus."""
    max_grad_norm: float = 1.0
    """Largest norm of the gradient, which is per teaching step."""
    eval_every: int = 100
    """Updates between evaluations."""
    eval_episodes: int = 200
    """Evaluation seeds 1000, 1001, ..., the same for the agent, the passive teacher and the greedy oracle."""
    checkpoint_every: int = 50
    """Updates between checkpoints."""
    out: Path | None = None
    """The run's folder; runs/reinforce/<task>-<seed> if none is given."""
    resume: bool = False
    """Go on from the last checkpoint in the run's folder."""
    device: str = "cpu"
    """Where the networks are; the environments are always on the CPU."""
    threads: int = 1
    """Threads of torch; the networks are too small for more."""
    tensorboard: bool = False
    """Also write TensorBoard files."""
    wandb: Literal["disabled", "offline", "online"] = "disabled"
    """Also log to Weights & Biases."""
    progress: bool = True
    """Show a progress bar."""

    def __post_init__(self) -> None:
        for name in ("updates", "num_envs", "eval_every", "eval_episodes", "checkpoint_every", "threads"):
            positive(name, getattr(self, name), integer=True)
        positive("learning_rate", self.learning_rate)
        positive("max_grad_norm", self.max_grad_norm)
        if not 0 <= self.gamma <= 1:
            raise ValueError(f"gamma must lie in [0, 1], got {self.gamma!r}")
        if self.seed < 0 or self.entropy < 0:
            raise ValueError(f"seed and entropy must be >= 0, got {self.seed!r} and {self.entropy!r}")


APART = ("out", "resume", "tensorboard", "wandb", "progress")
"""The arguments that do not change a run's result, so that a resumed run may have others."""


CLIP, EPSILON = 10.0, 1e-8
"""How observations are normalised, as SB3 does it."""


class Policy(nn.Module):
    """The teacher: observations (B, O) -> logits (B, A), with the statistics that observations are scaled by."""

    def __init__(self, n_inputs: int, n_actions: int, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.logits, self.value = mlp(n_inputs, sizes, n_actions), mlp(n_inputs, sizes, 1)
        for name, start in (("mean", 0.0), ("var", 1.0)):
            self.register_buffer(name, torch.full((n_inputs,), start, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def scale(self, observation: torch.Tensor) -> torch.Tensor:
        """Shift, scale and clip observations: (..., O) -> (..., O) float32."""
        return ((observation - self.mean) / (self.var + EPSILON).sqrt()).clamp(-CLIP, CLIP).float()

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """The logits of the actions: (..., O) -> (..., A)."""
        return self.logits(self.scale(observation))

    def network(self) -> Network:
        """What it does without sampling."""
        return network_of(self.logits, Normalization(self.mean.tolist(), self.var.tolist(), CLIP, EPSILON))

    def see(self, observations: torch.Tensor) -> None:
        """Add observations (n, O) to the running statistics."""
        rows = observations.double()
        n, mean, var = len(rows), rows.mean(0), rows.var(0, correction=0)
        total, shift = self.count + n, mean - self.mean
        self.var.copy_((self.var * self.count + var * n + shift**2 * self.count * n / total) / total)
        self.mean += shift * (n / total)
        self.count += n


def mlp(n_inputs: int, sizes: tuple[int, ...], n_outputs: int) -> nn.Sequential:
    """Hidden layers with tanh, and a last layer with small weights: all actions start about equally likely."""
    layers: list[nn.Module] = []
    for size in sizes:
        layers += [nn.Linear(n_inputs, size), nn.Tanh()]
        n_inputs = size
    last = nn.Linear(n_inputs, n_outputs)
    with torch.no_grad():
        last.weight *= 0.01
    return nn.Sequential(*layers, last)


class Batch(NamedTuple):
    """B whole episodes of up to H steps."""

    observations: torch.Tensor  # (H, B, O)
    actions: torch.Tensor  # (H, B)
    rewards: torch.Tensor  # (H, B), zero after an episode's end
    mask: torch.Tensor  # (H, B), 1 for a step of an episode, 0 after its end


def roll_out(env: TeachVectorEnv, policy: Policy, rng: np.random.SeedSequence, terminal: bool, device: str) -> Batch:
    """Teach one episode in every sub-environment, with actions sampled from the policy.

    Learners and actions follow from ``rng``. The environment goes on with other episodes after early ends; those are
    masked. ``terminal`` is the argument of that name.
    """
    words = [int(word) >> 1 for word in rng.generate_state(env.num_envs + 1, np.uint64)]
    generator = torch.Generator().manual_seed(words.pop())
    observation, _ = env.reset(seed=words)
    alive, steps = np.ones(env.num_envs, dtype=np.bool_), []
    while len(steps) < env.task.spec.budget and alive.any():
        seen = torch.tensor(observation)
        with torch.no_grad():
            probabilities = torch.softmax(policy(seen.to(device)), -1).cpu()
        actions = torch.multinomial(probabilities, 1, generator=generator)[:, 0]
        observation, reward, over, _, _ = env.step(actions.numpy())
        steps.append((seen, actions, torch.tensor(np.where(alive, reward, 0.0)), torch.tensor(alive).float()))
        alive &= ~over
    batch = Batch(*(torch.stack(parts).to(device) for parts in zip(*steps, strict=True)))
    if terminal:
        ends = batch.mask - torch.cat([batch.mask[1:], torch.zeros_like(batch.mask[:1])])  # 1 at the last step
        batch = batch._replace(rewards=ends * batch.rewards.sum(0))
    return batch


def returns(rewards: torch.Tensor, gamma: float, credit: str) -> torch.Tensor:
    """What an action is held to have earned: (H, B) -> (H, B).

    ``episode``: sum_k gamma^k r_k at every step (LAST 3.3, but for a constant factor gamma); ``to-go``:
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


def batch_loss(policy: Policy, batch: Batch, args: Args) -> tuple[torch.Tensor, dict[str, float]]:
    """The loss of a batch of episodes per teaching step, and what to log of it."""
    mask = batch.mask

    def rms(values: torch.Tensor) -> torch.Tensor:
        return ((values.detach() ** 2 * mask).sum() / mask.sum()).sqrt() + 1e-8

    weights = returns(batch.rewards, args.gamma, args.credit)
    scaled = policy.scale(batch.observations)
    critic = torch.zeros(())
    if args.baseline != "none":
        weights = weights - (weights * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)
    if args.baseline == "value":  # the network predicts what is left, in units of its root mean square
        unit, predicted = rms(weights), policy.value(scaled)[..., 0]
        critic = ((predicted - weights / unit) ** 2 * mask).sum() / mask.sum()
        weights = weights - unit * predicted
    if args.normalize_weights:
        weights = weights / rms(weights)
    log_policy = torch.log_softmax(policy.logits(scaled), -1)
    log_probs = log_policy.gather(-1, batch.actions[..., None])[..., 0]
    entropy = -((log_policy.exp() * log_policy).sum(-1) * mask).sum() / mask.sum()
    steps = mask.sum() / mask.shape[1]  # a constant unless episodes end early
    loss = policy_loss(log_probs, weights, mask) / steps - args.entropy * entropy + critic
    total = batch.rewards.sum(0).mean()
    return loss, {"return": total.item(), "entropy": entropy.item(), "value_loss": critic.item()}


def learn(
    env: TeachVectorEnv, policy: Policy, optimizer: torch.optim.Adam, update: int, args: Args
) -> dict[str, float]:
    """One update: teach a batch of episodes and step along the policy gradient. Returns what to log."""
    batch = roll_out(env, policy, np.random.SeedSequence([args.seed, update]), args.terminal, args.device)
    loss, scalars = batch_loss(policy, batch, args)
    optimizer.zero_grad()
    loss.backward()
    norm = nn.utils.clip_grad_norm_(policy.logits.parameters(), args.max_grad_norm, error_if_nonfinite=True)
    optimizer.step()
    if args.normalize_observations:
        policy.see(batch.observations[batch.mask > 0])
    return {**scalars, "grad_norm": float(norm)}


def train(args: Args) -> dict[str, float]:
    """Train, or go on training, and return the final score (see ``Evaluation``), also written to ``score.json``.

    Raises:
        ValueError: unknown task, continuous actions, or (resuming) a folder with another run.
        FileExistsError: the folder holds a run and ``resume`` is not set.
    """
    name, spec_json = task_spec(args.task)
    spec, (short, changes) = TaskSpec.from_json(spec_json), parse_call(name, "task")
    if spec.continuous:
        raise ValueError(f"reinforce needs discrete actions; task {args.task!r} has continuous=True")
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    env = gym.make_vec(env_id(short), args.num_envs, gym.VectorizeMode.VECTOR_ENTRY_POINT, **changes).unwrapped
    policy = Policy(env.single_observation_space.shape[0], env.task.n_actions, args.sizes).to(args.device)
    optimizer = torch.optim.Adam(policy.parameters(), lr=args.learning_rate)
    config = {key: value for key, value in dataclasses.asdict(args).items() if key not in APART} | {"task": name}
    out = args.out or Path("runs/reinforce") / f"{name.replace(':', '-')}-{args.seed}"
    evaluation = Evaluation(env.task, args.eval_episodes)
    done, seconds = 0, 0.0
    options = {"resume": args.resume, "tensorboard": args.tensorboard, "wandb": args.wandb}
    with RunLog(out, config, spec=spec, **options) as log:
        if log.restored is not None:
            policy.load_state_dict(log.restored.tensors["policy"])
            optimizer.load_state_dict(log.restored.tensors["optimizer"])
            done, seconds = log.restored.step, log.restored.state["seconds"]
        if args.resume:
            found = f"resuming after update {done} of {args.updates}" if done else "no checkpoint to resume from"
            print(f"{out}: {found}", file=sys.stderr)
        quiet = None if args.progress else True  # None: only on a terminal
        bar = tqdm(total=args.updates, initial=done, disable=quiet, unit="update", dynamic_ncols=True)
        for update in range(done + 1, args.updates + 1):
            began, last = time.process_time(), update == args.updates
            if args.anneal:
                optimizer.param_groups[0]["lr"] = args.learning_rate * (1 - (update - 1) / args.updates)
            scalars = learn(env, policy, optimizer, update, args)
            seconds += time.process_time() - began
            if update % args.eval_every == 0 or last:
                scalars |= evaluation(Agent(network=policy.network(), spec=spec))
                bar.write(f"update {update}: score {scalars['score']:.3f}", file=sys.stderr)
            log.log(update, **scalars)
            if update % args.checkpoint_every == 0 or last:
                tensors = {"policy": policy.state_dict(), "optimizer": optimizer.state_dict()}
                log.checkpoint(update, tensors, seconds=seconds)
            bar.set_postfix_str(f"return {scalars['return']:.1f}", refresh=False)
            bar.update()
        bar.close()
    result = evaluation(Agent(network=policy.network(), spec=spec))
    save_agent(out / "policy.safetensors", policy.network(), spec, algorithm="reinforce", settings=config, **result)
    steps = args.updates * args.num_envs * spec.budget
    about = {"task": name, **result, "episodes": args.eval_episodes, "steps": steps, "seconds": seconds}
    write_score(out / "score.json", about)
    return result


def main() -> int:
    """Train by the command line's arguments; the exit code is 2 after an error of the user's."""
    try:
        train(tyro.cli(Args))
    except (ValueError, TypeError, OSError, ImportError) as error:
        print(f"reinforce: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
