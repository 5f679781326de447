"""Scores of agents that choose the coefficients of a mixup training: paired with plain training and random mixup.

The training has no target and no teaching state, so an episode is measured by the **return**, the sum of the rewards
that the agents are trained for. With D = -return in ``teach_gym.benchmark.score``, 0 is plain training (ERM) and 1 the
better of the two random mixups, ``cmixup`` and ``dmixup``. Episodes are paired: those of a seed start from the same
learner and are offered the same mini-batches, which are also those of DHT's Table 1 (``teach_gym.papers.dht_mixup``)
and of no environment. The module needs torch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from teach_gym.benchmark.score import Estimate, Paired, task_score
from teach_gym.benchmark.suite import evaluation_seeds
from teach_gym.envs.neural_mixup import coefficients
from teach_gym.neural.mixup import Trainings, mixing
from teach_gym.neural.mixup_policies import ACT, TEACH, Policy, cmixup, dmixup, erm, word
from teach_gym.neural.mixup_spec import MixupSpec, load_images
from teach_gym.teachers.mixup_agent import MixupAgent

Floats = npt.NDArray[np.float64]
MakePolicy = Callable[[Sequence[int]], Policy]
"""Makes the policy that chooses the coefficients of the trainings of some seeds."""

PLAIN = "erm"
RANDOM: dict[str, MakePolicy] = {"cmixup": cmixup, "dmixup": dmixup}
BASELINES: dict[str, MakePolicy] = {PLAIN: lambda seeds: erm, **RANDOM}
"""The methods whose score is 0 and may be 1."""
_STACK = 10
"""Trainings that run as one stack."""


class Ends(NamedTuple):
    """What the episodes of S seeds end with, (S,) each.

    Attributes:
        gain: sum of the rewards.
        steps: steps taken.
        validation_loss: loss on the validation images.
        validation_accuracy: accuracy on them, as a fraction.
        test_accuracy: accuracy on the test images, which no teacher sees.
        mixing: mean over the steps of ``teach_gym.neural.mixup.mixing``.
    """

    gain: Floats
    steps: Floats
    validation_loss: Floats
    validation_accuracy: Floats
    test_accuracy: Floats
    mixing: Floats


def ends_of(spec: MixupSpec, make: MakePolicy, seeds: Sequence[int]) -> Ends:
    """Train one learner for each of S seeds, with the coefficients that a policy chooses.

    Args:
        spec: the training.
        make: makes the policy.
        seeds: S seeds.

    Raises:
        FloatingPointError: a training diverged.
        DataNotFoundError: the images are not there.
    """
    pool, test = load_images(spec)
    parts = []
    for first in range(0, len(seeds), _STACK):
        chosen = seeds[first : first + _STACK]
        trainings, policy = Trainings(spec, pool, len(chosen)), make(chosen)
        trainings.start(range(len(chosen)), [word(seed, TEACH) for seed in chosen])
        ends, running = np.zeros((len(Ends._fields), len(chosen))), np.ones(len(chosen), dtype=np.bool_)
        while running.any():
            c = np.asarray(policy(trainings), dtype=np.float32)
            reward, over = trainings.teach(c)
            ends[:2, running] += np.stack([reward, np.ones_like(reward)])[:, running]
            ends[-1, running] += mixing(c)[running]
            ending, running = running & over, running & ~over
            if ending.any():
                last = trainings.validation_loss, trainings.accuracy, trainings.look(test)[1]
                ends[2:5, ending] = np.stack(last)[:, ending]
        ends[-1] /= ends[1]
        parts.append(ends)
    return Ends(*np.concatenate(parts, axis=-1))


def policy_of(agent: MixupAgent, sampled: bool = False) -> MakePolicy:
    """An agent as a policy: it takes its best actions or (``sampled``) draws them, with a generator for each seed."""

    def make(seeds: Sequence[int]) -> Policy:
        rngs = [np.random.default_rng(word(seed, ACT)) for seed in seeds]

        def choose(trainings: Trainings) -> Any:
            uniform = np.array([rng.random() for rng in rngs]) if sampled else None
            return coefficients(trainings.spec, agent(trainings.observation(), uniform), trainings.n)

        return choose

    return make


def score(gains: Mapping[str, Floats], gain: Floats) -> Estimate:
    """The teaching score by the return, with its 95 % bootstrap interval over seeds.

    Args:
        gains: the returns of ``BASELINES``, (S,) each.
        gain: (S,) those that are scored.
    """
    return task_score(Paired(-gains[PLAIN], -gains[best_random(gains)], -gain))


def best_random(gains: Mapping[str, Floats]) -> str:
    """The random mixup with the highest mean return."""
    return max(RANDOM, key=lambda name: float(gains[name].mean()))


class NeuralEvaluation:
    """Scores agents on evaluation episodes of one task; the baselines teach them once, when they are first needed.

    Args:
        spec: the training.
        seeds: number S of evaluation seeds, those of the benchmark, or the seeds themselves.

    Raises:
        TypeError: seeds that are no integers.
        ValueError: no seed, a negative one, one given twice, or too many.
    """

    def __init__(self, spec: MixupSpec, seeds: int | Iterable[int]) -> None:
        self.spec, self.seeds = spec, evaluation_seeds(seeds)

    @functools.cached_property
    def baselines(self) -> dict[str, Ends]:
        """What the episodes of ``BASELINES`` end with."""
        return {name: ends_of(self.spec, make, self.seeds) for name, make in BASELINES.items()}

    def __call__(self, agent: MixupAgent) -> dict[str, float]:
        """The score with its interval and the means of what episodes end with, as scalars for a training's records.

        Raises:
            DataNotFoundError: the images are not there.
            FloatingPointError: a training diverged.
        """
        ends = ends_of(self.spec, policy_of(agent), self.seeds)
        gains = {name: found.gain for name, found in self.baselines.items()}
        found = score(gains, ends.gain)
        return {
            "score": found.value,
            "score_low": found.low,
            "score_high": found.high,
            **{f"return_{name}": float(values.mean()) for name, values in gains.items()},
            "return_agent": float(ends.gain.mean()),
            **{f"{name}_agent": float(values.mean()) for name, values in ends._asdict().items() if name != "gain"},
        }
