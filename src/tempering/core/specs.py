"""Parameters as users write them: `key=value,key=value`."""

from __future__ import annotations

import typing
from typing import Any

from tempering.core.errors import UsageError

FROM_PYTHON = "python:"
"""How the text of a value from Python begins."""

_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
    type(None): "none",
}


def split_pairs(text: str, where: str, example: str) -> dict[str, str]:
    """Split `key=value,key=value`.

    Args:
        text: The pairs.
        where: What they belong to, for messages.
        example: A correct pair, for messages.

    Raises:
        UsageError: If a pair has no `=`, or a key is given twice.

    Example:
        >>> split_pairs("steps=40, eps=0.3", "attack 'pgd'", "steps=40")
        {'steps': '40', 'eps': '0.3'}
    """
    values: dict[str, str] = {}
    for pair in filter(None, text.split(",")):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not equals:
            raise UsageError(f"{pair!r} in {where} is not key=value: write {example}")
        if key in values:
            raise UsageError(f"{key} is given twice in {where}: give it once")
        values[key] = value
    return values


def read_value(text: str, annotation: Any, where: str) -> Any:
    """Read a bool, None, int, float or str, whichever the annotation allows.

    Raises:
        UsageError: Naming the parameter and the value.

    Example:
        >>> read_value("none", float | None, "pgd: step_size"), read_value("3", int, "pgd: steps")
        (None, 3)
    """
    options = typing.get_args(annotation) or (annotation,)
    if bool in options and text in ("true", "false"):
        return text == "true"
    if type(None) in options and text == "none":
        return None
    for kind in (int, float, str):
        if kind in options:
            try:
                return kind(text)
            except ValueError:
                continue
    words = " or ".join(_WORDS[option] for option in options if option in _WORDS)
    raise UsageError(f"{where} = {text!r}: {f'give {words}' if words else 'set it from Python'}")
