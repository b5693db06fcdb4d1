"""All kinds of flags of this room, and what they say together."""

from __future__ import annotations

from collections.abc import Iterable

from tempering.core.records import Flag
from tempering.evaluation.flags import (
    binarization,
    certificates,
    convergence,
    determinism,
    differences,
    distances,
    doubling,
    growth,
    hidden,
    outputs,
    rerun,
    silent,
    sizes,
    transferring,
    unavailable,
    unconstrained,
    units,
    unstable,
    vanishing,
    winners,
)
from tempering.evaluation.flags.kind import Kind

ABSTAINED = Kind(
    "not examined",
    "the model or the attack broke an examination off, or there is none for the threat; what it "
    "would have shown is unknown",
    "see to the error, and examine again; where the threat has no examination, look in L-inf too",
)

KINDS: tuple[Kind, ...] = (
    determinism.RANDOM,
    determinism.BATCH,
    outputs.PROBABILITIES,
    units.UNITS,
    unavailable.UNAVAILABLE,
    hidden.ZERO,
    hidden.GAP,
    vanishing.VANISHING,
    differences.LIES,
    unstable.UNSTABLE,
    silent.SILENT,
    convergence.INCOMPLETE,
    convergence.CONVERGED,
    transferring.FAILURE,
    unconstrained.UNCONSTRAINED,
    doubling.WEAK,
    rerun.RERUN,
    binarization.FAILED,
    binarization.BLUNT,
    winners.BLACK,
    winners.TRANSFER,
    winners.GRAY,
    winners.STALE,
    winners.ONE_STEP,
    winners.TRUE,
    growth.RISES,
    growth.STAYS,
    distances.FAILS,
    certificates.BROKEN,
    sizes.FEW,
    ABSTAINED,
)
"""In the order in which they are worth reading."""


def masked(flags: Iterable[Flag]) -> bool:
    """Whether flags say that attacks which follow gradients are misled.

    Then an evaluation has to switch to the adaptive backward and to attacks that need no
    gradient, and to report both numbers.

    Example:
        >>> masked([hidden.ZERO.raised("2 of 3 samples")]), masked([sizes.FEW.raised("n = 9")])
        (True, False)
    """
    masking = {kind.name for kind in KINDS if kind.masks}
    return any(flag.name in masking for flag in flags)
