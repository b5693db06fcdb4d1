"""Protocols: which attacks a model meets, in which order and with which budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

from tempering.attacks.apgd import APGDCE, APGDDLR
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
from tempering.core.records import Access
from tempering.core.threats import Threat
from tempering.evaluation.stages import Protocol, Stage

Name = Literal["quick", "fast", "autoattack", "thorough"]
NAMES: tuple[Name, ...] = get_args(Name)
RANKED_ON = 32
"""Samples on which `fast` and `thorough` learn the order of their attacks."""
ACCESSES = ("white", "gray", "black", "all")
"""What attackers may be allowed to know."""
GRAY: Access = "gray-surrogate"
GIVEN = "given"
"""What records call a protocol of attacks that were named one by one."""


def quick(threat: Threat) -> Protocol:
    """The first attacks of `fast` and a short targeted ascent: a first look, no evaluation."""
    return _white("quick", threat)


def fast(threat: Threat) -> Protocol:
    """White-box attacks that break what they can with few passes, ranked on a few samples.

    Example:
        >>> from tempering.core.threats import Linf
        >>> len(fast(Linf(0.3)).stages)
        3
    """
    return _white("fast", threat)


def autoattack(threat: Threat) -> Protocol:
    """The four attacks of AutoAttack at their standard budgets (Croce and Hein, 2020)."""
    return _white("autoattack", threat)


def thorough(threat: Threat) -> Protocol:
    """The attacks of `fast` and of `autoattack`, with more steps and restarts."""
    return _white("thorough", threat)


def each(attacks: Sequence[Attack], accesses: Sequence[Access] = ("white",)) -> Protocol:
    """Every attack on all samples, so that each has an accuracy of its own, weakest first.

    Args:
        attacks: At least one.
        accesses: Each attack runs with each of these.

    Raises:
        UsageError: If there is no attack.
    """
    if not attacks:
        raise UsageError("no attack to evaluate with: give at least one, such as pgd:steps=40")
    weakest_first = sorted(attacks, key=lambda attack: attack.effort())
    stages = [Stage(one, access, all_samples=True) for access in accesses for one in weakest_first]
    return Protocol(GIVEN, tuple(stages))


def protocol_of(name: str, threat: Threat, access: str = "white") -> Protocol:
    """A protocol by its name, for attackers of some access.

    Args:
        name: `quick`, `fast`, `autoattack` or `thorough`.
        threat: What may change.
        access: `white`, `gray`, `black`, or `all` of them one after the other.

    Raises:
        UsageError: If there is no such protocol or access, or no attack of that access knows
            the threat: samples that no attack was run on would count as robust.
    """
    if access not in ACCESSES:
        raise UsageError(f"access {access!r}: give one of {', '.join(ACCESSES)}")
    white = _white(name, threat)
    stages = {
        "white": white.stages,
        "gray": tuple(Stage(attack, GRAY) for attack in transferred(threat)),
        "black": tuple(Stage(attack, "black") for attack in queried(name, threat)),
    }
    wanted = ("white", "gray", "black") if access == "all" else (access,)
    without = [kind for kind in wanted if not stages[kind]]
    if without:
        raise UsageError(
            f"access {access!r}: no {' or '.join(without)}-box attack knows "
            f"{threat.name}: give --access white, or a threat in linf, l2 or l1"
        )
    chosen = tuple(stage for kind in wanted for stage in stages[kind])
    return replace(white, stages=chosen)


def _white(name: str, threat: Threat) -> Protocol:
    stages = tuple(Stage(attack) for attack in attacks_of(name, threat))
    ranked = name in ("fast", "thorough")
    return Protocol(name, stages, ranked=ranked, selective=name == "fast")


def attacks_of(protocol: str, threat: Threat) -> list[Attack]:
    """The white-box attacks of a protocol, as far as they know the threat's norm.

    `quick` is a first look. `fast` needs few passes: short attacks first, then one targeted
    ascent per sample, and, at samples close to success, a local search and further attempts.
    `autoattack` consists of the four attacks of Croce and Hein, 2020, with their budgets, in our
    implementation. `thorough` combines both with more steps and restarts. In a user's threat that
    extends no built-in norm, the attacks that need no more than the methods of `Threat` remain.

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
    if threat.norm == "l0":
        return [SigmaZero(steps=_L0_STEPS.get(protocol, 1000))]
    if threat.norm == "patch":
        if protocol == "quick":
            return [PatchAttack(steps=20)]
        return [PatchAttack(), *([Restarts(PatchAttack(), 3)] if protocol == "thorough" else [])]
    kinds = _IN_L1 if threat.norm == "l1" else _PROTOCOLS
    attacks = kinds[protocol]()
    unwrapped = [_innermost(attack) if not attack.knows(threat) else attack for attack in attacks]
    return [attack for attack in unwrapped if attack.knows(threat)]


def _innermost(attack: Attack) -> Attack:
    return (
        _innermost(attack.attack) if isinstance(attack, LocalSearch | HardSampleRetry) else attack
    )


_L0_STEPS = {"quick": 100, "fast": 300}


def _quick() -> list[Attack]:
    targeted = APGDT(steps=20, targets=6, top_targets=1, extra_restarts=0)
    return [FGSM(), CWLinf(steps=10), targeted]


def _fast() -> list[Attack]:
    targeted = APGDT(steps=50, targets=6, top_targets=1, extra_restarts=0)
    return [FGSM(), CWLinf(steps=10), HardSampleRetry(LocalSearch(targeted))]


def _autoattack() -> list[Attack]:
    return [
        APGDCE(steps=100),
        APGDT(steps=100, targets=9, top_targets=None, extra_restarts=0),
        FABT(steps=100, targets=9, top_targets=None),
        Square(queries=5000),
    ]


def _thorough() -> list[Attack]:
    targeted = APGDT(steps=100, top_targets=3, extra_restarts=0)
    return [
        CWLinf(steps=20),
        HardSampleRetry(LocalSearch(targeted, queries=1000)),
        Restarts(APGDCE(steps=100), 5),
        Restarts(APGDDLR(steps=100), 5),
        APGDT(steps=200, targets=9, top_targets=None),
        FABT(steps=100, targets=9, top_targets=None),
        Square(queries=5000),
    ]


def _quick_in_l1() -> list[Attack]:
    return [CWLinf(steps=10), APGDT(steps=50, targets=6, top_targets=1, extra_restarts=0)]


def _fast_in_l1() -> list[Attack]:
    """L1 needs more steps: the first 60 % of an ascent run in wider balls."""
    targeted = APGDT(steps=200, targets=6, top_targets=1, extra_restarts=2)
    return [CWLinf(steps=10), targeted]


def _autoattack_in_l1() -> list[Attack]:
    """Five ascents on cross-entropy, and targeted ones to five targets."""
    return [
        Restarts(APGDCE(steps=100), 5),
        APGDT(steps=100, targets=5, top_targets=None, extra_restarts=0),
        FABT(steps=100, targets=9, top_targets=None),
        Square(queries=5000),
    ]


_PROTOCOLS = {"quick": _quick, "fast": _fast, "autoattack": _autoattack, "thorough": _thorough}
_IN_L1 = {**_PROTOCOLS, "quick": _quick_in_l1, "fast": _fast_in_l1, "autoattack": _autoattack_in_l1}


def around_masks(threat: Threat, random: bool) -> list[Attack]:
    """What still works where gradients mislead: through hidden stages, and without gradients.

    Args:
        threat: What may change.
        random: Whether the model answers the same image in several ways.
    """
    ascent: Attack = PGD(steps=40) if random else APGDT(steps=50)
    inner = ascent if ascent.knows(threat) else attacks_of("fast", threat)[0]
    through: Attack = EOT(BPDA(inner), 10) if random else BPDA(inner)
    return [attack for attack in (through, *without_gradients(threat)) if attack.knows(threat)]


def without_gradients(threat: Threat) -> list[Attack]:
    """Attacks that ask for scores alone, then for labels alone, as far as they know the threat."""
    made: list[Attack] = [Square(queries=2000), HopSkipJump(queries=2000)]
    return [attack for attack in made if attack.knows(threat)]


def transferred(threat: Threat) -> list[Attack]:
    """Attacks of a gray-box attacker on a model of their own, with and without momentum."""
    made: list[Attack] = [PGD(steps=40), MIFGSM(steps=10), CWLinf(steps=40)]
    return [attack for attack in made if attack.knows(threat)]


def queried(protocol: str, threat: Threat) -> list[Attack]:
    """What an attacker asks of a model's answers alone: scores, then labels, both capped."""
    thorough = protocol not in ("quick", "fast")
    made: list[Attack] = [Square(queries=5000 if thorough else 1000)]
    if protocol == "thorough":
        made.append(HopSkipJump(queries=5000))
    return [attack for attack in made if attack.knows(threat)]


def nearest(threat: Threat) -> Attack | None:
    """What looks for the nearest adversarial image of a norm; None for patches."""
    both = NearestOf(FMN(steps=20), FAB(steps=50, rivals=2))
    made: list[Attack] = [both, SigmaZero(steps=300)]
    return next((attack for attack in made if attack.knows(threat)), None)
