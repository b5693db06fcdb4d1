"""Parses durations."""

from __future__ import annotations

import re

from tempering.core.errors import UsageError

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_seconds(text: str) -> float:
    """Parse a duration such as 90s, 1.5m or 2h into seconds.

    Raises:
        UsageError: If it is not a duration above 0.

    Example:
        >>> parse_seconds("90s"), parse_seconds("1.5m"), parse_seconds("2h")
        (90.0, 90.0, 7200.0)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not seconds > 0:
        raise UsageError(
            f"time {text!r}: give seconds, minutes or hours above 0, such as 90s, 10m or 1h"
        )
    return seconds
