"""Renders the table of smoothing.py from its records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tempering.core.records import Count

Row = dict[str, Any]

INTRO = """\
# Randomized smoothing

Certified accuracy of smoothed classifiers on the first {n} test images of MNIST, in L2, with
{selection} draws that select a class, {draws} that bound its probability, alpha {alpha:g} and
seed {seed} (Cohen et al., 2019). Brackets hold 95 % Wilson intervals. Each certificate is false
with probability at most alpha. A network was trained with noise of the deviation in the second
column, 0 for none. `denoised` is the clean-trained network behind a denoiser (Salman et al.,
2020). {draws} draws with sigma 0.25 certify no radius beyond {largest:.2f}.
"""
EARLY = """\
## Early abort

The same at eps {eps:g}, where hopeless samples are given up after the first draws. *Lost*:
samples that all draws certify at eps and that were given up. *Seconds*: of the
processor, one thread, with all draws and with early abort.
"""


def render(rows: Sequence[Row]) -> str:
    """Both tables."""
    rows = sorted(rows, key=lambda row: (row["cell"]["sigma"], row["cell"]["network"]))
    if not rows:
        return "# Randomized smoothing\n"
    cell = rows[0]["cell"]
    radii = list(rows[0]["all_draws"]["certified"])
    head = ["network", "noise in training", "sigma", "clean, without noise"]
    head += [f"L2 {radius}" for radius in radii]
    lines = [_table_row(head), _rule(2, len(head) - 2)]
    for row in rows:
        own = row["cell"]
        shares = [_share(hits, own["n"]) for hits in row["all_draws"]["certified"].values()]
        clean = _share(row["clean_without_noise"], own["n"])
        names = [own["network"], f"{own['training']:g}", f"{own['sigma']:g}", clean]
        lines.append(_table_row([*names, *shares]))
    early = ["network", "sigma", "certified", "given up", "lost", "seconds, all", "seconds, early"]
    more = [_table_row(early), _rule(1, len(early) - 1)]
    for row in rows:
        own, short = row["cell"], row["early_abort"]
        certified = short["certified"][f"{short['eps']:g}"]
        values = [own["network"], f"{own['sigma']:g}", certified, short["given_up"], short["lost"]]
        times = [f"{row[key]['seconds']:.1f}" for key in ("all_draws", "early_abort")]
        more.append(_table_row([*map(str, values), *times]))
    intro = INTRO.format(**cell, largest=_largest(cell["draws"], cell["alpha"]))
    title = EARLY.format(eps=rows[0]["early_abort"]["eps"])
    return "\n".join([intro, *lines, "", title, *more, ""])


def _largest(draws: int, alpha: float) -> float:
    from tempering.certification.smoothing import Smoothing

    return Smoothing(0.25, samples=draws, alpha=alpha).largest_radius


def _share(hits: int, n: int) -> str:
    return str(Count(hits=hits, n=n))


def _table_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(left: int, right: int) -> str:
    return _table_row([*[":---"] * left, *["---:"] * right])
