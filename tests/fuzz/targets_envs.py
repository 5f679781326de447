"""Actions of any type in every kind of environment, and the arguments of ``gym.make``, ``make_vec`` and ``reset``."""

from __future__ import annotations

import functools
from typing import Any

import gymnasium as gym
import numpy as np
from campaign import NonsenseError, Target
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from nonsense import HUGE, INTEGERS, SCALARS, VALUES, arrays, is_integer

from teach_gym.benchmark.evaluation import evaluate
from teach_gym.core.build import make_task
from teach_gym.envs.base import TeachEnv
from teach_gym.envs.vector import TeachVectorEnv
from teach_gym.sb3 import make_vec_env
from teach_gym.teachers import lesson, make_teacher

B = 3
SMALL: dict[str, Any] = {"pool_options": {"n": 100}, "budget": 1_000_000 // 100, "tolerance": 0.0}
TASKS: dict[str, dict[str, Any]] = {
    "label": {"medium": "label", **SMALL},
    "label-box": {"medium": "label", "continuous": True, **SMALL},
    "label-box-32": {"medium": "label", "continuous": True, "dtype": "float32", **SMALL},
    "label-ten": {
        **{"medium": "label", "continuous": True, "learner": "softmax", "target": "trained", "batch_size": 2},
        "target_options": {"steps": 5},
        **SMALL,
    },
    "mixup-box": {"medium": "mixup", "continuous": True, "batch_size": 2, **SMALL},
    "perturb": {"medium": "perturb", **SMALL},
    "perturb-box": {"medium": "perturb", "continuous": True, **SMALL},
    "select": {"medium": "select", **SMALL},
    "mixed": {"medium": "mixed", **SMALL},
    "black-box": {"medium": "label", "observation": "black_box", "reward": "holdout_progress", **SMALL},
    "momentum": {"medium": "label", "momentum": 0.9, **SMALL},
}


@functools.cache
def _single(name: str) -> TeachEnv:
    env = TeachEnv(**TASKS[name])
    env.reset(seed=0)
    return env


@functools.cache
def _vector(name: str) -> TeachVectorEnv:
    env = TeachVectorEnv(num_envs=B, **TASKS[name])
    env.reset(seed=0)
    return env


def _step(env: Any, action: Any) -> None:
    """A step, and whether what it gives makes sense."""
    observation, reward, _, _, info = env.step(action)
    if not np.isfinite(observation).all() or not np.isfinite(reward).all():
        env.reset(seed=0)
        raise NonsenseError(f"observation {observation}, reward {reward}")
    if observation.dtype != np.float32 or not all(np.isfinite(info[key]).all() for key in ("label", "features")):
        raise NonsenseError(f"observation of {observation.dtype}, info {info}")


def _has_bool(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_has_bool(item) for item in value)
    return isinstance(value, bool | np.bool_)


def _sensible(name: str, action: Any, shapes: tuple[tuple[int, ...], ...]) -> bool | None:
    """Whether a value is an action: integers in range, or finite real numbers of the right shape."""
    if isinstance(action, range | np.ma.MaskedArray) or action is np.ma.masked:
        return None
    try:
        found = np.asarray(action)
    except Exception:
        return False
    task = _single(name).task
    kinds = "fiu" if task.spec.continuous else "iu"
    if found.dtype.kind not in kinds or found.shape not in shapes or _has_bool(action):
        return False
    if task.spec.continuous:
        if not np.isfinite(found).all():
            return False
        return bool((np.abs(found.astype(np.float64)) < 1e30).all()) or None
    return bool(((found >= 0) & (found < task.n_actions)).all())


def _sensible_single(case: tuple[str, Any]) -> bool | None:
    shape = _single(case[0]).action_space.shape or ()
    return _sensible(*case, shapes=(shape, (1, *shape)))


def _sensible_vector(case: tuple[str, Any]) -> bool | None:
    return _sensible(*case, shapes=((B, *(_single(case[0]).action_space.shape or ())),))


@st.composite
def _near(draw: st.DrawFn, batch: tuple[int, ...]) -> tuple[str, Any]:
    """A task and an array of nearly its actions' shape, of any dtype; also as nested lists."""
    name = draw(st.sampled_from(list(TASKS)))
    shape = (*batch, *(_single(name).action_space.shape or ()))
    found = draw(arrays(st.just(shape)))
    return name, found.tolist() if draw(st.booleans()) else found


@st.composite
def _right(draw: st.DrawFn, batch: tuple[int, ...]) -> tuple[str, Any]:
    """A task and a good action, in any of the types it may have."""
    name = draw(st.sampled_from(list(TASKS)))
    env = _single(name)
    shape = (*batch, *(env.action_space.shape or ()))
    if env.task.spec.continuous:
        found: Any = draw(nps.arrays(np.float32, shape, elements=st.floats(-2, 2, width=32)))
        return name, draw(st.sampled_from([found, found.astype(np.float64), found.astype(np.float16), found.tolist()]))
    number = draw(nps.arrays(np.int64, shape, elements=st.integers(0, env.task.n_actions - 1)))
    kinds = [number, number.astype(np.uint8), number.astype(np.int16), number.tolist(), number[()]]
    return name, draw(st.sampled_from(kinds))


def _actions(*batches: tuple[int, ...]) -> st.SearchStrategy[tuple[str, Any]]:
    """Values from nearly right to arbitrary."""
    near = [kind(batch) for batch in batches for kind in (_near, _right)]
    return st.one_of(*near, st.tuples(st.sampled_from(list(TASKS)), VALUES))


def action_targets() -> list[Target]:
    return [
        Target(
            "actions",
            _actions((), (1,)),
            lambda case: _step(_single(case[0]), case[1]),
            _sensible_single,
            lambda case: ("action",),
            weight=6,
        ),
        Target(
            "vector actions",
            _actions((B,)),
            lambda case: _step(_vector(case[0]), case[1]),
            _sensible_vector,
            lambda case: ("action",),
            weight=6,
        ),
    ]


# --------------------------------------------------------------------------------------------- the calls around them

MAKE = ("num_envs", "render_mode", "autoreset_mode", "max_episode_steps")
GOOD = {
    "num_envs": [1, 2, np.int64(3)],
    "render_mode": [None, "ansi", "rgb_array"],
    "autoreset_mode": ["next_step", "same_step", "disabled", gym.vector.AutoresetMode.SAME_STEP],
    "max_episode_steps": [None, 1, 10**6],
}


@st.composite
def _make_arguments(draw: st.DrawFn) -> dict[str, Any]:
    found = {name: draw(st.sampled_from(GOOD[name])) for name in MAKE}
    for name in draw(st.lists(st.sampled_from(MAKE), max_size=2, unique=True)):
        found[name] = draw(VALUES | HUGE)
    return found


def _make_vector(arguments: dict[str, Any]) -> None:
    env = TeachVectorEnv(**arguments, pool_options={"n": 50}, budget=3)
    env.reset(seed=0)
    env.step(np.zeros(env.num_envs, dtype=np.int64))


def _sensible_make(arguments: dict[str, Any]) -> bool | None:
    n, most = arguments["num_envs"], arguments["max_episode_steps"]
    if not is_integer(n) or n < 1 or (most is not None and (not is_integer(most) or most < 1)):
        return False
    for name in ("render_mode", "autoreset_mode"):
        value = arguments[name]
        if value is not None and not isinstance(value, str | gym.vector.AutoresetMode):
            return False
    return None


SEEDS = st.one_of(st.none(), INTEGERS, SCALARS, st.lists(INTEGERS | st.none(), max_size=4), VALUES)
OPTIONS = st.one_of(
    st.none(),
    st.just({}),
    st.builds(lambda mask: {"reset_mask": mask}, arrays(st.just((B,))) | VALUES),
    st.dictionaries(st.sampled_from(["reset_mask", "x"]), VALUES, max_size=2),
    VALUES,
)


def _reset(case: tuple[str, bool, Any, Any]) -> None:
    name, many, seed, options = case
    env = _vector(name) if many else _single(name)
    try:
        observation, _ = env.reset(seed=seed, options=options)
        if not np.isfinite(observation).all():
            raise NonsenseError(f"observation {observation}")
    finally:
        env.reset(seed=0)


def _sensible_reset(case: tuple[str, bool, Any, Any]) -> bool | None:
    _, many, seed, options = case
    listed = many and isinstance(seed, list | tuple | range | np.ndarray)
    if seed is not None and not listed and (not is_integer(seed) or seed < 0):
        return False
    if isinstance(options, dict) and (set(options) - {"reset_mask"} or (options and not many)):
        return False
    return None


@functools.cache
def _task() -> Any:
    return make_task("LabelMoons", budget=3, pool_options={"n": 50})


CALLS: dict[str, Any] = {
    "evaluate": lambda value: evaluate("greedy", _task(), value),
    "lesson": lambda value: list(lesson(_task(), make_teacher("passive"), value)[1]),
    "lesson steps": lambda value: list(lesson(_task(), make_teacher("passive"), [0], steps=value)[1]),
    "teacher": lambda value: evaluate(value, _task(), 1),
    "task": lambda value: evaluate("passive", value, 1),
    "make_task": make_task,
    "make_teacher": make_teacher,
    "act": lambda value: make_teacher("passive").act(value),
    "sb3 num_envs": lambda value: make_vec_env("LabelMoons", value, 0, pool_options={"n": 50}),
    "sb3 seed": lambda value: make_vec_env("LabelMoons", 2, value, pool_options={"n": 50}).reset(),
}


def _call(case: tuple[str, Any]) -> None:
    CALLS[case[0]](case[1])


def _sensible_call(case: tuple[str, Any]) -> bool | None:
    name, value = case
    if name == "act" or (name == "sb3 num_envs" and (not is_integer(value) or value < 1)):
        return False
    if name == "lesson steps" and value is not None and (not is_integer(value) or value < 1):
        return False
    return None


def call_targets() -> list[Target]:
    cases = st.tuples(st.sampled_from(list(TASKS)), st.booleans(), SEEDS, OPTIONS)
    return [
        Target("make_vec", _make_arguments(), _make_vector, _sensible_make),
        Target("reset", cases, _reset, _sensible_reset, weight=2),
        Target(
            "calls",
            st.tuples(st.sampled_from(list(CALLS)), VALUES | st.lists(INTEGERS, max_size=3) | st.integers(0, 5)),
            _call,
            _sensible_call,
            weight=2,
        ),
    ]
