"""Protocols: which attacks a model meets, in which order and with which budget."""

from __future__ import annotations

from typing import Literal, get_args

from tempering.attacks.apgd_ce import APGDCE
from tempering.attacks.apgd_dlr import APGDDLR
from tempering.attacks.apgd_t import APGDT
from tempering.attacks.base import Attack
from tempering.attacks.bpda import BPDA
from tempering.attacks.combinators import NearestOf
from tempering.attacks.cw_linf import CWLinf
from tempering.attacks.eot import EOT
from tempering.attacks.fab import FAB
from tempering.attacks.fab_t import FABT
from tempering.attacks.fgsm import FGSM
from tempering.attacks.fmn import FMN
from tempering.attacks.hard_sample_retry import HardSampleRetry
from tempering.attacks.hopskipjump import HopSkipJump
from tempering.attacks.local_search import LocalSearch
from tempering.attacks.mifgsm import MIFGSM
from tempering.attacks.patch import PatchAttack
from tempering.attacks.pgd import PGD
from tempering.attacks.restarts import Restarts
from tempering.attacks.sigma_zero import SigmaZero
from tempering.attacks.square import Square
from tempering.core.errors import UsageError
from tempering.core.threats import Threat

Name = Literal["fast", "autoattack", "thorough"]
NAMES: tuple[Name, ...] = get_args(Name)
SURVEYED = 32
"""Samples on which `fast` and `thorough` learn the order of their attacks."""


def attacks_of(protocol: str, threat: Threat) -> list[Attack]:
    """The white-box attacks of a protocol, as far as they know the threat's norm.

    `fast` breaks what it can with few passes: ten steps for what falls at once, then the
    likeliest targets, random search where gradients stop short, and more of everything for
    near misses. `autoattack` is the
    standard four at their standard budgets (Croce and Hein, 2020), ours in place of
    theirs, without trials and extra_restarts, which the paper does not have. `thorough` is both
    with more steps and restarts.

    Args:
        protocol: One of `NAMES`.
        threat: What may change.

    Raises:
        UsageError: If there is no such protocol, or nothing knows the norm.

    Example:
        >>> from tempering.core.threats import Linf
        >>> [attack.label() for attack in attacks_of("fast", Linf(0.3))]
        ['fgsm', 'cw-linf-10', 'apgd-t-50+local-search-200+hard-sample-retry']
    """
    if protocol not in NAMES:
        raise UsageError(f"protocol {protocol!r}: give one of {', '.join(NAMES)}")
    if threat.name == "l0":
        return [SigmaZero(steps=300 if protocol == "fast" else 1000)]
    if threat.name == "patch":
        return [PatchAttack(), *([Restarts(PatchAttack(), 3)] if protocol == "thorough" else [])]
    return {"fast": _fast, "autoattack": _autoattack, "thorough": _thorough}[protocol]()


def _fast() -> list[Attack]:
    likeliest = APGDT(steps=50, targets=6, top_targets=1, extra_restarts=0, near=0.4)
    return [
        FGSM(),
        CWLinf(steps=10),
        HardSampleRetry(LocalSearch(likeliest, queries=200, extra_restarts=2)),
    ]


def _autoattack() -> list[Attack]:
    return [
        APGDCE(steps=100),
        APGDT(steps=100, targets=9, top_targets=None, extra_restarts=0),
        FABT(steps=100, targets=9, top_targets=None),
        Square(queries=5000),
    ]


def _thorough() -> list[Attack]:
    return [
        CWLinf(steps=20),
        HardSampleRetry(
            LocalSearch(APGDT(100, top_targets=3, extra_restarts=0), queries=1000),
            climbs=5,
            steps=100,
        ),
        Restarts(APGDCE(steps=100), 5),
        Restarts(APGDDLR(steps=100), 5),
        APGDT(steps=200, targets=9, top_targets=None),
        FABT(steps=100, targets=9, top_targets=None),
        Square(queries=5000),
    ]


def around_masks(threat: Threat, random: bool) -> list[Attack]:
    """What still works where gradients mislead: through hidden stages, and without gradients.

    Args:
        threat: What may change.
        random: Whether the model answers the same image in several ways.
    """
    climb: Attack = PGD(steps=40) if random else APGDT(steps=50)
    inner = climb if climb.knows(threat) else attacks_of("fast", threat)[0]
    through: Attack = EOT(BPDA(inner), 10) if random else BPDA(inner)
    return [attack for attack in (through, Square(queries=2000)) if attack.knows(threat)]


def transferred(threat: Threat) -> list[Attack]:
    """What an attacker makes on a model of their own: whole climbs, with and without momentum."""
    made: list[Attack] = [PGD(steps=40), MIFGSM(steps=10), CWLinf(steps=40)]
    return [attack for attack in made if attack.knows(threat)]


def queried(protocol: str, threat: Threat) -> list[Attack]:
    """What an attacker asks of a model's answers alone: scores, then labels, both capped."""
    thorough = protocol != "fast"
    made: list[Attack] = [Square(queries=5000 if thorough else 1000)]
    if protocol == "thorough":
        made.append(HopSkipJump(queries=5000))
    return [attack for attack in made if attack.knows(threat)]


def nearest(threat: Threat) -> Attack | None:
    """What looks for the nearest adversarial image of a norm; None for patches."""
    both = NearestOf(FMN(steps=20), FAB(steps=50, rivals=2))
    made: list[Attack] = [both, SigmaZero(steps=300)]
    return next((attack for attack in made if attack.knows(threat)), None)
