"""Flags of an explanation: why its attributions may mislead."""

from __future__ import annotations

from torch import Tensor

from tempering.core.backward import adaptive_stages, random_stages
from tempering.core.records import Flag
from tempering.evaluation.attribution import INTEGRATED, OCCLUSION, SMOOTHGRAD
from tempering.evaluation.context import EvalContext
from tempering.evaluation.flags.flag_kind import FlagKind
from tempering.evaluation.flags.gradient_quality import ZERO
from tempering.evaluation.flags.model_outputs import RANDOM
from tempering.evaluation.gradients import without_gradient
from tempering.evaluation.target import Target

LARGE_GAP = 0.25

ZERO_REMEDY = (
    "trust occlusion, which needs no gradient; temper evaluate also attacks without gradients"
)
RANDOM_REMEDY = "compare with the shift under noise, which has the randomness too, and other seeds"

NO_ATTRIBUTION = FlagKind(
    "no attribution",
    "a method gives zero for every pixel, and its correlations are those of constant maps",
    "leave its figures out for these samples",
)
GAP = FlagKind(
    "integrated gradients do not add up",
    "their sum differs from the change of the logit, as with gradients that are declared instead "
    "of computed",
    "trust occlusion more than methods that follow gradients",
)
DECLARED = FlagKind(
    "declared gradients",
    "stages of the model declare a gradient that is not their own, and attributions follow it",
    "compare with occlusion, which follows the model itself",
)


def attribution_flags(
    context: EvalContext,
    target: Target,
    clean: dict[str, Tensor],
    keys: Tensor,
    gap: float | None,
) -> list[Flag]:
    """Look for reasons to distrust attributions.

    Args:
        context: Samples and engine.
        target: The model.
        clean: Method -> attributions of clean images, shape (n, c, h, w).
        keys: Keys of their samples, shape (n,), int64.
        gap: Median relative gap of integrated gradients; None if unknown.
    """
    flags = []
    without = without_gradient(context, target).cpu()
    if bool(without.any()):
        evidence = f"{int(without.sum())} of {context.n} samples"
        flags.append(ZERO.raised(evidence, context.keys[without], remedy=ZERO_REMEDY))
    for method in (INTEGRATED, SMOOTHGRAD, OCCLUSION):
        zero = (clean[method] == 0).flatten(1).all(1).cpu()
        if bool(zero.any()):
            evidence = f"{method}: {int(zero.sum())} of {len(zero)} samples"
            flags.append(NO_ATTRIBUTION.raised(evidence, keys[zero]))
    if gap is not None and gap > LARGE_GAP:
        flags.append(GAP.raised(f"median gap {100 * gap:.0f} % of the change of the logit"))
    if stages := adaptive_stages(target.model):
        flags.append(DECLARED.raised(", ".join(stages)))
    if stages := random_stages(target.model):
        flags.append(RANDOM.raised(", ".join(stages), remedy=RANDOM_REMEDY))
    return flags
