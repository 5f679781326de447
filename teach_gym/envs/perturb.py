"""Feature perturbation teaching (DHT): the teacher moves a random example and keeps its label."""

from __future__ import annotations

from teach_gym.envs.base import TeachEnv
from teach_gym.envs.vector import TeachVectorEnv


class PerturbEnv(TeachEnv):
    """Feature perturbation teaching (DHT): the teacher moves a random example and keeps its label.

    ## Description
    At each step an example is drawn at random from the pool, and the teacher adds an offset to its features: a data
    transformation in a neighbourhood of the example (DHT, sections 3.3.1 and 4.2).

    ## Action space
    Discrete: no offset, or an offset of length epsilon: in eight compass directions in the plane, otherwise in both
    directions along the leading principal axes. Continuous: any offset in the epsilon ball, or any x in the data's
    bounding box.

    ## Observation space
    The learner's parameters, their difference from the target, the example and its label, and the share of the budget
    that remains.
    """


PerturbVectorEnv = TeachVectorEnv
"""The vector environment of ``PerturbEnv``: the same class for all media, since the task determines the medium."""
