"""What options and images of a transform must be, refused in one line otherwise."""

from __future__ import annotations

import math

from torch import Tensor

from tempering.core.errors import ModelError


def whole_number(what: str, value: object, least: int, most: int) -> int:
    """A whole number within bounds.

    Args:
        what: Defense and option, for the message.
        value: What was given.
        least: Smallest number that makes sense.
        most: Largest one.

    Raises:
        ModelError: If it is something else.

    Example:
        >>> whole_number("bit_depth bits", 4, 1, 8)
        4
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ModelError(f"{what} {value!r}: give a whole number from {least} to {most}")
    return value


def odd_number(what: str, value: object, least: int) -> int:
    """The width of a window with a centre: an odd whole number of at least `least`.

    Raises:
        ModelError: If it is something else.

    Example:
        >>> odd_number("median window", 3, 3)
        3
    """
    wrong = isinstance(value, bool) or not isinstance(value, int)
    if wrong or value < least or value % 2 == 0:  # type: ignore[operator]
        raise ModelError(f"{what} {value!r}: give an odd whole number of at least {least}")
    return int(value)  # type: ignore[call-overload,no-any-return]


def number_above_zero(what: str, value: object, most: float) -> float:
    """A number above 0 and at most `most`.

    Raises:
        ModelError: If it is something else, also if it is not finite.

    Example:
        >>> number_above_zero("gaussian_blur sigma", 1, 10)
        1.0
    """
    wrong = isinstance(value, bool) or not isinstance(value, int | float)
    if wrong or not 0 < value <= most or not math.isfinite(value):  # type: ignore[operator,arg-type]
        raise ModelError(f"{what} {value!r}: give a number above 0 and at most {most:g}")
    return float(value)  # type: ignore[arg-type]


def require_side(what: str, x: Tensor, least: int) -> None:
    """Refuse images that are smaller than a window needs.

    Args:
        what: Defense and its options, for the message.
        x: Images, shape (n, c, h, w).
        least: Pixels that each side must have.

    Raises:
        ModelError: If a side is shorter.
    """
    height, width = x.shape[-2], x.shape[-1]
    if height < least or width < least:
        raise ModelError(
            f"{what} on images of {height} x {width} pixels: "
            f"give images of at least {least} x {least}, or a smaller window"
        )


def require_finite(what: str, x: Tensor) -> None:
    """Refuse images whose values would be hidden by what follows.

    Raises:
        ModelError: If a value is infinite or not a number.
    """
    if not bool(x.isfinite().all()):
        raise ModelError(f"{what} on images with values that are not finite: give them in [0, 1]")
