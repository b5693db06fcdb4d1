"""Renders the tables of certificates.py from its records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from beside_lirpa_table import section
from tempering.core.records import Count

Row = dict[str, Any]

INTRO = """\
Networks are small and were trained for this benchmark on training data; settings were chosen on
validation data. All figures are for the first test images of official MNIST. Brackets contain 95 %
Wilson intervals. *Seconds* are of a single run on a shared machine and only show orders of
magnitude.
"""


def render(rows: Sequence[Row]) -> str:
    """All sections with rows."""
    parts = ["# Certificates: certified accuracy and validation\n", INTRO]
    for name, made in SECTIONS.items():
        own = [row for row in rows if row["cell"]["section"] == name]
        if own:
            parts.append(made(own))
    return "\n".join([*parts, _networks(rows), _places(rows)])


def _table(title: str, text: str, head: str, lines: Sequence[str]) -> str:
    columns = head.strip("| ").split(" | ")
    kinds = [":---" if at < 2 else "---:" for at in range(len(columns))]
    return "\n".join([f"## {title}\n", text, head, f"| {' | '.join(kinds)} |", *lines, ""])


def _share(hits: int, n: int) -> str:
    return str(Count(hits=hits, n=n))


def _evaluation(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        cell, n = row["cell"], row["cell"]["n"]
        settled = row["certified"] + n - row["clean"]
        gap = 100 * (row["standing"] - row["certified"]) / n
        stages = ", ".join(f"{name} {left}" for name, left in row["stages"].items())
        lines.append(
            f"| {cell['network']} | {cell['threat']} | {n} | {row['clean']} | {row['certified']} "
            f"| {row['standing']} | {_share(settled, n)} | {_share(row['certified'], n)} "
            f"| {_share(row['standing'], n)} | {gap:.1f} | {row['seconds']:.3g} | {stages} |"
        )
    return _table(
        "Lower and upper bounds of robust accuracy",
        EVALUATION,
        "| network | threat | images | clean correct | certified | robust | decided "
        "| at least | at most | gap | seconds | robust after each stage |",
        lines,
    )


EVALUATION = """\
`tp.evaluate` with its default protocol (`fast`). *Decided*: certified, or misclassified without
attack; no attack determines these verdicts (48 certified samples are attacked as spot checks). *At
least* is certified accuracy, *at most* accuracy under all attacks, *gap* their difference in
percentage points. `hardened` was trained adversarially: its bounds are too loose for certificates.
Train networks for certificates if you need them.
"""


def _economics(rows: Sequence[Row]) -> str:
    lines = [
        f"| {row['cell']['network']} | {row['cell']['threat']} | {row['cell']['n']} "
        f"| {row['standing']} | {row['certified']} | {row['cpu_seconds_alone']:.3g} "
        f"| {row['cpu_seconds_with']:.3g} | {row['seconds_alone']:.3g} "
        f"| {row['seconds_with']:.3g} | {'; '.join(row['survey'])} |"
        for row in rows
    ]
    return _table(
        "What certificates cost and save",
        ECONOMICS,
        "| network | threat | images | robust | certified | attacks alone, CPU s "
        "| with certificates, CPU s | alone, s | with, s | survey |",
        lines,
    )


ECONOMICS = """\
The protocol `fast` on the same images, once without certificates and once with them, without spot
checks, examination and curve. *Survey*: what each method certified of a few images, and what was
decided.
"""


def _methods(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        cell, n = row["cell"], row["cell"]["n"]
        refuted = row["refuted"] - (n - row["clean"])
        undecided = n - row["certified"] - row["refuted"]
        late = f", {row['late']} out of time" if row["late"] else ""
        lines.append(
            f"| {cell['network']}, {cell['threat']} | {cell['method']} | {n} | {n - row['clean']} "
            f"| {row['certified']} | {refuted} | {undecided}{late} "
            f"| {_share(n - undecided, n)} | {row['seconds']:.3g} "
            f"| {60 * (row['certified'] + refuted) / max(row['seconds'], 1e-9):.3g} |"
        )
    limits = {row["cell"]["network"]: row["cell"]["limit"] for row in rows}
    limited = [f"`{name}` {limit:g} s" for name, limit in limits.items() if limit is not None]
    text = METHODS
    if limited:
        text += f"Time limit after which no new work is started: {', '.join(limited)}.\n"
    return _table(
        "Certification methods",
        text,
        "| network, threat | method | images | misclassified | certified | refuted | undecided "
        "| decided | seconds | settled a minute |",
        lines,
    )


METHODS = """\
`certify` without attacks. Each method alone runs on every sample; in *all, in order* each method
runs on the samples that are still undecided. *Refuted*: branch and bound found a counterexample. A
sample is decided if it is certified, refuted or misclassified without perturbation. *Settled a
minute*: certified or refuted.
"""


def _attacks(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        cell = row["cell"]
        lines.append(
            f"| {cell['attack']} | {cell['threat']} | {row['attacked']} | {row['broken']} "
            f"| {cell['wider']} | {row['broken_wider']} |"
        )
    broken, tried = sum(row["broken"] for row in rows), sum(row["attacked"] for row in rows)
    text = ATTACKS.format(
        network=", ".join(sorted({row["cell"]["network"] for row in rows})),
        broken=broken,
        tried=tried,
    )
    return _table(
        "Attacks on certified samples",
        text,
        "| attack | threat | certified samples | successes | larger eps | successes at that eps |",
        lines,
    )


ATTACKS = """\
Every registered attack, in every norm that it and certification support, on samples of `{network}`
that interval bounds or CROWN-IBP certified. One success would show an error in the certificates:
**{broken} of {tried:,} attacks succeeded**. The last column is the same attack with the same budget
on the same samples at an eps at which none is certified; it shows that the attack works. L0 and
patches are not certified, so `sigma-zero`, `patch` and `universal-patch` are left out.
"""


def _matrices(rows: Sequence[Row]) -> str:
    lines = [
        f"| {row['cell']['network']} | {row['cell']['threat']} | {row['cell']['n']} "
        f"| {row['bounds']} | {row['difference']:.1e} | {row['float32_below']:.1e} "
        f"| {row['above']} | {row['beaten']} |"
        for row in rows
    ]
    return _table(
        "Comparison with a matrix implementation of CROWN",
        MATRICES,
        "| network | threat | networks | bounds | largest difference | lower in float32 by at most "
        "| above the matrix bound | above an observed margin |",
        lines,
    )


MATRICES = """\
`matrices.py` computes the same bounds independently in NumPy: each layer is a matrix, each
relaxation two lines. *Largest difference* is absolute, in units of logits, for networks in float64.
In float32 bounds are lower, by the allowance for rounding (next column). The last columns count
bounds that exceed the matrix bounds by more than 1e-9, and bounds that exceed the margin of one of
50 random images of the ball; either would be an error.
"""


def _exact(rows: Sequence[Row]) -> str:
    (row,) = rows
    n, positive = row["samples"], row["positive"]
    lines = [
        f"| {name} | {row['cell']['threat']} | {count['certified']} | {count['refuted']} "
        f"| {n - count['certified'] - count['refuted']} | {count['falsely']} | {count['above']} |"
        for name, count in row["methods"].items()
    ]
    text = EXACT.format(
        nets=row["cell"]["n"],
        n=n,
        positive=positive,
        negative=n - positive,
        fooled=row["attack_fooled"],
        below=row["attack_below"],
    )
    return _table(
        "Comparison with the exact minimum margin",
        text,
        "| methods up to | threat | certified | refuted | undecided | wrongly certified "
        "| bounds above the minimum margin |",
        lines,
    )


EXACT = """\
{nets} random ReLU networks, small enough to compute the minimum margin with a linear program for
each sign pattern. It is positive for {positive} of {n} samples and negative for {negative}: a
complete method certifies the former and refutes the latter. PGD (100 steps) succeeds on {fooled} of
the latter; {below} of its margins are below the minimum, which would be an error.
"""


def _smoothing(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        cell, n = row["cell"], row["cell"]["n"]
        for radius, hits in row["certified"].items():
            lines.append(
                f"| {cell['network']} | {cell['smoothing']} | l2:{radius} | {n} "
                f"| {_share(hits, n)} | {row['abstained']} | {row['wrong']} "
                f"| {row['clean_without_noise']} |"
            )
    row = rows[-1]
    settings = row["smoothing"]
    text = SMOOTHING.format(
        sigma=settings["sigma"],
        samples=settings["samples"],
        selection=settings["selection"],
        alpha=settings["alpha"],
        seconds=row["seconds"],
    )
    return _table(
        "Randomised smoothing",
        text,
        "| network | certificate | threat | images | certified | abstained | wrong "
        "| clean correct without noise |",
        lines,
    )


SMOOTHING = """\
Certificates of the smoothed classifier with sigma {sigma:g}, not of the network itself:
{selection} noisy copies of each image select a class, {samples:,} bound its probability. Each
certificate is wrong with probability at most {alpha:g}. Abstentions and errors count as not
certified. {seconds:.3g} seconds.
"""


def _networks(rows: Sequence[Row]) -> str:
    """Weights and training of each network."""
    seen: dict[str, str] = {}
    for row in rows:
        if "about" in row:
            about = row["about"]
            how = about.get("training") or f"recipe {about['recipe']}"
            seen[row["cell"]["network"]] = f"weights `{about['weights']}`, {how}"
    lines = [f"- `{name}`: {text}" for name, text in seen.items()]
    return "\n".join(["## Networks\n", *lines, ""])


def _places(rows: Sequence[Row]) -> str:
    places = {
        f"{place['processor']}, torch {place['torch']}, Python {place['python']}"
        for place in (row["environment"] for row in rows)
    }
    seeds = sorted({row["cell"]["seed"] for row in rows if "seed" in row["cell"]})
    of = f"Seed {', '.join(map(str, seeds))}. " if seeds else ""
    return f"{of}{'; '.join(sorted(places))}.\n"


def _reference(rows: Sequence[Row]) -> str:
    return _table(*section(rows))


SECTIONS = {
    "evaluation": _evaluation,
    "economics": _economics,
    "methods": _methods,
    "attacks": _attacks,
    "matrices": _matrices,
    "exact": _exact,
    "reference": _reference,
    "smoothing": _smoothing,
}
