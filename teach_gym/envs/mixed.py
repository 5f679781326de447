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
    Discrete: the pairs (source, label action), the label actions of one source being consecutive. There is no
    continuous flavour.

    ## Observation space
    The learner's parameters, the target's difference to them, the M examples and their labels, and the share of the
    budget that remains.

    ## Rewards
    By default ``progress``: the per cent of the initial distance to the target removed by the step. ``distance`` gives
    LAST's -||w - w*||, ``decrease`` the raw decrease of the distance.

    ## Starting state
    A learner drawn at random (``init``, ``init_scale``) and the pool rows of the whole episode.

    ## Episode end
    Terminated when the distance falls below ``tolerance`` or the budget is spent; never truncated by itself.

    ## Arguments
    Any field of ``teach_gym.task.TaskSpec`` can be given to ``gym.make``.
    """


class MixedVectorEnv(TeachVectorEnv):
    """The vector environment of ``MixedEnv``."""
