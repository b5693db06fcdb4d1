"""Flags for faults of the training of a run."""

from __future__ import annotations

from collections.abc import Sequence

from tempering.core.records import AnyRecord, Flag, Round
from tempering.evaluation.flags.flag_kind import FlagKind

BELOW_FLOOR = FlagKind(
    "no round above the clean floor",
    "clean accuracy on validation data never reached the floor, so that no round was chosen; the "
    "model is that of the last step",
    "lower training.hardened.clean_floor, or train longer",
)


def training_flags(history: Sequence[AnyRecord], floor: float) -> list[Flag]:
    """A flag where every round of a training was below the floor.

    Args:
        history: Records of the training.
        floor: Clean validation accuracy below which no round is chosen, a fraction.
    """
    rounds = [record for record in history if isinstance(record, Round)]
    if not rounds or not all(record.outcome == "below floor" for record in rounds):
        return []
    best = max(record.clean.fraction for record in rounds)
    evidence = f"at most {100 * best:.1f} % in {len(rounds)} rounds, floor {100 * floor:.1f} %"
    return [BELOW_FLOOR.raised(evidence)]
