"""Tasks with nonsense in any field and any option, and teachers with nonsense in any option.

What is allowed is written down here once more, independently of the package's annotations.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from campaign import NonsenseError, Target
from hypothesis import strategies as st
from nonsense import FLOATS, HUGE, VALUES, is_integer, is_number

from teach_gym.core.build import make_task
from teach_gym.core.layout import layout, observe
from teach_gym.core.observe import OBSERVATIONS
from teach_gym.core.randomness import Streams
from teach_gym.core.rewards import REWARDS
from teach_gym.core.task import advance, reset
from teach_gym.neural.mixup_spec import MixupSpec
from teach_gym.teachers import TEACHERS, make_teacher, teacher_class
from teach_gym.teachers.base import example_of

Check = Callable[[Any], bool]


def _whole(low: int, high: int = 2**31 - 1) -> Check:
    return lambda value: is_integer(value) and low <= value <= high


def _real(low: float = -np.inf, high: float = np.inf, *, open_low: bool = False) -> Check:
    def check(value: Any) -> bool:
        return is_number(value) and (value > low if open_low else value >= low) and value <= high

    return check


def _one_of(*names: str | None) -> Check:
    return lambda value: value is None or isinstance(value, str) if None in names else isinstance(value, str)


def _flag(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


def _mapping(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _or(*checks: Check) -> Check:
    return lambda value: any(check(value) for check in checks)


def _none(value: Any) -> bool:
    return value is None


def _list_of(check: Check) -> Check:
    def listed(value: Any) -> bool:
        if not isinstance(value, list | tuple | range | np.ndarray) or (
            isinstance(value, np.ndarray) and not value.ndim
        ):
            return False
        return all(check(item) for item in value)

    return listed


SEED = _whole(0, 2**32 - 1)
POSITIVE = _real(0, open_low=True)
FIELDS: dict[str, Check] = {
    **dict.fromkeys(("learner", "pool", "medium", "target", "reward", "observation", "init", "dtype"), _one_of("x")),
    **dict.fromkeys(("budget", "batch_size", "holdout_rows", "probes"), _whole(1)),
    **dict.fromkeys(("learning_rate", "init_scale"), _or(POSITIVE, _list_of(POSITIVE))),
    "momentum": _real(0, 1),
    "weight_decay": _real(0),
    "zeta": _real(0, 1, open_low=True),
    "tolerance": _real(0),
    **dict.fromkeys(("nesterov", "bias", "continuous", "debug"), _flag),
    "pool_seed": _or(SEED, _list_of(SEED)),
    **dict.fromkeys(("learner_options", "pool_options", "medium_options", "target_options"), _mapping),
}
ROWS = _whole(5, 10**15)
SHARE = _real(0, 1)
CORRUPTION: dict[str, Check] = {
    "label_noise": _or(SHARE, _list_of(_or(SHARE, _list_of(SHARE)))),
    "imbalance": _real(0, 1, open_low=True),
}
OPTIONS: dict[tuple[str, str], dict[str, Check]] = {
    ("pool", "linear_regression"): {
        "d": _whole(1),
        "n": ROWS,
        "noise": _real(0),
        "unit_norm": _flag,
        "standardize": _flag,
    },
    ("pool", "half_moons"): {"n": ROWS, "noise": _real(0), "standardize": _flag, **CORRUPTION},
    ("pool", "gaussian_clusters"): {
        **{"d": _whole(1), "n": ROWS, "n_classes": _whole(2), "spread": _real(0), "separation": _real(0)},
        "standardize": _flag,
        **CORRUPTION,
    },
    ("pool", "digits"): {"classes": _or(_none, _list_of(is_integer)), "standardize": _flag, **CORRUPTION},
    ("medium", "label"): {
        **{"kind": _one_of(None), "n": _or(_none, _whole(2)), "p": _one_of("x"), "least": _real(-1, 1)},
        **{"centre": _one_of("x"), "radius": POSITIVE},
    },
    ("medium", "mixup"): {"n": _whole(2)},
    ("medium", "perturb"): {"radius": POSITIVE, "axes": _whole(1), "region": _one_of("x"), "box": _one_of("x")},
    ("medium", "select"): {"n_sources": _whole(2)},
    ("medium", "mixed"): {
        "n_sources": _whole(2),
        "kind": _one_of(None),
        "n": _or(_none, _whole(2)),
        "radius": POSITIVE,
    },
    ("learner", "mlp"): {"hidden": _whole(1), "offsets": _flag},
    ("learner", "mlp_logistic"): {"hidden": _whole(1), "offsets": _flag},
    ("learner", "logistic"): {},
    ("learner", "softmax"): {},
    ("learner", "least_squares"): {},
    ("target", "optimum"): {"l2": _real(0)},
    ("target", "trained"): {"steps": _whole(1, 10**6), "learning_rate": POSITIVE},
    ("target", "given"): {"w": _list_of(is_number)},
}
LIKELY: dict[str, list[Any]] = {
    "n": [5, 50, 200, 2, 4],
    "d": [1, 3],
    "n_classes": [2, 3],
    "classes": [[3, 5], [0, 1, 2], [3], [3, 3], [3, 77], (3.0, 5.0), [True, False]],
    "kind": ["grid", "mix", "offset"],
    "p": ["uniform", "target", "given", "pretrained", "prediction"],
    "centre": ["truth", "prediction"],
    "region": ["ball", "box"],
    "box": ["global", "per_dimension"],
    "steps": [1, 5],
    "learning_rate": [0.1, [0.1, 0.2], [0.2, 0.1], [], 1e9],
    "init_scale": [1e-6, 1.0, [0.1, 1.0]],
    "budget": [1, 5, 10**6, 10**9],
    "batch_size": [1, 4, 10**7],
    "pool_seed": [0, [0, 1], [], [[0]], 2**32, list(range(50))],
    "observation": list(OBSERVATIONS),
    "reward": list(REWARDS),
    "label_noise": [0.2, [0.1, 0.3], [[0.9, 0.1], [0.2, 0.8]], [[1.0]], [0.5]],
    "imbalance": [0.1, 1.0],
    "init": ["normal", "uniform", "zeros", "perturbed"],
    "dtype": ["float32", "float64", "float16"],
    "hidden": [1, 4],
    "w": [[0.0, 0.0], [1.0], [10**400, 0]],
}
PARTS = ("pool", "medium", "learner", "target")


@st.composite
def _tasks(draw: st.DrawFn) -> tuple[dict[str, Any], bool]:
    """Fields of a task, and whether all that were changed are sensible."""
    found: dict[str, Any] = {"budget": 4}
    changed: dict[str, bool] = {}
    for part in PARTS:
        name = draw(st.sampled_from([name for kind, name in OPTIONS if kind == part]))
        options = {"n": 60} if part == "pool" and name != "digits" else {"w": [0.5, 0.5]} if name == "given" else {}
        found[part], found[f"{part}_options"] = name, options
    for _ in range(draw(st.integers(0, 3))):
        if draw(st.booleans()):
            part = draw(st.sampled_from(PARTS))
            checks = OPTIONS[part, found[part]]
            if not checks or not isinstance(found[f"{part}_options"], dict):
                continue
            name = draw(st.sampled_from(list(checks)))
            value = draw(_value(name))
            found[f"{part}_options"][name] = value
            changed[f"{part}_options.{name}"] = checks[name](value)
        else:
            checks, name = FIELDS, draw(st.sampled_from([f for f in FIELDS if f not in PARTS]))
            value = draw(_value(name))
            found[name] = value
            changed = {key: good for key, good in changed.items() if not key.startswith(f"{name}.")}
            changed[name] = checks[name](value)
    return found, all(changed.values())


def _value(name: str) -> st.SearchStrategy[Any]:
    likely = st.sampled_from(LIKELY[name]) if name in LIKELY else st.booleans()
    return st.one_of(likely, FLOATS, HUGE, VALUES, st.integers(-2, 9))


def _build(case: tuple[dict[str, Any], bool]) -> None:
    task = make_task(**case[0])
    state = reset(task, Streams.from_seeds([0, 1]))
    seen = observe(task, state, layout(task))
    if not np.isfinite(seen).all():
        raise NonsenseError(f"the first observation is {seen}")
    passive = make_teacher("passive")
    with np.errstate(over="ignore", invalid="ignore"):
        advance(task, state, example_of(task, state, passive(task, state)))


def _sensible_task(case: tuple[dict[str, Any], bool]) -> bool | None:
    return None if case[1] else False


# ------------------------------------------------------------------------------------------------------- teachers

_LIKELY = ["soft", "free", "example", "action", "x.safetensors", 0.5, 1, 2, 5, True]


@functools.cache
def _options(name: str) -> list[str]:
    return [part.name for part in dataclasses.fields(teacher_class(name)) if part.init]  # type: ignore[arg-type]


@functools.cache
def _small() -> Any:
    return [make_task(name, budget=3) for name in ("LabelMoons", "SelectMoons", "MixupMoons")]


@st.composite
def _teachers(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    name = draw(st.sampled_from([name for name in TEACHERS if _options(name)] + ["no"]))
    known = [*(_options(name) if name != "no" else []), "unknown"]
    chosen = draw(st.lists(st.sampled_from(known), min_size=1, max_size=2, unique=True))
    return name, {option: draw(st.sampled_from(_LIKELY) | VALUES | HUGE) for option in chosen}


def _teach(case: tuple[str, dict[str, Any]]) -> None:
    teacher = make_teacher(case[0], **case[1])
    for task in _small():
        try:
            teacher.check(task)
        except ValueError:
            continue
        state = reset(task, Streams.from_seeds([0, 1]))
        after = advance(task, state, example_of(task, state, teacher(task, state)))
        if not np.isfinite(after.state.w).all():
            raise NonsenseError("the learner is no longer finite after one step")


def _sensible_teacher(case: tuple[str, dict[str, Any]]) -> bool | None:
    odd = (bytes, complex, type, set, frozenset, np.ndarray)
    policy = {"policy", "spec"} & set(case[1])
    return False if "unknown" in case[1] or any(isinstance(v, odd) for v in case[1].values()) or policy else None


# ------------------------------------------------------------------------------------------- trainings on images

_MIXUP = [part.name for part in dataclasses.fields(MixupSpec)]
_MIXUP_GOOD: dict[str, Any] = {"pool": "patterns", "validation": 20, "batch_size": 8, "epochs": 1}


@st.composite
def _mixups(draw: st.DrawFn) -> dict[str, Any]:
    chosen = draw(st.lists(st.sampled_from([*_MIXUP, "unknown"]), min_size=1, max_size=2, unique=True))
    return {**_MIXUP_GOOD, **{name: draw(VALUES | HUGE | st.booleans()) for name in chosen}}


def _sensible_mixup(case: dict[str, Any]) -> bool | None:
    whole = ("shrink", "validation", "epochs", "batch_size", "look_every", "images", "pool_seed")
    wrong = [name for name in whole if name in case and not is_integer(case[name])]
    wrong += [name for name in ("learning_rate", "zeta") if name in case and not is_number(case[name])]
    wrong += [name for name in ("continuous",) if name in case and not _flag(case[name])]
    wrong += [name for name in ("pool", "network", "reward", "device") if not isinstance(case.get(name, ""), str)]
    wrong += [name for name in ("pool_options", "network_options") if not _mapping(case.get(name, {}))]
    return False if wrong or "unknown" in case else None


def task_targets() -> list[Target]:
    return [
        Target("tasks", _tasks(), _build, _sensible_task, weight=8),
        Target("teachers", _teachers(), _teach, _sensible_teacher, weight=3),
        Target("mixup", _mixups(), lambda case: MixupSpec(**case), _sensible_mixup),
    ]
