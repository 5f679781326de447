"""Feature perturbation teaching (DHT): the teacher moves a random example, the label stays."""

from __future__ import annotations

from teach_gym.envs.base import TeachEnv
from teach_gym.envs.vector import TeachVectorEnv


class PerturbEnv(TeachEnv):
    """Feature perturbation teaching (DHT): the teacher moves a random example, the label stays.

    ## Description
    At each step an example is drawn at random from the pool, and the teacher adds an offset to its features: a data
    transformation in a neighbourhood of the example (DHT, sections 3.3.1 and 4.2).

    ## Action space
    Discrete: no offset, or one of length epsilon: eight compass directions in the plane, both senses of the leading
    principal axes otherwise. Continuous: any offset in the epsilon ball, or any x in the data's bounding box.

    ## Observation space
    The learner's parameters, the target's difference to them, the example and its label, and the share of the budget
    that remains.
    """


PerturbVectorEnv = TeachVectorEnv
"""The vector environment of ``PerturbEnv``: the same class for all media, since the task decides the medium."""
