"""Performative teaching (DHT 4.2): the teacher moves what the learner's last layer sees of a random example."""

from __future__ import annotations

from teach_gym.envs.base import TeachEnv
from teach_gym.envs.vector import TeachVectorEnv


class PerformativeEnv(TeachEnv):
    """Performative teaching (DHT 4.2): the teacher moves what the learner's last layer sees of a random example.

    ## Description
    At each step an example is drawn at random from the pool. The learner has a hidden layer, and the teacher turns the
    example's hidden units on their sphere, by a distance of directions of at most epsilon (as in DHT Eq. 9);
    the label stays. The learner then takes its step on all weights, the gradient of the last layer's loss at the moved
    hidden units flowing back into the hidden layer.

    ## Action space
    Discrete: no offset, or the largest turn towards more or less of one hidden unit. Continuous: a point of the unit
    ball, whose part across the hidden units gives the turn's direction and size.

    ## Observation space
    The learner's parameters, the target's difference to them, the example (followed by the zero offsets of the hidden
    units) and its label, and the share of the budget that remains. The features in `info` end with the offsets given.
    """


PerformativeVectorEnv = TeachVectorEnv
"""The vector environment of ``PerformativeEnv``: the same class for all media, since the task decides the medium."""
