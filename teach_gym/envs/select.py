"""Example selection (IMT): the teacher chooses which of M random examples is shown."""

from __future__ import annotations

from teach_gym.envs.base import TeachEnv
from teach_gym.envs.vector import TeachVectorEnv


class SelectEnv(TeachEnv):
    """Example selection (IMT): the teacher chooses which of M random examples is shown.

    ## Description
    At each step M examples are drawn at random from the pool, and the teacher chooses the one that the learner is
    shown with its true label (Liu et al., "Iterative Machine Teaching", 2017, applied to an offered subset).

    ## Action space
    Discrete: the index of the example. There is no continuous flavour.

    ## Observation space
    The learner's parameters, their difference from the target, the M examples and their labels, and the share of the
    budget that remains.
    """


SelectVectorEnv = TeachVectorEnv
"""The vector environment of ``SelectEnv``: the same class for all media, since the task determines the medium."""
