"""Example selection (IMT): the teacher chooses which of M random examples is shown."""

from __future__ import annotations

from teach_gym.envs.base import TeachEnv
from teach_gym.envs.vector import TeachVectorEnv


class SelectEnv(TeachEnv):
    """Example selection (IMT): the teacher chooses which of M random examples is shown.

    ## Description
    At each step M examples are drawn at random from the pool, and the teacher chooses the one the learner is shown,
    with its true label (Liu et al., "Iterative Machine Teaching", 2017, on an offered subset).

    ## Action space
    Discrete: the index of the example. There is no continuous flavour.

    ## Observation space
    The learner's parameters, the target's difference to them, the M examples and their labels, and the share of the
    budget that remains.
    """


SelectVectorEnv = TeachVectorEnv
"""The vector environment of ``SelectEnv``: the same class for all media, since the task decides the medium."""
