"""Measures certified accuracy, tightness of bounds, and attacks against certified samples.

Run `.venv/bin/python benchmarks/certificates.py`; a laptop CPU suffices. It trains two networks by
interval training, one on dual bounds, one adversarially and one with Gaussian noise, and caches
them in `.cache/`.
Test images are used once, at the end. Cells that are recorded in `records/certificates.jsonl`
under the same settings are skipped. `records/certificates.md` is rendered from the records.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import beside_lirpa
import tempering as tp
from certifiable import Certifiable, Dual, Noisy, trained
from certificate_economics import compared
from certificates_table import render
from exactness import NETS, THREATS, TINY_THREAT, agreement, exact
from journal import Journal, Row, engine_hash, environment, say, sources_hash
from measuring import verdicts
from options import listed, main, parsed, parser_of
from subjects import SMALL, mnist, mnist_model, right
from tempering.attacks import APGDT, ATTACKS, PGD, LocalSearch, Restarts, Transfer
from tempering.attacks.base import Attack
from tempering.certification import METHODS, Smoothing, certify
from tempering.core.files import write_text
from tempering.core.random import RandomStreams
from tempering.core.threats import L0, L1, L2, Linf, Threat
from tempering.evaluation.protocols import attacks_of

SECTIONS = (
    *("evaluation", "economics", "methods", "attacks", "matrices", "exact", "reference"),
    "smoothing",
)
NETWORKS = ("interval-0.1", "hardened", "interval-0.3", "dual-0.1")
STALE = ("engine", "weights")
SMALLER = Certifiable(eps=0.15, iterations=6000)
LARGER = Certifiable(eps=0.35, iterations=12_000, growing=0.6)
SHORT = Dual(eps=0.1, iterations=600)
NOISE = Noisy(sigma=0.5, iterations=3000)
RADII = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
PROVEN = "tempering.certification.certify_samples"
SMOOTHED = "tempering.certification.smoothing"
IN_ORDER = "all, in order"
ATTACKED: tuple[tuple[Threat, Threat], ...] = (
    (Linf(0.1), Linf(0.4)),
    (L2(0.2), L2(4.0)),
    (L1(0.2), L1(30.0)),
    (L0(1.0), L0(100.0)),
)
"""Under which proven samples are attacked, and under which the same attacks show that they work.
Every attack that knows a norm with proofs knows one of these."""
BUDGET = {
    "steps": 50,
    "queries": 500,
    "iterations": 200,
    "searches": 3,
    "epochs": 10,
    "first_estimate": 20,
}
"""Of each attack on proven samples, where it has such a setting."""


@dataclass(frozen=True, eq=False)
class Proved:
    """A network whose samples are to be proven.

    Attributes:
        name: As rows name it.
        make: The network, and what it is.
        threat: What may change.
        images: How many test images are judged.
        seconds: After which a method that is tried alone begins nothing new; None for never.
    """

    name: str
    make: Callable[[], tuple[nn.Module, dict[str, Any]]]
    threat: Threat
    images: int
    seconds: float | None = None


def networks(chosen: argparse.Namespace) -> list[Proved]:
    """Two trained for proofs, and one hardened by attacks alone under the threats of both."""
    smaller = cache(partial(trained, shortened(SMALLER, chosen.iterations)))
    larger = cache(partial(trained, shortened(LARGER, chosen.iterations)))
    hardened = cache(partial(mnist_model, "hardened", min(2000, chosen.iterations), SMALL))
    dual = cache(partial(trained, shortened(SHORT, chosen.iterations)))
    few = min(200, chosen.images)
    return [
        Proved("interval-0.1", smaller, Linf(0.1), chosen.images),
        Proved("hardened", hardened, Linf(0.1), few, chosen.seconds),
        Proved("interval-0.3", larger, Linf(0.3), chosen.images),
        Proved("hardened", hardened, Linf(0.3), few, chosen.seconds),
        Proved("dual-0.1", dual, Linf(0.1), min(500, chosen.images)),
    ]


def shortened(plan: Any, iterations: int) -> Any:
    """A plan of training with no more steps than that."""
    return dataclasses.replace(plan, iterations=min(plan.iterations, iterations))


def evaluated(proved: Proved, model: nn.Module, seed: int) -> Row:
    """Both bounds, as an evaluation finds them: proofs first, then attacks."""
    assessment = tp.evaluate(
        model, mnist().test, proved.threat, samples=proved.images, subset="first", seed=seed
    )
    return {
        "seconds": assessment.seconds,
        "clean": assessment.clean_correct,
        "certified": assessment.certified_correct,
        "standing": assessment.robust_correct,
        "stages": {name: stage.survivors for name, stage in assessment.by_attack.items()},
        "forwards": assessment.passes.forward,
        "backwards": assessment.passes.backward,
        "flags": [flag.name for flag in assessment.flags],
    }


def by_method(proved: Proved, model: nn.Module, method: str) -> Row:
    """What a method proves when it is given every sample, or all of them one after the other."""
    test = mnist().test.first(proved.images)
    methods = METHODS if method == IN_ORDER else (method,)
    began = time.perf_counter()
    certificates = certify(
        model, test.x, test.y, proved.threat, methods=methods, seconds=proved.seconds
    )
    return {
        "seconds": time.perf_counter() - began,
        "clean": len(test) - sum(name == "clean" for name in certificates.settled_by),
        "certified": int(certificates.certified.sum()),
        "refuted": len(certificates.counterexamples),
        "late": sum(reason == "time is up" for reason in certificates.reasons),
        "spent": [dataclasses.asdict(spent) for spent in certificates.spent],
    }


def attackers(surrogate: nn.Module) -> list[Attack]:
    """Every attack of the registry with a modest budget, and some combinations."""
    made = []
    for kind in ATTACKS.values():
        if kind is Transfer:
            made.append(Transfer(PGD(steps=50), surrogate))
            continue
        fields = {field.name for field in dataclasses.fields(kind)}
        made.append(kind(**{name: value for name, value in BUDGET.items() if name in fields}))
    return [*made, Restarts(PGD(steps=50), 3), LocalSearch(APGDT(steps=50), 300)]


@cache
def proven(model: nn.Module, threat: Threat, images: int) -> Tensor:
    """Which of the first test images the cheap methods certify."""
    test = mnist().test.first(images)
    return certify(model, test.x, test.y, threat, methods=METHODS[:2]).certified.nonzero()[:, 0]


def attacked(
    attack: Attack,
    model: nn.Module,
    threats: tuple[Threat, Threat],
    samples: int,
    images: int,
    seed: int,
) -> Row:
    """How many samples an attack breaks under the threat of the proofs, and under a wider one."""
    test, certified = mnist().test, proven(model, threats[0], images)
    rows = certified[:samples]
    x, y = test.x[rows], test.y[rows]
    broken = []
    for allowed in threats:
        x_adv = attack(model, x, y, allowed, RandomStreams(seed, rows))
        broken.append(int(verdicts(model, x, y, x_adv, allowed).sum()))
    return {
        "certified": len(certified),
        "attacked": len(rows),
        "broken": broken[0],
        "broken_wider": broken[1],
        "config": attack.config(),
    }


def smoothed(model: nn.Module, smoothing: Smoothing, images: int, seed: int) -> Row:
    """What is proved of the vote under noise, at several radii, and the network without noise."""
    test = mnist().test.first(images)
    began = time.perf_counter()
    certificate = smoothing(model, test.x, test.y, RandomStreams(seed, torch.arange(images)))
    return {
        "seconds": time.perf_counter() - began,
        "clean_without_noise": int(right(model, test.x, test.y).sum()),
        "abstained": int((certificate.predicted < 0).sum()),
        "wrong": int(
            ((certificate.predicted >= 0) & (certificate.predicted != certificate.y)).sum()
        ),
        "certified": {f"{radius:g}": certificate.count(radius).hits for radius in RADII},
        "smoothing": smoothing.config(),
    }


Cell = tuple[Row, Callable[[], Row]]


def cells(chosen: argparse.Namespace) -> Iterator[Cell]:
    """Settings of everything there is to measure, and how it is measured."""
    common = {"seed": chosen.seed, "threads": chosen.threads}
    judging = engine_hash(attacks_of("fast", Linf(0.1))) + sources_hash([PROVEN])
    every = networks(chosen)
    nets = [net for net in every if net.name in chosen.networks]
    for net in nets if "evaluation" in chosen.only else ():
        model, about = net.make()
        cell = {"section": "evaluation", "network": net.name, "threat": str(net.threat)}
        cell |= {"n": net.images, "weights": about["weights"], "engine": judging, **common}
        yield cell, partial(evaluated, net, model, chosen.seed)
    for net in nets if "economics" in chosen.only else ():
        model, about = net.make()
        cell = {"section": "economics", "network": net.name, "threat": str(net.threat)}
        cell |= {"n": net.images, "weights": about["weights"], "engine": judging, **common}
        yield cell, partial(compared, model, net.threat, net.images, chosen.seed)
    for net in nets if "methods" in chosen.only else ():
        model, about = net.make()
        for method in (*METHODS, IN_ORDER):
            cell = {"section": "methods", "network": net.name, "threat": str(net.threat)}
            cell |= {"method": method, "n": net.images, "limit": net.seconds, **common}
            cell |= {"weights": about["weights"], "engine": sources_hash([PROVEN])}
            yield cell, partial(by_method, net, model, method)
    if "attacks" in chosen.only:
        yield from _attacks(chosen, every, common)
    for kind in NETS if "matrices" in chosen.only else ():
        for threat in THREATS:
            cell = {"section": "matrices", "network": kind, "threat": str(threat)}
            cell |= {"n": chosen.nets, "engine": sources_hash([PROVEN])}
            yield cell, partial(agreement, kind, threat, chosen.nets)
    if "exact" in chosen.only:
        cell = {"section": "exact", "threat": str(TINY_THREAT), "n": chosen.nets}
        cell |= {"engine": sources_hash([PROVEN])}
        yield cell, partial(exact, chosen.nets, 4)
    for name, threat, method in (
        beside_lirpa.cases(chosen.reference) if "reference" in chosen.only else ()
    ):
        cell = {"section": "reference", "network": name, "threat": threat, "method": method}
        cell |= {"threads": chosen.threads, "lirpa": chosen.lirpa is not None}
        cell |= {"engine": sources_hash([PROVEN])}
        beside = chosen.reference, name, threat, method, chosen.lirpa
        yield cell, partial(beside_lirpa.measured, *beside)
    if "smoothing" in chosen.only:
        model, about = trained(shortened(NOISE, chosen.iterations))
        smoothing = Smoothing(NOISE.sigma, samples=chosen.draws)
        cell = {"section": "smoothing", "network": f"noise-{NOISE.sigma:g}", "n": chosen.images}
        cell |= {"smoothing": smoothing.label(), "draws": chosen.draws, **common}
        cell |= {"weights": about["weights"], "engine": sources_hash([SMOOTHED])}
        yield cell, partial(smoothed, model, smoothing, chosen.images, chosen.seed)


def _attacks(chosen: argparse.Namespace, nets: list[Proved], common: Row) -> Iterator[Cell]:
    """Every attack under every threat that it knows, on the network trained for proofs."""
    model, about = nets[0].make()
    surrogate, _ = nets[1].make()
    for threat, wider in ATTACKED:
        for attack in attackers(surrogate):
            if not attack.knows(threat):
                continue
            cell = {"section": "attacks", "network": nets[0].name, "threat": str(threat)}
            cell |= {"attack": attack.label(), "n": chosen.attacked, **common}
            cell |= {"weights": about["weights"], "wider": str(wider)}
            cell |= {"engine": engine_hash([attack]) + sources_hash([PROVEN])}
            settings = (threat, wider), chosen.attacked, chosen.images, chosen.seed
            yield cell, partial(attacked, attack, model, *settings)


def run(chosen: argparse.Namespace) -> None:
    """Measure what is missing, and render after every cell."""
    torch.set_num_threads(chosen.threads)
    journal = Journal(chosen.out / "certificates.jsonl")
    trained_as = {net.name: net for net in networks(chosen)}
    for cell, measure in cells(chosen):
        if journal.holds(cell):
            continue
        say(", ".join(str(cell[key]) for key in LABELS if key in cell))
        row = measure() | {"environment": environment()}
        if cell.get("network") in trained_as:
            row["about"] = trained_as[cell["network"]].make()[1]
        elif cell["section"] == "smoothing":
            row["about"] = trained(shortened(NOISE, chosen.iterations))[1]
        journal.put(cell, [row], STALE)
        write_text(chosen.out / "certificates.md", render(journal.rows))


LABELS = ("section", "network", "threat", "method", "attack")
"""What progress says of a cell."""


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = parser_of(__doc__, threads=1, iterations=10**6)
    parser.add_argument("--only", help=f"sections, with commas: {', '.join(SECTIONS)}")
    parser.add_argument("--networks", help=f"of the first two sections: {', '.join(NETWORKS)}")
    parser.add_argument("--images", type=int, default=1000, help="the first test images")
    parser.add_argument("--attacked", type=int, default=64, help="proven samples that are attacked")
    parser.add_argument("--nets", type=int, default=10, help="random networks of each kind")
    parser.add_argument("--draws", type=int, default=2000, help="noisy copies of an image")
    parser.add_argument("--seconds", type=float, default=20.0, help="a method on a hardened net")
    parser.add_argument(
        "--reference",
        type=Path,
        default=beside_lirpa.REFERENCE,
        help="folder of reference networks and of auto_LiRPA's bounds of them",
    )
    parser.add_argument(
        "--lirpa", type=Path, help="a checkout of auto_LiRPA that is run beside its records"
    )
    parser.add_argument("--seed", type=int, default=0, help="of attacks and noise")
    small = {"images": 24, "attacked": 8, "nets": 1, "draws": 50, "seconds": 2.0, "iterations": 40}
    chosen = parsed(parser, given, small)
    chosen.only = listed(parser, chosen.only, list(SECTIONS))
    chosen.networks = listed(parser, chosen.networks, list(NETWORKS))
    return chosen


if __name__ == "__main__":
    main("certificates", arguments(), run, render)
