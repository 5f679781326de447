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


class SelectVectorEnv(TeachVectorEnv):
    """The vector environment of ``SelectEnv``."""
