"""Hyper-parameters of Stable-Baselines3's algorithms, in RL-Zoo's spelling, checked before a model is built."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.noise import ActionNoise, NormalActionNoise, OrnsteinUhlenbeckActionNoise

from teach_gym.errors import lookup_name, shown, within
from teach_gym.integrations.zoo import mapping

ALGORITHMS = {"a2c": A2C, "dqn": DQN, "ppo": PPO, "sac": SAC, "td3": TD3}
"""The algorithms by their names in RL-Zoo."""
NOISES = {"normal": NormalActionNoise, "ornstein-uhlenbeck": OrnsteinUhlenbeckActionNoise}


class Rule(NamedTuple):
    """The allowed values of a hyper-parameter.

    Attributes:
        interval: the interval of its numbers.
        integer: whether they are integers.
        other: further values that are allowed.
    """

    interval: str
    integer: bool = False
    other: tuple[Any, ...] = ()


_COUNT = Rule(f"[1, {2**31 - 1}]", integer=True)
_SHARE = Rule("[0, 1]")
_SIZE = Rule("(0, inf)")
_WEIGHT = Rule("[0, inf)")

RULES: dict[str, Rule] = {
    **dict.fromkeys(("n_envs", "n_timesteps", "n_steps", "n_epochs", "batch_size", "buffer_size"), _COUNT),
    **dict.fromkeys(("policy_delay", "stats_window_size", "target_update_interval", "train_freq"), _COUNT),
    **dict.fromkeys(("gradient_steps", "sde_sample_freq"), _COUNT._replace(other=(-1,))),
    "learning_starts": Rule(f"[0, {2**31 - 1}]", integer=True),
    **dict.fromkeys(("gamma", "gae_lambda"), _SHARE),
    **dict.fromkeys(("exploration_fraction", "exploration_initial_eps", "exploration_final_eps"), _SHARE),
    "tau": Rule("(0, 1]"),
    **dict.fromkeys(("learning_rate", "clip_range", "clip_range_vf", "target_kl"), _SIZE),
    **dict.fromkeys(("max_grad_norm", "rms_prop_eps", "noise_std"), _SIZE),
    **dict.fromkeys(("ent_coef", "vf_coef", "target_policy_noise", "target_noise_clip"), _WEIGHT),
    "target_entropy": Rule("(-inf, inf)", other=("auto",)),
}
"""The numbers among the hyper-parameters."""
NORMALIZE_RULES = {"gamma": _SHARE, **dict.fromkeys(("clip_obs", "clip_reward", "epsilon"), _SIZE)}
"""The numbers among the arguments of ``VecNormalize``; the others are switches."""
SCHEDULES = ("learning_rate", "clip_range", "clip_range_vf")
"""Numbers that may also be written ``lin_<number>``."""
ZOO = ("n_envs", "n_timesteps", "normalize", "env_kwargs", "noise_type", "noise_std", "callback")
"""Hyper-parameters of RL-Zoo, not of the algorithm."""
CALLBACK = "teach_gym.sb3.OracleStart"
"""The one ``callback`` that a file may name: begin as an oracle."""
OURS = ("self", "env", "seed", "device", "verbose", "tensorboard_log", "action_noise", "_init_setup_model")
CLASSES = ("rollout_buffer_class", "replay_buffer_class")
"""Arguments of an algorithm that a file cannot set."""
LARGEST_LAYER = 16_384
"""Maximum number of units of a layer."""
MAPPINGS = ("policy_kwargs", "replay_buffer_kwargs", "rollout_buffer_kwargs")


class Hyperparams(NamedTuple):
    """Checked hyper-parameters in the form an algorithm takes.

    Attributes:
        algo: the algorithm, a key of ``ALGORITHMS``.
        n_envs: number of environments.
        n_timesteps: training steps, all environments together.
        normalize: arguments of ``VecNormalize`` (None: not used).
        env_kwargs: changes of the task.
        noise: class and standard deviation of the action noise (None: none).
        arguments: arguments of the algorithm.
        at_oracle: begin as an oracle (``teach_gym.integrations.sb3.start``).
    """

    algo: str
    n_envs: int
    n_timesteps: int
    normalize: dict[str, Any] | None
    env_kwargs: dict[str, Any]
    noise: tuple[type[ActionNoise], float] | None
    arguments: dict[str, Any]
    at_oracle: bool = False

    def action_noise(self, shape: tuple[int, ...]) -> ActionNoise | None:
        """The action noise for actions of a shape."""
        if self.noise is None:
            return None
        kind, std = self.noise
        return kind(np.zeros(shape), np.full(shape, std))


def parameters(algo: str) -> dict[str, inspect.Parameter]:
    """The arguments of an algorithm that hyper-parameters may set.

    Raises:
        ValueError: unknown algorithm.
    """
    algorithm = lookup_name("algorithm", algo, ALGORITHMS)
    found = inspect.signature(algorithm).parameters
    return {name: part for name, part in found.items() if name not in (*OURS, *CLASSES)}


def sb3_hyperparams(algo: str, values: Mapping[str, Any]) -> Hyperparams:
    """Check hyper-parameters and convert them to the form an algorithm takes.

    Args:
        algo: a name in ``ALGORITHMS``.
        values: by name, as in RL-Zoo's files.

    Raises:
        ValueError: unknown algorithm or hyper-parameter, one missing, or a value out of range.
        TypeError: a value of the wrong type.
    """
    known = parameters(algo)
    for name in values:
        lookup_name(f"hyper-parameter of {algo}", name, dict.fromkeys((*ZOO, *known)))
    for name in ("n_timesteps", "policy"):
        if name not in values:
            raise ValueError(f"the hyper-parameters of {algo} lack {name!r}; they have {', '.join(values)}")
    if values["policy"] != "MlpPolicy":
        raise ValueError(f"policy must be 'MlpPolicy' (observations are vectors), got {shown(values['policy'])}")
    return Hyperparams(
        algo,
        _count("n_envs", values.get("n_envs", 1)),
        _count("n_timesteps", values["n_timesteps"]),
        _normalize(values),
        mapping("env_kwargs", values.get("env_kwargs", {})),
        _noise(values),
        {name: _argument(name, value, known[name].default) for name, value in values.items() if name in known},
        _at_oracle(values.get("callback")),
    )


def _at_oracle(callback: Any) -> bool:
    if callback not in (None, CALLBACK):
        raise ValueError(f"callback must be {CALLBACK!r} or left out, got {shown(callback)}")
    return callback is not None


def _count(name: str, value: Any) -> int:
    """An integer, even if YAML parsed it as a float."""
    value = int(value) if isinstance(value, float) and value.is_integer() else value
    _check(name, value, RULES[name])
    return int(value)


def _check(name: str, value: Any, rule: Rule) -> None:
    """Raise an error that names the value and what is allowed, unless the value satisfies the rule."""
    if isinstance(value, bool) or not any(value == other for other in rule.other):
        try:
            within(name, value, rule.interval, integer=rule.integer)
            if not abs(value) <= sys.float_info.max:
                raise ValueError(f"{name} must be a finite number, got {shown(value)}")
        except (TypeError, ValueError) as error:
            more = "".join(f"; {other!r} is allowed, too" for other in rule.other)
            raise type(error)(f"{error}{more}") from None


def _argument(name: str, value: Any, default: Any) -> Any:
    """One argument of an algorithm: texts are parsed and all values are checked."""
    if value is None and default is None:
        return None
    if name in MAPPINGS:
        return _networks(mapping(name, value)) if name == "policy_kwargs" else mapping(name, value)
    if isinstance(default, bool):
        return _switch(name, value)
    if isinstance(value, str) and name in SCHEDULES:
        return _schedule(name, value)
    if isinstance(value, list | tuple) and name == "train_freq":
        return _frequency(value)
    if name == "ent_coef" and default == "auto" and isinstance(value, str):
        return _entropy(value)
    if name in RULES:
        _check(name, value, RULES[name])
        return value if RULES[name].integer or value in RULES[name].other else float(value)
    return value


def _switch(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be true or false, got {shown(value)}")
    return value


def _schedule(name: str, text: str) -> Any:
    """``lin_<number>``: falls linearly from the number to zero over the training."""
    start, _, number = text.partition("_")
    try:
        initial = float(number)
    except ValueError:
        start = ""
    if start != "lin":
        raise ValueError(f"{name} must be a number (in YAML 0.001 or 1.0e-3) or lin_<number>, got {shown(text)}")
    _check(name, initial, RULES[name])
    return lambda remaining: remaining * initial


def _frequency(value: Sequence[Any]) -> tuple[int, str]:
    """How often an off-policy algorithm trains, with its unit."""
    if len(value) != 2 or value[1] not in ("step", "episode"):
        raise ValueError(f"train_freq must be a number or [number, 'step' or 'episode'], got {shown(value)}")
    _check("train_freq", value[0], RULES["train_freq"])
    return value[0], value[1]


def _entropy(text: str) -> str:
    """SAC's entropy coefficient, learned: ``auto``, or ``auto_<number>`` with its initial value."""
    start, underscore, number = text.partition("_")
    try:
        _check("ent_coef", float(number) if underscore else 1.0, _SIZE)
    except ValueError:
        start = ""
    if start != "auto":
        raise ValueError(f"ent_coef must be a number, auto, or auto_<number> with a number > 0, got {shown(text)}")
    return text


def _networks(policy_kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a policy, with the sizes of its layers checked."""
    found = policy_kwargs.get("net_arch", [])
    for sizes in found.values() if isinstance(found, dict) else [found]:
        if not isinstance(sizes, list | tuple):
            raise TypeError(f"net_arch must hold lists of numbers of units, got {shown(sizes)}")
        for size in sizes:
            within("net_arch", size, f"[1, {LARGEST_LAYER}]", integer=True)
    return policy_kwargs


def _normalize(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """Arguments of ``VecNormalize``, whose discount is the algorithm's, as in RL-Zoo."""
    wanted = values.get("normalize", False)
    if wanted is False:
        return None
    options = {} if wanted is True else mapping("normalize", wanted)
    known = dict.fromkeys(("norm_obs", "norm_reward", *NORMALIZE_RULES))
    for name, value in options.items():
        lookup_name("argument of normalize", name, known)
        if name in NORMALIZE_RULES:
            _check(name, value, NORMALIZE_RULES[name])
        else:
            _switch(name, value)
    return {**options, "gamma": values["gamma"]} if "gamma" in values else options


def _noise(values: Mapping[str, Any]) -> tuple[type[ActionNoise], float] | None:
    kind = values.get("noise_type")
    if kind is None:
        return None
    _check("noise_std", values.get("noise_std"), RULES["noise_std"])
    return lookup_name("noise_type", kind, NOISES), float(values["noise_std"])
