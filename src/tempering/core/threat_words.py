"""Texts of threats, read without torch: their radius, and which of them say the same."""

from __future__ import annotations

from fractions import Fraction


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
