"""Label synthesis teaching (LAST): the teacher sets the label of a random example."""

from __future__ import annotations

from teach_gym.envs.base import TeachEnv
from teach_gym.envs.vector import TeachVectorEnv


class LabelEnv(TeachEnv):
    """Label synthesis teaching (LAST): the teacher sets the label of a random example.

    ## Description
    At each step an example is drawn at random from the pool, and the teacher chooses the label that the learner
    is shown with it. The label need not be the true one: the learner's gradient is linear in it, so the label controls
    how far, and in which direction, the learner moves along the example (LAST, section 3.2).

    ## Action space
    Discrete: for two classes ``n`` labels, evenly spaced from 0 to 1 (LAST section 4); for more classes the weight mu
    of the ground truth in mu y + (1 - mu) p; for regression the ground truth, or the learner's prediction plus an
    offset in [-r, r]. Continuous: any label of the same constraint set.

    ## Observation space
    The learner's parameters, their difference from the target, the example and its true label, and the share of the
    budget that remains.
    """


LabelVectorEnv = TeachVectorEnv
"""The vector environment of ``LabelEnv``: the same class for all media, since the task determines the medium."""
