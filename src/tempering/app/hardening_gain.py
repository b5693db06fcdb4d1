"""What hardening has changed: both models under the same attacks on the same samples."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from tempering.core.comparisons import ComparedModel, Comparison, Quantity
from tempering.core.records import Flag
from tempering.evaluation.evaluation_result import EvaluationResult
from tempering.evaluation.flags.flag_kind import FlagKind
from tempering.evaluation.paired import compare_paired

NO_GAIN = FlagKind(
    "hardening did not help",
    "under the same attacks the hardened model is not significantly more robust than the model "
    "before hardening",
    "train longer, with another objective or a smaller eps; check that the training data fits the "
    "labels and that the model trains at all",
)


def hardening_gain(before: EvaluationResult, after: EvaluationResult) -> list[Comparison]:
    """Compare the hardened model with the one before, clean and under white-box attacks.

    Only attacks count that ran on all samples of both models.

    Args:
        before: Evaluation of the undefended model.
        after: Evaluation of the hardened model with the same attacks on the same samples.
    """
    pairs: dict[Quantity, tuple[Tensor, Tensor]] = {
        "clean": (after.clean, before.clean),
        "robust": (_robust(after), _robust(before)),
    }
    return [_comparison(quantity, after, before, *verdicts) for quantity, verdicts in pairs.items()]


def gain_flags(comparisons: Sequence[Comparison]) -> list[Flag]:
    """A flag if robust accuracy has not risen significantly."""
    (robust,) = [one.paired for one in comparisons if one.quantity == "robust"]
    low, high = (100 * bound for bound in robust.interval)
    if low > 0:
        return []
    evidence = (
        f"{robust.both + robust.first} of {robust.n} samples are robust after hardening, "
        f"{robust.both + robust.second} before: {robust.points:+.1f} points [{low:+.1f}, "
        f"{high:+.1f}]"
    )
    return [NO_GAIN.raised(evidence)]


def _robust(result: EvaluationResult) -> Tensor:
    return result.get("worst").per_sample.robust


def _comparison(
    quantity: Quantity,
    first: EvaluationResult,
    second: EvaluationResult,
    *verdicts: Tensor,
) -> Comparison:
    counts = compare_paired(*verdicts)
    measurement = first.get("worst").measurement
    return Comparison(
        quantity=quantity,
        first=_side(first),
        second=_side(second),
        threat=str(first.threat),
        both=counts.both,
        first_only=counts.first,
        second_only=counts.second,
        neither=counts.neither,
        data_hash=measurement.data_hash,
    )


def _side(result: EvaluationResult) -> ComparedModel:
    attacks = dict.fromkeys(one.measurement.attack for one in result.attacks("white"))
    return ComparedModel(
        model=f"the {result.target.subject} model",
        run=None,
        weights=result.target.weights,
        tried=f"attacks {', '.join(attacks)}",
        n=len(result.robust),
    )
