"""Mixed teaching (LAST 3.5): the teacher chooses one of M random examples and sets its label."""

from __future__ import annotations

from teach_gym.envs.base import TeachEnv
from teach_gym.envs.vector import TeachVectorEnv


class MixedEnv(TeachEnv):
    """Mixed teaching (LAST 3.5): the teacher chooses one of M random examples and sets its label.

    ## Description
    At each step M examples are drawn at random from the pool; the teacher chooses one and the label that the learner
    is shown with it.

    ## Action space
    Discrete: the pairs (source, label action); the label actions of one source are consecutive. There is no
    continuous flavour.

    ## Observation space
    The learner's parameters, their difference from the target, the M examples and their labels, and the share of the
    budget that remains.
    """


MixedVectorEnv = TeachVectorEnv
"""The vector environment of ``MixedEnv``: the same class for all media, since the task determines the medium."""
