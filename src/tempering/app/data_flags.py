"""Flags for faults of the data of a run: leaks, contradictory labels, duplicates."""

from __future__ import annotations

from collections.abc import Sequence

from tempering.core.records import Flag
from tempering.data.duplicates import DuplicatePair, find_duplicates
from tempering.data.splits import Splits
from tempering.evaluation.flags.flag_kind import FlagKind

SHOWN = 5
"""Pairs of equal images that a flag lists."""


LEAKS = FlagKind(
    "leaks between splits",
    "validation or test images also occur in an earlier split; accuracies are too high",
    "remove the later image of each pair",
)
CONTRADICTIONS = FlagKind(
    "equal images with different labels",
    "no model can be right on both",
    "correct the labels",
)
DUPLICATES = FlagKind(
    "duplicates within a split",
    "more than 1 in 100 images occur again; counts are of fewer distinct images than they seem",
    "remove the later image of each pair",
)


def data_flags(data: Splits) -> list[Flag]:
    """Flags for equal images; their samples are the ids of the later image of each pair.

    Args:
        data: Training, validation and test data.

    Returns:
        At most three flags: leaks between splits, equal images with different labels, and
        duplicates within a split where they are more than 1 % of the training images.
    """
    pairs = find_duplicates(data)
    leaks = [pair for pair in pairs if pair.kind == "leak"]
    contradictions = [pair for pair in pairs if pair.contradicts]
    duplicates = [pair for pair in pairs if pair.kind == "duplicate"]
    many = len(duplicates) > len(data.train) // 100
    raised = [(LEAKS, leaks), (CONTRADICTIONS, contradictions), (DUPLICATES, duplicates * many)]
    return [_flag(kind, flagged) for kind, flagged in raised if flagged]


def _flag(kind: FlagKind, pairs: Sequence[DuplicatePair]) -> Flag:
    more = f" and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
    return Flag(
        name=kind.name,
        meaning=kind.meaning,
        remedy=kind.remedy,
        evidence="; ".join(str(pair) for pair in pairs[:SHOWN]) + more,
        samples=list(dict.fromkeys(pair.second.id for pair in pairs)),
    )
