"""The bridge to Stable-Baselines3: ``from teach_gym.sb3 import make_vec_env, PolicyTeacher, save_policy``.

``make_vec_env`` makes a registered task's environment for an SB3 algorithm, ``PolicyTeacher`` turns a model into a
teacher, and ``save_policy`` writes a model's policy to a file that ``teach_gym.load_teacher`` reads without SB3. The
callback ``OracleStart`` makes a training begin as an oracle.
"""

from teach_gym.integrations.sb3 import OracleStart, PolicyTeacher, make_vec_env, save_policy

__all__ = ["OracleStart", "PolicyTeacher", "make_vec_env", "save_policy"]
