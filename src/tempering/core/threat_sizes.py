"""Whether the eps of a threat is meaningful for images of some shape."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from tempering.core.errors import ThreatError
from tempering.core.notes import note
from tempering.core.patches import Patch
from tempering.core.threats import L0, Linf, Threat

USUAL = {"linf": "linf:8/255", "l2": "l2:0.5", "l1": "l1:12", "l0": "l0:10"}
"""An eps that is usual in the literature, by norm."""
GREY_LINF = "linf:0.3"
"""What is usual in L-inf on grey images of digits, such as MNIST."""
COLOUR, PHOTOGRAPH = 3, 32
"""Channels, and the least height and width, of images that count as colour photographs."""
LARGE = 16 / 255
"""L-inf eps on colour photographs above which a change is plain to see."""


def check_size(threat: Threat, shape: Sequence[int]) -> None:
    """Refuse an eps that allows every image, and warn of one that is hardly meaningful.

    Args:
        threat: Only balls of built-in norms are looked at.
        shape: Channels, height and width of the images.

    Raises:
        ThreatError: If eps exceeds the distance of a black and a white image, or an L0 eps is no
            whole number.

    Example:
        >>> from tempering.core.threats import L2
        >>> check_size(L2(0.5), (3, 32, 32))
    """
    if isinstance(threat, Patch):
        _check_patch(threat, shape)
    if not threat.built_in:
        return
    size, usual = "x".join(map(str, shape)), _usual(threat, shape)
    black = torch.zeros(1, *shape, dtype=torch.float64)
    widest, grey = (float(threat.distance(black + level, black)) for level in (1.0, 0.5))
    if isinstance(threat, L0) and not threat.eps.is_integer():
        below = int(threat.eps)
        raise ThreatError(
            f"threat {threat}: eps counts values that may change: give a whole number, such as "
            f"l0:{below} or l0:{below + 1}"
        )
    if threat.eps > widest * (1 + 1e-6):
        raise ThreatError(
            f"threat {threat} allows every image: black and white images of {size} are "
            f"{widest:g} apart: give a smaller eps, such as {usual}"
        )
    if threat.eps == 0:
        note(
            f"threat {threat} allows no change, so robust accuracy is clean accuracy: give an eps "
            f"above 0, such as {usual}"
        )
    elif threat.eps >= grey:
        note(
            f"threat {threat} allows every image of {size} to become plain grey, so no classifier "
            f"can be better than chance: a usual eps is {usual}"
        )
    elif isinstance(threat, Linf) and threat.eps > LARGE and _is_photograph(shape):
        note(
            f"threat {threat} is {255 * threat.eps:.3g}/255 on colour images of {size}, a change "
            f"that is plain to see: a usual eps is {usual}"
        )


def _check_patch(threat: Patch, shape: Sequence[int]) -> None:
    """Warn of a patch that is smaller than a pixel."""
    _, height, width = shape
    if not threat.side(height, width):
        note(
            f"threat {threat} allows no change: its square is smaller than a pixel of images of "
            f"{height} x {width}: give at least patch:{math.ceil(1e6 / (height * width)) / 1e6:g}"
        )


def _usual(threat: Threat, shape: Sequence[int]) -> str:
    return GREY_LINF if isinstance(threat, Linf) and shape[0] == 1 else USUAL[threat.name]


def _is_photograph(shape: Sequence[int]) -> bool:
    channels, height, width = shape
    return channels == COLOUR and min(height, width) >= PHOTOGRAPH
