"""Texts of threats, read without torch: their radius, and which of them say the same."""

from __future__ import annotations

from fractions import Fraction

from tempering.core.errors import ThreatError
from tempering.core.specs import FROM_PYTHON

NORMS = ("linf", "l2", "l1", "l0")
"""Names of the threats with a radius."""


def split_threat(text: str) -> tuple[str, str]:
    """The norm, or `patch`, and the text of the radius.

    Raises:
        ThreatError: If the norm is unknown or there is no radius.

    Example:
        >>> split_threat("linf:8/255")
        ('linf', '8/255')
    """
    if not isinstance(text, str):
        raise ThreatError(f"threat {text!r} is no text: write it as linf:0.3, linf:8/255 or l2:2.0")
    if text.startswith(FROM_PYTHON):
        raise ThreatError(
            f"threat {text} came from Python and cannot be read again: "
            "give the value from Python, or a built-in threat, such as linf:0.3"
        )
    norm, colon, radius = text.strip().lower().partition(":")
    if not colon or norm not in (*NORMS, "patch"):
        raise ThreatError(
            f"threat {text!r} is not NORM:EPS with a norm of {', '.join(NORMS)} or patch: "
            "write it as linf:0.3, linf:8/255, l2:2.0 or patch:0.05"
        )
    return norm, radius


def read_radius(radius: str, text: str) -> float:
    """The number that the text of a radius stands for.

    Args:
        radius: A number or a ratio.
        text: The whole threat, for messages.

    Raises:
        ThreatError: If it is neither.

    Example:
        >>> read_radius("1/4", "linf:1/4")
        0.25
    """
    try:
        return float(Fraction(radius)) if "/" in radius else float(radius)
    except (ValueError, ArithmeticError):
        raise ThreatError(
            f"eps {radius!r} in threat {text!r} is not a number: give one, such as 0.3 or 8/255"
        ) from None


def number(value: float) -> str:
    """A number in as few digits as read back as the same number.

    Example:
        >>> number(0.3), number(2.0), number(8 / 255)
        ('0.3', '2', '0.03137254901960784')
    """
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def ratio(text: str) -> str | None:
    """A radius that is written as a ratio, without spaces; None for one that is not.

    Example:
        >>> ratio("8/255"), ratio("0.3")
        ('8/255', None)
    """
    return text.replace(" ", "") if "/" in text else None


def radius_of(threat: str) -> float | None:
    """The radius that the text of a threat gives; None if it gives none.

    Example:
        >>> radius_of("linf:8/255") == 8 / 255
        True
    """
    size = threat.partition(":")[2].partition("@")[0]
    try:
        return float(Fraction(size)) if "/" in size else float(size)
    except (ValueError, ArithmeticError):
        return None


def exact(threat: str) -> str:
    """The text with its radius as a number: equal for threats that are equal.

    Example:
        >>> exact("linf:8/255")
        'linf:0.03137254901960784'
    """
    value = radius_of(threat)
    if value is None:
        return threat
    at, place = threat.partition("@")[1:]
    return f"{threat.partition(':')[0]}:{number(value)}{at}{place}"


def with_value(threat: str) -> str:
    """The text, and the value of a radius that is written as a ratio.

    Example:
        >>> with_value("linf:8/255"), with_value("linf:0.3")
        ('linf:8/255 (eps 0.03137)', 'linf:0.3')
    """
    value = radius_of(threat)
    return f"{threat} (eps {value:.4g})" if value is not None and "/" in threat else threat
