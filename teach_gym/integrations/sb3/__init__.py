"""Stable-Baselines3: a ``VecEnv`` around the native vector environment, policies as teachers and as files."""

from __future__ import annotations

try:
    import stable_baselines3 as _stable_baselines3  # noqa: F401  # the message below holds for every module here
except ImportError as error:
    raise ImportError("teach_gym.sb3 needs Stable-Baselines3 and torch: pip install 'teach_gym[agents]'") from error

from teach_gym.integrations.sb3.export import save_policy
from teach_gym.integrations.sb3.policies import PolicyTeacher
from teach_gym.integrations.sb3.start import OracleStart
from teach_gym.integrations.sb3.vec_env import make_vec_env

__all__ = ["OracleStart", "PolicyTeacher", "make_vec_env", "save_policy"]
