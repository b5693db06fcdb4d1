"""Flags for faults of the data of a run: leaks, contradictory labels, duplicates."""

from __future__ import annotations

from collections.abc import Sequence

from tempering.core.records import Flag
from tempering.data.duplicates import DuplicatePair, find_duplicates
from tempering.data.splits import Splits

SHOWN = 5
"""Pairs of equal images that a flag lists."""


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
    flags = []
    if leaks:
        flags.append(
            _flag(
                "leaks between splits",
                "validation or test images also occur in an earlier split; accuracies are too high",
                "remove the later image of each pair",
                leaks,
            )
        )
    if contradictions:
        flags.append(
            _flag(
                "equal images with different labels",
                "no model can be right on both",
                "correct the labels",
                contradictions,
            )
        )
    if len(duplicates) > len(data.train) // 100:
        flags.append(
            _flag(
                "duplicates within a split",
                "more than 1 in 100 images occur again; counts are of fewer distinct images than "
                "they seem",
                "remove the later image of each pair",
                duplicates,
            )
        )
    return flags


def _flag(name: str, meaning: str, remedy: str, pairs: Sequence[DuplicatePair]) -> Flag:
    more = f" and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
    return Flag(
        name=name,
        meaning=meaning,
        remedy=remedy,
        evidence="; ".join(str(pair) for pair in pairs[:SHOWN]) + more,
        samples=list(dict.fromkeys(pair.second.id for pair in pairs)),
    )
