"""Names with options, written as text: ``name`` or ``name:option=value,option=value``.

Values are Python literals or bare words, as in ``last:constraint=soft,radius=1.0``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from keyword import iskeyword
from typing import Any

from teach_gym.errors import shown

_WORD = re.compile(r"[A-Za-z_][\w-]*")


def parse_call(text: str, kind: str) -> tuple[str, dict[str, Any]]:
    """Split ``name:option=value,...`` into the name and the options.

    Args:
        text: the text.
        kind: what it names, for messages.

    Raises:
        TypeError: no text.
        ValueError: not of that form, or an option given twice.
    """
    if not isinstance(text, str):
        raise TypeError(f"a {kind} must be a text, got {shown(text)}")
    name, colon, options = text.strip().partition(":")
    if not colon:
        return name, {}
    form = f"{kind} {shown(text)} must be written name or name:option=value,option=value"
    source = f"f({options})"
    try:
        call = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ValueError(f"{form}; cannot read {shown(options)}") from error
    if not isinstance(call, ast.Call) or call.args or not call.keywords or any(k.arg is None for k in call.keywords):
        raise ValueError(f"{form}; cannot read {shown(options)}")
    found: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg in found:
            raise ValueError(f"{kind} {shown(text)} gives {keyword.arg} twice")
        found[str(keyword.arg)] = _literal(keyword.value, source, form)
    return name, found


def _literal(node: ast.expr, source: str, form: str) -> Any:
    """The value of an option: a Python literal, or a bare word."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, MemoryError, RecursionError) as error:
        word = ast.get_source_segment(source, node) or ""
        if _WORD.fullmatch(word):
            return word
        raise ValueError(f"{form}; {shown(word)} is neither a Python literal nor a word") from error


def format_call(name: str, options: Mapping[str, Any]) -> str:
    """The canonical spelling of a name with options, the inverse of ``parse_call``."""
    if not options:
        return name
    return f"{name}:" + ",".join(f"{key}={_spelling(options[key])}" for key in sorted(options))


def _spelling(value: Any) -> str:
    return value if isinstance(value, str) and _WORD.fullmatch(value) and not iskeyword(value) else repr(value)
