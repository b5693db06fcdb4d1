"""Measures what scans find of poisoned training data, what is missed, and what is left of it.

Run `python benchmarks/poisoning.py` after `apt install dataset-fashion-mnist`; with
`.venv-peers/bin/python`, the scans of ART are measured on the same data in the same run. Each cell
is a data set, a poison, a share and a seed: the data are poisoned and scanned, and small networks
are trained on the clean data, on the poisoned data, and on what the scan keeps. `--part streams`
measures filters for streams. Recorded cells are not measured again; `records/poisoning.md` is
rendered from the records.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from journal import Journal, Row, environment, say, sources_hash
from options import main, parsed, parser_of
from peers import art_poisoning
from poisoning_table import render
from tempering.core.files import write_text
from tempering.core.random import RandomStreams, derive
from tempering.data.dataset import Dataset
from tempering.data.loading import load
from tempering.poisoning import Poisoned, attack_success, parse_poison, scan_samples
from tempering.poisoning.small_network import small_network
from tempering.poisoning.stream_filter import StreamFilter

SOURCES = {"mnist": "mnist", "fashion": "idx:/usr/share/datasets/fashion-mnist"}
SMALL, TEST = 10_000, 10_000
FPR = 0.01
MAIN = ("badnets", "blended", "label-flip")
SHARES = (0.005, 0.01, 0.05, 0.1)
OTHERS = (
    "adaptive-blend",
    "warping",
    "sinusoidal",
    "label-flip-hard",
    "gradient-matching",
    "perturbation:grid=0.1+0.2+0.3",
)
SEEDS = (0, 1, 2)
PARTS = ("full", "small", "streams")
ATTACKS = (
    *("fgsm", "bim:until_fooled=false", "pgd:until_fooled=false"),
    *("pgd", "square:queries=100"),
)
GRID = (0.01, 0.05, 0.1, 0.2, 0.3)
BATCHES, BATCH = 40, 250
"""Batches of a stream, and images in each; poison begins after a quarter of them."""


@dataclass(frozen=True)
class Case:
    """What is poisoned, and how.

    Attributes:
        data: Name in `SOURCES`.
        poison: As text; empty for clean data.
        share: Of the samples.
        seed: Of the choice of samples, the poison, the scan and the networks.
        n: Training images; None for all.
    """

    data: str
    poison: str
    share: float
    seed: int
    n: int | None

    @property
    def cell(self) -> Row:
        """The settings, with a hash of what is measured."""
        return {
            **self.__dict__,
            "fpr": FPR,
            "sources": sources_hash(["tempering.poisoning.scan"]),
        }


def cases(part: str, seeds: int) -> Iterator[Case]:
    """All cases of a part, the seeds one after the other."""
    for seed in SEEDS[:seeds]:
        for data in SOURCES:
            if part == "full":
                yield Case(data, "", 0.0, seed, None)
                yield from (Case(data, poison, 0.01, seed, None) for poison in MAIN)
            elif part == "small":
                yield Case(data, "", 0.0, seed, SMALL)
                for poison in MAIN:
                    yield from (Case(data, poison, share, seed, SMALL) for share in SHARES)
                yield from (Case(data, poison, 0.01, seed, SMALL) for poison in OTHERS)


@cache
def loaded(name: str) -> Any:
    """The splits of a data set."""
    return load(SOURCES[name])


def clean_data(case: Case) -> tuple[Dataset, Dataset]:
    """Training data without poison, and test data."""
    splits = loaded(case.data)
    train = splits.train
    if case.n is not None:
        order = RandomStreams(derive(case.seed, "samples"), train.ids.keys).order()
        train = train.subset(order[: case.n].sort().values)
    return train, splits.test.take(TEST)


def poisoned(case: Case, train: Dataset, test: Dataset) -> Poisoned | None:
    """The poisoned data; None if there is no poison. Targets differ between seeds."""
    if not case.poison:
        return None
    text = case.poison
    target = 3 * case.seed % 10
    if text in ("badnets", "blended", "adaptive-blend", "warping", "sinusoidal"):
        text = f"{text}:target={target}"
    streams = RandomStreams(derive(case.seed, "poison"), train.ids.keys)
    return parse_poison(text).poison(train, case.share, streams, test=test)


def timed(run: Callable[[], Any]) -> tuple[Any, Row]:
    """What a function gives, and its seconds by the clock and of the processor."""
    began, busy = time.perf_counter(), time.process_time()
    result = run()
    return result, {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - busy,
    }


def rates(suspect: Tensor, truth: Tensor) -> Row:
    """Poisoned samples that are suspect, and clean ones."""
    return {"caught": int((suspect & truth).sum()), "false": int((suspect & ~truth).sum())}


def at_rate(score: Tensor, truth: Tensor, fpr: float) -> int:
    """Poisoned samples above the score that a share of the clean ones exceeds."""
    clean = score[~truth].sort(descending=True).values
    bound = clean[min(len(clean) - 1, int(fpr * len(clean)))]
    return int((score[truth] > bound).sum())


@torch.no_grad()
def right(network: nn.Module, test: Dataset) -> int:
    """Test images that are classified correctly."""
    return int((network(test.x).argmax(1) == test.y).sum())


def judged(network: nn.Module, test: Dataset, bad: Poisoned | None) -> Row:
    """Clean accuracy and attack success of a network."""
    row: Row = {"right": right(network, test)}
    if bad is not None and bad.trigger is not None and bad.target is not None:
        count = attack_success(network, test, bad.trigger, bad.target)
        row |= {"sent": count.hits, "others": count.n}
    return row


def measured(case: Case) -> Row:
    """Poison, scan and train."""
    train, test = clean_data(case)
    bad = poisoned(case, train, test)
    data = train if bad is None else bad.data
    truth = torch.zeros(len(data), dtype=torch.bool) if bad is None else bad.poisoned & ~bad.cover
    scan, seconds = timed(lambda: scan_samples(data, FPR, seed=case.seed))
    row: Row = {
        "train": len(data),
        "test": len(test),
        "poisoned": int(truth.sum()),
        "scan": {
            **seconds,
            **rates(~scan.keep, truth),
            "suspicious": scan.suspicious,
            "p_value": scan.p_value,
            "rounds": len(scan.rounds),
        },
        "alone": {
            name: at_rate(each.score[: len(data)], truth, FPR) for name, each in scan.scans.items()
        },
        "ensemble": at_rate(scan.score, truth, FPR),
    }
    network, training = timed(lambda: small_network(data, case.seed))
    row["unscanned"] = judged(network, test, bad)
    kept = data.subset(scan.keep.nonzero()[:, 0]) if scan.suspicious else data
    row["dropped"] = len(data) - len(kept)
    scanned = network if len(kept) == len(data) else small_network(kept, case.seed)
    row["scanned"] = judged(scanned, test, bad)
    always = data.subset(scan.keep.nonzero()[:, 0])
    row["always"] = judged(
        scanned if scan.suspicious else small_network(always, case.seed), test, bad
    )
    if art_poisoning.installed():
        row["art"] = {"training": training, "version": art_poisoning.version()}
        for name, detect in art_poisoning.DETECTORS.items():
            found, seconds = timed(partial(detect, network, data, case.seed))
            own = {**seconds, **rates(found.suspect, truth)}
            if found.score is not None:
                own["at_rate"] = at_rate(found.score, truth, FPR)
            share = own["false"] / max(1, int((~truth).sum()))
            own["ours"] = at_rate(scan.score, truth, share)
            row["art"][name] = own
    return row


def evasion(data: str, seed: int) -> Row:
    """Adversarial copies that a filter for streams flags, by attack and eps, without labels."""
    from tempering.attacks.registry import parse_attack
    from tempering.core.threats import Linf

    splits = loaded(data)
    kept = StreamFilter.fit(splits.train, seed)
    test = splits.test.take(2000)
    network = small_network(splits.train.take(SMALL), seed)
    rows: Row = {
        "images": len(test),
        "false": int(kept.score(test.x, None, FPR).suspects.sum()),
        "caught": {},
        "changed": {},
    }
    for attack in ATTACKS:
        for eps in GRID:
            x = parse_attack(attack)(network, test.x, test.y, Linf(eps))
            changed = (x != test.x).flatten(1).any(1)
            key = f"{attack} {eps:g}"
            rows["changed"][key] = int(changed.sum())
            rows["caught"][key] = int(kept.score(x, None, FPR).suspects[changed].sum())
    return rows


def drifting(data: str, seed: int, share: float) -> Row:
    """Alarms in a stream whose poison changes from batch to batch.

    Clean batches come first. Then a share of each batch is poisoned: by patches that grow, blended
    patterns that fade in, labels that flip, and FGSM copies whose eps grows, in turn.
    """
    splits = loaded(data)
    kept = StreamFilter.fit(splits.train, seed)
    pool = splits.test
    order = RandomStreams(derive(seed, "stream"), pool.ids.keys).order()
    first = BATCHES // 4
    network = small_network(splits.train.take(SMALL), seed)
    alarms, caught, planted, kinds = [], [], [], []
    for number in range(BATCHES):
        rows = order[number * BATCH : (number + 1) * BATCH]
        batch = pool.subset(rows)
        kind, step = "clean", number - first
        truth = torch.zeros(len(batch), dtype=torch.bool)
        if step >= 0:
            strength = (step // 4 + 1) / -(-(BATCHES - first) // 4)
            kind = ("badnets", "blended", "label-flip", "perturbation")[step % 4]
            text = {
                "badnets": f"badnets:target=0,side={2 + round(3 * strength)}",
                "blended": f"blended:target=0,opacity={0.05 + 0.2 * strength:.3f}",
                "label-flip": "label-flip",
                "perturbation": f"perturbation:attacks=fgsm,grid={0.3 * strength:.3f}",
            }[kind]
            streams = RandomStreams(derive(seed, "drift", number), batch.ids.keys)
            bad = parse_poison(text).poison(
                batch, share, streams, model=network if kind == "perturbation" else None
            )
            batch, truth = bad.data, bad.poisoned
        scores = kept.score(batch.x, batch.y, FPR)
        alarms.append(bool(scores.chance < 0.001))
        caught.append(int((scores.suspects & truth).sum()))
        planted.append(int(truth.sum()))
        kinds.append(kind)
    return {"alarms": alarms, "caught": caught, "planted": planted, "kinds": kinds}


def streams(journal: Journal, seeds: int) -> None:
    """Measure the filters for streams."""
    for seed in SEEDS[:seeds]:
        for data in SOURCES:
            for what, share in (("evasion", 1.0), ("drift", 0.02), ("drift", 0.05), ("drift", 0.2)):
                cell = {"data": data, "stream": what, "share": share, "seed": seed, "fpr": FPR}
                cell["sources"] = sources_hash(["tempering.poisoning.stream_filter"])
                if journal.holds(cell):
                    continue
                row = evasion(data, seed) if what == "evasion" else drifting(data, seed, share)
                journal.put(cell, [row | {"environment": environment()}], ["sources"])
                say(f"{data} {what} {share:g} seed {seed}")


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = parser_of(__doc__, threads=1, iterations=0)
    parser.add_argument("--part", choices=PARTS, help="default: all")
    parser.add_argument("--data", choices=list(SOURCES), help="default: all")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help=f"default {len(SEEDS)}")
    return parsed(parser, given, {"seeds": 1})


def run(chosen: argparse.Namespace) -> None:
    """Measure what is missing."""
    torch.set_num_threads(chosen.threads)
    journal = Journal(chosen.out / "poisoning.jsonl")
    for part in PARTS if chosen.part is None else (chosen.part,):
        if part == "streams":
            streams(journal, chosen.seeds)
        for case in cases(part, chosen.seeds):
            if chosen.data not in (None, case.data) or journal.holds(case.cell):
                continue
            row = measured(case) | {"environment": environment()}
            journal.put(case.cell, [row], ["sources"])
            scan = row["scan"]
            say(
                f"{case.data} {case.poison or 'clean'} {case.share:g} seed {case.seed}: caught "
                f"{scan['caught']} of {row['poisoned']}, {scan['false']} false, "
                f"{scan['seconds']:.0f} s"
            )
    write_text(chosen.out / "poisoning.md", render(journal.rows))


if __name__ == "__main__":
    chosen = arguments()
    main("poisoning", chosen, run, render)
