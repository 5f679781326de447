"""Performative teaching (DHT 4.2): the teacher moves a random example's features at the learner's last layer."""

from __future__ import annotations

from teach_gym.envs.base import TeachEnv
from teach_gym.envs.vector import TeachVectorEnv


class PerformativeEnv(TeachEnv):
    """Performative teaching (DHT 4.2): the teacher moves a random example's features at the learner's last layer.

    ## Description
    At each step an example is drawn at random from the pool. The learner has a hidden layer, and the teacher rotates
    the example's hidden units on their sphere; the distance between the directions is at most epsilon (as in DHT
    Eq. 9), and the label is unchanged. The learner then updates all weights: the gradient of the loss at the moved
    hidden units flows back into the hidden layer.

    ## Action space
    Discrete: no offset, or the largest rotation that raises or lowers one hidden unit. Continuous: a point of the unit
    ball, whose part orthogonal to the hidden units gives the direction and size of the rotation.

    ## Observation space
    The learner's parameters, their difference from the target, the example (followed by the zero offsets of the hidden
    units) and its label, and the share of the budget that remains. The features in `info` end with the offsets chosen.
    """


PerformativeVectorEnv = TeachVectorEnv
"""The vector environment of ``PerformativeEnv``: the same class for all media, since the task determines the medium."""
