"""What is wrong with the data of a run, as flags."""

from __future__ import annotations

from collections.abc import Sequence

from tempering.core.records import Flag
from tempering.data.repeats import Repeat, find_repeats
from tempering.data.splits import Splits

SHOWN = 5


def data_flags(data: Splits) -> list[Flag]:
    """Flags for leaks between splits, contradictions and duplicates."""
    repeats = find_repeats(data)
    leaks = [repeat for repeat in repeats if repeat.kind == "leak"]
    contradictions = [repeat for repeat in repeats if repeat.contradicts]
    duplicates = [repeat for repeat in repeats if repeat.kind == "duplicate"]
    flags = []
    if leaks:
        flags.append(
            Flag(
                name="leaks between splits",
                meaning="images that were learnt from are tested or validated on; "
                "accuracies are too high",
                remedy="take the later ones out of the data",
                evidence=_listed(leaks),
            )
        )
    if contradictions:
        flags.append(
            Flag(
                name="equal images with different labels",
                meaning="no model can be right on both",
                remedy="correct the labels",
                evidence=_listed(contradictions),
            )
        )
    if len(duplicates) > len(data.train) // 100:
        flags.append(
            Flag(
                name="duplicates within a split",
                meaning="more than 1 in 100 images occur again; counts are of fewer images "
                "than they seem",
                remedy="take the later ones out of the data",
                evidence=_listed(duplicates),
            )
        )
    return flags


def _listed(repeats: Sequence[Repeat]) -> str:
    more = f" and {len(repeats) - SHOWN} more" if len(repeats) > SHOWN else ""
    return "; ".join(str(repeat) for repeat in repeats[:SHOWN]) + more
