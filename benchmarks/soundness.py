"""Tries to violate certified bounds: random networks of all layers, attacked in several ways.

`python benchmarks/soundness.py` bounds `--networks` random networks (`random_networks.py`) under
each threat, with intervals, CROWN and all methods together; every third one has a hard threshold in
front. It then looks for an image within
the threat whose margin lies below a bound: among random corners and directions, by projected
descent on the margin (PGD), and by climbs that change some pixels at a time and need no
gradient. There is no tolerance: bounds account for rounding.

One row a network and threat is written to `records/soundness.jsonl`; rows of other sources are
stale. `--quick` is a short trial; `--render` only renders the table.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from journal import RECORDS, Journal, Row, environment, say, sources_hash
from options import main, parsed
from random_networks import OUTPUTS, SHAPE, STAGES, random_network
from tempering.certification import METHODS, certify
from tempering.core.files import write_text
from tempering.core.patches import Patch
from tempering.core.random import RandomStreams
from tempering.core.threats import L0, L1, L2, Linf, Threat
from tempering.defenses import Threshold

THREATS: tuple[Threat, ...] = (Linf(0.02), Linf(0.1), L2(0.3), L1(0.5), L0(2), Patch(0.12))
CHOICES: dict[str, tuple[str, ...]] = {
    "interval": ("interval",),
    "CROWN": ("crown",),
    "all": METHODS,
}
"""Methods that are tried together."""
IMAGES = 2
NAME = "soundness"


def images(number: int) -> Tensor:
    """Images of which some pixels are exactly 0 or 1, shape (n, c, h, w)."""
    return (RandomStreams.of(number, IMAGES).uniform(SHAPE) * 1.4 - 0.2).clamp(0.0, 1.0)


def margins(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The logit of y less the largest other, shape (n,)."""
    logits = net(x).double()
    own = logits.gather(1, y[:, None])[:, 0]
    return own - logits.scatter(1, y[:, None], -torch.inf).amax(1)


class Search:
    """Images of a threat with small margins.

    Attributes:
        least: The least margin so far, shape (n,).
        where: An image that has it, shape (n, c, h, w).
        points: How many images were tried.
        length: Of a step: eps, or the range of a pixel where eps is a number or a share of them.
    """

    def __init__(self, net: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> None:
        self.net, self.x, self.y, self.threat = net, x, y, threat
        self.least = torch.full((len(x),), torch.inf, dtype=torch.float64)
        self.where, self.points = x.clone(), 0
        self.length = 1.0 if isinstance(threat, L0 | Patch) else threat.eps

    def look(self, point: Tensor) -> Tensor:
        """Project an image onto the threat and keep it if its margin is smaller."""
        point = self.threat.project(point, self.x)
        inside = self.threat.contains(point, self.x)
        with torch.no_grad():
            found = margins(self.net, point, self.y)
        better = inside & (found < self.least)
        self.least[better], self.where[better] = found[better], point[better]
        self.points += len(point)
        return point

    def corners(self, count: int) -> None:
        """Random corners of the box of the ball, and random directions."""
        for number in range(count):
            way = RandomStreams.of(number, len(self.x)).normal(SHAPE).to(self.x)
            if number % 3 == 0:
                way = way.sign()
            elif number % 3 == 1:  # a few pixels
                size = way.abs().flatten(1)
                few = size >= size.topk(3, 1).values[:, -1:]
                way = way.sign() * few.reshape(way.shape)
            self.look(self.x + way * self.length)

    def descend(self, steps: int) -> None:
        """Projected descent on the margin with all of the threat, then with shorter steps."""
        for start in (self.x, self.where.clone()):
            here = start
            for step in range(steps):
                with torch.enable_grad():
                    given = here.clone().requires_grad_()
                    total = margins(self.net, given, self.y).sum()
                    (gradient,) = torch.autograd.grad(total, given)
                length = self.length * 2 * 0.8**step
                here = self.look(here - length * self.threat.ascent(gradient))

    def climb(self, rounds: int) -> None:
        """Keep changes of some pixels that make the margin smaller."""
        for number in range(rounds):
            streams = RandomStreams.of(10_000 + number, len(self.x))
            chosen = streams.derive("pixels").uniform(SHAPE) < 0.15
            way = streams.derive("way").normal(SHAPE).sign().to(self.x)
            self.look(self.where + chosen * way * self.length)


def measured(number: int, threat: Threat, effort: int) -> Row:
    """Bounds of a random network, and what the search finds against them.

    Args:
        number: Of the network.
        threat: What may change.
        effort: Corners and climbs; a quarter of it in descent steps.
    """
    net, layers = random_network(number)
    if number % 3 == 2:
        net, layers = nn.Sequential(Threshold(), net).eval(), ["threshold in front", *layers]
    began = time.perf_counter()
    x = images(number).to(next(net.parameters()).dtype)
    with torch.no_grad():
        y = net(x).argmax(1)
    bounds: dict[str, Tensor] = {}
    reason, certified = None, 0
    for name, methods in CHOICES.items():
        found = certify(net, x, y, threat, methods=methods, seconds=20.0)
        reason = reason or found.unsupported
        if found.unsupported is None:
            bounds[name] = found.margin
            certified = max(certified, int(found.certified.sum()))
    search = Search(net, x, y, threat)
    search.corners(effort)
    search.descend(max(2, effort // 4))
    search.climb(effort)
    slack = [float((search.least - bound).min()) for bound in bounds.values()]
    return {
        "layers": layers,
        "dtype": str(x.dtype).removeprefix("torch."),
        "bounds": IMAGES * len(bounds),
        "points": search.points,
        "violated": sum(int((bound > search.least).sum()) for bound in bounds.values()),
        "slack": min(slack, default=None),
        "certified": certified,
        "images": IMAGES,
        "abstained": reason,
        "seconds": time.perf_counter() - began,
    }


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", type=int, default=300, help="default 300")
    parser.add_argument("--effort", type=int, default=60, help="of the search (default 60)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default 1)")
    parser.add_argument("--render", action="store_true", help="only render the records")
    parser.add_argument("--out", type=Path, help=f"folder of records (default {RECORDS.name})")
    parser.add_argument("--quick", action="store_true", help="few networks, records apart")
    return parsed(parser, given, {"networks": 6, "effort": 12})


def run(chosen: argparse.Namespace) -> None:
    """Measure what is missing, and render."""
    torch.set_num_threads(chosen.threads)
    journal = Journal(chosen.out / f"{NAME}.jsonl")
    sources = sources_hash(["tempering.certification.certify_samples"])
    for number in range(chosen.networks):
        for threat in THREATS:
            cell = {
                "network": number,
                "threat": str(threat),
                "effort": chosen.effort,
                "sources": sources,
            }
            if journal.holds(cell):
                continue
            row = measured(number, threat, chosen.effort)
            say(f"{number} {threat}: {row['violated']} violated {row['abstained'] or ''}")
            journal.put(cell, [{**row, **environment()}], stale=("sources", "effort"))
    write_text(chosen.out / f"{NAME}.md", render(journal.rows))


def render(rows: Sequence[Row]) -> str:
    """The table: a row a threat, and how many networks have each layer."""
    lines = [
        "# Soundness of certified bounds",
        "",
        f"Random networks with images of shape {SHAPE} and {OUTPUTS} outputs, each attacked by "
        "random corners, projected descent and climbs on the margin. A bound is violated if an "
        "image within the threat has a smaller margin.",
        "",
        "| threat | networks | abstained | bounds | images tried | certified | violated |",
        "|---|---|---|---|---|---|---|",
    ]
    for threat in map(str, THREATS):
        own = [row for row in rows if row["cell"]["threat"] == threat]
        bounds, points = (sum(row[name] for row in own) for name in ("bounds", "points"))
        share = f"{sum(row['certified'] for row in own)} of {sum(row['images'] for row in own)}"
        abstained = sum(row["abstained"] is not None for row in own)
        violated = sum(row["violated"] for row in own)
        lines.append(
            f"| {threat} | {len(own)} | {abstained} | {bounds} | {points} | {share} | {violated} |"
        )
    reasons = Counter(row["abstained"] for row in rows if row["abstained"])
    if reasons:
        lines += ["", "Reasons for abstaining:", ""]
        lines += [f"- {reason} ({count})" for reason, count in reasons.most_common()]
    bounded = [row for row in rows if row["abstained"] is None]
    seen = Counter(name for row in bounded for name in set(row["layers"]))
    lines += ["", "| layer | networks with bounds, times threats |", "|---|---|"]
    lines += [f"| {name} | {seen[name]} |" for name in ("threshold in front", *STAGES)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(NAME, arguments(), run, render)
