"""The tables of certificates.py, from its records alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tempering.core.records import Count

Row = dict[str, Any]

INTRO = """\
Networks are small and were trained here, on training data; settings were tried on validation data
before; all figures below are of the first test images of official MNIST. Brackets are 95 % Wilson
intervals. *Seconds* are of one run on a machine that others used meanwhile: they say what is dear
and what is cheap, and nothing more.
"""


def render(rows: Sequence[Row]) -> str:
    """Every section of which there are rows."""
    parts = ["# Certificates: what they settle, and whether they hold\n", INTRO]
    for name, section in SECTIONS.items():
        own = [row for row in rows if row["cell"]["section"] == name]
        if own:
            parts.append(section(own))
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
        "Bounds from both sides",
        EVALUATION,
        "| network | threat | images | right without attack | proven | standing | settled "
        "| at least | at most | points between | seconds | what stood after each stage |",
        lines,
    )


EVALUATION = """\
`tp.evaluate` with its own protocol (`fast`). *Settled*: by a proof or by an error on the image
itself, before any attack of the registry ran; no attack decides any of these verdicts (48 proven
samples are attacked all the same, to catch a wrong proof). *At least* is what is proven, *at most*
what withstood all attacks, *points between* the difference in percentage points. `hardened` was
trained on attacks alone: whatever withstands them there, hardly anything is proven. For proofs, a
network must be trained for them.
"""


def _methods(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        cell, n = row["cell"], row["cell"]["n"]
        refuted = row["refuted"] - (n - row["clean"])
        undecided = n - row["certified"] - row["refuted"]
        late = f", {row['late']} for want of time" if row["late"] else ""
        lines.append(
            f"| {cell['network']}, {cell['threat']} | {cell['method']} | {n} | {n - row['clean']} "
            f"| {row['certified']} | {refuted} | {undecided}{late} "
            f"| {_share(n - undecided, n)} | {row['seconds']:.3g} |"
        )
    limits = {row["cell"]["network"]: row["cell"]["limit"] for row in rows}
    limited = [f"`{name}` {limit:g} s" for name, limit in limits.items() if limit is not None]
    text = METHODS
    if limited:
        text += f"After a while nothing new is begun: {', '.join(limited)}.\n"
    return _table(
        "Method by method",
        text,
        "| network, threat | method | images | wrong anyway | certified | refuted | undecided "
        "| settled | seconds |",
        lines,
    )


METHODS = """\
`certify` without any attack of the registry. Each method by itself is given every sample; *all, in
order* gives each only what those before it left. *Refuted*: branching met an image of the threat
that the network gets wrong; such an image, a certificate or an error on the image itself settles
a sample.
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
        "Attacks against proofs",
        text,
        "| attack | threat | proven samples | broken | wider threat | broken under that |",
        lines,
    )


ATTACKS = """\
Every attack of the registry, under every threat that it knows and that has proofs, on samples of
`{network}` that interval bounds or CROWN-IBP certified. One broken sample would be a mistake in
the proofs: **{broken} of {tried:,} were broken**. The last column is the same attack with the same
budget on the same samples, under a threat so wide that nothing is proven: it shows that the attack
works. Threats in L0 and patches have no proofs here, and their attacks (`sigma-zero`, `patch`,
`universal-patch`) none to beat.
"""


def _matrices(rows: Sequence[Row]) -> str:
    lines = [
        f"| {row['cell']['network']} | {row['cell']['threat']} | {row['cell']['n']} "
        f"| {row['bounds']} | {row['difference']:.1e} | {row['float32_below']:.1e} "
        f"| {row['above']} | {row['beaten']} |"
        for row in rows
    ]
    return _table(
        "CROWN beside CROWN with matrices",
        MATRICES,
        "| network | threat | networks | bounds | largest difference | in float32 lower by at most "
        "| above the matrices | above a margin that was met |",
        lines,
    )


MATRICES = """\
`matrices.py` computes the same bounds from scratch in numpy: every layer a matrix, every relaxation
two lines, no code shared. *Largest difference* is absolute, in units of logits, for networks in
float64. A network in float32 rounds more, and its bounds are lowered by what it may round: the next
column. Then bounds that are above the matrices' by more than 1e-9, and above a margin that one of
50 random images of the ball has: either would be a mistake.
"""


def _exact(rows: Sequence[Row]) -> str:
    (row,) = rows
    n, positive = row["samples"], row["positive"]
    lines = [
        f"| {name} | {row['cell']['threat']} | {one['certified']} | {one['refuted']} "
        f"| {n - one['certified'] - one['refuted']} | {one['falsely']} | {one['above']} |"
        for name, one in row["methods"].items()
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
        "Beside the exact least margin",
        text,
        "| up to method | threat | certified | refuted | undecided | certified falsely "
        "| bounds above the least margin |",
        lines,
    )


EXACT = """\
{nets} random ReLU networks, so small that a linear program for each pattern of signs gives the
least margin itself. It is positive for {positive} of {n} samples and negative for {negative}: a
complete method certifies the former and refutes the latter. PGD (100 steps) fools
{fooled} of the latter; {below} of its margins lie below the least one, where none can lie.
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
        "| right without noise or vote |",
        lines,
    )


SMOOTHING = """\
Of the vote under noise of sigma {sigma:g}, not of the network itself: {selection} copies of each
image select a class, {samples:,} bound its probability; each certificate is false with probability
{alpha:g} at most. Abstentions and errors count as not certified. {seconds:.3g} seconds.
"""


def _networks(rows: Sequence[Row]) -> str:
    """What the networks are."""
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


SECTIONS = {
    "evaluation": _evaluation,
    "methods": _methods,
    "attacks": _attacks,
    "matrices": _matrices,
    "exact": _exact,
    "smoothing": _smoothing,
}
