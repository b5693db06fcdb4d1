"""Compares our attacks with those of other libraries, image by image.

Run `make peers`, then `.venv-peers/bin/python benchmarks/agreement.py`. FGSM and BIM must have
the verdicts of Foolbox and torchattacks up to rounding. Each part of AutoAttack must not be
weaker than in `pyautoattack` by more than a tolerance, and their union not weaker at all.
Cells that are recorded in `records/agreement.jsonl` under the same settings are skipped.
`records/agreement.md` is rendered from the records.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from agreement_table import render
from journal import Journal, Row, clock, engine_hash, environment, say
from measuring import PassCost, pass_costs, verdicts
from options import listed, main, parsed, parser_of
from peers import PEERS
from subjects import CLASSES, SMALL, Subject, mnist, mnist_model, right
from tempering.attacks import APGDCE, APGDDLR, APGDT, BIM, FABT, FGSM, Square
from tempering.attacks.base import Attack
from tempering.core.files import write_text
from tempering.core.goals import margin
from tempering.core.probe import probing
from tempering.core.random import RandomStreams
from tempering.core.threats import L2, Linf, Threat

KINDS = ("standard", "hardened")
SEEDS = (0, 1, 2)
STALE = ("engine", "weights")
CLOSE = 1e-3
"""Difference of logits within which rounding may decide a verdict."""


@dataclass(frozen=True)
class Pair:
    """An attack of ours and another library's.

    Attributes:
        attack: Ours.
        kind: Its name in the peer's table.
        peer: The library.
        threat: What may change.
        exact: Whether verdicts must be the same image by image.
        double: Whether network and images are in float64, where no softmax saturates.
        networks: On which it is tried.
        seeds: Of the draws on both sides; an attack that draws nothing has one.
    """

    attack: Attack
    kind: str
    peer: str
    threat: Threat
    exact: bool
    double: bool = False
    networks: tuple[str, ...] = KINDS
    seeds: tuple[int, ...] = (0,)

    @property
    def name(self) -> str:
        """As it is chosen and shown."""
        return self.attack.label()

    def settings(self, batch_size: int, seed: int) -> dict[str, Any]:
        """What the peer is told."""
        own = {
            field.name: getattr(self.attack, field.name)
            for field in dataclasses.fields(self.attack)
        }
        own.pop("until_fooled", None)
        return {**own, "classes": CLASSES, "batch_size": batch_size, "seed": seed}

    def passes(self) -> tuple[float, float]:
        """Forward passes alone, and with a gradient, a sample that stands to the end."""
        told = self.settings(1, 0)
        if "queries" in told:
            return told["queries"], 0.0
        return 0.0, float(told.get("steps", 1) * told.get("targets", 1))


BIM_LINF = BIM(steps=40, step_size=0.02, until_fooled=False)
BIM_L2 = BIM(steps=40, step_size=0.125, until_fooled=False)
PAIRS: tuple[Pair, ...] = (
    *(
        Pair(attack, kind, peer, threat, True, double)
        for double in (True, False)
        for attack, kind, peer, threat in (
            (FGSM(), "fgsm", "Foolbox", Linf(0.1)),
            (FGSM(), "fgsm", "torchattacks", Linf(0.1)),
            (FGSM(), "fgsm", "Foolbox", Linf(0.3)),
            (FGSM(), "fgsm", "torchattacks", Linf(0.3)),
            (FGSM(), "fgsm", "Foolbox", L2(2.0)),
            (BIM_LINF, "bim", "Foolbox", Linf(0.3)),
            (BIM_LINF, "bim", "torchattacks", Linf(0.3)),
            (BIM_L2, "bim", "Foolbox", L2(2.0)),
        )
    ),
    *(
        Pair(attack, attack.name, "pyautoattack", threat, False, False, (network,), seeds)
        for network, threat in (("standard", Linf(0.1)), ("hardened", Linf(0.3)))
        for attack, seeds in (
            (APGDCE(), SEEDS),
            (APGDDLR(), SEEDS),
            (APGDT(), SEEDS),
            (FABT(), (0,)),
            (Square(), SEEDS),
        )
    ),
)
"""For each network the parts of AutoAttack at an eps at which some images fall and some stand."""


def compare(pair: Pair, model: nn.Module, x: Tensor, y: Tensor, batch_size: int, seed: int) -> Row:
    """Both attacks on the same images, and what came of each of them."""
    streams = RandomStreams.of(seed, len(x))
    began = time.perf_counter()
    ours = pair.attack(model, x, y, pair.threat, streams, batch_size=batch_size)
    middle = time.perf_counter()
    settings = pair.settings(batch_size, seed)
    theirs = PEERS[pair.peer].attack(pair.kind, model, x, y, pair.threat, settings)
    ended = time.perf_counter()
    clean = ~right(model, x, y)
    broken = [clean | verdicts(model, x, y, x_adv, pair.threat) for x_adv in (ours, theirs)]
    row: Row = {
        "config": pair.attack.config(),
        "told": settings,
        "exact": pair.exact,
        "clean_wrong": int(clean.sum()),
        "ours": bits(broken[0]),
        "theirs": bits(broken[1]),
        "theirs_outside": int((~pair.threat.contains(theirs, x)).sum()),
        "seconds": {"ours": middle - began, "theirs": ended - middle},
    }
    if pair.exact:
        row["largest_pixel_difference"] = float((ours - theirs).abs().max())
        row["disagreements"] = disagreements(model, y, (ours, theirs), broken)
    return row


def disagreements(
    model: nn.Module, y: Tensor, proposals: tuple[Tensor, Tensor], broken: Sequence[Tensor]
) -> list[Row]:
    """Images with different verdicts: both margins, and how far apart both proposals are."""
    rows = (broken[0] != broken[1]).nonzero()[:, 0]
    if not len(rows):
        return []
    margins = []
    with probing(model) as probe:
        for x_adv in proposals:
            logits = probe.logits(x_adv[rows])
            margins.append(margin(logits, nn.functional.one_hot(y[rows], logits.shape[1]).bool()))
    apart = (proposals[0][rows] - proposals[1][rows]).abs()
    return [
        {
            "sample": int(sample),
            "ours": float(margins[0][at]),
            "theirs": float(margins[1][at]),
            "pixels": int((apart[at] > 0).sum()),
            "largest": float(apart[at].max()),
            "rounding": min(abs(float(margins[0][at])), abs(float(margins[1][at]))) <= CLOSE,
        }
        for at, sample in enumerate(rows)
    ]


def bits(flags: Tensor) -> str:
    """A bit an image, the first image first, as hexadecimal digits.

    Example:
        >>> bits(torch.tensor([True, False, False, False, True]))
        '88'
    """
    text = "".join("1" if flag else "0" for flag in flags.tolist())
    text += "0" * (-len(text) % 4)
    return f"{int(text, 2):0{len(text) // 4}x}"


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = parser_of(__doc__, iterations=2000, batch_size=250)
    names = list(dict.fromkeys(pair.name for pair in PAIRS))
    parser.add_argument("--only", help=f"attacks, with commas: {', '.join(names)}")
    parser.add_argument("--networks", help=f"with commas: {', '.join(KINDS)}")
    parser.add_argument("--images", type=int, default=1000, help="the first test images")
    chosen = parsed(parser, given, {"images": 48, "iterations": 40})
    chosen.only = listed(parser, chosen.only, names)
    chosen.networks = listed(parser, chosen.networks, KINDS)
    return chosen


def shortened(pair: Pair) -> Pair:
    """The same pair with few steps, to see that everything runs."""
    few = {"steps": 10, "queries": 100, "targets": 3}
    given = {
        field.name: getattr(pair.attack, field.name) for field in dataclasses.fields(pair.attack)
    }
    changes = {name: min(n, given[name]) for name, n in few.items() if name in given}
    return dataclasses.replace(pair, attack=dataclasses.replace(pair.attack, **changes))


def bound(pair: Pair, n: int, cost: PassCost) -> float:
    """Seconds at most for both sides if everything stands to the end, at a bare pass's cost."""
    forward, gradient = pair.passes()
    return 2 * n * (forward * cost.forward + gradient * cost.gradient)


def missing(
    chosen: argparse.Namespace, journal: Journal, subjects: Sequence[Subject]
) -> Iterator[tuple[Pair, Subject, Row]]:
    """Cells that are not recorded under these settings."""
    for subject in subjects:
        for pair in PAIRS:
            fits = subject.name.removeprefix("mnist-") in pair.networks
            if not fits or pair.name not in chosen.only or not PEERS[pair.peer].installed:
                continue
            tried = shortened(pair) if chosen.quick else pair
            base = {
                "benchmark": "agreement",
                "attack": tried.name,
                "threat": str(pair.threat),
                "peer": f"{pair.peer} {PEERS[pair.peer].version}",
                "network": subject.name,
                "weights": subject.about["weights"],
                "n": len(subject.x),
                "batch_size": chosen.batch_size,
                "threads": chosen.threads,
                "engine": engine_hash([pair.attack]),
            }
            if pair.double:
                base["dtype"] = "float64"
            for seed in tried.seeds[:1] if chosen.quick else tried.seeds:
                cell = {**base, "seed": seed}
                if not journal.holds(cell):
                    yield tried, subject, cell


def run(chosen: argparse.Namespace) -> None:
    """Measure what is missing, and render after every cell."""
    torch.set_num_threads(chosen.threads)
    journal = Journal(chosen.out / "agreement.jsonl")
    absent = sorted({pair.peer for pair in PAIRS if not PEERS[pair.peer].installed})
    if absent:
        say(f"not installed, so left out: {', '.join(absent)} (make peers)")
    test = mnist().test.first(chosen.images)
    subjects = []
    for kind in chosen.networks:
        model, about = mnist_model(kind, chosen.iterations, SMALL)
        subjects.append(Subject(f"mnist-{kind}", model, test.x, test.y, about))
    planned = list(missing(chosen, journal, subjects))
    if planned:
        (cost,) = pass_costs(subjects[0].model, test.x, (64,), (chosen.threads,))[:1]
        bounds = [bound(pair, chosen.images, cost) for pair, _, _ in planned]
        say(
            f"{len(planned)} cells: at most about {clock(sum(bounds))} of bare passes (minutes), "
            "if every image stood to the end; what falls early saves most of it"
        )
    for number, (pair, subject, cell) in enumerate(planned):
        model, x = subject.model, subject.x
        if pair.double:
            model, x = copy.deepcopy(model).double(), x.double()
        row = compare(pair, model, x, subject.y, chosen.batch_size, cell["seed"])
        row |= {"network": subject.about, "environment": environment()}
        journal.put(cell, [row], STALE)
        write_text(chosen.out / "agreement.md", render(journal.rows))
        left = sum(bounds[number + 1 :])
        say(f"{subject.name} {pair.name} {pair.threat}: at most about {clock(left)} left")
    write_text(chosen.out / "agreement.md", render(journal.rows))


if __name__ == "__main__":
    main("agreement", arguments(), run, render)
