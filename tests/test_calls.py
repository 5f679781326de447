"""Names with options, written as text."""

from __future__ import annotations

from typing import Any

import pytest

from teach_gym.calls import format_call, parse_call


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("greedy", "greedy", {}),
        ("last:constraint=soft", "last", {"constraint": "soft"}),
        ("last:constraint='soft',radius=2", "last", {"constraint": "soft", "radius": 2}),
        ("a:x=-1.5e3,y=[1, (2, 3)],t=True", "a", {"x": -1500.0, "y": [1, (2, 3)], "t": True}),
        ("a:z={'k': None}", "a", {"z": {"k": None}}),
        ("a:word=one-hot", "a", {"word": "one-hot"}),
        ("a:word='True',other='1'", "a", {"word": "True", "other": "1"}),
    ],
)
def test_parse_call(text: str, name: str, options: dict[str, Any]) -> None:
    assert parse_call(text, "teacher") == (name, options)
    assert parse_call(format_call(name, options), "teacher") == (name, options)


@pytest.mark.parametrize(
    "text",
    [
        "a:",
        "a:x",
        "a:x=",
        "a:x=f(1)",
        "a:**{}",
        "a:x=1)",
        "a:x=1;y=2",
        "a:x=1+y",
        "a:x=\0",
        "a:x={[]: 1}",
        "a:x=" + "[" * 2000,
    ],
)
def test_parse_call_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"teacher '.* must be written name or name:option=value"):
        parse_call(text, "teacher")


def test_an_option_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"task 'a:x=1,y=2,x=3' gives x twice"):
        parse_call("a:x=1,y=2,x=3", "task")
