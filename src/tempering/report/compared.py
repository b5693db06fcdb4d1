"""The model of a run beside another one, sample by sample."""

from __future__ import annotations

from collections.abc import Sequence

from tempering.core.comparisons import Comparison, Judged, Quantity, warnings_of
from tempering.core.records import AnyRecord
from tempering.report import choosing
from tempering.report.section import Section, Tabled
from tempering.report.tables import Cell, Table, named
from tempering.report.wording import percent, whole

DOUBT = 0.05
"""A difference with a p value above this is not told from chance."""

SAID: dict[Quantity, str] = {
    "clean": "Without attack",
    "robust": "After everything tried",
    "certified": "By a proof",
}
ROWS: dict[Quantity, str] = {
    "clean": "right without attack",
    "robust": "withstood everything",
    "certified": "proven",
}


def compared(records: Sequence[AnyRecord]) -> list[Section]:
    """One section a run that this one was compared with."""
    found = choosing.of_kind(records, Comparison)
    others = list(dict.fromkeys((one.second.run, one.second.weights) for one in found))
    return [
        _section(number, [one for one in found if (one.second.run, one.second.weights) == other])
        for number, other in enumerate(others, 1)
    ]


def _section(number: int, found: Sequence[Comparison]) -> Section:
    one = found[0]
    name = one.second.run or one.second.model
    lead = (
        f"This model beside {_who(one.second)}, on the same {whole(one.paired.n)} images. "
        "Only images on which they differ tell them apart."
    )
    said = " ".join(f"{SAID[one.quantity]}: {verdict(one)}" for one in found)
    warnings = next((warnings_of(one) for one in found if one.quantity == "robust"), [])
    identity = "compared" if number == 1 else f"compared-{number}"
    return Section(
        identity,
        f"Compared with {name}",
        (lead, said, f"Beware: {' '.join(warnings)}" if warnings else ""),
        (Tabled(_table(identity, found)),),
    )


def verdict(one: Comparison) -> str:
    """Which model is better, and how sure that is, in a sentence.

    Args:
        one: Two models on the same samples.
    """
    paired = one.paired
    if paired.first + paired.second == 0:
        return f"no image tells the models apart, so {_less_than(one)}."
    low, high = (abs(100 * bound) for bound in paired.interval)
    split = (
        f"only this one holds on {whole(paired.first)} images, only the other on "
        f"{whole(paired.second)}"
    )
    chance = f"equally good models would split so unevenly in {_chance(paired.p_value)} of cases"
    if paired.p_value > DOUBT or paired.first == paired.second:
        return f"no difference is shown; {split}, and {chance}."
    better = "this model is better" if paired.first > paired.second else "the other is better"
    least, most = sorted((low, high))
    crosses = paired.interval[0] < 0 < paired.interval[1]
    size = f"by {abs(paired.points):.1f} points"
    if not crosses:
        size += f", 95 % interval {least:.1f} to {most:.1f}"
    return f"{better} {size}; {split}, and {chance}."


def _less_than(one: Comparison) -> str:
    return f"they differ by less than {100 * one.paired.interval[1]:.1f} points (95 % interval)"


def _chance(p: float) -> str:
    return "fewer than 0.01 %" if p < 0.0001 else percent(p, 2 if p < 0.01 else 1)


def _table(identity: str, found: Sequence[Comparison]) -> Table:
    return Table(
        f"{identity}-table",
        "Images on which each of both models holds",
        named("Count", "Both", "This alone", "Other alone", "Neither", "Difference", "p"),
        tuple(_row(one) for one in found),
        "The difference is in points, with its 95 % interval (Newcombe, paired data); p "
        "is that of McNemar's exact two-sided test.",
    )


def _row(one: Comparison) -> tuple[Cell, ...]:
    paired = one.paired
    low, high = (100 * bound for bound in paired.interval)
    return (
        Cell(ROWS[one.quantity]),
        *(
            Cell(whole(count))
            for count in (paired.both, paired.first, paired.second, paired.neither)
        ),
        Cell(f"{paired.points:+.1f}", f"[{low:+.1f}, {high:+.1f}]"),
        Cell(f"{paired.p_value:.2g}"),
    )


def _who(side: Judged) -> str:
    return side.model if side.run is None else f"{side.model} (run {side.run})"
