"""Whether all attacks that a recipe names work in its threat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tempering.attacks.base import Attack
from tempering.attacks.registry import ATTACKS
from tempering.core.errors import ThreatError
from tempering.core.threats import Threat

_OFFERED = 4
"""Attacks that are offered, at most."""


def require_attacks(settings: Mapping[str, Sequence[Attack]], threat: Threat) -> None:
    """Refuse a threat that some attack does not know; all settings to change are named at once.

    Args:
        settings: Name of a setting -> the attacks that it holds.
        threat: Of the recipe.

    Raises:
        ThreatError: Naming the first such attack, its settings, and attacks that know the threat.

    Example:
        >>> from tempering.attacks import PGD
        >>> from tempering.core.threats import L0
        >>> require_attacks({"evaluation.attacks": [PGD()]}, L0(5))
        Traceback (most recent call last):
        tempering.core.errors.ThreatError: pgd does not attack in l0: it knows linf, l2, l1; in a \
recipe give evaluation.attacks others, such as sigma-zero, box
    """
    wrong = {
        setting: missing
        for setting, attacks in settings.items()
        if (missing := [attack for attack in attacks if not attack.knows(threat)])
    }
    if not wrong:
        return
    try:
        next(iter(wrong.values()))[0].require(threat)
    except ThreatError as error:
        known = [
            name
            for name, kind in ATTACKS.items()
            if threat.norm in kind.norms and name != "transfer"
        ]
        others = f" others, such as {', '.join(known[:_OFFERED])}" if known else " others"
        raise ThreatError(f"{error}; in a recipe give {', '.join(wrong)}{others}") from error
