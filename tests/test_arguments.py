"""Users' arguments against annotations, and nonsense for every option of every part of a task."""

from __future__ import annotations

import fractions
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest

import teach_gym
from teach_gym.arguments import Count, Positive, Seed, Within, checked_options, chosen, conform
from teach_gym.core.build import make_task
from teach_gym.core.learners import LEARNERS
from teach_gym.core.media import MEDIA
from teach_gym.core.targets import TARGETS
from teach_gym.data.pools import POOLS

PACKAGE = Path(teach_gym.__file__).parent

Kind = Literal["grid", "mix"]
Rate = Positive | Sequence[Positive]
BelowOne = Annotated[float, Within(0.0, 1.0, open_high=True)]

GOOD: list[tuple[Any, Any, Any]] = [
    (3, Count, 3),
    (np.uint8(3), Count, 3),
    (3, Positive, 3.0),
    (np.float32(0.5), Positive, 0.5),
    (fractions.Fraction(1, 4), Positive, 0.25),
    (np.False_, bool, False),
    (np.str_("a"), str, "a"),
    (0, Seed, 0),
    (2**32 - 1, Seed, 2**32 - 1),
    ("mix", Kind, "mix"),
    (None, Kind | None, None),
    ("grid", Kind | None, "grid"),
    (None, Count | None, None),
    (7, Count | None, 7),
    (2, Rate, 2.0),
    ((1, 2.5), Rate, [1.0, 2.5]),
    (np.array([1, 2]), Rate, [1.0, 2.0]),
    (range(1, 4), Sequence[Count], [1, 2, 3]),
    ({"a": (np.int64(1), {"b": None})}, Mapping[str, Any], {"a": [1, {"b": None}]}),
    ([np.bool_(True), "x", 1.5], Any, [True, "x", 1.5]),
    (Path("a"), str | Path, Path("a")),
]


@pytest.mark.parametrize(("value", "hint", "expected"), GOOD, ids=str)
def test_good_values_become_plain(value: Any, hint: Any, expected: Any) -> None:
    found = conform("x", value, hint)
    assert found == expected and type(found) is type(expected)


BAD: list[tuple[Any, Any, type[Exception], str]] = [
    (0, Count, ValueError, r"x must be an integer in \[1, 2\*\*31\), got 0"),
    (2**31, Count, ValueError, r"x must be an integer in \[1, 2\*\*31\), got 2147483648"),
    (True, Count, TypeError, "x must be an integer.*got True"),
    (1.0, Count, TypeError, r"x must be an integer.*got 1\.0"),
    ("1", Count, TypeError, "x must be an integer.*got '1'"),
    (0, Positive, ValueError, "x must be a finite number > 0, got 0"),
    (float("nan"), Positive, ValueError, "got nan"),
    (float("inf"), Positive, ValueError, "got inf"),
    (10**400, Positive, ValueError, r"got 1000.*\.\.\. \(401 characters\)"),
    (1j, Positive, TypeError, "got 1j"),
    (np.ones(1), Positive, TypeError, r"got array\(\[1\.\]\)"),
    (
        1,
        BelowOne,
        ValueError,
        r"x must be a finite number in \[0, 1\), got 1",
    ),
    (1, bool, TypeError, "x must be True or False, got 1"),
    ("gird", Kind, ValueError, "x must be one of grid, mix, got 'gird'; did you mean 'grid'"),
    (None, Kind, TypeError, "got None"),
    (["mix"], Kind, TypeError, r"got \['mix'\]"),
    ("x", Kind | None, ValueError, "x must be one of grid, mix or None, got 'x'"),
    ([1, 0], Rate, ValueError, r"x\[1\] must be a finite number > 0, got 0"),
    ("12", Rate, TypeError, r"x must be a finite number > 0 or a list \(each entry a finite number > 0\), got '12'"),
    ({1, 2}, Sequence[int], TypeError, "x must be a list"),
    (b"ab", Sequence[int], TypeError, "x must be a list"),
    ({1: 2}, Mapping[str, Any], TypeError, "x must be a mapping of names to values"),
    ({"a": {1}}, Mapping[str, Any], TypeError, r"x\['a'\] must be made of plain JSON values, got \{1\}"),
    ({"a": [1, float("nan")]}, Mapping[str, Any], ValueError, r"x\['a'\]\[1\] must be a finite number, got nan"),
]


@pytest.mark.parametrize(("value", "hint", "kind", "message"), BAD, ids=lambda v: str(v)[:40])
def test_bad_values_are_named(value: Any, hint: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        conform("x", value, hint)


def test_numbers_too_long_to_write_are_refused_too() -> None:
    with pytest.raises(ValueError, match=r"x must be an integer in .*, got an integer of 16,610 bits"):
        conform("x", 10**5000, Seed)


def maker(first: int, *, n: Count, kind: Kind = "grid", free=None) -> tuple[Any, ...]:  # type: ignore[no-untyped-def]
    return first, n, kind, free


def test_options_are_the_keyword_only_parameters() -> None:
    assert chosen("thing", "a", {"a": maker}, {"n": np.int8(4), "free": (1, 2)})(7) == (7, 4, "grid", [1, 2])
    for options, message in (
        ({}, "thing 'a' needs the option 'n'"),
        ({"n": 1, "kid": 2}, "thing 'a' has no option kid; allowed: free, kind, n; did you mean 'kind'"),
        ({"n": 1, "first": 2}, "thing 'a' has no option 'first': it is set by the task's own arguments"),
        ({"n": "x"}, "thing 'a': n must be an integer"),
    ):
        with pytest.raises(TypeError, match=message):
            chosen("thing", "a", {"a": maker}, options)
    with pytest.raises(ValueError, match="unknown thing 'b'; allowed: a"):
        chosen("thing", "b", {"a": maker}, {})


PARTS: dict[str, Mapping[str, Callable[..., Any]]] = {
    "pool": POOLS,
    "learner": LEARNERS,
    "medium": MEDIA,
    "target": TARGETS,
}
OPTIONS = [
    (part, name, parameter.name)
    for part, table in PARTS.items()
    for name, function in table.items()
    for parameter in inspect.signature(function).parameters.values()
    if parameter.kind is parameter.KEYWORD_ONLY
]
NONSENSE: list[Any] = [None, True, 0, -1, 1.5, float("nan"), "no", "False", "", [], [None], {}, {"a": 1}]
NONSENSE += [10**300, 1j, object(), b"1"]
"""Values of every type; each option takes a few of them at most."""


@pytest.mark.parametrize(("part", "name", "option"), OPTIONS)
def test_nonsense_is_refused_by_its_name(part: str, name: str, option: str) -> None:
    """Before anything is computed or read, and in words that name the option and the value."""
    refused = 0
    for value in NONSENSE:
        try:
            checked_options(f"{part} {name!r}", PARTS[part][name], {option: value})
        except (TypeError, ValueError) as error:
            text = str(error)
            assert "\n" not in text and (text.endswith("needs the option 'path'") or f": {option}" in text), error
            refused += f": {option}" in text
    assert refused >= len(NONSENSE) - 5


def test_every_option_is_annotated() -> None:
    """An option without an annotation would take anything."""
    for part, name, option in OPTIONS:
        hint = inspect.signature(PARTS[part][name]).parameters[option].annotation
        assert hint not in (inspect.Parameter.empty, "Any"), (part, name, option)


FIELDS = ["budget", "learning_rate", "momentum", "nesterov", "weight_decay", "batch_size", "bias", "continuous", "zeta"]
FIELDS += ["reward", "observation", "holdout_rows", "probes", "debug", "init", "init_scale", "tolerance", "pool_seed"]
FIELDS += ["dtype", "learner", "pool", "medium", "target", "pool_options", "medium_options", "target_options"]


@pytest.mark.parametrize("field", FIELDS)
def test_nonsense_for_a_field_is_refused_by_its_name(field: str) -> None:
    refused = 0
    for value in NONSENSE:
        try:
            make_task(**{"pool_options": {"n": 50}, field: value})
        except (TypeError, ValueError) as error:
            assert field.removesuffix("_options") in str(error), (field, value, error)
            refused += 1
    assert refused >= len(NONSENSE) - 5


def test_no_message_repeats_a_value_at_any_length() -> None:
    """``shown`` and ``quoted`` cut it short."""
    long = [
        f"{path.relative_to(PACKAGE)}: {found}"
        for path in PACKAGE.rglob("*.py")
        for found in re.findall(r"got \{[^{}]+!r\}|\{str\([^{}]+\)!r\}", path.read_text(encoding="utf-8"))
    ]
    assert not long
