"""Classes as people name them: by name or by number."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from tempering.core.errors import UsageError

_SHOWN = 20
"""Classes that a message lists."""


def class_number(given: int | str, classes: Sequence[str], what: str, where: str) -> int:
    """The number of a class that is given by number or name.

    A number is first taken for a number, text for a name.

    Args:
        given: Such as `7`, `"7"` or `"cat"`.
        classes: Class names.
        what: What it is, for messages, such as `target`.
        where: Whose classes these are, for messages.

    Raises:
        UsageError: If there is no such class; offers the nearest.

    Example:
        >>> class_number("dog", ("cat", "dog"), "target", "pets")
        1
    """
    text = str(given).strip()
    is_number = isinstance(given, int) and not isinstance(given, bool)
    if text in classes and not (is_number and 0 <= int(given) < len(classes)):
        return list(classes).index(text)
    if text.isdecimal() and not isinstance(given, bool) and int(text) < len(classes):
        return int(text)
    raise UsageError(f"{what} {given!r} is no class of {where}: {_hint(text, classes)}")


def _hint(text: str, classes: Sequence[str]) -> str:
    """The nearest classes, or else what could be given."""
    near = difflib.get_close_matches(text, classes, n=3, cutoff=0.5)
    folded = [name for name in classes if name.casefold() == text.casefold()]
    if folded or (near and not text.lstrip("-").isdecimal()):
        return f"did you mean {' or '.join(folded or near)}?"
    more = f" and {len(classes) - _SHOWN} more" if len(classes) > _SHOWN else ""
    names = ", ".join(classes[:_SHOWN])
    return f"give a number from 0 to {len(classes) - 1} or one of {names}{more}"
