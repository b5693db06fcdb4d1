"""All kinds of flags of this room."""

from __future__ import annotations

from collections.abc import Iterable

from tempering.core.records import Flag
from tempering.evaluation.flags import (
    attack_comparisons,
    attack_strength,
    binarization,
    gradient_quality,
    impossible_results,
    model_outputs,
)
from tempering.evaluation.flags.flag_kind import FlagKind

NOT_EXAMINED = FlagKind(
    "not examined",
    "a check failed with an error, had no time, or does not exist for the threat; its result is "
    "unknown",
    "fix the error or give more time, and examine again; where no check exists for the threat, "
    "examine L-inf too",
)

FLAG_KINDS: tuple[FlagKind, ...] = (
    model_outputs.RANDOM,
    model_outputs.BATCH_DEPENDENT,
    model_outputs.PROBABILITIES,
    model_outputs.VOTES,
    model_outputs.WRONG_INPUT_RANGE,
    gradient_quality.UNAVAILABLE,
    gradient_quality.FAILED_BACKWARD,
    gradient_quality.ZERO,
    gradient_quality.NOT_FINITE,
    gradient_quality.MASKING_STAGE,
    gradient_quality.VANISHING,
    gradient_quality.DISAGREEING,
    gradient_quality.UNSTABLE,
    attack_strength.SILENT,
    attack_strength.INCOMPLETE,
    attack_strength.NOT_CONVERGED,
    attack_comparisons.TRANSFER_FAILURE,
    attack_strength.UNCONSTRAINED,
    attack_strength.TOO_WEAK,
    attack_strength.SEED_DEPENDENT,
    binarization.FAILED,
    binarization.NEEDS_STRONGER_ATTACK,
    attack_comparisons.BLACK,
    attack_comparisons.TRANSFER,
    attack_comparisons.GRAY,
    attack_comparisons.STALE,
    attack_comparisons.ONE_STEP,
    attack_comparisons.TRUE,
    impossible_results.RISES,
    impossible_results.ABOVE_CHANCE,
    impossible_results.MINIMUM_NORM_FAILED,
    impossible_results.CERTIFIED_BUT_BROKEN,
    impossible_results.TOO_FEW,
    NOT_EXAMINED,
)
"""In the order of the documentation."""


def is_gradient_masked(flags: Iterable[Flag]) -> bool:
    """Whether flags are evidence of gradient masking.

    An evaluation must then add the adaptive backward and attacks that need no gradient, and
    report both numbers.

    Example:
        >>> is_gradient_masked([gradient_quality.ZERO.raised("2 of 3 samples")])
        True
        >>> is_gradient_masked([impossible_results.TOO_FEW.raised("n = 9")])
        False
    """
    masking = {kind.name for kind in FLAG_KINDS if kind.masks}
    return any(flag.name in masking for flag in flags)
