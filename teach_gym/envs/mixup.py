"""Mixup teaching (DHT Eq. 7): the teacher mixes two random examples."""

from __future__ import annotations

from teach_gym.envs.base import TeachEnv
from teach_gym.envs.vector import TeachVectorEnv


class MixupEnv(TeachEnv):
    """Mixup teaching (DHT Eq. 7): the teacher mixes two random examples.

    ## Description
    At each step two examples are drawn at random from the pool. The learner is shown c x1 + (1 - c) x2 with the label
    c y1 + (1 - c) y2, and the teacher chooses the Mixup coefficient c (DHT, section 4.1).

    ## Action space
    Discrete: ``n`` coefficients, evenly spaced from 0 to 1. Continuous: any coefficient in [0, 1].

    ## Observation space
    The learner's parameters, their difference from the target, both examples and their labels, and the share of the
    budget that remains.
    """


MixupVectorEnv = TeachVectorEnv
"""The vector environment of ``MixupEnv``: the same class for all media, since the task determines the medium."""
