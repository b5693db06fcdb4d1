"""Certified accuracy against the number of poisoned training samples, as a table."""

from __future__ import annotations

from tempering.core.measurement_records import PoisonCertificates
from tempering.report.tables import Cell, Column, Table

_ROWS = 12
"""Rows at most, beside the first and the last."""


def poison_table(record: PoisonCertificates) -> Table:
    """A table with one row a number of poisons; of many, some evenly spaced.

    Args:
        record: What `tempering.evaluation.certify_poisoning` returned.
    """
    step = max(1, -(-len(record.within) // _ROWS))
    shown = [k for k in range(len(record.within)) if k % step == 0 or k == len(record.within) - 1]
    return Table(
        id="poison-certificates",
        caption="Certified accuracy against poisoned training samples",
        columns=(Column("poisons"), Column("certified accuracy")),
        rows=tuple((Cell(str(k)), Cell(str(record.within[k]))) for k in shown),
        note=(
            f"{record.parts} networks on disjoint parts vote; {record.n} test samples. A poison "
            "is a sample inserted, removed or relabelled; one replaced counts as two. 95 % "
            "intervals in brackets."
        ),
    )
